//! Those who guess at secrets and tokens are slowed down, by address.
//!
//! What a client shows is always looked at, and at once: who shows the right thing is never held up, whoever else is at
//! the same address. Who shows a wrong one waits for the answer, the longer the more wrong ones have come from there,
//! and holds nothing meanwhile that others need: see `docs/adr/0012-wrong-secrets-wait.md`.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    client::Admission,
    permits::{Permit, Permits},
    quota::Network,
};

/// Answers to wrong secrets that an address gets at once: a person who types, or some dozen viewers behind one address
/// whose links have been changed.
const AT_ONCE: u32 = 20;

/// From then on it gets one in this time. A word of six letters is found in years.
const INTERVAL: Duration = Duration::from_secs(1);

/// Nobody waits longer. What would have to is answered at once: it learns no more than what it could learn by another
/// connection, and costs less.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Addresses that are remembered, some 3 MB; all others count as one.
const ADDRESSES_MAX: usize = 32_768;

/// Clients that wait for their answers at a time, beside `limits.connections`.
const WAITING_MAX: usize = 256;

/// The same for a node, which asks for many clients and holds each of them back itself. Anybody can say that it is one:
/// so it waits as well, but never so long that an origin which does what it should looks dead to its edges.
const NODE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Counts wrong secrets by address.
#[derive(Debug)]
pub struct WrongSecrets {
    books: Mutex<Books>,
    waiting: Permits,
}

#[derive(Debug, Default)]
struct Books {
    /// When the last answer to each address would have been due, had all come one [`INTERVAL`] after the other.
    due: HashMap<Network, Instant>,
    /// The same for the addresses that there was no room for.
    others: Option<Instant>,
    /// When those were last looked for that can be forgotten.
    cleared: Option<Instant>,
}

/// A client that waits for its answer.
#[derive(Debug)]
pub struct Wait {
    /// For so long.
    pub time: Duration,
    /// Where it waits.
    pub place: Permit,
}

impl Default for WrongSecrets {
    fn default() -> Self {
        Self { books: Mutex::default(), waiting: Permits::new(WAITING_MAX) }
    }
}

impl WrongSecrets {
    /// Takes note that somebody at `ip` has shown something wrong. None if it is to be answered at once.
    pub fn wait(&self, ip: IpAddr, now: Instant) -> Option<Wait> {
        let time = self.books.lock().unwrap_or_else(PoisonError::into_inner).wrong(ip, now);
        let time = time.filter(|time| !time.is_zero())?;
        Some(Wait { time, place: self.waiting.take()? })
    }

    /// The same for one who says that it is a node: how long its answer is to wait, where it is. No longer than a
    /// second, and never less because many wait.
    pub fn wait_of_node(&self, ip: IpAddr, now: Instant) -> Duration {
        let time = self.books.lock().unwrap_or_else(PoisonError::into_inner).wrong(ip, now);
        time.map_or(NODE_WAIT_MAX, |time| time.min(NODE_WAIT_MAX))
    }
}

impl WrongSecrets {
    /// Takes note that somebody at `ip` has shown something wrong, and waits as long as the answer to it is to wait.
    /// Its connection holds nothing meanwhile that others need, and is good for that answer only.
    pub async fn hold_back(&self, admission: &Admission, ip: IpAddr, is_node: bool) {
        if is_node {
            tokio::time::sleep(self.wait_of_node(ip, Instant::now())).await;
        } else if let Some(wait) = self.wait(ip, Instant::now()) {
            admission.step_aside(wait.place);
            tokio::time::sleep(wait.time).await;
        }
    }
}

impl Books {
    /// How long the answer is to wait; none if too many wait there.
    fn wrong(&mut self, ip: IpAddr, now: Instant) -> Option<Duration> {
        let network = Network::of(ip);
        if !self.due.contains_key(&network) && self.due.len() >= ADDRESSES_MAX {
            self.clear(now);
        }
        let has_room = self.due.len() < ADDRESSES_MAX || self.due.contains_key(&network);
        let due = if has_room {
            self.due.entry(network).or_insert(now)
        } else {
            self.others.get_or_insert(now)
        };
        let next = (*due).max(now) + INTERVAL;
        let time = next.saturating_duration_since(now + INTERVAL * AT_ONCE);
        if time > WAIT_MAX {
            return None;
        }
        *due = next;
        Some(time)
    }

