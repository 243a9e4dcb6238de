//! Giving memory back to the system.
//!
//! The allocator keeps what was needed once: streams that have ended, handshakes of a thousand viewers who came together.
//! After such a thing, once it is quiet, it is asked for what it does not use.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use weir_hub::Wake as _;

use crate::wake::Alarm;

/// How long nothing more must happen: by then viewers of an ended stream have been told too, and what happens together,
/// as after a network failure, is dealt with at once.
const QUIET: Duration = Duration::from_secs(2);

/// Where it is never quiet, memory goes back this often.
const EVERY: Duration = Duration::from_secs(30);

/// So many new viewers are worth it: a handshake needs some kilobytes for a moment.
const JOINS: usize = 64;

/// Tells when memory has become free.
#[derive(Default)]
pub struct Memory {
    freed: Arc<Alarm>,
    joins: AtomicUsize,
}

impl Memory {
    /// Starts giving memory back.
    pub fn start() -> Arc<Self> {
        let memory = Arc::new(Self::default());
        tokio::spawn(give_back(Arc::clone(&memory.freed)));
        memory
    }

    /// A stream has ended.
    pub fn stream_ended(&self) {
        self.freed.wake();
    }

    /// A viewer's handshake is over.
    pub fn viewer_joined(&self) {
        if self.joins.fetch_add(1, Ordering::Relaxed) % JOINS == JOINS - 1 {
            self.freed.wake();
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
