//! The task that segments one stream.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};
use tracing::{info, warn};
use weir_config::Hls;
use weir_hls::{Config, Container, LeftOut, Playlist, Rendition, Variant, Window, uri};
use weir_hub::{Batch, Item, Reader, Registry, Start, Status, Wake};
use weir_media::{Frame, Init, StreamKey};

use super::{
    disks::Disks,
    files::Files,
    left::{Left, take_up},
    names,
    packager::Taken,
    plan::Plan,
    renditions::Renditions,
    share::Part,
    state::{DISPOSE, State, Stopping},
    writer::{Rest, Writer, WriterLinks},
};

/// Where sequence numbers of a stream that is new on this disk begin: seconds since the year 2020. An origin that has
/// lost its disk thus never gives a number, which caches may hold for long, to a second segment.
const FIRST_SEQUENCE_EPOCH: u64 = 1_577_836_800;

/// Frames that are taken from the log at a time: they are held while the disk is waited for, and the log may have
/// dropped them by then.
const BATCH_BYTES: usize = 1024 * 1024;

/// Lines of the log about codecs that cannot be carried, in each publish: one for each track is what real encoders
/// cause, and changing codecs is cheap.
const CODEC_LINES_MAX: u32 = 10;

/// Segments one stream, from publish to publish, while there is something to do for it.
pub struct Follower {
    key: StreamKey,
    /// What is in force.
    settings: Hls,
    disks: Arc<Disks>,
    /// What there is, for those who are served.
    window: Arc<Window>,
    registry: Registry,
    signal: Arc<News>,
    reader: Reader,
    wires: FollowerLinks,
    /// What its files go by while nothing is written.
    rest: Option<Rest>,
    /// When all that is left goes, if nobody publishes the stream until then.
    until: Instant,
    /// Segments in a row that could not be made.
    missed: usize,
    /// The playlists, and what fills them.
    renditions: Renditions,
    /// Whether the stream has what only fragmented MP4 carries.
    needs_fmp4: bool,
    /// Lines that may still be logged about that.
    codec_lines: u32,
}

/// There is something to read in the stream's log.
#[derive(Debug, Default)]
struct News(Notify);

impl News {
    /// Resolves when there was some since the last time.
    async fn come(&self) {
        self.0.notified().await;
    }
}

impl Wake for News {
    fn wake(&self) {
        self.0.notify_one();
    }
}

/// What a follower begins with.
pub enum Before {
    /// Nothing, and room for a window.
    Nothing(Part),
    /// What was left of the stream.
    Ended(Box<Rested>),
}

/// What is left of a stream that has ended, until it is published again or its files go: what a publisher that returns
/// goes on with. Nothing runs for it, and nobody reads the stream.
pub struct Rested {
    /// What there is.
    pub state: State,
    /// When all of it goes.
    pub until: Instant,
    renditions: Renditions,
    needs_fmp4: bool,
    rest: Rest,
}

/// Why a follower has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// The stream has ended, and all of it is in files.
    Rests,
    /// Nothing is left of it, or the process stops.
    Over,
}

/// What a follower tells others, and is told.
pub struct FollowerLinks {
    /// What there is.
    pub state: watch::Sender<State>,
    /// What who chooses among streams is told of it, while it has a playlist that goes on.
    pub variant: watch::Sender<Option<Variant>>,
    /// Where the files are.
    pub placed: watch::Sender<Option<Files>>,
    /// What is in force.
    pub settings: watch::Receiver<Hls>,
    /// Whether the process is going to stop.
    pub stopping: watch::Receiver<Stopping>,
}

