//! What an origin is asked for in RTMP.

use std::time::Duration;

use weir_flv::amf0;
use weir_rtmp::url::RtmpUrl;
use weir_upstream::{Call, Failure};

use super::request::Request;
use crate::{Ask, Origin};

/// What `origin` is asked for.
pub fn call(origin: &Origin, request: &Request, dead_after: Duration) -> Result<Call, Failure> {
    Ok(Call {
        url: url(origin, request)?,
        extra: extra(request),
        wait: request.wait,
        dead_after,
        memory: request.memory.clone(),
    })
}

fn extra(request: &Request) -> amf0::Object {
    let mut extra = request.asking().fields();
    if let Some(token) = &request.settings.now().edge.token {
        extra.push(Ask::TOKEN_FIELD, token.expose());
    }
    if !request.page_url.is_empty() {
        extra.push(Ask::PAGE_FIELD, &*request.page_url);
    }
    extra
}

/// Where the stream is at the origin.
///
/// # Errors
/// When a server would read another name out of it. A stream with such a name (white space is one reason) cannot have
/// been published over RTMP, so nobody has it.
pub fn url(origin: &Origin, request: &Request) -> Result<RtmpUrl, Failure> {
    request.question(&origin.host, origin.address, |question| question.rtmp(origin.scheme.is_tls()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;
    use weir_config::{ForwardQuery, Settings};
    use weir_media::{DEFAULT_VHOST, StreamKey};
    use weir_rtmp::url::discover;

    use super::*;
    use crate::{Hops, query::forwarded};

    fn origin(host: &str) -> Origin {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        super::super::tests::origin(at(1936), at(8080), host)
    }

    fn request(vhost: &str, app: &str, stream: &str, params: &str) -> Request {
        let key = StreamKey::new(vhost, app, stream).expect("a name that a stream can have");
        Request {
            key,
            params: forwarded(params, &ForwardQuery::All),
            page_url: std::sync::Arc::default(),
            settings: Settings::default(),
            hops: Hops::default(),
            wait: Duration::ZERO,
            next: false,
            memory: super::super::tests::allowance(),
        }
    }

    #[test]
    fn the_url_names_the_origin_and_the_stream() {
        let plain = url(&origin("origin"), &request(DEFAULT_VHOST, "live/eu", "cam", "?a=b"));
        assert_eq!(plain.expect("a URL").to_string(), "rtmp://origin:1936/live/eu/cam?a=b");
        let vhost = url(&origin("::1"), &request("v.org", "live", "cam", "?a=b"));
        assert_eq!(vhost.expect("a URL").to_string(), "rtmp://[::1]:1936/live/cam?vhost=v.org&a=b");
        let bare = url(&origin("o"), &request("v.org", "live", "cam", ""));
        assert_eq!(bare.expect("a URL").stream_with_query, "cam?vhost=v.org");
    }

    #[test]
    fn names_are_written_so_that_the_origin_reads_the_same() {
        for (app, stream, written) in [
            ("live", "my cam", "live/my cam"),
            ("my app", " cam", "my app/%20cam"),
            ("live", "100%", "live/100%"),
            ("50%20", "x%20y", "50%2520/x%2520y"),
        ] {
            let url = url(&origin("o"), &request(DEFAULT_VHOST, app, stream, "")).expect("a URL");
            assert_eq!(url.to_string(), format!("rtmp://o:1936/{written}"));
        }
    }

    #[test]
    fn a_name_that_rtmp_does_not_carry_is_not_asked_for() {
        let names =
            [(DEFAULT_VHOST, "live/_definst_", "cam"), (DEFAULT_VHOST, "live", "a...vhost...b")];
        for (vhost, app, stream) in names {
            let url = url(&origin("o"), &request(vhost, app, stream, ""));
            assert!(matches!(url, Err(Failure::Missing(_))), "{vhost} {app} {stream}: {url:?}");
        }
        let long = format!("?token={}", "x".repeat(10_000));
        let url = url(&origin("o"), &request(DEFAULT_VHOST, "live", "cam", &long));
        assert!(matches!(url, Err(Failure::Missing(_))), "{url:?}");
    }

    proptest! {
        #[test]
        fn what_arrives_is_what_was_asked_for(app in ".{1,20}", stream in ".{1,20}", vhost in "[a-z._]{1,9}") {
            let Ok(key) = StreamKey::new(&vhost, &app, &stream) else { return Ok(()) };
            let request = Request { key, ..request(DEFAULT_VHOST, "x", "x", "?token=1") };
            let Ok(url) = url(&origin("o"), &request) else { return Ok(()) };
            let read = discover(&url.tc_url, &url.stream_with_query).expect("a stream");
            prop_assert_eq!(StreamKey::new(&read.vhost, &read.app, &read.stream), Ok(request.key));
        }
    }
}
