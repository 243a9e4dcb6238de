//! What peers may make the process hold, and giving memory back to the system.
//!
//! The allocator keeps what was needed once, such as the logs of streams that have ended. Once it is quiet after such
//! an end, it is asked for what it does not use.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, timeout_at};
use weir_config::Config;
use weir_hub::Wake as _;
use weir_media::{Budget, Use};

use crate::wake::Alarm;

/// What one peer may make the process hold while a message of it is on its way.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// What it counts against.
    pub budget: Budget,
    /// The longest message of media. One that is longer than its stream may hold would be no use to anybody.
    pub message_bytes: usize,
}

impl Allowance {
    /// What `config` allows.
    pub fn new(budget: &Budget, config: &Config) -> Self {
        let stream = usize::try_from(config.limits.stream_memory).unwrap_or(usize::MAX);
        let message_bytes = stream.min(budget.most_for_one(Use::Messages));
        Self { budget: budget.clone(), message_bytes }
    }
}

/// How often a peer with an unfinished message is looked at: one that stops in the middle of megabytes while others
/// need them is not waited for.
pub const HOG_CHECK: Duration = Duration::from_secs(1);

/// Unfinished bytes that are worth a look.
pub const HOG_BYTES_MIN: usize = 32 * 1024;

/// Why a peer goes that has more unfinished than others leave it room for.
pub const HOG: &str =
    "an unfinished message takes more than its part of the memory (limits.memory)";

/// How long nothing more must end: by then viewers of an ended stream have been told too, and the streams that end
/// together, as after a network failure, are dealt with at once.
const QUIET: Duration = Duration::from_secs(2);

/// Where it is never quiet, memory goes back this often.
const EVERY: Duration = Duration::from_secs(30);

/// How often the budget is looked at: what a log may not hold any longer is gone after this, whether or not anything is
/// appended to it.
const LOOK: Duration = Duration::from_millis(100);

/// A fall by less than this is not worth giving memory back.
const FALL_BYTES_MIN: usize = 4 * 1024 * 1024;

/// Starts giving memory back. The alarm is to be rung when a stream has ended.
pub fn give_back_later() -> Arc<Alarm> {
    let freed = Arc::new(Alarm::default());
    tokio::spawn(give_back(Arc::clone(&freed)));
    freed
}

/// Looks after the budget: while it is spent, `shrink` is called again and again, and `freed` is rung when much less is
/// held than was, as after a crowd has left.
pub async fn look_after(budget: Budget, freed: Arc<Alarm>, shrink: impl Fn()) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut most = 0;
    loop {
        ticks.tick().await;
        if budget.is_spent() {
            shrink();
        }
        let used = budget.used();
        most = most.max(used);
        if most - used >= FALL_BYTES_MIN.max(most / 2) {
            most = used;
            freed.wake();
        }
    }
}

async fn give_back(freed: Arc<Alarm>) {
    loop {
        freed.rang().await;
        let latest = Instant::now() + EVERY;
        let quiet = || (Instant::now() + QUIET).min(latest);
        while Instant::now() < latest && timeout_at(quiet(), freed.rang()).await.is_ok() {}
        // It takes milliseconds and locks. A runtime that cannot run it is ending.
        let _ = tokio::task::spawn_blocking(weir_sys::release_free_memory).await;
    }
}
