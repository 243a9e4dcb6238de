//! What is published: frames with the sizes and times of a real stream, and the moment of their making inside.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use weir_flv::TagKind;

/// Pictures a second.
const PICTURE_RATE: u64 = 30;

/// Pictures from one key frame to the next: two seconds.
const GOP: u64 = 60;

/// How much larger than the others a key frame is.
const KEY_RATIO: u64 = 8;

/// Nanoseconds of an AAC frame: 1024 samples at 44.1 kHz, so 43 frames a second.
const SOUND_NANOS: u64 = 1_024_000_000_000 / 44_100;

/// Bits a second of the sound.
const SOUND_BITS: u64 = 64_000;

/// Marks a stamp inside a picture.
const MAGIC: &[u8; 8] = b"weirload";

/// Bytes in front of the stamp: FLV's 5, a NAL unit's length and its type.
const STAMP_AT: usize = 5 + 4 + 1;

/// A frame to be sent.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When it is due, from the start of the stream.
    pub due: Duration,
    /// Sound, pictures, or metadata.
    pub kind: TagKind,
    /// Its FLV tag body.
    pub body: Bytes,
}

impl Frame {
    /// Milliseconds from the start of the stream.
    pub fn timestamp(&self) -> u32 {
        u32::try_from(self.due.as_millis() % (1 << 32)).unwrap_or_default()
    }
}

/// An endless stream of H.264 and AAC, as far as a relay looks.
#[derive(Debug)]
pub struct Clip {
    picture_bytes: usize,
    sound_bytes: usize,
    picture: u64,
    sound: u64,
}

impl Clip {
    /// A stream of about `bit_rate` bits a second, sound included.
    pub fn new(bit_rate: u64) -> Self {
        let sound_bits = SOUND_BITS.min(bit_rate / 3);
        let sound_bytes = sound_bits * SOUND_NANOS / 8_000_000_000;
        let gop_bytes = (bit_rate - sound_bits) / 8 * GOP / PICTURE_RATE;
        let picture_bytes = gop_bytes / (GOP - 1 + KEY_RATIO);
        Self {
            picture_bytes: usize::try_from(picture_bytes).unwrap_or(usize::MAX),
            sound_bytes: usize::try_from(sound_bytes).unwrap_or(usize::MAX),
            picture: 0,
            sound: 0,
        }
    }

    /// What a publisher sends first: both decoder configurations.
    pub fn configuration() -> [Frame; 2] {
        // A baseline-profile SPS of 320x240 and its PPS; AAC-LC, 44.1 kHz, stereo.
        const AVCC: &[u8] = b"\x17\0\0\0\0\x01\x42\xc0\x0d\xff\
            \xe1\0\x0a\x67\x42\xc0\x0d\xda\x05\x07\xe8\x40\0\x01\0\x04\x68\xce\x3c\x80";
        let frame =
            |kind, body| Frame { due: Duration::ZERO, kind, body: Bytes::from_static(body) };
        [frame(TagKind::Video, AVCC), frame(TagKind::Audio, b"\xaf\x00\x12\x10")]
    }

    /// When the next frame is due.
    pub fn next_due(&self) -> Duration {
        self.picture_due().min(self.sound_due())
    }

    /// The next frame, stamped with the present moment.
    pub fn next_frame(&mut self) -> Frame {
        if self.picture_due() <= self.sound_due() { self.next_picture() } else { self.next_sound() }
    }

    fn picture_due(&self) -> Duration {
        Duration::from_nanos(self.picture * 1_000_000_000 / PICTURE_RATE)
    }

    fn sound_due(&self) -> Duration {
        Duration::from_nanos(self.sound * SOUND_NANOS)
    }

    fn next_picture(&mut self) -> Frame {
        let due = self.picture_due();
        let is_key = self.picture.is_multiple_of(GOP);
        self.picture += 1;
        let unit =
            self.picture_bytes * if is_key { usize::try_from(KEY_RATIO).unwrap_or(1) } else { 1 };
        let unit = unit.max(1 + MAGIC.len() + 8);
        let mut body = BytesMut::with_capacity(9 + unit);
        body.put_slice(&[if is_key { 0x17 } else { 0x27 }, 1, 0, 0, 0]);
        body.put_u32(u32::try_from(unit).unwrap_or(u32::MAX));
        body.put_u8(if is_key { 0x65 } else { 0x41 });
        body.put_slice(MAGIC);
        body.put_u64(now_nanos());
        body.resize(9 + unit, 0x55);
        Frame { due, kind: TagKind::Video, body: body.freeze() }
    }

    fn next_sound(&mut self) -> Frame {
        let due = self.sound_due();
        self.sound += 1;
        let mut body = BytesMut::with_capacity(2 + self.sound_bytes);
        body.put_slice(&[0xaf, 1]);
        body.resize(2 + self.sound_bytes, 0x33);
        Frame { due, kind: TagKind::Audio, body: body.freeze() }
    }
}

/// How old the picture in a tag body is; none for anything but a stamped picture.
pub fn age(body: &[u8]) -> Option<Duration> {
    let stamp = body.get(STAMP_AT..)?.strip_prefix(MAGIC)?.first_chunk()?;
    Some(Duration::from_nanos(now_nanos().saturating_sub(u64::from_be_bytes(*stamp))))
}

/// Whether a video tag body is a key frame's.
pub fn is_key(body: &[u8]) -> bool {
    matches!(body, [0x17, 1, ..])
}

fn now_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bit_rate_is_what_was_asked_for() {
        for bit_rate in [200_000, 1_000_000, 5_000_000] {
            let mut clip = Clip::new(bit_rate);
            let mut bytes = 0;
            while clip.next_due() < Duration::from_secs(20) {
                bytes += clip.next_frame().body.len() as u64;
            }
            let actual = bytes * 8 / 20;
            assert!(
                actual.abs_diff(bit_rate) < bit_rate / 20,
                "{actual} bits a second instead of {bit_rate}"
            );
        }
    }

    #[test]
    fn frames_come_in_order_with_a_key_frame_every_two_seconds() {
        let mut clip = Clip::new(1_000_000);
        let frames: Vec<_> = (0..400).map(|_| clip.next_frame()).collect();
        assert!(frames.is_sorted_by_key(|frame| frame.due));
        let keys: Vec<_> =
            frames.iter().filter(|frame| is_key(&frame.body)).map(Frame::timestamp).collect();
        assert_eq!(keys, [0, 2000, 4000]);
    }

    #[test]
    fn pictures_tell_their_age() {
        let mut clip = Clip::new(1_000_000);
        let picture = clip.next_frame();
        assert!(age(&picture.body).is_some_and(|age| age < Duration::from_secs(60)));
        assert_eq!(age(&clip.next_frame().body), None, "sound has no stamp");
    }
}
