//! File names in playlists.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Characters of a name that stand for themselves in a URI (RFC 3986, "unreserved"). Others are percent-encoded: a
/// colon before the first slash would make a scheme, a number sign at the line's start a comment.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The URI of a file beside the playlist: its name, percent-encoded.
pub fn uri(file: &str) -> String {
    utf8_percent_encode(file, ENCODED).to_string()
}

/// The name of the file that a relative URI without a query names; none where it is not UTF-8.
pub fn file_name(uri: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(uri).decode_utf8().ok()
}
