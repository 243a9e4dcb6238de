//! All uploads of a server.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};
use tracing::{info, warn};
use weir_blocking::Pool;
use weir_clients::counts::COUNTS;
use weir_config::{Config, Fault, Next as NextConfig, Part, Ready, Settings, Unready};
use weir_media::Budget;
use weir_outputs::{FileKind, FinishedFile, OnFinished};

use crate::{
    jobs::{self, File, Job},
    queue::{Item, Listed, Next, Queue, Went},
    target::Target,
    work::Work,
};

/// Threads for reading files and writing notes.
const THREADS: usize = 8;

/// How often notes are looked for that nobody here knows: of a process that this one has replaced, of another one that
/// writes to the same folder, and those for which there was no place.
const LOOK: Duration = Duration::from_secs(60);

/// How often a failure is said again.
const SAID_AGAIN: Duration = Duration::from_secs(600);

/// All uploads of a server.
pub struct Uploader {
    settings: Settings,
    target: ArcSwapOption<Target>,
    queue: Mutex<Queue>,
    /// Told whenever there may be something to do.
    changed: Notify,
    /// Told when other folders, or another storage, are in force.
    reloaded: Notify,
    pool: Arc<Pool>,
    budget: Budget,
    said: Mutex<Option<Instant>>,
}

/// How it goes, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Files that wait, or are being uploaded.
    pub pending: usize,
    /// How long the one of them has waited that has waited longest.
    pub oldest: Duration,
    /// Recordings and playlists that have failed for reasons of their own, and are tried again.
    pub refused: usize,
    /// Whether the storage has failed since the last success.
    pub is_failing: bool,
}

impl Uploader {
    /// Uploads what `settings` say, and what an earlier process has not. Runs on the runtime that this is called on.
    ///
    /// # Errors
    /// When something that they name is not to be had.
    pub fn start(settings: &Settings, budget: &Budget) -> Result<Arc<Self>, Fault> {
        let target = Target::read(&settings.now().upload)?;
        let uploader = Arc::new(Self {
            settings: settings.clone(),
            target: ArcSwapOption::new(target),
            queue: Mutex::default(),
            changed: Notify::new(),
            reloaded: Notify::new(),
            pool: Arc::new(Pool::new("uploading files", THREADS)),
            budget: budget.clone(),
            said: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&uploader).run());
        tokio::spawn(Arc::clone(&uploader).take_in_notes());
        Ok(uploader)
    }

    /// Reads what `config` names, and connects to nobody.
    ///
    /// # Errors
    /// When a file is not to be had, or there are no keys.
    pub fn check(config: &Config) -> Result<(), Fault> {
        Target::read(&config.upload).map(drop)
    }

