//! Giving memory back to the system.
//!
//! The allocator keeps what was needed once, such as the logs of streams that have ended. Once it is quiet after such
//! an end, it is asked for what it does not use.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::wake::Alarm;

/// How long nothing more must end: by then viewers of an ended stream have been told too, and the streams that end
/// together, as after a network failure, are dealt with at once.
const QUIET: Duration = Duration::from_secs(2);

/// Where it is never quiet, memory goes back this often.
const EVERY: Duration = Duration::from_secs(30);

/// Starts giving memory back. The alarm is to be rung when a stream has ended.
pub fn give_back_later() -> Arc<Alarm> {
    let freed = Arc::new(Alarm::default());
    tokio::spawn(give_back(Arc::clone(&freed)));
    freed
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
