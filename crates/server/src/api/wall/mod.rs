//! All streams at a glance, and what has changed of them: for those who look at many.
//!
//! Every few seconds the figures of each stream are noted. Rows of the streams are made while somebody asks for them,
//! once for all who ask: a row that has not changed to speak of is neither made known nor sent again.

mod calls;
mod crowd;
mod health;
mod past;
mod row;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use weir_clients::events::EVENTS;
use weir_hub::StreamStats;
use weir_media::{StreamKey, ids};

#[cfg(test)]
pub use self::calls::{__path_history, __path_wall};
pub use self::calls::{history, seen, waiting, wall};
use self::{
    crowd::Crowd,
    past::{EVERY, Past},
    row::Row,
};
use super::clock::millis;
use crate::node::Node;

/// Streams that are remembered: 2 KB each.
const STREAMS_MAX: usize = 10_000;

/// Streams that have gone and are remembered, for those who have not heard of it.
const GONE_MAX: usize = 10_000;

/// For how long after the last call rows are made: longer than a call may wait.
const WATCHED: Duration = Duration::from_secs(60);

/// Rows that are older are made anew before they are shown.
const FRESH: Duration = Duration::from_secs(5);

/// Between something that happens and new rows: much happens at once.
const SETTLE: Duration = Duration::from_millis(200);

/// Rows are made so often at most while something happens all the time: those of thousands of clients are counted, and
/// everybody who looks is woken.
const MAKE_EVERY: Duration = Duration::from_secs(1);

/// All streams.
#[derive(Debug)]
pub struct Wall {
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
    started: Instant,
    /// When somebody asked last, in milliseconds since `started`; 0 for never.
    asked: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    pasts: HashMap<StreamKey, Past>,
    ticks: u64,
    rows: HashMap<StreamKey, (Arc<Row>, u64)>,
    gone: VecDeque<(u64, String)>,
    /// Who has seen no version after this one is shown all rows.
    whole_before: u64,
    version: u64,
    made: Option<Instant>,
}

/// What has changed since a version.
pub struct Changes {
    version: u64,
    is_full: bool,
    ticks: u64,
    rows: Vec<Arc<Row>>,
    sparks: HashMap<String, Vec<u32>>,
    gone: Vec<String>,
}

impl Wall {
    /// Begins to look at the streams of `node`. Needs a tokio runtime.
    pub fn start(node: &Arc<Node>) -> Arc<Self> {
        // Another process has another beginning: who knows a version of it is shown all.
        let version = millis(SystemTime::now());
        let inner = Inner {
            pasts: HashMap::new(),
            ticks: 0,
            rows: HashMap::new(),
            gone: VecDeque::new(),
            whole_before: version,
            version,
            made: None,
        };
        let wall = Arc::new(Self {
            inner: Mutex::new(inner),
            version: watch::Sender::new(version),
            started: Instant::now(),
            asked: AtomicU64::new(0),
        });
        let (node, looks) = (Arc::clone(node), Arc::clone(&wall));
        tokio::spawn(async move {
            let mut ticks = interval(EVERY);
            // A note that is late does not put off the next one.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut last = EVENTS.last();
            loop {
                tokio::select! {
                    _ = ticks.tick() => looks.note(&node),
                    () = EVENTS.beyond(last) => sleep(looks.settle()).await,
                }
                last = EVENTS.last();
                if looks.is_watched() {
                    looks.make(&node);
                }
            }
        });
        wall
    }

    /// For how long rows are to wait for what else happens.
    fn settle(&self) -> Duration {
        let made = self.lock().made.map_or(Duration::MAX, |made| made.elapsed());
        settle(made)
    }

