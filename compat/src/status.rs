//! The 40xx codes by which a push server refuses.
//!
//! Over HTTP a refusal is a response whose body is `code: text`. Over a websocket it is a close frame
//! with the code, and `code: text` as its reason. Body size (413) and unknown routes (404) are plain
//! HTTP and have no code here.

use std::fmt;

/// Why a request or a subscription was refused. See [`Status::text`] for each one's wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// A subscription without an accepted channel.
    WrongChannelId,
    /// The store failed during catch-up.
    NoLastMessages,
    /// An untrusted request from a client that has no public id. Comes before its body is looked at.
    PublicIdRequired,
    /// Not protobuf, empty, without a request, or a request without a command.
    WrongRequestData,
    /// Server statistics or registration, untrusted.
    CommandNotAllowed,
    /// Registration, trusted.
    WrongCommand,
    /// More messages in a request than the limit.
    TooManyMessages,
    /// A message without receivers, or a question for no channels.
    NoChannels,
    /// More channels in a message or a question than the limit.
    TooManyChannels,
    /// Trusted: an id that is not 16 bytes.
    InvalidChannelId,
    /// Untrusted: a private receiver.
    PrivateNotAllowed,
    /// Untrusted: a public receiver with no signature, or a wrong one.
    InvalidSignature,
    /// The system route, with nothing in the body.
    EmptyRequest,
    /// The system route, with anything in the body.
    WrongRequestSignature,
    /// A newer connection of the same channel took this one's place.
    TooManyConnections,
    /// Known to clients; the reference server never gets to send it.
    WrongStatsRequest,
}

impl Status {
    /// Every status, by code.
    pub const ALL: [Self; 16] = [
        Self::WrongChannelId,
        Self::NoLastMessages,
        Self::PublicIdRequired,
        Self::WrongRequestData,
        Self::CommandNotAllowed,
        Self::WrongCommand,
        Self::TooManyMessages,
        Self::NoChannels,
        Self::TooManyChannels,
        Self::InvalidChannelId,
        Self::PrivateNotAllowed,
        Self::InvalidSignature,
        Self::EmptyRequest,
        Self::WrongRequestSignature,
        Self::TooManyConnections,
        Self::WrongStatsRequest,
    ];

    /// The one table: code, HTTP status, text.
    const fn row(self) -> (u16, u16, &'static str) {
        match self {
            Self::WrongChannelId => (4010, 400, "Wrong Channel Id."),
            Self::NoLastMessages => (4011, 400, "Couldn't get last messages."),
            Self::PublicIdRequired => (4012, 400, "Public Channel Id is Required."),
            Self::WrongRequestData => (4013, 400, "Wrong Request Data."),
            Self::CommandNotAllowed => (4014, 400, "Request command is not allowed."),
            Self::WrongCommand => (4015, 400, "Wrong Request Command."),
            Self::TooManyMessages => (
                4016,
                400,
                "Request exceeded the maximum number of messages.",
            ),
            Self::NoChannels => (4017, 400, "No channels found."),
            Self::TooManyChannels => (
                4018,
                400,
                "Request exceeded the maximum number of channels.",
            ),
            Self::InvalidChannelId => (4019, 400, "Request has an invalid channel id."),
            Self::PrivateNotAllowed => (4020, 400, "Private channel is not allowed."),
            Self::InvalidSignature => (4021, 400, "Channel has an invalid signature."),
            Self::EmptyRequest => (4022, 400, "Empty request."),
            Self::WrongRequestSignature => (4026, 400, "Wrong request signature."),
            Self::TooManyConnections => (4029, 429, "Too many connections"), // no full stop
            Self::WrongStatsRequest => (4030, 400, "Wrong ChannelStats Request."),
        }
    }

    /// The code: also the close code of a websocket.
    pub const fn code(self) -> u16 {
        self.row().0
    }

    /// The status of the HTTP response: 400, but 429 for [`Status::TooManyConnections`].
    pub const fn http(self) -> u16 {
        self.row().1
    }

    /// The wording, without the code.
    pub const fn text(self) -> &'static str {
        self.row().2
    }

    /// The body of the HTTP response, and the reason of the close frame: `4010: Wrong Channel Id.`
    pub fn reason(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.text())
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_name_code_and_text() {
        assert_eq!(Status::WrongChannelId.reason(), "4010: Wrong Channel Id.");
        assert_eq!(
            Status::TooManyConnections.reason(),
            "4029: Too many connections"
        );
        assert_eq!(Status::TooManyConnections.http(), 429);
    }

    #[test]
    fn codes_grow_and_fit_a_close_frame() {
        assert!(Status::ALL.is_sorted_by(|a, b| a.code() < b.code()));
        assert!(
            Status::ALL
                .iter()
                .all(|status| status.reason().len() <= 123)
        );
    }
}
