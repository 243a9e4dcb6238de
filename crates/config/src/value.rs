//! How single values are written: `10s`, `64MiB`, `0.0.0.0:1935`.

use std::{fmt, net::SocketAddr, time::Duration};

/// What is wrong with a value, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub what: String,
    pub fix: String,
}

impl Problem {
    pub(super) fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

/// Reads the text of a single value; no value needs a control character.
pub(super) fn scalar<T>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, Problem>,
) -> Result<T, Problem> {
    if text.contains(char::is_control) {
        return Err(Problem::new("has a control character", "remove it"));
    }
    read(text)
}

pub(super) fn not_one() -> Problem {
    Problem::new(
        "expected a single value, not a list or keys",
        "write only the value, in quotes if it begins with `[` or `{`",
    )
}

pub(super) fn no_value(use_what: &str) -> Problem {
    Problem::new("has no value", format!("write {use_what}, or remove the key"))
}

/// Reads a whole number, as far as one is too small or too large for anything here.
pub(super) fn whole_number(text: &str) -> Option<i128> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let extreme = if text.starts_with('-') { i128::MIN } else { i128::MAX };
    Some(text.parse().unwrap_or(extreme))
}

/// Reads an IP address with a port.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, Problem> {
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().unwrap_or_default();
        let is_number = |port: &str| whole_number(port).is_some() && !port.starts_with(['-', '+']);
        let what = format!("`{text}` is not an IP address with a port");
        let whole = match port.parse::<u16>() {
            Ok(port) => port,
            Err(_) if is_number(port) => {
                let fix = "use a port from 1 to 65535, or 0 for any that is free";
                return Problem::new(format!("`{text}`: {port} is not a valid port"), fix);
            }
            Err(_) => 1935,
        };
        Problem::new(what, format!("use 0.0.0.0:{whole} or \"[::]:{whole}\""))
    })
}

/// Units of time from the longest, in milliseconds.
const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Units of size from the largest, in bytes.
const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Units of rate from the largest, in bits per second. They are decimal, as everywhere with networks.
const RATE_UNITS: [(&str, u64); 4] =
    [("Gbps", 1_000_000_000), ("Mbps", 1_000_000), ("kbps", 1000), ("bps", 1)];

/// Whole numbers with units, the longest unit first: `10s`, `1m30s`. The error says what is wrong.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let not_one = || format!("`{text}` is not a duration");
    let mut rest = text;
    let mut units = TIME_UNITS.iter();
    let mut total = Duration::ZERO;
    while !rest.is_empty() || text.is_empty() {
        let (number, unit, after) = quantity(rest).ok_or_else(not_one)?;
        if unit.is_empty() && after.is_empty() {
            return Err(format!("`{text}` has no unit"));
        }
        let (_, millis) = units.find(|(name, _)| *name == unit).ok_or_else(not_one)?;
        // What is too long for us is too long for every key.
        let millis = number.saturating_mul((*millis).into());
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        total = total.saturating_add(Duration::from_millis(millis));
        rest = after;
    }
    Ok(total)
}

/// A whole number with a unit: `64MiB`. The error says what is wrong.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let not_one = || format!("`{text}` is not a size");
    let (number, unit, rest) = quantity(text).ok_or_else(not_one)?;
    if unit.is_empty() && rest.is_empty() {
        return Err(format!("`{text}` has no unit"));
    }
    let known = SIZE_UNITS.iter().find(|(name, _)| *name == unit && rest.is_empty());
    let (_, bytes) = known.ok_or_else(not_one)?;
    let bytes = u64::try_from(number.saturating_mul((*bytes).into()));
    bytes.map_err(|_| format!("`{text}` is more than any machine has"))
}

/// A number with a unit, together a whole number of bits per second: `1.5Gbps`; or `0`. The error says what is wrong.
pub(super) fn parse_rate(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let not_one = || format!("`{text}` is not a rate");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (digits, scale) = decimal(number).ok_or_else(not_one)?;
    if unit.is_empty() {
        return Err(format!("`{text}` has no unit"));
    }
    let (_, bits) = RATE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(not_one)?;
    let bits = digits.saturating_mul((*bits).into());
    if !bits.is_multiple_of(scale) {
        return Err(not_one());
    }
    u64::try_from(bits / scale).map_err(|_| format!("`{text}` is more than any network has"))
}

/// Reads `1.25` as 125 and the 100 that it is to be divided by.
fn decimal(text: &str) -> Option<(u128, u128)> {
    let Some((whole, fraction)) = text.split_once('.') else {
        return Some((largest(text)?, 1));
    };
    if whole.is_empty() || fraction.is_empty() {
        return None;
    }
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Some((largest(&format!("{whole}{fraction}"))?, scale))
}

