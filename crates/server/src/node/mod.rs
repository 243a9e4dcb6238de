//! What every connection may need: the parts of a server, side by side.

mod clients;
mod delivery;
mod hooked;
mod pulling;
mod streams;

use std::{collections::HashSet, io, sync::Arc};

use tokio::sync::{mpsc, watch};
use weir_children::Children;
use weir_config::{Config, Part, Role, Settings, Vhost};
use weir_delivery::{Format, Returned};
use weir_edge::Edge;
use weir_hooks::{Hooks, Trusts};
use weir_hub::{Limits, StreamStats};
use weir_intake::Allowance;
use weir_media::{InvalidKey, StreamKey};
use weir_outputs::{
    Finished, Outputs,
    forward::ForwardOutput,
    hls::HlsOutput,
    record::{self, RecordOutput},
};
use weir_pull::{Fallback, Pulls};
use weir_rtmp::url::StreamUrl;
use weir_upload::Uploader;

pub use self::{clients::Clients, hooked::subject};
use self::{delivery::Delivery, pulling::PullHost, streams::Streams};
use crate::{
    auth::{Auth, Keys},
    memory,
    phase::Phase,
    zero_copy::SharedCopies,
};

/// The parts that every connection may need. Each of them follows the configuration by itself.
pub struct Node {
    /// The configuration in force.
    pub settings: Settings,
    /// What the process is about.
    pub phase: watch::Sender<Phase>,
    /// Who is connected, and what they may take.
    pub clients: Arc<Clients>,
    /// The streams that are here.
    pub streams: Arc<Streams>,
    /// What sends them to viewers.
    pub delivery: Arc<Delivery>,
    /// What follows streams that are published here: nothing, on an edge.
    pub outputs: Outputs,
    /// The one of them that makes segments and playlists.
    pub hls: Arc<HlsOutput>,
    /// The one that sends streams on to other servers.
    pub forward: Arc<ForwardOutput>,
    /// The one of them that records.
    pub record: Arc<RecordOutput>,
    /// Copies of what many clients fetch of HLS, from which the system sends.
    pub copies: Arc<SharedCopies>,
    /// What takes finished files to a storage: nothing, on an edge.
    pub uploader: Option<Arc<Uploader>>,
    /// Where streams come from, if this is an edge.
    pub edge: Option<Arc<Edge>>,
    /// Streams that come from elsewhere, if this is an origin.
    pub pulls: Option<Arc<Pulls>>,
    /// Programs that run for streams.
    pub children: Arc<Children>,
    /// What is shown while publishers are away.
    pub fallback: Arc<Fallback>,
    /// Who may publish and play.
    pub auth: Arc<Auth>,
    /// The back ends that hear of what clients do, and decide about it.
    pub hooks: Arc<Hooks>,
}

