//! `tcUrl` and stream name to vhost, app and stream.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use weir_flv::amf0;
use weir_media::DEFAULT_VHOST;

use super::{URL_BYTES_MAX, params, split_authority};
use crate::Error;

/// The app of a URL that has none, as in SRS.
pub const DEFAULT_APP: &str = "__defaultApp__";

/// What a client asks to publish or play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamUrl {
    /// The vhost that the query asks for, else the host of `tcUrl`, else [`DEFAULT_VHOST`]. Whether it is a
    /// configured one is the caller's to decide.
    pub vhost: String,
    /// The app, possibly of several levels.
    pub app: String,
    /// The stream's name.
    pub stream: String,
    /// The query: empty, or from its `?` on.
    pub params: String,
}

/// The stream that `tcUrl` and the name in `publish` or `play` mean together.
///
/// - The last component of the path is the stream, the rest the app: `rtmp://h/live` + `eu/cam` is app `live/eu`,
///   stream `cam`.
/// - `?vhost=` or `?domain=`, in `tcUrl` or the name, asks for a vhost; `...vhost...` means `?vhost=`. What stands for
///   a parameter is said in [`params`].
/// - A query in `tcUrl`, as FMLE has it (`rtmp://h/app?k=v` or `#k=v`), belongs behind the stream.
/// - App and name are percent-decoded once, after the queries have been taken off: `my%20cam` is `my cam`, and a slash
///   that was encoded is a slash, as in HTTP. What is not UTF-8 then stays encoded.
/// - `/_definst_`, FMS's default instance, is taken out.
/// - What stands behind the stream's name as it would in HTTP, such as `.flv`, is [taken off](stream_name).
/// - With an empty name the stream is the last component of the app, or what follows the last slash in `tcUrl`'s query.
///
/// Unlike in SRS a slash in the name's own query (a signature in base64) does not begin another path component, and
/// with two or more components in front of an empty name only the last one is the stream.
///
/// # Errors
/// If either part is longer than [`URL_BYTES_MAX`], or no stream is named.
pub fn discover(tc_url: &str, stream: &str) -> Result<StreamUrl, Error> {
    if tc_url.len() > URL_BYTES_MAX || stream.len() > URL_BYTES_MAX {
        return Err(Error::url(&format!("{tc_url}/{stream}"), "it is too long"));
    }
    let (tc_url, stream) = (normalize(tc_url), normalize(stream));
    let (base, tc_query) = split_query(&tc_url);
    let (name, name_query) = split_query(&stream);
    let (authority, app) = split_base(base);
    let authority = authority.trim_matches(' ');
    let wrong = |reason| Error::url(&format!("{tc_url}/{stream}"), reason);
    let path = decoded(&trimmed(&format!("/{app}/{name}"))).replace("/_definst_", "");
    let (app, name, hidden) = split_path(&path, name, tc_query);
    let (name, tc_query) = match hidden {
        Some((query, hidden)) => match decoded(&trimmed(hidden)) {
            name if name.contains('/') => return Err(wrong("its name has a slash")),
            name => (name, query),
        },
        None => (name.to_owned(), tc_query),
    };
    let name = stream_name(&name).to_owned();
    if name.is_empty() {
        return Err(wrong("it has no stream name"));
    }
    let params = without_spaces(&join_queries(name_query, tc_query));
    let asks_default = params::vhost(&params).is_some_and(|asked| asked == DEFAULT_VHOST);
    let is_all = params::params(&params).count() == 1;
    Ok(StreamUrl {
        vhost: vhost_of(authority, &params),
        app: if app.is_empty() { DEFAULT_APP } else { app }.to_owned(),
        stream: name,
        params: if asks_default && is_all { String::new() } else { params },
    })
}

/// Extensions that SRS takes off the names of streams, whoever names them.
const EXTENSIONS: [&str; 4] = [".flv", ".m3u8", ".mp4", ".ts"];

/// The stream that `name` names: SRS edges whose first viewer comes over HTTP ask their origin for `cam.flv`, and mean
/// `cam`.
///
/// All such extensions are taken off, however many there are, so that a name that has been through here means the same
/// wherever it comes next: an edge that lets `cam.flv` pass must not be given `cam` by its origin.
pub fn stream_name(mut name: &str) -> &str {
    let stem = |name| EXTENSIONS.iter().find_map(|extension| str::strip_suffix(name, extension));
    while let Some(shorter) = stem(name).filter(|shorter| !shorter.is_empty()) {
        name = shorter;
    }
    name
}

/// How many bytes of the path of `tc_url` are `app`, which the client says as well; 0 if the path does not go on behind
/// it, or is another one.
pub fn app_bytes(tc_url: &str, app: &str) -> u16 {
    let app = split_query(app).0.trim_matches('/');
    let path = path_of(tc_url);
    let goes_on = path.strip_prefix(app).is_some_and(|rest| rest.starts_with('/'));
    if goes_on { u16::try_from(app.len()).unwrap_or(0) } else { 0 }
}

