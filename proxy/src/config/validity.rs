//! From when to when a certificate is good (RFC 5280 4.1.2.5): no more of it is read than the way there.

use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, which is there in certificates of version 3.
const VERSION: u8 = 0xa0;

/// The first and the last second in which a certificate is good; `None` if it is none.
pub(crate) fn validity(certificate: &[u8]) -> Option<Range<Timestamp>> {
    let (certificate, _) = tagged(certificate, SEQUENCE)?;
    let (signed, _) = tagged(certificate, SEQUENCE)?;
    let after_version = tagged(signed, VERSION).map_or(signed, |(_, after)| after);
    let (_serial, after) = tagged(after_version, INTEGER)?;
    let (_algorithm, after) = tagged(after, SEQUENCE)?;
    let (_issuer, after) = tagged(after, SEQUENCE)?;
    let (validity, _) = tagged(after, SEQUENCE)?;
    let (begin, after) = time(validity)?;
    let (end, _) = time(after)?;
    Some(begin..end)
}

fn time(der: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (tag, time, after) = element(der)?;
    let time = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    // Two digits stand for 1950 to 2049.
    let time = match (tag, time.as_bytes().first()?) {
        (UTC_TIME, b'0'..=b'4') => format!("20{time}"),
        (UTC_TIME, _) => format!("19{time}"),
        (GENERALIZED_TIME, _) => time.to_owned(),
        (_, _) => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", time).ok()?;
    Some((TimeZone::UTC.to_timestamp(time).ok()?, after))
}

/// The contents of an element of this tag, and what is behind it.
fn tagged(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, contents, after) = element(der)?;
    (found == tag).then_some((contents, after))
}

/// The first element: its tag and contents, and what is behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, after) = der.split_first()?;
    let (length, after) = after.split_first()?;
    let (length, after) = match length {
        0..=0x7f => (usize::from(*length), after),
        0x81..=0x84 => {
            let (digits, after) = after.split_at_checked(usize::from(length & 0x7f))?;
            let digit = |sum, digit: &u8| sum << 8 | usize::from(*digit);
            (digits.iter().fold(0, digit), after)
        }
        _ => return None,
    };
    let (contents, after) = after.split_at_checked(length)?;
    Some((*tag, contents, after))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn the_end_is_read_and_nothing_else_is_one() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../fixtures/config/valid/cert.pem"
        );
        let certificate = CertificateDer::from_pem_file(path).unwrap();
        let found = validity(&certificate).unwrap().end.to_string();
        assert_eq!(found, "2120-01-02T03:04:05Z");
        for cut in 0..200 {
            assert_eq!(validity(&certificate[..cut]), None);
        }
        let mut turned = certificate.to_vec();
        for at in 0..turned.len() {
            turned[at] ^= 0xff;
            // Whatever it says, it is read without harm.
            let _ = validity(&turned);
            turned[at] ^= 0xff;
        }
    }

    #[test]
    fn two_digits_are_of_this_century_or_the_last() {
        let with = |time: &[u8]| {
            let sequence =
                |inner: &[u8]| [&[SEQUENCE, u8::try_from(inner.len()).unwrap()], inner].concat();
            let time = [&[UTC_TIME, u8::try_from(time.len()).unwrap()], time].concat();
            let times = sequence(&[time.as_slice(), &time].concat());
            let empty = sequence(&[]);
            let signed = [&[INTEGER, 1, 1], empty.as_slice(), &empty, &times].concat();
            let validity = validity(&sequence(&sequence(&signed)));
            validity.map(|validity| validity.end.to_string())
        };
        assert_eq!(
            with(b"491231235959Z").as_deref(),
            Some("2049-12-31T23:59:59Z")
        );
        assert_eq!(
            with(b"500101000000Z").as_deref(),
            Some("1950-01-01T00:00:00Z")
        );
        assert_eq!(with(b"501301000000Z"), None);
        assert_eq!(with(b"5001010000"), None);
    }
}
