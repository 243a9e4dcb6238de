//! Frames to fragmented MP4: init segments, parts and segments.

mod pieces;
mod tracks;

use std::{mem, time::Duration};

use bytes::Bytes;
use weir_media::{AudioCodec, Budget, Charge, Content, Frame, Timestamp, Track, Use, VideoCodec};
use weir_mp4::{Fragment, Muxer, SampleEntry, Unfit};

use self::{
    pieces::Counted,
    tracks::{Picture, Tracks},
};
use crate::{SEGMENT_BYTES_MAX, error::Damage};

/// What a frame costs beside its bytes while it waits.
const FRAME_COST: usize = 96;

/// A segment may take this many target lengths of the wall clock; see [`Segmenter`](crate::Segmenter).
const LATE_RATIO: u32 = 3;

/// Pictures that have not come for this many target lengths do not hold the sound back any longer.
const PICTURELESS_RATIO: u32 = 2;

/// Two frames further apart than this are not of one timeline.
const HOLE_MAX: Duration = Duration::from_secs(30);

/// A segment of this length without any sound is the last that says that there is some.
const SILENT: Duration = Duration::from_secs(1);

/// How long a frame is taken to last before two of one track have been seen.
const FRAME_DURATION: Duration = Duration::from_millis(40);

/// How long a part may be, in percent of the frames at a stream's beginning, where one frame is all that it can have.
const SLOW_PERCENT: u32 = 110;

/// How long segments and parts are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// A segment ends at the first key frame that is at least this far from its start.
    pub target: Duration,
    /// No segment is longer, wherever it has to end: [`Terms::longest`](crate::Terms::longest).
    pub longest: Duration,
    /// What parts are to be at most; see [`CmafSegmenter::part_target`]. Without it there are none.
    pub part: Option<Duration>,
}

/// What comes out, in this order: `Init` where it is another one than before, `Begin`, parts, `Segment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CmafEvent {
    /// The init segment of what follows.
    Init(Bytes),
    /// A segment begins.
    Begin {
        /// Whether it does not continue the one before it.
        discontinuity: bool,
        /// When its first frame arrived, since the Unix epoch.
        program_date_time: Duration,
    },
    /// A part of it is there.
    Part {
        /// One fragment.
        data: Bytes,
        /// To the decoding time of the next part's first frame.
        duration: Duration,
        /// Whether decoding can begin with it.
        independent: bool,
    },
    /// It is complete.
    Segment(CmafSegment),
}

/// A complete segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmafSegment {
    /// Its fragments, one after the other: those of its parts.
    pub data: Vec<Bytes>,
    /// The sum of its parts' durations.
    pub duration: Duration,
    /// As in [`CmafEvent::Begin`].
    pub discontinuity: bool,
    /// As in [`CmafEvent::Begin`].
    pub program_date_time: Duration,
    /// How many pictures it has.
    pub pictures: u32,
}

/// Turns the frames of one stream into CMAF segments and their parts.
///
/// The cut rules are those of [`Segmenter`](crate::Segmenter): segments begin at key frames; sound is cut on its own
/// where there are no pictures, or none come for two target lengths; another configuration, lost frames and a hole in
/// the timeline are breaks, after which everything up to a key frame is dropped. A segment that would be longer than
/// [`Lengths::longest`] ends in the middle of its group, and the next one with that group.
///
/// Parts end where the next frame would make them longer than the part target, or with their segment; no part is longer
/// unless a single frame is. Where frames come regularly, parts that are not their segment's last have 85 % of it.
///
/// The init segment is made when the first part or segment is cut, so that sound that comes a little after the first
/// picture has its place in it. Sound that comes later, or with another configuration, begins with the next key frame.
///
/// Frames that are marked as strays are left out; only track 0 of each kind is carried.
pub struct CmafSegmenter {
    lengths: Lengths,
    part_target: Option<Duration>,
    tracks: Tracks,
    /// None until the first cut after a break.
    muxer: Option<Muxer>,
    /// Frames that wait for it.
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    open: Option<Open>,
    /// The init segment that was handed out last, and the tracks in it.
    init: Option<Bytes>,
    entries: Vec<SampleEntry>,
    interrupted: bool,
    started: bool,
    epoch: Option<u32>,
    last: Option<Timestamp>,
    last_picture: Option<Timestamp>,
    /// When the newest picture is decoded and shown, if it is in the open segment.
    newest_picture: Option<(Timestamp, Timestamp)>,
    spacing: Duration,
    dropped: u64,
    damage: Option<Damage>,
    charge: Option<Charge>,
    events: Vec<CmafEvent>,
}

