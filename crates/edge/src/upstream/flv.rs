//! What an origin is asked for in HTTP-FLV.

use std::{future::Future, io, sync::atomic::AtomicBool, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use weir_config::Edge;
use weir_tls::Stream;
use weir_upstream::{Failure, HttpCall, HttpServer, PeerTls, Redirect};

use super::request::Request;
use crate::{Ask, Origin, origins::Port};

/// What a path component is written with as it is; all else is percent-encoded.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The app of a stream has its slashes.
const APP: &AsciiSet = &COMPONENT.remove(b'/');

/// What `origin` is asked for.
pub fn call(origin: &Origin, request: &Request, dead_after: Duration) -> Result<HttpCall, Failure> {
    let key = &request.key;
    let path = format!(
        "/{}/{}.flv",
        utf8_percent_encode(key.app(), APP),
        utf8_percent_encode(key.stream(), COMPONENT)
    );
    let file = format!("{}.flv", key.stream());
    let (host, path_and_query) =
        request.question(&origin.host, origin.http, |question| question.http(&path, &file))?;
    let mut headers = request.asking().headers();
    if !request.page_url.is_empty() {
        headers.push((Ask::PAGE_HEADER, request.page_url.to_string()));
    }
    let token = request.settings.now().edge.token.clone();
    Ok(HttpCall {
        is_tls: origin.scheme.is_tls(),
        host,
        path_and_query,
        headers,
        own_headers: token.into_iter().map(|token| (Ask::TOKEN_HEADER, token)).collect(),
        wait: request.wait,
        dead_after,
        memory: request.memory.clone(),
    })
}

/// An origin that is asked over HTTP, and the settings that say where it may redirect to.
pub struct Asked<'a> {
    /// The origin.
    pub origin: &'a Origin,
    /// The settings in force.
    pub settings: &'a Edge,
}

