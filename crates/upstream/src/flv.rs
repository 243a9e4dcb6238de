//! HTTP-FLV from another server.

use std::{
    future::{Future, poll_fn},
    io,
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
use percent_encoding::{CONTROLS, utf8_percent_encode};
use tokio::time::{Instant, timeout, timeout_at};
use weir_clients::SERVER;
use weir_config::Secret;
use weir_flv::{Tag, file};
use weir_intake::{Allowance, HOG, HOG_CHECK};
use weir_tls::{Stream, client::Spoken};

use crate::{
    connect::{connect_to_name, connected as within},
    failure::{Failure, Over, words},
    tls::{PeerTls, Secure},
};

/// Redirects that are followed: one to the server that has the stream, one to its real name, and one more.
const REDIRECTS_MAX: usize = 3;

/// What is read from the server at a time, and how long the head of its answer may be.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a refusal's text that are read.
const REFUSAL_BYTES_MAX: usize = 1024;

/// How long a refusal's text may take: it comes with the head.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The size of the last tag, which ends a file.
const TAIL_BYTES: usize = 4;

/// A server that is asked over HTTP.
pub trait HttpServer: Sync {
    /// Connects to it; `connected` is set as soon as its system has accepted the connection.
    fn connect(&self, connected: &AtomicBool) -> impl Future<Output = io::Result<Stream>> + Send;

    /// Whom to trust where it redirects to HTTPS.
    fn tls(&self) -> &PeerTls;

    /// Whether it may redirect there. What a server says comes from wherever its own answer came from, and must not
    /// have us ask the machines around us.
    ///
    /// # Errors
    /// When it may not: why, as the end of a sentence about the redirect.
    fn lets_redirect(&self, to: Redirect<'_>) -> Result<(), String>;
}

/// Where a redirect leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect<'a> {
    /// A host name or an address, an IPv6 address without its brackets.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// Whether that is HTTPS.
    pub is_tls: bool,
}

/// What is asked of a server in HTTP-FLV.
#[derive(Clone, Debug)]
pub struct HttpCall {
    /// Whether it is asked over TLS.
    pub is_tls: bool,
    /// The `Host` of the request.
    pub host: String,
    /// Its target, percent-encoded.
    pub path_and_query: String,
    /// More of its head.
    pub headers: Vec<(&'static str, String)>,
    /// The same, but only for the server that is meant, and not for one that it redirects to.
    pub own_headers: Vec<(&'static str, Secret)>,
    /// How long the server may hold the question until the stream begins.
    pub wait: Duration,
    /// How long it may say nothing.
    pub dead_after: Duration,
    /// What it may make us hold.
    pub memory: Allowance,
}

/// Where to ask.
struct Target {
    /// Where to connect to, unless it is the server that was meant.
    elsewhere: Option<(String, u16)>,
    /// Whether that is HTTPS.
    is_tls: bool,
    /// The `Host` of the request.
    host: String,
    path_and_query: String,
}

/// The server's answer.
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
    server: &impl HttpServer,
    call: HttpCall,
    connected: &AtomicBool,
) -> Result<(Download, Instant), Failure> {
    let mut target = Target {
        elsewhere: None,
        is_tls: call.is_tls,
        host: call.host.clone(),
        path_and_query: call.path_and_query.clone(),
    };
    let (start, dead_after) = (Instant::now(), call.dead_after);
    let by = start + dead_after + call.wait + dead_after;
    let asking = async {
        for _ in 0..=REDIRECTS_MAX {
            let connect_by = Instant::now() + dead_after;
            let stream = match &target.elsewhere {
                None => within(server.connect(connected), connect_by).await?,
                Some((host, port)) => {
                    let secure = Secure { tls: server.tls(), host, spoken: Spoken::Http };
                    let secure = target.is_tls.then_some(secure);
                    let connecting = connect_to_name((host, *port), secure, connect_by, connected);
                    within(connecting, connect_by).await?
                }
            };
            match ask(stream, &target, &call).await? {
                Answer::Stream(download) => return Ok((download, by)),
                Answer::Elsewhere(status, location) => {
                    target = target.redirect(status, &location)?;
                    target.check(server)?;
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

async fn ask(stream: Stream, target: &Target, call: &HttpCall) -> Result<Answer, Failure> {
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
        .header(header::CONNECTION, "close");
    for (name, value) in &call.headers {
        question = question.header(*name, value);
    }
    let own = call.own_headers.iter().filter(|_| target.elsewhere.is_none());
    for (name, value) in own {
        question = question.header(*name, value.expose());
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
            return Err(Failure::Busy(format!("the server answered {status}: {words}")));
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
    reader.limit_to(&call.memory.budget, call.memory.message_bytes);
    Ok(Answer::Stream(Download {
        link,
        body: response.into_body(),
        reader,
        framed,
        heard: Instant::now(),
        dead_after: call.dead_after,
    }))
}

fn field(response: &Response<Incoming>, name: header::HeaderName) -> &str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What the server says about its no: the text of its answer, or the name of its status.
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

    /// From now on the server may be silent for so long.
    pub fn set_dead_after(&mut self, dead_after: Duration) {
        self.dead_after = dead_after;
    }

    /// The next tag. The server may be silent only for so long: HTTP has no pings.
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
    /// Whether that is where a redirect may lead to.
    fn check(&self, server: &impl HttpServer) -> Result<(), Failure> {
        let Some((host, port)) = &self.elsewhere else { return Ok(()) };
        let to = Redirect { host, port: *port, is_tls: self.is_tls };
        server.lets_redirect(to).map_err(|why| Failure::Refused {
            code: "HTTP 302".to_owned(),
            description: words(&format!("a redirect to {host} port {port}, {why}")),
        })
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
    use super::*;

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
}
