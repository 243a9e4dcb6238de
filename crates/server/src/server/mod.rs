//! The server as a value: what is started in which order, and how it ends.

mod ports;

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot, watch},
};
use tracing::warn;
use weir_clients::{descriptors::Shares, listen::ListenError};
use weir_config::{Config, ConfigError, Diff, Given, Part, Settings, Sources};
use weir_delivery::Returned;
use weir_hooks::Trusts;
use weir_outputs::{
    forward,
    hls::{BadFolder, HlsOutput, bad_folders},
    record::{BadPlace, bad_places},
};

pub use self::ports::Addresses;
use self::ports::Ports;
use crate::{
    auth::Keys,
    node::Node,
    operate::{
        acceptors::Acceptors,
        control::{Control, Why},
        handover::{self, HandoverSocket, Inherited},
        preflight,
        reload::{self, ReloadError, Reloader, Source},
        renewed, stop,
    },
    phase::Phase,
    rtmp,
    tls::{Prepared, Tls},
};

/// How long work on files that is under way may take once the server ends.
const LAST_WORK: Duration = Duration::from_secs(1);

/// A server that can be started: any number of them in one process.
///
/// They share what belongs to the process: the log, the allocator, the counters of `/metrics`, and the descriptors, of
/// which each server takes itself for the only one. Everything else belongs to its [`Running`].
#[derive(Debug)]
pub struct Server;

/// How a server is started: with its configuration, and what few programs want beside it.
#[derive(Debug)]
pub struct Start {
    config: Config,
    sources: Sources,
    source: Source,
    replaces: bool,
    shown: Option<&'static str>,
}

impl From<Config> for Start {
    fn from(config: Config) -> Self {
        let (sources, source) = (Sources::of_program(), Source::Program);
        Self { config, sources, source, replaces: false, shown: None }
    }
}

impl Start {
    /// With what is `given` and the environment of the process says. The server follows a file from then on.
    ///
    /// # Errors
    /// When that is no configuration.
    pub fn of_process(given: &Given) -> Result<Self, ConfigError> {
        let (config, sources) = Config::load_from_process(given)?;
        for note in sources.notes() {
            warn!(place = note.place, directive = note.directive, "{}", note.what);
        }
        let source = Source::Process(given.clone());
        Ok(Self { sources, source, ..Self::from(config) })
    }

    /// The same, and from now on relative paths begin in `work_dir`, in the whole process.
    ///
    /// # Errors
    /// When that folder cannot be entered.
    pub fn in_work_dir(self) -> Result<Self, ConfigError> {
        let entered = preflight::enter_work_dir(&self.config);
        entered.map_err(|fault| self.sources.locate(fault)).map(|()| self)
    }

    /// What the server is to do.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The same, but taking the listeners over from the process behind `handover.socket`, if `replaces`.
    #[must_use]
    pub fn replacing(self, replaces: bool) -> Self {
        Self { replaces, ..self }
    }

    /// The same, but the first page of the HTTP ports leads to this stream.
    #[must_use]
    pub fn showing(self, stream: Option<&'static str>) -> Self {
        Self { shown: stream, ..self }
    }
}

/// Why a server does not start. Nothing of it is left then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong, or names what is not to be had.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port cannot be had.
    #[error("error: {0}")]
    Listen(#[from] ListenError),
    /// The process before does not give way.
    #[error("error: {0}")]
    Handover(#[from] handover::Error),
    /// The system refuses something basic.
    #[error("error: {0}")]
    System(#[from] io::Error),
}

/// A server that runs. Dropping it ends all that it started: listeners, connections, tasks and threads.
///
/// It runs on threads of its own, whichever runtime awaits its methods.
pub struct Running {
    node: Arc<Node>,
    control: Arc<Control>,
    addresses: Addresses,
    end: watch::Receiver<bool>,
    threads: Threads,
}

/// The runtime of a server, which ends with this and with everything that was spawned there.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Server {
    /// Starts a server; once this returns, its ports are served.
    ///
    /// # Errors
    /// When the configuration, or what it needs of this machine, does not allow it.
    pub async fn start(start: impl Into<Start>) -> Result<Running, StartError> {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let started = runtime.spawn(start.into().assemble());
        let threads = Threads(Some(runtime));
        let Assembled { node, control, addresses, end } =
            started.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))?;
        Ok(Running { node, control, addresses, end, threads })
    }
}

impl Running {
    /// Where it listens.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Begins to let everybody go, as SIGTERM does: [`ended`](Self::ended) resolves when that is done.
    pub fn drain(&self) {
        self.control.drain(Why::Program);
    }

    /// Puts `config` in force, as a whole or not at all; nobody is disconnected. Returns what is different.
    ///
    /// # Errors
    /// When nothing was changed, with the reason.
    pub async fn reload(&self, config: Config) -> Result<Diff, ReloadError> {
        let reloader = Arc::clone(&self.control.reloader);
        self.run(async move { reloader.replace(config, "the program around it").await }).await
    }

    /// Resolves once nobody is left to be let go, whoever has asked for that, or `drain.timeout` has passed.
    pub async fn ended(&self) {
        // Whoever would say it cannot be gone without having said it, unless it has panicked.
        let _ = self.end.clone().wait_for(|is_over| *is_over).await;
    }

    /// Ends it, and waits a second at most until its threads have: what hangs at a file does not.
    pub async fn stop(mut self) {
        let (done, stopped) = oneshot::channel::<()>();
        let mut threads = Threads(self.threads.0.take());
        let stop = move || {
            if let Some(runtime) = threads.0.take() {
                runtime.shutdown_timeout(LAST_WORK);
            }
            drop(done);
        };
        // Where the system gives no thread, nobody is waited for.
        let _ = thread::Builder::new().name("weir-stop".to_owned()).spawn(stop);
        let _ = stopped.await;
    }

