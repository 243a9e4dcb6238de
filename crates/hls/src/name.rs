//! How segments are called.

use std::fmt;

/// The extension of segments.
const EXTENSION: &str = ".ts";

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

/// What the name of a segment says beside the name of its stream: `{stream}-{sequence}-{nonce}.ts`. Without a nonce it
/// is a name as other servers give, and Weir once gave: it can be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentName {
    /// The sequence number.
    pub sequence: u64,
    /// The part that cannot be guessed, if it has one.
    pub nonce: Option<Nonce>,
}

impl SegmentName {
    /// Bytes of the longest name of a segment beyond the name of its stream.
    pub const LEN_MAX: usize = "-18446744073709551615-".len() + Nonce::LEN + EXTENSION.len();

    /// The file name of this segment of `stream`.
    pub fn file(&self, stream: &str) -> String {
        let sequence = self.sequence;
        match self.nonce {
            Some(nonce) => format!("{stream}-{sequence}-{nonce}{EXTENSION}"),
            None => format!("{stream}-{sequence}{EXTENSION}"),
        }
    }

    /// The stream of a file name, and what it says beside that; nothing when it is not the name of a segment.
    pub fn parse(file: &str) -> Option<(&str, Self)> {
        let (rest, last) = file.strip_suffix(EXTENSION)?.rsplit_once('-')?;
        let (stream, digits, nonce) = match Nonce::parse(last) {
            Some(nonce) => {
                rest.rsplit_once('-').map(|(stream, last)| (stream, last, Some(nonce)))?
            }
            None => (rest, last, None),
        };
        let canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        let sequence = canonical.then(|| digits.parse().ok()).flatten()?;
        (!stream.is_empty()).then_some((stream, Self { sequence, nonce }))
    }

    /// The same for a file that must be of `stream`.
    pub fn of(stream: &str, file: &str) -> Option<Self> {
        Self::parse(file).filter(|(whose, _)| *whose == stream).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn old(sequence: u64) -> SegmentName {
        SegmentName { sequence, nonce: None }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let name = SegmentName { sequence: 17, nonce: Some(Nonce::new(0x0123_4567_89ab_cdef)) };
        assert_eq!(name.file("my-stream"), "my-stream-17-abcdefghijklmnop.ts");
        assert_eq!(
            SegmentName::parse("my-stream-17-abcdefghijklmnop.ts"),
            Some(("my-stream", name))
        );
        assert_eq!(SegmentName::parse("live-17.ts"), Some(("live", old(17))));
        assert_eq!(SegmentName::parse("live-0.ts"), Some(("live", old(0))));
        let longest = SegmentName { sequence: u64::MAX, nonce: Some(Nonce::new(u64::MAX)) };
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
        ] {
            assert_eq!(SegmentName::parse(other), None, "{other}");
        }
        assert_eq!(SegmentName::of("live", "live-a-1.ts"), None, "of another stream");
    }

    proptest! {
        #[test]
        fn no_two_streams_share_a_segment(
            stream in "(a|-|1|abcdefghijklmnop){1,8}",
            sequence in any::<u64>(),
            nonce in proptest::option::of(any::<u64>()),
        ) {
            let name = SegmentName { sequence, nonce: nonce.map(Nonce::new) };
            let file = name.file(&stream);
            prop_assert_eq!(SegmentName::parse(&file), Some((&*stream, name)));
        }
    }
}
