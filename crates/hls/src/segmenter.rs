//! Where one segment ends and the next begins.

use std::{mem, time::Duration};

use bytes::Bytes;
use weir_media::{AudioCodec, Budget, Charge, Content, Frame, Timestamp, Track, Use, VideoCodec};

use crate::{
    Config,
    container::Container,
    error::{Damage, LeftOut},
    pictures::{Picture, Pictures},
    sound::Sound,
    tracks::Tracks,
    ts,
};

/// Bytes after which a segment is cut wherever it is: it is built in memory, and a publisher that never sends a second
/// key frame must not grow it. 32 MiB hold 10 s of 25 Mb/s.
pub const SEGMENT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Length at which a segment is cut wherever it is. The longest GOP that encoders make by default is 250 frames, 25 s
/// at ten frames a second; one longer than a minute is never meant for HLS, and each viewer would wait for it.
pub const SEGMENT_DURATION_MAX: Duration = Duration::from_secs(60);

/// A segment may take this many target lengths of the wall clock: then it is cut at the next key frame however short
/// its own time is, so that viewers of a publisher with a slow clock do not wait for it.
const LATE_RATIO: u32 = 3;

/// What a segment may take of the wall clock, in lengths of [`SEGMENT_DURATION_MAX`]; then it is cut wherever it is.
const LATE_MAX_RATIO: u32 = 2;

/// Pictures that have not come for this many target lengths do not hold the audio back any longer: a camera was
/// switched off. (The same idea as SRS's `hls_aof_ratio`, 2.1.)
const PICTURELESS_RATIO: u32 = 2;

/// Two frames further apart than this, forward or back, are not of one timeline. Ingest repairs smaller jumps.
const HOLE_MAX: Duration = Duration::from_secs(30);

/// How long a frame is taken to last before two of them have been seen: a picture at 25 frames a second.
const FRAME_DURATION: Duration = Duration::from_millis(40);

/// How much of a stream is seen before it is said that a track cannot be carried: cameras send half a second of another
/// codec before the one that they are set to, and pictures begin later than sound.
const SETTLE: Duration = Duration::from_secs(1);

/// A finished segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The whole segment. It begins with the tables that a player needs, then (see [`Segmenter`]) a key frame.
    pub data: Bytes,
    /// From its first decoding time to that of the next segment; at an interruption, to the end of its last frame.
    pub duration: Duration,
    /// Whether it does not continue the segment before it: another codec configuration, another timeline, or lost
    /// frames.
    pub discontinuity: bool,
    /// When its first frame arrived, since the Unix epoch.
    pub program_date_time: Duration,
}

/// Frames that were left out because they are damaged, or of another codec than their track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// How many.
    pub frames: u64,
    /// What was wrong with the newest one.
    pub last: Damage,
}

