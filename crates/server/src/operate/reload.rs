//! Reloading: from a changed file, SIGHUP or a call of the API to what runs.
//!
//! A configuration is put in force as a whole or not at all: one that cannot be read, that contradicts itself, or that
//! changes a key which needs a restart changes nothing. Nobody is disconnected by a reload.

mod watch;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use tokio::{sync, time::timeout};
use tracing::{error, info};
use weir_blocking::Pool;
use weir_clients::{descriptors::Shares, listen::Acceptor, permits::Permits};
use weir_config::{Change, Config, ConfigError, Diff, Sources, file::READ_TIMEOUT};

pub use self::watch::watch;
use super::preflight::{self, Files};
use crate::{
    node::Node,
    tls::{InForce, Tls},
};

/// The doors of the process, for what a reload changes at them.
#[derive(Clone)]
pub struct Acceptors {
    /// Of RTMP.
    pub rtmp: Arc<Acceptor>,
    /// Of viewers over HTTP.
    pub http: Arc<Acceptor>,
    /// Of those who look after the process.
    pub api: Arc<Acceptor>,
    /// The TLS of the latter.
    pub tls: Arc<Tls>,
}

impl Acceptors {
    /// The doors of `node`, open, with this TLS for the API.
    pub fn new(node: &Arc<Node>, tls: Option<InForce>) -> Self {
        let door = |protocol| {
            let door = Acceptor::new(protocol, node.permits.clone());
            let door = door.holding(&node.sockets);
            Arc::new(door.counting(&node.quotas).listing(&node.roster))
        };
        let connections = Shares::of_process().api;
        let api = Arc::new(Acceptor::new("api", Permits::new(connections)).making_room());
        let doors = Self { rtmp: door("rtmp"), http: door("http"), api, tls: Tls::new(tls) };
        doors.reconfigure(&node.config());
        doors
    }

    /// Those of all listeners.
    pub fn all(&self) -> [Arc<Acceptor>; 3] {
        [&self.rtmp, &self.http, &self.api].map(Arc::clone)
    }

    /// From now on they are what `config` says.
    pub fn reconfigure(&self, config: &Config) {
        self.rtmp.expect_proxy_protocol(config.rtmp.proxy_protocol);
        self.http.expect_proxy_protocol(config.http.proxy_protocol);
        self.http.trust(&config.http.trusted_proxies);
    }
}

/// Threads that read the configuration, and what it names. One reload is at work at a time, beside two who look for
/// changes; what is over that waits for a file that hangs.
const THREADS: usize = 4;

/// Where a server's configuration is from, which is where a reload that nobody gives one looks.
#[derive(Clone, Debug)]
pub enum Source {
    /// The file at this path, if there is one, and over it the environment of the process.
    Process(Option<PathBuf>),
    /// The program that has started the server: there is nothing to read anew but what the configuration names.
    Program,
}

impl Source {
    fn read(&self, in_force: &Config) -> Result<(Config, Sources), ConfigError> {
        match self {
            Self::Process(path) => Config::load_from_process(path.as_deref()),
            Self::Program => Ok((in_force.clone(), Sources::of_program())),
        }
    }
}

/// Puts configurations in force.
pub struct Reloader {
    source: Source,
    node: Arc<Node>,
    doors: Acceptors,
    pool: Arc<Pool>,
    /// One reload at a time. Who waits for it holds up nobody.
    turn: sync::Mutex<()>,
    /// What became of the last one.
    last: Mutex<Last>,
}

/// How the reloads so far went.
#[derive(Clone, Debug)]
pub struct Last {
    /// When a configuration was last applied, including the start.
    pub applied_at: SystemTime,
    /// Whether the last attempt succeeded.
    pub is_success: bool,
    /// Attempts that succeeded, and that failed.
    pub counts: [u64; 2],
    /// Why the last attempt failed, for people.
    pub error: Option<String>,
}

/// Why nothing was put in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It changes what a running process cannot change.
    #[error("{}", needs_restart(.0))]
    NeedsRestart(Vec<Change>),
    /// The system refuses something that it needs.
    #[error("error: {0}")]
    System(#[from] std::io::Error),
}

fn needs_restart(changes: &[Change]) -> String {
    let keys: Vec<_> = changes
        .iter()
        .map(|change| format!("{} ({} -> {})", change.path, change.from, change.to))
        .collect();
    format!("nothing was changed, because this needs a restart: {}", keys.join(", "))
}

/// A configuration, and what it needs. What of the latter is not to be had matters only if the rest is acceptable.
struct Read {
    config: Config,
    files: Result<Files, ConfigError>,
}

