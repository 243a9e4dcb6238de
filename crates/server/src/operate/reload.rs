//! Reloading: from a changed file, SIGHUP or a call of the API to what runs.
//!
//! A configuration is put in force as a whole or not at all: one that cannot be read, that contradicts itself, or that
//! changes a key which needs a restart changes nothing. Nobody is disconnected by a reload.

mod watch;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use tokio::{sync, time::timeout};
use tracing::{error, info, warn};
use weir_blocking::Pool;
use weir_clients::{
    detail::Detail,
    events::{EVENTS, EventKind},
};
use weir_config::{
    Change, Config, ConfigError, Diff, Given, Part, Settings, Sources, Unready, file::READ_TIMEOUT,
};

pub use self::watch::watch;

/// Threads that read the configuration, and what it names. One reload is at work at a time, beside two who look for
/// changes; what is over that waits for a file that hangs.
const THREADS: usize = 4;

/// Where a server's configuration is from, which is where a reload that nobody gives one looks.
#[derive(Clone, Debug)]
pub enum Source {
    /// What the process was given, and over it its environment.
    Process(Given),
    /// The program that has started the server: there is nothing to read anew but what the configuration names.
    Program,
}

impl Source {
    fn read(&self, in_force: &Config) -> Result<(Config, Sources), ConfigError> {
        match self {
            Self::Process(given) => Config::load_from_process(given),
            Self::Program => Ok((in_force.clone(), Sources::of_program())),
        }
    }
}

/// Puts configurations in force.
pub struct Reloader {
    source: Source,
    settings: Settings,
    /// All that follows the settings.
    parts: Arc<[Arc<dyn Part>]>,
    pool: Arc<Pool>,
    /// One reload at a time. Who waits for it holds up nobody.
    turn: sync::Mutex<()>,
    /// What became of the last one.
    last: Mutex<Last>,
    /// The texts that the configuration in force is from.
    sources: Mutex<Sources>,
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

impl ReloadError {
    fn of(why: Unready, sources: &Sources) -> Self {
        match why {
            Unready::NeedsRestart(changes) => Self::NeedsRestart(changes),
            Unready::Setting(fault) => Self::Config(sources.locate(fault)),
            Unready::System(error) => Self::System(error),
        }
    }
}

fn needs_restart(changes: &[Change]) -> String {
    let keys: Vec<_> = changes
        .iter()
        .map(|change| format!("{} ({} -> {})", change.path, change.from, change.to))
        .collect();
    format!("nothing was changed, because this needs a restart: {}", keys.join(", "))
}

impl Reloader {
    /// For a server that has started with what `source` says: that is in force as `settings`, and `parts` follow it.
    pub fn new(
        source: Source,
        sources: Sources,
        settings: &Settings,
        parts: Vec<Arc<dyn Part>>,
    ) -> Arc<Self> {
        let last =
            Last { applied_at: SystemTime::now(), is_success: true, counts: [0, 0], error: None };
        Arc::new(Self {
            source,
            settings: settings.clone(),
            parts: parts.into(),
            pool: Arc::new(Pool::new("reading the configuration", THREADS)),
            turn: sync::Mutex::default(),
            last: Mutex::new(last),
            sources: Mutex::new(sources),
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
        let (settings, parts) = (self.settings.clone(), Arc::clone(&self.parts));
        let prepare = move || {
            let (config, sources) = read(&settings.now())?;
            for note in sources.notes() {
                warn!(place = note.place, directive = note.directive, "{}", note.what);
            }
            match settings.prepare(config, &parts) {
                Ok(prepared) => Ok((prepared, sources)),
                Err(why) => Err(ReloadError::of(why, &sources)),
            }
        };
        let (prepared, sources) = self.pool.run_within(READ_TIMEOUT, prepare).await??;
        // What is told to all streams and viewers takes its time where there are many.
        let diff = self.pool.run(move || prepared.apply()).await?;
        *self.sources.lock().unwrap_or_else(PoisonError::into_inner) = sources;
        Ok(diff)
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

    /// Threads that read the configuration, and what it names.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Reads in the texts that the configuration in force is from. Nothing that waits.
    pub fn with_sources<T>(&self, read: impl FnOnce(&Sources) -> T) -> T {
        read(&self.sources.lock().unwrap_or_else(PoisonError::into_inner))
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
            let (code, what) = match &*changes {
                [] => ("reloaded_same", "no changes".to_owned()),
                some => ("reloaded", some.join(", ")),
            };
            let detail = Detail::new(code, [cause, &what], &format!("{cause}: {what}"));
            EVENTS.note(EventKind::Reloaded, None, None, detail);
        }
        Err(why) => {
            error!(cause, reason = %why, "configuration not reloaded: the previous one stays in force");
            let why = why.to_string();
            let detail = Detail::new("reload_fault", [cause, &why], &format!("{cause}: {why}"));
            EVENTS.note(EventKind::ReloadFailed, None, None, detail);
        }
    }
}
