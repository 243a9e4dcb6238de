//! Streams whose every message carries its number.

use bytes::{Bytes, BytesMut};
use weir_flv::{
    Tag, TagKind,
    amf0::{Object, Value, encode},
    audio,
    video::{self, FrameType},
};
use weir_media::{AudioCodec, Content, Timestamp, VideoCodec};

/// Distance of the pictures, and of the packets of sound.
pub const PICTURE_MILLIS: u32 = 40;

/// An avcC that x264 wrote: High profile, 320x180. Only its form is used; the pictures are no pictures.
const AVCC: &[u8] = &[
    0x01, 0x64, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41,
    0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42,
    0x99, 0x60, 0x01, 0x00, 0x04, 0x68, 0xef, 0xbc, 0xb0, 0xfd, 0xf8, 0xf8, 0x00,
];

/// AudioSpecificConfig: AAC-LC, 44.1 kHz, one channel.
const ASC: &[u8] = &[0x12, 0x08];

/// The first byte of a NAL unit: an IDR slice, or another slice that is referred to.
const NAL_IDR: u8 = 0x65;
const NAL_SLICE: u8 = 0x41;

/// Numbers are written as so many hexadecimal digits: letters and digits look like nothing else in any framing.
const DIGITS: usize = 16;

/// The source of a numbered stream: H.264 and AAC, a picture and a packet of sound each 40 ms.
#[derive(Clone, Debug)]
pub struct Numbered {
    next: u64,
    key_every: u64,
    /// Groups are counted from this picture.
    group_from: u64,
    picture_millis: u32,
    start: u32,
    picture_bytes: usize,
    avcc: Bytes,
    asc: Bytes,
    sound: bool,
    announces_sound: bool,
}

impl Default for Numbered {
    /// A key frame each 25 pictures, which is one second, and small pictures.
    fn default() -> Self {
        Self::new(25)
    }
}

impl Numbered {
    /// A stream with a key frame every so many pictures.
    pub fn new(key_every: u64) -> Self {
        let (avcc, asc) = (Bytes::from_static(AVCC), Bytes::from_static(ASC));
        Self {
            next: 0,
            key_every,
            group_from: 0,
            picture_millis: PICTURE_MILLIS,
            start: 0,
            picture_bytes: 0,
            avcc,
            asc,
            sound: true,
            announces_sound: true,
        }
    }

    /// Timestamps begin at `millis`.
    #[must_use]
    pub fn starting_at(mut self, millis: u32) -> Self {
        self.start = millis;
        self
    }

    /// Pictures are so many bytes long, if their number fits.
    #[must_use]
    pub fn with_picture_bytes(mut self, bytes: usize) -> Self {
        self.picture_bytes = bytes;
        self
    }

    /// Another decoder configuration record for the pictures.
    #[must_use]
    pub fn with_avcc(mut self, avcc: impl Into<Bytes>) -> Self {
        self.avcc = avcc.into();
        self
    }

    /// Another decoder configuration record for the sound.
    #[must_use]
    pub fn with_asc(mut self, asc: impl Into<Bytes>) -> Self {
        self.asc = asc.into();
        self
    }

    /// Pictures alone.
    #[must_use]
    pub fn without_sound(mut self) -> Self {
        (self.sound, self.announces_sound) = (false, false);
        self
    }

    /// Pictures alone, though metadata and a configuration announce sound.
    #[must_use]
    pub fn with_silent_sound(mut self) -> Self {
        (self.sound, self.announces_sound) = (false, true);
        self
    }

    /// Pictures are so far apart.
    #[must_use]
    pub fn with_picture_millis(mut self, millis: u32) -> Self {
        self.picture_millis = millis;
        self
    }

    /// Leaves out what comes before picture `number`, if anything does, and begins a group: an encoder that was away
    /// and starts anew.
    pub fn skip_to(&mut self, number: u64) {
        self.next = self.next.max(number);
        self.group_from = self.next;
    }

    /// Whether the next picture is a key frame.
    pub fn begins_group(&self) -> bool {
        (self.next - self.group_from).is_multiple_of(self.key_every)
    }

