//! The configuration in force, which a reload replaces while everything runs.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;

use crate::config::Config;

/// A handle to the configuration in force; all clones see the same one.
#[derive(Clone, Debug)]
pub struct Settings(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ArcSwap<Config>,
    generation: AtomicU64,
}

impl Settings {
    /// Starts with `config`.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Inner {
            config: ArcSwap::from_pointee(config),
            generation: AtomicU64::new(0),
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

    /// From now on `config` is in force.
    pub fn replace(&self, config: Config) {
        self.0.config.store(Arc::new(config));
        self.0.generation.fetch_add(1, Ordering::Release);
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
        other.replace(config);
        assert_eq!((before.limits.egress, settings.now().limits.egress), (0, 7));
        assert_eq!(settings.generation(), 1);
    }
}
