use super::*;
use crate::signature::Algorithm;

const PRIVATE: &str = "00112233445566778899aabbccddeeff";
const PUBLIC: &str = "ffeeddccbbaa99887766554433221100";

fn key() -> SignatureKey {
    SignatureKey::new(Algorithm::Sha1, "a key")
}

fn signed(ids: &str) -> String {
    format!("{ids}.{}", key().sign(ids))
}

fn pair() -> String {
    format!("{PRIVATE}:{PUBLIC}")
}

fn subscriber(value: &str) -> ChannelList {
    ChannelList::parse(value, &key(), Role::Subscriber)
}

fn publisher(value: &str) -> ChannelList {
    ChannelList::parse(value, &key(), Role::Publisher)
}

#[test]
fn ids_are_32_lower_case_digits() {
    let id = ChannelId::parse(PRIVATE).unwrap();
    assert_eq!(id.to_string(), PRIVATE);
    assert_eq!(format!("{id:?}"), format!("ChannelId({PRIVATE})"));
    assert_eq!(ChannelId::from_slice(id.as_bytes()), Some(id));
    assert_eq!(ChannelId::from_slice(&id.as_bytes()[1..]), None);
    for wrong in [
        "",
        "0011",
        &PRIVATE.to_uppercase(),
        &PRIVATE.replace('f', "g"),
    ] {
        assert_eq!(ChannelId::parse(wrong), None, "{wrong}");
    }
    assert_eq!(PublicId::parse(&format!("{PRIVATE}0")), None);
}

#[test]
fn a_list_keeps_order_and_repetition() {
    let list = subscriber(&[signed(PUBLIC), signed(&pair()), signed(PUBLIC)].join("/"));
    let [first, second] = [PUBLIC, PRIVATE].map(|id| ChannelId::parse(id).unwrap());
    let public = PublicId::parse(PUBLIC).unwrap();
    assert_eq!(
        list.receivers().collect::<Vec<_>>(),
        [
            Receiver::Private(first),
            Receiver::Private(second),
            Receiver::Public(public),
            Receiver::Private(first),
        ]
    );
    assert_eq!(list.channels().len(), 3);
    assert_eq!(list.sender(), Some(public), "of the second channel");
}

#[test]
fn subscribers_sign_everything() {
    assert!(!subscriber(&signed(PRIVATE)).is_empty());
    assert!(!subscriber(&signed(&pair())).is_empty());
    for wrong in [
        String::new(),
        PRIVATE.to_owned(),
        pair(),
        format!("{PRIVATE}."),
        format!("{PRIVATE}.{}", key().sign(&pair())),
        format!("{}.{}", pair(), key().sign(PRIVATE)),
        format!("{PRIVATE}:.{}", key().sign(PRIVATE)),
        signed(&format!("{}:{PUBLIC}", pair())),
        signed(&PRIVATE.to_uppercase()),
        signed(PRIVATE).to_uppercase(),
        format!("{}/", signed(PRIVATE)),
        format!("/{}", signed(PRIVATE)),
        format!("{}//{}", signed(PRIVATE), signed(PRIVATE)),
        format!("{}/{PRIVATE}", signed(PRIVATE)),
        format!(" {}", signed(PRIVATE)),
        format!("{} ", signed(PRIVATE)),
    ] {
        assert!(subscriber(&wrong).is_empty(), "{wrong}");
    }
}

#[test]
fn publishers_sign_pairs_only() {
    let wrong = key().sign("something else");
    for right in [
        PRIVATE.to_owned(),
        format!("{PRIVATE}.{wrong}"),
        format!("{PRIVATE}.{}", "0".repeat(32)),
        format!("{PRIVATE}/{PUBLIC}"),
        signed(&pair()),
    ] {
        assert!(!publisher(&right).is_empty(), "{right}");
    }
    for wrong in [
        pair(),
        format!("{}.{wrong}", pair()),
        format!("{PRIVATE}.{}", "0".repeat(31)),
        format!("{PRIVATE}.{}", "0".repeat(129)),
        format!("{PRIVATE}.{}", "g".repeat(40)),
        format!("{PRIVATE}/{}", PUBLIC.to_uppercase()),
    ] {
        assert!(publisher(&wrong).is_empty(), "{wrong}");
    }
}

#[test]
fn a_list_is_joined_once_and_not_when_it_is_wrong() {
    let key = SignatureKey::new(Algorithm::Sha1, "key");
    let more = ChannelId::from_bytes([7; 16]);
    let mut wrong = ChannelList::parse(&"a".repeat(32), &key, Role::Subscriber);
    wrong.join(more);
    assert!(wrong.is_empty());
    let id = "a".repeat(32);
    let mut list = ChannelList::parse(&format!("{id}.{}", key.sign(&id)), &key, Role::Subscriber);
    list.join(more);
    list.join(more);
    let private: Vec<_> = list
        .channels()
        .iter()
        .map(|channel| channel.private)
        .collect();
    assert_eq!(private, [ChannelId::parse(&id).unwrap(), more]);
}
