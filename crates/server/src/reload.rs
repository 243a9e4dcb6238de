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

use tracing::{error, info};

pub use self::watch::watch;
use crate::{
    api::Tls,
    config::{self, Change, Config, ConfigError, Diff},
    listen::{Door, Places},
    node::Node,
};

/// The doors of the process, for what a reload changes at them.
#[derive(Clone)]
pub struct Doors {
    /// Of RTMP.
    pub rtmp: Arc<Door>,
    /// Of viewers over HTTP.
    pub http: Arc<Door>,
    /// Of those who look after the process.
    pub api: Arc<Door>,
    /// The TLS of the latter.
    pub tls: Arc<Tls>,
}

/// Connections to the API, on places of their own: whoever looks after a full server must be able to reach it.
const API_CONNECTIONS: usize = 256;

impl Doors {
    /// The doors of `node`, open.
    ///
    /// # Errors
    /// When the files of the API's TLS cannot be read.
    pub fn new(node: &Arc<Node>) -> io::Result<Self> {
        let door = |protocol| {
            let door = Door::new(protocol, node.places.clone());
            Arc::new(door.counting(&node.quotas).listing(&node.roster))
        };
        let api = Arc::new(Door::new("api", Places::new(API_CONNECTIONS)));
        let doors = Self {
            rtmp: door("rtmp"),
            http: door("http"),
            api,
            tls: Tls::start(&node.config().api)?,
        };
        doors.reconfigure(&node.config());
        Ok(doors)
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
    doors: Doors,
    /// One reload at a time: held while files are read, by threads that may wait.
    turn: Mutex<()>,
    /// What became of the last one.
    last: Mutex<Last>,
}

/// How the reloads so far went.
#[derive(Clone, Debug)]
pub struct Last {
    /// When a configuration was put in force last, the start included.
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

impl Reloader {
    /// For a process that has started with what the file at `path`, if there is one, and the environment say.
    pub fn new(path: Option<PathBuf>, node: &Arc<Node>, doors: Doors) -> Arc<Self> {
        let last =
            Last { applied_at: SystemTime::now(), is_success: true, counts: [0, 0], error: None };
        Arc::new(Self {
            path,
            node: Arc::clone(node),
            doors,
            turn: Mutex::default(),
            last: Mutex::new(last),
        })
    }

    /// Reads the configuration anew and puts it in force; returns what is different. `cause` is for the log.
    ///
    /// # Errors
    /// When nothing was changed, with the reason.
    pub fn reload(&self, cause: &str) -> Result<Diff, ReloadError> {
        let done = {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let done = self.try_reload();
            self.note(&done);
            done
        };
        match &done {
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
                error!(cause, reason = %why, "configuration not reloaded: the one before stays in force");
            }
        }
        done
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

    fn try_reload(&self) -> Result<Diff, ReloadError> {
        let config = Config::load_from_process(self.path.as_deref())?;
        let diff = config::diff(&self.node.config(), &config);
        let fixed: Vec<_> = diff.needing_restart().cloned().collect();
        if !fixed.is_empty() {
            return Err(ReloadError::NeedsRestart(fixed));
        }
        let tls = Tls::prepare(&config.api)?;
        self.node.reconfigure(config)?;
        self.doors.reconfigure(&self.node.config());
        self.doors.tls.put(tls);
        Ok(diff)
    }

    /// How the reloads so far went.
    pub fn last(&self) -> Last {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
