//! An encoder that publishes anew whenever it is let go.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, sleep_until, timeout},
};
use weir_rtmp::{
    client::{Config, Event, Session},
    handshake::PACKET_BYTES,
    url::RtmpUrl,
};

use super::{
    journey::{AGAIN, Departure, HUNG, lock},
    play::flush,
};
use crate::{
    crowd::viewer::read,
    peer::{Numbered, close},
};

/// Publishes a [`Numbered`] stream in real time. When the server ends the publish it connects again at once, and goes
/// on with the picture whose time it is then, as a key frame. Dropping it closes the connection without a word.
#[derive(Debug)]
pub struct RoamingEncoder {
    voyage: Arc<Mutex<EncoderReport>>,
    task: JoinHandle<()>,
}

/// What happened to an encoder.
#[derive(Clone, Debug, Default)]
pub struct EncoderReport {
    /// Attempts to publish.
    pub joins: usize,
    /// What was said of those that were refused.
    pub refused: Vec<String>,
    /// How many had no answer [for long](super::HUNG).
    pub hung: usize,
    /// When and how each publish ended.
    pub departures: Vec<(Instant, Departure)>,
    /// The number of the next picture.
    pub next: u64,
    /// Pictures whose time came when nobody took them.
    pub unsent: u64,
    /// The longest time from the end of a publish to the beginning of the next.
    pub longest_away: Duration,
}

/// What an encoder sends, and where.
struct Encoder {
    address: SocketAddr,
    url: RtmpUrl,
    every: Duration,
    reconnects: bool,
    start: tokio::time::Instant,
    voyage: Arc<Mutex<EncoderReport>>,
}

/// A publish that was accepted.
struct Link {
    socket: TcpStream,
    session: Session,
}

impl RoamingEncoder {
    /// Begins to publish `stream`, such as `live/a`, at `address`, a picture each `every`. Whether it follows reconnect
    /// requests, which it does at the end of a group.
    ///
    /// # Panics
    /// If `stream` is no name of a stream.
    pub fn start(
        address: SocketAddr,
        stream: &str,
        source: Numbered,
        every: Duration,
        reconnects: bool,
    ) -> Self {
        let url = format!("rtmp://{address}/{stream}");
        let url = RtmpUrl::parse(&url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let voyage = Arc::new(Mutex::new(EncoderReport::default()));
        let (start, shared) = (tokio::time::Instant::now(), Arc::clone(&voyage));
        let encoder = Encoder { address, url, every, reconnects, start, voyage: shared };
        Self { voyage, task: tokio::spawn(encoder.run(source)) }
    }

    /// What happened so far.
    pub fn voyage(&self) -> EncoderReport {
        lock(&self.voyage).clone()
    }
}

impl Drop for RoamingEncoder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Encoder {
    async fn run(self, mut source: Numbered) {
        let mut left = None::<Instant>;
        loop {
            lock(&self.voyage).joins += 1;
            let mut link = match timeout(HUNG, self.open()).await {
                Ok(Ok(link)) => link,
                Ok(Err(why)) => {
                    lock(&self.voyage).refused.push(why);
                    sleep(AGAIN).await;
                    continue;
                }
                Err(_) => {
                    lock(&self.voyage).hung += 1;
                    continue;
                }
            };
            if let Some(left) = left {
                let mut voyage = lock(&self.voyage);
                voyage.longest_away = voyage.longest_away.max(left.elapsed());
            }
            let due = self.due();
            lock(&self.voyage).unsent += due.saturating_sub(source.next_number());
            source.skip_to(due);
            let departure = match self.publish(&mut link, &mut source).await {
                Ok(departure) => departure,
                Err(error) => Departure::Cut(error.to_string()),
            };
            left = Some(Instant::now());
            lock(&self.voyage).departures.push((Instant::now(), departure));
        }
    }

    /// The first picture whose time has not passed.
    fn due(&self) -> u64 {
        let pictures = self.start.elapsed().as_nanos() / self.every.as_nanos().max(1);
        u64::try_from(pictures).unwrap_or(u64::MAX)
    }

    async fn open(&self) -> Result<Link, String> {
        let told = |error: io::Error| error.to_string();
        let socket = TcpStream::connect(self.address).await.map_err(told)?;
        socket.set_nodelay(true).map_err(told)?;
        let config = Config { reconnects: self.reconnects, ..Config::new(self.url.clone()) };
        let session = Session::new_publish(config, [0x5a; PACKET_BYTES], Instant::now());
        let mut link = Link { socket, session };
        loop {
            match link.session.poll_event() {
                Some(Event::Accepted) => return Ok(link),
                Some(Event::Refused { code, description }) => {
                    return Err(format!("{code}: {description}"));
                }
                Some(_) => {}
                None => link.exchange().await.map_err(told)?,
            }
        }
    }

    async fn publish(&self, link: &mut Link, source: &mut Numbered) -> io::Result<Departure> {
        for tag in source.init() {
            link.session.send_media(tag.kind, tag.timestamp, &tag.body);
        }
        let mut asked = false;
        loop {
            while let Some(event) = link.session.poll_event() {
                match event {
                    Event::Ended { code, .. } => return Ok(Departure::LetGo(code)),
                    Event::ReconnectRequested { .. } => asked = true,
                    _ => {}
                }
            }
            let pictures = u32::try_from(source.next_number()).unwrap_or(u32::MAX);
            tokio::select! {
                () = sleep_until(self.start + self.every * pictures) => {
                    if asked && source.begins_group() {
                        link.session.stop();
                        // A server that has gone already needs no goodbye.
                        let _ = flush(&mut link.socket, &mut link.session).await;
                        close(&mut link.socket).await;
                        return Ok(Departure::Followed);
                    }
                    for tag in source.next_tags() {
                        link.session.send_media(tag.kind, tag.timestamp, &tag.body);
                    }
                    flush(&mut link.socket, &mut link.session).await?;
                    lock(&self.voyage).next = source.next_number();
                }
                read = link.exchange() => read?,
            }
        }
    }
}

impl Link {
    /// Writes what there is to say, and waits for something to read.
    async fn exchange(&mut self) -> io::Result<()> {
        flush(&mut self.socket, &mut self.session).await?;
        self.socket.readable().await?;
        let Self { socket, session } = self;
        read(socket, |bytes| session.handle_input(bytes, Instant::now()).map_err(io::Error::other))
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    io::Error::other("the server closed the connection")
                }
                _ => error,
            })
    }
}