enum Waiting {
    Frame(Frame),
    /// What belongs to the picture before it.
    Rest(Frame),
}

/// The segment in the making.
#[derive(Debug)]
struct Open {
    start: Timestamp,
    part_start: Timestamp,
    wall: Duration,
    discontinuity: bool,
    /// Whether `Begin` was handed out.
    begun: bool,
    /// Decoding time of the newest frame of the track that sets the pace, and when that arrived.
    newest: Timestamp,
    newest_wall: Duration,
    /// Whether it begins where decoding can.
    independent: bool,
    data: Vec<Bytes>,
    bytes: usize,
    pictures: u32,
    speaks: bool,
}

impl Open {
    fn new(start: Timestamp, wall: Duration, discontinuity: bool, independent: bool) -> Self {
        Self {
            start,
            part_start: start,
            wall,
            discontinuity,
            begun: false,
            newest: start,
            newest_wall: wall,
            independent,
            data: Vec::new(),
            bytes: 0,
            pictures: 0,
            speaks: false,
        }
    }
}

impl CmafSegmenter {
    /// A segmenter that has seen nothing.
    pub fn new(lengths: Lengths) -> Self {
        Self {
            lengths,
            part_target: None,
            tracks: Tracks::default(),
            muxer: None,
            waiting: Vec::new(),
            waiting_bytes: 0,
            open: None,
            init: None,
            entries: Vec::new(),
            interrupted: false,
            started: false,
            epoch: None,
            last: None,
            last_picture: None,
            newest_picture: None,
            spacing: FRAME_DURATION,
            dropped: 0,
            damage: None,
            charge: None,
            events: Vec::new(),
        }
    }

    /// What is held counts against `budget` from now on, what was handed out included. Where it has no room, the
    /// segment ends, and what follows is dropped up to the next key frame.
    pub fn limit_to(&mut self, budget: &Budget) {
        self.charge = Some(Charge::new(budget, Use::Segments));
    }

    /// Aims at segments of another length, the one in the making included.
    pub fn set_target(&mut self, target: Duration) {
        self.lengths.target = target;
    }

