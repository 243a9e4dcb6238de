//! What all parts of the process share.

use std::{sync::Arc, time::Instant};

use tokio::sync::mpsc;
use weir_hub::{Budget, Limits, Registry, Wake as _};
use weir_media::{InvalidKey, StreamKey};
use weir_rtmp::url::StreamUrl;

use crate::{
    config::{Config, Role, Vhost},
    edge::Edge,
    hls::HlsOutput,
    ingest::Audiences,
    memory,
    play::{Channels, Format, Returned, Shards},
    quota::Quotas,
    wake::Alarm,
};

/// The name and version that clients are told.
pub const SERVER: &str = concat!("Weir/", env!("CARGO_PKG_VERSION"));

/// RTMP viewers on their way back from their shards to be answered. Each of them holds a connection's place, so more
/// than this at once means that thousands of viewers send commands in the same moment: the surplus is closed.
const RETURNS: usize = 4096;

/// The parts that every connection may need.
pub struct Node {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// All streams.
    pub registry: Registry,
    /// Who is told when a stream's first viewer comes.
    pub audiences: Arc<Audiences>,
    /// All streams in the formats that are being watched.
    pub channels: Arc<Channels>,
    /// The threads that send them.
    pub shards: Shards,
    /// The segments and playlists.
    pub hls: Arc<HlsOutput>,
    /// Where streams come from, if this is an edge.
    pub edge: Option<Arc<Edge>>,
    /// What viewers and addresses may take.
    pub quotas: Arc<Quotas>,
}

impl Node {
    /// Starts the shards and the keeping of lingering streams. The receiver gets RTMP viewers that must be answered.
    ///
    /// # Errors
    /// When the system gives no thread or poller.
    pub fn start(config: Arc<Config>) -> std::io::Result<(Arc<Self>, mpsc::Receiver<Returned>)> {
        let alarm = Arc::new(Alarm::default());
        let budget = Budget::new(usize::try_from(config.limits.memory).unwrap_or(usize::MAX));
        let audiences = Arc::new(Audiences::default());
        let demand = Some(Arc::clone(&audiences) as _);
        let registry = Registry::new(budget, demand, Some(Arc::clone(&alarm) as _));
        tokio::spawn(end_lingers(registry.clone(), memory::give_back_later(), alarm));
        let (returns, returned) = mpsc::channel(RETURNS);
        let quotas = Arc::new(Quotas::new(&config.limits));
        let shards = Shards::start(config.workers.count(), &returns, &quotas)?;
        let channels = Channels::new(registry.clone());
        let hls = HlsOutput::new(registry.clone());
        let edge = match config.role {
            Role::Origin => None,
            Role::Edge => Some(Edge::start(&config, &registry, &audiences)?),
        };
        let node = Self { config, registry, audiences, channels, shards, hls, edge, quotas };
        Ok((Arc::new(node), returned))
    }

    /// The stream that `url` names, and the settings it falls under.
    ///
    /// # Errors
    /// When it is no name that a stream can have.
    pub fn resolve(&self, url: &StreamUrl) -> Result<(StreamKey, Vhost), InvalidKey> {
        let vhost = self.config.vhost(&url.vhost);
        Ok((StreamKey::new(&vhost.name, &url.app, &url.stream)?, vhost))
    }

    /// The format that ordinary RTMP viewers share.
    pub fn rtmp_format(&self) -> Format {
        Format::Rtmp { chunk_size: self.config.rtmp.chunk_size }
    }

    /// How much a viewers' log keeps.
    pub fn play_limits(&self, vhost: &Vhost) -> Limits {
        Limits { bytes: self.stream_bytes(), window: vhost.play.window }
    }

    /// Bytes that one log may hold.
    pub fn stream_bytes(&self) -> usize {
        usize::try_from(self.config.limits.stream_memory).unwrap_or(usize::MAX)
    }
}

/// Ends streams whose linger is over, when it is.
async fn end_lingers(registry: Registry, freed: Arc<Alarm>, alarm: Arc<Alarm>) {
    loop {
        let next = registry.expire(Instant::now());
        tokio::select! {
            // A linger of no length is over before it can be seen to last.
            () = alarm.rang() => {}
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
