//! HTTP/1 requests as bytes, and their responses: what a test says is what goes over the wire.

use std::{net::SocketAddr, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::raw::Raw;

/// For the head of a response, and for each piece of its body.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of a head; ours are below 1 KB.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A response whose body is still being read.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers as they were sent.
    pub headers: Vec<(String, String)>,
    connection: TcpStream,
    buffer: BytesMut,
    body: Body,
}

/// What of the body comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// So many bytes, then it ends.
    Length(u64),
    /// Whatever comes until the connection ends.
    ToEnd,
    /// The line with the size of a chunk.
    ChunkSize,
    /// So many bytes of a chunk.
    ChunkData(u64),
    /// The line end behind a chunk.
    ChunkEnd,
}

/// `GET path` with HTTP/1.1; the server is to close the connection behind the response.
///
/// # Panics
/// If the server does not answer with HTTP.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> impl Future<Output = Response> {
    let head = head(address, path);
    async move { request(address, head.as_bytes()).await }
}

/// The same on a connection.
///
/// # Panics
/// If the server does not answer with HTTP.
pub async fn get_on(raw: Raw, path: &str) -> Response {
    let head = head(raw.address(), path);
    request_on(raw, head.as_bytes()).await
}

pub(crate) fn head(address: SocketAddr, path: &str) -> String {
    format!(
        "GET /{} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n",
        path.trim_start_matches('/')
    )
}

/// Sends `bytes`, a whole request, and reads the head of the response. The body of the response to a HEAD request is
/// not to be asked for.
///
/// # Panics
/// If the server does not answer with HTTP.
pub async fn request(address: SocketAddr, bytes: &[u8]) -> Response {
    request_on(Raw::connect(address).await, bytes).await
}

async fn request_on(raw: Raw, bytes: &[u8]) -> Response {
    let address = raw.address();
    let mut connection = raw.into_inner();
    connection
        .write_all(bytes)
        .await
        .unwrap_or_else(|error| panic!("{address} takes no request: {error}"));
    let mut buffer = BytesMut::new();
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        assert!(buffer.len() < HEAD_BYTES_MAX, "{address} sends no end of a response head");
        let count = read(&mut connection, &mut buffer).await;
        assert!(count > 0, "{address} closed before the end of the response head: {buffer:?}");
    };
    let head = buffer.split_to(end);
    let text = String::from_utf8_lossy(&head);
    let (status, headers) =
        parse_head(&text).unwrap_or_else(|| panic!("{address} sent no HTTP: {text:?}"));
    let body = Body::of(&headers);
    Response { status, headers, connection, buffer, body }
}

/// Reads more; 0 at the end of the connection.
async fn read(connection: &mut TcpStream, buffer: &mut BytesMut) -> usize {
    let result = timeout(READ_TIMEOUT, connection.read_buf(buffer)).await;
    let result = result.unwrap_or_else(|_| panic!("nothing came over HTTP for {READ_TIMEOUT:?}"));
    // A server that goes away with unread input resets the connection.
    result.unwrap_or(0)
}

impl Response {
    /// The value of the first header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }

    /// Our end of the connection, by which the server's log calls it.
    ///
    /// # Panics
    /// If the system does not know it any more.
    pub fn local(&self) -> SocketAddr {
        self.connection.local_addr().expect("a connected socket has an address")
    }

    /// The next piece of the body, of any size; `None` at its end.
    ///
    /// # Panics
    /// If nothing comes for 20 seconds, or the framing of the body is wrong.
    pub async fn chunk(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.buffered() {
                return piece;
            }
            if read(&mut self.connection, &mut self.buffer).await == 0 {
                assert!(
                    self.body == Body::ToEnd,
                    "the connection ended inside the body, at {:?}",
                    self.body
                );
                return None;
            }
        }
    }

    /// All that is left of the body.
    ///
    /// # Panics
    /// As [`chunk`](Self::chunk).
    pub async fn bytes(&mut self) -> Bytes {
        let mut body = BytesMut::new();
        while let Some(piece) = self.chunk().await {
            body.extend_from_slice(&piece);
        }
        body.freeze()
    }

    /// All that is left of the body, as text.
    ///
    /// # Panics
    /// As [`chunk`](Self::chunk).
    pub async fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.bytes().await).into_owned()
    }

    /// `Some(None)` at the end of the body, `None` if more must be read first.
    fn buffered(&mut self) -> Option<Option<Bytes>> {
        self.body.take(&mut self.buffer)
    }
}

