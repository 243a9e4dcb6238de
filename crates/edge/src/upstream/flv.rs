//! HTTP-FLV from an origin.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::atomic::AtomicBool,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{StatusCode, Uri, header};
use http_body::{Body as _, Frame};
use http_body_util::Empty;
use hyper::{
    Response,
    body::Incoming,
    client::conn::http1::{self, Connection},
};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, timeout, timeout_at};
use weir_clients::SERVER;
use weir_flv::{Tag, file};
use weir_intake::{HOG, HOG_CHECK};
use weir_tls::{Stream, client::Spoken};

use super::{
    failure::{Failure, Over, words},
    request::{self, Request},
};
use crate::{Ask, Hops, Origin, connect::connect_to_name, origins::Port, tls::Secure};

/// Redirects that are followed: one to the server that has the stream, one to its real name, and one more.
const REDIRECTS_MAX: usize = 3;

/// What is read from the origin at a time, and how long the head of its answer may be.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a refusal's text that are read.
const REFUSAL_BYTES_MAX: usize = 1024;

/// How long a refusal's text may take: it comes with the head.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The size of the last tag, which ends a file.
const TAIL_BYTES: usize = 4;

/// What a path component is written with as it is; all else is percent-encoded.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The app of a stream has its slashes.
const APP: &AsciiSet = &COMPONENT.remove(b'/');

/// Where to ask.
struct Target {
    /// Where to connect to, unless it is the origin.
    elsewhere: Option<(String, u16)>,
    /// Whether that is HTTPS.
    is_tls: bool,
    /// The `Host` of the request.
    host: String,
    path_and_query: String,
}

/// The origin's answer.
enum Answer {
    Stream(Download),
    /// The `Location` of a redirect.
    Elsewhere(StatusCode, String),
}

/// A stream on its way.
pub struct Download {
    link: Link,
    body: Incoming,
    reader: file::Reader,
    /// Whether the end of the body can be told from the end of the connection.
    framed: bool,
    heard: Instant,
    dead_after: Duration,
}

/// Asks for a stream until the head of the answer is there. Also returns when the first tag must have come.
pub async fn open(
    origin: &Origin,
    request: &Request,
    dead_after: Duration,
    connected: &AtomicBool,
) -> Result<(Download, Instant), Failure> {
    let mut target = Target::of(origin, request)?;
    let start = Instant::now();
    let by = start + dead_after + request.wait + dead_after;
    let asking = async {
        for _ in 0..=REDIRECTS_MAX {
            let connect_by = Instant::now() + dead_after;
            let stream = match &target.elsewhere {
                None => {
                    request::connected(origin.connect(Port::Http, connected), connect_by).await?
                }
                Some((host, port)) => {
                    let secure = Secure { tls: &origin.tls, host, spoken: Spoken::Http };
                    let secure = target.is_tls.then_some(secure);
                    let connecting = connect_to_name((host, *port), secure, connect_by, connected);
                    request::connected(connecting, connect_by).await?
                }
            };
            match ask(stream, &target, request, dead_after).await? {
                Answer::Stream(download) => return Ok((download, by)),
                Answer::Elsewhere(status, location) => {
                    target = target.redirect(status, &location)?;
                    target.check(origin, &request.settings.now().edge)?;
                }
            }
        }
        Err(Failure::Refused {
            code: "HTTP 302".to_owned(),
            description: format!(
                "more than {REDIRECTS_MAX} redirects, the last to {}",
                target.host
            ),
        })
    };
    let late = || Failure::Unreachable(format!("no answer within {:?}", by - start));
    timeout_at(by, asking).await.map_err(|_| late())?
}

