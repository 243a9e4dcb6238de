//! The head of a connection's first request.

use std::time::Duration;

use bytes::BytesMut;
use tokio::{io::AsyncReadExt, time::timeout};
use weir_clients::{
    client::Client,
    end::{End, Kind},
};
use weir_edge::{Ask, Hops};
use weir_media::{Budget, Charge, Spent, Use};
use weir_tls::{Stream, handshake::FIRST_BYTE};

use super::{forwarded, websocket::Upgrade};

/// How long a request's head may take, as in nginx's `client_header_timeout` but for impatient times.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest request head. Browsers send 1-2 KB; cookies of other services on the same host can add some more.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header fields looked at; more in one request is an attack or a mistake.
const FIELDS_MAX: usize = 100;

const TOO_LATE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

const TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

const NO_HTTP: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// What a client gets whose request there is no memory for, where there is no other answer yet.
const NO_MEMORY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
    Content-Length: 0\r\n\r\n";

/// What is read at first: most heads are shorter.
const FIRST_BYTES: usize = 1024;

/// A request's head, and every byte that was read with it.
pub struct Head {
    /// What was read: the head, and whatever follows.
    pub bytes: BytesMut,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The minor version of HTTP/1.
    pub minor_version: u8,
    /// The `Host` field, empty if there was none.
    pub host: String,
    /// The edges that the request came through, empty if there were none.
    pub hops: String,
    /// How long the one who asks wants to wait, empty if it does not say.
    pub wait: String,
    /// Not empty if the next group is wanted.
    pub next: String,
    /// The secret of an edge, empty if there is none.
    pub token: String,
    /// The page that asks, empty if it does not say.
    pub referer: String,
    /// Whether it asks for WebSocket.
    pub upgrade: Option<Upgrade>,
    /// What proxies say of the client: the fields [`forwarded::FIELD`], with commas between them.
    pub forwarded: String,
    /// The room that all of it has.
    pub charge: Option<Charge>,
}

/// A connection without a request.
pub struct Failure {
    /// What to log.
    pub end: End,
    /// What to tell the client.
    pub answer: &'static [u8],
}

/// Reads the head of a request from `client`, as far as `budget` has room for it.
///
/// # Errors
/// When it does not come, is too long, or is none.
pub async fn read(
    socket: &mut Stream,
    client: &mut Client,
    budget: &Budget,
) -> Result<Head, Failure> {
    let (mut bytes, mut charge) = (BytesMut::new(), Charge::new(budget, Use::Requests));
    let head = async {
        loop {
            if let Some(head) = parse(&mut bytes)? {
                return Ok(head);
            }
            grow(&mut bytes, &mut charge)?;
            match socket.read_buf(&mut bytes).await {
                Ok(0) => return Err(Failure { end: End::closed(), answer: b"" }),
                Ok(count) => client.received += count as u64,
                Err(error) => return Err(Failure { end: error.into(), answer: b"" }),
            }
        }
    };
    match timeout(HEAD_TIMEOUT, head).await {
        Ok(Ok(head)) => Ok(Head { bytes, charge: Some(charge), ..head }),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure { end: too_late(), answer: TOO_LATE }),
    }
}

/// Makes room in `bytes` for more of a head, if there is none.
fn grow(bytes: &mut BytesMut, charge: &mut Charge) -> Result<(), Failure> {
    if bytes.len() < bytes.capacity() {
        return Ok(());
    }
    let more = bytes.len().max(FIRST_BYTES);
    charge.grow(more).map_err(|spent| no_memory(&spent))?;
    bytes.reserve(more);
    Ok(())
}

/// The end of a client whose request there is no memory for.
pub fn no_memory(spent: &Spent) -> Failure {
    Failure { end: End::new(Kind::Limit, spent.to_string()), answer: NO_MEMORY }
}

/// The end of a client whose request did not come in time.
pub fn too_late() -> End {
    End::new(Kind::Idle, format!("sent no complete request within {HEAD_TIMEOUT:?}"))
}

/// The head at the start of `bytes`, once it is all there. The caller adds the bytes.
fn parse(bytes: &mut BytesMut) -> Result<Option<Head>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Failure {
                end: End::peer(format!(
                    "sent a request head of more than {HEAD_BYTES_MAX} bytes or {FIELDS_MAX} fields"
                )),
                answer: TOO_LARGE,
            });
        }
        Err(_) if bytes.first() == Some(&FIRST_BYTE) => {
            let reason = "speaks TLS, which this port is not for (http.tls.listen)";
            return Err(Failure { end: End::peer(reason), answer: NO_HTTP });
        }
        Err(error) => {
            return Err(Failure {
                end: End::peer(format!("sent no valid HTTP request: {error}")),
                answer: NO_HTTP,
            });
        }
    }
    let field = |name: &str| {
        let found = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| String::from_utf8_lossy(field.value).into_owned()).unwrap_or_default()
    };
    // The lines of a field with a list, as one.
    let list = |name: &str| {
        let lines = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let lines: Vec<_> = lines.map(|field| String::from_utf8_lossy(field.value)).collect();
        lines.join(",")
    };
    Ok(Some(Head {
        bytes: BytesMut::new(),
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        minor_version: request.version.unwrap_or_default(),
        host: field("host"),
        hops: field(Hops::HEADER),
        wait: field(Ask::WAIT_HEADER),
        next: field(Ask::NEXT_HEADER),
        token: field(Ask::TOKEN_HEADER),
        referer: field("referer"),
        upgrade: Upgrade::of(list),
        forwarded: list(forwarded::FIELD),
        charge: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_str(text: &str) -> Result<Option<Head>, Failure> {
        parse(&mut BytesMut::from(text))
    }

    #[test]
    fn reads_what_routing_needs() {
        let text = "GET /live/a.flv?x=1 HTTP/1.0\r\nhOST: example.com:8080\r\n\r\n";
        let head = parse_str(text).ok().flatten().expect("a whole head");
        assert_eq!((head.method.as_str(), head.target.as_str()), ("GET", "/live/a.flv?x=1"));
        assert_eq!((head.minor_version, head.host.as_str()), (0, "example.com:8080"));
    }

    #[test]
    fn what_proxies_say_keeps_its_order() {
        let fields =
            "X-Forwarded-For: 192.0.2.7, 10.0.0.1\r\nHost: h\r\nx-forwarded-for: 10.0.0.2\r\n";
        let head = parse_str(&format!("GET / HTTP/1.1\r\n{fields}\r\n")).ok().flatten();
        assert_eq!(head.expect("a whole head").forwarded, "192.0.2.7, 10.0.0.1,10.0.0.2");
    }

    #[test]
    fn a_part_of_a_head_is_no_error_until_it_is_too_long() {
        assert!(matches!(parse_str("GET / HTTP/1.1\r\nA: b\r\n"), Ok(None)));
        let long = format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(HEAD_BYTES_MAX));
        let failure = parse_str(&long).err().expect("refused");
        assert!(failure.answer.starts_with(b"HTTP/1.1 431 "), "{:?}", failure.end);
    }

    #[test]
    fn something_else_than_http_is_told_so() {
        let failure = parse_str("\x03\x00\x00\r\n\r\n").err().expect("refused");
        assert!(failure.answer.starts_with(b"HTTP/1.1 400 "), "{:?}", failure.end);
    }
}
