//! Attributes of playlists.

/// A quoted string (RFC 8216bis, 4.2). It cannot have quotes or line ends in it, so they are left out.
pub(crate) fn quoted(text: &str) -> String {
    let allowed = text.chars().filter(|letter| *letter != '"' && !letter.is_control());
    std::iter::once('"').chain(allowed).chain(['"']).collect()
}