/// Turns the frames of one stream into segments.
///
/// Where it cuts:
/// - A stream with video is cut at the first key frame that is at least the target length after the segment's start,
///   and a GOP that is longer makes a longer segment. Whether there is video is known from a configuration record of it
///   or a picture. If pictures stop coming for two target lengths, audio is cut on its own.
/// - A stream without video is cut at the first audio packet past the target length.
/// - A stream whose own time is slow is cut after three target lengths of the wall clock, where it may be.
/// - [`SEGMENT_BYTES_MAX`] and [`SEGMENT_DURATION_MAX`] cut anywhere. The next segment then continues in the middle of
///   the GOP, without a discontinuity: players that come from the one before go on, one that starts there waits for a
///   key frame.
///
/// What begins: the first segment starts at the first key frame, audio before it is dropped. Audio that was first alone
/// does not get in the way of the video that follows it: its unfinished segment is dropped if it was to be the stream's
/// first. Audio that turns up during the first segment of a run joins it; later, or with another configuration, it
/// starts with the next key frame. Its configuration alone is no track, and neither is audio of which nothing came
/// during a segment: players wait for a track that a segment names.
///
/// What interrupts: another video configuration, be it a record or in the stream itself, lost frames
/// ([`Segmenter::skipped`]) and a hole in the timeline end the segment at once, and everything up to the next key frame
/// is dropped. Another audio configuration and a new [`epoch`](Frame::epoch) end it at the next key frame. The segment
/// after each of them has [`discontinuity`](Cut::discontinuity) set.
///
/// What is one picture: messages of the same times, of which the first alone has the picture's beginning.
///
/// What is left out: a track whose codec cannot be carried ([`Segmenter::left_out`]), while the other one goes on; and
/// packets of another codec than their track's, until a configuration or several in a row say that it has changed.
///
/// Only track 0 of each kind is carried.
pub struct Segmenter {
    target: Duration,
    container: Box<dyn Container>,
    /// What the open segment carries; when there is none, the one before it.
    tracks: Tracks,
    /// What the next one will carry.
    next_tracks: Tracks,
    pictures: Pictures,
    sound: Sound,
    /// Whether sound flows: its configuration alone is no track, for which players would wait.
    speaks: bool,
    open: Option<Open>,
    /// Ended, not handed out yet.
    ended: Option<Cut>,
    /// Whether the next segment does not continue the one before it.
    interrupted: bool,
    /// Whether a segment was handed out or is about to be.
    started: bool,
    /// Of the newest frame.
    epoch: Option<u32>,
    /// Decoding time of the newest frame.
    last: Option<Timestamp>,
    /// Decoding time of the newest picture; before the first one since an interruption, of the first audio that waits
    /// for it.
    last_picture: Option<Timestamp>,
    /// Decoding time of the first frame; none once [`SETTLE`] has passed since.
    first: Option<Timestamp>,
    settled: bool,
    /// The newest picture: when it is decoded and shown, and whether it is in the open segment.
    newest: Option<(Timestamp, Timestamp, bool)>,
    /// Distance of the newest two frames of the track that sets the pace: what the last one of a stream will last.
    spacing: Duration,
    dropped: Option<Dropped>,
    /// What is held counts here.
    charge: Option<Charge>,
}

/// A segment whose bytes count for as long as anybody holds them.
struct Counted {
    data: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// A segment that is cut because there is no memory to go on has at least this length; a shorter one is given up with
/// the rest of its group, so that no flood of tiny files follows.
const SHORT_BYTES_MIN: usize = 256 * 1024;

/// The segment being filled.
struct Open {
    start: Timestamp,
    wall: Duration,
    discontinuity: bool,
    /// Whether it is the first since an interruption or the beginning.
    leads: bool,
    /// Decoding time of the newest frame of the track that sets the pace: pictures, or sound without them.
    last: Timestamp,
    /// Whether sound has come meanwhile.
    speaks: bool,
}

/// A segment of this length without any sound is the last that says that there is some.
const SILENT: Duration = Duration::from_secs(1);

impl Segmenter {
    /// A segmenter that has seen nothing.
    pub fn new(config: &Config) -> Self {
        Self {
            target: config.target,
            container: Box::new(ts::Muxer::new()),
            tracks: Tracks::default(),
            next_tracks: Tracks::default(),
            pictures: Pictures::default(),
            sound: Sound::default(),
            speaks: false,
            open: None,
            ended: None,
            interrupted: false,
            started: false,
            epoch: None,
            last: None,
            last_picture: None,
            first: None,
            settled: false,
            newest: None,
            spacing: FRAME_DURATION,
            dropped: None,
            charge: None,
        }
    }

    /// Aims at segments of another length, the one in the making included.
    pub fn set_target(&mut self, target: Duration) {
        self.target = target;
    }

    /// When the segment in the making begins.
    pub fn open_since(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|open| open.start)
    }

    /// What is held counts against `budget` from now on, segments that were handed out included. Where it has no room,
    /// a segment is cut early, or given up up to the next key frame.
    pub fn limit_to(&mut self, budget: &Budget) {
        self.charge = Some(Charge::new(budget, Use::Segments));
    }

