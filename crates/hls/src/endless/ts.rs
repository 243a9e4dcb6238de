//! MPEG-TS without an end: segments that nobody cuts.

use std::{mem, time::Duration};

use weir_media::{AudioCodec, Content, Frame, Timestamp, VideoCodec};

use super::piece::{Ended, Expected, Out, Start};
use crate::{
    Lengths,
    container::Container as _,
    cuts::{Cuts, SILENT},
    error::Damage,
    pictures::{Picture, Pictures, as_key},
    sound::Sound,
    tracks::Tracks,
    ts::{Counters, Muxer, discontinuity},
};

/// How often the tables are repeated, in the time of the stream (ETSI TR 101 290, 5.2.1: at least twice a second).
const TABLES: Duration = Duration::from_millis(480);

/// The file.
pub struct TsFile {
    muxer: Muxer,
    pictures: Pictures,
    sound: Sound,
    cuts: Cuts,
    /// What the tables say.
    tracks: Tracks,
    /// Whether sound is to be in the first tables already.
    expects_sound: bool,
    /// Nothing can be written before the next place to start at.
    is_seeking: bool,
    /// Whether something was written.
    has_begun: bool,
    /// What is written next does not continue what was written last.
    has_jumped: bool,
    /// Whether the muxer has begun a piece.
    is_open: bool,
    /// The counters before that piece, if somebody can start with it.
    start: Option<Counters>,
    /// When the tables were written last.
    tables: Option<Timestamp>,
    /// When the newest picture that was written is decoded and shown.
    newest: Option<(Timestamp, Timestamp)>,
    newest_sound: Option<Timestamp>,
}

impl TsFile {
    pub fn new(expected: Expected) -> Self {
        Self {
            muxer: Muxer::new(),
            pictures: Pictures::default(),
            sound: Sound::default(),
            // Nothing is cut here: only breaks of the timeline are of interest.
            cuts: Cuts::new(Lengths::new(Duration::ZERO)),
            tracks: Tracks::default(),
            expects_sound: expected.sound,
            is_seeking: true,
            has_begun: false,
            has_jumped: false,
            is_open: false,
            start: None,
            tables: None,
            newest: None,
            newest_sound: None,
        }
    }

    pub fn push(&mut self, frame: &Frame, starts: bool, out: &mut Out) {
        // A damaged frame is one frame less.
        let _ = match frame.content {
            Content::VideoConfig(codec) => self.pictures.configure(codec, &frame.payload),
            Content::AudioConfig(codec) => self.sound.configure(codec, &frame.payload).map(drop),
            Content::Video { codec, .. } => self.picture(codec, frame, out),
            Content::Audio(codec) => self.sound(codec, frame, starts, out),
            _ => Ok(()),
        };
        if let Some(why) = self.pictures.left_out().or(self.sound.left_out()) {
            self.flush(out);
            out.ended = Some(Ended::Unsupported(why));
        }
    }

    pub fn skip(&mut self, out: &mut Out) {
        self.flush(out);
        (self.has_jumped, self.is_seeking, self.newest) = (true, true, None);
    }

    /// Ends the piece.
    pub fn flush(&mut self, out: &mut Out) {
        if !mem::take(&mut self.is_open) {
            return;
        }
        let data = self.muxer.take(&self.tracks);
        let start = self
            .start
            .take()
            .map(|counters| Start { again: discontinuity(counters, &data), ..Start::default() });
        out.push(data, start);
    }

    fn picture(&mut self, codec: VideoCodec, frame: &Frame, out: &mut Out) -> Result<(), Damage> {
        self.pictures.turn(codec)?;
        if self.pictures.left_out().is_some() {
            return Ok(());
        }
        self.note_time(frame, out);
        let Some(Picture { survey, is_key }) = self.pictures.take(codec, frame)? else {
            return Ok(());
        };
        let times = (frame.dts, frame.pts());
        let is_rest = survey.continues && self.newest == Some(times);
        self.newest = None;
        let marked = if is_key { as_key(frame) } else { frame.clone() };
        let staged = match self.pictures.carried() {
            Some(format) if is_rest => self.muxer.stage_rest(format, survey, &marked),
            Some(format) => self.muxer.stage_video(format, survey, &marked),
            None => Err(Damage::NoVideoConfig(codec)),
        };
        self.pictures.clear(codec);
        staged?;
        if is_rest {
            self.go_on(frame.dts);
            self.muxer.write_rest();
        } else if is_key {
            self.begin(&marked, out);
            self.muxer.write(&marked);
        } else if !self.is_seeking && self.tracks.video.is_some() {
            self.go_on(frame.dts);
            self.muxer.write(&marked);
        } else {
            return Ok(());
        }
        self.newest = Some(times);
        Ok(())
    }

    fn sound(
        &mut self,
        codec: AudioCodec,
        frame: &Frame,
        starts: bool,
        out: &mut Out,
    ) -> Result<(), Damage> {
        self.sound.packet(codec, &frame.payload)?;
        self.note_time(frame, out);
        let Some(format) = self.sound.carried() else {
            return Err(Damage::NoAudioConfig(codec));
        };
        self.muxer.stage_audio(format, frame)?;
        self.newest_sound = Some(frame.dts);
        if starts {
            self.begin(frame, out);
        } else if self.is_seeking {
            return Ok(());
        } else if self.tracks.audio.as_ref() != Some(format) {
            // Tables in the midst of a group: who is here already gets the sound too.
            let format = format.clone();
            self.flush(out);
            self.tracks.audio = Some(format);
            self.tables = None;
        }
        self.go_on(frame.dts);
        self.muxer.write(frame);
        Ok(())
    }

    /// Somebody can start with `frame`: the tables come before it, with the tracks that there are.
    fn begin(&mut self, frame: &Frame, out: &mut Out) {
        self.flush(out);
        let speaks = match self.newest_sound {
            Some(newest) => frame.dts.saturating_since(newest) <= SILENT,
            None => self.expects_sound,
        };
        let sound = self.sound.carried().filter(|_| speaks);
        let pictures = self.pictures.carried().filter(|_| frame.is_picture());
        self.tracks = Tracks { video: pictures.cloned(), audio: sound.cloned() };
        self.start = Some(self.muxer.counters());
        let has_jumped = mem::take(&mut self.has_jumped) && self.has_begun;
        self.muxer.begin(&self.tracks, has_jumped);
        (self.is_open, self.has_begun, self.is_seeking) = (true, true, false);
        self.tables = Some(frame.dts);
    }

    /// There is a piece to write something into that is of `now`.
    fn go_on(&mut self, now: Timestamp) {
        if mem::replace(&mut self.is_open, true) {
            return;
        }
        let is_recent = |at: Timestamp| now >= at && now.saturating_since(at) < TABLES;
        let has_tables = !self.tables.is_some_and(is_recent);
        if has_tables {
            self.tables = Some(now);
        }
        self.muxer.go_on(&self.tracks, has_tables, mem::take(&mut self.has_jumped));
    }

    /// Notices breaks of the timeline.
    fn note_time(&mut self, frame: &Frame, out: &mut Out) {
        if self.cuts.note(frame).is_some() {
            self.flush(out);
            (self.has_jumped, self.newest) = (true, None);
        }
    }
}
