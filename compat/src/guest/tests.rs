use super::*;

const DAY: u64 = 86_400;
const YEAR: u64 = 365 * DAY;
const NOW: u64 = 1_800_000_000;

fn secret(letter: u8) -> Vec<u8> {
    vec![letter; GuestKeys::SECRET_LENGTH]
}

fn keys(letters: &[u8]) -> GuestKeys {
    let secrets: Vec<_> = letters.iter().map(|&letter| secret(letter)).collect();
    GuestKeys::derive(&secrets, "site").unwrap()
}

fn guest(number: u32) -> GuestId {
    GuestId::new(number).unwrap()
}

#[test]
fn numbers_fit_the_column_of_the_site() {
    assert_eq!(GuestId::new(0), None);
    assert_eq!(GuestId::new(2_147_483_648), None);
    assert_eq!(guest(2_147_483_647).to_string(), "-2147483647");
    assert_eq!(guest(17).number(), 17);
}

#[test]
fn secrets_are_long_and_there_is_one() {
    let derive = |secrets: &[Vec<u8>]| GuestKeys::derive(secrets, "site").unwrap_err();
    assert_eq!(derive(&[]), BadSecrets::None);
    assert_eq!(
        derive(&[secret(b'a'), vec![b'b'; 31]]).to_string(),
        "secret 2 has 31 bytes, expected at least 32"
    );
}

/// Computed with another implementation, so that a change of the derivation, which would make every
/// guest a new one, does not go unseen.
#[test]
fn the_derivation_stays() {
    assert_eq!(
        keys(b"a").token_keys_hex(),
        ["907f0b2c66aa5d532666d0eea3a7e894eca8baca42b4ebf604df7cfc0a464b9a"]
    );
    assert_eq!(
        keys(b"a").sign_cookie(guest(17), NOW),
        "1.17.1800000000.95a3255b0d7eb4d981512af7c0b8ffde9d412ae409d7bbc3229907b59cc51008"
    );
    assert_eq!(
        keys(b"a").token(guest(17), NOW),
        "t=1800000000,v1=f6587b61e37acd079b9ed010267cc7fedfcbc9768904854f13d8df85d207f280"
    );
}

#[test]
fn keys_are_of_one_site_and_not_shown() {
    let other = GuestKeys::derive(&[secret(b'a')], "another").unwrap();
    let cookie = keys(b"a").sign_cookie(guest(17), NOW);
    assert_eq!(other.verify_cookie(&cookie, NOW, YEAR), None);
    assert_eq!(format!("{other:?}"), "GuestKeys { secrets: 1, .. }");
}

#[test]
fn a_cookie_lives_and_is_renewed_at_half_time() {
    let keys = keys(b"a");
    let cookie = keys.sign_cookie(guest(17), NOW);
    let renewed = |now| {
        keys.verify_cookie(&cookie, now, YEAR)
            .map(|found| found.renew)
    };
    assert_eq!(renewed(NOW), Some(false));
    assert_eq!(renewed(NOW + YEAR / 2), Some(false));
    assert_eq!(renewed(NOW + YEAR / 2 + 1), Some(true));
    assert_eq!(renewed(NOW + YEAR), Some(true));
    assert_eq!(renewed(NOW + YEAR + 1), None);
    assert_eq!(renewed(NOW - 300), Some(false));
    assert_eq!(renewed(NOW - 301), None);
}

#[test]
fn a_cookie_of_an_older_secret_is_renewed() {
    let cookie = keys(b"a").sign_cookie(guest(17), NOW);
    let found = keys(b"bca").verify_cookie(&cookie, NOW, YEAR).unwrap();
    let expected = GuestCookie {
        id: guest(17),
        issued: NOW,
        renew: true,
    };
    assert_eq!(found, expected);
    assert_eq!(keys(b"bc").verify_cookie(&cookie, NOW, YEAR), None);
}

/// Values that are rightly signed, but written in another way than ours.
#[test]
fn there_is_one_way_to_write_a_cookie() {
    let keys = keys(b"a");
    for text in [
        "1.017.1800000000",
        "1.+17.1800000000",
        "1. 17.1800000000",
        "1.-17.1800000000",
        "1.17.01800000000",
        "1.17.1800000000 ",
        "1.17.",
        "1..1800000000",
        "1.0.1800000000",
        "1.2147483648.1800000000",
        "1.4294967313.1800000000",
        "1.17",
        "1.17.1800000000.",
        "1.17.17.1800000000",
        "2.17.1800000000",
        "17.1800000000",
        "",
    ] {
        let value = format!("{text}.{}", keys.cookie.first.sign(&[text]));
        assert_eq!(keys.verify_cookie(&value, NOW, YEAR), None, "{value}");
    }
}

#[test]
fn a_token_lives_five_minutes() {
    let keys = keys(b"a");
    let token = keys.token(guest(17), NOW);
    assert!(keys.verify_token(guest(17), &token, NOW));
    assert!(keys.verify_token(guest(17), &token, NOW + 300));
    assert!(!keys.verify_token(guest(17), &token, NOW + 301));
    assert!(!keys.verify_token(guest(17), &token, NOW - 301));
    assert!(!keys.verify_token(guest(18), &token, NOW));
    let cookie = keys.sign_cookie(guest(17), NOW);
    let (_, signature) = cookie.rsplit_once('.').unwrap();
    assert!(!keys.verify_token(guest(17), &format!("t={NOW},v1={signature}"), NOW));
}
