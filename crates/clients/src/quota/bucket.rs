//! A token bucket that is told afterwards what was taken.

use std::time::Instant;

/// Bytes that may still be sent at once. It fills with the limit's rate to what that gives in a second, and goes below
/// zero by as much: who is here is never held up, so more can be taken than there is. The debt is bounded so that
/// newcomers wait seconds and not hours for an evening of overload to be paid back.
#[derive(Debug, Default)]
pub struct Bucket {
    level: f64,
    /// What had been sent, and when that was looked at last.
    last: Option<(u64, Instant)>,
}

impl Bucket {
    /// Takes into account that `sent` bytes have been sent up to `now`, with a limit of `rate` bits per second. Returns
    /// whether the bucket is spent.
    pub fn update(&mut self, rate: u64, sent: u64, now: Instant) -> bool {
        let burst = rate as f64 / 8.0;
        let Some((sent_before, before)) = self.last else {
            (self.level, self.last) = (burst, Some((sent, now)));
            return false;
        };
        let earned = burst * now.saturating_duration_since(before).as_secs_f64();
        let taken = sent.saturating_sub(sent_before) as f64;
        self.level = (self.level + earned - taken).clamp(-burst, burst);
        // Two threads may look at the clock in one order and come here in the other.
        self.last = Some((sent.max(sent_before), now.max(before)));
        self.level <= 0.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 1,000 bytes a second.
    const RATE: u64 = 8_000;

    #[test]
    fn a_second_may_be_sent_at_once_and_comes_back_in_a_second() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        assert!(!bucket.update(RATE, 0, now));
        assert!(!bucket.update(RATE, 999, now));
        assert!(bucket.update(RATE, 1000, now), "spent");
        assert!(!bucket.update(RATE, 1000, now + Duration::from_millis(1)), "one byte has come");
        let later = now + Duration::from_secs(60);
        bucket.update(RATE, 1000, later);
        assert!(!bucket.update(RATE, 1999, later), "and no more than 1,000 are kept");
        assert!(bucket.update(RATE, 2000, later));
    }

    #[test]
    fn a_debt_is_paid_back_in_a_second_at_most() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        bucket.update(RATE, 0, now);
        assert!(bucket.update(RATE, 1_000_000, now));
        assert!(bucket.update(RATE, 1_000_000, now + Duration::from_secs(1)));
        assert!(!bucket.update(RATE, 1_000_000, now + Duration::from_millis(1001)));
    }

    #[test]
    fn it_stays_spent_while_more_is_sent_than_it_fills_with() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let spent = |bucket: &mut Bucket, millis: u64| {
            bucket.update(RATE, millis * 12 / 10, start + Duration::from_millis(millis))
        };
        spent(&mut bucket, 0);
        assert!(!spent(&mut bucket, 4_000), "the first second's worth makes up for it");
        for millis in (6_000..20_000).step_by(7) {
            assert!(spent(&mut bucket, millis), "after {millis} ms");
        }
    }

    #[test]
    fn looking_often_loses_nothing() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        bucket.update(RATE, 0, start);
        bucket.update(RATE, 1000, start);
        for micros in (0..500_000).step_by(1000) {
            bucket.update(RATE, 1000, start + Duration::from_micros(micros));
        }
        assert!(!bucket.update(RATE, 1490, start + Duration::from_millis(500)));
    }

    #[test]
    fn no_rate_is_always_spent_and_nobody_asks_then() {
        let mut bucket = Bucket::default();
        let now = Instant::now();
        bucket.update(0, 0, now);
        assert!(bucket.update(0, u64::MAX, now));
        assert!(!Bucket::default().update(u64::MAX, u64::MAX, now), "and no figure overflows");
    }
}