    /// Has the recording `file` below `dir` uploaded by the process that finds its note: for a file that was finished
    /// while no uploads were configured.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn note(dir: &Path, file: &str) -> io::Result<()> {
        Job { dir: dir.to_owned(), file: File::Recording(file.to_owned()) }.note()
    }

    /// How it goes.
    pub fn stats(&self) -> Stats {
        let queue = self.lock();
        // A clock that was set back makes nothing older.
        let oldest = queue.oldest().and_then(|since| since.elapsed().ok()).unwrap_or_default();
        Stats {
            pending: queue.pending(),
            oldest,
            refused: queue.refused(),
            is_failing: queue.is_failing(),
        }
    }

    /// Where files go, as far as it is no secret; none if nothing is uploaded.
    pub fn target(&self) -> Option<String> {
        self.target.load().as_ref().map(|target| target.server.to_string())
    }

    /// Takes in another file of `upload.ca`. It blocks.
    pub fn look(&self) {
        if let Some(target) = &*self.target.load() {
            target.server.look(target.settings.ca.as_deref());
        }
    }

    /// What there is to upload, for people.
    pub fn list(&self) -> Listed {
        self.lock().list(Instant::now())
    }

    async fn run(self: Arc<Self>) {
        loop {
            let next = match self.target.load_full() {
                Some(target) => {
                    (self.lock().next(Instant::now(), target.settings.at_once), Some(target))
                }
                None => (Next::Nothing, None),
            };
            match next {
                (Next::Do(item, segments), Some(target)) => {
                    tokio::spawn(Arc::clone(&self).upload(target, item, segments));
                }
                (Next::At(at), _) => drop(timeout_at(at, self.changed.notified()).await),
                _ => self.changed.notified().await,
            }
        }
    }

    async fn upload(self: Arc<Self>, target: Arc<Target>, item: Item, segments: Vec<Job>) {
        let of = Arc::clone(&self);
        let work = Work {
            target: Arc::clone(&target),
            pool: Arc::clone(&self.pool),
            budget: self.budget.clone(),
            done: Box::new(move |job| of.lock().forget(job)),
        };
        let (went, why) = work.run(&item, segments).await;
        let turn = self.lock().ended(item.clone(), went, why.clone(), Instant::now());
        self.changed.notify_one();
        if turn.of_item {
            let (Item::Recording(dir, file) | Item::Playlist(dir, file)) = &item;
            let error = why.as_deref().unwrap_or_default();
            warn!(
                error,
                dir = %dir.display(),
                file,
                "a file cannot be uploaded, others go on: trying again, at least every 15 minutes"
            );
        }
        match why.filter(|_| went == Went::FailedThere) {
            Some(why) if self.is_to_be_said(turn.of_storage) => {
                warn!(
                    error = why,
                    "uploads to {} fail: trying again until they do not", target.server
                );
            }
            None if turn.of_storage => info!("uploads to {} go on", target.server),
            _ => {}
        }
    }

    fn is_to_be_said(&self, is_new: bool) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_due = is_new || said.is_none_or(|at| now - at >= SAID_AGAIN);
        if is_due {
            *said = Some(now);
        }
        is_due
    }

    /// Takes in what is noted.
    async fn take_in_notes(self: Arc<Self>) {
        loop {
            if self.target.load().is_some() {
                for dir in dirs(&self.settings.now()) {
                    self.take_in(dir).await;
                }
            }
            let _ = timeout(LOOK, self.reloaded.notified()).await;
        }
    }

    async fn take_in(&self, dir: PathBuf) {
        // Those that are known are among them.
        let most = crate::queue::FILES_MAX;
        if self.lock().room() == 0 {
            return;
        }
        let from = dir.clone();
        match self.pool.run(move || jobs::noted(&from, most)).await.flatten() {
            Ok((jobs, has_more)) => {
                let now = Instant::now();
                let mut queue = self.lock();
                queue.has_left_out = has_more;
                jobs.into_iter().for_each(|(job, since)| queue.add(job, since, now));
                drop(queue);
                self.changed.notify_one();
            }
            Err(error) => {
                warn!(%error, dir = %dir.display(), "cannot read what is to be uploaded from a folder");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folders that there may be notes in.
fn dirs(config: &Config) -> Vec<PathBuf> {
    let (hls, recordings) = (config.hls_dirs(), config.record_dirs());
    hls.into_keys().chain(recordings.into_keys()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Writes a note, on the thread that has written the file: only what is on the disk too is not forgotten.
impl OnFinished for Uploader {
    fn finished(&self, file: &FinishedFile) {
        let Some(target) = self.target.load_full() else { return };
        let is_wanted = match file.kind {
            FileKind::Recording => target.settings.recordings,
            FileKind::Segment { .. } => target.settings.hls,
        };
        if !is_wanted {
            return;
        }
        let Some(job) = Job::of(file) else {
            COUNTS.upload_failures.increase();
            return warn!(file = %file.file.display(), "cannot be uploaded: its path is not text");
        };
        let mut jobs = vec![job];
        if let File::Segment { playlist, .. } = &jobs[0].file {
            let file = File::Playlist(playlist.clone());
            jobs.push(Job { dir: jobs[0].dir.clone(), file });
        }
        let (since, now) = (SystemTime::now(), Instant::now());
        for job in jobs {
            if let Err(error) = job.note() {
                // It is uploaded nevertheless, unless this process ends before.
                warn!(%error, dir = %job.dir.display(), "cannot note what is to be uploaded");
            }
            self.lock().add(job, since, now);
        }
        self.changed.notify_one();
    }

    fn needs(&self, dir: &Path, file: &Path) -> bool {
        // While nothing is uploaded, nothing is kept for it either.
        let (true, Some(file)) = (self.target.load().is_some(), file.to_str()) else {
            return false;
        };
        let job = Job { dir: dir.to_owned(), file: File::Recording(file.to_owned()) };
        self.lock().has(&job) || job.is_noted()
    }
}

impl Part for Uploader {
    fn prepare(self: Arc<Self>, next: &NextConfig) -> Result<Ready, Unready> {
        let target = Target::read(&next.config.upload)?;
        Ok(Ready::after(move || {
            self.target.store(target);
            self.lock().begin_anew(Instant::now());
            self.changed.notify_one();
            self.reloaded.notify_one();
        }))
    }
}
