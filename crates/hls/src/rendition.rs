//! Which media playlists a stream has.

use std::fmt;

/// Before a rendition in the name of its playlist.
const MARK: char = '~';

/// One of the media playlists of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rendition {
    /// A video track of this number with the first sound. The first one has all that there is if the stream has no
    /// other playlist, be it with pictures or not.
    Video(u8),
    /// An audio track of this number on its own.
    Audio(u8),
}

impl Rendition {
    /// The one that every stream has.
    pub const MAIN: Self = Self::Video(0);

    /// Bytes of the longest name of a playlist beyond the name of its stream and the extension.
    pub const LEN_MAX: usize = "~v255".len();

    /// The name of its playlist, without the extension, beside those of others: `{stream}~v0`, `{stream}~a1`.
    pub fn playlist(self, stream: &str) -> String {
        format!("{stream}{MARK}{self}")
    }

    /// The stream and the rendition whose playlist has this name (without the extension); none for one that does not
    /// name a rendition. A stream may be called like that, too.
    pub fn of_playlist(name: &str) -> Option<(&str, Self)> {
        let (stream, rendition) = name.rsplit_once(MARK)?;
        let number = rendition.get(1..)?;
        let is_canonical = number == "0" || !number.starts_with('0');
        let is_digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|_| is_digits && is_canonical)?;
        let rendition = match rendition.as_bytes().first()? {
            b'v' => Self::Video(number),
            b'a' => Self::Audio(number),
            _ => return None,
        };
        (!stream.is_empty()).then_some((stream, rendition))
    }
}

impl fmt::Display for Rendition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Video(number) => write!(f, "v{number}"),
            Self::Audio(number) => write!(f, "a{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_playlists_are_read_as_they_are_written() {
        for rendition in [Rendition::MAIN, Rendition::Video(255), Rendition::Audio(1)] {
            let name = rendition.playlist("a~v1");
            assert_eq!(Rendition::of_playlist(&name), Some(("a~v1", rendition)), "{name}");
            assert!(name.len() <= "a~v1".len() + Rendition::LEN_MAX);
        }
        for other in ["a", "a~", "a~v", "a~v01", "a~v256", "a~x1", "a~v+1", "~v1", "a~é", "av1"] {
            assert_eq!(Rendition::of_playlist(other), None, "{other}");
        }
    }
}
