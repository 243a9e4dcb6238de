//! HLS output: each published stream is cut into segments that are written to `hls.dir`, for our own HTTP port or for
//! nginx.
//!
//! One task per stream follows the hub's log, so that a slow disk never holds a publisher or a viewer up.

mod disk;
mod files;
mod follower;
mod health;
mod names;
mod sweep;

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};
use weir_blocking::try_within;
use weir_config::{Config, Hls, Settings};
use weir_hub::{Registry, Status};
use weir_media::StreamKey;

use self::{disk::Disk, follower::Follower};

pub use files::Files;

/// How long the files of an ended stream stay, as SRS's `hls_dispose`: viewers play to the end, and a publisher that
/// returns continues the playlist.
pub const DISPOSE: Duration = Duration::from_secs(120);

/// How long a folder may take to be looked at where a start, or a reload, waits for that. One that takes longer is said
/// to hang, and keeps nobody from RTMP.
const START_MAX: Duration = Duration::from_secs(2);

/// The segmenters of all streams.
pub struct HlsOutput {
    registry: Registry,
    settings: Settings,
    streams: Mutex<HashMap<StreamKey, Followed>>,
    disks: Arc<Disks>,
    /// Told whenever another stream is followed.
    more: Notify,
    /// Whether the process is going to stop.
    stopping: watch::Sender<Stopping>,
    /// How many followers there are.
    following: watch::Sender<usize>,
}

/// A stream that is segmented, as others see it.
struct Followed {
    state: watch::Receiver<State>,
    /// Where its files are: the folder that is written to, then those that still have some of its segments.
    places: watch::Receiver<Vec<Files>>,
    /// What is in force for it.
    settings: watch::Sender<Hls>,
}

/// The folders that the configuration has named.
#[derive(Debug, Default)]
struct Disks(Mutex<HashMap<PathBuf, Arc<Disk>>>);

/// Whether the process is going to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stopping {
    No,
    /// Each stream is written as long as it has its publisher.
    WithPublishers,
    /// All that there is is written now.
    Now,
}

/// What there is of a stream's HLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No segment is complete yet.
    Starting,
    /// There is a playlist.
    Playable,
    /// Segments cannot be written, and whatever the playlist lists has been played by now; the sentence says why.
    Failing(String),
    /// There is one, without a track that MPEG-TS cannot carry; the sentence says which.
    Partly(String),
    /// Nothing that MPEG-TS can carry; the sentence says why.
    Unsupported(String),
}

impl State {
    /// Whether there is a playlist.
    pub const fn is_playable(&self) -> bool {
        matches!(self, Self::Playable | Self::Partly(_))
    }
}

