//! The task that segments one stream.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::watch, time::timeout};
use tracing::{debug, error, info, warn};
use weir_hls::{Config, Cut, Dropped, LeftOut, Nonce, Playlist, SegmentName, Segmenter};
use weir_hub::{Batch, Item, Reader, Registry, Start, Status};
use weir_media::{Frame, Init, StreamKey};

use super::{
    DISPOSE, State, Stopping,
    files::{Files, is_of},
};
use crate::{config::Hls, metrics::COUNTS, wake::Alarm};

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
    files: Files,
    registry: Registry,
    alarm: Arc<Alarm>,
    reader: Reader,
    state: watch::Sender<State>,
    /// Whether the process is going to stop.
    stopping: watch::Receiver<Stopping>,
    /// None until the first run has looked for one on disk.
    playlist: Option<Playlist>,
    /// What HLS goes without.
    left_out: LeftOut,
    /// Lines that may still be logged about that.
    codec_lines: u32,
}

/// The segmenting of one epoch of the stream's timeline.
struct Making {
    epoch: u32,
    segmenter: Segmenter,
    /// Frames that it has dropped and that are counted.
    dropped: u64,
    /// The next segment does not continue the one before.
    interrupted: bool,
}

impl Follower {
    /// A follower of `key` that says in `state` what there is.
    pub fn new(
        registry: &Registry,
        key: &StreamKey,
        settings: &Hls,
        files: Files,
        state: watch::Sender<State>,
        stopping: watch::Receiver<Stopping>,
    ) -> Self {
        let config = Config {
            target: settings.segment,
            window: settings.window,
            ..Config::new(files.stem())
        };
        let alarm = Arc::new(Alarm::default());
        Self {
            reader: registry.follow(key, Start::OldestGroup, Arc::clone(&alarm) as _),
            registry: registry.clone(),
            files,
            key: key.clone(),
            playlist: None,
            left_out: LeftOut::default(),
            codec_lines: CODEC_LINES_MAX,
            config,
            alarm,
            state,
            stopping,
        }
    }

    /// Whether somebody publishes the stream.
    pub fn is_live(&self) -> bool {
        matches!(self.reader.status(), Status::Live | Status::Lingering)
    }

    /// Segments until the stream has not been published for [`DISPOSE`]; then its files are gone.
    pub async fn run(&mut self) {
        loop {
            // Boxed, so that a stream that has ended does not hold the room for segmenting until it is disposed of.
            Box::pin(self.segment()).await;
            if *self.stopping.borrow() != Stopping::No {
                return;
            }
            let mut stopping = self.stopping.clone();
            tokio::select! {
                again = timeout(DISPOSE, self.until_published()) => if again.is_err() { break },
                () = becomes(&mut stopping, Stopping::WithPublishers) => return,
            }
        }
        self.files.remove_all().await;
        self.playlist = None;
    }

    /// Waits for the next publish, which may be over by the time this is looked at.
    async fn until_published(&self) {
        while self.reader.status() == Status::Waiting {
            self.alarm.rang().await;
        }
    }

    /// Segments one stream from its beginning to its end.
    async fn segment(&mut self) {
        let mut making: Option<Making> = None;
        self.codec_lines = CODEC_LINES_MAX;
        let mut batch = Batch::default();
        loop {
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
            let stopping = *self.stopping.borrow();
            let is_left = !matches!(status, Status::Live | Status::Waiting);
            if stopping == Stopping::Now || (stopping == Stopping::WithPublishers && is_left) {
                if let Some(making) = making {
                    self.complete(making).await;
                }
                return;
            }
            if status == Status::Ended {
                // The stream that ended is not the one that may come, and go again, while the end is written.
                self.reader = self.registry.follow(
                    &self.key,
                    Start::OldestGroup,
                    Arc::clone(&self.alarm) as _,
                );
                return self.finish(making).await;
            }
            tokio::select! {
                () = self.alarm.rang() => {}
                () = more_than(&mut self.stopping, stopping) => {}
            }
        }
    }

    /// Starts on frames that do not continue those before them; `init` is what comes before the first.
    async fn begin(&mut self, before: Option<Making>, epoch: u32, init: &Init) -> Making {
        if let Some(making) = before {
            self.complete(making).await;
        }
        // A playlist has segments of what was before, be it of this stream or of one that has ended.
        let interrupted = self.playlist.is_some();
        let mut segmenter = Segmenter::new(&self.config);
        segmenter.limit_to(self.registry.budget());
        let mut making = Making { epoch, segmenter, dropped: 0, interrupted };
        for known in init.frames() {
            self.take(&mut making, known).await;
        }
        making
    }