impl Read {
    fn of((config, sources): (Config, Sources), before: &Config) -> Self {
        let files = preflight::of_reload(&config, before, &sources);
        Self { config, files }
    }
}

impl Reloader {
    /// For a server that has started with what `source` says.
    pub fn new(source: Source, node: &Arc<Node>, doors: Acceptors) -> Arc<Self> {
        let last =
            Last { applied_at: SystemTime::now(), is_success: true, counts: [0, 0], error: None };
        Arc::new(Self {
            source,
            node: Arc::clone(node),
            doors,
            pool: Arc::new(Pool::new("reading the configuration", THREADS)),
            turn: sync::Mutex::default(),
            last: Mutex::new(last),
        })
    }

    /// Reads the configuration anew and puts it in force; returns what is different. `cause` is for the log. What has
    /// begun goes on if nobody waits for it any more.
    ///
    /// # Errors
    /// When nothing was changed, with the reason.
    pub async fn reload(self: &Arc<Self>, cause: &'static str) -> Result<Diff, ReloadError> {
        let source = self.source.clone();
        self.begin(cause, move |in_force| source.read(in_force)).await
    }

    /// Puts `config` in force, as [`reload`](Self::reload) does with what it reads.
    ///
    /// # Errors
    /// When nothing was changed, with the reason.
    pub async fn replace(
        self: &Arc<Self>,
        config: Config,
        cause: &'static str,
    ) -> Result<Diff, ReloadError> {
        let read = move |_: &Config| {
            let sources = Sources::of_program();
            config.check().map_err(|fault| sources.locate(fault))?;
            Ok((config, sources))
        };
        self.begin(cause, read).await
    }

    async fn begin(
        self: &Arc<Self>,
        cause: &'static str,
        read: impl FnOnce(&Config) -> Result<(Config, Sources), ConfigError> + Send + 'static,
    ) -> Result<Diff, ReloadError> {
        let reloader = Arc::clone(self);
        let reload = async move {
            let done = reloader.in_turn(read).await;
            reloader.note(&done);
            say(cause, &done);
            done
        };
        tokio::spawn(reload).await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }

    async fn in_turn(
        self: &Arc<Self>,
        read: impl FnOnce(&Config) -> Result<(Config, Sources), ConfigError> + Send + 'static,
    ) -> Result<Diff, ReloadError> {
        let late = |_| {
            let why = format!("another reload has been running for longer than {READ_TIMEOUT:?}");
            io::Error::new(io::ErrorKind::TimedOut, why)
        };
        let _turn = timeout(READ_TIMEOUT, self.turn.lock()).await.map_err(late)?;
        let before = self.node.config();
        let read = move || Ok::<_, ConfigError>(Read::of(read(&before)?, &before));
        let read = self.pool.run_within(READ_TIMEOUT, read).await??;
        let reloader = Arc::clone(self);
        // What is told to all streams and viewers takes its time where there are many.
        self.pool.run(move || reloader.put_in_force(read)).await?
    }

    fn note(&self, done: &Result<Diff, ReloadError>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match done {
            Ok(_) => {
                last.applied_at = SystemTime::now();
                last.counts[0] += 1;
                last.error = None;
            }
            Err(why) => {
                last.counts[1] += 1;
                last.error = Some(why.to_string());
            }
        }
        last.is_success = done.is_ok();
    }

    fn put_in_force(&self, read: Read) -> Result<Diff, ReloadError> {
        let Read { config, files } = read;
        let diff = weir_config::diff(&self.node.config(), &config);
        let fixed: Vec<_> = diff.needing_restart().cloned().collect();
        if !fixed.is_empty() {
            return Err(ReloadError::NeedsRestart(fixed));
        }
        let Files { keys, tls } = files?;
        self.node.reconfigure(config, keys)?;
        self.doors.reconfigure(&self.node.config());
        self.doors.tls.put(tls);
        Ok(diff)
    }

    /// Threads that read the configuration, and what it names.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// How the reloads so far went.
    pub fn last(&self) -> Last {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Says in the log how a reload went.
fn say(cause: &str, done: &Result<Diff, ReloadError>) {
    match done {
        Ok(diff) => {
            let changes: Vec<_> = diff.changes.iter().map(ToString::to_string).collect();
            info!(
                cause,
                changes = changes.len(),
                what = changes.join(", "),
                "configuration reloaded"
            );
        }
        Err(why) => {
            error!(cause, reason = %why, "configuration not reloaded: the previous one stays in force");
        }
    }
}
