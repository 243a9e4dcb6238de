//! Which stream a path means where streams, or their playlists and segments, have other paths than the usual ones, or
//! not all formats (`play.mounts`, `play.formats`, `hls.playlist_path`, `hls.segment_path`).

use weir_config::{LiveFormat, Mount, Vhost};
use weir_outputs::hls::Names;
use weir_rtmp::url::{StreamUrl, discover_http, http_path, stream_name};

use super::route::{Named, Route};
use crate::node::Node;

/// The route of `target` on `host` by what is in force for the vhost that it names. Another node asks with the usual
/// paths, whatever viewers have to.
pub fn route(node: &Node, target: &str, host: &str, is_node: bool) -> Option<Route> {
    let usual = Route::of(target, host);
    if is_node {
        return usual;
    }
    let path = http_path(target);
    if let Some(named) = named(node, usual.as_ref(), target, host, &path) {
        return Some(named);
    }
    let (_, extension) =
        path.rsplit_once('/').map_or(&*path, |(_, file)| file).rsplit_once('.').unwrap_or_default();
    let Some(format) = LiveFormat::of_extension(extension) else { return usual };
    // What is named as a file of HLS is one, and so is a key frame.
    if usual.as_ref().is_some_and(|usual| usual.container().is_none()) {
        return usual;
    }
    let url = match &usual {
        Some(usual) => usual.url.clone(),
        None => any_stream(target, host)?,
    };
    let vhost = node.settings.vhost(&url.vhost);
    if !vhost.play.formats.contains(&format) {
        return None;
    }
    match find(&vhost, format, &path) {
        None => usual,
        Some(found) => found.map(|(app, stream)| Route {
            url: StreamUrl { app, stream: stream_name(&stream).to_owned(), ..url },
            extension: extension.to_owned(),
            named: None,
        }),
    }
}

/// The route of a path that a template of HLS is for.
fn named(
    node: &Node,
    usual: Option<&Route>,
    target: &str,
    host: &str,
    path: &str,
) -> Option<Route> {
    let (_, extension) = path.rsplit_once('.')?;
    if !matches!(extension, "m3u8" | "ts" | "m4s") {
        return None;
    }
    // Most players ask for the usual paths, again and again: they are read once.
    if usual.is_some_and(|usual| Names::of(&node.settings.vhost(&usual.url.vhost).hls).is_none()) {
        return None;
    }
    let url = any_stream(target, host)?;
    let vhost = node.settings.vhost(&url.vhost);
    let names = Names::of(&vhost.hls)?;
    let levels: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let (key, named) = match extension {
        "m3u8" => (names.read_playlist(&vhost.name, &levels)?, Named::Playlist),
        // An edge has what its origins call it.
        _ if node.edge.is_some() => return None,
        _ => {
            let (key, number) = names.read_segment(&vhost.name, &levels)?;
            (key, Named::Segment(number))
        }
    };
    // Which settings hold is not a path's to say.
    (key.vhost() == vhost.name).then(|| Route {
        url: StreamUrl { app: key.app().to_owned(), stream: key.stream().to_owned(), ..url },
        extension: extension.to_owned(),
        named: Some(named),
    })
}

/// App and stream that are mounted under `path`, or nothing where others are; none where the format has no mounts.
fn find(vhost: &Vhost, format: LiveFormat, path: &str) -> Option<Option<(String, String)>> {
    let mut of_format = vhost.play.mounts.iter().filter(|it| it.path.format() == format).peekable();
    of_format.peek()?;
    Some(of_format.find_map(|mount: &Mount| mount.find(path)))
}

/// Vhost and parameters of a path that no usual one looks like.
fn any_stream(target: &str, host: &str) -> Option<StreamUrl> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let host = if host.is_empty() { "localhost" } else { host };
    discover_http(&format!("/app/stream.flv?{query}"), host).map(|(url, _)| url)
}
