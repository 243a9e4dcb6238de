//! A stream as one file without an end, for who plays it as it comes: MPEG-TS, fragmented MP4, or its sound alone.
//!
//! The file is made once for all who get it. It is handed out in pieces, as often as the caller wants to, and some of
//! them begin where somebody can start:
//!
//! ```
//! # let frames: Vec<weir_media::Frame> = Vec::new();
//! use weir_hls::{Endless, EndlessForm, Expected};
//!
//! let expected = Expected { pictures: true, sound: true };
//! let mut file = Endless::new(EndlessForm::Ts, expected);
//! for frame in &frames {
//!     file.push(frame, false);
//! }
//! for piece in file.take() {
//!     // Who starts here gets `piece.start.first` before `piece.data`.
//! }
//! ```

mod mp4;
mod piece;
mod sound;
mod ts;

use std::mem;

use weir_media::{AudioCodec, Content, Frame, Track, VideoCodec};

pub use self::piece::{Ended, Expected, Piece, Start};
use self::{mp4::Mp4File, piece::Out, sound::SoundFile, ts::TsFile};

/// What the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndlessForm {
    /// MPEG-TS: H.264 or HEVC, and AAC, MP3 or Dolby. Tables say which tracks there are, and may say otherwise later.
    Ts,
    /// Fragmented MP4. Its tracks are those of its beginning: when the stream has others, the file ends.
    Mp4,
    /// The packets of MP3, one after the other.
    Mp3,
    /// AAC in ADTS.
    Aac,
}

impl EndlessForm {
    /// Its name in a sentence.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ts => "MPEG-TS",
            Self::Mp4 => "MP4",
            Self::Mp3 => "an MP3 stream",
            Self::Aac => "an AAC stream",
        }
    }

    /// Whether it has pictures.
    pub const fn has_pictures(self) -> bool {
        matches!(self, Self::Ts | Self::Mp4)
    }

    /// Whether it has room for pictures in this codec.
    pub const fn carries_video(self, codec: VideoCodec) -> bool {
        match self {
            Self::Ts => matches!(codec, VideoCodec::Avc | VideoCodec::Hevc),
            Self::Mp4 => matches!(
                codec,
                VideoCodec::Avc | VideoCodec::Hevc | VideoCodec::Av1 | VideoCodec::Vp9
            ),
            Self::Mp3 | Self::Aac => false,
        }
    }

    /// Whether it has room for sound in this codec.
    pub const fn carries_audio(self, codec: AudioCodec) -> bool {
        use AudioCodec::{Aac, Ac3, Eac3, Flac, Mp3, Opus};
        match self {
            Self::Ts => matches!(codec, Aac | Mp3 | Ac3 | Eac3),
            Self::Mp4 => matches!(codec, Aac | Mp3 | Ac3 | Eac3 | Opus | Flac),
            Self::Mp3 => matches!(codec, Mp3),
            Self::Aac => matches!(codec, Aac),
        }
    }
}

/// Makes an endless file of the frames of a stream: of its first track of each kind, without those that do not belong
/// to their track.
pub struct Endless {
    file: File,
    out: Out,
}

enum File {
    Ts(Box<TsFile>),
    Mp4(Box<Mp4File>),
    Sound(Box<SoundFile>),
}

impl Endless {
    /// A file with nothing in it, of a stream with these tracks.
    pub fn new(form: EndlessForm, expected: Expected) -> Self {
        let file = match form {
            EndlessForm::Ts => File::Ts(Box::new(TsFile::new(expected))),
            EndlessForm::Mp4 => File::Mp4(Box::new(Mp4File::new(expected))),
            EndlessForm::Mp3 => File::Sound(Box::new(SoundFile::new(AudioCodec::Mp3))),
            EndlessForm::Aac => File::Sound(Box::new(SoundFile::new(AudioCodec::Aac))),
        };
        Self { file, out: Out::default() }
    }

    /// Takes the next frame. `starts`: a reader of the stream can start with it. A damaged frame is left out.
    pub fn push(&mut self, frame: &Frame, starts: bool) {
        let is_carried = matches!(frame.track, Track::Video(0) | Track::Audio(0)) && !frame.stray;
        let is_media = matches!(
            frame.content,
            Content::Video { .. }
                | Content::Audio(_)
                | Content::VideoConfig(_)
                | Content::AudioConfig(_)
        );
        if !is_carried || !is_media || self.out.ended.is_some() {
            return;
        }
        match &mut self.file {
            File::Ts(file) => file.push(frame, starts, &mut self.out),
            File::Mp4(file) => file.push(frame, starts, &mut self.out),
            File::Sound(file) => file.push(frame, &mut self.out),
        }
    }

    /// Frames before the next one are missing.
    pub fn skip(&mut self) {
        match &mut self.file {
            File::Ts(file) => file.skip(&mut self.out),
            File::Mp4(file) => file.skip(&mut self.out),
            File::Sound(_) => {}
        }
    }

    /// What there is since the last call. Of MP4, the newest frame of each track waits for the next one, which says how
    /// long it lasts.
    pub fn take(&mut self) -> Vec<Piece> {
        if self.out.ended.is_none() {
            match &mut self.file {
                File::Ts(file) => file.flush(&mut self.out),
                File::Mp4(file) => file.flush(&mut self.out),
                File::Sound(file) => file.flush(&mut self.out),
            }
        }
        mem::take(&mut self.out.pieces)
    }

    /// The stream has ended: the rest.
    pub fn finish(&mut self) -> Vec<Piece> {
        if let (File::Mp4(file), None) = (&mut self.file, self.out.ended) {
            file.finish(&mut self.out);
        }
        self.take()
    }

    /// Why nothing more comes.
    pub fn ended(&self) -> Option<Ended> {
        self.out.ended
    }
}

#[cfg(test)]
mod tests;