    /// When the segment in the making begins.
    pub fn open_since(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|open| open.start)
    }

    /// PART-TARGET, once the first part is there: as many whole frames as fit into what was asked for, by the distance
    /// of the stream's first two; at least one. It never changes.
    pub fn part_target(&self) -> Option<Duration> {
        self.part_target
    }

    /// How the tracks are coded that the newest init segment has.
    pub fn entries(&self) -> &[SampleEntry] {
        &self.entries
    }

    /// Why there are no pictures and no sound, if the stream has some and they cannot be carried.
    pub fn left_out(&self) -> (Option<Unfit>, Option<Unfit>) {
        self.tracks.left_out()
    }

    /// How many frames were left out because they are damaged, and what was wrong with the newest.
    pub fn dropped(&self) -> (u64, Option<Damage>) {
        (self.dropped, self.damage)
    }

    /// Takes the stream's next frame. `wall` is the time since the Unix epoch at which it arrived.
    pub fn push(&mut self, frame: &Frame, wall: Duration) -> Vec<CmafEvent> {
        if !frame.stray && matches!(frame.track, Track::Video(0) | Track::Audio(0)) {
            match frame.content {
                Content::VideoConfig(codec) => self.configure_video(codec, frame),
                Content::AudioConfig(codec) => self.configure_audio(codec, frame),
                Content::Video { codec, .. } => self.picture(codec, frame, wall),
                Content::Audio(codec) => {
                    self.note_time(frame);
                    if self.tracks.is_other_audio(codec, None) {
                        self.settle();
                    }
                    if self.tracks.sound(codec, &frame.payload) {
                        self.sound(frame, wall);
                    }
                }
                _ => {}
            }
        }
        self.count();
        mem::take(&mut self.events)
    }

    /// The reader lost frames: the segment ends here, and the next begins at a key frame, with a discontinuity.
    pub fn skipped(&mut self) -> Vec<CmafEvent> {
        self.finish()
    }

    /// The stream ended: the rest of it.
    pub fn finish(&mut self) -> Vec<CmafEvent> {
        self.interrupt();
        self.count();
        mem::take(&mut self.events)
    }

    fn configure_video(&mut self, codec: VideoCodec, frame: &Frame) {
        if self.tracks.is_other_video(codec, Some(&frame.payload)) {
            self.interrupt();
        }
        self.tracks.configure_video(codec, &frame.payload);
    }

    fn configure_audio(&mut self, codec: AudioCodec, frame: &Frame) {
        if self.tracks.is_other_audio(codec, Some(&frame.payload)) {
            self.settle();
        }
        self.tracks.configure_audio(codec, &frame.payload);
    }

    /// Frames that wait are of the tracks as they were until now.
    fn settle(&mut self) {
        if !self.waiting.is_empty() {
            self.open_muxer();
        }
    }

    fn note_time(&mut self, frame: &Frame) {
        let apart = |last: Timestamp| {
            frame.dts.saturating_since(last).max(last.saturating_since(frame.dts))
        };
        let has_hole = self.last.is_some_and(|last| apart(last) > HOLE_MAX);
        if has_hole || self.epoch.is_some_and(|epoch| epoch != frame.epoch) {
            self.interrupt();
        }
        self.last = Some(frame.dts);
        self.epoch = Some(frame.epoch);
    }

    fn picture(&mut self, codec: VideoCodec, frame: &Frame, wall: Duration) {
        self.note_time(frame);
        if self.tracks.is_other_video(codec, None) {
            self.interrupt();
        }
        let Picture { frame, continues } = match self.tracks.picture(frame) {
            Ok(Some(picture)) => picture,
            Ok(None) => return,
            Err(damage) => {
                self.dropped = self.dropped.saturating_add(1);
                self.damage = Some(damage);
                return;
            }
        };
        let times = (frame.dts, frame.pts());
        if continues && self.newest_picture == Some(times) {
            self.take_rest(&frame);
            return;
        }
        self.last_picture = Some(frame.dts);
        self.newest_picture = None;
        if self.place(&frame, true, frame.is_key(), wall) {
            self.newest_picture = Some(times);
            self.take(frame, wall);
        }
    }

    /// Some encoders send each slice of a picture in a message of its own: they are one sample.
    fn take_rest(&mut self, frame: &Frame) {
        let cost = frame.payload.len().saturating_add(FRAME_COST);
        let has_room = self.charge.as_ref().is_none_or(|charge| charge.fits(cost))
            && self.held().saturating_add(cost) <= SEGMENT_BYTES_MAX;
        let is_taken = match &mut self.muxer {
            _ if !has_room => false,
            Some(muxer) => muxer.append(frame).is_ok(),
            None => {
                self.waiting_bytes += cost;
                self.waiting.push(Waiting::Rest(frame.clone()));
                true
            }
        };
        if !is_taken {
            // Nobody can do anything with a part of a picture.
            self.interrupt();
        }
    }

    fn sound(&mut self, frame: &Frame, wall: Duration) {
        if self.tracks.has_pictures() {
            let waited = frame.dts.saturating_since(*self.last_picture.get_or_insert(frame.dts));
            if waited >= self.lengths.target.saturating_mul(PICTURELESS_RATIO) {
                // A camera was switched off.
                self.interrupt();
                self.tracks.lose_pictures();
            }
        }
        let leads = !self.tracks.has_pictures();
        if self.place(frame, leads, leads, wall) {
            if let Some(open) = &mut self.open {
                open.speaks = true;
            }
            let has_place = self.muxer.as_ref().is_none_or(|muxer| self.tracks.has_sound_of(muxer));
            if has_place {
                self.take(frame.clone(), wall);
            }
        }
    }

    /// Cuts before `frame` where that is due; whether `frame` has a place then. `leads`: whether it is of the track
    /// that sets the pace.
    fn place(&mut self, frame: &Frame, leads: bool, may_begin: bool, wall: Duration) -> bool {
        let cost = frame.payload.len().saturating_add(FRAME_COST);
        if self.charge.as_ref().is_some_and(|charge| !charge.fits(cost)) {
            self.interrupt();
            return false;
        }
        if leads {
            self.keep_short(frame.dts);
        }
        let Some(open) = &self.open else {
            if may_begin {
                self.begin(frame.dts, wall, true);
            }
            return may_begin;
        };
        if !leads {
            return true;
        }
        let is_long = frame.dts.saturating_since(open.start) >= self.lengths.target
            || wall.saturating_sub(open.wall) >= self.lengths.target.saturating_mul(LATE_RATIO);
        let is_large =
            open.bytes.saturating_add(self.held()).saturating_add(cost) > SEGMENT_BYTES_MAX;
        let changes = may_begin && self.needs_other_muxer();
        // One that begins in the middle of a group ends with that, so that the next ones are whole.
        let is_due = is_long || changes || !open.independent;
        if may_begin && is_due || is_large {
            self.end_segment(Some(frame));
            if may_begin && self.needs_other_muxer() {
                self.muxer = None;
                self.interrupted = true;
            }
            self.begin(frame.dts, wall, may_begin);
        } else if let Some(part) = self.part_target_at(frame.dts)
            && self.since_part(frame.dts).saturating_add(self.spacing) > part
        {
            self.end_part(Some(frame));
        }
        true
    }

    /// Ends the segment and the part before the newest frame, if that has made them too long by lasting until `now`.
    fn keep_short(&mut self, now: Timestamp) {
        let Some(open) = &self.open else { return };
        let (newest, wall) = (open.newest, open.newest_wall);
        let is_first = newest <= open.start;
        if !is_first && now.saturating_since(open.start) > self.lengths.longest {
            self.end_segment(None);
            self.begin(newest, wall, !self.tracks.has_pictures());
        }
        let Some(open) = &self.open else { return };
        if newest > open.part_start
            && let Some(part) = self.part_target_at(now)
            && self.since_part(now) > part
        {
            self.end_part(None);
        }
    }

    fn needs_other_muxer(&self) -> bool {
        self.muxer.as_ref().is_some_and(|muxer| self.tracks.differ_from(muxer))
    }

    fn since_part(&self, now: Timestamp) -> Duration {
        self.open.as_ref().map_or(Duration::ZERO, |open| now.saturating_since(open.part_start))
    }

    /// The part target; it is decided when the second frame of the first segment comes, at `now`.
    fn part_target_at(&mut self, now: Timestamp) -> Option<Duration> {
        let asked = self.lengths.part?;
        if self.part_target.is_none() {
            let spacing = now.saturating_since(self.open.as_ref()?.newest);
            self.part_target = Some(whole_frames(asked, spacing)).filter(|_| !spacing.is_zero());
        }
        self.part_target
    }

    fn begin(&mut self, start: Timestamp, wall: Duration, independent: bool) {
        let interrupted = mem::take(&mut self.interrupted);
        self.open = Some(Open::new(start, wall, interrupted && self.started, independent));
    }

    /// Gives the frame to the muxer, or has it wait for one.
    fn take(&mut self, frame: Frame, wall: Duration) {
        let Some(open) = &mut self.open else { return };
        open.pictures = open.pictures.saturating_add(u32::from(frame.is_picture()));
        if frame.is_picture() || !self.tracks.has_pictures() {
            let spacing = frame.dts.saturating_since(open.newest);
            self.spacing = if spacing.is_zero() { self.spacing } else { spacing };
            (open.newest, open.newest_wall) = (open.newest.max(frame.dts), wall);
        }
        match &mut self.muxer {
            Some(muxer) => {
                if muxer.push(&frame).is_err() {
                    self.interrupt();
                }
            }
            None => {
                self.waiting_bytes += frame.payload.len() + FRAME_COST;
                self.waiting.push(Waiting::Frame(frame));
                if self.waiting_bytes > SEGMENT_BYTES_MAX {
                    self.interrupt();
                }
            }
        }
    }

    /// Makes the muxer, now that it is known what the segment has.
    fn open_muxer(&mut self) {
        if self.muxer.is_some() {
            return;
        }
        let speaks = self.open.as_ref().is_some_and(|open| open.speaks);
        let entries = self.tracks.entries(speaks);
        let mut muxer = Muxer::new(entries.map(|(track, entry)| (track, entry.clone())).collect());
        let init = muxer.init();
        if self.init.as_ref() != Some(&init) {
            self.init = Some(init.clone());
            self.entries = muxer.tracks().map(|(_, entry)| entry.clone()).collect();
            self.events.push(CmafEvent::Init(init));
        }
        self.waiting_bytes = 0;
        for waiting in mem::take(&mut self.waiting) {
            // What is of no track has come to be so after it was taken.
            let _ = match waiting {
                Waiting::Frame(frame) => muxer.push(&frame),
                Waiting::Rest(frame) => muxer.append(&frame),
            };
        }
        self.muxer = Some(muxer);
    }

    /// Cuts a fragment: before `next`, or before the newest frame, which `next` has then made too long.
    fn fragment(&mut self, next: Option<&Frame>) -> Option<Fragment> {
        self.open_muxer();
        let muxer = self.muxer.as_mut()?;
        match next {
            Some(next) => muxer.cut(next),
            None => muxer.cut_settled(),
        }
    }

    fn end_part(&mut self, next: Option<&Frame>) {
        let until = next.map(|next| next.dts);
        if let Some(fragment) = self.fragment(next) {
            self.add(fragment, until);
        }
    }

    /// Adds a fragment to the segment; the next one begins at `until`, or with the newest frame.
    fn add(&mut self, fragment: Fragment, until: Option<Timestamp>) {
        let Some(open) = &mut self.open else { return };
        let until = until.unwrap_or(open.newest).max(open.part_start);
        let duration = until.saturating_since(open.part_start);
        open.part_start = until;
        let data = match &self.charge {
            Some(charge) => Counted::wrap(fragment.data, charge),
            None => fragment.data,
        };
        open.bytes += data.len();
        open.data.push(data.clone());
        let (discontinuity, program_date_time) = (open.discontinuity, open.wall);
        if !mem::replace(&mut open.begun, true) {
            self.events.push(CmafEvent::Begin { discontinuity, program_date_time });
        }
        if self.lengths.part.is_some() {
            let independent = fragment.independent;
            self.events.push(CmafEvent::Part { data, duration, independent });
        }
    }

    /// Ends the segment before `next`, or before the newest frame.
    fn end_segment(&mut self, next: Option<&Frame>) {
        self.end_part(next);
        self.close();
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let duration = open.part_start.saturating_since(open.start);
        if open.data.is_empty() {
            return;
        }
        if !open.speaks && duration >= SILENT {
            self.tracks.lose_sound();
        }
        self.started = true;
        self.events.push(CmafEvent::Segment(CmafSegment {
            data: open.data,
            duration,
            discontinuity: open.discontinuity,
            program_date_time: open.wall,
            pictures: open.pictures,
        }));
    }

    /// Ends the segment with all that there is; the next one begins with a discontinuity.
    fn interrupt(&mut self) {
        if let Some(open) = &self.open {
            let until = open.newest + self.spacing;
            self.open_muxer();
            if let Some(fragment) = self.muxer.as_mut().and_then(Muxer::finish) {
                self.add(fragment, Some(until));
            }
            self.close();
        }
        self.muxer = None;
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.interrupted = true;
        self.last_picture = None;
        self.newest_picture = None;
    }

    fn held(&self) -> usize {
        self.waiting_bytes + self.muxer.as_ref().map_or(0, Muxer::held)
    }

    fn count(&mut self) {
        let held = self.held();
        if let Some(charge) = &mut self.charge {
            charge.set(held);
        }
    }
}

/// How long parts of whole frames are that last at most `asked`. Milliseconds are rounded, so each frame may be one
/// longer.
fn whole_frames(asked: Duration, spacing: Duration) -> Duration {
    let frames = asked.as_millis().checked_div(spacing.as_millis()).unwrap_or(0);
    match u32::try_from(frames) {
        Ok(0) => spacing * SLOW_PERCENT / 100,
        Ok(frames) => asked.min((spacing + Duration::from_millis(1)) * frames),
        Err(_) => asked,
    }
}

#[cfg(test)]
mod tests;