/// `tc_url` without the stream's name, where it has that as well: node-media-server connects to
/// `rtmp://host/live/cam`, says that the app is `live`, and plays `cam`. [`app_bytes`] says how much of the path is the
/// app. Where what follows is not the name of `stream`, `tc_url` is right and the app is not looked at, as in SRS.
pub fn without_stream<'a>(tc_url: &'a str, app_bytes: u16, stream: &str) -> Cow<'a, str> {
    let name = split_query(stream).0.trim_matches('/');
    let rest = path_of(tc_url).get(app_bytes.into()..).and_then(|rest| rest.strip_prefix('/'));
    if app_bytes == 0 || name.is_empty() || rest != Some(name) {
        return Cow::Borrowed(tc_url);
    }
    let base = split_query(tc_url).0;
    let (query, base) = (&tc_url[base.len()..], base.trim_end_matches('/'));
    Cow::Owned(format!("{}{query}", &base[..base.len() - name.len() - 1]))
}

/// The path of `tcUrl`, without slashes around it.
fn path_of(tc_url: &str) -> &str {
    split_base(split_query(tc_url).0).1.trim_matches('/')
}

/// App and stream of the whole path. Where the stream hides in `tcUrl`'s query: what is left of that, and the stream as
/// it is written there.
fn split_path<'a>(
    path: &'a str,
    name: &str,
    query: &'a str,
) -> (&'a str, &'a str, Option<(&'a str, &'a str)>) {
    let path = path.trim_matches('/');
    if let Some((app, name)) = path.rsplit_once('/') {
        return (app.trim_end_matches('/'), name, None);
    }
    if !name.trim_matches('/').is_empty() {
        return ("", path, None);
    }
    // The only component is the app.
    (path, "", query.trim_end_matches('/').rsplit_once('/'))
}

/// Takes line ends and tabs out, which people copy along with URLs, and writes `...vhost...` as a query.
fn normalize(text: &str) -> String {
    let text: String = text.chars().filter(|c| !matches!(c, '\t' | '\r' | '\n')).collect();
    text.replace("...vhost...", "?vhost=")
}

/// A path without the spaces around its parts, which were copied along. Those within a name belong to it.
fn trimmed(path: &str) -> String {
    path.split('/').map(|part| part.trim_matches(' ')).collect::<Vec<_>>().join("/")
}

fn without_spaces(query: &str) -> String {
    query.replace(' ', "")
}

/// A path, percent-decoded once. A `%` that begins no code stands for itself, and so does each `+`. Bytes that are not
/// UTF-8, of names in GBK for example, stay percent-encoded: that is their name here, and decoded again they stay it.
///
/// The one place where names are decoded, for RTMP and for HTTP: the same text names the same stream in both.
pub(super) fn decoded(path: &str) -> String {
    let bytes: Cow<'_, [u8]> = percent_decode_str(path).into();
    amf0::escaped(&bytes).into_owned()
}

/// How an app or a stream is written in RTMP, so that [`discover`] finds it. As it is where that can be: other servers
/// do not decode names.
pub fn written(name: &str) -> Cow<'_, str> {
    let is_code = |rest: &str| {
        let code = rest.as_bytes();
        code.len() > 2 && code[1..3].iter().all(u8::is_ascii_hexdigit)
    };
    let is_outside = |at: usize| {
        let (before, behind) = (&name[..at], &name[at + 1..]);
        let is_end = |rest: &str, next: Option<char>| rest.is_empty() || next == Some('/');
        let (before, behind) = (before.trim_end_matches(' '), behind.trim_start_matches(' '));
        is_end(before, before.chars().next_back()) || is_end(behind, behind.chars().next())
    };
    let mut text = String::new();
    let mut rest = 0;
    for (at, c) in name.char_indices() {
        let code = match c {
            '%' if is_code(&name[at..]) => "%25",
            ' ' if is_outside(at) => "%20",
            _ => continue,
        };
        text.push_str(&name[rest..at]);
        text.push_str(code);
        rest = at + 1;
    }
    if rest == 0 {
        return name.into();
    }
    text.push_str(&name[rest..]);
    text.into()
}

/// Splits at the first `?` or `#`; the second part is without it.
fn split_query(text: &str) -> (&str, &str) {
    text.split_once(['?', '#']).map_or((text, ""), |(path, query)| (path, query))
}

/// Authority and path of `tcUrl` without its query.
fn split_base(base: &str) -> (&str, &str) {
    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    rest.split_once('/').unwrap_or((rest, ""))
}

fn join_queries(first: &str, second: &str) -> String {
    match (first, second) {
        ("", "") => String::new(),
        (query, "") | ("", query) => format!("?{query}"),
        (first, second) => format!("?{first}&{second}"),
    }
}

/// The vhost that is meant at `authority` with these parameters: the one that they ask for, else the host, else
/// [`DEFAULT_VHOST`].
pub fn vhost_of(authority: &str, params: &str) -> String {
    let host = split_authority(authority).map_or(authority, |(host, _)| host);
    match params::vhost(params) {
        Some(vhost) if vhost != DEFAULT_VHOST => vhost.into_owned(),
        _ if host.is_empty() => DEFAULT_VHOST.to_owned(),
        _ => host.to_owned(),
    }
}
