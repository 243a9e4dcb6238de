//! Fragmented MP4 without an end: one init segment, and fragments.

use std::{mem, time::Duration};

use bytes::Bytes;
use weir_media::{AudioCodec, Content, Frame, Timestamp};
use weir_mp4::{Fragment, Muxer, Refused, Unfit};

use super::piece::{Ended, Expected, Out, Start};
use crate::{
    Lengths, Unsupported,
    cmaf::tracks::{Picture, Tracks},
    cuts::{Cuts, SILENT},
};

/// Most bytes of frames that wait until all tracks have shown what they are coded with; each counts [`FRAME_COST`]
/// more. It takes a moment, and is a second at most by the stream's own time.
const WAITING_MAX: usize = 8 * 1024 * 1024;
const FRAME_COST: usize = 96;

/// The file.
pub struct Mp4File {
    tracks: Tracks,
    expected: Expected,
    cuts: Cuts,
    /// None until it is known what the tracks are coded with.
    muxer: Option<Muxer>,
    init: Bytes,
    /// What has come before that, from the first frame that somebody can start with.
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    /// Nothing has a place before the next frame that somebody can start with.
    is_seeking: bool,
    /// Whether somebody can start with the next fragment.
    has_start: bool,
    /// When the newest picture is decoded and shown.
    newest: Option<(Timestamp, Timestamp)>,
    newest_sound: Option<Timestamp>,
}

enum Waiting {
    Frame(Frame),
    /// What belongs to the picture before it.
    Rest(Frame),
}

impl Waiting {
    fn frame(&self) -> &Frame {
        let (Self::Frame(frame) | Self::Rest(frame)) = self;
        frame
    }
}

impl Mp4File {
    pub fn new(expected: Expected) -> Self {
        Self {
            tracks: Tracks::default(),
            expected,
            // Nothing is cut here: only breaks of the timeline are of interest.
            cuts: Cuts::new(Lengths::new(Duration::ZERO)),
            muxer: None,
            init: Bytes::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            is_seeking: true,
            has_start: false,
            newest: None,
            newest_sound: None,
        }
    }

    pub fn push(&mut self, frame: &Frame, starts: bool, out: &mut Out) {
        if self.muxer.is_none() && self.is_other(frame) {
            // What waits was of something else.
            self.waiting.clear();
            (self.waiting_bytes, self.is_seeking) = (0, true);
        }
        match frame.content {
            // What comes in another configuration has no place until somebody can start: there the file ends, and
            // another one begins.
            Content::VideoConfig(codec) => self.tracks.configure_video(codec, &frame.payload),
            Content::AudioConfig(codec) => self.tracks.configure_audio(codec, &frame.payload),
            Content::Video { .. } => self.picture(frame, out),
            Content::Audio(codec) => self.sound(codec, frame, starts, out),
            _ => {}
        }
        let left_out = self.tracks.left_out();
        // A damaged packet is a packet less.
        let is_final = |why: &Unsupported| !matches!(why, Unsupported::Mp4(Unfit::Packet { .. }));
        if let Some(why) = left_out.pictures.or(left_out.sound).filter(is_final) {
            self.end(Ended::Unsupported(why), out);
        }
    }

    /// Whether `frame` is coded otherwise, or says that what follows is, than what came before.
    fn is_other(&self, frame: &Frame) -> bool {
        let record = Some(&frame.payload);
        match frame.content {
            Content::VideoConfig(codec) => self.tracks.is_other_video(codec, record),
            Content::AudioConfig(codec) => self.tracks.is_other_audio(codec, record),
            Content::Video { codec, .. } => self.tracks.is_other_video(codec, None),
            Content::Audio(codec) => self.tracks.is_other_audio(codec, None),
            _ => false,
        }
    }

    pub fn skip(&mut self, out: &mut Out) {
        self.finish(out);
        (self.is_seeking, self.newest) = (true, None);
    }

    /// Hands out what is complete.
    pub fn flush(&mut self, out: &mut Out) {
        if self.muxer.is_none() && self.may_open() {
            self.open(out);
        }
        self.cut(Muxer::cut_settled, out);
    }

    /// Hands out everything: the newest frames last as long as those before them.
    pub fn finish(&mut self, out: &mut Out) {
        if self.muxer.is_none() && !self.waiting.is_empty() {
            self.open(out);
        }
        self.cut(Muxer::finish, out);
    }

    fn end(&mut self, why: Ended, out: &mut Out) {
        if out.ended.is_none() {
            self.finish(out);
            out.ended = Some(why);
        }
    }

