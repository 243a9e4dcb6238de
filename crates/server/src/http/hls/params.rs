//! The parameters of a viewer in the playlists that it is given.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use weir_hls::SegmentName;

/// Tags that have the address of something else in them (RFC 8216bis section 4.4).
const TAGS: [&str; 7] = [
    "#EXT-X-MEDIA:",
    "#EXT-X-I-FRAME-STREAM-INF:",
    "#EXT-X-RENDITION-REPORT:",
    "#EXT-X-MAP:",
    "#EXT-X-KEY:",
    "#EXT-X-PART:",
    "#EXT-X-PRELOAD-HINT:",
];

/// What stands before the address in such a tag.
const URI: &str = "URI=\"";

/// The extension of playlists.
const PLAYLIST: &str = ".m3u8";

/// Puts the parameters of the viewer who asks behind the names that can be guessed: those of other playlists, and those
/// of segments as other servers give them, and earlier releases did. With them the file is checked as the playlist was,
/// and is found below the same vhost.
pub fn with_params(playlist: &str, params: &str) -> String {
    let mut text = String::with_capacity(playlist.len() + 4 * params.len());
    for line in playlist.split_inclusive('\n') {
        match insert_at(line) {
            Some(at) => {
                text += &line[..at];
                text += &after(params, line[..at].contains('?'));
                text += &line[at..];
            }
            None => text += line,
        }
    }
    text
}

/// Whether there is anything in a playlist that parameters would be put behind.
pub fn takes_params(playlist: &str) -> bool {
    playlist.split_inclusive('\n').any(|line| insert_at(line).is_some())
}

/// Where in a line of a playlist the parameters belong, if they do.
fn insert_at(line: &str) -> Option<usize> {
    let (from, to) = if line.starts_with('#') {
        TAGS.iter().find(|tag| line.starts_with(**tag))?;
        let mut starts = line.match_indices(URI).map(|(at, _)| at);
        // Not where another attribute's value ends like that.
        let at = starts.find(|at| matches!(line.as_bytes()[at - 1], b':' | b','))?;
        let from = at + URI.len();
        (from, from + line[from..].find('"')?)
    } else {
        (0, line.trim_end().len())
    };
    can_be_guessed(&line[from..to]).then_some(to)
}

/// What lies elsewhere is not told them.
fn can_be_guessed(uri: &str) -> bool {
    let path = uri.split('?').next().unwrap_or_default();
    let Ok(name) = percent_decode_str(path).decode_utf8() else { return false };
    let is_segment = SegmentName::parse(&name).is_some_and(|(_, name)| name.nonce.is_none());
    !name.contains('/') && (is_segment || name.ends_with(PLAYLIST))
}

/// The parameters as they are written behind others, if there are some.
fn after(params: &str, has_others: bool) -> Cow<'_, str> {
    match params.strip_prefix('?') {
        Some(rest) if has_others => format!("&{rest}").into(),
        _ => params.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_guessed_carry_the_viewers_parameters() {
        let text = "#EXTM3U\n#EXTINF:2.000,a-1.ts\na%20b-1.ts\r\na-2-abcdefghijklmnop.ts\n\
                    other.ts\nhttp://elsewhere/a-1.ts\na-3.ts";
        let expected = "#EXTM3U\n#EXTINF:2.000,a-1.ts\na%20b-1.ts?token=x\r\na-2-abcdefghijklmnop.ts\n\
                        other.ts\nhttp://elsewhere/a-1.ts\na-3.ts?token=x";
        assert_eq!(with_params(text, "?token=x"), expected);
        assert_eq!(with_params(text, ""), text);
        assert!(takes_params(text) && !takes_params("#EXTM3U\na-2-abcdefghijklmnop.ts\n"));
    }

    #[test]
    fn playlists_carry_them_wherever_they_are_named() {
        for (line, expected) in [
            ("a~v1.m3u8", "a~v1.m3u8?t=1&u"),
            ("a~v1.m3u8?b=2", "a~v1.m3u8?b=2&t=1&u"),
            (
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"URI=\",URI=\"a~a1.m3u8\",DEFAULT=NO",
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"URI=\",URI=\"a~a1.m3u8?t=1&u\",DEFAULT=NO",
            ),
            (
                "#EXT-X-RENDITION-REPORT:URI=\"a~v1.m3u8\",LAST-MSN=7",
                "#EXT-X-RENDITION-REPORT:URI=\"a~v1.m3u8?t=1&u\",LAST-MSN=7",
            ),
        ] {
            assert_eq!(with_params(line, "?t=1&u"), expected);
        }
        for line in [
            "http://elsewhere/a~v1.m3u8",
            "/other/a.m3u8",
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"b\",DEFAULT=YES",
            "#EXT-X-MAP:URI=\"a-7-abcdefghijklmnop.mp4\"",
            "#EXT-X-KEY:METHOD=AES-128,URI=\"a-7-abcdefghijklmnop.key\"",
            "#EXT-X-PART:DURATION=0.2,URI=\"a-7-abcdefghijklmnop.0.m4s\"",
            "#EXT-X-SOMETHING:URI=\"a.m3u8\"",
            "#EXT-X-MEDIA:URI=\"a.m3u8",
            "# a.m3u8",
        ] {
            assert_eq!(with_params(line, "?t=1&u"), line);
        }
    }
}
