//! Requests for playlists and files of HLS, one after the other over a connection of HTTP/1: most of what is ever
//! asked.
//!
//! They are read and answered here, without hyper ([ADR 70](../../../../docs/adr/0070-playlists-without-hyper.md)).
//! The first request that is for something else, or is not as players write it, goes to hyper with its connection, and
//! so does all that comes behind it: what is hard about HTTP is done once.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{IoSlice, Write as _},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::response::Response;
use bytes::{Buf as _, Bytes};
use http::{
    HeaderName, HeaderValue, Method, Request, StatusCode, Uri,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};
use http_body::Body as _;
use httparse::{EMPTY_HEADER, Status};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    time::{Instant, Sleep, sleep},
};
use weir_clients::{
    end::{End, Kind},
    roster::Farewell,
};
use weir_media::Charge;
use weir_tls::Stream;

use super::{
    answer,
    beside::Guest,
    head::{self, HEAD_BYTES_MAX, HEAD_TIMEOUT},
    hls::Answer,
    io::ClientIo,
    media::{self, Asked},
    peer::Peer,
    room,
};
use crate::node::Node;

/// Fields of a request that is answered here. Browsers send some 15.
const FIELDS_MAX: usize = 48;

/// What is read at once: most heads are shorter.
const READ_BYTES: usize = 1024;

/// The longest head that is remembered until it comes again: it is a part of what a connection takes.
const REMEMBERED_BYTES_MAX: usize = 1024;

/// What a head takes, as far as it is known before.
const HEAD_BYTES: usize = 384;

/// What may come behind a request before that is answered, as long as it is read: it shows who has gone.
const AHEAD_BYTES_MAX: usize = 4096;

/// Bodies that are copied behind their head, so that the system, or TLS, has one piece of it.
const COPIED_BYTES_MAX: usize = 4096;

/// Serves the requests that come over `socket`, from the one behind what was read of it, for as long as they are for
/// HLS, and not what a `guest` has beside it. Then the next is hyper's, which finds it in the socket.
///
/// # Errors
/// How the connection ended before.
pub async fn serve(
    node: &Arc<Node>,
    peer: &Arc<Peer>,
    guest: Option<&Guest>,
    socket: &mut ClientIo<Stream>,
) -> Result<(), End> {
    let (bytes, last) = (Vec::new(), None);
    let mut connection = Connection { node, peer, guest, socket, bytes, last };
    connection.serve().await?;
    let Connection { socket, bytes, .. } = connection;
    socket.unread(&bytes);
    Ok(())
}

struct Connection<'a> {
    node: &'a Arc<Node>,
    peer: &'a Arc<Peer>,
    guest: Option<&'a Guest>,
    socket: &'a mut ClientIo<Stream>,
    /// What has been read and not answered.
    bytes: Vec<u8>,
    /// The last request for a playlist: a player asks for the same one again and again.
    last: Option<Remembered>,
}

/// A request, and what it asks for.
struct Remembered {
    /// Its head, with the empty line at the end.
    head: Vec<u8>,
    /// The settings by which it was understood.
    generation: u64,
    asked: Arc<Asked>,
}

/// What is at the beginning of what was read.
enum Next {
    /// What is for hyper.
    Other,
    /// The same request as before, of so many bytes.
    Known(Arc<Asked>, usize),
    /// Another one.
    Request(Box<Request<()>>, usize),
}