    /// Forgets who has done nothing wrong for long; not for each newcomer, since it goes through all.
    fn clear(&mut self, now: Instant) {
        if self.cleared.is_none_or(|cleared| now.saturating_duration_since(cleared) >= INTERVAL) {
            self.cleared = Some(now);
            self.due.retain(|_, due| *due > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn ip(number: u32) -> IpAddr {
        Ipv4Addr::from(number).into()
    }

    /// How long those who come at the same moment wait, as long as they do.
    fn waits(wrong: &WrongSecrets, ip: IpAddr, now: Instant, count: usize) -> Vec<Option<u64>> {
        let waits = (0..count).map(|_| wrong.wait(ip, now));
        let waits: Vec<_> = waits.collect();
        waits.into_iter().map(|wait| Some(wait?.time.as_secs())).collect()
    }

    #[test]
    fn the_first_are_answered_at_once_and_then_one_a_second() {
        let (wrong, now) = (WrongSecrets::default(), Instant::now());
        let all = waits(&wrong, ip(1), now, AT_ONCE as usize + 8);
        assert!(all[..AT_ONCE as usize].iter().all(Option::is_none), "{all:?}");
        let expected = [Some(1), Some(2), Some(3), Some(4), Some(5), None, None, None];
        assert_eq!(all[AT_ONCE as usize..], expected, "beyond that there is no use in waiting");
        assert!(wrong.wait(ip(2), now).is_none(), "another address is none of it");
        let later = now + Duration::from_secs(3);
        assert_eq!(waits(&wrong, ip(1), later, 4), [Some(3), Some(4), Some(5), None]);
        let much_later = now + Duration::from_secs(60);
        assert!(wrong.wait(ip(1), much_later).is_none(), "it is forgotten");
    }

    #[test]
    fn a_node_waits_a_second_at_most_and_always() {
        let (wrong, now) = (WrongSecrets::default(), Instant::now());
        for _ in 0..AT_ONCE {
            assert_eq!(wrong.wait_of_node(ip(1), now), Duration::ZERO);
        }
        for _ in 0..1000 {
            assert_eq!(wrong.wait_of_node(ip(1), now), NODE_WAIT_MAX);
        }
        assert_eq!(wrong.wait_of_node(ip(2), now), Duration::ZERO);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let (wrong, now) = (WrongSecrets::default(), Instant::now());
        let of = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        (0..AT_ONCE).for_each(|number| drop(wrong.wait(of(number as u16), now)));
        assert!(wrong.wait(of(999), now).is_some());
    }

    #[test]
    fn few_wait_at_a_time() {
        let (wrong, now) = (WrongSecrets::default(), Instant::now());
        let mut all = Vec::new();
        for number in 0..WAITING_MAX as u32 {
            (0..AT_ONCE).for_each(|_| drop(wrong.wait(ip(number), now)));
            all.extend(wrong.wait(ip(number), now));
        }
        assert_eq!(all.len(), WAITING_MAX);
        assert!(wrong.wait(ip(0), now).is_none());
        all.pop();
        assert!(wrong.wait(ip(0), now).is_some());
    }

    #[test]
    fn more_addresses_than_are_remembered_count_as_one() {
        let (mut books, now) = (Books::default(), Instant::now());
        let first = ADDRESSES_MAX as u32;
        (0..first).for_each(|number| assert!(books.wrong(ip(number), now).is_some()));
        for number in 0..AT_ONCE {
            assert_eq!(books.wrong(ip(first + number), now), Some(Duration::ZERO));
        }
        assert_eq!(books.wrong(ip(first + 1000), now), Some(INTERVAL));
        assert_eq!(books.due.len(), ADDRESSES_MAX);
        assert_eq!(books.wrong(ip(0), now), Some(Duration::ZERO), "who is known is on its own");
        books.wrong(ip(first + 2000), now + Duration::from_secs(60));
        assert_eq!(books.due.len(), 1, "who has done nothing wrong for long is forgotten");
    }
}
