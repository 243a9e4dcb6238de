//! Which messages of a stream are strays: single packets of another codec than their track's, and configurations that
//! its packets give the lie to. Encoders that slip, cameras that begin in another codec and relays that mix two streams
//! send them, and a viewer who comes later must not be given one as the stream's configuration.

use weir_media::{AudioCodec, Content, Frame, TURN_FRAMES, Track, Turn, Turns, VideoCodec};

use crate::{metadata::Metadata, record::Rating};

/// Tracks whose codecs are followed; of what has more, every message is its track's own. No encoder is known to send
/// more than 12.
const TRACKS_MAX: usize = 16;

/// Longest configuration that is set aside until it is known whether it counts. Real ones are below 1 KB.
const ASIDE_BYTES_MAX: usize = 16 * 1024;

/// Access units in a row, none of them like those of the configuration before, after which an unusual one is believed.
const UNLIKE_UNITS: u32 = 3;

/// What a message is to its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// One of its track.
    Own,
    /// A stranger.
    Stray,
    /// The first to be decoded by this configuration, which was a stranger when it came: that belongs before it.
    Begins(Box<Frame>),
}

/// The codecs of one publisher's tracks.
#[derive(Debug, Default)]
pub struct Strays {
    /// The newest track of sound and of pictures, if all that comes of it is as it was.
    calm: [Option<(Track, Codec)>; 2],
    tracks: Vec<(Track, Known)>,
    has_metadata: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Video(VideoCodec),
    Audio(AudioCodec),
}

/// One track.
#[derive(Debug, Default)]
struct Known {
    turns: Turns<Codec>,
    /// The configuration that counts.
    config: Option<Config>,
    /// Another one: of the codec before, or one that may count soon.
    aside: Option<Config>,
    doubt: Option<Doubt>,
}

#[derive(Clone, Debug)]
struct Config {
    codec: Codec,
    rating: Rating,
    frame: Frame,
}

/// What packets have said since an unusual configuration came, which is `aside`.
#[derive(Debug, Default)]
struct Doubt {
    like: u32,
    unlike: u32,
}

impl Strays {
    /// What `frame` is, which comes next.
    pub fn judge(&mut self, frame: &Frame) -> Standing {
        match frame.content {
            Content::Video { codec, .. } => self.packet(frame, Codec::Video(codec)),
            Content::Audio(codec) => self.packet(frame, Codec::Audio(codec)),
            Content::VideoConfig(codec) => self.config(frame, Codec::Video(codec)),
            Content::AudioConfig(codec) => self.config(frame, Codec::Audio(codec)),
            Content::Metadata => self.metadata(frame),
            _ => Standing::Own,
        }
    }

    fn packet(&mut self, frame: &Frame, codec: Codec) -> Standing {
        let track = frame.track;
        if self.calm[codec.kind()] == Some((track, codec)) {
            return Standing::Own;
        }
        let Some(known) = self.known(track) else { return Standing::Own };
        let standing = known.packet(frame, codec);
        let is_calm = known.turns.is_settled() && known.doubt.is_none();
        self.calm[codec.kind()] = is_calm.then_some((track, codec));
        standing
    }

    fn config(&mut self, frame: &Frame, codec: Codec) -> Standing {
        self.calm[codec.kind()] = None;
        match self.known(frame.track) {
            Some(known) => known.configure(frame, codec),
            None => Standing::Own,
        }
    }

    /// Metadata that cannot be read is no better than what is known.
    fn metadata(&mut self, frame: &Frame) -> Standing {
        let is_whole = matches!(Metadata::parse(&frame.body), Ok(Some(_)));
        if !is_whole && self.has_metadata {
            return Standing::Stray;
        }
        self.has_metadata |= is_whole;
        Standing::Own
    }