/// Splits `1m30s` into 1, `m` and `30s`.
fn quantity(text: &str) -> Option<(u128, &str, &str)> {
    let (digits, rest) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let (unit, rest) =
        rest.split_at(rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len()));
    Some((largest(digits)?, unit, rest))
}

/// Reads digits; the largest number stands for all that are larger.
fn largest(digits: &str) -> Option<u128> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u128::MAX))
}

/// Shows a duration as the configuration writes it: `1m30s`. Parts of a millisecond are left out.
#[derive(Clone, Copy, Debug)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in TIME_UNITS {
            let count = rest / u128::from(millis);
            rest %= u128::from(millis);
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

/// Shows a number of bytes as the configuration writes it, in the largest unit that divides it: `64MiB`.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let divides = |(_, bytes): &&(&str, u64)| self.0 >= *bytes && self.0.is_multiple_of(*bytes);
        let (unit, bytes) = SIZE_UNITS.iter().find(divides).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

/// Shows bits per second as the configuration writes them: `800Mbps`, `1.5Gbps`, `0` where there is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub u64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        // In the largest unit of which it needs three decimals at most.
        let thousandth = |unit: u64| (unit / 1000).max(1);
        let fits =
            |(_, unit): &&(&str, u64)| self.0 >= *unit && self.0.is_multiple_of(thousandth(*unit));
        let (name, unit) = RATE_UNITS.iter().find(fits).unwrap_or(&("bps", 1));
        let (whole, rest) = (self.0 / unit, self.0 % unit / thousandth(*unit));
        let decimals = format!(".{rest:03}");
        let decimals = decimals.trim_end_matches('0').trim_end_matches('.');
        write!(f, "{whole}{decimals}{name}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_durations() {
        let millis = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(millis("10s"), Ok(10_000));
        assert_eq!(millis("1h2m3s4ms"), Ok(3_723_004));
        assert_eq!(millis("1m500ms"), Ok(60_500));
        assert_eq!(millis("0ms"), Ok(0));
        assert_eq!(millis("90s"), Ok(90_000));
        for text in ["", "s", "1 s", "1.5s", "-1s", "1S", "1d", "1s1m", "1s1s", "1s2", "٣s"] {
            assert!(millis(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_sizes() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("1B"), Ok(1));
        assert_eq!(parse_size("16777215TiB"), Ok(((1 << 24) - 1) << 40));
        for text in ["", "MiB", "1 MiB", "1MB", "1mib", "1.5GiB", "-1B", "1MiB1B", "16777216TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_rates() {
        let table = [
            ("0", 0),
            ("0bps", 0),
            ("1bps", 1),
            ("500kbps", 500_000),
            ("800Mbps", 800_000_000),
            ("1.5Gbps", 1_500_000_000),
            ("1.50Gbps", 1_500_000_000),
            ("0.064Mbps", 64_000),
            ("18446744073709551615bps", u64::MAX),
        ];
        for (text, bits) in table {
            assert_eq!(parse_rate(text), Ok(bits), "{text}");
        }
        let zeros = format!("0.{}1Gbps", "0".repeat(60));
        for text in [
            "",
            "bps",
            "800",
            "0.0",
            "1.5",
            "-1bps",
            "+1bps",
            "1 Mbps",
            "1mbps",
            "1Mb",
            "1MB/s",
            ".5Gbps",
            "1.Gbps",
            "1.5.5Gbps",
            "1.5bps",
            "0.0001kbps",
            "1Gbps1Mbps",
            "18446744074Gbps",
            "٣bps",
            &zeros,
        ] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shows_rates_in_short() {
        let table = [
            (0, "0"),
            (999, "999bps"),
            (64_000, "64kbps"),
            (1_500_000_000, "1.5Gbps"),
            (1_000_500_000, "1000.5Mbps"),
            (1_234_567_891, "1234567.891kbps"),
            (1_050_000_000, "1.05Gbps"),
        ];
        for (bits, text) in table {
            assert_eq!(Rate(bits).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn rates_read_back(bits in any::<u64>(), zeros in 0..19_u32) {
            let bits = bits / 10_u64.pow(zeros) * 10_u64.pow(zeros);
            prop_assert_eq!(parse_rate(&Rate(bits).to_string()), Ok(bits));
        }

        #[test]
        fn durations_read_back(millis in any::<u64>()) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&Human(duration).to_string()), Ok(duration));
        }

        #[test]
        fn sizes_read_back(bytes in any::<u64>(), zeros in 0..64_u32) {
            let bytes = bytes << zeros;
            prop_assert_eq!(parse_size(&Size(bytes).to_string()), Ok(bytes));
        }

        #[test]
        fn any_text_is_a_value_or_not(text in "\\PC{0,20}") {
            let _ = (parse_duration(&text), parse_size(&text), parse_rate(&text), parse_address(&text));
        }
    }
}
