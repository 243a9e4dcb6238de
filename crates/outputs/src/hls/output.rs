//! The segmenters of all streams.

use std::{
    collections::{HashMap, HashSet},
    future::{Future, poll_fn},
    path::PathBuf,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};
use weir_config::{Config, Hls, Next, Part, Ready, Settings, Unready};
use weir_hls::{Form, Held, Multivariant, Rendition, SegmentName, Variant, Window};
use weir_hub::Registry;
use weir_media::StreamKey;

use super::{
    disk::Disk,
    disks::{Disks, claim},
    files::{Files, folders_of},
    folders::{BadFolder, bad_folders},
    follower::{Before, Follower, FollowerLinks, Quiet, Rested},
    layout::{Layout, Names},
    look, names,
    share::Share,
    state::{State, Stopping, is_published},
    sweep,
};
use crate::{finished::Finished, output::Output};

/// How often what is left of streams is looked through for what is to be removed, at most.
const DISPOSE_PAUSE: Duration = Duration::from_secs(1);

/// The segmenters of all streams.
pub struct HlsOutput {
    registry: Registry,
    settings: Settings,
    streams: Mutex<Streams>,
    disks: Arc<Disks>,
    /// What all windows may hold.
    share: Share,
    /// Told whenever another stream is followed.
    more: Notify,
    /// Whether the process is going to stop.
    stopping: watch::Sender<Stopping>,
    /// How many streams have a task.
    following: watch::Sender<usize>,
}

/// A stream that is segmented, or was until it ended, as others see it.
struct Followed {
    /// What there is of it.
    window: Arc<Window>,
    work: Work,
}

/// Whether anything runs for a stream.
enum Work {
    /// A task does.
    Running(Box<Running>),
    /// It has ended, and nothing does.
    Resting(Box<Rested>),
}

/// What the task of a stream says, and is told.
struct Running {
    state: watch::Receiver<State>,
    /// What who chooses among streams is told of it.
    variant: watch::Receiver<Option<Variant>>,
    /// Where its files are, if it has any.
    files: watch::Receiver<Option<Files>>,
    /// What is in force for it.
    settings: watch::Sender<Hls>,
}

