//! What is shown while a publisher is away.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};
use weir_clients::counts::COUNTS;
use weir_config::{Config, Fault, Next, Part, Ready, Settings, Unready};
use weir_hub::{Conflict, PublishSettings, Publisher};
use weir_intake::{Allowance, Intake, WakeSignal, announce, flush, log_limits};
use weir_media::{Budget, DEFAULT_VHOST, StreamKey};

use crate::{looped::Looped, slate::Kinds};

/// The files that stand in for publishers that are away.
pub struct Fallback {
    settings: Settings,
    budget: Budget,
    is_over: AtomicBool,
    /// What is in the files.
    files: Mutex<HashMap<PathBuf, Kinds>>,
    /// Which file each stream shows.
    shown: Mutex<HashMap<StreamKey, PathBuf>>,
}

impl Fallback {
    /// With the files that `settings` name, which are looked at here.
    ///
    /// # Errors
    /// When one of them cannot be shown.
    pub fn new(settings: &Settings, budget: &Budget) -> io::Result<Arc<Self>> {
        let files = read(&settings.now()).map_err(io::Error::other)?;
        Ok(Arc::new(Self {
            settings: settings.clone(),
            budget: budget.clone(),
            is_over: AtomicBool::new(false),
            files: Mutex::new(files),
            shown: Mutex::default(),
        }))
    }

    /// From now on streams are left to the next process, or not any more.
    pub fn set_over(&self, is_over: bool) {
        self.is_over.store(is_over, Ordering::Relaxed);
    }

    /// The publisher leaves its stream: the file of its vhost, if there is one, is shown from now on, until the next
    /// publisher comes, for `linger` at most. False if it is not; then the stream lingers.
    pub fn show(self: &Arc<Self>, publisher: Publisher, linger: Duration) -> bool {
        let config = self.settings.now();
        let key = publisher.key().clone();
        let vhost = config.vhost(key.vhost());
        let Some(path) = vhost.publish.fallback else { return false };
        if linger.is_zero() || self.is_over.load(Ordering::Relaxed) {
            return false;
        }
        // It is there since the configuration that names it.
        let Some(kinds) = lock(&self.files).get(&path).copied() else { return false };
        let (video, audio) = publisher.codecs();
        if let Err(reason) = kinds.stands_in_for(Kinds { video, audio }, &publisher.init()) {
            warn!(stream = %key, file = %path.display(), reason, "fallback not shown");
            return false;
        }
        let replaced = Arc::new(WakeSignal::default());
        let settings = PublishSettings {
            // When its time is over, the stream is.
            linger: Duration::ZERO,
            conflict: Conflict::Reject,
            flush: announce(flush(&vhost.play)),
            limits: log_limits(&config),
            replaced: Arc::clone(&replaced) as _,
        };
        let now = Instant::now();
        let Some(publisher) = publisher.stand_in(settings, now.into_std()) else {
            // Somebody publishes it already.
            return true;
        };
        lock(&self.shown).insert(key.clone(), path.clone());
        let stand_in = StandIn {
            memory: Allowance::new(&self.budget, &config),
            fallback: Arc::clone(self),
            until: now + linger,
            key,
            path,
        };
        tokio::spawn(Box::pin(stand_in.run(publisher, replaced)));
        true
    }

    /// The file that is shown as `key` now.
    pub fn shown(&self, key: &StreamKey) -> Option<PathBuf> {
        lock(&self.shown).get(key).cloned()
    }

    /// How many streams show theirs.
    pub fn count(&self) -> usize {
        lock(&self.shown).len()
    }
}

impl Part for Fallback {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let files = read(&next.config)?;
        Ok(Ready::default().and_before(move || *lock(&self.files) = files))
    }
}

/// A file while it is shown.
struct StandIn {
    fallback: Arc<Fallback>,
    memory: Allowance,
    until: Instant,
    key: StreamKey,
    path: PathBuf,
}

impl StandIn {
    async fn run(self, publisher: Publisher, replaced: Arc<WakeSignal>) {
        let (key, file) = (&self.key, self.path.display());
        info!(stream = %key, %file, "fallback began");
        let mut intake = Intake::new(publisher, &format_args!("fallback {file}"));
        let reason = {
            let shown = self.feed(&mut intake);
            tokio::select! {
                // Whoever has come may have waited for this very moment.
                biased;
                () = replaced.rang() => "the publisher is back".to_owned(),
                why = shown => why,
                () = sleep_until(self.until) => "the publisher has not come back (publish.linger)".to_owned(),
            }
        };
        lock(&self.fallback.shown).remove(key);
        if Instant::now() >= self.until && intake.publisher.demand() > 0 {
            COUNTS.streams_lost.increase();
        }
        intake.publisher.set_linger(self.until.saturating_duration_since(Instant::now()));
        info!(stream = %key, %file, reason, "fallback ended");
    }

    /// Plays it for as long as it can be played; then why it cannot.
    async fn feed(&self, intake: &mut Intake) -> String {
        let opened = Looped::open(self.path.clone(), self.memory.clone()).await;
        let mut looped = match opened {
            Ok(looped) => looped,
            Err(why) => return why,
        };
        loop {
            let tag = match looped.next().await {
                Ok(tag) => tag,
                Err(why) => return why,
            };
            if intake.take(&tag, Instant::now().into_std()).is_err() {
                // Whoever has taken the stream rings in a moment.
                return pin!(std::future::pending()).await;
            }
        }
    }
}

/// The files that vhosts name, each with the setting that names it first.
fn files(config: &Config) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for name in [DEFAULT_VHOST].into_iter().chain(config.vhosts.keys().map(String::as_str)) {
        let own = config.vhosts.get(name).is_some_and(|own| own.publish.fallback.is_some());
        let key = "publish.fallback";
        let path = if own { format!("vhosts.{name}.{key}") } else { key.to_owned() };
        if let Some(file) = config.vhost(name).publish.fallback {
            files.entry(file).or_insert(path);
        }
    }
    files
}

fn read(config: &Config) -> Result<HashMap<PathBuf, Kinds>, Fault> {
    files(config).into_iter().map(|(file, path)| Ok((file.clone(), kinds(&file, path)?))).collect()
}

fn kinds(file: &Path, path: String) -> Result<Kinds, Fault> {
    Kinds::of_file(file).map_err(|why| {
        let fix = "use an FLV file with the codecs of the streams: `ffmpeg -i INPUT -c copy -f flv OUTPUT.flv`";
        Fault::new(path, format!("{}: {why}", file.display()), fix)
    })
}

/// The files that stand in for publishers, by the settings that name them, and what is in them; or what is wrong with
/// one. For `weir check`.
pub fn check_files(config: &Config) -> Vec<(String, PathBuf, Result<Kinds, Fault>)> {
    let files = files(config).into_iter();
    files.map(|(file, path)| (path.clone(), file.clone(), kinds(&file, path))).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
