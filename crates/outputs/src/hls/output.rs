//! The segmenters of all streams.

use std::{
    collections::{HashMap, HashSet},
    future::{Future, poll_fn},
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use weir_config::{Config, Hls, Next, Part, Ready, Settings, Unready};
use weir_hls::{Form, Held, Multivariant, Rendition, SegmentName, Variant, Window};
use weir_hub::Registry;
use weir_media::StreamKey;

use super::{
    disk::Disk,
    disks::{Disks, claim},
    files::Files,
    folders::{BadFolder, bad_folders},
    follower::{Follower, FollowerLinks},
    look, names,
    share::Share,
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
    /// What all windows may hold.
    share: Share,
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
    /// What who chooses among streams is told of it.
    variant: watch::Receiver<Option<Variant>>,
    /// What there is of it.
    window: Arc<Window>,
    /// Where its files are, if it has any.
    files: watch::Receiver<Option<Files>>,
    /// What is in force for it.
    settings: watch::Sender<Hls>,
}

/// Variants, and where those are told of that are not known yet.
type Tied = (Vec<Variant>, Vec<watch::Receiver<Option<Variant>>>);

/// Where a segment is.
pub enum Found {
    /// In memory: all of it, with the window that has it under this file name.
    Here(Bytes, Arc<Window>, String),
    /// Not there yet: the part that a playlist of this window has announced under this file name.
    Soon(Arc<Window>, String),
    /// In its file only.
    InFile(Files),
    /// There is none.
    Nowhere,
}

impl HlsOutput {
    /// Nothing is followed yet.
    pub fn new(registry: Registry, settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            share: Share::new(registry.budget()),
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
        let window = Arc::<Window>::default();
        let (state, watched) = watch::channel(State::Starting);
        let (placed, files) = watch::channel(self.disks.files(&settings.dir, key));
        let (told, settings) = watch::channel(settings);
        let (variant, chosen) = watch::channel(None);
        let followed = Followed {
            state: watched,
            variant: chosen,
            window: Arc::clone(&window),
            files,
            settings: told,
        };
        streams.insert(key.clone(), followed);
        let follower = Follower::new(
            &self.registry,
            key,
            &self.disks,
            (&window, self.share.part()),
            FollowerLinks { state, variant, placed, settings, stopping: self.stopping.subscribe() },
        );
        self.following.send_modify(|followers| *followers += 1);
        tokio::spawn(Arc::clone(self).run(Box::new(follower), key.clone()));
        drop(streams);
        self.more.notify_waiters();
    }

    /// `follower` is boxed, because a task holds what it is given twice.
    async fn run(self: Arc<Self>, mut follower: Box<Follower>, key: StreamKey) {
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

    /// Removes what an earlier process left and nobody continued, once it is `DISPOSE` old, from every folder that
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

    /// What there is of `key` in memory; none if it is not followed.
    pub fn window(&self, key: &StreamKey) -> Option<Arc<Window>> {
        self.lock().get(key).map(|followed| Arc::clone(&followed.window))
    }

    /// What there is to choose from where `ladder` ties streams to `key` (`hls.ladder`): a multivariant playlist of
    /// those that have HLS and go on. Players load it once: it is waited for until each of those that are published has
    /// HLS, for `wait` at most. None without one, or if `key` is published and is not among them.
    pub async fn ladder(
        &self,
        key: &StreamKey,
        ladder: &[String],
        wait: Duration,
    ) -> Option<Bytes> {
        if ladder.is_empty() {
            return None;
        }
        let mut known = None;
        let whole = async {
            loop {
                let mut more = pin!(self.more.notified());
                more.as_mut().enable();
                let (variants, mut missing) = self.tied(key, ladder)?;
                let is_whole = missing.is_empty() && !variants.is_empty();
                let multivariant = Multivariant { variants, ..Multivariant::default() };
                let is_any = !multivariant.variants.is_empty();
                known = is_any.then(|| multivariant.render().into());
                if is_whole {
                    return Some(());
                }
                let mut changes: Vec<_> =
                    missing.iter_mut().map(|it| Box::pin(it.changed())).collect();
                let any = poll_fn(|context| {
                    let mut changes = changes.iter_mut();
                    let is_ready = changes.any(|it| it.as_mut().poll(context).is_ready());
                    if is_ready { Poll::Ready(()) } else { Poll::Pending }
                });
                tokio::select! {
                    () = more => {}
                    () = any => {}
                }
            }
        };
        match timeout(wait, whole).await {
            Ok(None) => None,
            Ok(Some(())) | Err(_) => known,
        }
    }

    /// Whether one of the streams that `ladder` ties to `key` is followed, and `key` itself is not, or is one of them.
    pub fn has_ladder(&self, key: &StreamKey, ladder: &[String]) -> bool {
        let tied = self.tied(key, ladder);
        tied.is_some_and(|(variants, missing)| !variants.is_empty() || !missing.is_empty())
    }

    /// The variants of the streams that `ladder` ties to `key`, and those of streams that have none yet. None if `key`
    /// itself is followed and is not among them.
    fn tied(&self, key: &StreamKey, ladder: &[String]) -> Option<Tied> {
        let streams = self.lock();
        if streams.contains_key(key) && !ladder.iter().any(String::is_empty) {
            return None;
        }
        let (mut variants, mut missing) = (Vec::new(), Vec::new());
        for ending in ladder {
            let name = format!("{}{ending}", key.stream());
            let Ok(tied) = StreamKey::new(key.vhost(), key.app(), &name) else { continue };
            let Some(followed) = streams.get(&tied) else { continue };
            let mut watched = followed.variant.clone();
            let variant = watched.borrow_and_update().clone();
            match variant {
                Some(variant) => variants.push(variant),
                None => {
                    let is_published = self.registry.status(&tied).is_some_and(is_published);
                    let state = followed.state.borrow();
                    let has_none = matches!(*state, State::Unsupported(_) | State::Failing(_));
                    missing.extend((is_published && !has_none).then_some(watched));
                }
            }
        }
        Some((variants, missing))
    }

    /// The files below `dir` of a stream that need not be followed; none without a folder.
    pub fn files(&self, dir: &Path, key: &StreamKey) -> Option<Files> {
        self.disks.files(dir, key)
    }

    /// Where the segment with this name is, of a stream that need not be followed and has its files below `dir`.
    pub fn find(&self, dir: &Path, key: &StreamKey, name: SegmentName) -> Found {
        let file = name.file(key.stream());
        let streams = self.lock();
        let followed = streams.get(key).or_else(|| {
            // The names of segments are what viewers know of a stream.
            let is_hashed = names::is_hashed(key.stream());
            let mut all = streams.iter().filter(|(other, _)| is_hashed && are_beside(key, other));
            let has =
                |window: &Window| window.get(&file).is_some() || is_announced(window, &file, name);
            all.find(|(_, it)| has(&it.window)).map(|(_, it)| it)
        });
        let Some(followed) = followed else {
            drop(streams);
            return self.files(dir, key).map_or(Found::Nowhere, Found::InFile);
        };
        let (window, files) = (Arc::clone(&followed.window), followed.files.clone());
        drop(streams);
        let in_file = || files.borrow().clone().map_or(Found::Nowhere, Found::InFile);
        let is_announced = window.get(&file).is_none() && is_announced(&window, &file, name);
        // It may have come in this moment.
        match window.get(&file) {
            None if is_announced => Found::Soon(window, file),
            Some(Held::Here(data)) => Found::Here(data, window, file),
            Some(Held::InFile) => in_file(),
            // What an earlier process left has not been taken up.
            None if window.playlist(Rendition::MAIN).is_none() => in_file(),
            None => Found::Nowhere,
        }
    }

    /// Whether windows, and those who read slowly what was in them, hold more than they should.
    pub fn is_spent(&self) -> bool {
        self.share.is_spent()
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

/// Whether this is the part that comes next, as a playlist says.
fn is_announced(window: &Window, file: &str, name: SegmentName) -> bool {
    matches!(name.form, Form::Part(_)) && window.is_hinted(file)
}

/// Whether these are streams of the same app.
fn are_beside(one: &StreamKey, other: &StreamKey) -> bool {
    one.vhost() == other.vhost() && one.app() == other.app()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of what `make` makes.
    fn bytes_of<F>(_make: impl Fn(Arc<HlsOutput>, Box<Follower>, StreamKey) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_stream_that_has_ended_is_small() {
        // A thousand of them wait to be disposed of where many streams come and go.
        let (task, follower) = (bytes_of(HlsOutput::run), size_of::<Follower>());
        assert!(task <= 800 && follower <= 544, "{task}, {follower} bytes");
    }
}
