//! Whether anybody watches a stream.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use weir_hub::Registry;
use weir_media::StreamKey;

use crate::{ingest::Audiences, wake::Alarm};

/// Measures how long a stream has had no viewers.
pub struct Idle {
    registry: Registry,
    key: StreamKey,
    audience: Arc<Alarm>,
    since: Option<Instant>,
}

impl Idle {
    /// Begins to look after `key`.
    pub fn new(registry: &Registry, audiences: &Audiences, key: &StreamKey) -> Self {
        let audience = audiences.of(key);
        Self { registry: registry.clone(), key: key.clone(), audience, since: None }
    }

    /// Whether somebody watches (true), or nobody has for `limit` (false): waits for one of the two.
    pub async fn is_watched(&mut self, limit: Duration) -> bool {
        while self.registry.demand(&self.key) == 0 {
            let since = *self.since.get_or_insert_with(Instant::now);
            tokio::select! {
                () = sleep_until(since + limit) => return false,
                // Somebody came, and may have left again.
                () = self.audience.rang() => self.since = None,
            }
        }
        self.since = None;
        true
    }

    /// Ends once nobody has watched for `limit`, counted from when the last one left and not from this call.
    pub async fn lasts(&mut self, limit: Duration) {
        while self.is_watched(limit).await {
            self.audience.rang().await;
        }
    }
}
