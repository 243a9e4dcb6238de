//! From an HTTP request's target to a stream.

use super::{StreamUrl, URL_BYTES_MAX, discover::decoded, stream_name, vhost_of};

/// The path of `target` (path and query), without percent-encoding.
pub fn http_path(target: &str) -> String {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    decoded(path)
}

/// The stream that `target` (path and query) names on `authority` (the `Host`), and the extension behind it; none for a
/// path that is not `/app/stream.extension`.
///
/// Vhosts are found as in RTMP: `?vhost=`, `?domain=`, else the host. The path is not run through RTMP's rules, which
/// take a `?` or `#` in it for parameters: it is what it says.
pub fn discover_http(target: &str, authority: &str) -> Option<(StreamUrl, String)> {
    if target.len() > URL_BYTES_MAX || authority.len() > URL_BYTES_MAX {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = decoded(path);
    let (app, file) = path.strip_prefix('/')?.rsplit_once('/')?;
    let (stream, extension) = file.rsplit_once('.')?;
    let url = StreamUrl {
        vhost: vhost_of(authority, query),
        app: app.to_owned(),
        stream: stream_name(stream).to_owned(),
        params: if query.is_empty() { String::new() } else { format!("?{query}") },
    };
    Some((url, extension.to_owned()))
}
