//! Reloading: from a changed file, SIGHUP or a call of the API to what runs.
//!
//! A configuration is put in force as a whole or not at all: one that cannot be read, that contradicts itself, or that
//! changes a key which needs a restart changes nothing. Nobody is disconnected by a reload.

mod watch;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use tokio::{sync, time::timeout};
use tracing::{error, info};
use weir_clients::{descriptors::Shares, listen::Acceptor, permits::Permits};
use weir_config::{Change, Config, ConfigError, Diff};

pub use self::watch::watch;
use super::preflight::{self, Files};
use crate::{
    blocking::{CONFIGURATION, READ_TIMEOUT},
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

/// Puts configurations in force.
pub struct Reloader {
    path: Option<PathBuf>,
    node: Arc<Node>,
    doors: Acceptors,
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
    fn now(path: Option<&Path>, before: &Config) -> Result<Self, ConfigError> {
        let (config, sources) = Config::load_from_process(path)?;
        let files = preflight::of_reload(&config, before, &sources);
        Ok(Self { config, files })
    }
}

impl Reloader {
    /// For a process that has started with what the file at `path`, if there is one, and the environment say.
    pub fn new(path: Option<PathBuf>, node: &Arc<Node>, doors: Acceptors) -> Arc<Self> {
        let last =
            Last { applied_at: SystemTime::now(), is_success: true, counts: [0, 0], error: None };
        Arc::new(Self {
            path,
            node: Arc::clone(node),
            doors,
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
        let reloader = Arc::clone(self);
        let reload = async move {
            let done = reloader.in_turn().await;
            reloader.note(&done);
            say(cause, &done);
            done
        };
        tokio::spawn(reload).await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }

    async fn in_turn(self: &Arc<Self>) -> Result<Diff, ReloadError> {
        let late = |_| {
            let why = format!("another reload has been running for longer than {READ_TIMEOUT:?}");
            io::Error::new(io::ErrorKind::TimedOut, why)
        };
        let _turn = timeout(READ_TIMEOUT, self.turn.lock()).await.map_err(late)?;
        let (path, before) = (self.path.clone(), self.node.config());
        let read = move || Read::now(path.as_deref(), &before);
        let read = CONFIGURATION.run_within(READ_TIMEOUT, read);
        let read = read.await??;
        let reloader = Arc::clone(self);
        // What is told to all streams and viewers takes its time where there are many.
        CONFIGURATION.run(move || reloader.put_in_force(read)).await?
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
