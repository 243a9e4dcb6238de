//! Which stream a path means where streams, or their playlists and segments, have other paths than the usual ones, or
//! not all formats (`play.mounts`, `play.formats`, `hls.playlist_path`, `hls.segment_path`).

use weir_config::{LiveFormat, Mount, Vhost};
use weir_hub::Status;
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
    let named = named(node, usual.as_ref(), target, host, &path);
    let is_segment = |named: &Route| matches!(named.named, Some(Named::Segment(_)));
    if named.as_ref().is_some_and(|named| !is_segment(named)) {
        return named;
    }
    let file = path.rsplit_once('/').map_or(&*path, |(_, file)| file);
    let (_, extension) = file.rsplit_once('.').unwrap_or_default();
    let Some(format) = LiveFormat::of_extension(extension) else { return named.or(usual) };
    // What is named as a file of HLS is one unless a stream is called that, and so is a key frame.
    let is_file = |usual: &Route| usual.container().is_none() && !usual.is_ambiguous();
    if named.is_none() && usual.as_ref().is_some_and(is_file) {
        return usual;
    }
    let segment = named.or_else(|| usual.clone().filter(Route::is_ambiguous));
    let live = live(node, &usual, (target, host), (format, extension), &path);
    match segment {
        None => live,
        Some(segment) => {
            let called = live.map(|live| (is_stream(node, &live), live));
            Some(match called {
                None | Some((Some(false), _)) => segment,
                Some((Some(true), live)) => Route { named: Some(Named::Stream), ..live },
                Some((None, live)) => Route { called: Some(live.url), ..segment },
            })
        }
    }
}

/// The stream that `path` means in this format, if it is served so.
fn live(
    node: &Node,
    usual: &Option<Route>,
    (target, host): (&str, &str),
    (format, extension): (LiveFormat, &str),
    path: &str,
) -> Option<Route> {
    let url = match usual {
        Some(usual) => usual.url.clone(),
        None => any_stream(target, host)?,
    };
    let vhost = node.settings.vhost(&url.vhost);
    if !vhost.play.formats.contains(&format) {
        return None;
    }
    match find(&vhost, format, path) {
        None => usual.clone(),
        Some(found) => found.map(|(app, stream)| Route {
            url: StreamUrl { app, stream: stream_name(&stream).to_owned(), ..url },
            extension: extension.to_owned(),
            named: None,
            called: None,
        }),
    }
}

/// Whether what could be a segment as well is a stream: one that is called that is here or is to be pulled, or there
/// are no segments. None where only those know that streams are pulled from: an edge has their segments as well,
/// whatever its own configuration says.
fn is_stream(node: &Node, live: &Route) -> Option<bool> {
    let Ok((key, vhost)) = live.resolve(node) else { return Some(false) };
    let status = node.streams.registry.status(&key);
    let pulls = node.pulls.as_ref();
    let is_here = matches!(status, Some(Status::Live | Status::Lingering));
    if is_here || pulls.is_some_and(|pulls| pulls.names(&key)) {
        return Some(true);
    }
    if node.edge.is_none() && !vhost.hls.enabled {
        return Some(true);
    }
    let may_be = node.edge.is_some() || pulls.is_some_and(|pulls| pulls.would_pull(&key));
    (!may_be).then_some(false)
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
        called: None,
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
