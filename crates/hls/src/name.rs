//! How segments are called.

use std::fmt;

/// What an object of a stream is; its name says it by what it ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// A segment of MPEG-TS: `.ts`.
    #[default]
    Ts,
    /// A segment of fragmented MP4: `.m4s`.
    Mp4,
    /// The init segment of the segments of fragmented MP4 from this number on: `.mp4`.
    Init,
    /// A part of a segment of fragmented MP4: `.{number}.m4s`. A part that was announced before it was known in which
    /// segment it comes may be of the segment after the one in its name.
    Part(u16),
    /// The key that segments from this number on are encrypted with: `.key`.
    Key,
}

impl Form {
    /// What names end with, without the number of a part.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Ts => ".ts",
            Self::Mp4 | Self::Part(_) => ".m4s",
            Self::Init => ".mp4",
            Self::Key => ".key",
        }
    }

    /// A segment of this form with nothing in it: a null packet (ISO 13818-1, 2.4.3.3), or a `free` box (ISO 14496-12,
    /// 8.1.2).
    pub const fn nothing(self) -> &'static [u8] {
        const NULL_PACKET: [u8; 188] = {
            let mut packet = [0xFF; 188];
            (packet[0], packet[1], packet[3]) = (0x47, 0x1F, 0x10);
            packet
        };
        match self {
            Self::Ts => &NULL_PACKET,
            _ => b"\0\0\0\x08free",
        }
    }

    /// Whether this is a whole segment.
    pub const fn is_segment(self) -> bool {
        matches!(self, Self::Ts | Self::Mp4)
    }
}

/// Bytes of the longest ending of a name.
const ENDING_MAX: usize = ".65535.m4s".len();

/// Digits of a nonce: letters only, so that a name with one never looks like a name without, and lower-case ones, so
/// that no file system takes one for another.
const DIGITS: &[u8; 16] = b"abcdefghijklmnop";

/// The part of a segment's name that nobody can guess who has not seen the playlist: 64 bits of the caller's chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nonce(u64);

impl Nonce {
    /// Bytes of its text.
    pub const LEN: usize = 16;

    /// The nonce of these bits, which must come from the system's random source.
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// The nonce that this is the text of.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != Self::LEN {
            return None;
        }
        text.bytes().try_fold(Self(0), |nonce, byte| {
            let digit = byte.checked_sub(DIGITS[0]).filter(|digit| *digit < 16)?;
            Some(Self(nonce.0 << 4 | u64::from(digit)))
        })
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..Self::LEN).rev().try_for_each(|place| {
            let digit = (self.0 >> (4 * place)) & 0xf;
            write!(f, "{}", char::from(DIGITS[digit as usize]))
        })
    }
}

/// What the name of a segment, or of what belongs to one, says beside the name of its stream:
/// `{stream}-{sequence}-{nonce}.ts`. Without a nonce it is a name as other servers give, and Weir once gave: it can be
/// guessed. Only segments of MPEG-TS are without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentName {
    /// The sequence number.
    pub sequence: u64,
    /// The part that cannot be guessed, if it has one.
    pub nonce: Option<Nonce>,
    /// What it is.
    pub form: Form,
}

impl SegmentName {
    /// Bytes of the longest name of a segment beyond the name of its stream.
    pub const LEN_MAX: usize = "-18446744073709551615-".len() + Nonce::LEN + ENDING_MAX;

    /// The file name of this segment of `stream`.
    pub fn file(&self, stream: &str) -> String {
        let (sequence, end) = (self.sequence, self.form.extension());
        match (self.nonce, self.form) {
            (Some(nonce), Form::Part(part)) => format!("{stream}-{sequence}-{nonce}.{part}{end}"),
            (Some(nonce), _) => format!("{stream}-{sequence}-{nonce}{end}"),
            (None, _) => format!("{stream}-{sequence}{end}"),
        }
    }