impl Follower {
    /// A follower of `key`.
    pub fn new(
        registry: &Registry,
        key: &StreamKey,
        disks: &Arc<Disks>,
        (window, before): (&Arc<Window>, Before),
        wires: FollowerLinks,
    ) -> Self {
        let settings = wires.settings.borrow().clone();
        let (renditions, needs_fmp4, rest, until) = match before {
            Before::Ended(rested) => {
                let Rested { renditions, needs_fmp4, rest, until, .. } = *rested;
                (renditions, needs_fmp4, Some(rest), until)
            }
            Before::Nothing(part) => {
                let config = Config {
                    target: settings.segment,
                    window: settings.window,
                    key_base: key_base(&settings, key),
                    ..Config::new(names::segments(key))
                };
                let (plan, budget) = (Plan::of(&settings, false), registry.budget());
                let renditions = Renditions::new(key, (window, part), budget, config, plan);
                (renditions, false, None, Instant::now() + DISPOSE)
            }
        };
        let signal = Arc::new(News::default());
        Self {
            reader: registry.follow(key, Start::OldestGroup, Arc::clone(&signal) as _),
            registry: registry.clone(),
            settings,
            disks: Arc::clone(disks),
            window: Arc::clone(window),
            key: key.clone(),
            renditions,
            needs_fmp4,
            rest,
            until,
            missed: 0,
            codec_lines: CODEC_LINES_MAX,
            signal,
            wires,
        }
    }

    /// Whether the stream is published, or was since the last time that it was segmented, and it is to be segmented.
    pub fn is_wanted(&self) -> bool {
        self.reader.status() != Status::Waiting && self.wires.settings.borrow().enabled
    }

    /// Whether other settings are in force than it goes by.
    pub fn is_told(&self) -> bool {
        self.wires.settings.has_changed().unwrap_or_default()
    }

    /// What stays of a stream that [rests](Quiet::Rests).
    pub fn into_rested(self) -> Option<Rested> {
        let (state, until) = (self.wires.state.borrow().clone(), self.until);
        let Self { renditions, needs_fmp4, rest, .. } = self;
        rest.map(|rest| Rested { state, until, renditions, needs_fmp4, rest })
    }

    /// Segments the stream until it has ended and all of it is in files. Once it has not been published, or was not to
    /// be segmented, for [`DISPOSE`], its files go.
    pub async fn run(&mut self) -> Quiet {
        let links = WriterLinks {
            key: self.key.clone(),
            window: Arc::clone(&self.window),
            disks: Arc::clone(&self.disks),
            settings: self.wires.settings.clone(),
            placed: self.wires.placed.clone(),
        };
        let mut writer = Writer::start(links, self.rest.take());
        loop {
            if self.is_wanted() {
                writer.wake().await;
                // Boxed, so that a task that waits does not hold the room for segmenting.
                Box::pin(self.segment()).await;
                self.until = Instant::now() + DISPOSE;
            }
            if *self.wires.stopping.borrow() != Stopping::No {
                writer.leave().await;
                return Quiet::Over;
            }
            let mut stopping = self.wires.stopping.clone();
            let is_over = tokio::select! {
                waited = timeout_at(self.until, self.wait(&mut writer)) => waited.is_err(),
                () = becomes(&mut stopping, Stopping::WithPublishers) => {
                    writer.leave().await;
                    return Quiet::Over;
                }
            };
            if is_over {
                break;
            }
            if !self.is_wanted() {
                writer = match writer.into_rest() {
                    Ok(rest) => {
                        self.rest = Some(rest);
                        return Quiet::Rests;
                    }
                    Err(writer) => writer,
                };
            }
        }
        self.renditions.close();
        self.needs_fmp4 = false;
        writer.remove().await;
        Quiet::Over
    }

    /// Waits for the next publish that is to be segmented, which may be over by the time this is looked at, or until
    /// all is in files.
    async fn wait(&mut self, writer: &mut Writer) {
        while !self.is_wanted() && !writer.rests() {
            tokio::select! {
                () = self.signal.come() => {}
                // Another folder may be in force.
                () = changed(&mut self.wires.settings) => writer.wake().await,
                () = writer.rest() => {}
            }
        }
    }