impl Body {
    pub(crate) fn of(headers: &[(String, String)]) -> Self {
        let value = |name: &str| {
            let header = headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
            header.map(|(_, value)| value.as_str())
        };
        if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            Self::ChunkSize
        } else {
            value("content-length")
                .and_then(|length| length.parse().ok())
                .map_or(Self::ToEnd, Self::Length)
        }
    }

    /// Takes a piece of the body off `buffer`: `Some(None)` at the end of the body, `None` if more bytes are needed.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut) -> Option<Option<Bytes>> {
        loop {
            match *self {
                Self::Length(0) => return Some(None),
                Self::Length(left) => {
                    let piece = take_up_to(buffer, left)?;
                    *self = Self::Length(left - piece.len() as u64);
                    return Some(Some(piece));
                }
                Self::ToEnd => return take_up_to(buffer, u64::MAX).map(Some),
                Self::ChunkSize => match take_line(buffer)? {
                    // Trailers are of no interest.
                    0 => *self = Self::Length(0),
                    size => *self = Self::ChunkData(size),
                },
                Self::ChunkData(0) => *self = Self::ChunkEnd,
                Self::ChunkData(left) => {
                    let piece = take_up_to(buffer, left)?;
                    *self = Self::ChunkData(left - piece.len() as u64);
                    return Some(Some(piece));
                }
                Self::ChunkEnd => {
                    let line_end = buffer.first_chunk::<2>()?;
                    assert_eq!(line_end, b"\r\n", "a chunk is longer than its size line says");
                    buffer.advance(2);
                    *self = Self::ChunkSize;
                }
            }
        }
    }
}

/// At most `count` bytes, at least one.
fn take_up_to(buffer: &mut BytesMut, count: u64) -> Option<Bytes> {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
    (count > 0).then(|| buffer.split_to(count).freeze())
}

/// The line of a chunk's size.
fn take_line(buffer: &mut BytesMut) -> Option<u64> {
    let end = buffer.windows(2).position(|window| window == b"\r\n")?;
    let line = buffer.split_to(end);
    buffer.advance(2);
    let line = String::from_utf8_lossy(&line);
    // Extensions follow a semicolon.
    let digits = line.split(';').next().unwrap_or_default().trim();
    Some(
        u64::from_str_radix(digits, 16)
            .unwrap_or_else(|_| panic!("the size of a chunk is {line:?}")),
    )
}

/// The status and the headers.
pub(crate) fn parse_head(text: &str) -> Option<(u16, Vec<(String, String)>)> {
    let mut lines = text.split("\r\n").take_while(|line| !line.is_empty());
    let status_line = lines.next()?.strip_prefix("HTTP/1.")?;
    let status = status_line.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    };
    Some((status, lines.map(header).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What a client makes of `response`, sent in pieces of `size` bytes.
    async fn exchange(response: &'static [u8], size: usize) -> (Response, Bytes) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            connection.set_nodelay(true).unwrap();
            let mut request = BytesMut::new();
            while !request.ends_with(b"\r\n\r\n") {
                connection.read_buf(&mut request).await.unwrap();
            }
            for piece in response.chunks(size) {
                connection.write_all(piece).await.unwrap();
            }
            request
        });
        let mut response = get(address, "live/a.flv").await;
        let body = response.bytes().await;
        assert!(server.await.unwrap().starts_with(b"GET /live/a.flv HTTP/1.1\r\nHost: 127.0.0.1:"));
        (response, body)
    }

    #[tokio::test]
    async fn chunked_bodies_are_put_together() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n";
        for size in [1, 7, 1000] {
            let (response, body) = exchange(bytes, size).await;
            assert_eq!((response.status, body.as_ref()), (200, b"abc0123456789".as_ref()));
        }
    }

    #[tokio::test]
    async fn bodies_have_the_announced_length() {
        let (response, body) =
            exchange(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", 1000).await;
        assert_eq!((response.status, body.as_ref()), (404, b"no".as_ref()));
        assert_eq!(response.header("content-length"), Some("2"));
        assert_eq!(response.header("etag"), None);
    }

    #[tokio::test]
    async fn bodies_without_a_length_go_to_the_end() {
        let (_, body) = exchange(b"HTTP/1.0 200 OK\r\n\r\nabc", 1).await;
        assert_eq!(body.as_ref(), b"abc");
    }

    #[tokio::test]
    #[should_panic(expected = "ended inside the body")]
    async fn a_cut_body_is_noticed() {
        exchange(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", 1000).await;
    }

    #[tokio::test]
    #[should_panic(expected = "longer than its size line")]
    async fn a_chunk_of_another_size_is_noticed() {
        exchange(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
            1000,
        )
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "no HTTP")]
    async fn other_protocols_are_noticed() {
        exchange(b"SSH-2.0\r\n\r\n", 1000).await;
    }
}