    fn is_watched(&self) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        asked > 0 && self.age().saturating_sub(asked) < WATCHED.as_millis() as u64
    }

    fn age(&self) -> u64 {
        (self.started.elapsed().as_millis() as u64).max(1)
    }

    /// Notes the figures of all streams.
    fn note(&self, node: &Node) {
        let (now, budget) = (Instant::now(), node.streams.registry.budget());
        let all = node.stream_stats();
        let crowds = crowd::crowds(node);
        let nobody = Crowd::default();
        let mut inner = self.lock();
        inner.ticks += 1;
        let ticks = inner.ticks;
        for stats in &all {
            let crowd = crowds.get(&stats.key).unwrap_or(&nobody);
            let sent = crowd.sent + node.clients.roster.sent_to_parted(&stats.key);
            if let Some(past) = inner.pasts.get_mut(&stats.key) {
                past.note(stats, crowd, sent, now);
                past.seen = ticks;
            } else if inner.pasts.len() < STREAMS_MAX
                && let Ok(mut past) = Past::new(stats, crowd, sent, now, budget)
            {
                past.seen = ticks;
                inner.pasts.insert(stats.key.clone(), past);
            }
        }
        inner.pasts.retain(|_, past| past.seen == ticks);
    }

    /// Makes the rows of all streams, and a new version if one is another than before.
    fn make(&self, node: &Node) {
        let now = Instant::now();
        let all = node.stream_stats();
        let crowds = crowd::crowds(node);
        let nobody = Crowd::default();
        let mut inner = self.lock();
        let next = inner.version + 1;
        let mut has_changed = false;
        let mut before = std::mem::take(&mut inner.rows);
        for stats in &all {
            if let Some(past) = inner.pasts.get_mut(&stats.key) {
                past.look(stats);
            }
            let crowd = crowds.get(&stats.key).unwrap_or(&nobody);
            let known = before.remove(&stats.key);
            let past = inner.pasts.get(&stats.key);
            let row =
                Row::new(node, stats, crowd, past, known.as_ref().map(|(row, _)| &**row), now);
            let kept = match known {
                Some(known) if !row.differs_from(&known.0) => known,
                _ => {
                    has_changed = true;
                    (Arc::new(row), next)
                }
            };
            inner.rows.insert(stats.key.clone(), kept);
        }
        for key in before.into_keys() {
            has_changed = true;
            if inner.gone.len() == GONE_MAX
                && let Some((version, _)) = inner.gone.pop_front()
            {
                inner.whole_before = version;
            }
            inner.gone.push_back((next, ids::stream(&key)));
        }
        inner.made = Some(now);
        if has_changed {
            inner.version = next;
        }
        let version = inner.version;
        drop(inner);
        self.version.send_if_modified(|known| std::mem::replace(known, version) != version);
    }

    /// What has changed since the version `after`, as soon as there is something, or at the latest after `wait`.
    pub async fn changes(&self, node: &Node, after: u64, wait: Duration) -> Changes {
        self.asked.store(self.age(), Ordering::Relaxed);
        let is_fresh =
            |made: Option<Instant>| made.is_some_and(|made| made.elapsed() < FRESH + MAKE_EVERY);
        let made = self.lock().made;
        if !is_fresh(made) {
            self.make(node);
        }
        let mut versions = self.version.subscribe();
        let is_news = |version: &u64| *version != after;
        // Who has waited in vain is told that nothing has changed.
        let _ = timeout(wait, versions.wait_for(is_news)).await;
        self.since(after)
    }

    fn since(&self, after: u64) -> Changes {
        let inner = self.lock();
        let is_full = after < inner.whole_before || after > inner.version;
        let is_new = |version: u64| is_full || version > after;
        let rows: Vec<_> = inner
            .rows
            .values()
            .filter(|(_, version)| is_new(*version))
            .map(|(row, _)| Arc::clone(row))
            .collect();
        let sparks = match is_full {
            false => HashMap::new(),
            true => {
                let of = |(key, past): (&StreamKey, &Past)| {
                    (ids::stream(key), past.points().map(|point| point.recv_kbps).collect())
                };
                inner.pasts.iter().map(of).collect()
            }
        };
        let gone = inner.gone.iter().filter(|(version, _)| !is_full && *version > after);
        let gone = gone.map(|(_, id)| id.clone()).collect();
        Changes { version: inner.version, is_full, ticks: inner.ticks, rows, sparks, gone }
    }

    /// The stream with this id, if a row of it has been made.
    pub fn key_of(&self, id: &str) -> Option<StreamKey> {
        let inner = self.lock();
        let mut rows = inner.rows.iter();
        rows.find(|(_, (row, _))| row.id == id).map(|(key, _)| key.clone())
    }

    /// What is remembered of a stream, and how it does.
    fn past<T>(&self, stats: &StreamStats, read: impl FnOnce(Option<&Past>) -> T) -> T {
        read(self.lock().pasts.get(&stats.key))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same when the rows before were made so long ago.
fn settle(made: Duration) -> Duration {
    SETTLE.max(MAKE_EVERY.saturating_sub(made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_made_soon_and_not_often() {
        let millis = Duration::from_millis;
        for (made, waits) in [(0, 1000), (300, 700), (900, 200), (5000, 200)] {
            assert_eq!(settle(millis(made)), millis(waits), "{made} ms ago");
        }
        assert_eq!(settle(Duration::MAX), SETTLE);
    }
}
