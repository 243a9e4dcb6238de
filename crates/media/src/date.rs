//! Calendar dates, in UTC: for EXT-X-PROGRAM-DATE-TIME, names of files and signatures.

use std::time::Duration;

/// `since_epoch` as an RFC 3339 time in UTC with milliseconds.
pub fn rfc3339(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let millis = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The time that [`rfc3339`] has written, since the epoch; none for any other text.
pub fn parse_rfc3339(text: &str) -> Option<Duration> {
    let part = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<u64>().ok()).flatten()
    };
    let (year, month, day) = (part(0..4)?, part(5..7)?, part(8..10)?);
    let (hour, minute, second, millis) =
        (part(11..13)?, part(14..16)?, part(17..19)?, part(20..23)?);
    // The same algorithm, the other way round.
    let march_year = year.checked_sub(u64::from(month <= 2))?;
    let march_month = (month + 9) % 12;
    let (era, year_of_era) = (march_year / 400, march_year % 400);
    let day_of_year = (153 * march_month + 2) / 5 + day.checked_sub(1)?;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let seconds = days.checked_sub(719_468)? * 86_400 + hour * 3600 + minute * 60 + second;
    let since = Duration::from_secs(seconds) + Duration::from_millis(millis);
    (rfc3339(since) == text).then_some(since)
}

/// Year, month and day of the day `days` after 1970-01-01.
///
/// Counts in years that begin in March, so that the leap day is the last one, from 0000-03-01, 719,468 days before the
/// epoch (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_around_leap_days_and_centuries() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.250Z"),
            (951_782_399, "2000-02-28T23:59:59.250Z"),
            (951_782_400, "2000-02-29T00:00:00.250Z"),
            (951_868_800, "2000-03-01T00:00:00.250Z"),
            (1_709_164_800, "2024-02-29T00:00:00.250Z"),
            (1_795_398_540, "2026-11-23T01:49:00.250Z"),
            (4_107_542_400, "2100-03-01T00:00:00.250Z"),
        ] {
            let since = Duration::from_millis(seconds * 1000 + 250);
            assert_eq!(rfc3339(since), expected);
            assert_eq!(parse_rfc3339(expected), Some(since));
        }
        for bad in [
            "",
            "2026-11-23",
            "2026-13-01T00:00:00.000Z",
            "2026-02-30T00:00:00.000Z",
            "1969-12-31T00:00:00.000Z",
            "2026-11-23T01:49:00.250+01:00",
            "2026-00-00T00:00:00.000Z",
            "2026-1\u{e4}-3T01:49:00.250Z",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }
}
