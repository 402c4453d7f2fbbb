//! The names of keys, and of channels in pub/sub: those of push server 0.4.0, and our own, which begin with
//! `pullgate:`. All begin with what `history.redis_prefix` says.

use pullgate_compat::channel::Receiver;
use pullgate_compat::guest::GuestId;
use pullgate_compat::message::MessageId;

/// What keys begin with that have more behind it.
const KEYS: [&str; 5] = [
    "server:",
    "message:",
    "channel:",
    "pubchannel:",
    "pullgate:",
];
/// The same of channels in pub/sub.
const CHANNELS: [&str; 2] = ["pushserver:", "pullgate:"];

/// Makes the names of a site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// What each key begins with,
    keys: String,
    /// and each channel in pub/sub.
    channels: String,
}

impl Names {
    /// Behind `prefix`, in the database of this number. Pub/sub is one for all databases, and the databases
    /// of other sites may be beside this one: so its channels name theirs, but for the first. The original
    /// site's do not: other nodes, push server's too, may know them without.
    pub(crate) fn new(prefix: &str, database: i64, is_original: bool) -> Self {
        let channels = match database {
            0 => prefix.to_owned(),
            _ if is_original => prefix.to_owned(),
            _ => format!("{prefix}db{database}:"),
        };
        Self {
            keys: prefix.to_owned(),
            channels,
        }
    }

    /// Whether a key of the one may be a key of the other.
    pub(crate) fn share_keys(&self, other: &Self) -> bool {
        overlap(&self.keys, &other.keys, &KEYS)
    }

    /// Whether the one may hear what is published on a channel of the other.
    pub(crate) fn share_channels(&self, other: &Self) -> bool {
        overlap(&self.channels, &other.channels, &CHANNELS)
    }

    /// The first ten digits of every message id.
    pub(super) fn start_date(&self) -> String {
        self.key("server:startdate")
    }

    /// The counter behind the others.
    pub(super) fn message_counter(&self) -> String {
        self.key("server:messagecounter")
    }

    /// Field by process: its statistics, as JSON.
    pub(super) fn statistics(&self) -> String {
        self.key("stats")
    }

    /// A stored message.
    pub(super) fn message(&self, id: &MessageId) -> Vec<u8> {
        [self.messages().as_bytes(), id.as_bytes()].concat()
    }

    /// What the keys of all messages begin with.
    pub(super) fn messages(&self) -> String {
        self.key("message:")
    }

    /// The list of a channel's messages.
    pub(super) fn list(&self, receiver: &Receiver) -> Vec<u8> {
        self.of_channel("", "messages", receiver)
    }

    /// There while somebody listens to the channel.
    pub(super) fn online(&self, receiver: &Receiver) -> Vec<u8> {
        self.of_channel("", "online", receiver)
    }

    /// pullgate's nodes at which somebody does, and until when that holds without a sign of life.
    pub(super) fn nodes(&self, receiver: &Receiver) -> Vec<u8> {
        self.of_channel("pullgate:", "online", receiver)
    }

    /// There while the process of this name is one of pullgate's.
    pub(super) fn process(&self, name: &str) -> String {
        self.processes() + name
    }

    /// What the keys of all processes begin with.
    pub(super) fn processes(&self) -> String {
        self.key("pullgate:process:")
    }

    /// How many messages of the node were published.
    pub(super) fn carried(&self, node: &str) -> String {
        self.key("pullgate:carried:") + node
    }

    /// The last of a guest's messages that went to the user it became.
    pub(super) fn moved(&self, guest: GuestId) -> String {
        self.key("pullgate:moved:") + &guest.number().to_string()
    }

    /// The greatest number of a guest, those that were jumped over, and the greatest that was lost.
    pub(super) fn guest_ids(&self) -> [String; 3] {
        ["", ":skipped", ":lost"].map(|what| self.key("pullgate:guest_ids") + what)
    }

    /// The channel on which a node publishes.
    pub(super) fn published(&self, node: &str) -> String {
        format!("{}pushserver:{node}", self.channels)
    }

    /// The pattern of these channels of all nodes.
    pub(super) fn published_anywhere(&self) -> String {
        self.published("*")
    }

    /// The channel for a node's signs of life.
    pub(super) fn beats(&self, node: &str) -> String {
        format!("{}pullgate:{node}", self.channels)
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.keys)
    }

    fn of_channel(&self, whose: &str, what: &str, receiver: &Receiver) -> Vec<u8> {
        let (kind, id) = match receiver {
            Receiver::Private(id) => ("channel", id.as_bytes()),
            Receiver::Public(id) => ("pubchannel", id.as_bytes()),
        };
        let key = format!("{}{whose}{kind}:{what}:", self.keys);
        [key.as_bytes(), id].concat()
    }
}

