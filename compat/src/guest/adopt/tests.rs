use super::*;
use crate::signature::Algorithm;

const KEY: &str = "the site's own key";

fn site_cookie(pattern: &str, signed: Option<&str>, algorithm: Algorithm) -> SiteCookie {
    cookie_in(pattern, signed, algorithm, ProofEncoding::Hex)
}

fn cookie_in(
    pattern: &str,
    signed: Option<&str>,
    algorithm: Algorithm,
    encoding: ProofEncoding,
) -> SiteCookie {
    let format = CookieFormat::parse(pattern, signed).unwrap();
    SiteCookie::new(format, encoding, SignatureKey::new(algorithm, KEY))
}

fn typical() -> SiteCookie {
    site_cookie("{id}.{hmac}", None, Algorithm::Sha256)
}

fn sign(algorithm: Algorithm, text: &str) -> String {
    SignatureKey::new(algorithm, KEY).sign(text)
}

fn signed(text: &str) -> String {
    format!("{text}.{}", sign(Algorithm::Sha256, text))
}

fn number(cookie: &SiteCookie, value: &str) -> Option<u32> {
    cookie.verify(value).map(GuestId::number)
}

/// `php -r 'echo hash_hmac("sha256", "17", "the site\'s own key");'`
#[test]
fn what_php_signs_is_believed() {
    let value = "17.9c41b4a1f03fa02985afc35f07d70ba65398dfed8a5c99aba0601b34b18135ce";
    assert_eq!(number(&typical(), value), Some(17));
}

#[test]
fn an_id_is_a_number_of_a_guest() {
    for (id, expected) in [
        ("17", Some(17)),
        ("-17", Some(17)),
        ("1", Some(1)),
        ("2147483647", Some(2_147_483_647)),
        ("-2147483647", Some(2_147_483_647)),
        ("2147483648", None),
        ("4294967313", None),
        ("99999999999", None),
        ("0", None),
        ("-0", None),
        ("017", None),
        ("--17", None),
        ("+17", None),
        (" 17", None),
        ("17 ", None),
        ("1７", None),
        ("", None),
        ("-", None),
    ] {
        assert_eq!(number(&typical(), &signed(id)), expected, "{id:?}");
    }
}

#[test]
fn what_the_key_does_not_prove_is_nothing() {
    let good = signed("17");
    for at in 0..good.len() {
        assert_eq!(number(&typical(), &good[..at]), None, "{at}");
        let mut forged = good.clone();
        let digit = if good[at..].starts_with('1') {
            "2"
        } else {
            "1"
        };
        forged.replace_range(at..=at, digit);
        assert_eq!(number(&typical(), &forged), None, "{forged}");
    }
    let (_, proof) = good.split_once('.').unwrap();
    let another = SignatureKey::new(Algorithm::Sha256, "the key of another site").sign("17");
    for value in [
        format!("18.{proof}"),
        format!("17.{another}"),
        format!("17.{}", sign(Algorithm::Sha1, "17")),
        format!("17.{}", sign(Algorithm::Sha512, "17")),
        format!("{good}0"),
        format!("{good}.{proof}"),
        format!("{good} "),
        format!("\"{good}\""),
        "17.".to_owned(),
        "17".to_owned(),
        String::new(),
    ] {
        assert_eq!(number(&typical(), &value), None, "{value}");
    }
}

#[test]
fn what_is_encoded_is_decoded_once() {
    let good = signed("17");
    let hex: String = good.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(number(&typical(), &hex), Some(17));
    let again = hex.replace('%', "%25");
    assert!(again.len() < LONGEST);
    assert_eq!(number(&typical(), &again), None);
    for broken in ["%", "%3", "%zz", "%ff", "%00"] {
        assert_eq!(number(&typical(), &(good.clone() + broken)), None);
    }
}

#[test]
fn an_oversized_value_is_not_looked_at() {
    let cookie = site_cookie("{name}.{id}.{hmac}", None, Algorithm::Sha256);
    let of_length = |length: usize| signed(&format!("{}.17", "n".repeat(length - 68)));
    assert_eq!(number(&cookie, &of_length(LONGEST)), Some(17));
    assert_eq!(number(&cookie, &of_length(LONGEST + 1)), None);
}

#[test]
fn every_algorithm_and_encoding() {
    for name in Algorithm::NAMES {
        let algorithm: Algorithm = name.parse().unwrap();
        let hex = sign(algorithm, "17");
        let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap();
        let base64 = data_encoding::BASE64.encode(&bytes);
        let base64url = data_encoding::BASE64URL.encode(&bytes);
        for (encoding, proof) in [
            (ProofEncoding::Hex, &hex),
            (ProofEncoding::Hex, &hex.to_uppercase()),
            (ProofEncoding::Base64, &base64),
            (ProofEncoding::Base64Url, &base64url),
        ] {
            let first = cookie_in("{hmac}{id}", Some("{id}"), algorithm, encoding);
            let last = cookie_in("{id}.{hmac}", None, algorithm, encoding);
            for proof in [proof.as_str(), proof.trim_end_matches('=')] {
                assert_eq!(
                    number(&first, &format!("{proof}17")),
                    Some(17),
                    "{name} {proof}"
                );
                assert_eq!(
                    number(&last, &format!("17.{proof}")),
                    Some(17),
                    "{name} {proof}"
                );
                assert_eq!(
                    number(&last, &format!("17.{proof}=")).is_some(),
                    proof.len() % 4 == 3
                );
            }
        }
    }
}

