//! The recordings of all streams.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use tokio::sync::watch;
use tracing::{info, warn};
use weir_clients::counts::COUNTS;
use weir_config::{Config, Next, Part, Ready, Record, Role, Settings, Unready};
use weir_hub::{Registry, Start};
use weir_media::{DEFAULT_VHOST, StreamKey};

use super::{
    places::{BadPlace, Place, Places, bad_places},
    recorder::{Doing, Orders, Recorder, RecorderLinks, State},
    recover::recover,
    retention::{Limits, sweep},
};
use crate::{
    finished::Finished,
    hls::{Stopping, is_published},
    output::Output,
};

/// How often folders are looked through for files that a process has left unfinished which was killed meanwhile: the
/// folders of a large archive take a moment.
const LOOK: Duration = Duration::from_secs(600);

/// The recordings of all streams.
pub struct RecordOutput {
    registry: Registry,
    settings: Settings,
    streams: Mutex<HashMap<StreamKey, Running>>,
    places: Arc<Places>,
    finished: Arc<Finished>,
    /// Whether the process is going to stop.
    stopping: watch::Sender<Stopping>,
    /// How many streams have a task.
    recording: watch::Sender<usize>,
}

/// What the task of a stream is told, and says.
struct Running {
    orders: watch::Sender<Orders>,
    doing: watch::Receiver<Doing>,
}

/// A recording, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// `starting`, `recording`, `failing`, `unsupported` or `stopped`.
    pub state: &'static str,
    /// Why it fails, or what the container has no room for.
    pub reason: Option<Arc<str>>,
    /// The name that the present file gets, below the folder.
    pub file: Option<PathBuf>,
    /// Bytes of that file so far.
    pub bytes: u64,
    /// When the recording began.
    pub since: SystemTime,
    /// Groups of pictures that were left out.
    pub dropped_groups: u64,
}

/// Why a stream is not recorded though somebody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRecorded {
    /// There is no folder for it.
    NoFolder,
    /// Nobody publishes it.
    NotPublished,
    /// The process is going to stop.
    Stopping,
}

impl fmt::Display for NotRecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoFolder => "nothing is recorded here: record.dir is empty",
            Self::NotPublished => "nobody publishes the stream",
            Self::Stopping => "the server is shutting down",
        })
    }
}

impl RecordOutput {
    /// Nothing is recorded yet. `finished` is told of the files that are complete.
    pub fn new(registry: Registry, settings: &Settings, finished: &Arc<Finished>) -> Arc<Self> {
        Arc::new(Self {
            registry,
            settings: settings.clone(),
            streams: Mutex::default(),
            places: Arc::default(),
            finished: Arc::clone(finished),
            stopping: watch::Sender::new(Stopping::No),
            recording: watch::Sender::new(0),
        })
    }

    /// Records `key` if a pattern says so, or `asked` does, and it is not recorded already.
    fn begin(self: &Arc<Self>, key: &StreamKey, start: Start, asked: Option<bool>) {
        let mut streams = self.lock();
        // Read under the lock: what is put in force after this finds the stream there.
        let orders = Orders { record: self.settings.now().vhost(key.vhost()).record, asked };
        if streams.contains_key(key) || !orders.want(key) {
            return;
        }
        let (orders, followed) = watch::channel(orders);
        let doing =
            Doing { state: State::Starting, file: None, since: SystemTime::now(), dropped: 0 };
        let (told, doing) = watch::channel(doing);
        let links = RecorderLinks {
            orders: followed,
            doing: told,
            stopping: self.stopping.subscribe(),
            places: Arc::clone(&self.places),
            finished: Arc::clone(&self.finished),
        };
        let recorder = Box::new(Recorder::new(&self.registry, key, start, links));
        streams.insert(key.clone(), Running { orders, doing });
        self.recording.send_modify(|recording| *recording += 1);
        tokio::spawn(Arc::clone(self).record(recorder, key.clone()));
    }

    /// `recorder` is boxed, because a task holds what it is given twice.
    async fn record(self: Arc<Self>, mut recorder: Box<Recorder>, key: StreamKey) {
        loop {
            recorder.run().await;
            let stops = *self.stopping.borrow() != Stopping::No;
            let mut streams = self.lock();
            // Who published in this moment, or put other settings in force, has found a task.
            if !stops && recorder.is_wanted() {
                drop(streams);
                recorder.begin_anew();
                continue;
            }
            if !stops && recorder.is_stopped() {
                drop(streams);
                recorder.until_asked().await;
                continue;
            }
            streams.remove(&key);
            drop(streams);
            return self.recording.send_modify(|recording| *recording -= 1);
        }
    }