    fn known(&mut self, track: Track) -> Option<&mut Known> {
        let at = match self.tracks.iter().position(|(known, _)| *known == track) {
            Some(at) => at,
            None if self.tracks.len() == TRACKS_MAX => return None,
            None => {
                self.tracks.push((track, Known::default()));
                self.tracks.len() - 1
            }
        };
        Some(&mut self.tracks[at].1)
    }
}

impl Known {
    fn configure(&mut self, frame: &Frame, codec: Codec) -> Standing {
        let new = Config { codec, rating: Rating::of(frame), frame: frame.clone() };
        self.doubt = None;
        let present = self.turns.present();
        self.turns.announce(codec);
        if present.is_some_and(|present| present != codec) {
            return self.set_aside(new);
        }
        let known = self.config.as_ref().filter(|known| known.codec == codec);
        match (known.map(|known| known.rating), new.rating) {
            (Some(Rating::Whole(_) | Rating::Unusual), Rating::Poor) => Standing::Stray,
            (Some(Rating::Whole(_)), Rating::Unusual) => {
                self.doubt = Some(Doubt::default());
                self.set_aside(new)
            }
            _ => {
                self.aside = self.config.replace(new).filter(|before| before.codec != codec);
                Standing::Own
            }
        }
    }

    fn set_aside(&mut self, config: Config) -> Standing {
        if config.frame.body.len() <= ASIDE_BYTES_MAX {
            self.aside = Some(config);
        }
        Standing::Stray
    }

    fn packet(&mut self, frame: &Frame, codec: Codec) -> Standing {
        match self.turns.frame(codec, codec.is_sure(&frame.payload)) {
            Turn::Refused => Standing::Stray,
            Turn::Taken if self.config.as_ref().is_none_or(|known| known.codec != codec) => {
                self.doubt = None;
                self.swap(codec)
            }
            Turn::None if self.doubt.is_some() => self.resolve(codec, &frame.payload),
            Turn::Taken | Turn::None => Standing::Own,
        }
    }

    /// What was set aside counts, if it is of this codec.
    fn swap(&mut self, codec: Codec) -> Standing {
        let next = self.aside.take().filter(|aside| aside.codec == codec);
        self.aside = std::mem::replace(&mut self.config, next);
        match &self.config {
            Some(config) => Standing::Begins(Box::new(config.frame.clone())),
            None => Standing::Own,
        }
    }

    /// What a packet says about the configuration that is in doubt.
    fn resolve(&mut self, codec: Codec, packet: &[u8]) -> Standing {
        let known = self.config.as_ref().map(|config| config.rating);
        let (Some(doubt), Some(Rating::Whole(Some(sound)))) = (&mut self.doubt, known) else {
            return Standing::Own;
        };
        match sound.is_like(packet) {
            Some(true) => (doubt.like, doubt.unlike) = (doubt.like + 1, 0),
            Some(false) => (doubt.like, doubt.unlike) = (0, doubt.unlike + 1),
            None => return Standing::Own,
        }
        if doubt.like >= TURN_FRAMES {
            (self.doubt, self.aside) = (None, None);
        } else if doubt.unlike >= UNLIKE_UNITS {
            self.doubt = None;
            return self.swap(codec);
        } else if doubt.unlike > 0 {
            return Standing::Stray;
        }
        Standing::Own
    }
}

impl Codec {
    fn kind(self) -> usize {
        usize::from(matches!(self, Self::Video(_)))
    }

    /// Whether a track may begin with `packet`, without a configuration and others like it.
    fn is_sure(self, packet: &[u8]) -> bool {
        match self {
            // The sync word (ISO/IEC 11172-3, 2.4.1.3): the codec's number alone is half a byte of anything.
            Self::Audio(AudioCodec::Mp3) => {
                matches!(packet, [0xFF, second, ..] if second & 0xE0 == 0xE0)
            }
            Self::Audio(AudioCodec::Legacy(_) | AudioCodec::Other(_)) => false,
            Self::Audio(_) | Self::Video(_) => true,
        }
    }
}

#[cfg(test)]
mod tests;