impl HttpServer for Asked<'_> {
    fn connect(&self, connected: &AtomicBool) -> impl Future<Output = io::Result<Stream>> + Send {
        self.origin.connect(Port::Http, connected)
    }

    fn tls(&self) -> &PeerTls {
        &self.origin.tls
    }

    fn lets_redirect(&self, to: Redirect<'_>) -> Result<(), String> {
        let Self { origin, settings } = self;
        let Redirect { host, port, is_tls } = to;
        match (origin.scheme.is_tls(), is_tls) {
            (true, false) => return Err("which would be without TLS".to_owned()),
            (false, true) if !origin.tls.is_there() => {
                return Err("for which edge.tls must say whom to trust".to_owned());
            }
            _ => {}
        }
        let is_itself = port == origin.http.port()
            && (host.parse() == Ok(origin.http.ip()) || host.eq_ignore_ascii_case(&origin.host));
        if is_itself || settings.lets_redirect(host, port) {
            return Ok(());
        }
        Err("which is in neither edge.origins nor edge.redirects".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use http::Uri;
    use proptest::prelude::*;
    use weir_config::{ForwardQuery, Settings};
    use weir_media::{DEFAULT_VHOST, StreamKey};
    use weir_rtmp::url::discover_http;

    use super::*;
    use crate::{Hops, query::forwarded, tls::origin_tls};

    fn request(vhost: &str, app: &str, stream: &str, params: &str) -> Option<Request> {
        let key = StreamKey::new(vhost, app, stream).ok()?;
        Some(Request {
            key,
            params: forwarded(params, &ForwardQuery::All),
            page_url: std::sync::Arc::default(),
            settings: Settings::default(),
            hops: Hops::default(),
            wait: Duration::ZERO,
            next: false,
            memory: super::super::tests::allowance(),
        })
    }

    fn target(request: &Request) -> String {
        let at = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let origin = super::super::tests::origin(at(1935), at(8080), "origin");
        let call = call(&origin, request, Duration::ZERO).unwrap_or_else(|error| panic!("{error}"));
        call.path_and_query
    }

    #[test]
    fn paths_are_encoded_and_parameters_are_as_they_came() {
        let plain = request(DEFAULT_VHOST, "live/eu", "my cam+1%", "?a=b%20c&d=\u{20ac} #")
            .expect("a request");
        assert_eq!(target(&plain), "/live/eu/my%20cam%2B1%25.flv?a=b%20c&d=%E2%82%AC%20%23");
        let vhost = request("v.org", "live", "a.b", "").expect("a request");
        assert_eq!(target(&vhost), "/live/a.b.flv?vhost=v.org");
    }

    #[test]
    fn redirects_stay_within_the_configuration() {
        let at = |port| std::net::SocketAddr::from(([10, 0, 0, 7], port));
        let origin = super::super::tests::origin(at(1935), at(8080), "origin.example");
        let text = "edge: { origins: [Origin.example, other.example], redirects: ['cdn.example:81', '[fd00::1]'] }";
        let edge = weir_config::Config::parse(&format!("role: edge\n{text}"), "test")
            .expect("a configuration")
            .edge;
        let asked = Asked { origin: &origin, settings: &edge };
        let check =
            |host: &str, port| asked.lets_redirect(Redirect { host, port, is_tls: false }).is_ok();
        for (host, port) in [
            ("10.0.0.7", 8080),
            ("ORIGIN.example", 8080),
            ("other.example", 8080),
            ("cdn.example", 81),
            ("fd00::1", 80),
        ] {
            assert!(check(host, port), "{host} {port}");
        }
        for (host, port) in [
            ("10.0.0.7", 1985),
            ("10.0.0.8", 8080),
            ("127.0.0.1", 8080),
            ("localhost", 8080),
            ("169.254.169.254", 80),
            ("cdn.example", 80),
            ("other.example", 22),
            ("x.other.example", 8080),
            ("other.example.", 8080),
        ] {
            assert!(!check(host, port), "{host} {port}");
        }
        let secure = Redirect { host: "cdn.example", port: 81, is_tls: true };
        let why = asked.lets_redirect(secure).expect_err("nobody is trusted");
        assert!(why.contains("edge.tls"), "{why}");
    }

    #[test]
    fn what_began_with_tls_goes_on_with_it() {
        let at = |port| std::net::SocketAddr::from(([10, 0, 0, 7], port));
        let name = weir_config::OriginName {
            scheme: weir_config::Scheme::Https,
            host: "origin.example".to_owned(),
            port: 443,
        };
        let origin =
            Origin::new((at(443), at(443)), &name, &origin_tls().into(), &Default::default());
        let text =
            "role: edge\nedge: { origins: ['https://origin.example'], redirects: [cdn.example] }\n";
        let edge = weir_config::Config::parse(text, "test").expect("a configuration").edge;
        let request = request(DEFAULT_VHOST, "live", "cam", "").expect("a request");
        let here = call(&origin, &request, Duration::ZERO).expect("a request");
        assert_eq!((here.is_tls, here.host.as_str()), (true, "origin.example:443"));
        let asked = Asked { origin: &origin, settings: &edge };
        let to = |host, is_tls| asked.lets_redirect(Redirect { host, port: 443, is_tls });
        assert_eq!(to("origin.example", true), Ok(()));
        assert!(to("cdn.example", false).is_err_and(|why| why.contains("without TLS")));
    }

    proptest! {
        #[test]
        fn what_arrives_is_what_was_asked_for(app in ".{1,20}", stream in ".{1,20}", vhost in "[a-z.]{1,9}") {
            let Some(request) = request(&vhost, &app, &stream, "?token=1") else { return Ok(()) };
            let target = target(&request);
            let uri: Uri = target.parse().expect("a request target");
            let arrived = uri.path_and_query().expect("a path").as_str();
            let (url, _) = discover_http(arrived, "origin:8080").expect("a stream");
            prop_assert_eq!(StreamKey::new(&url.vhost, &url.app, &url.stream), Ok(request.key));
        }
    }
}
