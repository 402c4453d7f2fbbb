use super::*;

/// Of the phrase below with the key `key`, from the collection of known HMACs that every implementation
/// is tried against.
const KNOWN: [(Algorithm, &str); 3] = [
    (Algorithm::Md5, "80070713463e7749b90c2dc24911e275"),
    (Algorithm::Sha1, "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9"),
    (
        Algorithm::Sha256,
        "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8",
    ),
];
const PHRASE: &str = "The quick brown fox jumps over the lazy dog";

fn every_algorithm() -> impl Iterator<Item = Algorithm> {
    Algorithm::NAMES.iter().map(|name| name.parse().unwrap())
}

#[test]
fn known_signatures() {
    for (algorithm, hex) in KNOWN {
        let key = SignatureKey::new(algorithm, "key");
        assert_eq!(key.sign(PHRASE), hex, "{algorithm}");
        assert!(key.verify(PHRASE, hex), "{algorithm}");
    }
}

#[test]
fn names_come_back() {
    for name in Algorithm::NAMES {
        assert_eq!(name.parse::<Algorithm>().unwrap().to_string(), name);
    }
    let unknown = "SHA1".parse::<Algorithm>().unwrap_err().to_string();
    assert!(unknown.contains("\"SHA1\"") && unknown.ends_with("md5, sha1, sha256, sha384, sha512"));
}

#[test]
fn only_the_whole_signature_verifies() {
    for algorithm in every_algorithm() {
        let key = SignatureKey::new(algorithm, "key");
        let right = key.sign(PHRASE);
        assert!(key.verify(PHRASE, &right));
        assert!(!key.verify("another", &right));
        assert!(!key.verify(PHRASE, &right.to_uppercase()));
        assert!(!key.verify(PHRASE, ""));
        assert!(!key.verify(PHRASE, &right[1..]));
        assert!(!key.verify(PHRASE, &right[2..]));
        assert!(!key.verify(PHRASE, &format!("{right}00")));
        assert!(!SignatureKey::new(algorithm, "another").verify(PHRASE, &right));
        for at in 0..right.len() {
            let mut changed = right.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert!(!key.verify(PHRASE, str::from_utf8(&changed).unwrap()));
        }
    }
}

#[test]
fn public_signatures_are_raw_and_over_hex() {
    let id = PublicId::parse("00112233445566778899aabbccddeeff").unwrap();
    for algorithm in every_algorithm() {
        let key = SignatureKey::new(algorithm, "key");
        let raw = key.sign_public(&id);
        assert_eq!(
            HEXLOWER.encode(&raw),
            key.sign(&format!("public:{id}")),
            "{algorithm}"
        );
        assert!(key.verify_public(id.as_bytes(), &raw));
        assert!(!key.verify_public(&id.as_bytes()[1..], &raw));
        assert!(!key.verify_public(id.as_bytes(), &raw[1..]));
        assert!(!key.verify_public(id.as_bytes(), HEXLOWER.encode(&raw).as_bytes()));
        assert!(!key.verify_public(id.as_bytes(), b""));
    }
}

#[test]
fn the_length_of_the_id_does_not_matter() {
    let key = SignatureKey::new(Algorithm::Sha1, "key");
    let raw = HEXLOWER.decode(key.sign("public:0011").as_bytes()).unwrap();
    assert!(key.verify_public(&[0x00, 0x11], &raw));
}

#[test]
fn a_key_is_not_shown() {
    let shown = format!("{:?}", SignatureKey::new(Algorithm::Sha1, "secret"));
    assert_eq!(shown, "SignatureKey { algorithm: Sha1, .. }");
}
