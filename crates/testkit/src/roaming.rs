//! Viewers and encoders behind a load balancer: whenever a server lets them go they connect anew at once, as players
//! and encoders do, and note what that cost.

mod encoder;
mod play;
mod viewer;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

pub use encoder::{RoamingEncoder, Voyage};

use crate::{crowd::allow_files, eventually};

/// Without a picture for so long after it began to connect, a join counts as one that hangs; an encoder that has no
/// answer for so long as well.
pub const HUNG: Duration = Duration::from_secs(3);

/// Before a viewer or encoder that was refused comes again.
const AGAIN: Duration = Duration::from_millis(100);

/// Distances of new pictures that are noted one by one.
const PAUSE: Duration = Duration::from_millis(200);

/// Viewers that a message shows.
const SHOWN: usize = 5;

/// What a roaming viewer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plays over HTTP-FLV.
    HttpFlv,
    /// Plays over RTMP and knows no reconnect requests.
    Rtmp,
    /// Plays over RTMP and follows reconnect requests (E-RTMP v2): it plays at the next server before it leaves the
    /// present one.
    Reconnecting,
}

/// How a server ended what a viewer or encoder had begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    /// In good order: with the end of the HTTP body, or a status of RTMP.
    LetGo(String),
    /// The client left by itself, as it was asked to.
    Followed,
    /// The connection ended without a word before, or in the midst of something.
    Cut(String),
}

/// What happened to one viewer.
#[derive(Clone, Debug, Default)]
pub struct Journey {
    /// Attempts to play.
    pub joins: usize,
    /// The answers to those that were refused.
    pub refused: Vec<String>,
    /// How many showed no picture [for long](HUNG).
    pub hung: usize,
    /// When and how each stay at a server ended that had shown a picture.
    pub departures: Vec<(Instant, Departure)>,
    /// When a picture came that is newer than all before it.
    pub latest: Option<Instant>,
    /// The newest picture.
    pub newest: Option<u64>,
    /// The longest time between two new pictures.
    pub longest_gap: Duration,
    /// Times between new pictures that were long enough to notice, and when they ended.
    pub pauses: Vec<(Instant, Duration)>,
    /// Pictures that it did not see.
    pub missed: u64,
    /// The most that were missing at one place.
    pub missed_at_once: u64,
    /// What was wrong with what came.
    pub fault: Option<String>,
}

impl Journey {
    /// A picture has come.
    fn picture(&mut self, number: u64, now: Instant) {
        if self.newest.is_some_and(|newest| number <= newest) {
            return;
        }
        if let Some(newest) = self.newest {
            let missing = number - newest - 1;
            self.missed += missing;
            self.missed_at_once = self.missed_at_once.max(missing);
        }
        if let Some(latest) = self.latest {
            let gap = now.duration_since(latest);
            self.longest_gap = self.longest_gap.max(gap);
            if gap >= PAUSE {
                self.pauses.push((now, gap));
            }
        }
        (self.newest, self.latest) = (Some(number), Some(now));
    }

    /// How often it moved.
    pub fn moves(&self) -> usize {
        self.departures.len()
    }

    /// How often it moved in this time.
    pub fn moves_within(&self, from: Instant, to: Instant) -> usize {
        self.departures.iter().filter(|(at, _)| (from..to).contains(at)).count()
    }

    /// Those stays that a server broke off.
    pub fn cuts(&self) -> impl Iterator<Item = &str> {
        self.departures.iter().filter_map(|(_, departure)| match departure {
            Departure::Cut(how) => Some(how.as_str()),
            _ => None,
        })
    }
}

/// Viewers that connect anew whenever they are let go. Dropping it closes their connections.
#[derive(Debug, Default)]
pub struct Roaming {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    name: String,
    journey: Arc<Mutex<Journey>>,
    task: JoinHandle<()>,
}

impl Roaming {
    /// Nobody yet.
    pub fn new() -> Self {
        allow_files(std::process::id());
        Self::default()
    }

    /// One more viewer of `stream`, such as `live/a`, who connects to `address` after this time, and whenever it is let
    /// go.
    pub fn viewer(&mut self, kind: Kind, address: SocketAddr, stream: &str, after: Duration) {
        let name = format!("viewer {} of {stream}, {kind:?}", self.members.len());
        let journey = Arc::new(Mutex::new(Journey::default()));
        let task = viewer::roam(kind, address, stream.to_owned(), after, Arc::clone(&journey));
        self.members.push(Member { name, journey, task: tokio::spawn(task) });
    }

