//! Which message of the server stands for which of the recording.

use std::collections::{HashMap, HashSet};

use pullgate_compat::message::MessageId;

/// Recorded ids and those that the server gave instead, paired as messages come.
#[derive(Debug, Default)]
pub(crate) struct Mids {
    pairs: HashMap<MessageId, MessageId>,
    given: HashSet<MessageId>,
    /// Sent in a target before any message had them: meant as they are.
    literal: HashSet<MessageId>,
}

impl Mids {
    /// Takes `actual`, the id of a message, for `recorded`.
    ///
    /// # Errors
    /// With what was expected instead: the same id for the same message, and another one for another message.
    pub(crate) fn pair(&mut self, recorded: MessageId, actual: MessageId) -> Result<(), String> {
        if let Some(before) = self.pairs.get(&recorded) {
            return match *before == actual {
                true => Ok(()),
                false => Err(format!("{before}, as this message had before")),
            };
        }
        if !self.given.insert(actual) {
            return Err("an id that no other message has".into());
        }
        self.pairs.insert(recorded, actual);
        Ok(())
    }

    /// The same of an id that need not be of a message: a client gets back what it had sent.
    ///
    /// # Errors
    /// As of [`Self::pair`].
    pub(crate) fn echo(&mut self, recorded: MessageId, actual: MessageId) -> Result<(), String> {
        if self.literal.contains(&recorded) && !self.pairs.contains_key(&recorded) {
            return match recorded == actual {
                true => Ok(()),
                false => Err(format!("{recorded}, as it was sent")),
            };
        }
        self.pair(recorded, actual)
    }

    /// The target with each `mid` that was received replaced by the one that stands for it.
    pub(crate) fn in_target(&mut self, target: &str) -> String {
        let mut out = String::with_capacity(target.len());
        let mut rest = target;
        while let Some(at) = rest.find("mid=") {
            let (before, value) = rest.split_at(at + "mid=".len());
            out.push_str(before);
            let (digits, behind) = value.split_at(digits(value));
            match MessageId::parse(digits) {
                Some(id) => out.push_str(&self.sent(id).to_string()),
                None => out.push_str(digits),
            }
            rest = behind;
        }
        out.push_str(rest);
        out
    }

    fn sent(&mut self, recorded: MessageId) -> MessageId {
        if let Some(actual) = self.pairs.get(&recorded) {
            return *actual;
        }
        self.literal.insert(recorded);
        recorded
    }
}

fn digits(text: &str) -> usize {
    let other = text.find(|character: char| !character.is_ascii_digit());
    other.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(counter: u64) -> MessageId {
        MessageId::new(1_700_000_000, counter)
    }

    #[test]
    fn a_received_mid_stands_for_its_message() {
        let mut mids = Mids::default();
        mids.pair(id(1), id(71)).unwrap();
        let target = format!("/sub/?CHANNEL_ID=x&mid={}&mid=12", id(1));
        assert_eq!(
            mids.in_target(&target),
            format!("/sub/?CHANNEL_ID=x&mid={}&mid=12", id(71))
        );
        let unknown = format!("/sub/?mid={}", id(5));
        assert_eq!(mids.in_target(&unknown), unknown);
        assert!(mids.echo(id(5), id(5)).is_ok());
        assert!(mids.echo(id(5), id(6)).is_err());
        assert!(mids.pair(id(5), id(75)).is_ok());
        assert!(mids.echo(id(5), id(75)).is_ok());
    }

    #[test]
    fn messages_have_ids_of_their_own() {
        let mut mids = Mids::default();
        mids.pair(id(2), id(20)).unwrap();
        assert!(mids.pair(id(2), id(20)).is_ok());
        assert!(mids.pair(id(2), id(21)).is_err());
        assert!(mids.pair(id(3), id(20)).is_err());
        assert!(mids.pair(id(3), id(19)).is_ok());
    }
}