    /// Takes one frame in, and writes the segment that it finishes.
    async fn take(&mut self, making: &mut Making, frame: &Frame) {
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
            self.leave_out(left_out).await;
        }
    }

    /// Writes what the segmenter still holds.
    async fn complete(&mut self, making: Making) {
        let mut making = making;
        if let Some(dropped) = making.count_dropped() {
            info!(stream = %self.key, frames = dropped.frames, last = %dropped.last, "HLS left damaged frames out");
        }
        let Making { mut segmenter, mut interrupted, .. } = making;
        if let Some(cut) = segmenter.finish() {
            self.write_next(&mut interrupted, cut).await;
        }
    }

    async fn write_next(&mut self, interrupted: &mut bool, mut cut: Cut) -> bool {
        cut.discontinuity |= std::mem::take(interrupted);
        self.write(&cut).await
    }

    /// Writes a segment, then the playlist that names it. False if that failed.
    async fn write(&mut self, cut: &Cut) -> bool {
        let mut playlist = match self.playlist.take() {
            Some(playlist) => playlist,
            None => self.open_playlist().await,
        };
        let written = self.add(&mut playlist, cut).await;
        if let Err(error) = &written {
            let path = self.files.path(&self.files.playlist());
            COUNTS.hls_errors.increase();
            error!(stream = %self.key, path = %path.display(), %error, "cannot write HLS: a segment is lost");
        } else {
            self.tell(self.playable());
        }
        self.playlist = Some(playlist);
        written.is_ok()
    }

    async fn add(&self, playlist: &mut Playlist, cut: &Cut) -> io::Result<()> {
        let nonce = Nonce::new(getrandom::u64()?);
        self.files.write(playlist.next_file(nonce), cut.data.clone()).await?;
        COUNTS.hls_segments.increase();
        COUNTS.hls_bytes.add(cut.data.len() as u64);
        let expired = playlist.push(cut, nonce);
        playlist.note(self.left_out);
        let written = self.write_playlist(playlist).await;
        self.files.remove(expired).await;
        written
    }

    async fn write_playlist(&self, playlist: &Playlist) -> io::Result<()> {
        self.files.write(self.files.playlist(), playlist.render().into()).await?;
        COUNTS.hls_playlists.increase();
        Ok(())
    }

    /// The playlist that is on disk, else a new one.
    async fn open_playlist(&mut self) -> Playlist {
        if let Err(error) = self.files.prepare().await {
            // What is written next fails for the same reason, which is said then.
            debug!(stream = %self.key, %error, "the HLS folder is not to be had");
        }
        self.config.name = self.files.stem();
        let on_disk = self.files.segments().await;
        let newest = on_disk.iter().map(|name| name.sequence).max();
        let after_all = newest.map_or(0, |newest| newest.saturating_add(1));
        let first =
            since_unix_epoch().as_secs().saturating_sub(FIRST_SEQUENCE_EPOCH).max(after_all);
        let resumed = match self.files.read_playlist().await {
            Ok(None) => None,
            Ok(Some(text)) => {
                Some(Playlist::resume(&self.config, &text).map_err(|error| error.to_string()))
            }
            Err(error) => Some(Err(error.to_string())),
        };
        let playlist = match resumed {
            Some(Ok(playlist)) => playlist,
            Some(Err(error)) => {
                warn!(stream = %self.key, error, "the HLS playlist on disk cannot be continued; starting a new one");
                Playlist::starting_at(&self.config, first)
            }
            None => Playlist::starting_at(&self.config, first),
        };
        self.remove_strays(&playlist, on_disk).await;
        playlist
    }

    /// Removes segments that an earlier process wrote and the playlist does not know any more.
    async fn remove_strays(&self, playlist: &Playlist, on_disk: Vec<SegmentName>) {
        let (known, list, stem) =
            (playlist.files().collect::<Vec<_>>(), playlist.render(), &self.config.name);
        let ours = on_disk.into_iter().filter(|name| is_of(&list, stem, *name));
        let strays = ours.map(|name| name.file(stem)).filter(|file| !known.contains(file));
        self.files.remove(strays.collect()).await;
    }

    /// HLS goes without other tracks than before.
    async fn leave_out(&mut self, left_out: LeftOut) {
        self.left_out = left_out;
        if let Some(left) = self.codec_lines.checked_sub(1) {
            self.codec_lines = left;
            self.say(left_out);
        }
        if left_out.everything {
            self.files.remove(vec![self.files.playlist()]).await;
            self.tell(State::Unsupported(left_out.to_string()));
        } else if self.state.borrow().is_playable() {
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
            warn!(%stream, reason = %left_out, "HLS leaves a track out; RTMP and HTTP-FLV carry it");
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

    async fn finish(&mut self, making: Option<Making>) {
        if let Some(making) = making {
            self.complete(making).await;
        }
        let Some(playlist) = &mut self.playlist else { return };
        playlist.end();
        let playlist = playlist.clone();
        if let Err(error) = self.write_playlist(&playlist).await {
            COUNTS.hls_errors.increase();
            error!(stream = %self.key, %error, "cannot write the end of an HLS playlist");
        }
    }

    fn tell(&self, state: State) {
        self.state.send_if_modified(|known| {
            let changed = *known != state;
            *known = state;
            changed
        });
    }
}

impl Making {
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

fn since_unix_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
