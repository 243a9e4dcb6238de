//! Playlists, segments and what belongs to them by their names.

use weir_hls::{Form, Rendition, SegmentName};
use weir_media::StreamKey;

/// Longest playlist, some 8,000 segments.
const PLAYLIST_BYTES_MAX: usize = weir_hls::PLAYLIST_BYTES_MAX;

/// Longest segment. Ours end at 32 MiB; other origins cut segments of ten seconds at 50 Mbit/s.
pub const SEGMENT_BYTES_MAX: usize = 64 << 20;

/// Longest init segment: decoder configurations of all tracks, of which none is longer than 16 KiB at our origins.
const INIT_BYTES_MAX: usize = 1 << 20;

/// Longest key. Those of AES-128 have 16 bytes.
const KEY_BYTES_MAX: usize = 1024;

/// A playlist, a segment, or something that belongs to one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// The stream it belongs to.
    pub key: StreamKey,
    /// Which one it is.
    pub kind: Kind,
}

/// Which object of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `stream.m3u8`: a media playlist, or one of several of those.
    Playlist,
    /// `stream~v1.m3u8`: the media playlist of one rendition.
    Rendition(Rendition),
    /// `stream-<sequence>-<nonce>.ts`: a segment, a part of one, an init segment or a key.
    Segment(SegmentName),
}

impl Object {
    /// Its file name.
    pub fn file(&self) -> String {
        let stream = self.key.stream();
        match self.kind {
            Kind::Playlist => format!("{stream}.m3u8"),
            Kind::Rendition(rendition) => format!("{}.m3u8", rendition.playlist(stream)),
            Kind::Segment(name) => name.file(stream),
        }
    }

    /// The object of `key` that has this file name, if it is one of the stream's that are no playlists.
    pub fn of_file(key: &StreamKey, file: &str) -> Option<Self> {
        let (stream, name) = SegmentName::parse(file)?;
        let key = StreamKey::new(key.vhost(), key.app(), stream).ok()?;
        Some(Self { key, kind: Kind::Segment(name) })
    }
}

impl Kind {
    /// Whether it is a playlist, which changes.
    pub const fn is_playlist(self) -> bool {
        matches!(self, Self::Playlist | Self::Rendition(_))
    }

    /// Where it is among the media playlists of its stream, if it is one: `stream.m3u8` is that of the main rendition,
    /// if it is no multivariant playlist.
    pub const fn rendition(self) -> Option<Rendition> {
        match self {
            Self::Playlist => Some(Rendition::MAIN),
            Self::Rendition(rendition) => Some(rendition),
            Self::Segment(_) => None,
        }
    }

    /// Whether it is a part of a segment, which origins are asked for before it is there.
    pub const fn is_part(self) -> bool {
        matches!(self, Self::Segment(SegmentName { form: Form::Part(_), .. }))
    }

    /// Whether it is a segment that may be announced and sent in parts first.
    pub const fn has_parts(self) -> bool {
        matches!(self, Self::Segment(SegmentName { form: Form::Mp4, .. }))
    }

    /// Whether nobody can guess its name, so that no other object is ever called like it.
    pub const fn is_unique(self) -> bool {
        matches!(self, Self::Segment(SegmentName { nonce: Some(_), .. }))
    }

    /// How long it may be.
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Playlist | Self::Rendition(_) => PLAYLIST_BYTES_MAX,
            Self::Segment(name) => match name.form {
                Form::Ts | Form::Mp4 | Form::Part(_) => SEGMENT_BYTES_MAX,
                Form::Init => INIT_BYTES_MAX,
                Form::Key => KEY_BYTES_MAX,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_hls::Nonce;
    use weir_media::DEFAULT_VHOST;

    use super::*;

    #[test]
    fn objects_are_found_by_the_names_that_they_have() {
        let key = StreamKey::new(DEFAULT_VHOST, "live", "a b").expect("a name");
        let object = |kind| Object { key: key.clone(), kind };
        assert_eq!(object(Kind::Playlist).file(), "a b.m3u8");
        assert_eq!(object(Kind::Rendition(Rendition::Audio(1))).file(), "a b~a1.m3u8");
        for form in [Form::Ts, Form::Mp4, Form::Init, Form::Part(3), Form::Key] {
            let name = SegmentName { sequence: 7, nonce: Some(Nonce::new(1)), form };
            let object = object(Kind::Segment(name));
            assert_eq!(Object::of_file(&key, &object.file()), Some(object));
        }
        assert_eq!(Object::of_file(&key, "a b.m3u8"), None);
        assert_eq!(Object::of_file(&key, "x/a-7.ts"), None, "in another folder");
    }
}
