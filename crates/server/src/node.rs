//! What all parts of the process share.

use std::{collections::HashSet, sync::Arc, time::Instant};

use tokio::sync::{mpsc, watch};
use weir_clients::{
    descriptors::Shares, permits::Permits, quota::Quotas, roster::Roster,
    wrong_secrets::WrongSecrets,
};
use weir_config::{Config, Next, Part, Ready, Role, Settings, Unready, Vhost};
use weir_delivery::{Channels, Format, Returned, Shards};
use weir_edge::Edge;
use weir_hub::{Budget, Limits, Registry, StreamStats, Wake as _};
use weir_intake::{Allowance, DemandSignals, LostStreams, WakeSignal, announce, flush, log_limits};
use weir_media::{InvalidKey, StreamKey};
use weir_outputs::{Outputs, hls::HlsOutput};
use weir_rtmp::url::StreamUrl;

use crate::{
    auth::{self, Auth},
    log, memory,
    phase::Phase,
    terms,
};

/// RTMP viewers on their way back from their shards to be answered. Each of them holds a connection's place, so more
/// than this at once means that thousands of viewers send commands in the same moment: the surplus is closed.
const RETURNS: usize = 4096;

/// The parts that every connection may need.
pub struct Node {
    /// The configuration in force.
    pub settings: Settings,
    /// What the process is about.
    pub phase: watch::Sender<Phase>,
    /// Everybody who is connected, but for those at the API.
    pub roster: Arc<Roster>,
    /// The permits that they take.
    pub permits: Permits,
    /// The descriptors that their connections take.
    pub sockets: Permits,
    /// All streams.
    pub registry: Registry,
    /// Who is told when a stream's first viewer comes.
    pub audiences: Arc<DemandSignals>,
    /// Streams that were watched and have lost their publishers.
    pub lost_streams: LostStreams,
    /// All streams in the formats that are being watched.
    pub channels: Arc<Channels>,
    /// The threads that send them.
    pub shards: Shards,
    /// What follows streams that are published here: nothing, on an edge.
    pub outputs: Outputs,
    /// The one of them that makes segments and playlists.
    pub hls: Arc<HlsOutput>,
    /// Where streams come from, if this is an edge.
    pub edge: Option<Arc<Edge>>,
    /// What viewers and addresses may take.
    pub quotas: Arc<Quotas>,
    /// Who may publish and play.
    pub auth: Arc<Auth>,
    /// Who has shown wrong secrets and tokens, here and at the API.
    pub wrong_secrets: WrongSecrets,
}

impl Node {
    /// Starts the shards and the keeping of lingering streams. The receiver gets RTMP viewers that must be answered.
    ///
    /// # Errors
    /// When the system gives no thread or poller.
    pub fn start(
        settings: &Settings,
        keys: auth::Keys,
    ) -> std::io::Result<(Arc<Self>, mpsc::Receiver<Returned>)> {
        let config = settings.now();
        let auth = Arc::new(Auth::new(keys));
        let signal = Arc::new(WakeSignal::default());
        let budget = Budget::new(usize::try_from(config.limits.memory).unwrap_or(usize::MAX));
        let audiences = Arc::new(DemandSignals::default());
        let demand = Some(Arc::clone(&audiences) as _);
        let registry = Registry::new(budget, demand, Some(Arc::clone(&signal) as _));
        let freed = memory::give_back_later();
        tokio::spawn(end_lingers(registry.clone(), Arc::clone(&freed), signal));
        let (returns, returned) = mpsc::channel(RETURNS);
        let quotas = Arc::new(Quotas::new(terms::quotas(&config.limits)));
        let shards = Shards::start(config.workers.count(), &returns, &quotas, log::finish)?;
        let channels = Channels::new(registry.clone());
        let (streams, formats) = (registry.clone(), Arc::clone(&channels));
        tokio::spawn(memory::look_after(registry.budget().clone(), freed, move || {
            streams.shrink();
            formats.shrink();
        }));
        let permits = Permits::new(config.limits.connections).charging(registry.budget());
        let hls = HlsOutput::new(registry.clone(), settings);
        let edge = match config.role {
            Role::Origin => None,
            Role::Edge => Some(Edge::start(settings, &registry, &audiences)?),
        };
        let outputs = match &edge {
            Some(_) => Outputs::default(),
            None => Outputs::default().with(Arc::clone(&hls) as _),
        };
        let node = Self {
            settings: settings.clone(),
            phase: watch::Sender::new(Phase::Starting),
            roster: Arc::default(),
            permits,
            sockets: Permits::new(Shares::of_process().clients),
            registry,
            audiences,
            lost_streams: LostStreams::default(),
            channels,
            shards,
            outputs,
            hls,
            edge,
            quotas,
            auth,
            wrong_secrets: WrongSecrets::default(),
        };
        Ok((Arc::new(node), returned))
    }