#[test]
fn parts_stand_where_the_pattern_says() {
    let hmac = |text: &str| sign(Algorithm::Sha1, text);
    for (pattern, what, text, value) in [
        ("{id}:{time}:{hmac}", None, "17:99", "17:99:#"),
        (
            "{id}:{time}:{hmac}",
            Some("{id}|{time}"),
            "17|99",
            "17:99:#",
        ),
        (
            "{id}:{time}:{hmac}",
            Some("{time}-{id}"),
            "99-17",
            "17:99:#",
        ),
        ("{hmac}-{id}", Some("{id}"), "17", "#-17"),
        ("{id}-{hmac}", None, "17", "17-#"),
        ("{id}-{hmac}", None, "-17", "-17-#"),
        ("v1.{id}.{hmac}", None, "v1.17", "v1.17.#"),
        ("v1.{id}.{hmac}", Some("guest1{id}"), "guest117", "v1.17.#"),
        ("{a}.{id}.{b}.{hmac}", None, "5.17.6", "5.17.6.#"),
        (
            "{a}.{id}.{b}.{hmac}",
            Some("{a}.{id}.{b}"),
            ".17.",
            ".17..#",
        ),
        (
            "id={id}&sig={hmac}&v={any}",
            None,
            "id=17",
            "id=17&sig=#&v=é=&",
        ),
    ] {
        let cookie = site_cookie(pattern, what, Algorithm::Sha1);
        let value = value.replace('#', &hmac(text));
        assert_eq!(number(&cookie, &value), Some(17), "{pattern} {what:?}");
    }
    // The parts of another place are not those of this one.
    let cookie = site_cookie("{a}.{id}.{b}.{hmac}", None, Algorithm::Sha1);
    for text in ["x.5.17.y", "x.17", "17.y", "x.y.17.5"] {
        assert_eq!(
            cookie.verify(&format!("{text}.{}", hmac(text))),
            None,
            "{text}"
        );
    }
}

#[test]
fn formats_that_leave_doubt_are_refused() {
    let flaw = |pattern, signed| CookieFormat::parse(pattern, signed).unwrap_err();
    let name = |name: &str| name.to_owned();
    for (pattern, expected) in [
        ("", Flaw::NoHmac),
        ("{id}", Flaw::NoHmac),
        ("{hmac}", Flaw::NoId),
        ("{id.{hmac}", Flaw::Braces),
        ("{id}.{hmac", Flaw::Braces),
        ("id}.{hmac}", Flaw::Braces),
        ("{}{id}.{hmac}", Flaw::Braces),
        ("{Time}.{id}.{hmac}", Flaw::Braces),
        ("{id}.{id}.{hmac}", Flaw::Twice(name("id"))),
        ("{any}.{any}.{id}.{hmac}", Flaw::Twice(name("any"))),
        ("{id}{hmac}", Flaw::Endless(name("id"))),
        ("{time}{id}.{hmac}", Flaw::Endless(name("time"))),
        ("{id}0{hmac}", Flaw::IdTouches),
        ("{time}.0{id}.{hmac}", Flaw::IdTouches),
    ] {
        assert_eq!(
            flaw(pattern, None),
            BadFormat::Pattern(expected),
            "{pattern}"
        );
    }
    let pattern = "{id}:{time}:{host}:{hmac}";
    for (signed, expected) in [
        ("", Flaw::NoId),
        ("{time}", Flaw::NoId),
        ("{id}.{hmac}", Flaw::SignsItself),
        ("{id}.{user}", Flaw::Unknown(name("user"))),
        ("{id", Flaw::Braces),
        ("{id}{time}", Flaw::IdTouches),
        ("{time}{id}", Flaw::IdTouches),
        ("{time}1{id}", Flaw::IdTouches),
        ("{id}1{time}", Flaw::IdTouches),
        ("{time}.{id}.{host}", Flaw::IdBetween),
    ] {
        assert_eq!(
            flaw(pattern, Some(signed)),
            BadFormat::Signed(expected),
            "{signed}"
        );
    }
    let unsigned = flaw("{hmac}.{id}", None);
    assert_eq!(unsigned, BadFormat::Signed(Flaw::IdNotBefore));
    assert_eq!(
        unsigned.to_string(),
        "signed: expected what is signed, such as \"{id}\": the pattern has no {id} in front of {hmac}"
    );
}

#[test]
fn the_key_is_not_shown() {
    assert!(!format!("{:?}", typical()).contains(KEY));
}