async fn ask(
    stream: Stream,
    target: &Target,
    request: &Request,
    dead_after: Duration,
) -> Result<Answer, Failure> {
    let broke = |error| Failure::Unreachable(broken(&error));
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(READ_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broke)?;
    let mut link = Link(Some(Box::pin(connection)));
    let mut question = http::Request::get(target.path_and_query.as_str())
        .header(header::HOST, &target.host)
        .header(header::USER_AGENT, SERVER)
        .header(header::CONNECTION, "close")
        .header(Hops::HEADER, request.hops.to_string())
        .header(Ask::WAIT_HEADER, u64::try_from(request.wait.as_millis()).unwrap_or(u64::MAX));
    if request.next {
        question = question.header(Ask::NEXT_HEADER, "1");
    }
    let question = question
        .body(Empty::new())
        .map_err(|error| Failure::Missing(format!("HTTP cannot request it: {error}")))?;
    let response = link.with(sender.send_request(question)).await.map_err(broke)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => {
            let location = field(&response, header::LOCATION);
            return Ok(Answer::Elsewhere(response.status(), location.to_owned()));
        }
        StatusCode::NOT_FOUND => return Err(Failure::Missing(refusal(&mut link, response).await)),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            let words = refusal(&mut link, response).await;
            return Err(Failure::Busy(format!("the origin answered {status}: {words}")));
        }
        status => {
            let code = format!("HTTP {}", status.as_u16());
            return Err(Failure::Refused { code, description: refusal(&mut link, response).await });
        }
    }
    let encoding = field(&response, header::TRANSFER_ENCODING).to_ascii_lowercase();
    let framed =
        encoding.ends_with("chunked") || response.headers().contains_key(header::CONTENT_LENGTH);
    let mut reader = file::Reader::new();
    reader.limit_to(&request.memory.budget, request.memory.message_bytes);
    Ok(Answer::Stream(Download {
        link,
        body: response.into_body(),
        reader,
        framed,
        heard: Instant::now(),
        dead_after,
    }))
}

fn field(response: &Response<Incoming>, name: header::HeaderName) -> &str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What the origin says about its no: the text of its answer, or the name of its status.
async fn refusal(link: &mut Link, response: Response<Incoming>) -> String {
    let status = response.status().canonical_reason().unwrap_or("no reason given").to_owned();
    // Pages are for browsers.
    if !field(&response, header::CONTENT_TYPE).starts_with("text/plain") {
        return status;
    }
    let (mut body, mut text) = (response.into_body(), Vec::new());
    let read = async {
        while let Some(Ok(frame)) = link.frame(&mut body).await {
            text.extend(frame.into_data().unwrap_or_default());
            if text.len() >= REFUSAL_BYTES_MAX {
                break;
            }
        }
    };
    // What has come by then is as much as there is to say.
    let _ = timeout(REFUSAL_TIMEOUT, read).await;
    match words(String::from_utf8_lossy(&text).trim()) {
        text if text.is_empty() => status,
        text => text,
    }
}

impl Download {
    /// The next tag, however long it takes. Nothing is lost when it is cancelled.
    pub async fn tag(&mut self) -> Result<Tag, Over> {
        loop {
            match self.reader.poll() {
                Ok(Some(file::Item::Tag(tag))) => return Ok(tag),
                Ok(Some(file::Item::Header(_))) => continue,
                Ok(None) => {}
                Err(error) => return Err(Over::Broke(format!("it did not send FLV: {error}"))),
            }
            match self.link.frame(&mut self.body).await {
                Some(Ok(frame)) => {
                    self.heard = Instant::now();
                    self.reader.push(&frame.into_data().unwrap_or_default());
                }
                Some(Err(error)) => return Err(Over::Broke(broken(&error))),
                None if self.reader.buffered() > TAIL_BYTES => {
                    return Err(Over::Broke("the stream ended inside a tag".to_owned()));
                }
                None if self.framed => return Err(Over::Ended),
                None => return Err(Over::Closed),
            }
        }
    }

    /// From now on the origin may be silent for so long.
    pub fn set_dead_after(&mut self, dead_after: Duration) {
        self.dead_after = dead_after;
    }

    /// The next tag. The origin may be silent only for so long: HTTP has no pings.
    pub async fn next(&mut self) -> Result<Tag, Over> {
        loop {
            let silent_at = self.heard + self.dead_after;
            let look_at = silent_at.min(Instant::now() + HOG_CHECK);
            match timeout_at(look_at, self.tag()).await {
                Ok(tag) => return tag,
                Err(_) if self.reader.is_hog() => return Err(Over::Broke(HOG.to_owned())),
                Err(_) if look_at < silent_at => {}
                Err(_) if self.heard + self.dead_after > silent_at => {}
                Err(_) => return Err(Over::Broke(format!("silent for {:?}", self.dead_after))),
            }
        }
    }
}