impl Connection<'_> {
    /// Serves until the connection ends, or the next request is hyper's.
    async fn serve(&mut self) -> Result<(), End> {
        let mut timer = pin!(sleep(HEAD_TIMEOUT));
        loop {
            let then = match self.next(timer.as_mut()).await? {
                Next::Other => return Ok(()),
                Next::Known(asked, length) => self.answer(&asked, length).await?,
                Next::Request(request, length) => match self.understand(request, length) {
                    None => return Ok(()),
                    Some(Ok((asked, _room))) => self.answer(&asked, length).await?,
                    Some(Err(refusal)) => {
                        self.done(length);
                        self.write(refusal, false).await?
                    }
                },
            };
            if then == Then::Close {
                // Whether the client has gone in the meantime makes no difference.
                let _ = poll_fn(|cx| Pin::new(&mut *self.socket).poll_shutdown(cx)).await;
                return Err(End::closed());
            }
        }
    }

    /// Waits for the next request.
    async fn next(&mut self, mut timer: Pin<&mut Sleep>) -> Result<Next, End> {
        let due = Instant::now() + HEAD_TIMEOUT;
        // So much of it has been looked at, and is not all of a head.
        let mut looked = 0;
        loop {
            if let Some(last) = self.remembered() {
                return Ok(Next::Known(Arc::clone(&last.asked), last.head.len()));
            }
            // Who sends it in many pieces does not have it read from the start for each.
            let may_end = looked == 0 || ends_within(&self.bytes, looked);
            if (may_end && !self.bytes.is_empty() || self.bytes.len() >= HEAD_BYTES_MAX)
                && let Some(next) = parse(&self.bytes)
            {
                return Ok(next);
            }
            looked = self.bytes.len();
            poll_fn(|cx| {
                match self.peer.presence.poll_farewell(cx) {
                    Poll::Ready(Farewell::Kicked) => {
                        return Poll::Ready(Err(Farewell::Kicked.end()));
                    }
                    Poll::Ready(Farewell::Draining) if self.bytes.is_empty() => {
                        return Poll::Ready(Err(End::closed()));
                    }
                    _ => {}
                }
                if let Poll::Ready(read) = self.poll_read(cx) {
                    return Poll::Ready(read);
                }
                // It is set anew only when it goes off: requests come more often than that.
                while timer.as_mut().poll(cx).is_ready() {
                    if Instant::now() >= due {
                        return Poll::Ready(Err(head::too_late()));
                    }
                    timer.as_mut().reset(due);
                }
                Poll::Pending
            })
            .await?;
        }
    }

    /// The last request for a playlist, if the next is the same, and still means the same.
    fn remembered(&self) -> Option<&Remembered> {
        let last = self.last.as_ref().filter(|last| self.bytes.starts_with(&last.head))?;
        (last.generation == self.node.settings.generation()).then_some(last)
    }

    /// Answers the request that is at the beginning of what was read, and has so many bytes.
    async fn answer(&mut self, asked: &Asked, length: usize) -> Result<Then, End> {
        self.done(length);
        // In a box: a connection that waits for its next request does not have the room for answering it.
        let mut answer = Box::pin(media::answer(self.node, asked));
        match self.until(|cx| answer.as_mut().poll(cx)).await? {
            Answer::Playlist(playlist) => {
                let mut head = Vec::with_capacity(HEAD_BYTES + playlist.length());
                let body = playlist.parts(&mut head);
                let then = self.end_head(&mut head, false);
                let body = body.filter(|_| !asked.is_head()).unwrap_or_default();
                self.send(head, body).await?;
                Ok(then)
            }
            Answer::Other(answer) => self.write(answer, asked.is_head()).await,
        }
    }

    /// A request of so many bytes has been read.
    fn done(&mut self, length: usize) {
        self.bytes.drain(..length);
        if self.bytes.is_empty() && self.bytes.capacity() > 2 * READ_BYTES {
            self.bytes = Vec::new();
        }
    }

    /// What a request of so many bytes asks for, and the room that it has; or what is answered to it at once. None if
    /// it is hyper's.
    fn understand(
        &mut self,
        request: Box<Request<()>>,
        length: usize,
    ) -> Option<Result<(Arc<Asked>, Charge), Response>> {
        if self.guest.is_some_and(|guest| guest.takes(request.uri().path())) {
            return None;
        }
        let generation = self.node.settings.generation();
        // What is nothing that there can be is hyper's too.
        let asked = media::understand(self.node, Arc::clone(self.peer), &request).ok()?;
        if !asked.is_of_hls() {
            return None;
        }
        let room = match room::of_request(self.node, &request) {
            Ok(room) => room,
            Err(spent) => return Some(Err(answer::no_room(&spent.to_string()))),
        };
        if let Some(refusal) = media::count(self.node, self.peer, request.headers()) {
            return Some(Err(refusal));
        }
        // Nothing else of it is needed, and it may wait.
        drop(request);
        let asked = Arc::new(asked);
        // Where a proxy has it that is trusted, the next may be another client's.
        let is_own = self.node.config().http.trusted_proxies.is_empty();
        if asked.is_playlist() && is_own && length <= REMEMBERED_BYTES_MAX {
            let head = self.bytes[..length].to_vec();
            self.last = Some(Remembered { head, generation, asked: Arc::clone(&asked) });
        }
        Some(Ok((asked, room)))
    }

    /// Writes an answer.
    async fn write(&mut self, answer: Response, is_head: bool) -> Result<Then, End> {
        let (parts, mut body) = answer.into_parts();
        let mut head = Vec::with_capacity(HEAD_BYTES);
        // Into memory there is nothing that could fail.
        let _ = write!(head, "HTTP/1.1 {}\r\n", parts.status);
        for (name, value) in parts.headers.iter().filter(|(name, _)| *name != CONNECTION) {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        let has_none = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let said =
            parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length: Option<u64> = said.or(body.size_hint().exact());
        if let (Some(length), None, false) = (length, said, has_none) {
            let _ = write!(head, "content-length: {length}\r\n");
        }
        // A body of which nobody knows how long it is ends with its connection (RFC 9112 section 6.3).
        let is_last = parts.headers.get(CONNECTION).is_some_and(|value| value == "close")
            || length.is_none() && !has_none;
        let then = self.end_head(&mut head, is_last);
        if is_head || has_none {
            self.send(head, Bytes::new()).await?;
            return Ok(then);
        }
        let mut left = length;
        while let Some(frame) = self.until(|cx| Pin::new(&mut body).poll_frame(cx)).await? {
            let frame = frame.map_err(|error| End::new(Kind::Failed, error.to_string()))?;
            // We have no trailers.
            let Ok(data) = frame.into_data() else { continue };
            left = left.map(|left| left.saturating_sub(data.len() as u64));
            self.send(std::mem::take(&mut head), data).await?;
        }
        if !head.is_empty() {
            self.send(head, Bytes::new()).await?;
        }
        match left {
            Some(1..) => Err(End::new(Kind::Failed, "there is less of the file than was said")),
            _ => Ok(then),
        }
    }

    /// Adds the last fields of a head, and what ends it.
    fn end_head(&self, head: &mut Vec<u8>, is_last: bool) -> Then {
        add_date(head);
        if is_last || self.peer.presence.farewell().is_some() {
            head.extend_from_slice(b"connection: close\r\n\r\n");
            return Then::Close;
        }
        head.extend_from_slice(b"\r\n");
        Then::Next
    }

    /// Sends the next bytes of an answer.
    async fn send(&mut self, mut head: Vec<u8>, mut body: Bytes) -> Result<(), End> {
        if body.len() <= COPIED_BYTES_MAX {
            head.extend_from_slice(&body);
            body = Bytes::new();
        }
        let mut head = &*head;
        poll_fn(|cx| {
            loop {
                let mut socket = Pin::new(&mut *self.socket);
                let written = match (head.is_empty(), body.is_empty()) {
                    (true, true) => return socket.poll_flush(cx),
                    (false, true) => socket.as_mut().poll_write(cx, head),
                    (true, false) => {
                        socket.as_mut().poll_write_vectored(cx, &[IoSlice::new(&body)])
                    }
                    (false, false) => {
                        let both = [IoSlice::new(head), IoSlice::new(&body)];
                        socket.as_mut().poll_write_vectored(cx, &both)
                    }
                };
                let written = match written {
                    Poll::Pending => {
                        let farewell = self.peer.presence.poll_farewell(cx);
                        if farewell == Poll::Ready(Farewell::Kicked) {
                            return Poll::Ready(Err(std::io::ErrorKind::ConnectionAborted.into()));
                        }
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
                    }
                    Poll::Ready(written) => written?,
                };
                let of_head = written.min(head.len());
                head = &head[of_head..];
                body.advance(written - of_head);
            }
        })
        .await
        .map_err(|error| match self.peer.presence.farewell() {
            Some(Farewell::Kicked) => Farewell::Kicked.end(),
            _ => error.into(),
        })
    }

    /// What `poll` has, unless the client goes before, or is to go at once.
    async fn until<T>(
        &mut self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, End> {
        poll_fn(|cx| {
            // It may be why there is an answer.
            if self.peer.presence.farewell() == Some(Farewell::Kicked) {
                return Poll::Ready(Err(Farewell::Kicked.end()));
            }
            if let Poll::Ready(done) = poll(cx) {
                return Poll::Ready(Ok(done));
            }
            if self.peer.presence.poll_farewell(cx) == Poll::Ready(Farewell::Kicked) {
                return Poll::Ready(Err(Farewell::Kicked.end()));
            }
            while self.bytes.len() < AHEAD_BYTES_MAX {
                if let Err(end) = ready!(self.poll_read(cx)) {
                    return Poll::Ready(Err(end));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Reads what there is.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let mut room = [std::mem::MaybeUninit::uninit(); READ_BYTES];
        let mut room = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *self.socket).poll_read(cx, &mut room))?;
        if room.filled().is_empty() {
            return Poll::Ready(Err(End::closed()));
        }
        self.bytes.extend_from_slice(room.filled());
        Poll::Ready(Ok(()))
    }
}

/// What comes after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Next,
    Close,
}

/// What is at the beginning of `bytes`; none as long as it is not all of a head.
fn parse(bytes: &[u8]) -> Option<Next> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let length = match head.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return None,
        Ok(Status::Partial) | Err(_) => return Some(Next::Other),
    };
    Some(request(&head).map_or(Next::Other, |request| Next::Request(Box::new(request), length)))
}

