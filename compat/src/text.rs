//! Text frames: `#!NGINXNMS!#` JSON `#!NGINXNME!#`, any number one behind the other.

use std::time::{Duration, UNIX_EPOCH};

use crate::message::Message;

/// Begins a frame.
pub const START: &str = "#!NGINXNMS!#";

/// Ends a frame.
pub const END: &str = "#!NGINXNME!#";

/// The time of delivery, which every frame shows.
#[derive(Debug, Clone)]
pub struct Now {
    tag: String,
    date: String,
}

impl Now {
    /// `unix_ms`: milliseconds since 1970.
    #[must_use]
    pub fn at(unix_ms: u64) -> Self {
        Self {
            tag: format!("{:03}", unix_ms % 1000),
            date: httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(unix_ms)),
        }
    }
}

/// Appends one frame. The body stands in it as it was published: not escaped, not checked.
pub fn encode(message: &Message, now: &Now, out: &mut Vec<u8>) {
    let head = format!(
        r#"{START}{{"id":{},"mid":"{}","channel":"-","tag":"{}","time":"{}","text":"#,
        message.id.counter(),
        message.id,
        now.tag,
        now.date,
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(message.body.as_bytes());
    out.push(b'}');
    out.extend_from_slice(END.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Body, MessageId, Sender};

    #[test]
    fn a_frame_as_recorded() {
        let message = Message {
            id: MessageId::new(1_700_000_000, 15),
            body: Body::from_lossy("BODY".into()),
            expiry: 0,
            created: 0,
            sender: Sender::Backend,
        };
        let mut out = Vec::new();
        encode(&message, &Now::at(1_795_486_120_003), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r##"#!NGINXNMS!#{"id":15,"mid":"17000000000000000000000015","channel":"-","tag":"003","time":"Tue, 24 Nov 2026 02:08:40 GMT","text":BODY}#!NGINXNME!#"##
        );
    }
}