    /// Records `key` from its newest group on, whatever the patterns say, until it ends.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn start(self: &Arc<Self>, key: &StreamKey) -> Result<(), NotRecorded> {
        if *self.stopping.borrow() != Stopping::No {
            return Err(NotRecorded::Stopping);
        }
        if !self.settings.now().vhost(key.vhost()).record.is_possible() {
            return Err(NotRecorded::NoFolder);
        }
        if !self.registry.status(key).is_some_and(is_published) {
            return Err(NotRecorded::NotPublished);
        }
        if !self.ask(key, true) {
            self.begin(key, Start::NewestGroup, Some(true));
        }
        Ok(())
    }

    /// Ends the recording of `key`, if there is one, until it is asked for again or the stream has ended.
    pub fn stop(&self, key: &StreamKey) {
        self.ask(key, false);
    }

    /// Whether there is a task that could be told.
    fn ask(&self, key: &StreamKey, wanted: bool) -> bool {
        let streams = self.lock();
        let Some(running) = streams.get(key) else { return false };
        running.orders.send_if_modified(|orders| {
            let is_other = orders.asked != Some(wanted);
            orders.asked = Some(wanted);
            is_other
        });
        true
    }

    /// The recording of `key`, if it has one.
    pub fn recording(&self, key: &StreamKey) -> Option<Recording> {
        let doing = self.lock().get(key)?.doing.borrow().clone();
        Some(doing.into())
    }

    /// How many streams are recorded, by how that goes.
    pub fn states(&self) -> HashMap<&'static str, usize> {
        let mut states: HashMap<_, _> =
            [("recording", 0), ("starting", 0), ("failing", 0), ("unsupported", 0)].into();
        for running in self.lock().values() {
            let (state, _) = label(&running.doing.borrow().state);
            if let Some(count) = states.get_mut(state) {
                *count += 1;
            }
        }
        states
    }

    /// The folders that are in force, and what is the matter with each.
    pub fn health(&self) -> Vec<(PathBuf, Option<Arc<str>>)> {
        let dirs = self.settings.now().record_dirs().into_keys();
        dirs.map(|dir| (dir.clone(), self.places.at(&dir).health.trouble())).collect()
    }

    /// Completes what a process has left unfinished that was killed, and removes what is not to be kept: now, and now
    /// and then. Never ends.
    pub async fn look_after(self: Arc<Self>) {
        let this = Arc::downgrade(&self);
        drop(self);
        loop {
            let Some(output) = this.upgrade() else { return };
            for dir in output.settings.now().record_dirs().into_keys() {
                output.look_through(&output.places.at(&dir), false);
            }
            drop(output);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Completes what is left in the folder, and removes what is not to be kept. With `anew`, something else is in
    /// force than what whoever is at it may have begun with.
    fn look_through(self: &Arc<Self>, place: &Arc<Place>, anew: bool) {
        if !place.looking.begin(anew) {
            return;
        }
        let look = Look {
            place: Arc::clone(place),
            settings: self.settings.clone(),
            finished: Arc::clone(&self.finished),
            process: Arc::downgrade(self),
            is_over: false,
        };
        let place = Arc::clone(place);
        tokio::spawn(async move {
            // It fails when the system gives no thread; it is tried again.
            let _ = place.looks.run(move || look.run()).await;
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamKey, Running>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reconfigure(self: &Arc<Self>, config: &Config, new: &[PathBuf]) {
        for (key, running) in &*self.lock() {
            let record = config.vhost(key.vhost()).record;
            running.orders.send_if_modified(|orders| {
                // What is kept of finished files does not end one.
                let is_other =
                    Record { keep: record.keep.clone(), ..orders.record.clone() } != record;
                orders.record = record;
                is_other
            });
        }
        for stream in self.registry.stats().into_iter().filter(|it| is_published(it.status)) {
            self.begin(&stream.key, Start::NewestGroup, None);
        }
        new.iter().for_each(|dir| self.look_through(&self.places.at(dir), true));
    }
}

/// A look through a folder.
struct Look {
    place: Arc<Place>,
    settings: Settings,
    finished: Arc<Finished>,
    /// Whether anybody wants it.
    process: Weak<RecordOutput>,
    /// Whether somebody else may be at it by now.
    is_over: bool,
}

impl Look {
    /// Looks through the folder, and again as long as that is asked for. It blocks.
    fn run(mut self) {
        while !self.is_over && self.process.strong_count() > 0 {
            let goes_on = || self.process.strong_count() > 0 && self.place.looking.is_current();
            // What is kept comes first: the folders of a large archive take a moment.
            self.retain(&goes_on);
            if recover(&self.place, &self.finished, &goes_on) {
                self.retain(&goes_on);
            }
            self.is_over = self.place.looking.is_over();
        }
    }

    /// Removes recordings that are not to be kept.
    fn retain(&self, goes_on: &dyn Fn() -> bool) {
        let disk = &self.place.disk;
        let keep = self.settings.now().record_keep(disk.dir());
        let limits = Limits {
            age: Some(keep.age).filter(|age| !age.is_zero()),
            size: Some(keep.size).filter(|size| *size > 0),
        };
        let needed = |file: &Path| self.finished.needs(disk.dir(), file);
        let (mut files, mut bytes, mut kept) = (0, 0, 0);
        while limits != Limits::default() && goes_on() {
            match sweep(disk, limits, SystemTime::now(), &needed) {
                Ok(removed) => {
                    (files, bytes) = (files + removed.files, bytes + removed.bytes);
                    kept = removed.needed;
                    if !removed.has_more {
                        break;
                    }
                }
                Err(error) => {
                    warn!(%error, dir = %disk.dir().display(), "cannot see which recordings to remove");
                    break;
                }
            }
        }
        if files > 0 {
            COUNTS.record_files_removed.add(files as u64);
            info!(files, bytes, dir = %disk.dir().display(), "recordings removed (record.keep)");
        }
        if kept > 0 {
            let dir = disk.dir().display();
            warn!(files = kept, %dir, "recordings stay beyond record.keep until they are uploaded");
        }
    }
}

/// Also of one that no thread was found for.
impl Drop for Look {
    fn drop(&mut self) {
        if !self.is_over {
            self.place.looking.give_up();
        }
    }
}

impl Part for RecordOutput {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let bad = bad_places(&next.config, Some(&next.before), true);
        if let Some(BadPlace { fault, .. }) = bad.into_iter().next() {
            return Err(fault.into());
        }
        let config = Arc::clone(&next.config);
        let known = next.before.record_dirs();
        let is_new = |dir: &PathBuf| {
            !known.contains_key(dir) || config.record_keep(dir) != next.before.record_keep(dir)
        };
        let new: Vec<_> = config.record_dirs().into_keys().filter(is_new).collect();
        Ok(Ready::after(move || self.reconfigure(&config, &new)))
    }
}

impl Output for RecordOutput {
    fn follow(self: Arc<Self>, key: &StreamKey) {
        self.begin(key, Start::OldestGroup, None);
    }

    fn leave_open(&self) {
        self.stopping.send_replace(Stopping::WithPublishers);
    }

    fn go_on(&self) {
        self.stopping.send_replace(Stopping::No);
    }

    /// Nothing is left open: the next process begins files of its own.
    fn finish(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.stopping.send_replace(Stopping::Now);
        Box::pin(async {
            // The sender is ours, so that it cannot be gone.
            let _ = self.recording.subscribe().wait_for(|recording| *recording == 0).await;
        })
    }
}

impl From<Doing> for Recording {
    fn from(doing: Doing) -> Self {
        let (state, reason) = label(&doing.state);
        let (file, bytes) = doing.file.unzip();
        Self {
            state,
            reason,
            file,
            bytes: bytes.unwrap_or_default(),
            since: doing.since,
            dropped_groups: doing.dropped,
        }
    }
}

fn label(state: &State) -> (&'static str, Option<Arc<str>>) {
    match state {
        State::Starting => ("starting", None),
        State::Recording => ("recording", None),
        State::Failing(why) => ("failing", Some(Arc::clone(why))),
        State::Unsupported(why) => ("unsupported", Some(Arc::clone(why))),
        State::Stopped => ("stopped", None),
    }
}

/// What `config` has recorded, one sentence for each pattern, for `weir check`.
pub fn plan_of(config: &Config) -> Vec<String> {
    if config.role == Role::Edge {
        return Vec::new();
    }
    let mut names: Vec<&str> = config.vhosts.keys().map(String::as_str).collect();
    if !names.contains(&DEFAULT_VHOST) {
        names.insert(0, DEFAULT_VHOST);
    }
    let mut plan = Vec::new();
    for name in names {
        let record = config.vhost(name).record;
        let vhost = match name {
            DEFAULT_VHOST => String::new(),
            name => format!(" of {name}"),
        };
        if !record.is_possible() {
            if !record.streams.is_empty() {
                plan.push(format!("nothing{vhost} is recorded: record.dir is empty"));
            }
            continue;
        }
        let path = record.dir.join(format!("{}{}", record.path, record.container.extension()));
        for pattern in &record.streams {
            let which = if pattern.is_all() {
                "all streams".to_owned()
            } else {
                format!("streams that match {pattern}")
            };
            plan.push(format!("{which}{vhost} are recorded to {}", path.display()));
        }
        if record.streams.is_empty() {
            let path = path.display();
            plan.push(format!("streams{vhost} that the API is asked for are recorded to {path}"));
        }
    }
    plan
}