/// Whether one name may begin with either prefix and one of `kinds` behind it: `""` and `"pub"` have
/// `pubchannel:` in common.
fn overlap(one: &str, other: &str, kinds: &[&str]) -> bool {
    let begin = |prefix: &str| -> Vec<String> {
        let names = kinds.iter().map(|kind| format!("{prefix}{kind}"));
        names.collect()
    };
    let theirs = begin(other);
    begin(one).iter().any(|name| {
        let same = |other: &String| name.starts_with(other) || other.starts_with(name);
        theirs.iter().any(same)
    })
}

#[cfg(test)]
mod tests {
    use pullgate_compat::channel::{ChannelId, PublicId};

    use super::*;

    /// All names there are.
    fn all(names: &Names) -> (Vec<Vec<u8>>, Vec<String>) {
        let id = ChannelId::from_bytes(*b"0123456789abcdef");
        let public = PublicId::from_bytes(*b"0123456789abcdef");
        let (private, public) = (Receiver::Private(id), Receiver::Public(public));
        let mut keys = vec![
            names.list(&private),
            names.list(&public),
            names.online(&private),
            names.nodes(&public),
            names.message(&MessageId::MIN),
        ];
        let texts = [
            names.start_date(),
            names.message_counter(),
            names.statistics(),
            names.process("n0de"),
            names.carried("n0de"),
            names.moved(GuestId::new(17).unwrap()),
        ];
        keys.extend(texts.map(String::into_bytes));
        keys.extend(names.guest_ids().map(String::into_bytes));
        let channels = vec![
            names.published("n0de"),
            names.published_anywhere(),
            names.beats("n0de"),
        ];
        (keys, channels)
    }

    #[test]
    fn without_a_prefix_they_are_push_servers() {
        let (keys, channels) = all(&Names::new("", 3, true));
        let expected: [&[u8]; 14] = [
            b"channel:messages:0123456789abcdef",
            b"pubchannel:messages:0123456789abcdef",
            b"channel:online:0123456789abcdef",
            b"pullgate:pubchannel:online:0123456789abcdef",
            b"message:\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"server:startdate",
            b"server:messagecounter",
            b"stats",
            b"pullgate:process:n0de",
            b"pullgate:carried:n0de",
            b"pullgate:moved:17",
            b"pullgate:guest_ids",
            b"pullgate:guest_ids:skipped",
            b"pullgate:guest_ids:lost",
        ];
        assert_eq!(keys, expected);
        let expected = ["pushserver:n0de", "pushserver:*", "pullgate:n0de"];
        assert_eq!(channels, expected);
    }

    #[test]
    fn all_begin_with_the_prefix() {
        let plain = all(&Names::default());
        let behind = |prefix: &str| {
            let keys = plain.0.iter();
            let keys: Vec<_> = keys.map(|key| [prefix.as_bytes(), key].concat()).collect();
            let channels = plain.1.iter();
            let channels: Vec<_> = channels.map(|name| format!("{prefix}{name}")).collect();
            (keys, channels)
        };
        assert_eq!(all(&Names::new("shop:", 0, false)), behind("shop:"));
        let (keys, channels) = all(&Names::new("shop:", 2, false));
        assert_eq!(keys, behind("shop:").0);
        assert_eq!(channels, behind("shop:db2:").1);
    }

    #[test]
    fn prefixes_that_do_not_keep_names_apart() {
        let keys = |one, other| {
            let names = |prefix| Names::new(prefix, 0, false);
            names(one).share_keys(&names(other)) || names(other).share_keys(&names(one))
        };
        let channels = |one: (&str, i64), other: (&str, i64)| {
            let names = |(prefix, database)| Names::new(prefix, database, false);
            names(one).share_channels(&names(other)) || names(other).share_channels(&names(one))
        };
        for (one, other) in [
            ("", ""),
            ("", "pub"),
            ("", "pullgate:"),
            ("", "message:x:"),
            ("a:", "a:pullgate:process:"),
            ("a", "apub"),
        ] {
            assert!(keys(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("", "b:"),
            ("a", "ab"),
            ("a:", "b:"),
            ("", "webserver:"),
            ("a:", "a:b:"),
        ] {
            assert!(!keys(one, other), "{one} {other}");
            assert!(!channels((one, 0), (other, 0)), "{one} {other}");
        }
        assert!(channels(("", 0), ("pushserver:", 1)));
        assert!(channels(("", 1), ("db1:", 0)));
        assert!(channels(("a:", 1), ("a:", 1)));
        assert!(channels(("a:", 1), ("a:db1:pushserver:x", 7)));
        assert!(!channels(("a:", 0), ("a:", 1)));
        assert!(!channels(("a:", 1), ("a:", 11)));
        // The original site is where it was, as if there were no other.
        let (original, other) = (Names::new("", 3, true), Names::new("", 0, false));
        assert!(original.share_channels(&other));
        assert!(!original.share_channels(&Names::new("", 1, false)));
    }
}