    /// The number of the next picture, and of the next packet of sound.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// What is sent first: metadata and the configuration records.
    pub fn init(&self) -> Vec<Tag> {
        let avcc =
            video::encode(FrameType::Key, video::Packet::Config(VideoCodec::Avc), &self.avcc);
        let asc = audio::encode(audio::Packet::Config(AudioCodec::Aac), &self.asc);
        let metadata = metadata(self.announces_sound);
        let first = [(TagKind::Script, metadata), (TagKind::Video, avcc), (TagKind::Audio, asc)];
        let count = if self.announces_sound { 3 } else { 2 };
        let tags = first.into_iter().take(count);
        tags.map(|(kind, body)| Tag { kind, timestamp: self.timestamp(), body }).collect()
    }

    /// The next picture and, unless there is no sound, its packet of sound.
    pub fn next_tags(&mut self) -> impl Iterator<Item = Tag> + use<> {
        let count = if self.sound { 2 } else { 1 };
        self.next_pair().into_iter().take(count)
    }

    /// The next picture and the next packet of sound.
    pub fn next_pair(&mut self) -> [Tag; 2] {
        let timestamp = self.timestamp();
        let key = self.begins_group();
        let number = format!("{:0DIGITS$x}", self.next);
        self.next += 1;
        let picture = Tag { kind: TagKind::Video, timestamp, body: self.picture(key, &number) };
        let sound = audio::encode(audio::Packet::Coded(AudioCodec::Aac), number.as_bytes());
        [picture, Tag { kind: TagKind::Audio, timestamp, body: sound }]
    }

    fn timestamp(&self) -> u32 {
        let pictures = u32::try_from(self.next).expect("tests send fewer pictures");
        self.start.wrapping_add(pictures.wrapping_mul(self.picture_millis))
    }

    fn picture(&self, key: bool, number: &str) -> Bytes {
        let (frame_type, nal) =
            if key { (FrameType::Key, NAL_IDR) } else { (FrameType::Inter, NAL_SLICE) };
        let mut unit = vec![nal];
        unit.extend_from_slice(number.as_bytes());
        unit.resize(unit.len().max(self.picture_bytes), b'x');
        let length = u32::try_from(unit.len()).expect("pictures are shorter than 4 GiB");
        let data = [&length.to_be_bytes()[..], &unit].concat();
        video::encode(
            frame_type,
            video::Packet::Coded { codec: VideoCodec::Avc, composition: 0 },
            &data,
        )
    }
}

fn metadata(sound: bool) -> Bytes {
    let mut properties = Object::new();
    for (name, value) in [("width", 320.0), ("height", 180.0), ("videocodecid", 7.0)] {
        properties.insert(name, Value::Number(value));
    }
    if sound {
        properties.insert("audiocodecid", Value::Number(10.0));
    }
    let mut body = BytesMut::new();
    encode(&Value::from("onMetaData"), &mut body);
    encode(&Value::EcmaArray(properties), &mut body);
    body.freeze()
}

/// What a message of a numbered stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A picture.
    Picture {
        /// Its number.
        number: u64,
        /// Whether decoding may start here.
        key: bool,
    },
    /// A packet of sound.
    Sound {
        /// Its number.
        number: u64,
    },
    /// The configuration record of the pictures.
    VideoConfig,
    /// Another configuration record, or metadata.
    OtherInit,
    /// Something else that needs no number.
    Other,
}

impl Piece {
    /// What `tag` is.
    ///
    /// # Errors
    /// If it is damaged, or has no number where there must be one.
    pub fn of(tag: &Tag) -> Result<Self, String> {
        let frame = weir_flv::to_frame(tag, Timestamp::ZERO, 0);
        let frame = frame.map_err(|error| format!("a damaged message, {error}: {:?}", tag.body))?;
        Ok(match frame.content {
            Content::Video { key, .. } => {
                let digits = frame.payload.get(5..5 + DIGITS).unwrap_or_default();
                Self::Picture { number: number(digits)?, key }
            }
            Content::Audio(_) => Self::Sound { number: number(&frame.payload)? },
            Content::VideoConfig(_) => Self::VideoConfig,
            _ if frame.init_slot().is_some() => Self::OtherInit,
            _ => Self::Other,
        })
    }
}

/// What a viewer has seen of a numbered stream, and whether it was right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The first and the newest picture.
    pub pictures: Option<(u64, u64)>,
    /// The first and the newest packet of sound.
    pub sounds: Option<(u64, u64)>,
    /// Configuration records and metadata seen.
    pub init: usize,
    /// Gaps, where they are [allowed](Self::allowing_skips).
    pub skips: u64,
    may_skip: bool,
    configured: bool,
    timestamp: Option<u32>,
}

