//! What a certificate says of itself: whom it is for, and how long (RFC 5280 section 4.1).
//!
//! Only what an operator is told: who believes a certificate is decided by rustls.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;

/// What is read of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The names that it is for, in lower case: `example.com`, `*.example.com`.
    pub names: Vec<String>,
    /// The addresses that it is for.
    pub addresses: Vec<IpAddr>,
    /// From when on it holds, in seconds since 1970.
    pub not_before: i64,
    /// Until when it holds, in seconds since 1970.
    pub not_after: i64,
}

/// What `certificate` says; none if it is not one, of version 3.
pub fn facts(certificate: &CertificateDer<'_>) -> Option<Facts> {
    let mut outer = Der(certificate.as_ref());
    let mut certificate = Der(outer.take(SEQUENCE)?);
    let mut fields = Der(certificate.take(SEQUENCE)?);
    fields.take_if(VERSION);
    fields.take(INTEGER)?;
    // The algorithm of the signature, and who has signed.
    fields.take(SEQUENCE)?;
    fields.take(SEQUENCE)?;
    let mut validity = Der(fields.take(SEQUENCE)?);
    let (not_before, not_after) = (validity.time()?, validity.time()?);
    // The subject, and its key.
    fields.take(SEQUENCE)?;
    fields.take(SEQUENCE)?;
    let mut facts = Facts { not_before, not_after, ..Facts::default() };
    fields.take_if(ISSUER_ID);
    fields.take_if(SUBJECT_ID);
    if let Some(extensions) = fields.take_if(EXTENSIONS) {
        let mut list = Der(Der(extensions).take(SEQUENCE)?);
        while !list.0.is_empty() {
            let mut extension = Der(list.take(SEQUENCE)?);
            let id = extension.take(OBJECT_ID)?;
            extension.take_if(BOOLEAN);
            let value = extension.take(OCTETS)?;
            if id == ALTERNATIVE_NAMES {
                facts.add_names(Der(Der(value).take(SEQUENCE)?))?;
            }
        }
    }
    Some(facts)
}

impl Facts {
    fn add_names(&mut self, mut names: Der<'_>) -> Option<()> {
        while !names.0.is_empty() {
            let (tag, value) = names.next()?;
            match tag {
                DNS_NAME => self.names.push(str::from_utf8(value).ok()?.to_ascii_lowercase()),
                IP_ADDRESS => {
                    let four = <[u8; 4]>::try_from(value).map(|it| IpAddr::V4(it.into()));
                    let sixteen = || <[u8; 16]>::try_from(value).map(|it| IpAddr::V6(it.into()));
                    self.addresses.extend(four.or_else(|_| sixteen()).ok());
                }
                _ => {}
            }
        }
        Some(())
    }
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The fields of a certificate that have a number instead of a type.
const VERSION: u8 = 0xa0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;
/// Two kinds of alternative names.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// The object identifier 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// Values in DER, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The tag and the contents of the next value.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // The number of bytes that the length has; a file is not longer than four of them say.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
                (usize::try_from(length).ok()?, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    fn take(&mut self, expected: u8) -> Option<&'a [u8]> {
        let (tag, value) = self.next()?;
        (tag == expected).then_some(value)
    }

    /// The next value, if it is this one.
    fn take_if(&mut self, expected: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&expected) { self.take(expected) } else { None }
    }

    /// A moment, in seconds since 1970.
    fn time(&mut self) -> Option<i64> {
        let (tag, value) = self.next()?;
        let text = str::from_utf8(value).ok()?.strip_suffix('Z')?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: i64 = year.parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        let mut pairs = rest.as_bytes().chunks(2).map(|pair| {
            let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            pair.parse::<i64>().ok()
        });
        let mut pair = || pairs.next().flatten();
        let (month, day, hour, minute, second) = (pair()?, pair()?, pair()?, pair()?, pair()?);
        let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
        is_date.then(|| {
            days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
        })
    }
}

/// Days from 1 January 1970 to this one, in the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have their leap day at the end, and months of 153 days in five.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let in_year = (153 * month + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn made(years: (i32, i32)) -> CertificateDer<'static> {
        let names = ["A.example", "*.a.example", "192.0.2.7", "2001:db8::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).expect("good names");
        params.not_before = date_time_ymd(years.0, 2, 28);
        params.not_after = date_time_ymd(years.1, 3, 1);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().clone()
    }

    #[test]
    fn names_addresses_and_times_are_read() {
        let facts = facts(&made((2024, 2051))).expect("a certificate");
        assert_eq!(facts.names, ["a.example", "*.a.example"]);
        let addresses: [IpAddr; 2] =
            ["192.0.2.7", "2001:db8::1"].map(|it| it.parse().expect("an address"));
        assert_eq!(facts.addresses, addresses);
        // `date -u -d 2024-02-28 +%s`, and so on; from 2050 on times are written differently.
        assert_eq!((facts.not_before, facts.not_after), (1_709_078_400, 2_561_241_600));
    }

    #[test]
    fn what_is_cut_or_changed_says_nothing_and_harms_nobody() {
        let whole = made((1970, 2000));
        assert_eq!(
            facts(&whole).map(|it| (it.not_before, it.not_after)),
            Some((5_011_200, 951_868_800))
        );
        for length in 0..whole.len() {
            assert_eq!(facts(&whole[..length].to_vec().into()), None, "{length}");
        }
        for index in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.to_vec();
                changed[index] ^= 1 << bit;
                // Whatever it says then, it is read to its end.
                let _ = facts(&changed.into());
            }
        }
    }
}
