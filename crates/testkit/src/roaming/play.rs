//! One stay of a viewer at one server.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};

use bytes::BytesMut;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::{Notify, watch},
};
use weir_flv::{
    Tag,
    file::{Item, Reader},
};
use weir_rtmp::{
    client::{Config, Event, Session},
    handshake::PACKET_BYTES,
    url::RtmpUrl,
};

use super::journey::{Departure, Kind, ViewerReport, lock};
use crate::{
    crowd::{
        Watch,
        viewer::{more, read, refusal},
    },
    http::{self, Body},
};

/// What a stay and whoever looks after it tell each other.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Whether the first picture has come.
    plays: watch::Sender<bool>,
    /// The server asks the viewer to connect anew.
    pub(super) asked: Notify,
    /// The viewer wants to leave.
    pub(super) leave: Notify,
}

impl Signals {
    /// Resolves once the first picture has come.
    pub(super) async fn playing(&self) {
        // The sender is ours, so that it cannot be gone.
        let _ = self.plays.subscribe().wait_for(|plays| *plays).await;
    }
}

/// How a stay ended.
pub(super) enum Outcome {
    /// After the server had accepted it.
    Departed(Departure),
    /// Before.
    Refused(String),
}

/// Where a stay writes down what it sees.
pub(super) struct Note {
    journey: Arc<Mutex<ViewerReport>>,
    signals: Arc<Signals>,
    watch: Watch,
    seen: bool,
}

impl Note {
    pub(super) fn new(journey: Arc<Mutex<ViewerReport>>, signals: Arc<Signals>) -> Self {
        Self { journey, signals, watch: Watch::default(), seen: false }
    }

    fn take(&mut self, tag: &Tag) {
        let is_picture = self.watch.take(tag);
        let mut journey = lock(&self.journey);
        if let Some(fault) = self.watch.fault() {
            journey.fault.get_or_insert_with(|| fault.to_owned());
        }
        if !is_picture {
            return;
        }
        // A picture that comes again is none that is new.
        if let Some(number) = self.watch.newest() {
            journey.picture(number, Instant::now());
        }
        if !std::mem::replace(&mut self.seen, true) {
            self.signals.plays.send_replace(true);
        }
    }
}

/// Plays until the server or the viewer ends it.
pub(super) async fn stay(
    kind: Kind,
    address: SocketAddr,
    stream: &str,
    note: &mut Note,
) -> Outcome {
    let played = match kind {
        Kind::HttpFlv => http_flv(address, stream, note).await,
        Kind::Rtmp | Kind::Reconnecting => {
            rtmp(address, stream, kind == Kind::Reconnecting, note).await
        }
    };
    played.unwrap_or_else(|error| {
        let how = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            _ => error.to_string(),
        };
        match note.seen {
            true => Outcome::Departed(Departure::Cut(how)),
            false => Outcome::Refused(how),
        }
    })
}

async fn rtmp(
    address: SocketAddr,
    stream: &str,
    reconnects: bool,
    note: &mut Note,
) -> io::Result<Outcome> {
    let url = RtmpUrl::parse(&format!("rtmp://{address}/{stream}")).map_err(io::Error::other)?;
    let mut socket = TcpStream::connect(address).await?;
    let config = Config { reconnects, ..Config::new(url) };
    let mut session = Session::new_play(config, [0x5a; PACKET_BYTES], Instant::now());
    let signals = Arc::clone(&note.signals);
    loop {
        while let Some(event) = session.poll_event() {
            match event {
                Event::Media(tag) => note.take(&tag),
                Event::Refused { code, description } => {
                    return Ok(Outcome::Refused(format!("{code}: {description}")));
                }
                Event::Ended { code, .. } => {
                    return Ok(Outcome::Departed(Departure::LetGo(code)));
                }
                Event::ReconnectRequested { .. } => signals.asked.notify_one(),
                _ => {}
            }
        }
        flush(&mut socket, &mut session).await?;
        tokio::select! {
            readable = socket.readable() => readable?,
            () = signals.leave.notified() => {
                session.stop();
                // A server that has gone already needs no goodbye.
                let _ = flush(&mut socket, &mut session).await;
                let _ = socket.shutdown().await;
                return Ok(Outcome::Departed(Departure::Followed));
            }
        }
        read(&socket, |bytes| {
            session.handle_input(bytes, Instant::now()).map_err(io::Error::other)
        })?;
    }
}

pub(super) async fn flush(socket: &mut TcpStream, session: &mut Session) -> io::Result<()> {
    while let Some(bytes) = session.poll_output() {
        socket.write_all(&bytes).await?;
    }
    Ok(())
}

async fn http_flv(address: SocketAddr, stream: &str, note: &mut Note) -> io::Result<Outcome> {
    let mut socket = TcpStream::connect(address).await?;
    let head = http::head(address, &format!("{stream}.flv"));
    socket.write_all(head.as_bytes()).await?;
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
        let told = refusal(&socket, (status, &headers), &mut body, &mut input).await?;
        return Ok(Outcome::Refused(told));
    }
    let mut reader = Reader::new();
    loop {
        while let Some(piece) = body.take(&mut input) {
            let Some(piece) = piece else {
                let end = "the end of the response".to_owned();
                return Ok(match note.seen {
                    true => Outcome::Departed(Departure::LetGo(end)),
                    false => Outcome::Refused(format!("200 and {end}")),
                });
            };
            reader.push(&piece);
            while let Some(item) = reader.poll().map_err(io::Error::other)? {
                if let Item::Tag(tag) = item {
                    note.take(&tag);
                }
            }
        }
        more(&socket, &mut input).await?;
    }
}
