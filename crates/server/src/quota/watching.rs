//! HLS viewers. They are requests without a session, so that they cannot be counted: who has asked lately is watching.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    time::{Duration, Instant},
};

use weir_media::StreamKey;

use super::{Refusal, network::Network};

/// Who has fetched a playlist within this time is watching: ten target durations of a common segment length.
pub const WATCHING: Duration = Duration::from_secs(30);

/// HLS viewers that are remembered, some 4 MB. With more of them nobody new is remembered, and none is refused.
pub const WATCHING_MAX: usize = 65_536;

/// Viewers that each request looks at, whether they have gone. A request brings one at most, so that those who have
/// gone are forgotten faster than others come, and no request does more work than another.
const LOOKS: usize = 4;

/// Who watches.
#[derive(Debug, Default)]
pub struct Watching {
    hasher: RandomState,
    since: HashMap<u64, Instant>,
    /// Each of them once, with the time from which on it is worth a look whether it has gone; the earliest first.
    looks: VecDeque<(Instant, u64)>,
}

impl Watching {
    /// Takes notice of somebody at `ip` who asks for a playlist of `key`: who watches already is let in, and who begins
    /// if what is sent is not `spent`.
    pub fn admit(
        &mut self,
        (key, ip): (&StreamKey, IpAddr),
        spent: Result<(), Refusal>,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.forget_some(now);
        let is_full = self.since.len() >= WATCHING_MAX;
        match self.since.entry(self.hasher.hash_one((Network::of(ip), key))) {
            Entry::Occupied(mut known) => {
                if !watches(*known.get(), now) {
                    spent?;
                }
                known.insert(now);
            }
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(unknown) => {
                spent?;
                self.looks.push_back((now + WATCHING, *unknown.key()));
                unknown.insert(now);
            }
        }
        Ok(())
    }

    /// How many that are. Walks through all of them.
    pub fn count(&self, now: Instant) -> usize {
        self.since.values().filter(|since| watches(**since, now)).count()
    }

    fn forget_some(&mut self, now: Instant) {
        for _ in 0..LOOKS {
            let Some(&(due, viewer)) = self.looks.front() else { return };
            if due > now {
                return;
            }
            self.looks.pop_front();
            if self.since.get(&viewer).is_some_and(|since| watches(*since, now)) {
                self.looks.push_back((now + WATCHING, viewer));
            } else {
                self.since.remove(&viewer);
            }
        }
    }
}

fn watches(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < WATCHING
}

#[cfg(test)]
mod tests {
    use weir_media::DEFAULT_VHOST;

    use super::*;

    fn ip(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn a_request_looks_at_a_few_viewers_however_many_there_are() {
        let key = StreamKey::new(DEFAULT_VHOST, "live", "a").expect("a good key");
        let (mut watching, start) = (Watching::default(), Instant::now());
        for number in 0..WATCHING_MAX as u32 {
            watching.admit((&key, ip(number)), Ok(()), start).expect("let in");
        }
        assert_eq!(watching.count(start), WATCHING_MAX);
        // Full, and nobody has gone: nothing to do.
        watching.admit((&key, ip(u32::MAX)), Ok(()), start).expect("let in");
        assert_eq!((watching.since.len(), watching.looks.len()), (WATCHING_MAX, WATCHING_MAX));
        // All have gone but one: each request forgets as many as it looks at, and remembers one.
        let later = start + WATCHING;
        assert_eq!(watching.count(later), 0);
        watching.admit((&key, ip(u32::MAX)), Ok(()), later).expect("let in");
        assert_eq!(watching.since.len(), WATCHING_MAX - LOOKS + 1);
        assert_eq!(watching.count(later), 1);
        for number in 1..=(WATCHING_MAX / LOOKS) as u32 {
            watching.admit((&key, ip(u32::MAX - number % 10)), Ok(()), later).expect("let in");
        }
        assert_eq!(watching.since.len(), 10, "only those who watch are remembered");
        assert_eq!(watching.looks.len(), 10);
    }
}