impl Node {
    /// Starts the shards and the keeping of lingering streams. The receiver gets RTMP viewers that must be answered.
    ///
    /// # Errors
    /// When the system gives no thread or poller.
    pub fn start(
        settings: &Settings,
        keys: Keys,
        trusts: Trusts,
    ) -> io::Result<(Arc<Self>, mpsc::Receiver<Returned>)> {
        let config = settings.now();
        let (streams, freed) = Streams::start(&config.limits);
        let registry = &streams.registry;
        let clients = Clients::new(&config.limits, registry.budget());
        let (delivery, returned) = Delivery::start(&config, registry, &clients.quotas)?;
        let copies = SharedCopies::new(registry.budget());
        let (all, formats) = (registry.clone(), Arc::clone(&delivery.channels));
        let shared = Arc::clone(&copies);
        tokio::spawn(memory::look_after(registry.budget().clone(), freed, move || {
            shared.clear();
            all.shrink();
            formats.shrink();
        }));
        let finished = Arc::<Finished>::default();
        let hooks = Hooks::start(settings, hooked::names(&config.name), trusts, registry.budget())?;
        finished.listen(Arc::new(hooked::Told(Arc::clone(&hooks))));
        finished.listen(Arc::new(hooked::Noted));
        let hls = HlsOutput::new(registry.clone(), settings, &finished);
        let forward = ForwardOutput::new(registry, settings)?;
        forward.ask(Arc::new(hooked::Asked(Arc::clone(&hooks))));
        let record = RecordOutput::new(registry.clone(), settings, &finished);
        let edge = match config.role {
            Role::Origin => None,
            Role::Edge => Some(Edge::start(settings, registry, &streams.audiences)?),
        };
        let uploader = match config.role {
            Role::Origin => {
                Some(Uploader::start(settings, registry.budget()).map_err(io::Error::other)?)
            }
            Role::Edge => None,
        };
        if let Some(uploader) = &uploader {
            finished.listen(Arc::clone(uploader) as _);
        }
        // After the uploads: what is listed may be removed unless it is noted that it is to be uploaded.
        finished.listen(Arc::new(record::Lists));
        let children = Children::new(registry, settings);
        let outputs = match &edge {
            Some(_) => Outputs::default(),
            None => Outputs::new(&finished)
                .with(Arc::clone(&hls) as _)
                .with(Arc::clone(&forward) as _)
                .with(Arc::clone(&record) as _)
                .with(Arc::clone(&children) as _),
        };
        let budget = registry.budget();
        let fallback = Fallback::new(settings, budget)?;
        let host = PullHost {
            outputs: outputs.clone(),
            streams: Arc::clone(&streams),
            hooks: Arc::clone(&hooks),
            settings: settings.clone(),
        };
        let pulls = match config.role {
            Role::Edge => None,
            Role::Origin => {
                let (quotas, host) = (&clients.quotas, Arc::new(host));
                Some(Pulls::new(settings, registry, quotas, &fallback, host)?)
            }
        };
        let node = Self {
            settings: settings.clone(),
            phase: watch::Sender::new(Phase::Starting),
            clients,
            streams,
            delivery,
            outputs,
            hls,
            forward,
            record,
            copies,
            uploader,
            edge,
            pulls,
            fallback,
            auth: Arc::new(Auth::new(keys, children.passes())),
            children,
            hooks,
        };
        Ok((Arc::new(node), returned))
    }

    /// All of these that follow the configuration.
    pub fn parts(&self) -> Vec<Arc<dyn Part>> {
        let mut parts: Vec<Arc<dyn Part>> = vec![
            Arc::clone(&self.auth) as _,
            Arc::clone(&self.hooks) as _,
            Arc::clone(&self.clients) as _,
            Arc::clone(&self.streams) as _,
            Arc::clone(&self.delivery) as _,
        ];
        parts.push(Arc::clone(&self.fallback) as _);
        parts.extend(self.pulls.iter().map(|pulls| Arc::clone(pulls) as _));
        parts.extend(self.edge.iter().map(|edge| Arc::clone(edge) as _));
        parts.extend(self.uploader.iter().map(|uploader| Arc::clone(uploader) as _));
        parts.extend(self.outputs.parts());
        parts
    }

    /// The configuration in force now.
    pub fn config(&self) -> Arc<Config> {
        self.settings.now()
    }

    /// What the process is about now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The stream that `url` names, and the settings it falls under.
    ///
    /// # Errors
    /// When it is no name that a stream can have.
    pub fn resolve(&self, url: &StreamUrl) -> Result<(StreamKey, Arc<Vhost>), InvalidKey> {
        let vhost = self.settings.vhost(&url.vhost);
        Ok((StreamKey::new(&vhost.name, &url.app, &url.stream)?, vhost))
    }

    /// The format that ordinary RTMP viewers share.
    pub fn rtmp_format(&self) -> Format {
        Format::Rtmp { chunk_size: self.config().rtmp.chunk_size }
    }

    /// What a client may make us hold while a message of it is on its way.
    pub fn allowance(&self) -> Allowance {
        Allowance::new(self.streams.registry.budget(), &self.config())
    }

    /// How much a viewers' log keeps.
    pub fn play_limits(&self, vhost: &Vhost) -> Limits {
        delivery::limits(&self.config(), vhost)
    }

    /// Figures of all streams, in no order: those that are published or waited for here, and those of which only HLS is
    /// watched. An edge hands that on without having their frames, and an origin has the files of a stream that has
    /// ended for a while; such streams are [`Status::Ended`](weir_hub::Status::Ended) here.
    pub fn stream_stats(&self) -> Vec<StreamStats> {
        let mut all = self.streams.registry.stats();
        let hls = self.clients.quotas.hls_streams();
        if !hls.is_empty() {
            let here: HashSet<_> = all.iter().map(|stream| stream.key.clone()).collect();
            let others = hls.into_iter().filter(|key| !here.contains(key));
            all.extend(others.map(StreamStats::absent));
        }
        all
    }
}