    /// The stream of a file name, and what it says beside that; nothing when it is not the name of a segment.
    pub fn parse(file: &str) -> Option<(&str, Self)> {
        let (rest, extension) = file.rsplit_once('.')?;
        let (rest, form) = match extension {
            "ts" => (rest, Form::Ts),
            "mp4" => (rest, Form::Init),
            "key" => (rest, Form::Key),
            "m4s" => {
                match rest.rsplit_once('.').and_then(|(rest, part)| Some((rest, number(part)?))) {
                    Some((whole, part)) if ends_with_nonce(whole) => {
                        (whole, Form::Part(u16::try_from(part).ok()?))
                    }
                    _ => (rest, Form::Mp4),
                }
            }
            _ => return None,
        };
        let (rest, last) = rest.rsplit_once('-')?;
        let (stream, digits, nonce) = match Nonce::parse(last) {
            Some(nonce) => {
                rest.rsplit_once('-').map(|(stream, last)| (stream, last, Some(nonce)))?
            }
            None if form != Form::Ts => return None,
            None => (rest, last, None),
        };
        let sequence = number(digits)?;
        (!stream.is_empty()).then_some((stream, Self { sequence, nonce, form }))
    }

    /// The same for a file that must be of `stream`.
    pub fn of(stream: &str, file: &str) -> Option<Self> {
        Self::parse(file).filter(|(whose, _)| *whose == stream).map(|(_, name)| name)
    }
}

/// A number that is written as we write it.
fn number(digits: &str) -> Option<u64> {
    let is_canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    is_canonical.then(|| digits.parse().ok()).flatten()
}

fn ends_with_nonce(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(_, last)| Nonce::parse(last).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn old(sequence: u64) -> SegmentName {
        SegmentName { sequence, nonce: None, form: Form::Ts }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let nonce = Some(Nonce::new(0x0123_4567_89ab_cdef));
        let name = SegmentName { sequence: 17, nonce, form: Form::Ts };
        assert_eq!(name.file("my-stream"), "my-stream-17-abcdefghijklmnop.ts");
        assert_eq!(
            SegmentName::parse("my-stream-17-abcdefghijklmnop.ts"),
            Some(("my-stream", name))
        );
        assert_eq!(SegmentName::parse("live-17.ts"), Some(("live", old(17))));
        assert_eq!(SegmentName::parse("live-0.ts"), Some(("live", old(0))));
        let part = SegmentName { form: Form::Part(3), ..name };
        assert_eq!(part.file("a.b"), "a.b-17-abcdefghijklmnop.3.m4s");
        let form = Form::Part(u16::MAX);
        let longest = SegmentName { sequence: u64::MAX, nonce: Some(Nonce::new(u64::MAX)), form };
        assert_eq!(longest.file("").len(), SegmentName::LEN_MAX);
    }

    #[test]
    fn other_files_are_no_segments() {
        for other in [
            "live-017.ts",
            "live-+1.ts",
            "live-.ts",
            "live-1.ts.tmp",
            "live-1.TS",
            "live-a-1.tsx",
            "-1",
            "-1.ts",
            "live-1-abcdefghijklmno.ts",
            "live-1-abcdefghijklmnoq.ts",
            "live-1-ABCDEFGHIJKLMNOP.ts",
            "live-abcdefghijklmnop.ts",
            "live-99999999999999999999.ts",
            "live-1-abcdefghijklmnop.65536.m4s",
            "live-1.key",
            "live-1.mp4",
            "live-1.m4s",
        ] {
            assert_eq!(SegmentName::parse(other), None, "{other}");
        }
        assert_eq!(SegmentName::of("live", "live-a-1.ts"), None, "of another stream");
    }

    proptest! {
        #[test]
        fn no_two_streams_share_a_segment(
            stream in "(a|-|1|\\.|\\.m4s|abcdefghijklmnop){1,8}",
            sequence in any::<u64>(),
            nonce in proptest::option::of(any::<u64>()),
            form in prop_oneof![
                Just(Form::Ts),
                Just(Form::Mp4),
                Just(Form::Init),
                Just(Form::Key),
                any::<u16>().prop_map(Form::Part)
            ],
        ) {
            let has_nonce = form != Form::Ts;
            let nonce = nonce.or(has_nonce.then_some(7));
            let name = SegmentName { sequence, nonce: nonce.map(Nonce::new), form };
            let file = name.file(&stream);
            prop_assert_eq!(SegmentName::parse(&file), Some((&*stream, name)));
        }
    }
}
