//! Where one segment ends and the next begins: the rules, whatever the container.

use std::time::Duration;

use weir_media::{Frame, Timestamp};

use crate::SEGMENT_DURATION_MAX;

/// A segment may take this many target lengths of the wall clock: then it is cut at the next key frame however short
/// its own time is, so that viewers of a publisher with a slow clock do not wait for it.
const LATE_RATIO: u32 = 3;

/// What a segment may take of the wall clock, in lengths of [`SEGMENT_DURATION_MAX`]; then it is cut wherever it is.
const LATE_MAX_RATIO: u32 = 2;

/// Pictures that have not come for this many target lengths do not hold the audio back any longer: a camera was
/// switched off. (The same idea as SRS's `hls_aof_ratio`, 2.1.)
const PICTURELESS_RATIO: u32 = 2;

/// Two frames further apart than this, forward or back, are not of one timeline. Ingest repairs smaller jumps.
pub const HOLE_MAX: Duration = Duration::from_secs(30);

/// How long a frame is taken to last before two of them have been seen: a picture at 25 frames a second.
const FRAME_DURATION: Duration = Duration::from_millis(40);

/// How much of a stream is seen before it is said that a track cannot be carried: cameras send half a second of another
/// codec before the one that they are set to, and pictures begin later than sound.
const SETTLE: Duration = Duration::from_secs(1);

/// A segment of this length without any sound is the last that says that there is some.
pub const SILENT: Duration = Duration::from_secs(1);

/// How far the first frames of segments are apart at most that are of the same time: sound is cut at its own packets,
/// the longest of which have 64 ms (AAC of 16 kHz).
const TOGETHER: Duration = Duration::from_millis(100);

/// How long segments and parts are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// A segment ends at the first key frame that is at least this far from its start.
    pub target: Duration,
    /// No segment is longer, wherever it has to end ([`Playlist::longest`](crate::Playlist::longest)). In MPEG-TS by
    /// no more than a frame.
    pub longest: Duration,
    /// What parts are to be at most; see [`Segmenter::part_target`](crate::Segmenter::part_target). Without it there
    /// are none, and neither are there in MPEG-TS.
    pub part: Option<Duration>,
}

impl Lengths {
    /// Segments without parts, that only [`SEGMENT_DURATION_MAX`] ends when no key frame does.
    pub fn new(target: Duration) -> Self {
        Self { target, longest: SEGMENT_DURATION_MAX, part: None }
    }
}

/// Where a segmenter is, for others that are to cut where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// When its segment in the making begins.
    pub start: Timestamp,
    /// Its newest frame: a picture, or a packet where there are no pictures.
    pub now: Timestamp,
}

/// A segment in the making, as far as the rules look at it.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    pub start: Timestamp,
    /// When its first frame arrived.
    pub wall: Duration,
    /// Whether it begins where decoding can.
    pub independent: bool,
}

/// A break in the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// The publisher has begun again, or a repaired clock goes on.
    Epoch,
    /// Times that cannot follow each other.
    Hole,
}

/// The rules, and what they have to know of the stream.
pub struct Cuts {
    pub lengths: Lengths,
    lead: Option<Lead>,
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
    /// Distance of the newest two frames of the track that sets the pace: what the last one of a stream will last.
    pub spacing: Duration,
}

impl Cuts {
    pub fn new(lengths: Lengths) -> Self {
        Self {
            lengths,
            lead: None,
            epoch: None,
            last: None,
            last_picture: None,
            first: None,
            settled: false,
            spacing: FRAME_DURATION,
        }
    }

    /// From now on segments end where those of another segmenter do.
    pub fn follow(&mut self, lead: Option<Lead>) {
        self.lead = lead;
    }

    /// Notices breaks in the timeline, before `frame` becomes a part of it. Configuration records do not count: those
    /// that a late reader is given first are as old as the stream.
    pub fn note(&mut self, frame: &Frame) -> Option<Jump> {
        let apart = |last: Timestamp| {
            frame.dts.saturating_since(last).max(last.saturating_since(frame.dts))
        };
        let has_hole = self.last.is_some_and(|last| apart(last) > HOLE_MAX);
        if has_hole {
            self.first = None;
        }
        let first = *self.first.get_or_insert(frame.dts);
        self.settled |= frame.dts.saturating_since(first) >= SETTLE;
        let is_other = self.epoch.is_some_and(|epoch| epoch != frame.epoch);
        self.last = Some(frame.dts);
        self.epoch = Some(frame.epoch);
        if has_hole {
            return Some(Jump::Hole);
        }
        is_other.then_some(Jump::Epoch)
    }

    /// Whether enough of the stream was seen to say what it lacks.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// All of the stream was seen.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    pub fn note_picture(&mut self, now: Timestamp) {
        self.last_picture = Some(now);
    }

    /// Pictures are waited for anew.
    pub fn forget_pictures(&mut self) {
        self.last_picture = None;
    }

    /// Whether sound at `now` has waited for pictures for too long.
    pub fn is_pictureless(&mut self, now: Timestamp) -> bool {
        let waited = now.saturating_since(*self.last_picture.get_or_insert(now));
        waited >= self.lengths.target.saturating_mul(PICTURELESS_RATIO)
    }

    /// Whether a segment that began like this is to end where decoding can begin: before a frame of `now`, which
    /// arrived at `wall`.
    pub fn is_long(&self, begun: &Begun, now: Timestamp, wall: Duration, is_picture: bool) -> bool {
        // One that begins in the middle of a group ends with that, so that the next ones are whole.
        let is_long = !begun.independent
            || now.saturating_since(begun.start) >= self.lengths.target
            || wall.saturating_sub(begun.wall) >= self.lengths.target.saturating_mul(LATE_RATIO);
        match self.lead {
            None => is_long,
            Some(lead) if lead.has_cut_since(begun) => lead.start.saturating_since(now) <= TOGETHER,
            // Where the other one will cut is known of key frames: both have them at the same times.
            Some(lead) => is_picture && now > lead.now && is_long,
        }
    }

    /// Whether a segment that began like this has to end before a frame of `now` wherever that is.
    pub fn is_overdue(&self, begun: &Begun, now: Timestamp, wall: Duration) -> bool {
        let is_behind = self.lead.is_some_and(|lead| {
            lead.has_cut_since(begun) && now.saturating_since(lead.start) > TOGETHER
        });
        is_behind
            || now.saturating_since(begun.start) >= self.lengths.longest
            || wall.saturating_sub(begun.wall)
                >= SEGMENT_DURATION_MAX.saturating_mul(LATE_MAX_RATIO)
    }
}

impl Lead {
    /// Whether it has begun a segment since `begun` did.
    fn has_cut_since(&self, begun: &Begun) -> bool {
        self.start.saturating_since(begun.start) > TOGETHER
    }
}