/// Whether a head ends in `bytes`, of which none ends in the first that were `looked` at.
fn ends_within(bytes: &[u8], looked: usize) -> bool {
    let new = &bytes[looked.saturating_sub(3).min(bytes.len())..];
    let has = |end: &[u8]| new.windows(end.len()).any(|at| at == end);
    // Either end of a line counts (RFC 9112 section 2.2).
    has(b"\n\r\n") || has(b"\n\n")
}

/// A request without a body that asks for nothing but an answer.
fn request(head: &httparse::Request<'_, '_>) -> Option<Request<()>> {
    let method = match head.method? {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        _ => return None,
    };
    let path = head.path?;
    if head.version != Some(1) || !path.starts_with('/') {
        return None;
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::try_from(path).ok()?;
    let fields = request.headers_mut();
    fields.reserve(head.headers.len());
    for field in head.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let is_plain = match name {
            CONTENT_LENGTH | TRANSFER_ENCODING | UPGRADE | EXPECT | TE | TRAILER => false,
            CONNECTION => field.value.eq_ignore_ascii_case(b"keep-alive"),
            _ => true,
        };
        if !is_plain {
            return None;
        }
        fields.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    // One that names several hosts, or none, is not what it seems (RFC 9112 section 3.2).
    (fields.get_all(HOST).iter().count() == 1).then_some(request)
}

/// Adds the field with the time (RFC 9110 section 6.6.1).
fn add_date(head: &mut Vec<u8>) {
    thread_local! {
        /// The second, and how it is written.
        static WRITTEN: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    WRITTEN.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() {
            *second = since.as_secs();
            *text = format!("date: {}\r\n", httpdate::fmt_http_date(UNIX_EPOCH + since));
        }
        head.extend_from_slice(text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(text: &str) -> Option<(Method, String, usize)> {
        match parse(text.as_bytes()) {
            Some(Next::Request(request, length)) => {
                Some((request.method().clone(), request.uri().to_string(), length))
            }
            _ => None,
        }
    }

    #[test]
    fn plain_requests_are_read_and_what_follows_is_the_next() {
        let first = "GET /live/a.m3u8?x=1 HTTP/1.1\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n";
        let both = format!("{first}HEAD /live/a-1.ts HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(asks(&both), Some((Method::GET, "/live/a.m3u8?x=1".to_owned(), first.len())));
        assert_eq!(asks(&both[first.len()..]).map(|it| it.0), Some(Method::HEAD));
    }

    #[test]
    fn what_is_not_plain_is_left_to_hyper() {
        let with = |field: &str| format!("GET /live/a.m3u8 HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n");
        assert!(asks(&with("Accept: */*")).is_some());
        for field in [
            "Connection: close",
            "Connection: keep-alive, upgrade",
            "Connection: upgrade\r\nUpgrade: websocket",
            "Content-Length: 0",
            "Content-Length: 5\r\nContent-Length: 6",
            "Transfer-Encoding: chunked",
            "transfer-encoding: identity",
            "Expect: 100-continue",
            "Upgrade: h2c",
            "TE: trailers",
            "Host: g",
        ] {
            assert!(matches!(parse(with(field).as_bytes()), Some(Next::Other)), "{field}");
        }
        let fields = "A: b\r\n".repeat(FIELDS_MAX);
        for head in [
            "GET /live/a.m3u8 HTTP/1.1\r\n\r\n".to_owned(),
            "GET /live/a.m3u8 HTTP/1.0\r\nHost: h\r\n\r\n".to_owned(),
            "GET http://h/live/a.m3u8 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
            "POST /live/a.m3u8 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
            "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
            "GET /live/a.m3u8 HTTP/1.1\r\nHost : h\r\n\r\n".to_owned(),
            "GET /live/a.m3u8 HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n".to_owned(),
            "\x16\x03\x01".to_owned(),
            format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"),
            format!("GET / HTTP/1.1\r\nHost: {}", "h".repeat(HEAD_BYTES_MAX)),
        ] {
            assert!(matches!(parse(head.as_bytes()), Some(Next::Other)), "{head:?}");
        }
    }

    #[test]
    fn a_part_of_a_head_waits_for_the_rest() {
        let head = "GET /live/a.m3u8 HTTP/1.1\r\nHost: h\r\n\r\n";
        for end in 1..head.len() {
            assert!(parse(&head.as_bytes()[..end]).is_none(), "{:?}", &head[..end]);
        }
        assert!(asks(head).is_some());
    }

    #[test]
    fn where_a_head_ends_is_seen_however_it_is_cut() {
        for head in ["GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\nHost: h\n\n", "a\n\r\n"]
        {
            for looked in 0..head.len() {
                assert!(ends_within(head.as_bytes(), looked), "{looked} bytes of {head:?}");
            }
            assert!(!ends_within(&head.as_bytes()[..head.len() - 1], 0), "{head:?}");
        }
    }

    #[test]
    fn the_date_is_that_of_now() {
        let mut head = Vec::new();
        add_date(&mut head);
        let text = String::from_utf8(head).expect("text");
        let date = text.strip_prefix("date: ").and_then(|rest| rest.strip_suffix("\r\n"));
        let date = httpdate::parse_http_date(date.expect("a field")).expect("a date");
        let now = SystemTime::now();
        assert!(date <= now && now.duration_since(date).expect("before") < Duration::from_secs(5));
    }
}
