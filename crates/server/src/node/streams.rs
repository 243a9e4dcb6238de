//! The streams that are here, and the memory that they may take.

use std::{sync::Arc, time::Instant};

use weir_config::{Config, Limits, Next, Part, Ready, Unready};
use weir_hub::{Budget, Registry, Wake as _};
use weir_intake::{DemandSignals, LostStreams, WakeSignal, announce, flush, log_limits};

use crate::memory;

/// All streams: the part that follows `limits.memory` and what the logs of streams are kept by.
pub struct Streams {
    /// All of them.
    pub registry: Registry,
    /// Who is told when a stream's first viewer comes.
    pub audiences: Arc<DemandSignals>,
    /// Those that were watched and have lost their publishers.
    pub lost: LostStreams,
}

impl Streams {
    /// None yet. What lingers is ended, and memory is given back to the system, for as long as the runtime lives; what
    /// this returns beside is to be rung when much less is held than was.
    pub fn start(limits: &Limits) -> (Arc<Self>, Arc<WakeSignal>) {
        let signal = Arc::new(WakeSignal::default());
        let audiences = Arc::new(DemandSignals::default());
        let demand = Some(Arc::clone(&audiences) as _);
        let budget = Budget::new(memory_of(limits));
        let registry = Registry::new(budget, demand, Some(Arc::clone(&signal) as _));
        let freed = memory::give_back_later();
        tokio::spawn(end_lingers(registry.clone(), Arc::clone(&freed), signal));
        (Arc::new(Self { registry, audiences, lost: LostStreams::default() }), freed)
    }
}

fn memory_of(limits: &Limits) -> usize {
    usize::try_from(limits.memory).unwrap_or(usize::MAX)
}

impl Part for Streams {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let config = Arc::clone(&next.config);
        Ok(Ready::after(move || self.follow(&config)))
    }
}

impl Streams {
    fn follow(&self, config: &Config) {
        self.registry.budget().limit_to(memory_of(&config.limits));
        self.registry.reconfigure(|key| {
            (announce(flush(&config.vhost(key.vhost()).play)), log_limits(config))
        });
        // Publishers go by what is in force at their next look, which may be long in coming.
        self.audiences.ring_all();
    }
}

/// Ends streams whose linger is over, when it is.
async fn end_lingers(registry: Registry, freed: Arc<WakeSignal>, signal: Arc<WakeSignal>) {
    loop {
        let next = registry.expire(Instant::now());
        tokio::select! {
            // A linger of no length is over before it can be seen to last.
            () = signal.rang() => {}
            () = until(next) => {}
        }
        freed.wake();
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
