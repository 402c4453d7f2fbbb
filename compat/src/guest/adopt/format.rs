//! What a site's cookie looks like: text as it stands, and parts in braces.
//!
//! `{id}` and `{hmac}` stand once in every pattern; any other name in braces is a part that is not looked at.
//! An id ends where its digits end, a proof has the length of its algorithm, and every other part ends where the
//! text behind it first occurs. So a value can be read in one way only, or not at all.
//!
//! What is signed is put together from the same parts. There the danger is that two values have the same
//! signed text, as 1 and 7 have with 17 and nothing: whoever has the one could write the other. So
//! [`CookieFormat::parse`] only takes what leaves no doubt where the id begins and ends.

use super::ProofEncoding;

/// The form of a cookie and of what is signed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieFormat {
    pattern: Vec<Piece>,
    signed: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Id,
    Hmac,
    /// Of this name; not looked at, but it may be signed.
    Free(String),
}

/// The parts of one value.
#[derive(Default)]
pub(super) struct Parts<'a> {
    pub(super) id: &'a str,
    pub(super) hmac: &'a str,
    /// By name, in the order of the pattern.
    free: Vec<(&'a str, &'a str)>,
}

/// An id has no more digits.
const MOST_DIGITS: usize = 10;

impl CookieFormat {
    /// Reads e.g. `{id}:{time}:{hmac}` with what is signed, e.g. `{id}|{time}`; without, that is all before the
    /// text in front of `{hmac}`, here `{id}:{time}`.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read, or could be read in more than one way.
    pub fn parse(pattern: &str, signed: Option<&str>) -> Result<Self, BadFormat> {
        let pattern = pieces(pattern)
            .and_then(checked_pattern)
            .map_err(BadFormat::Pattern)?;
        let before = before_hmac(&pattern);
        let signed = match signed {
            None if before.contains(&Piece::Id) => before.to_vec(),
            None => return Err(BadFormat::Signed(Flaw::IdNotBefore)),
            Some(signed) => {
                let signed = pieces(signed).map_err(BadFormat::Signed)?;
                if signed != before {
                    check_signed(&signed, &pattern).map_err(BadFormat::Signed)?;
                }
                signed
            }
        };
        Ok(Self { pattern, signed })
    }

    /// The parts of a value with a proof of so many bytes, if it has this form.
    pub(super) fn read<'a>(
        &'a self,
        value: &'a str,
        encoding: ProofEncoding,
        length: usize,
    ) -> Option<Parts<'a>> {
        let mut parts = Parts::default();
        let mut rest = value;
        let mut pieces = self.pattern.iter().peekable();
        while let Some(piece) = pieces.next() {
            rest = match piece {
                Piece::Text(text) => rest.strip_prefix(text.as_str())?,
                Piece::Id => {
                    let (id, rest) = split_id(rest)?;
                    parts.id = id;
                    rest
                }
                Piece::Hmac => {
                    let (hmac, rest) = encoding.split(rest, length)?;
                    parts.hmac = hmac;
                    rest
                }
                Piece::Free(name) => {
                    let end = match pieces.peek() {
                        Some(Piece::Text(text)) => rest.find(text.as_str())?,
                        Some(Piece::Id | Piece::Hmac | Piece::Free(_)) | None => rest.len(),
                    };
                    let (free, rest) = rest.split_at_checked(end)?;
                    parts.free.push((name, free));
                    rest
                }
            };
        }
        rest.is_empty().then_some(parts)
    }

    /// What the proof is for.
    pub(super) fn signed(&self, parts: &Parts<'_>) -> String {
        let piece = |piece| match piece {
            &Piece::Id => parts.id,
            &Piece::Hmac => parts.hmac,
            Piece::Text(text) => text,
            Piece::Free(name) => {
                let mut free = parts.free.iter();
                free.find_map(|(other, part)| (name == other).then_some(*part))
                    .unwrap_or_default()
            }
        };
        self.signed.iter().map(piece).collect()
    }
}

/// The longest run of digits, with a minus or without.
fn split_id(text: &str) -> Option<(&str, &str)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let behind = unsigned.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = unsigned.len() - behind.len();
    if digits == 0 || digits > MOST_DIGITS {
        return None;
    }
    text.split_at_checked(text.len() - behind.len())
}

fn pieces(text: &str) -> Result<Vec<Piece>, Flaw> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (text, braces) = rest
            .split_at_checked(rest.find('{').unwrap_or(rest.len()))
            .unwrap_or((rest, ""));
        if text.contains('}') {
            return Err(Flaw::Braces);
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let Some(named) = braces.strip_prefix('{') else {
            break;
        };
        let (name, behind) = named.split_once('}').ok_or(Flaw::Braces)?;
        let piece = part(name)?;
        if pieces.contains(&piece) {
            return Err(Flaw::Twice(name.to_owned()));
        }
        pieces.push(piece);
        rest = behind;
    }
    Ok(pieces)
}