impl Numbers {
    /// Takes the next message.
    ///
    /// # Errors
    /// If a number is missing or comes twice, the first picture is no key frame or comes before its configuration
    /// record, or time runs backwards. Where [skips are allowed](Self::allowing_skips), a gap that ends with a key
    /// frame is none of these.
    pub fn take(&mut self, tag: &Tag) -> Result<(), String> {
        let piece = Piece::of(tag)?;
        // Script data has no time of its own; servers send it at 0.
        if tag.kind != TagKind::Script {
            self.take_time(tag.timestamp)?;
        }
        match piece {
            Piece::Picture { number, key } => {
                self.take_start(number, key)?;
                follow("picture", &mut self.pictures, number)
            }
            Piece::Sound { number } => {
                self.take_late_sound(number);
                follow("packet of sound", &mut self.sounds, number)
            }
            Piece::VideoConfig | Piece::OtherInit => {
                self.init += 1;
                self.configured |= piece == Piece::VideoConfig;
                Ok(())
            }
            Piece::Other => Ok(()),
        }
    }

    /// From now on a viewer may miss pictures and their sound, up to a key frame.
    #[must_use]
    pub fn allowing_skips(mut self) -> Self {
        self.may_skip = true;
        self
    }

    /// Requires a key frame and its configuration at the start, and behind a gap if there may be one.
    fn take_start(&mut self, number: u64, key: bool) -> Result<(), String> {
        let newest = self.newest_picture();
        let is_gap = self.may_skip && newest.is_some_and(|newest| number > newest + 1);
        if (newest.is_none() || is_gap) && !(key && self.configured) {
            let configured = self.configured;
            return Err(format!("starts at picture {number}: key {key}, configured {configured}"));
        }
        if is_gap {
            self.skips += 1;
            // `follow` counts on from here.
            self.pictures = self.pictures.map(|(first, _)| (first, number - 1));
        }
        Ok(())
    }

    /// Sound may be missing as far as pictures are.
    fn take_late_sound(&mut self, number: u64) {
        if self.may_skip && self.skips > 0 && self.newest_picture() == Some(number) {
            self.sounds = self.sounds.map(|(first, newest)| (first, newest.max(number - 1)));
        }
    }

    /// The newest picture.
    pub fn newest_picture(&self) -> Option<u64> {
        self.pictures.map(|(_, newest)| newest)
    }

    fn take_time(&mut self, timestamp: u32) -> Result<(), String> {
        let before = self.timestamp.replace(timestamp);
        match before {
            // As serial numbers: a difference in the upper half of the circle is a step back.
            Some(before) if timestamp.wrapping_sub(before) > u32::MAX / 2 => {
                Err(format!("time runs backwards, from {before} to {timestamp} ms"))
            }
            _ => Ok(()),
        }
    }
}

fn number(digits: &[u8]) -> Result<u64, String> {
    let number =
        std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.ok_or_else(|| format!("no number in {digits:?}"))
}

