//! Text without its words: letters become `x`, digits `0`, other characters one of the same length.
//! White space and ASCII punctuation stay, so JSON keeps its form.

/// `text` masked.
pub(super) fn masked(text: &str) -> String {
    text.chars().map(substitute).collect()
}

/// Masks bytes that are mostly text. What is not UTF-8 stays so, in as many pieces: a server that
/// reads it puts U+FFFD for each.
pub(super) fn mask(bytes: &mut [u8]) {
    let mut masked = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut space = [0; 4];
            masked.extend_from_slice(substitute(character).encode_utf8(&mut space).as_bytes());
        }
        masked.extend_from_slice(match chunk.invalid().len() {
            0 => b"",
            1 => b"\xff",
            // Begun and not ended.
            2 => b"\xf0\x9f",
            _ => b"\xf0\x9f\x98",
        });
    }
    if masked.len() == bytes.len() {
        bytes.copy_from_slice(&masked);
    } else {
        // Cannot be; but nothing may be left standing.
        bytes.fill(b'x');
    }
}

fn substitute(character: char) -> char {
    match character {
        '0'..='9' => '0',
        'a'..='z' | 'A'..='Z' => 'x',
        '\0'..='\x7f' | char::REPLACEMENT_CHARACTER => character,
        other => match other.len_utf8() {
            2 => '\u{436}',
            3 => '\u{4e00}',
            _ => '\u{1f600}',
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_and_form_stays() {
        assert_eq!(
            masked("{\"Name\": \"\u{416}\u{43e} \u{20ac}\u{1f680}\", \"n\":-12.5}\n"),
            "{\"xxxx\": \"\u{436}\u{436} \u{4e00}\u{1f600}\", \"x\":-00.0}\n"
        );
        assert_eq!(masked("\u{fffd}"), "\u{fffd}");
    }

    #[test]
    fn what_is_no_text_is_as_little_afterwards() {
        for bytes in [
            &b"a\xff\xfeb"[..],
            b"\xe2\x82x\xe2\x82",
            b"\xf0\x9f\x98\xf0\x9f\x98\x80",
            b"\xed\xa0\x80",
            b"\x80\xc3",
        ] {
            let mut masked = bytes.to_vec();
            mask(&mut masked);
            let count = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().count();
            assert_eq!((masked.len(), count(&masked)), (bytes.len(), count(bytes)));
            let mut lossy = String::from_utf8_lossy(bytes).into_owned().into_bytes();
            mask(&mut lossy);
            assert_eq!(
                String::from_utf8_lossy(&masked).as_bytes(),
                lossy,
                "{bytes:?}"
            );
        }
    }
}
