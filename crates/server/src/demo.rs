//! `weir demo`: a publisher that loops a clip.

use std::net::SocketAddr;

use tracing::error;

use crate::publish::{self, Source};

/// Where the clip is published.
pub const STREAM: &str = "live/demo";

/// Ten seconds of a test picture and a tone, H.264 with B-frames and AAC.
const CLIP: &[u8] = include_bytes!("../assets/demo.flv");

/// Publishes the clip to `server` for ever.
pub async fn publish(server: SocketAddr) {
    let url = format!("rtmp://{server}/{STREAM}");
    if let Err(error) = publish::run(&Source::Bytes(CLIP), &url, true).await {
        error!(%error, "the demo's publisher has stopped");
    }
}
