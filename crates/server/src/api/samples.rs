//! Bit rates of the last half minute, from figures that are noted every few seconds.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use weir_media::StreamKey;

use super::system::{self, Load};
use crate::node::Node;

/// Between two notes.
const EVERY: Duration = Duration::from_secs(5);

/// Notes that are kept: half a minute of them.
const KEPT: usize = 7;

/// What everybody has sent is summed up this often at most, whoever asks: there may be thousands of clients, and their
/// figures are no newer.
const SUM_EVERY: Duration = Duration::from_secs(1);

/// Streams, and clients, of which notes are kept. Those beyond have the rate 0: 64 MB of notes would be for nobody.
const KEYS_MAX: usize = 100_000;

/// Bytes so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Received.
    pub received: u64,
    /// Sent.
    pub sent: u64,
}

/// Bit rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Kbps {
    /// Received, on average over the last 30 seconds, in kilobits per second (1000 bits).
    pub recv_30s: u64,
    /// Sent, on average over the last 30 seconds, in kilobits per second (1000 bits).
    pub send_30s: u64,
}

/// What was noted.
#[derive(Debug, Default)]
pub struct Samples {
    notes: Mutex<Notes>,
    /// The traffic of the process, when somebody asked last.
    sum: Mutex<Option<(Instant, Traffic)>>,
}

#[derive(Debug, Default)]
struct Notes {
    process: Ring,
    streams: HashMap<StreamKey, Ring>,
    clients: HashMap<u64, Ring>,
    load: Load,
}

#[derive(Debug, Default)]
struct Ring(VecDeque<(Instant, Traffic)>);

impl Ring {
    fn note(&mut self, now: Instant, traffic: Traffic) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((now, traffic));
    }

    /// The rate from the oldest note to `traffic`, which is so by now.
    fn rate(&self, now: Instant, traffic: Traffic) -> Kbps {
        let Some(&(since, before)) = self.0.front() else { return Kbps::default() };
        let millis = now.saturating_duration_since(since).as_millis().max(1) as u64;
        // Bits in a millisecond are kilobits in a second.
        let rate = |now: u64, before: u64| now.saturating_sub(before).saturating_mul(8) / millis;
        Kbps {
            recv_30s: rate(traffic.received, before.received),
            send_30s: rate(traffic.sent, before.sent),
        }
    }
}

impl Samples {
    /// Begins to take notes of `node`. Needs a tokio runtime.
    pub fn start(node: &Arc<Node>) -> Arc<Self> {
        let samples = Arc::<Self>::default();
        let (node, notes) = (Arc::clone(node), Arc::clone(&samples));
        tokio::spawn(async move {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                notes.take(&node);
            }
        });
        samples
    }

    fn take(&self, node: &Node) {
        let now = Instant::now();
        let everybody = node.clients.roster.list();
        let clients = everybody.iter().map(|presence| {
            let figures = presence.figures();
            (presence.id, Traffic { received: figures.received, sent: figures.sent })
        });
        let hls = node.clients.quotas.hls_viewers(now).into_iter();
        let clients = clients.chain(hls.map(|it| (it.id, Traffic { received: 0, sent: it.sent })));
        let stats = node.stream_stats();
        let sent = sent(node);
        let streams: HashMap<_, _> = stats
            .iter()
            .map(|stream| {
                (stream.key.clone(), Traffic { received: stream.bytes, sent: sent.of(&stream.key) })
            })
            .collect();
        node.clients.roster.forget_parted(|key| streams.contains_key(key));
        node.clients.quotas.forget_hls(|key| streams.contains_key(key));
        let load = system::load();
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.process.note(now, process(node));
        renew(&mut notes.clients, clients, now);
        renew(&mut notes.streams, streams, now);
        notes.load.advance(load);
    }

    /// The rate of the whole process.
    pub fn process(&self, traffic: Traffic) -> Kbps {
        self.read(|notes| notes.process.rate(Instant::now(), traffic))
    }

    /// The rate of the whole process by now, give or take a second.
    pub fn of_process(&self, node: &Node) -> Kbps {
        let now = Instant::now();
        let (at, traffic) = {
            let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
            let known = sum.filter(|(at, _)| now.saturating_duration_since(*at) < SUM_EVERY);
            *sum.insert(known.unwrap_or_else(|| (now, process(node))))
        };
        self.read(|notes| notes.process.rate(at, traffic))
    }

    /// The rate of a stream.
    pub fn stream(&self, key: &StreamKey, traffic: Traffic) -> Kbps {
        self.read(|notes| rate(notes.streams.get(key), traffic))
    }

    /// The rate of a client.
    pub fn client(&self, id: u64, traffic: Traffic) -> Kbps {
        self.read(|notes| rate(notes.clients.get(&id), traffic))
    }

    /// What the system is busy with.
    pub fn load(&self) -> Load {
        self.read(|notes| notes.load.clone())
    }

    fn read<T>(&self, read: impl FnOnce(&Notes) -> T) -> T {
        read(&self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the process has received and sent.
pub fn process(node: &Node) -> Traffic {
    Traffic { received: node.clients.roster.received(), sent: node.clients.quotas.sent() }
}

/// Bytes that viewers of streams were sent.
pub struct Sent<'n> {
    node: &'n Node,
    here: HashMap<StreamKey, u64>,
}

impl Sent<'_> {
    /// To those of `key`, those who have gone included.
    pub fn of(&self, key: &StreamKey) -> u64 {
        let here = self.here.get(key).copied().unwrap_or(0);
        here + self.node.clients.roster.sent_to_parted(key)
    }
}

