//! Whether recordings can be written to a folder: for metrics, whoever asks, and the log.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{error, info};
use weir_clients::counts::COUNTS;

/// How often the log says of a folder that recordings cannot be written, and that they can again.
const SAY: Duration = Duration::from_secs(60);

/// What is known of a folder.
#[derive(Debug, Default)]
pub struct Health(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    trouble: Option<Arc<str>>,
    said: Option<Instant>,
    /// Whether the log has said that there is trouble, and not that it is over.
    is_open: bool,
}

impl Health {
    /// Why nothing can be written; none if it can, as far as it is known.
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.lock().trouble.clone()
    }

    /// A recording could not be written.
    pub fn failed(&self, dir: &Path, stream: &dyn std::fmt::Display, error: &io::Error) {
        COUNTS.record_errors.increase();
        let mut known = self.lock();
        known.trouble = Some(error.to_string().into());
        if known.said.is_some_and(|said| said.elapsed() < SAY) {
            return;
        }
        (known.said, known.is_open) = (Some(Instant::now()), true);
        drop(known);
        error!(
            %stream, dir = %dir.display(), %error,
            "cannot write recordings: what comes until this is over is missing there; viewers are served"
        );
    }

    /// Something was written.
    pub fn wrote(&self, dir: &Path) {
        let mut known = self.lock();
        if known.trouble.take().is_some() && std::mem::take(&mut known.is_open) {
            info!(dir = %dir.display(), "recordings can be written again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