fn part(name: &str) -> Result<Piece, Flaw> {
    match name {
        "id" => Ok(Piece::Id),
        "hmac" => Ok(Piece::Hmac),
        _ if !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_') =>
        {
            Ok(Piece::Free(name.to_owned()))
        }
        _ => Err(Flaw::Braces),
    }
}

fn checked_pattern(pattern: Vec<Piece>) -> Result<Vec<Piece>, Flaw> {
    if !pattern.contains(&Piece::Hmac) {
        return Err(Flaw::NoHmac);
    }
    for pair in pattern.windows(2) {
        if let [endless @ (Piece::Id | Piece::Free(_)), next] = pair
            && !matches!(next, Piece::Text(_))
        {
            return Err(Flaw::Endless(endless.name().to_owned()));
        }
    }
    check_id(&pattern)?;
    Ok(pattern)
}

fn check_signed(signed: &[Piece], pattern: &[Piece]) -> Result<(), Flaw> {
    if signed.contains(&Piece::Hmac) {
        return Err(Flaw::SignsItself);
    }
    let unknown = |piece: &&Piece| matches!(piece, Piece::Free(_)) && !pattern.contains(piece);
    if let Some(piece) = signed.iter().find(unknown) {
        return Err(Flaw::Unknown(piece.name().to_owned()));
    }
    let (before, after) = check_id(signed)?;
    if before.iter().any(Piece::is_free) && after.iter().any(Piece::is_free) {
        return Err(Flaw::IdBetween);
    }
    Ok(())
}

/// What stands before and behind the id, of which it must be told.
fn check_id(pieces: &[Piece]) -> Result<(&[Piece], &[Piece]), Flaw> {
    let mut around = pieces.split(|piece| *piece == Piece::Id);
    let (Some(before), Some(after)) = (around.next(), around.next()) else {
        return Err(Flaw::NoId);
    };
    let digit = |c: char| c.is_ascii_digit();
    let touches_before = match before.last() {
        // Behind text alone, which is always the same, there is no doubt where it begins.
        Some(Piece::Text(text)) => text.ends_with(digit) && before.iter().any(Piece::is_free),
        Some(Piece::Free(_)) => true,
        Some(Piece::Id | Piece::Hmac) | None => false,
    };
    let touches_after = match after.first() {
        Some(Piece::Text(text)) => text.starts_with(digit),
        Some(Piece::Free(_)) => true,
        Some(Piece::Id | Piece::Hmac) | None => false,
    };
    if touches_before || touches_after {
        return Err(Flaw::IdTouches);
    }
    Ok((before, after))
}

/// All before the text in front of the proof.
fn before_hmac(pattern: &[Piece]) -> &[Piece] {
    match pattern.split(|piece| *piece == Piece::Hmac).next() {
        Some([before @ .., Piece::Text(_)]) => before,
        Some(before) => before,
        None => &[],
    }
}

impl Piece {
    fn name(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Id => "id",
            Self::Hmac => "hmac",
            Self::Free(name) => name,
        }
    }

    const fn is_free(&self) -> bool {
        matches!(self, Self::Free(_))
    }
}

/// Which of the two texts is wrong, and what was expected of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFormat {
    /// What the cookie looks like.
    #[error("pattern: expected {0}")]
    Pattern(Flaw),
    /// What of it is signed.
    #[error("signed: expected {0}")]
    Signed(Flaw),
}

/// What was expected, as a half sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Braces without a name, or one that is none.
    #[error("braces around names only, of lower-case letters: {{id}}, {{hmac}}, {{time}} …")]
    Braces,
    /// A name a second time.
    #[error("{{{0}}} only once")]
    Twice(String),
    /// There is no id.
    #[error("{{id}} in it")]
    NoId,
    /// There is no proof.
    #[error("{{hmac}} in it: what nothing proves is not adopted")]
    NoHmac,
    /// Two parts without anything between them.
    #[error("text behind {{{0}}} that says where it ends")]
    Endless(String),
    /// What is next to the id could belong to it.
    #[error("neither a digit nor another part next to {{id}}: nobody could tell where it ends")]
    IdTouches,
    /// Parts before and behind the id.
    #[error("other parts on one side of {{id}} only: it could be mistaken for one of them")]
    IdBetween,
    /// The proof among what it proves.
    #[error("no {{hmac}} in it: it does not prove itself")]
    SignsItself,
    /// A part that the pattern does not have.
    #[error("parts of the pattern, which has no {{{0}}}")]
    Unknown(String),
    /// It is not said what is signed, and the id is not where it is looked for then.
    #[error("what is signed, such as \"{{id}}\": the pattern has no {{id}} in front of {{hmac}}")]
    IdNotBefore,
}