    /// The stream that `url` names, and the settings it falls under.
    ///
    /// # Errors
    /// When it is no name that a stream can have.
    pub fn resolve(&self, url: &StreamUrl) -> Result<(StreamKey, Vhost), InvalidKey> {
        let vhost = self.config().vhost(&url.vhost);
        Ok((StreamKey::new(&vhost.name, &url.app, &url.stream)?, vhost))
    }

    /// The format that ordinary RTMP viewers share.
    pub fn rtmp_format(&self) -> Format {
        Format::Rtmp { chunk_size: self.config().rtmp.chunk_size }
    }

    /// The configuration in force now.
    pub fn config(&self) -> Arc<Config> {
        self.settings.now()
    }

    /// What a client may make us hold while a message of it is on its way.
    pub fn allowance(&self) -> Allowance {
        Allowance::new(self.registry.budget(), &self.config())
    }

    /// How much a viewers' log keeps.
    pub fn play_limits(&self, vhost: &Vhost) -> Limits {
        play_limits(&self.config(), vhost)
    }

    /// Figures of all streams, in no order: those that are published or waited for here, and those of which only HLS is
    /// watched. An edge hands that on without having their frames, and an origin has the files of a stream that has
    /// ended for a while; such streams are [`Status::Ended`](weir_hub::Status::Ended) here.
    pub fn streams(&self) -> Vec<StreamStats> {
        let mut all = self.registry.stats();
        let hls = self.quotas.hls_streams();
        if !hls.is_empty() {
            let here: HashSet<_> = all.iter().map(|stream| stream.key.clone()).collect();
            let others = hls.into_iter().filter(|key| !here.contains(key));
            all.extend(others.map(StreamStats::absent));
        }
        all
    }

    /// What the process is about now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// All that follows the configuration here. Nobody is disturbed by that.
    pub fn parts(self: &Arc<Self>) -> Vec<Arc<dyn Part>> {
        let mut parts: Vec<Arc<dyn Part>> =
            vec![Arc::clone(&self.auth) as _, Arc::clone(self) as _];
        parts.extend(self.edge.iter().map(|edge| Arc::clone(edge) as _));
        parts.extend(self.outputs.parts());
        parts
    }
}

impl Part for Node {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let config = Arc::clone(&next.config);
        Ok(Ready::after(move || self.follow(&config)))
    }
}

impl Node {
    fn follow(&self, config: &Arc<Config>) {
        self.permits.limit_to(config.limits.connections);
        self.quotas.limit_to(terms::quotas(&config.limits));
        let memory = usize::try_from(config.limits.memory).unwrap_or(usize::MAX);
        self.registry.budget().limit_to(memory);
        self.registry.reconfigure(|key| {
            let flush = flush(&config.vhost(key.vhost()).play);
            (announce(flush), log_limits(config))
        });
        self.channels.limit_to(|key| play_limits(config, &config.vhost(key.vhost())));
        let now = Arc::clone(config);
        let terms = move |key: &StreamKey| terms::of(&now.vhost(key.vhost()).play);
        self.shards.reconfigure(&(Arc::new(terms) as _));
        // Publishers go by what is in force at their next look, which may be long in coming.
        self.audiences.ring_all();
    }
}

fn play_limits(config: &Config, vhost: &Vhost) -> Limits {
    Limits { bytes: log_limits(config).bytes, window: vhost.play.window }
}

/// Ends streams whose linger is over, when it is.
async fn end_lingers(registry: Registry, freed: Arc<WakeSignal>, signal: Arc<WakeSignal>) {
    loop {
        let next = registry.expire(Instant::now());
        tokio::select! {
            // A linger of no length is over before it can be seen to last.
            () = signal.rang() => {}
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
