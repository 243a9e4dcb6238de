//! HLS output: each published stream is cut into segments that are written to `hls.dir`, for our own HTTP port or for
//! nginx.
//!
//! One task per stream follows the hub's log, so that a slow disk never holds a publisher or a viewer up.

mod disk;
mod files;
mod follower;
mod names;
mod sweep;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};
use weir_hub::Registry;
use weir_media::StreamKey;

use self::{disk::Disk, follower::Follower};
use crate::config::Hls;

pub use files::Files;

/// How long the files of an ended stream stay, as SRS's `hls_dispose`: viewers play to the end, and a publisher that
/// returns continues the playlist.
pub const DISPOSE: Duration = Duration::from_secs(120);

/// The segmenters of all streams.
pub struct HlsOutput {
    registry: Registry,
    streams: Mutex<HashMap<StreamKey, watch::Receiver<State>>>,
    /// The folders that the configuration has named.
    disks: Mutex<HashMap<PathBuf, Arc<Disk>>>,
    /// Told whenever another stream is followed.
    more: Notify,
    /// Whether the process is going to stop.
    stopping: watch::Sender<Stopping>,
    /// How many followers there are.
    following: watch::Sender<usize>,
}

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
    pub fn new(registry: Registry) -> Arc<Self> {
        Arc::new(Self {
            registry,
            streams: Mutex::default(),
            disks: Mutex::default(),
            more: Notify::new(),
            stopping: watch::Sender::new(Stopping::No),
            following: watch::Sender::new(0),
        })
    }

    /// Segments `key` from now on, until it has ended for [`DISPOSE`].
    pub fn follow(self: &Arc<Self>, key: &StreamKey, settings: &Hls) {
        if !settings.enabled {
            return;
        }
        let files = self.files(&settings.dir, key);
        let mut streams = self.lock();
        if streams.contains_key(key) {
            return;
        }
        let (state, watched) = watch::channel(State::Starting);
        streams.insert(key.clone(), watched);
        let stopping = self.stopping.subscribe();
        let follower = Follower::new(&self.registry, key, settings, files, state, stopping);
        self.following.send_modify(|followers| *followers += 1);
        tokio::spawn(Arc::clone(self).run(follower, key.clone()));
        drop(streams);
        self.more.notify_waiters();
    }

    async fn run(self: Arc<Self>, mut follower: Follower, key: StreamKey) {
        loop {
            follower.run().await;
            let mut streams = self.lock();
            // A publisher that came in this moment has found the stream followed.
            if !follower.is_live() || *self.stopping.borrow() != Stopping::No {
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
        self.lock().get(key).cloned()
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

    /// Removes what an earlier process left in `dir` and nobody continued, once it is [`DISPOSE`] old.
    pub fn sweep_later(self: &Arc<Self>, settings: &Hls) {
        if settings.enabled {
            tokio::spawn(sweep::later(Arc::clone(self), self.disk(&settings.dir)));
        }
    }

    /// The files of `key` in `dir`.
    pub fn files(&self, dir: &Path, key: &StreamKey) -> Files {
        Files::new(&self.disk(dir), key)
    }

    fn disk(&self, dir: &Path) -> Arc<Disk> {
        let mut disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(disk) = disks.get(dir) {
            return Arc::clone(disk);
        }
        let disk = Arc::new(Disk::new(dir));
        disks.insert(dir.to_owned(), Arc::clone(&disk));
        disk
    }

    /// The playlists of followed streams that are so far down on `disk`. Those with a folder of their own count too.
    fn playlists(&self, disk: &Disk, folders: &[String]) -> HashSet<String> {
        let naming = disk.naming();
        let streams = self.lock();
        let here = streams.keys().filter(|key| naming.folders(key) == folders);
        here.map(|key| naming.playlist(key.stream()) + names::PLAYLIST).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamKey, watch::Receiver<State>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
