//! What proves a guest is what we would have written for that guest, and nothing else.

use std::sync::LazyLock;

use data_encoding::HEXLOWER;
use pullgate_compat::guest::{GuestCookie, GuestId, GuestKeys};
use sha2::Sha256;

use super::hmac::hmac;

/// The one that signs today, and one of before.
const SECRETS: [&[u8]; 2] = [&[b'n'; 32], &[b'o'; 64]];
const SITE: &str = "site";
const YEAR: u64 = 31_536_000;

/// The keys of [`SECRETS`].
pub static GUESTS: LazyLock<GuestKeys> =
    LazyLock::new(|| GuestKeys::derive(&SECRETS, SITE).expect("they are long enough"));

/// `data` is a cookie, and a token of several guests, as it is and rightly signed.
pub fn cookie(data: &[u8]) {
    let value = String::from_utf8_lossy(data);
    proves_as_written(&value);
    for secret in SECRETS {
        let text = value.rsplit_once('.').map_or(&*value, |(text, _)| text);
        proves_as_written(&cookie_of(secret, text));
    }

    for number in [17, GuestId::MAX] {
        let Some(id) = GuestId::new(number) else {
            unreachable!("{number} is in range");
        };
        token(id, &value);
        for secret in SECRETS {
            let time = value.split(',').next().unwrap_or_default();
            let time = time.strip_prefix("t=").unwrap_or(time);
            token(id, &token_of(secret, id, time));
        }
    }
}

fn proves_as_written(value: &str) {
    let Some((id, issued, place)) = proof(value) else {
        // However long a cookie may live.
        assert_eq!(GUESTS.verify_cookie(value, u64::MAX, u64::MAX), None);
        return;
    };
    for max_age in [0, YEAR, u64::MAX] {
        for now in clocks(issued, max_age) {
            let age = now.saturating_sub(issued);
            let in_time = age <= max_age && issued.saturating_sub(now) <= 300;
            let expected = in_time.then_some(GuestCookie {
                id,
                issued,
                renew: place > 0 || age > max_age / 2,
            });
            assert_eq!(GUESTS.verify_cookie(value, now, max_age), expected);
        }
    }
    if place == 0 {
        assert_eq!(GUESTS.sign_cookie(id, issued), value);
    }
}

/// Whom a cookie proves, when it was issued, and the place of the secret that signed it: if the cookie is
/// what we write for that.
fn proof(value: &str) -> Option<(GuestId, u64, usize)> {
    let mut parts = value.split('.').skip(1);
    let id = GuestId::new(parts.next()?.parse().ok()?)?;
    let issued: u64 = parts.next()?.parse().ok()?;
    let text = format!("1.{}.{issued}", id.number());
    let place = SECRETS
        .into_iter()
        .position(|secret| value == cookie_of(secret, &text))?;
    Some((id, issued, place))
}

fn token(id: GuestId, value: &str) {
    let time = value
        .strip_prefix("t=")
        .and_then(|rest| rest.split(',').next()?.parse::<u64>().ok())
        .unwrap_or_default();
    let place = SECRETS
        .into_iter()
        .position(|secret| value == token_of(secret, id, &time.to_string()));
    let Some(place) = place else {
        assert!(!GUESTS.verify_token(id, value, time));
        return;
    };
    for now in clocks(time, 300) {
        let in_time = now.abs_diff(time) <= 300;
        assert_eq!(GUESTS.verify_token(id, value, now), in_time);
    }
    if place == 0 {
        assert_eq!(GUESTS.token(id, time), value);
    }
}

/// The moments at which it may matter that something is of `issued` and lives for `life` seconds.
fn clocks(issued: u64, life: u64) -> [u64; 9] {
    let later = |seconds: u64| issued.saturating_add(seconds);
    [
        0,
        issued.saturating_sub(301),
        issued.saturating_sub(300),
        issued,
        later(life / 2),
        later(life / 2).saturating_add(1),
        later(life),
        later(life).saturating_add(1),
        u64::MAX,
    ]
}

fn cookie_of(secret: &[u8], text: &str) -> String {
    format!("{text}.{}", sign(secret, "guest-cookie", text))
}

fn token_of(secret: &[u8], id: GuestId, time: &str) -> String {
    let signature = sign(secret, "guest-token", &format!("{time}.{id}"));
    format!("t={time},v1={signature}")
}

fn sign(secret: &[u8], purpose: &str, text: &str) -> String {
    let label = format!("pullgate-1\0{purpose}\0{SITE}");
    let key = hmac::<Sha256>(secret, label.as_bytes());
    HEXLOWER.encode(&hmac::<Sha256>(&key, text.as_bytes()))
}