    fn picture(&mut self, frame: &Frame, out: &mut Out) {
        self.note_time(frame, out);
        let Ok(Some(Picture { frame, continues })) = self.tracks.picture(frame) else { return };
        let times = (frame.dts, frame.pts());
        if continues && self.newest == Some(times) {
            return self.take(Waiting::Rest(frame), out);
        }
        self.newest = None;
        if frame.is_key() {
            self.begin(&frame, out);
        }
        if !self.is_seeking && out.ended.is_none() {
            self.newest = Some(times);
            self.take(Waiting::Frame(frame), out);
        }
    }

    fn sound(&mut self, codec: AudioCodec, frame: &Frame, starts: bool, out: &mut Out) {
        self.note_time(frame, out);
        if !self.tracks.sound(codec, &frame.payload) {
            return;
        }
        self.newest_sound = Some(frame.dts);
        if starts {
            // There are no pictures, or none any more.
            self.tracks.lose_pictures();
            self.expected.pictures = false;
            self.begin(frame, out);
        }
        let has_place = self.muxer.as_ref().is_none_or(|muxer| self.tracks.has_sound_of(muxer));
        if has_place && !self.is_seeking && out.ended.is_none() {
            self.take(Waiting::Frame(frame.clone()), out);
        }
    }

    /// Somebody can start with `frame`, unless the stream has other tracks than the file from here on.
    fn begin(&mut self, frame: &Frame, out: &mut Out) {
        let is_silent = |newest: Timestamp| frame.dts.saturating_since(newest) > SILENT;
        if self.newest_sound.is_some_and(is_silent) {
            self.tracks.lose_sound();
        }
        self.is_seeking = false;
        if self.muxer.is_none() {
            if !self.may_open() {
                return;
            }
            self.open(out);
        }
        if self.muxer.as_ref().is_some_and(|muxer| self.tracks.differ_from(muxer)) {
            return self.end(Ended::Changed, out);
        }
        self.cut(|muxer| muxer.cut(frame), out);
        self.has_start = true;
    }

    /// Whether it is known what the file has, or there is no use in waiting for that any longer.
    fn may_open(&self) -> bool {
        let [Some(first), Some(last)] = [self.waiting.first(), self.waiting.last()] else {
            return false;
        };
        let waited = last.frame().dts.saturating_since(first.frame().dts);
        let knows = |is_expected: bool, is_picture: bool| {
            let is_of = |waiting: &Waiting| waiting.frame().is_picture() == is_picture;
            !is_expected || self.waiting.iter().any(is_of)
        };
        knows(self.expected.pictures, true) && knows(self.expected.sound, false)
            || waited >= SILENT
            || self.waiting_bytes > WAITING_MAX
    }

    /// Begins the file with what waits.
    fn open(&mut self, out: &mut Out) {
        let speaks = self.waiting.iter().any(|waiting| !waiting.frame().is_picture());
        let entries = self.tracks.entries(speaks);
        let muxer = Muxer::new(entries.map(|(track, entry)| (track, entry.clone())).collect());
        self.init = muxer.init();
        (self.muxer, self.has_start, self.waiting_bytes) = (Some(muxer), true, 0);
        for waiting in mem::take(&mut self.waiting) {
            self.write(&waiting, out);
        }
    }

    fn take(&mut self, waiting: Waiting, out: &mut Out) {
        if self.muxer.is_some() {
            return self.write(&waiting, out);
        }
        self.waiting_bytes += waiting.frame().payload.len() + FRAME_COST;
        self.waiting.push(waiting);
        if self.waiting_bytes > WAITING_MAX {
            self.open(out);
        }
    }

    fn write(&mut self, waiting: &Waiting, out: &mut Out) {
        let write = |muxer: &mut Muxer| match waiting {
            Waiting::Frame(frame) => muxer.push(frame),
            Waiting::Rest(frame) => muxer.append(frame),
        };
        let Some(muxer) = &mut self.muxer else { return };
        if let Err(Refused::Full { .. }) = write(muxer) {
            self.cut(Muxer::cut_settled, out);
            // What is too much for an empty fragment is left out.
            let _ = self.muxer.as_mut().map(write);
        }
    }

    /// Hands out a fragment, if there is one.
    fn cut(&mut self, cut: impl FnOnce(&mut Muxer) -> Option<Fragment>, out: &mut Out) {
        let Some(fragment) = self.muxer.as_mut().and_then(cut) else { return };
        let start = mem::take(&mut self.has_start)
            .then(|| Start { first: self.init.clone(), again: self.init.clone() });
        out.push(fragment.data, start);
    }

    /// What comes before a break of the timeline does not last until what comes after it.
    fn note_time(&mut self, frame: &Frame, out: &mut Out) {
        if self.cuts.note(frame).is_some() {
            self.cut(Muxer::finish, out);
            self.newest = None;
        }
    }
}