/// Variants, and where those are told of that are not known yet.
type Tied = (Vec<Variant>, Vec<watch::Receiver<Option<Variant>>>);
/// The streams by their names.
#[derive(Default)]
struct Streams {
    all: HashMap<StreamKey, Followed>,
    /// Whether a task waits for what is left of streams to be removed.
    is_disposing: bool,
}

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
    /// Nothing is followed yet. `finished` is told of the segments that are in files.
    pub fn new(registry: Registry, settings: &Settings, finished: &Arc<Finished>) -> Arc<Self> {
        Arc::new(Self {
            share: Share::new(registry.budget()),
            registry,
            settings: settings.clone(),
            streams: Mutex::default(),
            disks: Arc::new(Disks::new(finished)),
            more: Notify::new(),
            stopping: watch::Sender::new(Stopping::No),
            following: watch::Sender::new(0),
        })
    }

    fn begin(self: &Arc<Self>, key: &StreamKey) {
        let mut streams = self.lock();
        // Read under the lock: what is put in force after this finds the stream followed.
        let settings = self.settings.now().vhost(key.vhost()).hls;
        let is_running = streams.all.get(key).is_some_and(|it| matches!(it.work, Work::Running(_)));
        if !settings.enabled || is_running {
            return;
        }
        self.run(&mut streams, key, settings);
        drop(streams);
        self.more.notify_waiters();
    }

    /// Has a task for `key`, which has none, and goes on with what is left of it.
    fn run(self: &Arc<Self>, streams: &mut Streams, key: &StreamKey, settings: Hls) {
        let (window, before) = match streams.all.remove(key) {
            Some(Followed { window, work: Work::Resting(rested) }) => {
                (window, Before::Ended(rested))
            }
            _ => (Arc::default(), Before::Nothing(self.share.part())),
        };
        let (state, files) = match &before {
            Before::Ended(rested) => (rested.state.clone(), rested.files().cloned()),
            Before::Nothing(_) => (State::Starting, self.disks.files(&settings, key)),
        };
        let (state, watched) = watch::channel(state);
        let (placed, files) = watch::channel(files);
        let (told, settings) = watch::channel(settings);
        let (variant, chosen) = watch::channel(None);
        let follower = Follower::new(
            &self.registry,
            key,
            &self.disks,
            (&window, before),
            FollowerLinks { state, variant, placed, settings, stopping: self.stopping.subscribe() },
        );
        let running = Running { state: watched, variant: chosen, files, settings: told };
        let work = Work::Running(Box::new(running));
        streams.all.insert(key.clone(), Followed { window, work });
        self.following.send_modify(|followers| *followers += 1);
        tokio::spawn(Arc::clone(self).follow_on(Box::new(follower), key.clone()));
    }

    /// `follower` is boxed, because a task holds what it is given twice.
    async fn follow_on(self: Arc<Self>, mut follower: Box<Follower>, key: StreamKey) {
        loop {
            let quiet = follower.run().await;
            let mut streams = self.lock();
            let stops = *self.stopping.borrow() != Stopping::No;
            // Who published in this moment, or put other settings in force, has found a task.
            let is_told = quiet == Quiet::Rests && follower.is_told();
            if !stops && (follower.is_wanted() || is_told) {
                continue;
            }
            match follower.into_rested().filter(|_| quiet == Quiet::Rests && !stops) {
                Some(rested) => self.rest(&mut streams, &key, rested),
                None => drop(streams.all.remove(&key)),
            }
            drop(streams);
            return self.following.send_modify(|followers| *followers -= 1);
        }
    }

    /// `key` has no task from now on.
    fn rest(self: &Arc<Self>, streams: &mut Streams, key: &StreamKey, rested: Rested) {
        let Some(followed) = streams.all.get_mut(key) else { return };
        followed.work = Work::Resting(Box::new(rested));
        if !std::mem::replace(&mut streams.is_disposing, true) {
            tokio::spawn(Arc::clone(self).dispose());
        }
    }

    /// Has removed what is left of each stream, when it is time. Ends when nothing is left of any.
    async fn dispose(self: Arc<Self>) {
        while let Some(next) = self.dispose_due(Instant::now()) {
            sleep_until(next.max(Instant::now() + DISPOSE_PAUSE)).await;
        }
    }

    /// The same, of those whose time it is; when it is the next one's.
    fn dispose_due(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let (mut due, mut next) = (Vec::new(), None);
        let mut streams = self.lock();
        for (key, followed) in &streams.all {
            match &followed.work {
                Work::Resting(rested) if rested.until <= now => due.push(key.clone()),
                Work::Resting(rested) => {
                    next = Some(next.map_or(rested.until, |next: Instant| next.min(rested.until)));
                }
                Work::Running(_) => {}
            }
        }
        for key in due {
            // Its task finds that it is time.
            let settings = self.settings.now().vhost(key.vhost()).hls;
            self.run(&mut streams, &key, settings);
        }
        streams.is_disposing = next.is_some();
        next
    }

    /// How many streams are segmented, or have ended and have their files still.
    pub fn followers(&self) -> usize {
        self.lock().all.len()
    }

    /// What there is of `key` now; none if it is not followed.
    pub fn state(&self, key: &StreamKey) -> Option<State> {
        self.lock().all.get(key).map(|followed| match &followed.work {
            Work::Running(running) => running.state.borrow().clone(),
            Work::Resting(rested) => rested.state.clone(),
        })
    }

    /// What there is of `key` once that is known: when it has its first segment, or cannot have any.
    pub async fn settled(&self, key: &StreamKey) -> State {
        loop {
            let mut more = pin!(self.more.notified());
            more.as_mut().enable();
            let running = match self.lock().all.get(key).map(|followed| &followed.work) {
                Some(Work::Running(running)) => Some(running.state.clone()),
                Some(Work::Resting(rested)) if rested.state != State::Starting => {
                    return rested.state.clone();
                }
                Some(Work::Resting(_)) | None => None,
            };
            match running {
                Some(mut state) => {
                    if let Ok(state) = state.wait_for(|it| *it != State::Starting).await {
                        return state.clone();
                    }
                    // It has ended without a segment.
                    if *self.stopping.borrow() != Stopping::No {
                        return State::Starting;
                    }
                }
                None => more.await,
            }
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
        self.lock().all.get(key).map(|followed| Arc::clone(&followed.window))
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
        if streams.all.contains_key(key) && !ladder.iter().any(String::is_empty) {
            return None;
        }
        let (mut variants, mut missing) = (Vec::new(), Vec::new());
        for ending in ladder {
            let name = format!("{}{ending}", key.stream());
            let Ok(tied) = StreamKey::new(key.vhost(), key.app(), &name) else { continue };
            let Some(Work::Running(running)) = streams.all.get(&tied).map(|it| &it.work) else {
                continue;
            };
            let mut watched = running.variant.clone();
            let variant = watched.borrow_and_update().clone();
            match variant {
                Some(variant) => variants.push(variant),
                None => {
                    let is_published = self.registry.status(&tied).is_some_and(is_published);
                    let state = running.state.borrow();
                    let has_none = matches!(*state, State::Unsupported(_) | State::Failing(_));
                    missing.extend((is_published && !has_none).then_some(watched));
                }
            }
        }
        Some((variants, missing))
    }

    /// The files of a stream that need not be followed, as `settings` have them; none without a folder.
    pub fn files(&self, settings: &Hls, key: &StreamKey) -> Option<Files> {
        self.disks.files(settings, key)
    }

    /// Where the segment with this name is, of a stream that need not be followed, whose files are where
    /// `settings` have them.
    pub fn find(&self, settings: &Hls, key: &StreamKey, name: SegmentName) -> Found {
        let file = name.file(key.stream());
        let streams = self.lock();
        let followed = streams.all.get(key).or_else(|| {
            // The names of segments are what viewers know of a stream.
            let is_hashed = names::is_hashed(key.stream());
            let mut all =
                streams.all.iter().filter(|(other, _)| is_hashed && are_beside(key, other));
            let has =
                |window: &Window| window.get(&file).is_some() || is_announced(window, &file, name);
            all.find(|(_, it)| has(&it.window)).map(|(_, it)| it)
        });
        let Some(followed) = followed else {
            drop(streams);
            return self.files(settings, key).map_or(Found::Nowhere, Found::InFile);
        };
        let (window, files) = (Arc::clone(&followed.window), followed.files());
        drop(streams);
        let in_file = || files.map_or(Found::Nowhere, Found::InFile);
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

    /// The name of the segment with this number in the first playlist of a stream that need not be followed, whose
    /// files are where `settings` have them; none if there is none.
    pub async fn numbered(
        &self,
        settings: &Hls,
        key: &StreamKey,
        number: u64,
    ) -> Option<SegmentName> {
        let is_it = |name: &SegmentName| name.sequence == number && name.form.is_segment();
        let names = |files: &[Arc<str>]| -> Vec<SegmentName> {
            let names = files.iter().filter_map(|file| SegmentName::parse(file));
            names.map(|(_, name)| name).filter(is_it).collect()
        };
        let found = match self.window(key) {
            Some(window) => {
                let main = window.playlist(Rendition::MAIN);
                let listed = main.map(|listing| names(&listing.files)).unwrap_or_default();
                if listed.is_empty() { names(&window.files()) } else { listed }
            }
            None => {
                let left = self.files(settings, key)?.segments().await;
                left.into_iter().filter(is_it).collect()
            }
        };
        // One of several playlists that is not listed any more could be any of them.
        if let [only] = found[..] { Some(only) } else { None }
    }

    /// Whether windows, and those who read slowly what was in them, hold more than they should.
    pub fn is_spent(&self) -> bool {
        self.share.is_spent()
    }

    /// The playlists of followed streams that are so far down on `disk`. Those with a folder of their own count too.
    fn playlists(&self, disk: &Disk, folders: &[String]) -> HashSet<String> {
        let naming = disk.naming();
        let streams = self.lock();
        let config = self.settings.now();
        let mut found = HashSet::new();
        for key in streams.all.keys() {
            let is_here = |is_hidden| folders_of(naming, key, is_hidden) == folders;
            if is_here(false) || is_here(true) {
                found.insert(naming.playlist(key.stream()) + names::PLAYLIST);
            }
            if let Some(names) = Names::of(&config.vhost(key.vhost()).hls) {
                let mut levels = Layout::on_disk(&names, naming, key).playlist();
                let file = levels.pop();
                found.extend(file.filter(|_| levels == folders));
            }
        }
        found
    }

    /// Streams that have ended are left as they are, for the next process.
    fn leave_rested(&self) {
        self.lock().all.retain(|_, followed| matches!(followed.work, Work::Running(_)));
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HlsOutput {
    /// Streams that are followed go by `config`, and those that are published and were not to be segmented may be now.
    fn reconfigure(self: &Arc<Self>, config: &Config) {
        let (mut streams, mut moved) = (self.lock(), Vec::new());
        for (key, followed) in &streams.all {
            let new = config.vhost(key.vhost()).hls;
            match &followed.work {
                Work::Running(running) => drop(running.settings.send_if_modified(|known| {
                    let is_other = *known != new;
                    *known = new;
                    is_other
                })),
                Work::Resting(rested) if rested.dir() != new.dir => moved.push((key.clone(), new)),
                Work::Resting(_) => {}
            }
        }
        moved.into_iter().for_each(|(key, new)| self.run(&mut streams, &key, new));
        drop(streams);
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
        self.leave_rested();
    }

    fn go_on(&self) {
        self.stopping.send_replace(Stopping::No);
    }

    fn finish(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.stopping.send_replace(Stopping::Now);
        self.leave_rested();
        Box::pin(async {
            // The sender is ours, so that it cannot be gone.
            let _ = self.following.subscribe().wait_for(|followers| *followers == 0).await;
        })
    }
}

impl Followed {
    /// Where its files are, if it has any.
    fn files(&self) -> Option<Files> {
        match &self.work {
            Work::Running(running) => running.files.borrow().clone(),
            Work::Resting(rested) => rested.files().cloned(),
        }
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
mod tests;
