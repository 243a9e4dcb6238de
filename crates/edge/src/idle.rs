//! Whether anybody watches a stream.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use weir_config::{Changes, Config};
use weir_intake::WakeSignal;
use weir_media::StreamKey;

use super::Edge;

/// Measures how long a stream has had no viewers.
pub struct Idle {
    edge: Arc<Edge>,
    key: StreamKey,
    audience: Arc<WakeSignal>,
    changes: Changes,
    since: Option<Instant>,
}

/// How long a stream may have no viewers, by what is in force.
pub type Limit = fn(&Config) -> Duration;

impl Idle {
    /// Begins to look after `key`.
    pub fn new(edge: &Arc<Edge>, key: &StreamKey) -> Self {
        let (audience, changes) = (edge.audiences.of(key), edge.changes());
        Self { edge: Arc::clone(edge), key: key.clone(), audience, changes, since: None }
    }

    /// Whether somebody watches (true), or nobody has for `limit` (false): waits for one of the two.
    pub async fn is_watched(&mut self, limit: Limit) -> bool {
        while self.edge.registry.demand(&self.key) == 0 {
            let since = *self.since.get_or_insert_with(Instant::now);
            let until = since + limit(&self.changes.now());
            tokio::select! {
                () = sleep_until(until) => return false,
                // Somebody came, and may have left again.
                () = self.audience.rang() => self.since = None,
                _ = self.changes.next() => {}
            }
        }
        self.since = None;
        true
    }

    /// Ends once nobody has watched for `limit`, counted from when the last one left and not from this call.
    pub async fn lasts(&mut self, limit: Limit) {
        while self.is_watched(limit).await {
            self.audience.rang().await;
        }
    }
}
