//! The parameters of a viewer in the playlists that it is given.

use percent_encoding::percent_decode_str;
use weir_hls::SegmentName;

/// Puts the parameters of the viewer who asks behind the names of segments that can be guessed: other servers give such
/// names, and earlier releases did. With them the segment is checked as the playlist was.
pub fn with_params(playlist: &str, params: &str) -> String {
    let mut text = String::with_capacity(playlist.len());
    for line in playlist.split_inclusive('\n') {
        let uri = line.trim_end();
        let name = percent_decode_str(uri).decode_utf8().unwrap_or_default();
        // What lies elsewhere is not told them.
        let can_be_guessed = SegmentName::parse(&name)
            .is_some_and(|(stream, name)| name.nonce.is_none() && !stream.contains('/'));
        if !uri.starts_with('#') && can_be_guessed {
            text += uri;
            text += params;
            text += &line[uri.len()..];
        } else {
            text += line;
        }
    }
    text
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
    }
}
