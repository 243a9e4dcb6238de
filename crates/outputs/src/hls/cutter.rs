//! From frames to segments, in either container.

use std::{fmt, time::Duration};

use weir_config::Hls;
use weir_hls::{
    CmafEvent, CmafSegment, CmafSegmenter, Config, Cut, Damage, LeftOut, Lengths, Rates, Segmenter,
    Terms, Unsupported, Variant,
};
use weir_media::{AudioCodec, Budget, Content, Frame, Timestamp, VideoCodec};

/// How much of a stream is seen before it is said that a track cannot be carried: pictures begin later than sound.
const SETTLE: Duration = Duration::from_secs(1);

/// What segments are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// MPEG-TS.
    Ts,
    /// Fragmented MP4.
    Fmp4,
}

/// How a stream is cut. All its playlists are cut alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What segments are written in.
    pub container: Container,
    /// Their length.
    pub target: Duration,
    /// The length of their parts, if they have some.
    pub part: Option<Duration>,
}

impl Plan {
    /// What `settings` ask for; `needs_fmp4`: whether the stream has tracks that only fragmented MP4 carries.
    pub fn of(settings: &Hls, needs_fmp4: bool) -> Self {
        let part = settings.parts();
        let container = match settings.container {
            weir_config::Container::Ts => Container::Ts,
            weir_config::Container::Auto if part.is_none() && !needs_fmp4 => Container::Ts,
            weir_config::Container::Auto | weir_config::Container::Fmp4 => Container::Fmp4,
        };
        Self { container, target: settings.segment, part }
    }

    /// What holds for playlists of fragmented MP4, with parts as long as they came out.
    pub fn terms(&self, window: usize, part_target: Option<Duration>) -> Terms {
        // To the nearest second, as the playlist counts.
        let target_duration = (self.target + Duration::from_millis(500)).as_secs().max(1);
        Terms { target_duration, part_target, window }
    }
}

/// What HLS goes without, in words; empty if that is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omitted {
    /// Why, and what.
    pub reason: String,
    /// Whether nothing remains.
    pub everything: bool,
    /// The same as the playlist of MPEG-TS says it.
    pub note: LeftOut,
    /// Whether the other container has what this one has not.
    pub is_in_fmp4: bool,
}

impl Omitted {
    /// Whether all that the stream has is carried.
    pub fn is_nothing(&self) -> bool {
        self.reason.is_empty()
    }
}

/// Cuts the frames of one playlist.
pub enum Cutter {
    /// Into MPEG-TS.
    Ts(Box<Segmenter>),
    /// Into fragmented MP4.
    Fmp4 {
        /// What cuts.
        segmenter: Box<CmafSegmenter>,
        /// What has come.
        seen: Seen,
    },
}

/// Which tracks there are, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pictures: bool,
    sound: bool,
    first: Option<Timestamp>,
    is_settled: bool,
}

impl Cutter {
    /// A cutter that has seen nothing, and counts what it holds against `budget`.
    pub fn new(plan: &Plan, budget: &Budget) -> Self {
        match plan.container {
            Container::Ts => {
                let config = Config { target: plan.target, ..Config::new("") };
                let mut segmenter = Box::new(Segmenter::new(&config));
                segmenter.limit_to(budget);
                Self::Ts(segmenter)
            }
            Container::Fmp4 => {
                let longest = plan.terms(0, None).longest();
                let Plan { target, part, .. } = *plan;
                let mut segmenter = Box::new(CmafSegmenter::new(Lengths { target, longest, part }));
                segmenter.limit_to(budget);
                Self::Fmp4 { segmenter, seen: Seen::default() }
            }
        }
    }

    /// Aims at segments of another length, the one in the making included.
    pub fn set_target(&mut self, target: Duration) {
        match self {
            Self::Ts(segmenter) => segmenter.set_target(target),
            Self::Fmp4 { segmenter, .. } => segmenter.set_target(target),
        }
    }

    /// Takes the next frame; `wall` is when it arrived, since the Unix epoch.
    pub fn push(&mut self, frame: &Frame, wall: Duration) -> Vec<CmafEvent> {
        match self {
            Self::Ts(segmenter) => whole(segmenter.push(frame, wall)),
            Self::Fmp4 { segmenter, seen } => {
                seen.take(frame);
                segmenter.push(frame, wall)
            }
        }
    }

    /// What it still holds.
    pub fn finish(&mut self) -> Vec<CmafEvent> {
        match self {
            Self::Ts(segmenter) => whole(segmenter.finish()),
            Self::Fmp4 { segmenter, .. } => segmenter.finish(),
        }
    }

