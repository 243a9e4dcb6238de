//! The segmenters of all streams.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};
use weir_config::{Config, Hls, Next, Part, Ready, Settings, Unready};
use weir_hub::Registry;
use weir_media::StreamKey;

use super::{
    disk::Disk,
    disks::{Disks, claim},
    files::Files,
    folders::{BadFolder, bad_folders},
    follower::{Follower, FollowerLinks},
    look, names,
    state::{State, Stopping, is_published},
    sweep,
};
use crate::output::Output;

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

    fn begin(self: &Arc<Self>, key: &StreamKey) {
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
            FollowerLinks { state, places: placed, settings, stopping: self.stopping.subscribe() },
        );
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
            if !follower.is_wanted() || *self.stopping.borrow() != Stopping::No {
                streams.remove(&key);
                drop(streams);
                self.following.send_modify(|followers| *followers -= 1);
                return;
            }
        }
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
        let output = Arc::clone(self);
        let followed = move |disk: &Disk, folders: &[String]| output.playlists(disk, folders);
        tokio::spawn(sweep::later(Arc::clone(&self.disks), followed));
    }

    fn name_disks(&self, config: &Config) {
        config.hls_dirs().keys().for_each(|dir| drop(self.disks.at(dir)));
    }

    /// Looks after the folders that are in force: whether they can be written to is known also while nobody publishes.
    /// Never ends.
    pub async fn look_after(self: Arc<Self>) {
        loop {
            for dir in self.settings.now().hls_dirs().keys() {
                tokio::spawn(look::look(self.disks.at(dir)));
            }
            tokio::time::sleep(look::LOOK).await;
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

impl HlsOutput {
    /// Streams that are followed go by `config`, and those that are published and were not to be segmented may be now.
    fn reconfigure(self: &Arc<Self>, config: &Config) {
        for (key, followed) in &*self.lock() {
            let new = config.vhost(key.vhost()).hls;
            followed.settings.send_if_modified(|known| {
                let is_other = *known != new;
                *known = new;
                is_other
            });
        }
        let streams = self.registry.stats().into_iter();
        streams.filter(|stream| is_published(stream.status)).for_each(|it| self.begin(&it.key));
        self.name_disks(config);
    }
}

impl Part for HlsOutput {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let new = bad_folders(&next.config, Some(&next.before), true);
        if let Some(BadFolder { fault, .. }) = new.into_iter().next() {
            return Err(fault.into());
        }
        let config = Arc::clone(&next.config);
        Ok(Ready::after(move || self.reconfigure(&config)))
    }
}

impl Output for HlsOutput {
    /// Segments `key` from now on, if that is in force for it, until it has ended for
    /// [`DISPOSE`](super::state::DISPOSE).
    fn follow(self: Arc<Self>, key: &StreamKey) {
        self.begin(key);
    }

    fn leave_open(&self) {
        self.stopping.send_replace(Stopping::WithPublishers);
    }

    fn go_on(&self) {
        self.stopping.send_replace(Stopping::No);
    }

    fn finish(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.stopping.send_replace(Stopping::Now);
        Box::pin(async {
            // The sender is ours, so that it cannot be gone.
            let _ = self.following.subscribe().wait_for(|followers| *followers == 0).await;
        })
    }
}
