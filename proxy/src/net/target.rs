//! Bytes of a request target that nginx passes on and hyper refuses: `"`, `<`, `>`, a backtick, and what is no ASCII,
//! such as cp1251. They are percent-encoded before hyper sees them.
//!
//! This is no second parser: where a head begins is what hyper says, or it is not used. If hyper waits for a head, and
//! the last that it was given is a blank line, it has kept nothing of that: half a head has no blank line in it.
//! So the next byte begins a request line. Behind a body that does not end so, or in a pipeline, targets stay as they
//! are, and hyper refuses them. No byte changes here at which hyper would see a word, a line or a head end.

/// Follows the bytes of one connection on their way to hyper.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    place: Place,
    /// The last four bytes.
    last: Option<[u8; 4]>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not in a request line that we know of.
    #[default]
    Elsewhere,
    /// Before it: empty lines do not count.
    Before,
    Method,
    /// The target, and the version behind it.
    Target,
}

impl Targets {
    /// What hyper is to get in the place of `bytes`, if that is not the same. `head_follows`: hyper waits for a
    /// request head, or will behind the request that it has, which has no body.
    pub(crate) fn encode(&mut self, bytes: &[u8], head_follows: bool) -> Option<Vec<u8>> {
        let after_blank_line = self.last.is_none_or(|last| &last == b"\r\n\r\n");
        if self.place == Place::Elsewhere && after_blank_line && head_follows && !bytes.is_empty() {
            self.place = Place::Before;
        }
        self.remember(bytes);
        let mut encoded: Option<Vec<u8>> = None;
        for (at, byte) in bytes.iter().enumerate() {
            if self.place == Place::Elsewhere {
                if let Some(encoded) = &mut encoded {
                    encoded.extend_from_slice(bytes.get(at..).unwrap_or_default());
                }
                break;
            }
            let odd = self.place == Place::Target
                && (matches!(byte, b'"' | b'<' | b'>' | b'`') || !byte.is_ascii());
            if odd {
                let encoded =
                    encoded.get_or_insert_with(|| bytes.iter().take(at).copied().collect());
                encoded.extend_from_slice(percent_encoding::percent_encode_byte(*byte).as_bytes());
            } else if let Some(encoded) = &mut encoded {
                encoded.push(*byte);
            }
            self.place = match (self.place, byte) {
                (Place::Before, b'\r' | b'\n') => Place::Before,
                (Place::Before, _) => Place::Method,
                (Place::Method, b' ') => Place::Target,
                (Place::Method | Place::Target, b'\n') | (Place::Elsewhere, _) => Place::Elsewhere,
                (place @ (Place::Method | Place::Target), _) => place,
            };
        }
        encoded
    }

    fn remember(&mut self, bytes: &[u8]) {
        let tail = bytes.len().saturating_sub(4);
        for byte in bytes.iter().skip(tail) {
            let [_, a, b, c] = self.last.unwrap_or_default();
            self.last = Some([a, b, c, *byte]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of it, cut into pieces of this size.
    fn passed(bytes: &[u8], size: usize, head_follows: bool) -> Vec<u8> {
        let mut targets = Targets::default();
        let mut passed = Vec::new();
        for piece in bytes.chunks(size) {
            let encoded = targets.encode(piece, head_follows);
            passed.extend(encoded.unwrap_or_else(|| piece.to_vec()));
        }
        passed
    }

    #[test]
    fn only_the_target_changes_however_it_is_cut() {
        let request = b"\r\nG`T /\xef\"?a<b>`=\xff HTTP/1.1\r\nHost: <\xff>\r\nX: \"`\r\n\r\n";
        let wanted = b"\r\nG`T /%EF%22?a%3Cb%3E%60=%FF HTTP/1.1\r\nHost: <\xff>\r\nX: \"`\r\n\r\n";
        let two = [request.as_slice(), request].concat();
        for size in 1..request.len() {
            assert_eq!(passed(request, size, true), wanted, "{size}");
            assert_eq!(passed(request, size, false), request, "{size}");
        }
        // In pieces that end with a head, the next begins a line; in others, only the first.
        let whole = [wanted.as_slice(), wanted].concat();
        assert_eq!(passed(&two, request.len(), true), whole);
        let pipelined = [wanted.as_slice(), request].concat();
        assert_eq!(passed(&two, two.len(), true), pipelined);
    }

    #[test]
    fn what_is_well_formed_is_not_copied() {
        let mut targets = Targets::default();
        assert_eq!(
            targets.encode(b"GET /a?b={c} HTTP/1.1\r\nHost: <h>\r\n\r\n", true),
            None
        );
        assert_eq!(targets.encode(b"", true), None);
        assert_eq!(targets.encode(b"GET /a", true), None);
        assert_eq!(targets.encode(b"<", true), Some(b"%3C".to_vec()));
    }

    #[test]
    fn a_body_passes_as_it_is() {
        let mut targets = Targets::default();
        assert_eq!(
            targets.encode(
                b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
                true
            ),
            None
        );
        assert_eq!(targets.encode(b"a b <c> \xff", false), None);
        // Its end is no blank line.
        assert_eq!(targets.encode(b"GET /< HTTP/1.1\r\n", true), None);
    }
}