    /// Takes the stream's next frame; returns a segment when one has ended before it. `wall` is the time since the Unix
    /// epoch at which the frame arrived.
    ///
    /// A damaged frame is left out and counted in [`Segmenter::dropped`].
    pub fn push(&mut self, frame: &Frame, wall: Duration) -> Option<Cut> {
        let carried = matches!(frame.track, Track::Video(0) | Track::Audio(0));
        if carried && let Err(damage) = self.take(frame, wall) {
            let frames = self.dropped.map_or(0, |dropped| dropped.frames);
            self.dropped = Some(Dropped { frames: frames.saturating_add(1), last: damage });
        }
        self.ended.take()
    }

    /// Which tracks cannot be carried; none as long as there is not enough of the stream to say.
    pub fn left_out(&self) -> Option<LeftOut> {
        let (pictures, sound) = (self.pictures.left_out(), self.sound.left_out());
        let is_none = self.next_tracks.video.is_none() && self.next_tracks.audio.is_none();
        let everything = is_none && (pictures.is_some() || sound.is_some());
        let is_known = self.settled || pictures.is_some() && sound.is_some();
        is_known.then_some(LeftOut { pictures, sound, everything })
    }

    /// The stream ended: its last segment, which may be shorter than the others.
    pub fn finish(&mut self) -> Option<Cut> {
        self.interrupt();
        self.ended.take()
    }

    /// The reader lost frames: the segment ends here, and the next begins at a key frame, with a discontinuity.
    pub fn skipped(&mut self) {
        self.interrupt();
    }

    /// Frames that were left out because they are damaged or strangers, if there were any.
    pub fn dropped(&self) -> Option<Dropped> {
        self.dropped
    }

    /// Notices breaks in the timeline, before `frame` becomes a part of it. Configuration records do not count: those
    /// that a late reader is given first are as old as the stream.
    fn note_time(&mut self, frame: &Frame) {
        let apart = |last: Timestamp| {
            frame.dts.saturating_since(last).max(last.saturating_since(frame.dts))
        };
        if self.last.is_some_and(|last| apart(last) > HOLE_MAX) {
            self.interrupt();
            self.first = None;
        }
        let first = *self.first.get_or_insert(frame.dts);
        self.settled |= frame.dts.saturating_since(first) >= SETTLE;
        if self.epoch.is_some_and(|epoch| epoch != frame.epoch) {
            self.interrupted = true;
            self.last_picture = None;
        }
        self.last = Some(frame.dts);
        self.epoch = Some(frame.epoch);
    }

    fn take(&mut self, frame: &Frame, wall: Duration) -> Result<(), Damage> {
        match frame.content {
            Content::VideoConfig(codec) => self.configure_video(codec, frame),
            Content::AudioConfig(codec) => self.configure_audio(codec, &frame.payload),
            Content::Video { codec, key, .. } => self.picture(codec, key, frame, wall),
            Content::Audio(codec) => self.sound(codec, frame, wall),
            _ => Ok(()),
        }
    }

    fn configure_video(&mut self, codec: VideoCodec, frame: &Frame) -> Result<(), Damage> {
        let read = self.pictures.configure(codec, &frame.payload);
        self.turn_pictures();
        read
    }

    fn configure_audio(&mut self, codec: AudioCodec, record: &Bytes) -> Result<(), Damage> {
        if self.sound.configure(codec, record)? && self.speaks {
            self.turn_sound();
        }
        Ok(())
    }

    /// Segments have other pictures from here on, or none.
    fn turn_pictures(&mut self) {
        let carried = self.pictures.carried();
        if self.next_tracks.video.as_ref() == carried {
            return;
        }
        let before = mem::replace(&mut self.next_tracks.video, carried.cloned());
        if before.is_none() && !self.started {
            self.open = None;
        }
        self.interrupt();
    }

    /// Segments have other sound from the next one on, or none.
    fn turn_sound(&mut self) {
        self.next_tracks.audio = self.sound.carried().cloned();
        if self.next_tracks == Tracks::default() {
            self.interrupt();
        }
    }

