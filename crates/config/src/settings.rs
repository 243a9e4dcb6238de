//! The configuration in force, which a reload replaces while everything runs.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use weir_media::DEFAULT_VHOST;

use crate::{Config, Vhost};

/// A handle to the configuration in force; all clones see the same one.
#[derive(Clone, Debug)]
pub struct Settings(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    in_force: ArcSwap<InForce>,
    generation: AtomicU64,
    changed: watch::Sender<()>,
}

/// A configuration, and what is made of it once and not for each request.
#[derive(Debug)]
struct InForce {
    config: Arc<Config>,
    /// The settings of each vhost that has its own.
    vhosts: BTreeMap<String, Arc<Vhost>>,
    /// Those of all others.
    default: Arc<Vhost>,
}

impl InForce {
    fn new(config: Arc<Config>) -> Self {
        let of = |name: &str| Arc::new(config.vhost(name));
        let vhosts = config.vhosts.keys().map(|name| (name.clone(), of(name))).collect();
        Self { vhosts, default: of(DEFAULT_VHOST), config }
    }
}

impl Settings {
    /// Starts with `config`.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Inner {
            in_force: ArcSwap::from_pointee(InForce::new(Arc::new(config))),
            generation: AtomicU64::new(0),
            changed: watch::Sender::new(()),
        }))
    }

    /// What is in force now. Whoever needs several values that belong together takes them from one call.
    pub fn now(&self) -> Arc<Config> {
        Arc::clone(&self.0.in_force.load().config)
    }

    /// The settings in force now for the vhost that a client asks for: [`Config::vhost`], made once.
    pub fn vhost(&self, asked: &str) -> Arc<Vhost> {
        let in_force = self.0.in_force.load();
        let own = in_force.config.vhost_name(asked).and_then(|name| in_force.vhosts.get(name));
        Arc::clone(own.unwrap_or(&in_force.default))
    }

    /// How often it was replaced: who keeps something that was made from it looks here whether that is out of date.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// From now on `config` is in force, for whoever looks; see [`Part`](crate::Part) for those who do not.
    pub(crate) fn replace(&self, config: Arc<Config>) {
        self.0.in_force.store(Arc::new(InForce::new(config)));
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
