//! The task that segments one stream.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tracing::{info, warn};
use weir_clients::counts::COUNTS;
use weir_config::Hls;
use weir_hls::{
    Config, Cut, Dropped, LeftOut, Listing, Nonce, Playlist, Rendition, Segmenter, Window,
};
use weir_hub::{Batch, Item, Reader, Registry, Start, Status, Wake};
use weir_media::{Frame, Init, StreamKey};

use super::{
    disks::Disks,
    files::Files,
    left::take_up,
    names,
    share::Part,
    state::{DISPOSE, State, Stopping, is_published},
    writer::{Writer, WriterLinks},
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

/// Segments one stream, from publish to publish.
pub struct Follower {
    key: StreamKey,
    config: Config,
    /// What is in force.
    settings: Hls,
    disks: Arc<Disks>,
    /// What there is, for those who are served.
    window: Arc<Window>,
    /// What the window may hold.
    part: Part,
    /// The playlist lacks segments that there was no room for.
    has_no_room: bool,
    registry: Registry,
    signal: Arc<News>,
    reader: Reader,
    wires: FollowerLinks,
    /// None until the first segment, for which one is looked for on disk.
    playlist: Option<Playlist>,
    /// Segments in a row that could not be made.
    missed: usize,
    /// What HLS goes without.
    left_out: LeftOut,
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

/// What a follower tells others, and is told.
pub struct FollowerLinks {
    /// What there is.
    pub state: watch::Sender<State>,
    /// Where the files are.
    pub placed: watch::Sender<Option<Files>>,
    /// What is in force.
    pub settings: watch::Receiver<Hls>,
    /// Whether the process is going to stop.
    pub stopping: watch::Receiver<Stopping>,
}

/// The segmenting of one epoch of the stream's timeline.
struct EpochSegmenter {
    epoch: u32,
    segmenter: Segmenter,
    /// Frames that it has dropped and that are counted.
    dropped: u64,
    /// The next segment does not continue the one before.
    interrupted: bool,
}

impl Follower {
    /// A follower of `key`.
    pub fn new(
        registry: &Registry,
        key: &StreamKey,
        disks: &Arc<Disks>,
        (window, part): (&Arc<Window>, Part),
        wires: FollowerLinks,
    ) -> Self {
        let settings = wires.settings.borrow().clone();
        let config = Config {
            target: settings.segment,
            window: settings.window,
            ..Config::new(names::segments(key))
        };
        let signal = Arc::new(News::default());
        Self {
            reader: registry.follow(key, Start::OldestGroup, Arc::clone(&signal) as _),
            registry: registry.clone(),
            settings,
            disks: Arc::clone(disks),
            window: Arc::clone(window),
            part,
            has_no_room: false,
            key: key.clone(),
            playlist: None,
            missed: 0,
            left_out: LeftOut::default(),
            codec_lines: CODEC_LINES_MAX,
            config,
            signal,
            wires,
        }
    }

    /// Whether somebody publishes the stream, and it is to be segmented.
    pub fn is_wanted(&self) -> bool {
        is_published(self.reader.status()) && self.wires.settings.borrow().enabled
    }

    /// Segments until the stream has not been published, or was not to be segmented, for [`DISPOSE`]; then its files
    /// are gone.
    pub async fn run(&mut self) {
        let mut writer = Writer::start(WriterLinks {
            key: self.key.clone(),
            window: Arc::clone(&self.window),
            disks: Arc::clone(&self.disks),
            settings: self.wires.settings.clone(),
            placed: self.wires.placed.clone(),
        });
        loop {
            writer.wake().await;
            // Boxed, so that a stream that has ended does not hold the room for segmenting until it is disposed of.
            Box::pin(self.segment()).await;
            if *self.wires.stopping.borrow() != Stopping::No {
                return writer.leave().await;
            }
            let mut stopping = self.wires.stopping.clone();
            tokio::select! {
                again = timeout(DISPOSE, self.until_published(&mut writer)) => if again.is_err() { break },
                () = becomes(&mut stopping, Stopping::WithPublishers) => {
                    return writer.leave().await;
                }
            }
        }
        self.playlist = None;
        self.window.clear();
        writer.remove().await;
    }

    /// Waits for the next publish that is to be segmented, which may be over by the time this is looked at.
    async fn until_published(&mut self, writer: &mut Writer) {
        while self.reader.status() == Status::Waiting || !self.wires.settings.borrow().enabled {
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
        let mut making: Option<EpochSegmenter> = None;
        self.codec_lines = CODEC_LINES_MAX;
        let mut batch = Batch::default();
        self.follow_settings(None);
        let mut was_live = false;
        loop {
            if self.wires.settings.has_changed().unwrap_or_default() {
                self.follow_settings(making.as_mut());
            }
            if !self.settings.enabled {
                // What is published meanwhile is not missed when it is to be segmented again.
                self.read_anew();
                return self.finish(making).await;
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
                let is_new = making.as_ref().is_none_or(|making| making.epoch != frame.epoch);
                match (&group, is_new || fell_behind) {
                    (Some(init), true) => {
                        making = Some(self.begin(making, frame.epoch, init).await);
                    }
                    (None, _) if is_new => continue,
                    _ => {}
                }
                fell_behind = false;
                if let Some(making) = &mut making {
                    self.take(making, &frame).await;
                }
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
                if let Some(making) = making {
                    self.complete(making).await;
                }
                return;
            }
            if status == Status::Ended {
                // The stream that ended is not the one that may come, and go again, while the end is written.
                self.read_anew();
                return self.finish(making).await;
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

    /// Takes up what is in force now. Another folder is moved to with the next segment.
    fn follow_settings(&mut self, making: Option<&mut EpochSegmenter>) {
        self.settings = self.wires.settings.borrow_and_update().clone();
        self.config.target = self.settings.segment;
        self.config.window = self.settings.window;
        if let Some(making) = making {
            making.segmenter.set_target(self.config.target);
        }
        if let Some(playlist) = &mut self.playlist {
            playlist.reconfigure(&self.config);
        }
    }

    /// Starts on frames that do not continue those before them; `init` is what comes before the first.
    async fn begin(
        &mut self,
        before: Option<EpochSegmenter>,
        epoch: u32,
        init: &Init,
    ) -> EpochSegmenter {
        if let Some(making) = before {
            self.complete(making).await;
        }
        // A playlist has segments of what was before, be it of this stream or of one that has ended.
        let interrupted = self.playlist.is_some();
        let mut segmenter = Segmenter::new(&self.config);
        segmenter.limit_to(self.registry.budget());
        let mut making = EpochSegmenter { epoch, segmenter, dropped: 0, interrupted };
        for known in init.frames() {
            self.take(&mut making, known).await;
        }
        making
    }

    /// Takes one frame in, and writes the segment that it finishes.
    async fn take(&mut self, making: &mut EpochSegmenter, frame: &Frame) {
        let cut = making.segmenter.push(frame, since_unix_epoch());
        if let Some(cut) = cut {
            making.count_dropped();
            let written = self.write_next(&mut making.interrupted, cut).await;
            if !written {
                making.segmenter.skipped();
            }
        }
        if let Some(left_out) = making.segmenter.left_out()
            && left_out != self.left_out
        {
            self.leave_out(left_out);
        }
    }

    /// Writes what the segmenter still holds.
    async fn complete(&mut self, making: EpochSegmenter) {
        let mut making = making;
        if let Some(dropped) = making.count_dropped() {
            info!(stream = %self.key, frames = dropped.frames, last = %dropped.last, "HLS dropped damaged frames");
        }
        let EpochSegmenter { mut segmenter, mut interrupted, .. } = making;
        if let Some(cut) = segmenter.finish() {
            self.write_next(&mut interrupted, cut).await;
        }
    }

    async fn write_next(&mut self, interrupted: &mut bool, mut cut: Cut) -> bool {
        cut.discontinuity |= std::mem::take(interrupted);
        self.write(&cut).await
    }

    /// Makes a segment of it, and the playlist that names it. False if that failed.
    async fn write(&mut self, cut: &Cut) -> bool {
        let mut playlist = match self.playlist.take() {
            Some(playlist) => playlist,
            None => self.open_playlist().await,
        };
        let added = getrandom::u64().map(|chance| {
            let nonce = Nonce::new(chance);
            self.window.put(&playlist.next_file(nonce), cut.data.clone());
            COUNTS.hls_segments.increase();
            COUNTS.hls_bytes.add(cut.data.len() as u64);
            playlist.push(cut, nonce);
            playlist.note(self.left_out);
            self.list(&mut playlist);
        });
        self.playlist = Some(playlist);
        match added {
            Ok(()) => {
                self.missed = 0;
                self.tell(self.playable());
            }
            Err(error) => {
                self.missed = self.missed.saturating_add(1);
                // Until then players have something to play, and go on if it was a moment.
                let has_more = self.wires.state.borrow().is_playable();
                if !has_more || self.missed >= self.config.window {
                    self.tell(State::Failing(error.to_string()));
                }
            }
        }
        added.is_ok()
    }

    /// Shows the playlist, and lets go of what no player may ask for any more, or there is no room for.
    fn list(&mut self, playlist: &mut Playlist) {
        let lost = self.window.shrink(self.part.most(self.window.bytes()));
        if let Some(last) = lost.last() {
            playlist.forget_until(last);
            if !std::mem::replace(&mut self.has_no_room, true) {
                warn!(
                    stream = %self.key,
                    "the HLS playlist is shorter than it should be: no room for more (limits.memory)"
                );
            }
        } else {
            self.has_no_room = false;
        }
        let listed: Vec<_> = playlist.listed().collect();
        let mut listing = Listing::new(playlist.render().into(), listed.iter().map(String::as_str));
        listing.is_ended = playlist.has_ended();
        self.window.list(Rendition::MAIN, listing);
        let known: HashSet<_> = playlist.files().collect();
        let files = self.window.files();
        self.window.remove(files.iter().map(|file| &**file).filter(|file| !known.contains(*file)));
    }

    /// The playlist that an earlier process left, else a new one.
    async fn open_playlist(&mut self) -> Playlist {
        self.window.clear();
        let least = match self.disks.files(&self.settings.dir, &self.key) {
            Some(files) => {
                let (window, part) = (&self.window, &self.part);
                match take_up(&self.key, &files, &mut self.config, window, part).await {
                    Ok(playlist) => return playlist,
                    Err(least) => least,
                }
            }
            None => 0,
        };
        let first = since_unix_epoch().as_secs().saturating_sub(FIRST_SEQUENCE_EPOCH).max(least);
        Playlist::starting_at(&self.config, first)
    }

    /// HLS goes without other tracks than before.
    fn leave_out(&mut self, left_out: LeftOut) {
        self.left_out = left_out;
        if let Some(left) = self.codec_lines.checked_sub(1) {
            self.codec_lines = left;
            self.say(left_out);
        }
        if left_out.everything {
            self.window.unlist(Rendition::MAIN);
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

    /// What there is once a segment is written.
    fn playable(&self) -> State {
        match self.left_out {
            // What remains of what there was before.
            left_out if left_out.is_nothing() || left_out.everything => State::Playable,
            left_out => State::Partly(left_out.to_string()),
        }
    }

    async fn finish(&mut self, making: Option<EpochSegmenter>) {
        if let Some(making) = making {
            self.complete(making).await;
        }
        let Some(mut playlist) = self.playlist.take() else { return };
        playlist.end();
        self.list(&mut playlist);
        self.playlist = Some(playlist);
    }

    fn tell(&self, state: State) {
        self.wires.state.send_if_modified(|known| {
            let changed = *known != state;
            *known = state;
            changed
        });
    }
}

impl EpochSegmenter {
    /// Counts what was dropped since the last time; all of it, if there is any.
    fn count_dropped(&mut self) -> Option<Dropped> {
        let dropped = self.segmenter.dropped()?;
        COUNTS.hls_frames_dropped.add(dropped.frames.saturating_sub(self.dropped));
        self.dropped = dropped.frames;
        Some(dropped)
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