    fn picture(
        &mut self,
        codec: VideoCodec,
        key: bool,
        frame: &Frame,
        wall: Duration,
    ) -> Result<(), Damage> {
        if self.pictures.turn(codec)? {
            self.turn_pictures();
        }
        self.note_time(frame);
        if self.pictures.left_out().is_some() {
            return Ok(());
        }
        let Some(picture) = self.pictures.take(codec, frame)? else { return Ok(()) };
        if picture.survey.continues
            && let Some((dts, pts, is_written)) = self.newest
            && (dts, pts) == (frame.dts, frame.pts())
        {
            return if is_written { self.rest_of_picture(codec, picture, frame) } else { Ok(()) };
        }
        self.newest = None;
        if picture.is_key {
            // What the stream itself says of its pictures counts from a key frame on.
            self.turn_pictures();
        }
        let marked;
        let frame = if picture.is_key && !key {
            marked = as_key(frame);
            &marked
        } else {
            frame
        };
        let staged = match self.pictures.carried() {
            Some(format) => self.container.stage_video(format, picture.survey, frame),
            None => Err(Damage::NoVideoConfig(codec)),
        };
        self.pictures.clear(codec);
        let bytes = staged?;
        self.last_picture = Some(frame.dts);
        let has_place = self.place(frame, bytes, picture.is_key, wall);
        if has_place {
            self.write(frame);
        }
        self.newest = Some((frame.dts, frame.pts(), has_place));
        Ok(())
    }

    /// Some encoders send each slice of a picture in a message of its own: they are one access unit.
    fn rest_of_picture(
        &mut self,
        codec: VideoCodec,
        picture: Picture,
        frame: &Frame,
    ) -> Result<(), Damage> {
        let staged = match self.pictures.carried() {
            Some(format) => self.container.stage_rest(format, picture.survey, frame),
            None => Err(Damage::NoVideoConfig(codec)),
        };
        self.pictures.clear(codec);
        let bytes = staged?;
        if self.open.is_none() {
            return Ok(());
        }
        if !self.fits(bytes) || self.container.len().saturating_add(bytes) > SEGMENT_BYTES_MAX {
            // Nobody can do anything with a part.
            self.interrupt();
            return Ok(());
        }
        self.container.write_rest();
        self.count();
        Ok(())
    }

    fn sound(&mut self, codec: AudioCodec, frame: &Frame, wall: Duration) -> Result<(), Damage> {
        let has_turned = self.sound.packet(codec, &frame.payload)?;
        if !mem::replace(&mut self.speaks, true) || has_turned {
            self.turn_sound();
        }
        self.note_time(frame);
        if self.sound.left_out().is_some() {
            return Ok(());
        }
        let Some(format) = &self.next_tracks.audio else {
            return Err(Damage::NoAudioConfig(codec));
        };
        let bytes = self.container.stage_audio(format, frame)?;
        let may_begin = self.audio_leads(frame.dts);
        let has_place = self.place(frame, bytes, may_begin, wall);
        if let Some(open) = &mut self.open {
            open.speaks = true;
        }
        if has_place && self.audio_fits() {
            self.write(frame);
        }
        Ok(())
    }

    /// Whether audio may begin a segment: there is no video, or none has come for long.
    fn audio_leads(&mut self, now: Timestamp) -> bool {
        let waited = now.saturating_since(*self.last_picture.get_or_insert(now));
        let pictureless = waited >= self.target.saturating_mul(PICTURELESS_RATIO);
        self.next_tracks.video.is_none() || pictureless
    }

    /// Whether the open segment has the audio track in its present configuration, after letting it join if it may.
    fn audio_fits(&mut self) -> bool {
        if self.tracks.audio.is_none() && self.open.as_ref().is_some_and(|open| open.leads) {
            self.tracks.audio.clone_from(&self.next_tracks.audio);
        }
        self.tracks.audio == self.next_tracks.audio
    }

