//! The 40xx table: how a push request is refused. Over HTTP the body is `code: text`, over a
//! websocket the same is the reason of the close frame and the code its code.

/// A refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Subscribing without an accepted channel.
    WrongChannelId,
    /// The stored messages could not be read.
    NoLastMessages,
    /// A newer connection of the channel took this one's place.
    TooManyConnections,
    /// Nothing to ask or publish for.
    NoChannels,
}

impl Status {
    /// The code of the protocol and of the close frame.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.row().0
    }

    /// The HTTP status.
    #[must_use]
    pub const fn http(self) -> u16 {
        self.row().1
    }

    /// `code: text`.
    #[must_use]
    pub fn reason(self) -> String {
        let (code, _, text) = self.row();
        format!("{code}: {text}")
    }

    const fn row(self) -> (u16, u16, &'static str) {
        match self {
            Self::WrongChannelId => (4010, 400, "Wrong Channel Id."),
            Self::NoLastMessages => (4011, 400, "Couldn't get last messages."),
            Self::NoChannels => (4017, 400, "No channels found."),
            Self::TooManyConnections => (4029, 429, "Too many connections"),
        }
    }
}