/// The connection, which hyper wants to be polled beside what goes over it; gone when it is done.
struct Link(Option<Pin<Box<Http>>>);

type Http = Connection<TokioIo<Stream>, Empty<Bytes>>;

impl Link {
    async fn with<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| {
            self.poll(cx);
            future.as_mut().poll(cx)
        })
        .await
    }

    /// The next part of a body. Nothing is lost when it is cancelled.
    async fn frame(&mut self, body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
        poll_fn(|cx| {
            // What has come already needs no look at the socket.
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(frame);
            }
            self.poll(cx);
            Pin::new(&mut *body).poll_frame(cx)
        })
        .await
    }

    /// An error of the connection comes out of what goes over it.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            && connection.as_mut().poll(cx).is_ready()
        {
            self.0 = None;
        }
    }
}

/// hyper's errors say little without their cause.
fn broken(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "it closed the connection".to_owned();
    }
    match std::error::Error::source(error) {
        Some(cause) => words(&format!("connection failed: {error}: {cause}")),
        None => words(&format!("connection failed: {error}")),
    }
}

impl Target {
    /// The stream at the origin.
    fn of(origin: &Origin, request: &Request) -> Result<Self, Failure> {
        let key = &request.key;
        let path = format!(
            "/{}/{}.flv",
            utf8_percent_encode(key.app(), APP),
            utf8_percent_encode(key.stream(), COMPONENT)
        );
        let file = format!("{}.flv", key.stream());
        let (host, path_and_query) =
            request.question(&origin.host, origin.http, |question| question.http(&path, &file))?;
        Ok(Self { elsewhere: None, is_tls: origin.scheme.is_tls(), host, path_and_query })
    }

    /// Whether that is where a redirect may lead to. What an origin says comes from wherever its own answer came from,
    /// and must not have us ask the machines around us.
    fn check(&self, origin: &Origin, settings: &weir_config::Edge) -> Result<(), Failure> {
        let Some((host, port)) = &self.elsewhere else { return Ok(()) };
        let refused = |why: String| Failure::Refused {
            code: "HTTP 302".to_owned(),
            description: words(&format!("a redirect to {host} port {port}, {why}")),
        };
        match (origin.scheme.is_tls(), self.is_tls) {
            (true, false) => return Err(refused("which would be without TLS".to_owned())),
            (false, true) if !origin.tls.is_there() => {
                return Err(refused("for which edge.tls must say whom to trust".to_owned()));
            }
            _ => {}
        }
        let is_itself = *port == origin.http.port()
            && (host.parse() == Ok(origin.http.ip()) || host.eq_ignore_ascii_case(&origin.host));
        if is_itself || settings.lets_redirect(host, *port) {
            return Ok(());
        }
        Err(refused("which is in neither edge.origins nor edge.redirects".to_owned()))
    }

