//! The configuration in force, which a reload replaces while everything runs.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::Config;

/// A handle to the configuration in force; all clones see the same one.
#[derive(Clone, Debug)]
pub struct Settings(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ArcSwap<Config>,
    generation: AtomicU64,
    changed: watch::Sender<()>,
}

impl Settings {
    /// Starts with `config`.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Inner {
            config: ArcSwap::from_pointee(config),
            generation: AtomicU64::new(0),
            changed: watch::Sender::new(()),
        }))
    }

    /// What is in force now. Whoever needs several values that belong together takes them from one call.
    pub fn now(&self) -> Arc<Config> {
        self.0.config.load_full()
    }

    /// How often it was replaced: who keeps something that was made from it looks here whether that is out of date.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// From now on `config` is in force, for whoever looks; see [`Part`](crate::Part) for those who do not.
    pub(crate) fn replace(&self, config: Arc<Config>) {
        self.0.config.store(config);
        self.0.generation.fetch_add(1, Ordering::Release);
        self.0.changed.send_replace(());
    }

    /// For who waits, and has to hear that something else is in force.
    pub fn changes(&self) -> Changes {
        Changes { changed: self.0.changed.subscribe(), settings: self.clone() }
    }
}

/// What is put in force from some moment on.
#[derive(Clone, Debug)]
pub struct Changes {
    changed: watch::Receiver<()>,
    settings: Settings,
}

impl Changes {
    /// The next configuration. The same as before may be put in force again.
    pub async fn next(&mut self) -> Arc<Config> {
        if self.changed.changed().await.is_err() {
            // Nobody is left who could change anything.
            std::future::pending::<()>().await;
        }
        self.settings.now()
    }

    /// What is in force now.
    pub fn now(&self) -> Arc<Config> {
        self.settings.now()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_handles_see_what_was_put_in_force_last() {
        let settings = Settings::default();
        let other = settings.clone();
        let before = settings.now();
        let mut config = Config::default();
        config.limits.egress = 7;
        other.replace(Arc::new(config));
        assert_eq!((before.limits.egress, settings.now().limits.egress), (0, 7));
        assert_eq!(settings.generation(), 1);
    }
}