    /// Segments one stream from its beginning to its end.
    async fn segment(&mut self) {
        let mut epoch: Option<u32> = None;
        self.codec_lines = CODEC_LINES_MAX;
        let mut batch = Batch::default();
        self.follow_settings();
        let mut was_live = false;
        loop {
            if self.is_told() {
                self.follow_settings();
            }
            if !self.settings.enabled {
                // What is published meanwhile is not missed when it is to be segmented again.
                self.read_anew();
                return self.finish();
            }
            let status = self.reader.read_some(&mut batch, BATCH_BYTES);
            let has_more = batch.has_more;
            let mut fell_behind = batch.skipped > 0;
            if fell_behind {
                let frames = batch.skipped;
                warn!(stream = %self.key, frames, "HLS fell behind: frames are missing (is the disk slow?)");
            }
            for Item { frame, group } in batch.items.drain(..) {
                // Another publish, or a repaired timeline, is taken up at its first group, with its own set of tracks.
                let is_new = epoch != Some(frame.epoch);
                match &group {
                    Some(init) if is_new || fell_behind || self.is_due(init) => {
                        epoch = Some(frame.epoch);
                        self.begin(init).await;
                    }
                    None if is_new => continue,
                    _ => {}
                }
                fell_behind = false;
                self.take(&frame);
            }
            if has_more {
                continue;
            }
            let is_live = status == Status::Live;
            if std::mem::replace(&mut was_live, is_live) && !is_live {
                self.window.interrupt();
            }
            let stopping = *self.wires.stopping.borrow();
            let is_left = !matches!(status, Status::Live | Status::Waiting);
            if stopping == Stopping::Now || (stopping == Stopping::WithPublishers && is_left) {
                return self.complete();
            }
            if status == Status::Ended {
                // The stream that ended is not the one that may come, and go again, while the end is written.
                self.read_anew();
                return self.finish();
            }
            tokio::select! {
                () = self.signal.come() => {}
                () = changed(&mut self.wires.settings) => self.wires.settings.mark_changed(),
                () = more_than(&mut self.wires.stopping, stopping) => {}
            }
        }
    }

    fn read_anew(&mut self) {
        let signal = Arc::clone(&self.signal) as _;
        self.reader = self.registry.follow(&self.key, Start::OldestGroup, signal);
    }

    /// Takes up what is in force now. Another folder is moved to with the next segment, another container or length of
    /// parts with the next group.
    fn follow_settings(&mut self) {
        self.settings = self.wires.settings.borrow_and_update().clone();
        self.renditions.config().window = self.settings.window;
        self.renditions.config().key_base = key_base(&self.settings, &self.key);
        self.renditions.reconfigure();
        let plan = Plan::of(&self.settings, self.needs_fmp4);
        if (plan.container, self.renditions.plan().container) == (Container::Ts, Container::Ts) {
            self.renditions.set_target(plan.target);
        }
    }

    /// Whether the stream is to be cut otherwise from the group on before which `init` comes.
    fn is_due(&mut self, init: &Init) -> bool {
        self.plan(init) != *self.renditions.plan()
    }

    /// How the stream is to be cut. What has come to need fragmented MP4 stays with it: what a playlist says of init
    /// segments cannot be taken back.
    fn plan(&mut self, init: &Init) -> Plan {
        self.needs_fmp4 |= Renditions::needs_fmp4(init);
        Plan::of(&self.settings, self.needs_fmp4)
    }

    /// Starts on frames that do not continue those before them; `init` is what comes before the first.
    async fn begin(&mut self, init: &Init) {
        self.complete();
        if self.renditions.is_new() {
            self.open_playlists().await;
        }
        let plan = self.plan(init);
        let taken = self.renditions.begin(plan, init, since_unix_epoch());
        self.tell_of(taken);
    }

    /// Takes one frame in.
    fn take(&mut self, frame: &Frame) {
        let taken = self.renditions.take(frame, since_unix_epoch());
        self.tell_of(taken);
        if let Some(left_out) = self.renditions.newly_left_out() {
            self.leave_out(left_out);
        }
    }

    /// Lists what is still held.
    fn complete(&mut self) {
        let taken = self.renditions.complete();
        self.tell_of(taken);
    }

