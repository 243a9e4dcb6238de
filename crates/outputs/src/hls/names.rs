//! What the folders and files of a stream are called, so that no two streams share one, and no folder stands where a
//! file is to be.
//!
//! A name stands for itself wherever it can, so that another web server finds a playlist under the path of its URL.
//! One that cannot (it looks like a file of ours, is too long, or differs from another one in its case only where the
//! file system does not tell them apart) becomes `{what can be read of it}~{its hash}`.

use ring::digest::{SHA256, digest};
use weir_hls::{Rendition, SegmentName};
use weir_media::{DEFAULT_VHOST, StreamKey};

/// Bytes of a file's name that every common file system takes.
const FILE_BYTES_MAX: usize = 255;

/// The extension of playlists.
pub const PLAYLIST: &str = ".m3u8";

/// Longest name of a stream that its segments carry as it is.
const SEGMENT_STREAM_MAX: usize = FILE_BYTES_MAX - SegmentName::LEN_MAX;

/// What files of ours end with: folders never do.
const EXTENSIONS: [&str; 6] = [PLAYLIST, ".ts", ".m4s", ".mp4", ".key", ".tmp"];

/// Characters of a name that stay readable beside its hash.
const READABLE_MAX: usize = 40;

/// Letters of a hash: 128 bits, so that nobody finds two names with the same.
const HASH_LETTERS: usize = 32;

/// Before the hash. A name that ends like one with a hash gets a hash itself.
const MARK: char = '~';

/// How names become those of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naming {
    /// Whether the file system takes names for the same that are not: `A` and `a`, or `a` and `a.`. Then only names of
    /// small ASCII letters, digits, `-`, `_` and inner dots stand for themselves.
    pub folds: bool,
}

impl Naming {
    /// The folders from `hls.dir` down to the files of `key`.
    pub fn folders(self, key: &StreamKey) -> Vec<String> {
        let vhost = (key.vhost() != DEFAULT_VHOST).then(|| format!("@{}", key.vhost()));
        // No part of an app begins with an `@`.
        let vhost = vhost.map(|vhost| match self.is_plain(&vhost[1..]) && is_folder(&vhost) {
            true => vhost,
            false => format!("@{}", hashed(&vhost)),
        });
        let app = key.app().split('/').map(|part| match self.is_plain(part) && is_folder(part) {
            true => part.to_owned(),
            false => hashed(part),
        });
        vhost.into_iter().chain(app).collect()
    }

    /// The playlist of `stream`, without its extension.
    pub fn playlist(self, stream: &str) -> String {
        let is_short = stream.len() + Rendition::LEN_MAX + PLAYLIST.len() <= FILE_BYTES_MAX;
        if is_short && self.is_plain(stream) { stream.to_owned() } else { hashed(stream) }
    }

    /// What the segments of `stream` carry as the name of their stream.
    pub fn segments(self, stream: &str) -> String {
        segments_of(self.playlist(stream))
    }

    fn is_plain(self, name: &str) -> bool {
        let is_common = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        let is_common =
            || name.bytes().all(is_common) && !name.starts_with('.') && !name.ends_with('.');
        // What looks like one of several playlists of a stream would be that.
        let is_rendition = Rendition::of_playlist(name).is_some();
        !is_hashed(name) && !is_rendition && (!self.folds || is_common())
    }
}

/// What the segments of `key` carry as the name of their stream, on a usual disk and without one.
pub fn segments(key: &StreamKey) -> String {
    Naming { folds: false }.segments(key.stream())
}

/// What the segments carry that belong to the playlist with this name (without its extension).
pub fn segments_of(playlist: String) -> String {
    if playlist.len() <= SEGMENT_STREAM_MAX { playlist } else { hashed(&playlist) }
}

/// Whether a folder may have this name.
fn is_folder(name: &str) -> bool {
    let ends_with = |end: &&str| {
        let from = name.len().checked_sub(end.len());
        from.and_then(|from| name.get(from..)).is_some_and(|last| last.eq_ignore_ascii_case(end))
    };
    name.len() <= FILE_BYTES_MAX && !EXTENSIONS.iter().any(ends_with)
}

/// Whether this is a name with a hash.
pub fn is_hashed(name: &str) -> bool {
    let hash = name.rsplit_once(MARK).map_or("", |(_, hash)| hash);
    hash.len() == HASH_LETTERS && hash.bytes().all(|byte| matches!(byte, b'a'..=b'p'))
}