    /// Where `location` is.
    fn redirect(self, status: StatusCode, location: &str) -> Result<Self, Failure> {
        let no = || Failure::Refused {
            code: format!("HTTP {}", status.as_u16()),
            description: format!(
                "a redirect to {:?}, which is not an http or https URL",
                words(location)
            ),
        };
        // Such a reference keeps the scheme.
        let scheme = match location.starts_with("//") {
            true if self.is_tls => "https:",
            true => "http:",
            false => "",
        };
        let uri = format!("{scheme}{location}").parse::<Uri>().map_err(|_| no())?;
        let path = uri.path_and_query().ok_or_else(no)?;
        let path_and_query = utf8_percent_encode(path.as_str(), CONTROLS).to_string();
        match (uri.scheme_str(), uri.authority()) {
            (None, None) if location.starts_with('/') => Ok(Self { path_and_query, ..self }),
            (Some(scheme @ ("http" | "https")), Some(authority)) => {
                let is_tls = scheme == "https";
                let usual_port = if is_tls { 443 } else { 80 };
                let host = authority.host().trim_matches(['[', ']']).to_owned();
                let elsewhere = Some((host, authority.port_u16().unwrap_or(usual_port)));
                let at = authority.as_str();
                let host = at.rsplit_once('@').map_or(at, |(_, host)| host).to_owned();
                Ok(Self { elsewhere, is_tls, host, path_and_query })
            }
            _ => Err(no()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_config::{ForwardQuery, Settings};
    use weir_media::{DEFAULT_VHOST, StreamKey};
    use weir_rtmp::url::discover_http;

    use super::*;
    use crate::query::forwarded;

    fn request(vhost: &str, app: &str, stream: &str, params: &str) -> Option<Request> {
        let key = StreamKey::new(vhost, app, stream).ok()?;
        Some(Request {
            key,
            params: forwarded(params, &ForwardQuery::All),
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
        let target = Target::of(&origin, request).unwrap_or_else(|error| panic!("{error}"));
        target.path_and_query
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
    fn redirects_stay_within_http() {
        let at = |location: &str| {
            let here = Target {
                elsewhere: None,
                is_tls: false,
                host: "o:80".to_owned(),
                path_and_query: "/a".to_owned(),
            };
            let target = here.redirect(StatusCode::FOUND, location).ok()?;
            Some((target.elsewhere, target.host, target.path_and_query))
        };
        let elsewhere = |host: &str, port| Some((host.to_owned(), port));
        let all = |to, host: &str, path: &str| Some((to, host.to_owned(), path.to_owned()));
        assert_eq!(at("/b?c=d"), all(None, "o:80", "/b?c=d"));
        assert_eq!(at("http://h/b"), all(elsewhere("h", 80), "h", "/b"));
        assert_eq!(at("http://u@[::1]:81/b"), all(elsewhere("::1", 81), "[::1]:81", "/b"));
        assert_eq!(at("//h:82/b"), all(elsewhere("h", 82), "h:82", "/b"));
        assert_eq!(at("https://h/b"), all(elsewhere("h", 443), "h", "/b"));
        for none in ["", "b", "//", "rtmp://h/b", "http://"] {
            assert_eq!(at(none), None, "{none}");
        }
    }

    #[test]
    fn redirects_stay_within_the_configuration() {
        let at = |port| std::net::SocketAddr::from(([10, 0, 0, 7], port));
        let origin = super::super::tests::origin(at(1935), at(8080), "origin.example");
        let text = "edge: { origins: [Origin.example, other.example], redirects: ['cdn.example:81', '[fd00::1]'] }";
        let edge = weir_config::Config::parse(&format!("role: edge\n{text}"), "test")
            .expect("a configuration")
            .edge;
        let target = |elsewhere, is_tls| {
            let (host, path_and_query) = (String::new(), "/a".to_owned());
            Target { elsewhere, is_tls, host, path_and_query }
        };
        let check = |host: &str, port| {
            let elsewhere = Some((host.to_owned(), port));
            target(elsewhere, false).check(&origin, &edge).is_ok()
        };
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
        let secure = target(Some(("cdn.example".to_owned(), 81)), true);
        let why = secure.check(&origin, &edge).expect_err("nobody is trusted").to_string();
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
            Origin::new((at(443), at(443)), &name, &Default::default(), &Default::default());
        let text =
            "role: edge\nedge: { origins: ['https://origin.example'], redirects: [cdn.example] }\n";
        let edge = weir_config::Config::parse(text, "test").expect("a configuration").edge;
        let key = StreamKey::new(DEFAULT_VHOST, "live", "cam").expect("a key");
        let request = request(key.vhost(), key.app(), key.stream(), "").expect("a request");
        let to = |location: &str| {
            let here = Target::of(&origin, &request).expect("a request");
            assert_eq!((here.is_tls, here.host.as_str()), (true, "origin.example:443"));
            let there = here.redirect(StatusCode::FOUND, location).expect("a URL");
            let checked = there.check(&origin, &edge).map_err(|failure| failure.to_string());
            (there.is_tls, checked)
        };
        assert_eq!(to("/other"), (true, Ok(())));
        assert_eq!(to("//origin.example/other"), (true, Ok(())));
        let (is_tls, checked) = to("http://cdn.example/other");
        assert!(!is_tls && checked.is_err_and(|why| why.contains("without TLS")));
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
