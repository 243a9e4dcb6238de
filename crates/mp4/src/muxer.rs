//! Frames in, fragments out.

use bytes::Bytes;
use weir_media::{Content, Frame, Timestamp, Track};

use crate::{
    entry::{Form, SampleEntry},
    error::Refused,
    fragment::{self, Run, SAMPLE_COST, Sample},
    init,
};

/// Most bytes of a fragment, with 96 for each of its samples: it is built in memory. Twice the longest segment of
/// HLS.
pub const FRAGMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A frame whose successor has not come by so many times its usual length is taken to have none.
const LATE_RATIO: i64 = 2;

/// A finished fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// `moof` and `mdat`.
    pub data: Bytes,
    /// Decoding time of its first frame; of the first track, if that has frames in it.
    pub start: Timestamp,
    /// Where that track's last frame in it ends.
    pub end: Timestamp,
    /// Whether its first picture is a key frame; true where there are no pictures.
    pub independent: bool,
}

/// Writes fragmented MP4 of one or more tracks, which do not change: another configuration is another muxer.
///
/// Decoding times are kept exactly, and each sample lasts until the decoding time of the next one. So the newest frame
/// of a track waits for the one after it: where a fragment is cut before a frame of one track, the newest frames of the
/// others begin the next fragment, unless their successors are overdue.
///
/// Times before zero count as zero, and a decoding time below the one before as equal to that; presentation times stay
/// what they are as far as the standard's 32 bits for the difference go.
#[derive(Debug)]
pub struct Muxer {
    tracks: Vec<TrackState>,
    /// Number of the next fragment (`mfhd`).
    sequence: u32,
    /// What is held: bytes, and [`SAMPLE_COST`] a sample.
    held: usize,
}

#[derive(Debug)]
struct TrackState {
    track: Track,
    entry: SampleEntry,
    samples: Vec<Sample>,
    /// The newest sample, whose duration is not known yet.
    newest: Option<Sample>,
    /// The decoding time of the newest sample.
    least: i64,
    /// How long the newest sample with a known duration lasts; before there is one, what is usual.
    spacing: u32,
}

impl Muxer {
    /// A muxer of these tracks, in this order: the first one says how long fragments are.
    pub fn new(tracks: Vec<(Track, SampleEntry)>) -> Self {
        let state = |(track, entry): (Track, SampleEntry)| TrackState {
            track,
            spacing: entry.typical(),
            entry,
            samples: Vec::new(),
            newest: None,
            least: 0,
        };
        Self { tracks: tracks.into_iter().map(state).collect(), sequence: 1, held: 0 }
    }

    /// The init segment, which a player needs once before any fragment.
    pub fn init(&self) -> Bytes {
        let entries: Vec<_> = self.tracks.iter().map(|state| &state.entry).collect();
        init::write(&entries).into()
    }

    /// How its tracks are coded.
    pub fn tracks(&self) -> impl Iterator<Item = (Track, &SampleEntry)> {
        self.tracks.iter().map(|state| (state.track, &state.entry))
    }

    /// What is held for the next fragment, in bytes.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes the next frame of one of the tracks. Configuration records are not for here.
    ///
    /// # Errors
    /// The frame is none of the tracks', is empty, or does not fit; nothing has changed then.
    pub fn push(&mut self, frame: &Frame) -> Result<(), Refused> {
        let (is_video, key) = match frame.content {
            Content::Video { key, .. } => (true, key),
            Content::Audio(_) => (false, true),
            _ => return Err(Refused::NotMedia),
        };
        let state = self.tracks.iter_mut().find(|state| state.track == frame.track);
        let state =
            state.filter(|state| state.is_video() == is_video).ok_or(Refused::OtherTrack)?;
        let data = state.entry.sample(&frame.payload);
        if data.is_empty() {
            return Err(Refused::Empty);
        }
        let cost = data.len().saturating_add(SAMPLE_COST);
        let held = self.held.saturating_add(cost);
        if held > FRAGMENT_BYTES_MAX {
            return Err(Refused::Full { held: self.held, len: data.len() });
        }
        self.held = held;
        state.settle(frame.dts);
        let dts = frame.dts.as_millis().max(state.least);
        state.least = dts;
        state.newest = Some(Sample {
            dts,
            composition: clamp(frame.pts().as_millis().saturating_sub(dts)),
            duration: 0,
            key,
            data,
            more: Vec::new(),
        });
        Ok(())
    }

