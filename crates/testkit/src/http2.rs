//! HTTP/2 frame by frame (RFC 9113), for clients that do what no library does.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::tls::client_config;

/// What a connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 section 6).
pub const HEADERS: u8 = 1;
/// See [`HEADERS`].
pub const PRIORITY: u8 = 2;
/// See [`HEADERS`].
pub const RST_STREAM: u8 = 3;
/// See [`HEADERS`].
pub const SETTINGS: u8 = 4;
/// See [`HEADERS`].
pub const PING: u8 = 6;
/// See [`HEADERS`].
pub const GOAWAY: u8 = 7;
/// See [`HEADERS`].
pub const WINDOW_UPDATE: u8 = 8;

/// A frame of this type, with these flags, of this stream.
///
/// # Panics
/// If the payload is too long for one.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The request `GET https://h/path` on this stream, whole: in static entries and literals without an index (RFC 7541).
///
/// # Panics
/// If the path is longer than 127 bytes.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).expect("short");
    let block = [&[0x82, 0x87, 0x04, length][..], path.as_bytes(), &[0x01, 1, b'h']].concat();
    frame(HEADERS, 5, stream, &block)
}

/// A connection to `server`, which has a certificate for `localhost` by the authority of the PEM file `ca`; its
/// settings are said.
///
/// # Panics
/// If there is none.
pub async fn connect(server: SocketAddr, ca: &Path) -> TlsStream<TcpStream> {
    try_connect(server, ca).await.expect("a connection")
}

async fn try_connect(server: SocketAddr, ca: &Path) -> io::Result<TlsStream<TcpStream>> {
    let mut config = (*client_config(ca)).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(server).await?;
    let name = "localhost".try_into().expect("a name");
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, socket).await?;
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    stream.write_all(&hello).await?;
    Ok(stream)
}

/// The next frame: its type, flags, stream and payload; none at the end of the connection.
pub async fn next(stream: &mut TlsStream<TcpStream>) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, l0, l1, l2]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes([s0, s1, s2, s3]), payload))
}

/// What a hostile client sends without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Pings, each of which is to be answered.
    Pings,
    /// Settings, as well.
    Settings,
    /// Requests that are taken back at once.
    Resets,
    /// Priorities of streams that there are not.
    Priorities,
    /// Updates of windows that are not used.
    Windows,
}

impl Flood {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Pings, Self::Settings, Self::Resets, Self::Priorities, Self::Windows];

    /// A piece of it: some hundred frames, behind `number` pieces.
    fn piece(self, number: u32) -> Vec<u8> {
        const FRAMES: u32 = 500;
        let at = |index: u32| (number * FRAMES + index) * 2 + 1;
        (0..FRAMES)
            .flat_map(|index| match self {
                Self::Pings => frame(PING, 0, 0, &[7; 8]),
                Self::Settings => frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
                Self::Resets => {
                    let id = at(index);
                    [get(id, "/none"), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()
                }
                Self::Priorities => frame(PRIORITY, 0, at(index), &[0, 0, 0, 0, 1]),
                Self::Windows => frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
            })
            .collect()
    }

    /// Sends it to `server` over one connection after the other for `time`, and reads what comes back if `reads`.
    /// Returns how many bytes were taken.
    pub async fn run(self, server: SocketAddr, ca: &Path, reads: bool, time: Duration) -> usize {
        let (by, mut sent) = (Instant::now() + time, 0);
        while Instant::now() < by {
            // One that is turned away comes again.
            let Ok(Ok(stream)) = timeout_at(by, try_connect(server, ca)).await else { continue };
            let (mut read, mut write) = tokio::io::split(stream);
            let reading = async {
                if !reads {
                    sleep_until(by).await;
                }
                let mut sink = vec![0; 64 * 1024];
                while read.read(&mut sink).await.is_ok_and(|length| length > 0) {}
            };
            let writing = async {
                for number in 0.. {
                    let piece = self.piece(number);
                    if write.write_all(&piece).await.is_err() {
                        break;
                    }
                    sent += piece.len();
                }
            };
            let _ = timeout_at(by, async {
                tokio::select! { () = reading => {}, () = writing => {} }
            })
            .await;
        }
        sent
    }
}
