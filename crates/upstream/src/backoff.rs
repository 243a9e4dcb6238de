//! Pauses between attempts.

use std::time::Duration;

/// How long to wait before the next attempt. A stream that was there a moment ago is looked for every second at least,
/// since its viewers see a frozen picture. Half of it is chance, so that edges that lost an origin together do not come
/// back together.
pub fn backoff(tries: u32, is_lost: bool) -> Duration {
    let (first, most) = if is_lost { (100, 1000) } else { (2000, 4000) };
    pause(tries, first, most)
}

/// A pause of `first` milliseconds at most, twice as long after each of the `tries`, and never longer than `most`. Half
/// of it is chance.
pub fn pause(tries: u32, first: u64, most: u64) -> Duration {
    let full = (first << tries.saturating_sub(1).min(8)).min(most);
    let chance = getrandom::u32().map_or(0, |random| u64::from(random) % (full / 2));
    Duration::from_millis(full - chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_get_rarer_and_are_never_far_apart() {
        for tries in 1..100 {
            let (lost, new) = (backoff(tries, true), backoff(tries, false));
            assert!(
                lost >= Duration::from_millis(50) && lost <= Duration::from_secs(1),
                "{lost:?}"
            );
            assert!(new >= Duration::from_secs(1) && new <= Duration::from_secs(4), "{new:?}");
        }
        assert!(backoff(1, true) <= Duration::from_millis(100));
    }
}