    /// What happened to each so far, in the order in which they came.
    pub fn journeys(&self) -> Vec<Journey> {
        self.members.iter().map(|member| member.journey().clone()).collect()
    }

    /// Waits until everybody has picture `number` or a later one.
    ///
    /// # Panics
    /// If somebody has not before `timeout`.
    pub async fn until_picture(&self, number: u64, timeout: Duration) {
        let late = |journey: &Journey| journey.newest < Some(number);
        let deadline = Instant::now() + timeout;
        eventually("a picture at every viewer", timeout * 2, async || {
            let left = self.those(late);
            let is_late = Instant::now() >= deadline && !left.is_empty();
            assert!(!is_late, "picture {number}, not within {timeout:?}: {}", self.show(&left));
            left.is_empty().then_some(())
        })
        .await;
    }

    /// Requires that `right` holds for each journey.
    ///
    /// # Panics
    /// If it does not; `what` says what should be.
    #[track_caller]
    pub fn assert_all(&self, what: &str, right: impl Fn(&Journey) -> bool) {
        let wrong = self.those(|journey| !right(journey));
        assert!(wrong.is_empty(), "{what}: not so for {}", self.show(&wrong));
    }

    /// What it all came to.
    pub fn summary(&self) -> Summary {
        let journeys = self.journeys();
        let mut gaps: Vec<_> = journeys.iter().map(|journey| journey.longest_gap).collect();
        gaps.sort_unstable();
        let mut ways = BTreeMap::<_, usize>::new();
        for (_, departure) in journeys.iter().flat_map(|journey| &journey.departures) {
            *ways.entry(format!("{departure:?}")).or_default() += 1;
        }
        let sum = |of: fn(&Journey) -> usize| journeys.iter().map(of).sum();
        Summary {
            viewers: journeys.len(),
            joins: sum(|journey| journey.joins),
            refused: sum(|journey| journey.refused.len()),
            hung: sum(|journey| journey.hung),
            most_moves: journeys.iter().map(Journey::moves).max().unwrap_or_default(),
            gaps,
            most_missed: journeys.iter().map(|it| it.missed_at_once).max().unwrap_or_default(),
            ways,
        }
    }

    fn those(&self, is: impl Fn(&Journey) -> bool) -> Vec<&Member> {
        self.members.iter().filter(|member| is(&member.journey())).collect()
    }

    fn show(&self, members: &[&Member]) -> String {
        let some = members.iter().take(SHOWN);
        let some: Vec<_> =
            some.map(|member| format!("\n{}: {:?}", member.name, member.journey())).collect();
        format!("{} of {} viewers{}", members.len(), self.members.len(), some.concat())
    }
}

impl Member {
    fn journey(&self) -> MutexGuard<'_, Journey> {
        lock(&self.journey)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The journeys of many viewers in a few figures.
#[derive(Clone, Debug)]
pub struct Summary {
    viewers: usize,
    joins: usize,
    refused: usize,
    hung: usize,
    most_moves: usize,
    /// The longest gap of each viewer, in order.
    gaps: Vec<Duration>,
    most_missed: u64,
    ways: BTreeMap<String, usize>,
}

impl Summary {
    /// The longest gap that this part of the viewers did not exceed; 1 is everybody.
    pub fn gap(&self, part: f64) -> Duration {
        let rank = (self.gaps.len() as f64 * part).ceil() as usize;
        self.gaps.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |part| self.gap(part).as_millis();
        writeln!(
            f,
            "viewers {}  joins {}  refused {}  hung {}  moves of one viewer {}",
            self.viewers, self.joins, self.refused, self.hung, self.most_moves
        )?;
        writeln!(
            f,
            "longest gap p50 {} ms, p99 {} ms, max {} ms; pictures missing at one place {}",
            millis(0.5),
            millis(0.99),
            millis(1.0),
            self.most_missed
        )?;
        self.ways.iter().try_for_each(|(way, count)| writeln!(f, "  {count:5} x {way}"))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