fn hashed(name: &str) -> String {
    let readable = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let mut text: String = readable.take(READABLE_MAX).map(|c| c.to_ascii_lowercase()).collect();
    text.push(MARK);
    let hash = digest(&SHA256, name.as_bytes());
    let halves = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    text.extend(halves.take(HASH_LETTERS).map(|half| char::from(b'a' + half)));
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: Naming = Naming { folds: false };
    const FOLDING: Naming = Naming { folds: true };

    fn key(vhost: &str, app: &str, stream: &str) -> StreamKey {
        StreamKey::new(vhost, app, stream).expect("a good key")
    }

    #[test]
    fn ordinary_names_stand_for_themselves() {
        let folders = |vhost, app| USUAL.folders(&key(vhost, app, "a")).join("/");
        assert_eq!(folders(DEFAULT_VHOST, "live/eu"), "live/eu");
        assert_eq!(folders("example.com", "Live 100%"), "@example.com/Live 100%");
        let longest = "x".repeat(245);
        for stream in
            ["a", "A-5", "my stream 100%", "a.m3u8", "a.ts", "a.tmp", "\u{5830}", &longest]
        {
            assert_eq!(USUAL.playlist(stream), stream);
        }
        assert_eq!(USUAL.segments(&longest[..SEGMENT_STREAM_MAX]), longest[..SEGMENT_STREAM_MAX]);
        assert_eq!(FOLDING.playlist("my-stream_1.hd"), "my-stream_1.hd");
    }

    #[test]
    fn no_folder_looks_like_a_file() {
        for app in ["victim.m3u8", "victim.M3U8", "a-1.ts", ".weir-x.tmp", ".ts"] {
            let folders = USUAL.folders(&key(DEFAULT_VHOST, &format!("live/{app}"), "a"));
            assert!(folders[0] == "live" && is_hashed(&folders[1]), "{folders:?}");
        }
        let vhost = USUAL.folders(&key("x.ts", "live", "a"));
        assert!(vhost[0].starts_with("@xts~") && is_hashed(&vhost[0]), "{vhost:?}");
        assert!(USUAL.folders(&key(&"v".repeat(255), "live", "a"))[0].len() < FILE_BYTES_MAX);
    }

    #[test]
    fn what_looks_like_a_hash_gets_one() {
        let hash = USUAL.playlist(&"x".repeat(255));
        assert!(is_hashed(&hash) && hash.starts_with("xxx"), "{hash}");
        assert_ne!(USUAL.playlist(&hash), hash);
        assert!(is_hashed(&USUAL.playlist(&hash)));
    }

    #[test]
    fn names_that_a_file_system_mixes_up_are_kept_apart() {
        let of = |naming: Naming| {
            ["a", "A", "a.", "\u{e4}", "a\u{308}"].map(|name| naming.playlist(name).to_lowercase())
        };
        let mut names = of(FOLDING);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        assert_eq!(of(USUAL)[1], "a");
    }

    const NAMES: &str = "(a|A|-1|\\.m3u8|\\.ts|\\.tmp|~|abcdefghijklmnop| |%|x{60}){1,4}";

    proptest! {
        #[test]
        fn no_two_streams_share_a_file(
            apps in proptest::array::uniform2(NAMES),
            streams in proptest::array::uniform2(NAMES),
            folds: bool,
        ) {
            let naming = Naming { folds };
            let fold = |path: String| if folds { path.to_lowercase() } else { path };
            let keys = [0, 1].map(|n| key(DEFAULT_VHOST, &apps[n], &streams[n]));
            let [a, b] = keys.clone().map(|key| {
                let folder = naming.folders(&key).join("/");
                let playlist = format!("{}{PLAYLIST}", naming.playlist(key.stream()));
                let name = SegmentName { sequence: 7, nonce: None, form: weir_hls::Form::Ts };
                let segment = name.file(&naming.segments(key.stream()));
                assert!(playlist.len() <= FILE_BYTES_MAX && segment.len() <= FILE_BYTES_MAX);
                [fold(format!("{folder}/{playlist}")), fold(format!("{folder}/{segment}")), fold(folder)]
            });
            if keys[0] != keys[1] {
                for mine in &a[..2] {
                    prop_assert!(!b.contains(mine), "{a:?} {b:?}");
                }
            }
            prop_assert!(!a[..2].contains(&b[2]) && !b[..2].contains(&a[2]), "{a:?} {b:?}");
        }
    }
}