/// Bytes that viewers of streams were sent, looked up once for all of them.
pub fn sent(node: &Node) -> Sent<'_> {
    let mut here = node.clients.quotas.hls_sent();
    for presence in node.clients.roster.list() {
        let sent = presence.figures().sent;
        presence.read(|doing| {
            let Some(key) = &doing.stream else { return };
            match here.get_mut(key) {
                Some(known) => *known += sent,
                None => drop(here.insert(key.clone(), sent)),
            }
        });
    }
    Sent { node, here }
}

/// The same of this stream alone.
pub fn sent_of<'n>(node: &'n Node, key: &StreamKey) -> Sent<'n> {
    let hls = node.clients.quotas.hls_sent_of(key);
    let here = HashMap::from([(key.clone(), hls + node.clients.roster.sent_to_present(key))]);
    Sent { node, here }
}

fn rate(ring: Option<&Ring>, traffic: Traffic) -> Kbps {
    ring.map_or_else(Kbps::default, |ring| ring.rate(Instant::now(), traffic))
}

/// Notes `present`, and forgets who is not among them.
fn renew<K: Eq + Hash>(
    rings: &mut HashMap<K, Ring>,
    present: impl IntoIterator<Item = (K, Traffic)>,
    now: Instant,
) {
    let mut before = std::mem::take(rings);
    for (key, traffic) in present.into_iter().take(KEYS_MAX) {
        let mut ring = before.remove(&key).unwrap_or_default();
        ring.note(now, traffic);
        rings.insert(key, ring);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(received: u64, sent: u64) -> Traffic {
        Traffic { received, sent }
    }

    #[test]
    fn rates_are_those_of_the_last_half_minute() {
        let (start, mut ring) = (Instant::now(), Ring::default());
        assert_eq!(ring.rate(start, traffic(1000, 1000)), Kbps::default());
        for n in 0..100 {
            // 1 Mb/s in, and nothing out until the last half minute.
            let sent = u64::saturating_sub(n, 93) * 1_250_000;
            ring.note(start + EVERY * n as u32, traffic(n * 625_000, sent));
        }
        let now = start + EVERY * 99;
        assert_eq!(
            ring.rate(now, traffic(99 * 625_000, 6 * 1_250_000)),
            Kbps { recv_30s: 1000, send_30s: 2000 }
        );
        assert_eq!(ring.0.len(), KEPT);
    }

    #[test]
    fn a_counter_that_begins_anew_has_no_rate() {
        let (now, mut ring) = (Instant::now(), Ring::default());
        ring.note(now, traffic(1000, 1000));
        assert_eq!(ring.rate(now + EVERY, traffic(0, 0)), Kbps::default());
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let mut rings = HashMap::new();
        renew(&mut rings, [(1, traffic(0, 0)), (2, traffic(0, 0))], Instant::now());
        renew(&mut rings, [(2, traffic(5, 5)), (3, traffic(0, 0))], Instant::now());
        let mut keys: Vec<_> = rings.iter().map(|(key, ring)| (*key, ring.0.len())).collect();
        keys.sort_unstable();
        assert_eq!(keys, [(2, 2), (3, 1)]);
    }
}
