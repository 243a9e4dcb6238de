//! Frames to fragmented MP4: init segments, parts and segments.

pub(crate) mod tracks;

use std::{mem, time::Duration};

use bytes::Bytes;
use weir_media::{AudioCodec, Budget, Charge, Content, Frame, Timestamp, Track, Use, VideoCodec};
use weir_mp4::{Fragment, Muxer, SampleEntry};

use self::tracks::{Picture, Tracks};
use crate::{
    Dropped, Event, Lead, Lengths, SEGMENT_BYTES_MAX, Segment,
    counted::Counted,
    cuts::{Begun, Cuts, SILENT},
    error::LeftOut,
};

/// What a frame costs beside its bytes while it waits.
const FRAME_COST: usize = 96;

/// How long a part may be, in percent of the frames at a stream's beginning, where one frame is all that it can have.
const SLOW_PERCENT: u32 = 110;

/// Makes CMAF segments and their parts of frames. The rules are in [`crate::Segmenter`].
pub struct CmafSegmenter {
    pub cuts: Cuts,
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
    /// When the newest picture is decoded and shown, if it is in the open segment.
    newest_picture: Option<(Timestamp, Timestamp)>,
    dropped: Option<Dropped>,
    charge: Option<Charge>,
    events: Vec<Event>,
}

enum Waiting {
    Frame(Frame),
    /// What belongs to the picture before it.
    Rest(Frame),
}

/// The segment in the making.
#[derive(Debug)]
struct Open {
    begun: Begun,
    part_start: Timestamp,
    discontinuity: bool,
    /// Whether `Begin` was handed out.
    is_announced: bool,
    /// Decoding time of the newest frame of the track that sets the pace, and when that arrived.
    newest: Timestamp,
    newest_wall: Duration,
    data: Vec<Bytes>,
    bytes: usize,
    pictures: u32,
    speaks: bool,
}

impl Open {
    fn new(begun: Begun, discontinuity: bool) -> Self {
        Self {
            begun,
            part_start: begun.start,
            discontinuity,
            is_announced: false,
            newest: begun.start,
            newest_wall: begun.wall,
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
            cuts: Cuts::new(lengths),
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
            newest_picture: None,
            dropped: None,
            charge: None,
            events: Vec::new(),
        }
    }

    /// What is held counts against `budget` from now on, what was handed out included. Where it has no room, the
    /// segment ends, and what follows is dropped up to the next key frame.
    pub fn limit_to(&mut self, budget: &Budget) {
        self.charge = Some(Charge::new(budget, Use::Segments));
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

    /// Which tracks cannot be carried; none as long as there is not enough of the stream to say.
    pub fn left_out(&self) -> Option<LeftOut> {
        let left_out = self.tracks.left_out();
        let is_known = left_out.pictures.is_some() && left_out.sound.is_some();
        (is_known || self.cuts.is_settled()).then_some(left_out)
    }

    /// Frames that were left out because they are damaged, if there were any.
    pub fn dropped(&self) -> Option<Dropped> {
        self.dropped
    }

    /// Where it is.
    pub fn lead(&self) -> Option<Lead> {
        self.open.as_ref().map(|open| Lead { start: open.begun.start, now: open.newest })
    }

    /// Takes the stream's next frame. `wall` is the time since the Unix epoch at which it arrived.
    pub fn push(&mut self, frame: &Frame, wall: Duration) -> Vec<Event> {
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

    /// The stream ended, or the reader lost frames: the rest of what there was.
    pub fn finish(&mut self) -> Vec<Event> {
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
        if self.cuts.note(frame).is_some() {
            self.interrupt();
        }
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
                let frames = self.dropped.map_or(0, |dropped| dropped.frames);
                self.dropped = Some(Dropped { frames: frames.saturating_add(1), last: damage });
                return;
            }
        };
        let times = (frame.dts, frame.pts());
        if continues && self.newest_picture == Some(times) {
            self.take_rest(&frame);
            return;
        }
        self.cuts.note_picture(frame.dts);
        self.newest_picture = None;
        if self.place(&frame, true, frame.is_key(), wall) {
            self.newest_picture = Some(times);
            self.take(frame, wall);
        }
    }

