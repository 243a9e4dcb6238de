//! What pulls tell the rest of the server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use weir_media::StreamKey;
use weir_outputs::Outputs;
use weir_pull::Host;

use super::streams::Streams;

/// Whoever follows streams, and knows of those that are missed.
pub struct PullHost {
    /// What follows streams.
    pub outputs: Outputs,
    /// All streams.
    pub streams: Arc<Streams>,
}

impl Host for PullHost {
    fn began(&self, key: &StreamKey) {
        self.outputs.follow(key);
        self.streams.lost.found(key);
    }

    fn lost(&self, key: &StreamKey, linger: Duration) {
        self.streams.lost.lost(key, linger, Instant::now());
    }
}