    /// Adds the payload of `frame` to the newest frame of its track: the rest of a picture that came in several
    /// messages.
    ///
    /// # Errors
    /// There is no such frame in this fragment, or no room; nothing has changed then.
    pub fn append(&mut self, frame: &Frame) -> Result<(), Refused> {
        let len = frame.payload.len();
        let held = self.held.saturating_add(len.saturating_add(SAMPLE_COST));
        if held > FRAGMENT_BYTES_MAX {
            return Err(Refused::Full { held: self.held, len });
        }
        let state = self.tracks.iter_mut().find(|state| state.track == frame.track);
        let newest = state.and_then(|state| state.newest.as_mut()).ok_or(Refused::OtherTrack)?;
        newest.more.push(frame.payload.clone());
        self.held = held;
        Ok(())
    }

    /// The fragment with what came before `next`, which is to be pushed after this; nothing if there was nothing.
    pub fn cut(&mut self, next: &Frame) -> Option<Fragment> {
        for state in &mut self.tracks {
            if state.track == next.track {
                state.settle(next.dts);
            } else if state.is_overdue(next.dts) {
                state.end();
            }
        }
        self.take()
    }

    /// The fragment with all but the newest frame of each track: with what is known to have ended. Nothing if that is
    /// nothing.
    pub fn cut_settled(&mut self) -> Option<Fragment> {
        self.take()
    }

    /// The fragment with everything that is left, for when the stream ends or is interrupted: the last frames are taken
    /// to last as long as those before them.
    pub fn finish(&mut self) -> Option<Fragment> {
        for state in &mut self.tracks {
            state.end();
        }
        self.take()
    }

    fn take(&mut self) -> Option<Fragment> {
        let runs: Vec<_> = (1..).zip(&self.tracks).filter_map(TrackState::run).collect();
        let first = runs.first()?.samples;
        let (start, end) = (first.first()?.dts, first.last()?);
        let end = end.dts.saturating_add(i64::from(end.duration));
        let mut pictures = runs.iter().filter(|run| run.is_video);
        let independent = pictures.all(|run| run.samples[0].key);
        let data = fragment::write(self.sequence, &runs);
        self.sequence = self.sequence.wrapping_add(1);
        self.held = 0;
        for state in &mut self.tracks {
            state.samples.clear();
            self.held += state.newest.as_ref().map_or(0, Sample::cost);
        }
        let (start, end) = (Timestamp::from_millis(start), Timestamp::from_millis(end));
        Some(Fragment { data, start, end, independent })
    }
}

impl TrackState {
    fn is_video(&self) -> bool {
        matches!(self.entry.form(), Form::Video { .. })
    }

    /// The newest sample lasts until `next`.
    fn settle(&mut self, next: Timestamp) {
        let Some(mut newest) = self.newest.take() else { return };
        let lasts = next.as_millis().saturating_sub(newest.dts).max(0);
        newest.duration = u32::try_from(lasts).unwrap_or(u32::MAX);
        if newest.duration > 0 {
            self.spacing = newest.duration;
        }
        self.samples.push(newest);
    }

    /// The newest sample lasts as long as the one before it.
    fn end(&mut self) {
        let Some(mut newest) = self.newest.take() else { return };
        newest.duration = self.spacing;
        self.samples.push(newest);
    }

    /// Whether the frame after the newest one should have come long before `now`.
    fn is_overdue(&self, now: Timestamp) -> bool {
        let waited = |newest: &Sample| now.as_millis().saturating_sub(newest.dts);
        let most = i64::from(self.spacing).saturating_mul(LATE_RATIO);
        self.newest.as_ref().is_some_and(|newest| waited(newest) > most)
    }

    fn run((id, state): (u32, &Self)) -> Option<Run<'_>> {
        let (samples, is_video) = (&*state.samples, state.is_video());
        (!samples.is_empty()).then_some(Run { id, samples, is_video })
    }
}

/// To the 32 bits that the standard has.
fn clamp(composition: i64) -> i32 {
    i32::try_from(composition).unwrap_or(if composition < 0 { i32::MIN } else { i32::MAX })
}