    /// Ends and begins segments so that `frame` can be written; false when it has no place. `may_begin`: whether
    /// decoding may start at it.
    fn place(&mut self, frame: &Frame, bytes: usize, may_begin: bool, wall: Duration) -> bool {
        let is_short = !self.fits(bytes);
        if is_short && self.container.len() < SHORT_BYTES_MIN {
            self.open = None;
            self.interrupted = true;
        }
        let cut = match &self.open {
            None => may_begin && !is_short,
            Some(_) if is_short => true,
            Some(open) => {
                let length = frame.dts.saturating_since(open.start);
                let took = wall.saturating_sub(open.wall);
                let is_long =
                    length >= self.target || took >= self.target.saturating_mul(LATE_RATIO);
                may_begin && (is_long || self.breaks(open))
                    || length >= SEGMENT_DURATION_MAX
                    || took >= SEGMENT_DURATION_MAX.saturating_mul(LATE_MAX_RATIO)
                    || self.container.len().saturating_add(bytes) > SEGMENT_BYTES_MAX
            }
        };
        if cut {
            self.end(Some(frame.dts));
            if is_short {
                // What continues this group would have no room either.
                self.interrupted = true;
                return false;
            }
            self.begin(frame, wall);
        }
        let Some(open) = &mut self.open else { return false };
        if (frame.is_picture() || may_begin) && frame.dts > open.last {
            self.spacing = frame.dts.saturating_since(open.last);
            open.last = frame.dts;
        }
        true
    }

    /// Whether there is memory for a frame of `bytes` more.
    fn fits(&self, bytes: usize) -> bool {
        let growth = self.container.growth(bytes);
        growth == 0 || self.charge.as_ref().is_none_or(|charge| charge.fits(growth))
    }

    fn write(&mut self, frame: &Frame) {
        self.container.write(frame);
        self.count();
    }

    fn count(&mut self) {
        if let Some(charge) = &mut self.charge {
            charge.set(self.container.capacity());
        }
    }

    /// The segment that ends here, counted as long as it is held.
    fn take_segment(&mut self) -> Bytes {
        let data = self.container.take(&self.tracks);
        self.count();
        let Some(charge) = &self.charge else { return data };
        let mut handed_out = Charge::new(charge.budget(), Use::HlsWindow);
        handed_out.add(data.len());
        Bytes::from_owner(Counted { data, _charge: handed_out })
    }

    /// Whether the next segment will not continue `open`.
    fn breaks(&self, open: &Open) -> bool {
        let joins = open.leads && self.tracks.audio.is_none();
        self.interrupted || self.tracks.audio != self.next_tracks.audio && !joins
    }

    fn begin(&mut self, frame: &Frame, wall: Duration) {
        let changed = self.tracks != self.next_tracks;
        let interrupted = mem::take(&mut self.interrupted) || changed;
        self.tracks.clone_from(&self.next_tracks);
        let discontinuity = interrupted && self.started;
        self.container.begin(&self.tracks, discontinuity);
        self.open = Some(Open {
            start: frame.dts,
            wall,
            discontinuity,
            leads: interrupted || !self.started,
            last: frame.dts,
            speaks: false,
        });
    }

    /// Ends the open segment here, and lets the next one begin with a discontinuity.
    fn interrupt(&mut self) {
        self.end(None);
        self.interrupted = true;
        self.last_picture = None;
    }

    /// Ends the open segment. `next` is where the following one starts, if that continues it; otherwise the last frame
    /// is taken to last as long as the one before it.
    fn end(&mut self, next: Option<Timestamp>) {
        let Some(open) = self.open.take() else { return };
        self.newest = self.newest.map(|(dts, pts, _)| (dts, pts, false));
        let next = next
            .filter(|next| !self.interrupted && *next > open.start)
            .unwrap_or(open.last + self.spacing);
        if !open.speaks && next.saturating_since(open.start) >= SILENT {
            // Until it speaks again.
            self.speaks = false;
            self.next_tracks.audio = None;
        }
        let data = self.take_segment();
        self.ended = Some(Cut {
            data,
            duration: next.saturating_since(open.start),
            discontinuity: open.discontinuity,
            program_date_time: open.wall,
        });
        self.started = true;
    }
}

/// A key frame that its sender has not marked as one.
fn as_key(frame: &Frame) -> Frame {
    let content = match frame.content {
        Content::Video { codec, composition, .. } => {
            Content::Video { codec, key: true, composition }
        }
        other => other,
    };
    Frame { content, ..frame.clone() }
}

#[cfg(test)]
mod tests;
