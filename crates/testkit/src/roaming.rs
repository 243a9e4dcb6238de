//! Viewers and encoders behind a load balancer: whenever a server lets them go they connect anew at once, as players
//! and encoders do, and note what that cost.

mod encoder;
mod journey;
mod play;
mod viewer;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

pub use encoder::{EncoderReport, RoamingEncoder};
use journey::lock;
pub use journey::{Departure, HUNG, Kind, ViewerReport};

use crate::{crowd::allow_files, eventually};

/// Viewers that a message shows.
const SHOWN: usize = 5;

/// Viewers that connect anew whenever they are let go. Dropping it closes their connections.
#[derive(Debug, Default)]
pub struct Roaming {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    name: String,
    journey: Arc<Mutex<ViewerReport>>,
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
        let journey = Arc::new(Mutex::new(ViewerReport::default()));
        let task = viewer::roam(kind, address, stream.to_owned(), after, Arc::clone(&journey));
        self.members.push(Member { name, journey, task: tokio::spawn(task) });
    }

    /// What happened to each so far, in the order in which they came.
    pub fn journeys(&self) -> Vec<ViewerReport> {
        self.members.iter().map(|member| member.journey().clone()).collect()
    }

    /// Waits until everybody has picture `number` or a later one.
    ///
    /// # Panics
    /// If somebody has not before `timeout`.
    pub async fn until_picture(&self, number: u64, timeout: Duration) {
        let late = |journey: &ViewerReport| journey.newest < Some(number);
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
    pub fn assert_all(&self, what: &str, right: impl Fn(&ViewerReport) -> bool) {
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
        let sum = |of: fn(&ViewerReport) -> usize| journeys.iter().map(of).sum();
        Summary {
            viewers: journeys.len(),
            joins: sum(|journey| journey.joins),
            refused: sum(|journey| journey.refused.len()),
            hung: sum(|journey| journey.hung),
            most_moves: journeys.iter().map(ViewerReport::moves).max().unwrap_or_default(),
            gaps,
            most_missed: journeys.iter().map(|it| it.missed_at_once).max().unwrap_or_default(),
            ways,
        }
    }

    fn those(&self, is: impl Fn(&ViewerReport) -> bool) -> Vec<&Member> {
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
    fn journey(&self) -> MutexGuard<'_, ViewerReport> {
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

#[cfg(test)]
mod tests;