    /// A segment is missing: the next one begins with a discontinuity.
    pub fn skipped(&mut self) {
        match self {
            Self::Ts(segmenter) => segmenter.skipped(),
            // What was in the making is missing as well.
            Self::Fmp4 { segmenter, .. } => drop(segmenter.skipped()),
        }
    }

    /// When the segment in the making begins.
    pub fn open_since(&self) -> Option<Timestamp> {
        match self {
            Self::Ts(segmenter) => segmenter.open_since(),
            Self::Fmp4 { segmenter, .. } => segmenter.open_since(),
        }
    }

    /// What who chooses is told of the tracks that the newest init segment has; none in MPEG-TS.
    pub fn variant(&self) -> Option<Variant> {
        match self {
            Self::Ts(_) => None,
            Self::Fmp4 { segmenter, .. } => {
                Some(Variant::of("", segmenter.entries(), &Rates::default()))
            }
        }
    }

    /// How long parts came out, if there are parts.
    pub fn part_target(&self) -> Option<Duration> {
        match self {
            Self::Ts(_) => None,
            Self::Fmp4 { segmenter, .. } => segmenter.part_target(),
        }
    }

    /// How many frames were left out because they are damaged, and what was wrong with the newest.
    pub fn dropped(&self) -> Option<(u64, Damage)> {
        match self {
            Self::Ts(segmenter) => segmenter.dropped().map(|it| (it.frames, it.last)),
            Self::Fmp4 { segmenter, .. } => match segmenter.dropped() {
                (frames, Some(last)) => Some((frames, last)),
                (_, None) => None,
            },
        }
    }

    /// Which tracks cannot be carried; none as long as there is not enough of the stream to say.
    pub fn omitted(&self) -> Option<Omitted> {
        match self {
            Self::Ts(segmenter) => segmenter.left_out().map(of_ts),
            Self::Fmp4 { segmenter, seen } => {
                let (pictures, sound) = segmenter.left_out();
                let is_known = seen.is_settled || pictures.is_some() && sound.is_some();
                let is_left = seen.pictures && pictures.is_none() || seen.sound && sound.is_none();
                is_known.then(|| omitted(pictures, sound, !is_left))
            }
        }
    }
}

impl Seen {
    fn take(&mut self, frame: &Frame) {
        match frame.content {
            Content::Video { .. } => self.pictures = true,
            Content::Audio(_) => self.sound = true,
            _ => return,
        }
        let first = *self.first.get_or_insert(frame.dts);
        self.is_settled |= frame.dts.saturating_since(first) >= SETTLE;
    }
}

/// A segment of MPEG-TS as one of fragmented MP4 is handed out.
fn whole(cut: Option<Cut>) -> Vec<CmafEvent> {
    let whole = |cut: Cut| {
        CmafEvent::Segment(CmafSegment {
            data: vec![cut.data],
            duration: cut.duration,
            discontinuity: cut.discontinuity,
            program_date_time: cut.program_date_time,
            pictures: 0,
        })
    };
    cut.map(whole).into_iter().collect()
}

fn of_ts(note: LeftOut) -> Omitted {
    if note.is_nothing() {
        return Omitted::default();
    }
    let is_in_fmp4 = [note.pictures, note.sound].into_iter().flatten().any(is_in_fmp4);
    Omitted { reason: note.to_string(), everything: note.everything, note, is_in_fmp4 }
}

/// Whether fragmented MP4 carries what MPEG-TS does not.
fn is_in_fmp4(what: Unsupported) -> bool {
    match what {
        Unsupported::Video(codec) => matches!(codec, VideoCodec::Av1 | VideoCodec::Vp9),
        Unsupported::Audio(codec) => matches!(codec, AudioCodec::Opus | AudioCodec::Flac),
        // AAC that ADTS cannot describe.
        _ => true,
    }
}

fn omitted(
    pictures: Option<impl fmt::Display>,
    sound: Option<impl fmt::Display>,
    everything: bool,
) -> Omitted {
    let reason = match (pictures, sound) {
        (None, None) => return Omitted::default(),
        (Some(why), Some(other)) => format!("{why}; {other}"),
        (Some(why), None) if everything => why.to_string(),
        (None, Some(why)) if everything => why.to_string(),
        (Some(why), None) => format!("no pictures: {why}"),
        (None, Some(why)) => format!("no sound: {why}"),
    };
    Omitted { reason, everything, ..Omitted::default() }
}