impl HlsOutput {
    /// Nothing is followed yet.
    pub fn new(registry: Registry, settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            registry,
            settings: settings.clone(),
            streams: Mutex::default(),
            disks: Arc::default(),
            more: Notify::new(),
            stopping: watch::Sender::new(Stopping::No),
            following: watch::Sender::new(0),
        })
    }

    /// Segments `key` from now on, if that is in force for it, until it has ended for [`DISPOSE`].
    pub fn follow(self: &Arc<Self>, key: &StreamKey) {
        let mut streams = self.lock();
        // Read under the lock: what is put in force after this finds the stream followed.
        let settings = self.settings.now().vhost(key.vhost()).hls;
        if !settings.enabled || streams.contains_key(key) {
            return;
        }
        let files = self.files(&settings.dir, key);
        let (state, watched) = watch::channel(State::Starting);
        let (placed, places) = watch::channel(vec![files]);
        let (told, settings) = watch::channel(settings);
        streams.insert(key.clone(), Followed { state: watched, places, settings: told });
        let follower = Follower::new(
            &self.registry,
            key,
            &self.disks,
            follower::FollowerLinks {
                state,
                places: placed,
                settings,
                stopping: self.stopping.subscribe(),
            },
        );
        self.following.send_modify(|followers| *followers += 1);
        tokio::spawn(Arc::clone(self).run(follower, key.clone()));
        drop(streams);
        self.more.notify_waiters();
    }

    /// Another configuration is in force: streams that are followed go by it, and those that are published and were
    /// not to be segmented may be now.
    pub fn reconfigure(self: &Arc<Self>) {
        let config = self.settings.now();
        for (key, followed) in &*self.lock() {
            let new = config.vhost(key.vhost()).hls;
            followed.settings.send_if_modified(|known| {
                let is_other = *known != new;
                *known = new;
                is_other
            });
        }
        let streams = self.registry.stats().into_iter();
        streams.filter(|stream| is_published(stream.status)).for_each(|it| self.follow(&it.key));
        self.name_disks(&config);
    }

    async fn run(self: Arc<Self>, mut follower: Follower, key: StreamKey) {
        loop {
            follower.run().await;
            let mut streams = self.lock();
            // A publisher that came in this moment has found the stream followed.
            if !follower.is_wanted() || *self.stopping.borrow() != Stopping::No {
                streams.remove(&key);
                drop(streams);
                self.following.send_modify(|followers| *followers -= 1);
                return;
            }
        }
    }

    /// The process is going to stop: from now on a stream that its publisher leaves is the next process's, with its
    /// playlist, which is not ended.
    pub fn leave_open(&self) {
        self.stopping.send_replace(Stopping::WithPublishers);
    }

    /// The process goes on after [`leave_open`](Self::leave_open): every stream is its own again.
    pub fn go_on(&self) {
        self.stopping.send_replace(Stopping::No);
    }

    /// The process is going to stop: what is segmented so far is written, and the playlists stay open, because the next
    /// process continues them. Ends when that is done.
    pub async fn finish(&self) {
        self.stopping.send_replace(Stopping::Now);
        // The sender is ours, so that it cannot be gone.
        let _ = self.following.subscribe().wait_for(|followers| *followers == 0).await;
    }

    /// How many streams are followed.
    pub fn followers(&self) -> usize {
        *self.following.borrow()
    }

    /// What there is of `key`, now and from now on; none if it is not followed.
    pub fn state(&self, key: &StreamKey) -> Option<watch::Receiver<State>> {
        self.lock().get(key).map(|followed| followed.state.clone())
    }

    /// The same, once `key` is followed.
    pub async fn state_soon(&self, key: &StreamKey) -> watch::Receiver<State> {
        loop {
            let mut more = pin!(self.more.notified());
            more.as_mut().enable();
            if let Some(state) = self.state(key) {
                return state;
            }
            more.await;
        }
    }

    /// Removes what an earlier process left and nobody continued, once it is [`DISPOSE`] old, from every folder that
    /// the configuration names, or named since the start.
    pub fn sweep_later(self: &Arc<Self>) {
        self.name_disks(&self.settings.now());
        tokio::spawn(sweep::later(Arc::clone(self)));
    }

    fn name_disks(&self, config: &Config) {
        config.hls_dirs().keys().for_each(|dir| drop(self.disks.at(dir)));
    }

    /// Looks after the folders that are in force: whether they can be written to is known also while nobody publishes.
    /// Never ends.
    pub async fn look_after(self: Arc<Self>) {
        loop {
            for dir in self.settings.now().hls_dirs().keys() {
                tokio::spawn(health::look(self.disks.at(dir)));
            }
            tokio::time::sleep(health::LOOK).await;
        }
    }

    /// The folders that are in force, and what is the matter with each.
    pub fn health(&self) -> Vec<(PathBuf, Option<Arc<str>>)> {
        let dirs = self.settings.now().hls_dirs();
        dirs.into_keys().map(|dir| (dir.clone(), self.disks.at(&dir).health().trouble())).collect()
    }

    /// Says to other processes that this one writes to the folders that are in force; those that another one has.
    pub fn claim_folders(&self) -> Vec<PathBuf> {
        let dirs = self.settings.now().hls_dirs();
        dirs.into_keys().filter(|dir| !claim(self.disks.at(dir))).collect()
    }

    /// Where the files of `key` are, the playlist's place first: `dir`, unless the stream is followed and has not moved
    /// there yet, or not with all of its segments.
    pub fn places(&self, dir: &Path, key: &StreamKey) -> Vec<Files> {
        let followed = self.lock().get(key).map(|followed| followed.places.clone());
        followed.map_or_else(|| vec![self.files(dir, key)], |places| places.borrow().clone())
    }

    fn files(&self, dir: &Path, key: &StreamKey) -> Files {
        Files::new(&self.disks.at(dir), key)
    }

    /// The playlists of followed streams that are so far down on `disk`. Those with a folder of their own count too.
    fn playlists(&self, disk: &Disk, folders: &[String]) -> HashSet<String> {
        let naming = disk.naming();
        let streams = self.lock();
        let here = streams.keys().filter(|key| naming.folders(key) == folders);
        here.map(|key| naming.playlist(key.stream()) + names::PLAYLIST).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamKey, Followed>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether files can be written to `dir`, which is made if `makes`; else nothing is left there.
///
/// # Errors
/// As the file system has it.
pub fn try_folder(dir: &Path, makes: bool) -> io::Result<()> {
    let disk = Disk::new(dir);
    try_within(START_MAX, move || {
        disk.could_be_written()?;
        if makes { disk.prepare() } else { Ok(()) }
    })
}

/// Says that this process writes to `disk`. False if another one has said so; one that hangs is nobody's.
fn claim(disk: Arc<Disk>) -> bool {
    try_within(START_MAX, move || Ok(disk.claim())).unwrap_or(true)
}

/// Whether another process has said that it writes to `dir`.
pub fn is_claimed(dir: &Path) -> bool {
    !claim(Arc::new(Disk::new(dir)))
}

impl Disks {
    /// The folder `dir`.
    fn at(&self, dir: &Path) -> Arc<Disk> {
        let mut disks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(disk) = disks.get(dir) {
            return Arc::clone(disk);
        }
        let disk = Arc::new(Disk::new(dir));
        disks.insert(dir.to_owned(), Arc::clone(&disk));
        disk
    }

    fn all(&self) -> Vec<Arc<Disk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Whether the stream has a publisher, or had one a moment ago.
fn is_published(status: Status) -> bool {
    matches!(status, Status::Live | Status::Lingering)
}
