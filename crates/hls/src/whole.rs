//! Frames to whole segments, of a container that has no parts.

use std::{mem, time::Duration};

use bytes::Bytes;
use weir_media::{AudioCodec, Budget, Charge, Content, Frame, Timestamp, Track, Use, VideoCodec};
use weir_mp4::SampleEntry;

use crate::{
    Dropped, Lead, Lengths, SEGMENT_BYTES_MAX, Segment,
    container::Container,
    counted::Counted,
    cuts::{Begun, Cuts, Jump, SILENT},
    error::{Damage, LeftOut},
    pictures::{Picture, Pictures, as_key},
    sound::Sound,
    tracks::{AudioFormat, Tracks},
    ts,
};

/// Makes whole segments of frames. The rules are in [`crate::Segmenter`].
pub struct WholeSegmenter {
    pub cuts: Cuts,
    container: Box<dyn Container>,
    /// What the open segment carries; when there is none, the one before it.
    tracks: Tracks,
    /// What the next one will carry.
    next_tracks: Tracks,
    pictures: Pictures,
    sound: Sound,
    /// The sound as its newest first packet describes it.
    described: Option<SampleEntry>,
    /// Whether sound flows: its configuration alone is no track, for which players would wait.
    speaks: bool,
    open: Option<Open>,
    /// Ended, not handed out yet.
    ended: Option<Segment>,
    /// Whether the next segment does not continue the one before it.
    interrupted: bool,
    /// Whether a segment was handed out or is about to be.
    started: bool,
    /// The newest picture: when it is decoded and shown, and whether it is in the open segment.
    newest: Option<(Timestamp, Timestamp, bool)>,
    dropped: Option<Dropped>,
    /// What is held counts here.
    charge: Option<Charge>,
}

/// A segment that is cut because there is no memory to go on has at least this length; a shorter one is given up with
/// the rest of its group, so that no flood of tiny files follows.
const SHORT_BYTES_MIN: usize = 256 * 1024;

/// The segment being filled.
struct Open {
    begun: Begun,
    discontinuity: bool,
    /// Whether it is the first since an interruption or the beginning.
    leads: bool,
    /// Decoding time of the newest frame of the track that sets the pace: pictures, or sound without them.
    last: Timestamp,
    /// Whether sound has come meanwhile.
    speaks: bool,
    pictures: u32,
}

impl WholeSegmenter {
    /// A segmenter that has seen nothing.
    pub fn new(lengths: Lengths) -> Self {
        Self {
            cuts: Cuts::new(lengths),
            container: Box::new(ts::Muxer::new()),
            tracks: Tracks::default(),
            next_tracks: Tracks::default(),
            pictures: Pictures::default(),
            sound: Sound::default(),
            described: None,
            speaks: false,
            open: None,
            ended: None,
            interrupted: false,
            started: false,
            newest: None,
            dropped: None,
            charge: None,
        }
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
    pub fn push(&mut self, frame: &Frame, wall: Duration) -> Option<Segment> {
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
        let is_known = self.cuts.is_settled() || pictures.is_some() && sound.is_some();
        is_known.then_some(LeftOut { pictures, sound, everything })
    }

    /// How the tracks of the newest segment are coded, as far as they say it in a record or a packet.
    pub fn entries(&self) -> Vec<SampleEntry> {
        let Tracks { video, audio } = &self.tracks;
        let video = video.as_ref().and_then(|video| video.entry().ok());
        let audio = match audio {
            Some(AudioFormat::Aac { record, .. }) => {
                SampleEntry::audio(AudioCodec::Aac, record, &[]).ok()
            }
            Some(_) => self.described.clone(),
            None => None,
        };
        video.into_iter().chain(audio).collect()
    }

    /// Where it is.
    pub fn lead(&self) -> Option<Lead> {
        self.open.as_ref().map(|open| Lead { start: open.begun.start, now: open.last })
    }

    /// The stream ended: its last segment, which may be shorter than the others.
    pub fn finish(&mut self) -> Option<Segment> {
        self.interrupt();
        self.ended.take()
    }

    /// Frames that were left out because they are damaged or strangers, if there were any.
    pub fn dropped(&self) -> Option<Dropped> {
        self.dropped
    }

    /// Notices breaks in the timeline, before `frame` becomes a part of it.
    fn note_time(&mut self, frame: &Frame) {
        match self.cuts.note(frame) {
            Some(Jump::Hole) => self.interrupt(),
            Some(Jump::Epoch) => {
                self.interrupted = true;
                self.cuts.forget_pictures();
            }
            None => {}
        }
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
        self.cuts.note_picture(frame.dts);
        let has_place = self.place(frame, bytes, picture.is_key, wall);
        if has_place {
            self.write(frame);
            self.open.iter_mut().for_each(|open| open.pictures = open.pictures.saturating_add(1));
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
            self.described = SampleEntry::audio(codec, &[], &frame.payload).ok();
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
        let pictureless = self.cuts.is_pictureless(now);
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
                let is_long = self.cuts.is_long(&open.begun, frame.dts, wall, frame.is_picture());
                may_begin && (is_long || self.breaks(open))
                    || self.cuts.is_overdue(&open.begun, frame.dts, wall)
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
            self.begin(frame, wall, may_begin);
        }
        let Some(open) = &mut self.open else { return false };
        if (frame.is_picture() || may_begin) && frame.dts > open.last {
            self.cuts.spacing = frame.dts.saturating_since(open.last);
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
        self.charge.iter().fold(data, Counted::wrap)
    }

    /// Whether the next segment will not continue `open`.
    fn breaks(&self, open: &Open) -> bool {
        let joins = open.leads && self.tracks.audio.is_none();
        self.interrupted || self.tracks.audio != self.next_tracks.audio && !joins
    }

    fn begin(&mut self, frame: &Frame, wall: Duration, independent: bool) {
        let changed = self.tracks != self.next_tracks;
        let interrupted = mem::take(&mut self.interrupted) || changed;
        self.tracks.clone_from(&self.next_tracks);
        let discontinuity = interrupted && self.started;
        self.container.begin(&self.tracks, discontinuity);
        self.open = Some(Open {
            begun: Begun { start: frame.dts, wall, independent },
            discontinuity,
            leads: interrupted || !self.started,
            last: frame.dts,
            speaks: false,
            pictures: 0,
        });
    }

    /// Ends the open segment here, and lets the next one begin with a discontinuity.
    fn interrupt(&mut self) {
        self.end(None);
        self.interrupted = true;
        self.cuts.forget_pictures();
    }

    /// Ends the open segment. `next` is where the following one starts, if that continues it; otherwise the last frame
    /// is taken to last as long as the one before it.
    fn end(&mut self, next: Option<Timestamp>) {
        let Some(open) = self.open.take() else { return };
        self.newest = self.newest.map(|(dts, pts, _)| (dts, pts, false));
        let Begun { start, wall, .. } = open.begun;
        let next = next
            .filter(|next| !self.interrupted && *next > start)
            .unwrap_or(open.last + self.cuts.spacing);
        if !open.speaks && next.saturating_since(start) >= SILENT {
            // Until it speaks again.
            self.speaks = false;
            self.next_tracks.audio = None;
        }
        let data = self.take_segment();
        self.ended = Some(Segment {
            data,
            duration: next.saturating_since(start),
            discontinuity: open.discontinuity,
            program_date_time: wall,
            pictures: open.pictures,
        });
        self.started = true;
    }
}

#[cfg(test)]
mod tests;
