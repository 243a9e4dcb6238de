//! How well the machine keeps time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Between two beats.
const BEAT: Duration = Duration::from_millis(10);

/// A thread that sleeps and wakes up, and notes by how much it was late: what a test measures while the machine is late
/// is not what it wanted to measure.
#[derive(Debug)]
pub struct Pulse {
    worst: Arc<AtomicU64>,
}

impl Pulse {
    /// From now on until it is dropped.
    pub fn start() -> Self {
        let worst = Arc::<AtomicU64>::default();
        let seen = Arc::downgrade(&worst);
        thread::spawn(move || {
            let mut last = Instant::now();
            while let Some(worst) = seen.upgrade() {
                let late = last.elapsed().saturating_sub(BEAT).as_millis();
                worst.fetch_max(late.try_into().unwrap_or(u64::MAX), Ordering::AcqRel);
                drop(worst);
                last = Instant::now();
                thread::sleep(BEAT);
            }
        });
        Self { worst }
    }

    /// The longest delay so far.
    pub fn late(&self) -> Duration {
        Duration::from_millis(self.worst.load(Ordering::Acquire))
    }
}
