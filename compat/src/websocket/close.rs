//! Why a connection ends (RFC 6455 7.4).

use super::{MAX_CONTROL, Violation};

/// A code that may be in a close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(u16);

/// What a close frame says; it may say nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// For programs.
    pub code: CloseCode,
    /// For people.
    pub reason: String,
}

impl CloseCode {
    /// All is done.
    pub const NORMAL: Self = Self(1000);
    /// A server stops, or a browser leaves the page.
    pub const AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// A text that is not UTF-8.
    pub const INVALID: Self = Self(1007);
    /// The peer broke a rule of ours.
    pub const POLICY: Self = Self(1008);
    /// A message over the limit.
    pub const TOO_BIG: Self = Self(1009);
    /// Come back later.
    pub const TRY_AGAIN: Self = Self(1013);

    /// `None` for a number that is reserved, or only stands for a close frame that there was not.
    #[must_use]
    pub fn new(code: u16) -> Option<Self> {
        let is_registered = matches!(code, 1000..=1003 | 1007..=1014);
        // From 3000 on for libraries, from 4000 on for applications.
        (is_registered || (3000..5000).contains(&code)).then_some(Self(code))
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

/// The payload of a close frame. Of a reason that is too long only the beginning is sent.
#[must_use]
pub fn encode_close(frame: Option<&CloseFrame>) -> Vec<u8> {
    frame.map_or_else(Vec::new, |CloseFrame { code, reason }| {
        let code = code.0.to_be_bytes();
        let fits = (0..=MAX_CONTROL - code.len()).rfind(|&at| reason.is_char_boundary(at));
        let reason = reason.as_bytes().iter().take(fits.unwrap_or_default());
        code.iter().chain(reason).copied().collect()
    })
}

/// What the payload of a close frame says.
pub(super) fn decode_close(payload: &[u8]) -> Result<Option<CloseFrame>, Violation> {
    if payload.is_empty() {
        return Ok(None);
    }
    let (code, reason) = payload.split_first_chunk().ok_or(Violation::Close)?;
    let code = CloseCode::new(u16::from_be_bytes(*code)).ok_or(Violation::Close)?;
    let reason = str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
    Ok(Some(CloseFrame {
        code,
        reason: reason.to_owned(),
    }))
}
