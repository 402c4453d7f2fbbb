//! Publishing to guests by number: `USER_ID=-17/-18`, or `USER_ID=0` for all of them.

use pullgate_compat::channel::Receiver;
use pullgate_compat::guest::{GuestId, GuestKeys};

use crate::hub::unix_time;

/// To whom; `None` is everybody.
#[derive(Debug)]
pub(crate) struct Numbers<'a> {
    keys: &'a GuestKeys,
    guests: Vec<Option<GuestId>>,
}

/// Numbers that nothing can be sent to. Shown to the publisher.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadNumbers {
    #[error("USER_ID: {0:?} is no guest; expected 0 or -1 to -2147483647, several joined by /")]
    NoGuest(String),
    #[error("USER_ID: {0} numbers, at most {1} are allowed")]
    TooMany(usize, usize),
    #[error("USER_ID: guests are not served here, see guest.enabled and guest.push.enabled")]
    NotServed,
}

impl<'a> Numbers<'a> {
    /// Reads the parameter; one bad number makes all of it bad, so that nothing is half sent.
    pub(crate) fn parse(value: &str, keys: &'a GuestKeys, max: usize) -> Result<Self, BadNumbers> {
        let guests: Vec<_> = value.split('/').map(guest).collect::<Result<_, _>>()?;
        if guests.len() > max {
            return Err(BadNumbers::TooMany(guests.len(), max));
        }
        Ok(Self { keys, guests })
    }

    /// The channels for a message that is kept for `expiry` seconds.
    pub(crate) fn receivers(&self, expiry: u32) -> Vec<Receiver> {
        let now = unix_time().as_secs();
        self.guests
            .iter()
            .flat_map(|guest| self.keys.receivers(*guest, now, expiry))
            .collect()
    }
}

fn guest(number: &str) -> Result<Option<GuestId>, BadNumbers> {
    if number == "0" {
        return Ok(None);
    }
    number
        .strip_prefix('-')
        .filter(|digits| !digits.starts_with(['0', '+']))
        .and_then(|digits| GuestId::new(digits.parse().ok()?))
        .map(Some)
        .ok_or_else(|| BadNumbers::NoGuest(number.chars().take(20).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_and_everybody_but_no_users() {
        let keys = GuestKeys::derive(&["a secret that is long enough for it"], "").unwrap();
        let parse = |value: &str| Numbers::parse(value, &keys, 2).map(|numbers| numbers.guests);
        let guest = |number| GuestId::new(number);
        assert_eq!(
            parse("-17/-2147483647"),
            Ok(vec![guest(17), guest(2_147_483_647)])
        );
        assert_eq!(parse("0"), Ok(vec![None]));
        for bad in [
            "",
            "17",
            "-",
            "-0",
            "+1",
            "-+1",
            "-01",
            "--1",
            "-17/",
            "-17,-18",
            "-2147483648",
            " -1",
        ] {
            assert!(matches!(parse(bad), Err(BadNumbers::NoGuest(_))), "{bad:?}");
        }
        assert_eq!(parse("-1/-2/-3"), Err(BadNumbers::TooMany(3, 2)));
    }
}