    fn tell_of(&mut self, taken: Taken) {
        if let Some(why) = taken.missed {
            self.missed = self.missed.saturating_add(1);
            // Until then players have something to play, and go on if it was a moment.
            let has_more = self.wires.state.borrow().is_playable();
            if !has_more || self.missed >= self.settings.window {
                self.tell(State::Failing(why));
            }
        } else if taken.has_segment {
            self.missed = 0;
            if self.window.playlist(Rendition::MAIN).is_some() {
                self.wires.variant.send_replace(self.renditions.variant());
                self.tell(self.playable());
            }
        } else if taken.is_new
            && *self.wires.state.borrow() == State::Starting
            && self.window.playlist(Rendition::MAIN).is_some()
        {
            // What an earlier process left goes on with its first part.
            self.tell(self.playable());
        }
    }

    /// Goes on where an earlier process has stopped, or begins anew.
    async fn open_playlists(&mut self) {
        self.window.clear();
        let left = match self.disks.files(&self.settings, &self.key) {
            Some(files) => {
                let config = self.renditions.config().clone();
                let (window, part) = (&self.window, self.renditions.part());
                take_up(&self.key, &files, config, window, part).await
            }
            None => Left::nothing(self.renditions.config().clone(), 0),
        };
        let is_auto = self.settings.container == weir_config::Container::Auto;
        let container = left.playlists.get(&Rendition::MAIN).and_then(Playlist::container);
        // It stays with what it has.
        self.needs_fmp4 |= is_auto && container == Some(Container::Mp4);
        let now = since_unix_epoch().as_secs().saturating_sub(FIRST_SEQUENCE_EPOCH);
        let first = now.max(left.least);
        self.renditions.open(left, first);
    }

    /// HLS goes without other tracks than before.
    fn leave_out(&mut self, left_out: LeftOut) {
        if left_out.may_fit_mp4() && self.settings.container == weir_config::Container::Auto {
            // With the next group.
            self.needs_fmp4 = true;
            return;
        }
        if let Some(left) = self.codec_lines.checked_sub(1) {
            self.codec_lines = left;
            self.say(left_out);
        }
        if left_out.everything {
            self.renditions.unlist();
            self.tell(State::Unsupported(left_out.to_string()));
        } else if self.wires.state.borrow().is_playable() {
            self.tell(self.playable());
        }
    }

    fn say(&self, left_out: LeftOut) {
        let stream = &self.key;
        if left_out.is_nothing() {
            info!(%stream, "HLS carries all tracks of this stream");
        } else if left_out.everything {
            warn!(%stream, reason = %left_out, "no HLS for this stream; RTMP and HTTP-FLV carry it");
        } else {
            warn!(%stream, reason = %left_out, "HLS omits a track; RTMP and HTTP-FLV carry it");
        }
    }

    /// What there is once a segment is listed.
    fn playable(&self) -> State {
        match self.renditions.left_out() {
            // What remains of what there was before.
            left_out if left_out.is_nothing() || left_out.everything => State::Playable,
            left_out => State::Partly(left_out.to_string()),
        }
    }

    fn finish(&mut self) {
        self.complete();
        self.renditions.end();
        self.wires.variant.send_replace(None);
    }

    fn tell(&self, state: State) {
        self.wires.state.send_if_modified(|known| {
            let changed = *known != state;
            *known = state;
            changed
        });
    }
}

impl Rested {
    /// Where the files are, if there are any.
    pub fn files(&self) -> Option<&Files> {
        self.rest.files()
    }

    /// The folder that was in force; empty for none.
    pub fn dir(&self) -> &Path {
        self.rest.dir()
    }
}

/// Resolves when the process is going to stop in this way, or in a more urgent one.
async fn becomes(stopping: &mut watch::Receiver<Stopping>, urgency: Stopping) {
    if stopping.wait_for(|stopping| *stopping >= urgency).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Resolves when it becomes more urgent than it was.
async fn more_than(stopping: &mut watch::Receiver<Stopping>, known: Stopping) {
    if stopping.wait_for(|stopping| *stopping > known).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Resolves when other settings are in force.
async fn changed(settings: &mut watch::Receiver<Hls>) {
    if settings.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn since_unix_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What stands before the files of keys in their URIs.
fn key_base(settings: &Hls, key: &StreamKey) -> String {
    match &*settings.key_url {
        "" => String::new(),
        url => format!("{url}/{}/", key.app().split('/').map(uri).collect::<Vec<_>>().join("/")),
    }
}