    /// Some encoders send each slice of a picture in a message of its own: they are one sample.
    fn take_rest(&mut self, frame: &Frame) {
        let cost = frame.payload.len().saturating_add(FRAME_COST);
        let has_room = self.fits(cost) && self.held().saturating_add(cost) <= SEGMENT_BYTES_MAX;
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
        if self.tracks.has_pictures() && self.cuts.is_pictureless(frame.dts) {
            // A camera was switched off.
            self.interrupt();
            self.tracks.lose_pictures();
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
        if !self.fits(cost) {
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
        let is_large =
            open.bytes.saturating_add(self.held()).saturating_add(cost) > SEGMENT_BYTES_MAX;
        let changes = may_begin && self.needs_other_muxer();
        let is_due = changes || self.cuts.is_long(&open.begun, frame.dts, wall, frame.is_picture());
        let is_overdue = self.cuts.is_overdue(&open.begun, frame.dts, wall);
        if may_begin && is_due || is_overdue || is_large {
            self.end_segment(Some(frame));
            if may_begin && self.needs_other_muxer() {
                self.muxer = None;
                self.interrupted = true;
            }
            self.begin(frame.dts, wall, may_begin);
        } else if let Some(part) = self.part_target_at(frame.dts)
            && self.since_part(frame.dts).saturating_add(self.cuts.spacing) > part
        {
            self.end_part(Some(frame));
        }
        true
    }

    /// Ends the segment and the part before the newest frame, if that has made them too long by lasting until `now`.
    fn keep_short(&mut self, now: Timestamp) {
        let Some(open) = &self.open else { return };
        let (newest, wall) = (open.newest, open.newest_wall);
        let is_first = newest <= open.begun.start;
        if !is_first && now.saturating_since(open.begun.start) > self.cuts.lengths.longest {
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
        let asked = self.cuts.lengths.part?;
        if self.part_target.is_none() {
            let spacing = now.saturating_since(self.open.as_ref()?.newest);
            self.part_target = Some(whole_frames(asked, spacing)).filter(|_| !spacing.is_zero());
        }
        self.part_target
    }

    fn begin(&mut self, start: Timestamp, wall: Duration, independent: bool) {
        let interrupted = mem::take(&mut self.interrupted);
        let begun = Begun { start, wall, independent };
        self.open = Some(Open::new(begun, interrupted && self.started));
    }

    /// Gives the frame to the muxer, or has it wait for one.
    fn take(&mut self, frame: Frame, wall: Duration) {
        let Some(open) = &mut self.open else { return };
        open.pictures = open.pictures.saturating_add(u32::from(frame.is_picture()));
        if frame.is_picture() || !self.tracks.has_pictures() {
            let spacing = frame.dts.saturating_since(open.newest);
            self.cuts.spacing = if spacing.is_zero() { self.cuts.spacing } else { spacing };
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
            self.events.push(Event::Init(init));
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
        let (discontinuity, program_date_time) = (open.discontinuity, open.begun.wall);
        if !mem::replace(&mut open.is_announced, true) {
            self.events.push(Event::Begin { discontinuity, program_date_time });
        }
        if self.cuts.lengths.part.is_some() {
            let independent = fragment.independent;
            self.events.push(Event::Part { data, duration, independent });
        }
    }

    /// Ends the segment before `next`, or before the newest frame.
    fn end_segment(&mut self, next: Option<&Frame>) {
        self.end_part(next);
        self.close();
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let duration = open.part_start.saturating_since(open.begun.start);
        if open.data.is_empty() {
            return;
        }
        if !open.speaks && duration >= SILENT {
            self.tracks.lose_sound();
        }
        self.started = true;
        // What was reserved for it is its own from here on.
        self.count();
        self.events.push(Event::Segment(Segment {
            data: self.whole(open.data),
            duration,
            discontinuity: open.discontinuity,
            program_date_time: open.begun.wall,
            pictures: open.pictures,
        }));
    }

    /// The fragments of a segment as one.
    fn whole(&self, mut fragments: Vec<Bytes>) -> Bytes {
        if fragments.len() == 1 {
            return fragments.remove(0);
        }
        let data = fragments.concat().into();
        self.charge.iter().fold(data, Counted::wrap)
    }

    /// Ends the segment with all that there is; the next one begins with a discontinuity.
    fn interrupt(&mut self) {
        if let Some(open) = &self.open {
            let until = open.newest + self.cuts.spacing;
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
        self.cuts.forget_pictures();
        self.newest_picture = None;
    }

    fn held(&self) -> usize {
        self.waiting_bytes + self.muxer.as_ref().map_or(0, Muxer::held)
    }

    /// Whether there is room for so many bytes more. What goes into a part is in the whole segment once more.
    fn fits(&self, bytes: usize) -> bool {
        let copies = if self.cuts.lengths.part.is_some() { 2 } else { 1 };
        self.charge.as_ref().is_none_or(|charge| charge.fits(bytes.saturating_mul(copies)))
    }

    fn count(&mut self) {
        let has_parts = self.cuts.lengths.part.is_some();
        let reserved = self.open.as_ref().filter(|_| has_parts).map_or(0, |open| open.bytes);
        let held = self.held().saturating_mul(if has_parts { 2 } else { 1 });
        if let Some(charge) = &mut self.charge {
            charge.set(held.saturating_add(reserved));
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
