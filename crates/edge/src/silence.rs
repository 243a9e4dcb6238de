//! A stream that is pulled and silent: its encoder may have gone to another origin, and the one it has left waits for
//! it (`publish.linger`) without a word.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::sleep;
use weir_upstream::Source;

use super::{Edge, Origin, Request, search, upstream::open_source};

/// How often it is looked whether something has come. A stream that is silent for two looks is asked for at the other
/// origins: encoders send several frames a second.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS: u32 = 2;

/// The longest pause between two questions, in looks, while it goes on being silent: some encoders are.
const LOOKS_MAX: u32 = 16;

/// What has come of a stream, for whoever watches it.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<AtomicU64>);

impl Activity {
    /// Something came.
    pub fn beat(&self) {
        // One writer.
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Ends after so many looks at which nothing new had come.
    async fn stops(&self, looks: u32) {
        let (mut seen, mut quiet) = (self.count(), 0);
        while quiet < looks {
            sleep(LOOK).await;
            let count = self.count();
            quiet = if count == seen { quiet + 1 } else { 0 };
            seen = count;
        }
    }

    /// Ends once something has come after `seen`.
    async fn goes_on(&self, seen: u64) {
        while self.count() == seen {
            sleep(LOOK).await;
        }
    }
}

/// Looks for the stream of `request` at other origins than `present`, which it comes from, whenever that is silent.
/// Ends when one of them has it.
pub async fn elsewhere(
    edge: Arc<Edge>,
    request: Request,
    present: Arc<Origin>,
    pulse: Activity,
) -> (Arc<Origin>, Source) {
    // Nobody who waits for its encoder as well is to send its leftovers again.
    let request = Request { wait: Duration::ZERO, next: true, ..request };
    let mut looks = LOOKS;
    loop {
        pulse.stops(looks).await;
        let seen = pulse.count();
        let mut others = edge.origins.order(&request.key);
        others.retain(|origin| origin.is_healthy() && origin.address != present.address);
        let settings = edge.settings();
        let (protocol, dead_after) = (settings.edge.protocol, settings.edge.dead_after);
        let asked = pin!(search::race(others, |origin, _| {
            let request = request.clone();
            async move {
                open_source(&origin, protocol, &request, dead_after, &AtomicBool::default()).await
            }
        }));
        looks = tokio::select! {
            () = pulse.goes_on(seen) => LOOKS,
            found = asked => match found {
                Ok(found) => return found,
                Err(_) => (looks * 2).min(LOOKS_MAX),
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_stops_after_a_second_without_anything_and_goes_on_with_the_next() {
        let pulse = Activity::default();
        let beats = async {
            for _ in 0..10 {
                sleep(LOOK * 3 / 2).await;
                pulse.beat();
            }
        };
        tokio::select! {
            () = pulse.stops(LOOKS) => panic!("it has never been silent for two looks"),
            () = beats => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_seen() {
        let pulse = Activity::default();
        let start = Instant::now();
        pulse.stops(LOOKS).await;
        assert_eq!(start.elapsed(), LOOK * LOOKS);
        let seen = pulse.count();
        let waits = timeout(LOOK * 10, pulse.goes_on(seen)).await;
        assert!(waits.is_err(), "nothing has come");
        pulse.beat();
        pulse.goes_on(seen).await;
    }
}