    /// The same as [`drain`](Self::drain), with the reason.
    pub(crate) fn drain_for(&self, why: Why) {
        self.control.drain(why);
    }

    /// Reads the configuration anew, from where it is from, and puts it in force. `cause` is for the log, which also
    /// says how that went. Whatever it waits for, nobody waits for it here.
    pub(crate) fn read_anew(&self, cause: &'static str) {
        let reloader = Arc::clone(&self.control.reloader);
        if let Some(runtime) = &self.threads.0 {
            runtime.spawn(async move { reloader.reload(cause).await });
        }
    }

    /// What it is about, from now on.
    pub(crate) fn phases(&self) -> watch::Receiver<Phase> {
        self.node.phase.subscribe()
    }

    /// Does `work` on the threads of the server.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ReloadError>> + Send + 'static,
    ) -> Result<T, ReloadError> {
        let ended = || Err(io::Error::other("the server has ended").into());
        let Some(runtime) = &self.threads.0 else { return ended() };
        runtime.spawn(work).await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }
}

/// What a start has made.
struct Assembled {
    node: Arc<Node>,
    control: Arc<Control>,
    addresses: Addresses,
    end: watch::Receiver<bool>,
}

impl Start {
    async fn assemble(self) -> Result<Assembled, StartError> {
        let Self { config, sources, source, replaces, shown } = self;
        let located = |fault| sources.locate(fault);
        config.check().map_err(located)?;
        let keys = Keys::read(&config).map_err(located)?;
        let tls = Prepared::read(&config).map_err(located)?;
        let trusts = Trusts::read(&config).map_err(located)?;
        preflight::origin_tls(&config).map_err(located)?;
        preflight::uploads(&config).map_err(located)?;
        forward::check_files(&config).map_err(located)?;
        preflight::pulled(&config).map_err(located)?;
        preflight::socket(&config).map_err(located)?;
        preflight::process_files(&config).map_err(located)?;
        for warning in config.warnings().into_iter().chain(tls.warnings(SystemTime::now())) {
            warn!("{warning}");
        }
        // The ports come first: a process that cannot have them must not touch anything.
        let socket = config.handover.socket.clone();
        let mut inherited = match replaces {
            true => Inherited::from_process_at(socket.as_deref()).await?,
            false => Inherited::default(),
        };
        let ports = Ports::bind(&config, &mut inherited)?;
        let offered = if socket.is_some() { ports.offered()? } else { Vec::new() };
        let trials = ports.trials(&config)?;
        let addresses = ports.addresses()?;
        if let Some(shortage) = Shares::of_process().shortage(config.limits.connections) {
            warn!("{shortage}");
        }
        for BadFolder { fault, is_lasting } in bad_folders(&config, None, true) {
            if is_lasting {
                return Err(located(fault).into());
            }
            warn!("{fault}");
        }
        for BadPlace { fault, is_lasting } in bad_places(&config, None, true) {
            if is_lasting {
                return Err(located(fault).into());
            }
            warn!("{fault}");
        }
        let settings = Settings::new(config);
        let (node, returned) = Node::start(&settings, keys, trusts)?;
        if node.edge.is_none() {
            begin_hls(&node.hls, replaces);
            tokio::spawn(Arc::clone(&node.record).look_after());
        }
        let tls = Tls::new(tls);
        let acceptors = Acceptors::new(&node, &tls);
        let mut parts = node.parts();
        parts.extend([Arc::clone(&acceptors) as Arc<dyn Part>, Arc::clone(&tls) as _]);
        let reloader = Reloader::new(source, sources, &settings, parts);
        let control = Arc::new(Control::new(&node, &reloader));
        let handover = socket.map(|path| HandoverSocket::prepare(path, offered)).transpose()?;
        // Whatever can fail has not failed.
        inherited.begin().await?;
        node.children.open(ports::for_programs(&node, &acceptors.children));
        ports.serve(&control, &acceptors, &tls, shown);
        tokio::spawn(take_back(Arc::clone(&node), returned));
        // The process before goes with this.
        let before = inherited.end(&trials).await?;
        tokio::spawn(reload::watch(Arc::clone(&reloader)));
        tokio::spawn(tls.renew(settings, Arc::clone(reloader.pool())));
        tokio::spawn(renewed::look(Arc::clone(&node), Arc::clone(reloader.pool())));
        if let Some(edge) = &node.edge {
            tokio::spawn(Arc::clone(edge).renew(Arc::clone(reloader.pool())));
        }
        node.phase.send_replace(Phase::Serving);
        node.pulls.iter().for_each(|pulls| pulls.begin());
        node.children.begin();
        let told = Arc::clone(&control);
        let handed_over = handover.map(|it| it.keep(move |what| told.hear(what), acceptors.all()));
        let (over, end) = watch::channel(false);
        let stopping = Arc::clone(&control);
        tokio::spawn(async move {
            stop::until_stopped(&stopping, &acceptors, before).await;
            drop(handed_over);
            over.send_replace(true);
        });
        Ok(Assembled { node, control, addresses, end })
    }
}

fn begin_hls(hls: &Arc<HlsOutput>, replaces: bool) {
    // The process that is replaced goes on with its streams to their end.
    for dir in hls.claim_folders().iter().filter(|_| !replaces) {
        warn!("{}", preflight::shared_folder(dir));
    }
    hls.sweep_later();
    tokio::spawn(Arc::clone(hls).look_after());
}

/// Goes on with RTMP viewers that leave their shard.
async fn take_back(node: Arc<Node>, mut returned: mpsc::Receiver<Returned>) {
    while let Some(returned) = returned.recv().await {
        tokio::spawn(rtmp::resume(Arc::clone(&node), returned));
    }
}
