//! A file of fragmented MP4 with all tracks of a stream, for recordings.

use std::{collections::BTreeMap, mem};

use bytes::Bytes;
use weir_media::{Content, Frame, Timestamp, Track};
use weir_mp4::{Muxer, Refused};

use crate::{
    Unsupported,
    cmaf::tracks::{Picture, Tracks},
};

/// A file that is made of the frames of a stream, whichever of its tracks they are of.
///
/// What its tracks are coded with, its first frames say: [`push`](Self::push) them, then [`open`](Self::open) it. From
/// then on it hands out fragments wherever the caller cuts. Its tracks do not change: where
/// [`is_other`](Self::is_other) says so, another file begins.
#[derive(Debug, Default)]
pub struct Movie {
    tracks: BTreeMap<Track, Tracks>,
    /// None until it is open.
    muxer: Option<Muxer>,
    /// What has come before that; whether it is the rest of the picture before it.
    waiting: Vec<(Frame, bool)>,
    /// When the newest picture of each track is decoded and shown.
    newest: BTreeMap<Track, (Timestamp, Timestamp)>,
    /// Fragments that were full before the caller cut.
    full: Vec<Bytes>,
}

impl Movie {
    /// Takes the next frame: a configuration or media; others are passed over. The reason if the frame, and so its
    /// track, has no place here.
    pub fn push(&mut self, frame: &Frame) -> Option<Unsupported> {
        if frame.stray || self.muxer.is_some() && self.is_other(frame) {
            return None;
        }
        let tracks = self.tracks.entry(frame.track).or_default();
        match frame.content {
            Content::VideoConfig(codec) => tracks.configure_video(codec, &frame.payload),
            Content::AudioConfig(codec) => tracks.configure_audio(codec, &frame.payload),
            Content::Video { .. } => {
                // A damaged picture is a picture less.
                if let Ok(Some(Picture { frame, continues })) = tracks.picture(frame) {
                    let times = (frame.dts, frame.pts());
                    let is_rest = continues && self.newest.get(&frame.track) == Some(&times);
                    self.newest.insert(frame.track, times);
                    self.take(frame, is_rest);
                }
            }
            Content::Audio(codec) if tracks.sound(codec, &frame.payload) => {
                self.take(frame.clone(), false);
            }
            _ => {}
        }
        let left_out = self.tracks.get(&frame.track)?.left_out();
        left_out.pictures.or(left_out.sound)
    }

    /// Whether `frame` is coded otherwise than its track was before, or says that what follows is.
    pub fn is_other(&self, frame: &Frame) -> bool {
        let Some(tracks) = self.tracks.get(&frame.track) else { return false };
        let record = Some(&frame.payload);
        match frame.content {
            Content::VideoConfig(codec) => tracks.is_other_video(codec, record),
            Content::AudioConfig(codec) => tracks.is_other_audio(codec, record),
            Content::Video { codec, .. } => tracks.is_other_video(codec, None),
            Content::Audio(codec) => tracks.is_other_audio(codec, None),
            _ => false,
        }
    }

    /// Whether frames have come of a track that the file does not have, and could have.
    pub fn lacks_track(&self) -> bool {
        let Some(muxer) = &self.muxer else { return false };
        self.entries().len() > muxer.tracks().count()
    }

    /// Begins the file with what has come so far, and hands out its init segment. None if there is nothing that it
    /// could have.
    pub fn open(&mut self) -> Option<Bytes> {
        let entries = self.entries();
        if entries.is_empty() {
            self.waiting.clear();
            return None;
        }
        let muxer = Muxer::new(entries);
        let init = muxer.init();
        self.muxer = Some(muxer);
        for (frame, is_rest) in mem::take(&mut self.waiting) {
            self.write(&frame, is_rest);
        }
        Some(init)
    }

    /// The tracks, pictures first.
    fn entries(&self) -> Vec<(Track, weir_mp4::SampleEntry)> {
        let of = |(track, tracks): (&Track, &Tracks)| {
            let entry = tracks.entries(tracks.speaks()).next()?.1.clone();
            Some((*track, entry))
        };
        self.tracks.iter().filter_map(of).collect()
    }

    fn take(&mut self, frame: Frame, is_rest: bool) {
        match self.muxer {
            Some(_) => self.write(&frame, is_rest),
            None => self.waiting.push((frame, is_rest)),
        }
    }

    fn write(&mut self, frame: &Frame, is_rest: bool) {
        let Some(muxer) = &mut self.muxer else { return };
        let write = |muxer: &mut Muxer| {
            if is_rest { muxer.append(frame) } else { muxer.push(frame) }
        };
        if let Err(Refused::Full { .. }) = write(muxer) {
            self.full.extend(muxer.cut_settled().map(|fragment| fragment.data));
            // What is too much for an empty fragment is left out.
            let _ = write(muxer);
        }
    }

    /// What is held for the next fragment, in bytes.
    pub fn held(&self) -> usize {
        self.muxer.as_ref().map_or(0, Muxer::held)
    }

    /// Hands out what is complete: all but the newest frame of each track.
    pub fn cut(&mut self) -> Vec<Bytes> {
        self.hand_out(Muxer::cut_settled)
    }

    /// Hands out everything: the stream ends here, or frames are missing. The newest frames last as long as those
    /// before them.
    pub fn finish(&mut self) -> Vec<Bytes> {
        self.newest.clear();
        self.hand_out(Muxer::finish)
    }

    fn hand_out(
        &mut self,
        cut: impl FnOnce(&mut Muxer) -> Option<weir_mp4::Fragment>,
    ) -> Vec<Bytes> {
        let mut out = mem::take(&mut self.full);
        out.extend(self.muxer.as_mut().and_then(cut).map(|fragment| fragment.data));
        out
    }
}
