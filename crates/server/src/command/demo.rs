//! `weir demo`: a publisher that loops a clip.

use std::net::SocketAddr;

use tokio::sync::watch;
use tracing::{error, info};

use super::publish::{self, Source, Tls};
use crate::phase::Phase;

/// Where the clip is published.
pub const STREAM: &str = "live/demo";

/// Ten seconds of a test picture with a hand that goes round once, and a beep each second: H.264 with B-frames and AAC.
/// Its end goes on with its beginning.
const CLIP: &[u8] = include_bytes!("../../assets/demo.flv");

/// Publishes the clip to `server`, until that is going to stop.
pub async fn publish(server: SocketAddr, phase: watch::Receiver<Phase>) {
    let url = format!("rtmp://{server}/{STREAM}");
    if let Err(error) = publish::run(&Source::Bytes(CLIP), &url, true, &Tls::default()).await {
        match *phase.borrow() {
            Phase::Starting | Phase::Serving => error!(%error, "the demo's publisher has stopped"),
            Phase::Notice | Phase::Draining => info!("the demo's publisher was disconnected"),
        }
    }
}
