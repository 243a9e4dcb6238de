//! Time on a stream's own timeline.

use std::{fmt, ops, time::Duration};

/// A moment on one stream's timeline, in milliseconds, the resolution of FLV and RTMP.
///
/// 64 bits wide, so it never wraps; the wire's 32 bits are a view of it ([`Timestamp::to_wire`]).
/// Moments of different streams cannot be compared in any useful way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The start of the timeline.
    pub const ZERO: Self = Self(0);

    /// The moment `millis` after the start of the timeline.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the start of the timeline.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The low 32 bits, as an RTMP message and an FLV tag carry them (they wrap every 49.7 days).
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "wrapping is the wire format"
    )]
    pub const fn to_wire(self) -> u32 {
        self.0 as u32
    }

    /// In ticks of the 90 kHz clock of MPEG-TS, not yet reduced to its 33 bits.
    pub const fn to_90khz(self) -> i64 {
        self.0.saturating_mul(90)
    }

    /// The time from `earlier` to `self`; zero when `earlier` is the later one.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(rhs.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_view_wraps_and_the_timeline_does_not() {
        let t = Timestamp::from_millis(i64::from(u32::MAX) + 2);
        assert_eq!(t.to_wire(), 1);
        assert!(t > Timestamp::from_millis(i64::from(u32::MAX)));
    }

    #[test]
    fn durations_never_go_negative() {
        let (a, b) = (Timestamp::from_millis(10), Timestamp::from_millis(25));
        assert_eq!(b.saturating_since(a), Duration::from_millis(15));
        assert_eq!(a.saturating_since(b), Duration::ZERO);
        assert_eq!(a + Duration::from_millis(15), b);
    }
}
