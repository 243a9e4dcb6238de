//! From the streams to their viewers: channels, and the threads that send them.

use std::{io, sync::Arc};

use tokio::sync::mpsc;
use weir_clients::quota::Quotas;
use weir_config::{Config, Next, Part, Ready, Unready, Vhost};
use weir_delivery::{Channels, Returned, Shards};
use weir_hub::{Limits, Registry};
use weir_intake::log_limits;
use weir_media::StreamKey;

use crate::{log, terms};

/// RTMP viewers on their way back from their shards to be answered. Each of them holds a connection's place, so more
/// than this at once means that thousands of viewers send commands in the same moment: the surplus is closed.
const RETURNS: usize = 4096;

/// What sends streams to viewers: the part that follows `play`, here and on the shards.
pub struct Delivery {
    /// All streams in the formats that are being watched.
    pub channels: Arc<Channels>,
    /// The threads that send them.
    pub shards: Shards,
}

impl Delivery {
    /// Starts the shards. The receiver gets RTMP viewers that must be answered.
    ///
    /// # Errors
    /// When the system gives no thread or poller.
    pub fn start(
        config: &Config,
        registry: &Registry,
        quotas: &Arc<Quotas>,
    ) -> io::Result<(Arc<Self>, mpsc::Receiver<Returned>)> {
        let (returns, returned) = mpsc::channel(RETURNS);
        let shards = Shards::start(config.workers.count(), &returns, quotas, log::finish)?;
        let channels = Channels::new(registry.clone());
        Ok((Arc::new(Self { channels, shards }), returned))
    }
}

/// How much a viewers' log keeps.
pub fn limits(config: &Config, vhost: &Vhost) -> Limits {
    Limits { bytes: log_limits(config).bytes, window: vhost.play.window }
}

impl Part for Delivery {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let config = Arc::clone(&next.config);
        Ok(Ready::after(move || {
            self.channels.limit_to(|key| limits(&config, &config.vhost(key.vhost())));
            let terms = move |key: &StreamKey| terms::of(&config.vhost(key.vhost()).play);
            self.shards.reconfigure(&(Arc::new(terms) as _));
        }))
    }
}
