//! What all pulls share.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use weir_clients::quota::Quotas;
use weir_config::Settings;
use weir_hub::Registry;
use weir_media::StreamKey;
use weir_upstream::{NodeId, Turns};

use crate::{entry::Entry, fallback::Fallback, known::Known};

/// That a pull may publish. Dropping it ends the publish, if that has begun.
pub trait Permit: Send {
    /// `key` is published from now on.
    fn begin(&mut self, key: &StreamKey);

    /// So many bytes of it have come.
    fn took(&mut self, bytes: usize);
}

/// Whether a pull may publish, once somebody has said so.
pub type Asked<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Permit>, String>> + Send + 'a>>;

/// Who is asked before a pull publishes, and told of it, so that a pulled stream is followed by whatever follows
/// streams.
pub trait Host: Send + Sync {
    /// Whether a pull may publish `key`, which it has by now. Asked before each publish. If it may not, the reason is
    /// for people.
    fn may_publish<'a>(&'a self, key: &'a StreamKey) -> Asked<'a>;

    /// `key` has a publisher: a pull.
    fn began(&self, key: &StreamKey);

    /// A pull of `key` has been lost while somebody watched; it may be back within `linger`.
    fn lost(&self, key: &StreamKey, linger: Duration);
}

/// What all pulls share.
pub struct Shared {
    /// By which loops are seen.
    pub id: NodeId,
    /// What is in force.
    pub settings: Settings,
    /// All streams.
    pub registry: Registry,
    /// Who watches over HLS.
    pub quotas: Arc<Quotas>,
    /// What is shown while a pull is lost.
    pub fallback: Arc<Fallback>,
    /// Who is told.
    pub host: Arc<dyn Host>,
    /// Who may ask for a stream that viewers want.
    pub turns: Turns,
    /// What is configured, and what runs.
    pub running: Mutex<Running>,
}

/// What is configured, and what runs.
#[derive(Default)]
pub struct Running {
    /// The lines of the configuration.
    pub entries: Vec<Arc<Entry>>,
    /// The pulls, by stream.
    pub pulls: HashMap<StreamKey, Arc<Known>>,
}

impl Shared {
    /// Takes `known` off the list if it is there, and if `is_over` still, now that nobody can find it.
    pub fn remove_if(
        &self,
        key: &StreamKey,
        known: &Arc<Known>,
        is_over: impl FnOnce() -> bool,
    ) -> bool {
        let mut running = self.lock();
        let is_it = running.pulls.get(key).is_some_and(|it| Arc::ptr_eq(it, known));
        if !is_over() {
            return false;
        }
        if is_it {
            running.pulls.remove(key);
        }
        true
    }

    /// What is configured, and what runs. Held for some operations in memory.
    pub fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
