//! From an HTTP request's path to a stream.

use std::sync::Arc;

use weir_config::Vhost;
use weir_delivery::Container;
use weir_hls::SegmentName;
use weir_media::{InvalidKey, StreamKey};
use weir_rtmp::url::{StreamUrl, discover_http, params, stream_name};

use crate::node::Node;

/// The parameter that asks for the newest key frame instead of the stream.
const STILL: &str = "still";

/// What a media request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What path, query and host name.
    pub url: StreamUrl,
    /// `flv`, `m3u8`, `ts`, and what else there is.
    pub extension: String,
    /// Whether it is found by a template of the configuration (`hls.playlist_path`, `hls.segment_path`).
    pub named: Option<Named>,
    /// The stream that is called as this segment is, where only others know whether there is one.
    pub called: Option<StreamUrl>,
}

/// What a template of the configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The playlist that players load first.
    Playlist,
    /// The segment with this number.
    Segment(u64),
    /// The stream itself, although it is called as a segment of another one would be.
    Stream,
}

impl Route {
    /// The route of `target` (path and query) on `host`; none for a path that is not `/app/stream.extension`.
    ///
    /// Vhosts are found as in RTMP: `?vhost=`, `?domain=`, else the host.
    pub fn of(target: &str, host: &str) -> Option<Self> {
        // A client that names no host has reached this one.
        let host = if host.is_empty() { "localhost" } else { host };
        let (url, extension) = discover_http(target, host)?;
        Some(Self { url, extension, named: None, called: None })
    }

    /// The stream, and the settings it falls under.
    ///
    /// # Errors
    /// When it is no name that a stream can have.
    pub fn resolve(&self, node: &Node) -> Result<(StreamKey, Arc<Vhost>), InvalidKey> {
        node.resolve(&self.url)
    }

    /// The parameters of the request, with the `?`; empty if there are none.
    pub fn params(&self) -> String {
        self.url.params.clone()
    }

    /// The file without an end that this is, if it is one. What is named as segments of HLS are is one of those, unless
    /// a stream is called that ([`Self::is_ambiguous`]).
    pub fn container(&self) -> Option<Container> {
        let container = Container::of_extension(&self.extension)?;
        let is_live = match self.named {
            Some(Named::Stream) => true,
            Some(Named::Playlist | Named::Segment(_)) => false,
            None => self.segment().is_none() && !self.is_still(),
        };
        is_live.then_some(container)
    }

    /// Whether it may be a segment of one stream or the whole of another: what ends with a number is called as segments
    /// of other servers are.
    pub fn is_ambiguous(&self) -> bool {
        let segment = self.segment().filter(|_| self.named.is_none());
        segment.is_some_and(|(_, name)| name.nonce.is_none())
    }

    /// Whether this is the newest key frame of a stream.
    pub fn is_still(&self) -> bool {
        let mut params = params::params(&self.url.params);
        self.extension == "mp4" && params.any(|param| param.name() == STILL)
    }

    /// The route of the stream that this is a segment of, if it is one.
    pub fn segment(&self) -> Option<(Self, SegmentName)> {
        let file = format!("{}.{}", self.url.stream, self.extension);
        let (stream, name) = SegmentName::parse(&file)?;
        let url = StreamUrl { stream: stream_name(stream).to_owned(), ..self.url.clone() };
        Some((Self { url, extension: self.extension.clone(), named: None, called: None }, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str, host: &str) -> Option<(String, String, String, String)> {
        let Route { url, extension, .. } = Route::of(target, host)?;
        Some((url.vhost, url.app, url.stream, extension))
    }

    fn owned(parts: (&str, &str, &str, &str)) -> Option<(String, String, String, String)> {
        Some((parts.0.into(), parts.1.into(), parts.2.into(), parts.3.into()))
    }

    #[test]
    fn paths_name_app_stream_and_extension() {
        let host = "example.com:8080";
        assert_eq!(parts("/live/a.flv", host), owned(("example.com", "live", "a", "flv")));
        assert_eq!(
            parts("/live/eu/a.b.m3u8?x=1", host),
            owned(("example.com", "live/eu", "a.b", "m3u8"))
        );
        assert_eq!(parts("/live/a.flv?vhost=v.org", host), owned(("v.org", "live", "a", "flv")));
        assert_eq!(parts("/live/%E5%A0%B0.flv", host), owned(("example.com", "live", "堰", "flv")));
        assert_eq!(parts("/live/%FF.flv", host), owned(("example.com", "live", "%FF", "flv")));
        for none in ["/", "/a.flv", "/live/a", "live/a.flv"] {
            assert_eq!(parts(none, host), None, "{none}");
        }
    }

    #[test]
    fn a_path_that_leaves_its_directory_is_no_stream() {
        for path in
            ["/live/../../etc/passwd.flv", "/live/%2e%2e/a.flv", "/live/..%2fa.flv", "//etc/a.flv"]
        {
            let Some((vhost, app, stream, _)) = parts(path, "h") else { continue };
            assert!(
                StreamKey::new(&vhost, &app, &stream).is_err(),
                "{path} became {app:?} {stream:?}"
            );
        }
    }

    #[test]
    fn files_without_an_end_are_what_no_segment_and_no_still_is() {
        let of = |target: &str| Some(Route::of(target, "h")?.container()?.extension());
        for extension in ["flv", "ts", "mp4", "mp3", "aac"] {
            assert_eq!(of(&format!("/live/a.{extension}?token=x")), Some(extension));
            assert_eq!(of(&format!("/live/cam-1b.{extension}")), Some(extension));
        }
        assert_eq!(of("/live/cam-1.flv"), Some("flv"));
        let segments =
            ["/live/cam-1.ts", "/live/a-7-abcdefghijklmnop.ts", "/live/a-7-abcdefghijklmnop.mp4"];
        for none in
            segments.into_iter().chain(["/live/a.mp4?x=1&still", "/live/a.m3u8", "/live/a.key"])
        {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn what_ends_with_a_number_may_be_a_segment_or_a_stream() {
        let of = |target: &str| Route::of(target, "h").expect("a route");
        let cam = of("/live/cam-1-2.ts");
        assert!(cam.is_ambiguous() && cam.container().is_none());
        let stream = Route { named: Some(Named::Stream), ..cam };
        assert!(!stream.is_ambiguous());
        assert_eq!(stream.container(), Container::of_extension("ts"));
        for sure in ["cam-1-abcdefghijklmnop.ts", "cam-1.mp4", "cam-1.flv", "cam-01.ts", "cam.ts"] {
            assert!(!of(&format!("/live/{sure}")).is_ambiguous(), "{sure}");
        }
    }

    #[test]
    fn segments_carry_their_stream_and_number() {
        let of = |target: &str| {
            let (playlist, name) = Route::of(target, "h")?.segment()?;
            Some((playlist.url.stream, name.sequence, name.nonce.is_some()))
        };
        assert_eq!(of("/live/my-stream-42.ts"), Some(("my-stream".to_owned(), 42, false)));
        let unguessable = of("/live/my-stream-42-abcdefghijklmnop.ts");
        assert_eq!(unguessable, Some(("my-stream".to_owned(), 42, true)));
        assert_eq!(of("/live/my-stream-042.ts"), None);
        assert_eq!(of("/live/my-stream-42.m3u8"), None);
    }
}
