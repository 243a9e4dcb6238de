//! The containers of recordings: frames to bytes, in pieces that are whole.

use bytes::{Bytes, BytesMut};
use weir_config::RecordContainer;
use weir_flv::{file, kind_of, wire_time};
use weir_hls::{Endless, EndlessForm, Expected, Movie, Unsupported};
use weir_media::{Content, Frame, Track};

/// Bytes of a fragment of MP4 from which on it is cut: what a `kill -9` may cost, and what is held.
const FRAGMENT: usize = 1024 * 1024;

/// Bytes of FLV and MPEG-TS that are written at a time, at most.
const PIECE: usize = 256 * 1024;

/// A file in the making. Time is that of the file, which begins at 0.
pub enum File {
    Flv(BytesMut),
    Mp4(Box<Movie>),
    /// The bytes of frames that were pushed since the file was flushed are counted beside it.
    Ts(Box<Endless>, usize),
}

impl File {
    /// A file that begins with `frames`: the configurations, and what the stream begins with. None if the container has
    /// room for nothing of it; what it has no room for is said once.
    pub fn begin(
        container: RecordContainer,
        frames: &[Frame],
        out: &mut Vec<Bytes>,
    ) -> (Option<Self>, Option<String>) {
        let (mut left_out, mut file) = (None, None);
        match container {
            RecordContainer::Flv => {
                let has = |is: fn(Track) -> bool| frames.iter().any(|frame| is(frame.track));
                let header = file::Header {
                    has_audio: has(|track| matches!(track, Track::Audio(_))),
                    has_video: has(|track| matches!(track, Track::Video(_))),
                };
                let mut tags = BytesMut::from(&header.encode()[..]);
                frames.iter().for_each(|frame| write_tag(&mut tags, frame));
                file = Some(Self::Flv(tags));
            }
            RecordContainer::Mp4 => {
                let mut movie = Movie::default();
                let why = frames.iter().filter_map(|frame| movie.push(frame)).last();
                left_out = why.map(|why: Unsupported| why.to_string());
                if let Some(init) = movie.open() {
                    out.push(init);
                    file = Some(Self::Mp4(Box::new(movie)));
                }
            }
            RecordContainer::Ts => {
                let is_media = |frame: &&Frame| {
                    matches!(frame.content, Content::Video { .. } | Content::Audio(_))
                };
                left_out = frames.iter().filter(is_media).find_map(no_room_in_ts);
                let carried: Vec<_> =
                    frames.iter().filter(|frame| no_room_in_ts(frame).is_none()).collect();
                let has = |is: fn(&Content) -> bool| carried.iter().any(|it| is(&it.content));
                let expected = Expected {
                    pictures: has(|content| matches!(content, Content::Video { .. })),
                    sound: has(|content| matches!(content, Content::Audio(_))),
                };
                if expected.pictures || expected.sound {
                    let mut ts = Endless::new(EndlessForm::Ts, expected);
                    let mut starts = true;
                    for frame in carried {
                        let is_first = matches!(frame.content, Content::Video { .. })
                            || !expected.pictures && matches!(frame.content, Content::Audio(_));
                        ts.push(frame, starts && is_first);
                        starts &= !is_first;
                    }
                    file = Some(Self::Ts(Box::new(ts), 0));
                }
            }
        }
        (file, left_out)
    }

    /// Takes the next frame. `starts`: a player can start with it.
    pub fn push(&mut self, frame: &Frame, starts: bool, out: &mut Vec<Bytes>) {
        match self {
            Self::Flv(tags) => {
                write_tag(tags, frame);
                if tags.len() > PIECE {
                    self.flush(out);
                }
            }
            Self::Mp4(movie) => {
                // What has no place was said at the beginning, or the next file says it.
                movie.push(frame);
                if movie.held() > FRAGMENT {
                    out.extend(movie.cut());
                }
            }
            Self::Ts(file, pending) => {
                if no_room_in_ts(frame).is_none() {
                    file.push(frame, starts);
                    *pending += frame.payload.len();
                }
                if *pending > PIECE {
                    self.flush(out);
                }
            }
        }
    }

    /// Whether the file has no room for `frame`, which comes before or with a group: then another file has to begin.
    pub fn must_end(&self, frame: &Frame) -> bool {
        match self {
            Self::Flv(_) => false,
            Self::Mp4(movie) => movie.is_other(frame) || movie.lacks_track(),
            Self::Ts(file, _) => file.ended().is_some(),
        }
    }

    /// Hands out what is whole.
    pub fn flush(&mut self, out: &mut Vec<Bytes>) {
        match self {
            Self::Flv(tags) => out.extend((!tags.is_empty()).then(|| tags.split().freeze())),
            Self::Mp4(movie) => out.extend(movie.cut()),
            Self::Ts(file, pending) => {
                *pending = 0;
                out.extend(file.take().into_iter().map(|piece| piece.data));
            }
        }
    }

    /// Frames are missing before the next one, which does not continue what came before.
    pub fn skip(&mut self, out: &mut Vec<Bytes>) {
        match self {
            Self::Flv(_) => {}
            Self::Mp4(movie) => out.extend(movie.finish()),
            Self::Ts(file, _) => file.skip(),
        }
    }

    /// Hands out everything.
    pub fn finish(mut self, out: &mut Vec<Bytes>) {
        match &mut self {
            Self::Flv(_) => self.flush(out),
            Self::Mp4(movie) => out.extend(movie.finish()),
            Self::Ts(file, _) => out.extend(file.finish().into_iter().map(|piece| piece.data)),
        }
    }

    /// Bytes that are held and have not been handed out.
    pub fn held(&self) -> usize {
        match self {
            Self::Flv(tags) => tags.len(),
            Self::Mp4(movie) => movie.held(),
            Self::Ts(_, pending) => *pending,
        }
    }
}

fn write_tag(tags: &mut BytesMut, frame: &Frame) {
    let kind = kind_of(frame.track);
    file::write_tag(tags, kind, wire_time(frame, frame.dts), &frame.body);
}

/// Why MPEG-TS has no room for a frame.
fn no_room_in_ts(frame: &Frame) -> Option<String> {
    let further = |track: u8| (track > 0).then(|| "MPEG-TS has one track of each kind".to_owned());
    let unless = |is_carried: bool, codec: String| {
        (!is_carried).then(|| format!("MPEG-TS cannot carry {codec}"))
    };
    let track = match frame.track {
        Track::Video(track) | Track::Audio(track) => further(track),
        Track::Data => None,
    };
    track.or(match frame.content {
        Content::Video { codec, .. } | Content::VideoConfig(codec) => {
            unless(EndlessForm::Ts.carries_video(codec), codec.to_string())
        }
        Content::Audio(codec) | Content::AudioConfig(codec) => {
            unless(EndlessForm::Ts.carries_audio(codec), codec.to_string())
        }
        _ => None,
    })
}