fn follow(what: &str, seen: &mut Option<(u64, u64)>, number: u64) -> Result<(), String> {
    let first = match *seen {
        Some((_, newest)) if number != newest + 1 => {
            return Err(format!("after {what} {newest} comes {number}"));
        }
        Some((first, _)) => first,
        None => number,
    };
    *seen = Some((first, number));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages of `pictures` pictures, the first ones included.
    fn tags(mut source: Numbered, pictures: usize) -> Vec<Tag> {
        let init = source.init();
        init.into_iter().chain((0..pictures).flat_map(|_| source.next_pair())).collect()
    }

    fn check<'a>(tags: impl IntoIterator<Item = &'a Tag>) -> Result<Numbers, String> {
        let mut numbers = Numbers::default();
        tags.into_iter().try_for_each(|tag| numbers.take(tag))?;
        Ok(numbers)
    }

    #[test]
    fn a_whole_stream_is_right() {
        let numbers = check(&tags(Numbered::new(5), 12)).unwrap();
        assert_eq!(
            (numbers.pictures, numbers.sounds, numbers.init),
            (Some((0, 11)), Some((0, 11)), 3)
        );
    }

    #[test]
    fn a_late_viewer_starts_with_the_first_messages_and_a_key_frame() {
        let all = tags(Numbered::new(5), 12);
        let numbers = check(all[..3].iter().chain(&all[3 + 2 * 5..])).unwrap();
        assert_eq!(numbers.pictures, Some((5, 11)));
        assert!(check(all[..3].iter().chain(&all[3 + 2 * 4..])).unwrap_err().contains("key false"));
        assert!(check(&all[3..]).unwrap_err().contains("configured false"));
    }

    #[test]
    fn what_is_lost_doubled_or_swapped_is_named() {
        let all = tags(Numbered::new(5), 12);
        let without = |lost: usize| check(all[..lost].iter().chain(&all[lost + 1..]));
        assert_eq!(without(5).unwrap_err(), "after picture 0 comes 2");
        assert_eq!(without(6).unwrap_err(), "after packet of sound 0 comes 2");
        let doubled = check(all[..6].iter().chain(&all[5..]));
        assert_eq!(doubled.unwrap_err(), "after picture 1 comes 1");
    }

    #[test]
    fn a_skip_ends_at_a_key_frame_behind_its_configuration() {
        let all = tags(Numbered::new(5), 17);
        let (key, other) = (3 + 2 * 10, 3 + 2 * 11);
        let skipping = |from: usize| {
            let mut numbers = Numbers::default().allowing_skips();
            all[..8].iter().chain(&all[from..]).try_for_each(|tag| numbers.take(tag))?;
            Ok::<_, String>(numbers)
        };
        let numbers = skipping(key).unwrap();
        assert_eq!((numbers.pictures, numbers.sounds), (Some((0, 16)), Some((0, 16))));
        assert_eq!(numbers.skips, 1);
        assert!(skipping(other).unwrap_err().contains("starts at picture 11: key false"));
        assert!(
            skipping(key + 1).unwrap_err().contains("packet of sound"),
            "no picture explains it"
        );
        assert!(check(all[..8].iter().chain(&all[key..])).is_err(), "not unless it is allowed");
    }

    #[test]
    fn streams_without_sound_have_no_trace_of_it() {
        let mut source = Numbered::new(5).without_sound();
        let tags: Vec<_> = source.init().into_iter().chain(source.next_tags()).collect();
        assert!(tags.iter().all(|tag| tag.kind != TagKind::Audio) && tags.len() == 3, "{tags:?}");
    }

    #[test]
    fn time_wraps_but_does_not_run_backwards() {
        let mut all = tags(Numbered::new(5).starting_at(u32::MAX - 100), 12);
        assert!(all.last().unwrap().timestamp < 1000);
        assert!(check(&all).is_ok());
        all[9].timestamp = all[7].timestamp - 1;
        assert!(check(&all).unwrap_err().contains("backwards"));
    }

    #[test]
    fn an_encoder_that_starts_anew_begins_with_a_key_frame_at_its_time() {
        let mut source = Numbered::new(5).with_picture_millis(100);
        source.next_pair();
        source.skip_to(3);
        let tags: Vec<_> = (0..6).map(|_| source.next_pair()[0].clone()).collect();
        assert_eq!(tags[0].timestamp, 300);
        let keys: Vec<_> = tags.iter().map(Piece::of).collect();
        let key = |at: usize| matches!(keys[at], Ok(Piece::Picture { key: true, .. }));
        assert_eq!([0, 1, 2, 3, 4, 5].map(key), [true, false, false, false, false, true]);
        assert_eq!(keys[0], Ok(Piece::Picture { number: 3, key: true }));
        source.skip_to(2);
        assert!(source.next_number() == 9 && source.begins_group(), "time does not run backwards");
    }

    #[test]
    fn pictures_are_as_long_as_asked_for() {
        let mut source = Numbered::new(5).with_picture_bytes(10_000);
        let [picture, sound] = source.next_pair();
        assert!(picture.body.len() >= 10_000 && sound.body.len() < 100);
        assert!(Numbers { configured: true, ..Numbers::default() }.take(&picture).is_ok());
    }

    #[test]
    fn other_streams_are_not_numbered() {
        let other =
            Tag { kind: TagKind::Audio, timestamp: 0, body: Bytes::from_static(b"\xaf\x01sound") };
        assert!(check([&other]).unwrap_err().contains("no number"));
    }
}
