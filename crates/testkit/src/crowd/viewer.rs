//! One viewer: as little as plays a stream.

use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::sleep};
use weir_flv::file::{Item, Reader};
use weir_rtmp::{
    client::{Config, Event, Session},
    handshake::PACKET_BYTES,
    url::RtmpUrl,
};

use super::seen::{Protocol, Seen};
use crate::http::{self, Body};

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// Bytes of a refusal that are kept.
const REFUSAL_BYTES_MAX: usize = 1024;

/// Plays until the stream ends, and notes how.
pub(super) async fn play(
    protocol: Protocol,
    address: SocketAddr,
    stream: String,
    after: Duration,
    seen: std::sync::Arc<Mutex<Seen>>,
) {
    sleep(after).await;
    let note = Note(&seen);
    note.with(|seen| seen.began = Some(Instant::now()));
    let end = match protocol {
        Protocol::Rtmp => rtmp(address, &stream, &note).await,
        Protocol::HttpFlv => http_flv(address, &stream, &note).await,
    };
    let end = end.unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection".into(),
        _ => error.to_string(),
    });
    note.with(|seen| seen.end = Some(end));
}

/// Where a viewer writes down what it sees.
struct Note<'a>(&'a Mutex<Seen>);

impl Note<'_> {
    fn with<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn rtmp(address: SocketAddr, stream: &str, note: &Note<'_>) -> io::Result<String> {
    let url = RtmpUrl::parse(&format!("rtmp://{address}/{stream}")).map_err(io::Error::other)?;
    let mut socket = TcpStream::connect(address).await?;
    let mut session = Session::new_play(Config::new(url), [0x5a; PACKET_BYTES], Instant::now());
    loop {
        while let Some(event) = session.poll_event() {
            match event {
                Event::Media(tag) => note.with(|seen| seen.take(&tag)),
                Event::Refused { code, description } => {
                    return Ok(format!("{code}: {description}"));
                }
                Event::Ended { code, description } => return Ok(format!("{code}: {description}")),
                _ => {}
            }
        }
        while let Some(bytes) = session.poll_output() {
            socket.write_all(&bytes).await?;
        }
        socket.readable().await?;
        read(&socket, |bytes| {
            session.handle_input(bytes, Instant::now()).map_err(io::Error::other)
        })?;
    }
}

async fn http_flv(address: SocketAddr, stream: &str, note: &Note<'_>) -> io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    let path = if stream.contains('?') {
        stream.replacen('?', ".flv?", 1)
    } else {
        format!("{stream}.flv")
    };
    socket.write_all(http::head(address, &path).as_bytes()).await?;
    let mut input = BytesMut::new();
    let (status, headers) = loop {
        if let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = input.split_to(end + 4);
            let head = http::parse_head(&String::from_utf8_lossy(&head));
            break head.ok_or_else(|| io::Error::other("no HTTP"))?;
        }
        more(&socket, &mut input).await?;
    };
    let mut body = Body::of(&headers);
    if status != 200 {
        return refusal(&socket, (status, &headers), &mut body, &mut input).await;
    }
    let mut reader = Reader::new();
    loop {
        while let Some(piece) = body.take(&mut input) {
            let Some(piece) = piece else { return Ok("the end of the response".into()) };
            reader.push(&piece);
            while let Some(item) = reader.poll().map_err(io::Error::other)? {
                if let Item::Tag(tag) = item {
                    note.with(|seen| seen.take(&tag));
                }
            }
        }
        more(&socket, &mut input).await?;
    }
}

/// The answer that is not 200, as a sentence.
pub(crate) async fn refusal(
    socket: &TcpStream,
    (status, headers): (u16, &[(String, String)]),
    body: &mut Body,
    input: &mut BytesMut,
) -> io::Result<String> {
    let mut text = BytesMut::new();
    while text.len() < REFUSAL_BYTES_MAX {
        match body.take(input) {
            Some(Some(piece)) => text.extend_from_slice(&piece),
            Some(None) => break,
            None => match more(socket, input).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                read => read?,
            },
        }
    }
    let retry = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
    let retry = retry.map(|(_, seconds)| format!(", Retry-After: {seconds}")).unwrap_or_default();
    Ok(format!("{status}{retry}: {}", String::from_utf8_lossy(&text).trim()))
}

/// Waits for more input.
pub(crate) async fn more(socket: &TcpStream, input: &mut BytesMut) -> io::Result<()> {
    socket.readable().await?;
    read(socket, |bytes| {
        input.extend_from_slice(bytes);
        Ok(())
    })
}

/// Gives what has come to `take`. The buffer lives here, so that a viewer that waits has none.
pub(crate) fn read(
    socket: &TcpStream,
    take: impl FnOnce(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = [0; READ_BYTES];
    match socket.try_read(&mut buffer) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => take(&buffer[..count]),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
