//! One viewer.

use std::{
    io::{self, ErrorKind, Read, Write},
    mem::MaybeUninit,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use mio::net::TcpStream;
use socket2::SockRef;
use weir_flv::{Tag, TagKind, file};
use weir_rtmp::{client::Event, url::RtmpUrl};

use crate::{
    clip,
    publish::resolve,
    report::Times,
    socket::{Socket, Tls},
    wire::Wire,
};

/// Linux's `MSG_TRUNC`: on TCP, received bytes are thrown away without being copied.
const MSG_TRUNC: i32 = 0x20;

/// Bytes thrown away at a time.
const DISCARD_BYTES: usize = 1 << 20;

/// Bytes read at a time by viewers that read.
const READ_BYTES: usize = 64 * 1024;

/// What is played.
pub enum Target {
    /// An RTMP URL, with `{}` for the stream's number.
    Rtmp(String, Option<Tls>),
    /// An HTTP server, and a path with `{}` for the stream's number.
    Http(HttpServer),
}

/// What is asked of an HTTP server.
#[derive(Clone)]
pub struct HttpServer {
    /// The server.
    pub address: SocketAddr,
    /// Its name.
    pub name: String,
    /// Its name and port.
    pub host: String,
    /// What is asked for.
    pub path: String,
    /// With TLS.
    pub tls: Option<Tls>,
}

impl HttpServer {
    /// Begins a connection.
    ///
    /// # Errors
    /// As the system has it.
    pub fn connect(&self) -> io::Result<Socket<TcpStream>> {
        Socket::new(TcpStream::connect(self.address)?, &self.name, self.tls.as_ref())
    }
}

impl Target {
    /// The target that `url` names; the file at `ca` has the certificates that are trusted.
    ///
    /// # Errors
    /// When it is neither an RTMP nor an HTTP URL, or the host has no address, or there is to be TLS without a file.
    pub fn parse(url: &str, ca: Option<&Path>) -> io::Result<Self> {
        if url.starts_with("http") {
            return http_server(url, ca).map(Self::Http);
        }
        let read = RtmpUrl::parse(&url.replace("{}", "0")).map_err(io::Error::other)?;
        let tls = ca.map(Tls::new).transpose()?;
        let tls = Tls::for_scheme(read.is_tls, tls.as_ref())?;
        Ok(Self::Rtmp(url.to_owned(), tls))
    }
}

/// What the `http` or `https` URL `url` names.
///
/// # Errors
/// When it is none, the host has no address, or there is to be TLS without a file.
pub fn http_server(url: &str, ca: Option<&Path>) -> io::Result<HttpServer> {
    let not_one = || io::Error::other("the URL does not begin with http:// or https://");
    let (is_tls, rest) = match url.split_once("://").ok_or_else(not_one)? {
        ("http", rest) => (false, rest),
        ("https", rest) => (true, rest),
        _ => return Err(not_one()),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (name, port) = host.rsplit_once(':').unwrap_or((host, if is_tls { "443" } else { "80" }));
    let address = resolve(name, port.parse().map_err(io::Error::other)?)?;
    let tls = ca.map(Tls::new).transpose()?;
    let tls = Tls::for_scheme(is_tls, tls.as_ref())?;
    let (name, host, path) = (name.to_owned(), host.to_owned(), format!("/{path}"));
    Ok(HttpServer { address, name, host, path, tls })
}

/// What a viewer does once it plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Throws everything away.
    Ordinary,
    /// Reads and times every picture.
    Sampled,
    /// Reads nothing more.
    Stalled,
    /// Reads a little at a time.
    Slow,
    /// Is ordinary, but comes with many others in the middle of the measurement.
    Storm,
}

impl Habit {
    /// Whether it is one of those that the measurement is about.
    pub fn is_regular(self) -> bool {
        matches!(self, Self::Ordinary | Self::Sampled)
    }

    /// Whether its bytes are thrown away unseen.
    pub fn is_crowd(self) -> bool {
        matches!(self, Self::Ordinary | Self::Storm)
    }
}

/// One viewer.
pub struct Viewer {
    /// What it does.
    pub habit: Habit,
    /// Bytes received in the measurement.
    pub measured_bytes: u64,
    /// From its beginning to its first key frame.
    pub join: Option<Duration>,
    link: Link,
    state: State,
    began: Instant,
    last_byte: Instant,
    longest_gap: Duration,
    next_sip: Instant,
}

enum Link {
    Rtmp(Box<Wire>),
    Http { socket: Socket<TcpStream>, request: Vec<u8>, reader: Box<HttpReader> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Has not had its first key frame.
    Joining,
    Playing,
    /// The connection has ended.
    Cut,
}

impl Viewer {
    /// Begins a viewer's connection.
    ///
    /// # Errors
    /// When the system refuses a socket.
    pub fn connect(target: &Target, stream: usize, habit: Habit) -> io::Result<Self> {
        let stream = stream.to_string();
        let link = match target {
            Target::Rtmp(url, tls) => {
                let url = RtmpUrl::parse(&url.replace("{}", &stream)).map_err(io::Error::other)?;
                let address = resolve(&url.host, url.port)?;
                Link::Rtmp(Box::new(Wire::play(address, &url, tls.as_ref())?))
            }
            Target::Http(server) => {
                let (path, host) = (server.path.replace("{}", &stream), &server.host);
                let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
                Link::Http { socket: server.connect()?, request, reader: Box::default() }
            }
        };
        let now = Instant::now();
        Ok(Self {
            habit,
            measured_bytes: 0,
            join: None,
            link,
            state: State::Joining,
            began: now,
            last_byte: now,
            longest_gap: Duration::ZERO,
            next_sip: now,
        })
    }

    /// Registers its socket with a poller.
    ///
    /// # Errors
    /// As the poller has it.
    pub fn register(
        &mut self,
        register: impl FnOnce(&mut TcpStream) -> io::Result<()>,
    ) -> io::Result<()> {
        register(self.socket())
    }

    /// Forgets what was received until now.
    pub fn begin_measurement(&mut self) {
        self.measured_bytes = 0;
        self.longest_gap = Duration::ZERO;
        self.last_byte = Instant::now();
    }

    /// Whether it plays.
    pub fn is_playing(&self) -> bool {
        self.state == State::Playing
    }

    /// Whether the server ended its connection.
    pub fn is_cut(&self) -> bool {
        self.state == State::Cut
    }

    /// Whether [`Viewer::sip`] is to be called.
    pub fn is_slow(&self) -> bool {
        self.habit == Habit::Slow && self.state == State::Playing
    }

    /// The longest time without a byte, until `end`.
    pub fn longest_gap(&self, end: Instant) -> Duration {
        self.longest_gap.max(end.saturating_duration_since(self.last_byte))
    }

    /// Does what its socket allows. Ages of pictures go to `latency`.
    pub fn on_event(&mut self, readable: bool, latency: Option<&mut Times>) {
        if self.state == State::Cut {
            return;
        }
        let done = match self.flush() {
            Ok(()) if readable => self.receive(latency),
            done => done,
        };
        if done.is_err() {
            self.state = State::Cut;
        }
    }

    /// Reads as much as a slow viewer reads in the time that has passed.
    pub fn sip(&mut self, now: Instant, rate: u64) {
        const EVERY: Duration = Duration::from_millis(100);
        if now < self.next_sip {
            return;
        }
        self.next_sip = now + EVERY;
        let mut buffer = vec![0; usize::try_from(rate / 10).unwrap_or(1).max(1)];
        match self.socket().read(&mut buffer) {
            Ok(0) => self.state = State::Cut,
            Ok(n) => self.count(n),
            Err(_) => {}
        }
    }

    fn socket(&mut self) -> &mut TcpStream {
        match &mut self.link {
            Link::Rtmp(wire) => &mut wire.socket.below,
            Link::Http { socket, .. } => &mut socket.below,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.link {
            Link::Rtmp(wire) => wire.flush().map(|_| ()),
            Link::Http { socket, request, .. } if !request.is_empty() => {
                match socket.write(request) {
                    // A request of 100 bytes fits any socket.
                    Ok(_) => {
                        request.clear();
                        Ok(())
                    }
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::WouldBlock | ErrorKind::NotConnected
                        ) =>
                    {
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
            Link::Http { socket, .. } => match socket.flush() {
                Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
                _ => Ok(()),
            },
        }
    }

    fn receive(&mut self, mut latency: Option<&mut Times>) -> io::Result<()> {
        loop {
            let read = match (self.state, self.habit) {
                (State::Playing, Habit::Stalled | Habit::Slow) => return Ok(()),
                (State::Playing, Habit::Ordinary | Habit::Storm) => return self.discard(),
                (State::Playing, Habit::Sampled) | (State::Joining, _) => {
                    self.read(&mut latency)?
                }
                (State::Cut, _) => return Ok(()),
            };
            if read == 0 {
                return Ok(());
            }
        }
    }

    fn discard(&mut self) -> io::Result<()> {
        // Never written to, so these bytes of the stack are not even touched.
        let mut nothing = [const { MaybeUninit::uninit() }; DISCARD_BYTES];
        loop {
            match SockRef::from(&*self.socket()).recv_with_flags(&mut nothing, MSG_TRUNC) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    self.count(n);
                    // Fewer bytes than asked for: there are no more, and the poller will tell of new ones.
                    if n < DISCARD_BYTES {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self, latency: &mut Option<&mut Times>) -> io::Result<usize> {
        let mut tags = Vec::new();
        let read = match &mut self.link {
            Link::Rtmp(wire) => {
                let read = wire.read()?;
                while let Some(event) = wire.session.poll_event() {
                    match event {
                        Event::Media(tag) => tags.push(tag),
                        Event::Refused { code, .. } | Event::Ended { code, .. } => {
                            return Err(io::Error::other(code));
                        }
                        _ => {}
                    }
                }
                wire.flush()?;
                read
            }
            Link::Http { socket, reader, .. } => reader.read(socket, &mut tags)?,
        };
        self.count(read);
        for tag in &tags {
            self.take(tag, latency);
        }
        Ok(read)
    }

    fn take(&mut self, tag: &Tag, latency: &mut Option<&mut Times>) {
        if tag.kind != TagKind::Video {
            return;
        }
        if self.state == State::Joining && clip::is_key(&tag.body) {
            self.state = State::Playing;
            self.join = Some(self.began.elapsed());
            self.acknowledge_at_once();
        } else if self.habit == Habit::Sampled
            && let (Some(latency), Some(age)) = (latency, clip::age(&tag.body))
        {
            latency.record(age);
        }
    }

    /// A client that has talked much (RTMP's has) has its acknowledgements delayed by its kernel until a second segment
    /// comes, and on loopback that makes them the sender's work. So that each protocol is measured alike, this ends.
    fn acknowledge_at_once(&mut self) {
        // If the kernel does not know how, its delays are measured too.
        let _ = SockRef::from(&*self.socket()).set_tcp_quickack(true);
    }

    fn count(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let now = Instant::now();
        self.longest_gap = self.longest_gap.max(now - self.last_byte);
        self.last_byte = now;
        self.measured_bytes += bytes as u64;
    }
}

/// Reads FLV out of an HTTP response, in chunks or not.
#[derive(Default)]
struct HttpReader {
    head: Vec<u8>,
    body: Option<Body>,
    flv: file::Reader,
}

enum Body {
    Plain,
    /// Inside a chunk with this many bytes to go, its line end included; or in a chunk's header line.
    Chunked {
        left: usize,
        line: Vec<u8>,
    },
}

impl HttpReader {
    fn read(&mut self, socket: &mut impl Read, tags: &mut Vec<Tag>) -> io::Result<usize> {
        let mut buffer = [0; READ_BYTES];
        let read = match socket.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        self.push(&buffer[..read])?;
        while let Some(item) = self.flv.poll().map_err(io::Error::other)? {
            if let file::Item::Tag(tag) = item {
                tags.push(tag);
            }
        }
        Ok(read)
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.body {
            Some(Body::Plain) => self.flv.push(bytes),
            Some(Body::Chunked { left, line }) => dechunk(bytes, left, line, &mut self.flv)?,
            None => {
                self.head.extend_from_slice(bytes);
                let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n")
                else {
                    return Ok(());
                };
                let head = String::from_utf8_lossy(&self.head[..end]).to_ascii_lowercase();
                if !head.starts_with("http/1.1 200") && !head.starts_with("http/1.0 200") {
                    return Err(io::Error::other(head));
                }
                let is_chunked = head.contains("transfer-encoding: chunked");
                self.body = Some(if is_chunked {
                    Body::Chunked { left: 0, line: Vec::new() }
                } else {
                    Body::Plain
                });
                let rest = self.head.split_off(end + 4);
                self.head = Vec::new();
                self.push(&rest)?;
            }
        }
        Ok(())
    }
}

fn dechunk(
    mut bytes: &[u8],
    left: &mut usize,
    line: &mut Vec<u8>,
    flv: &mut file::Reader,
) -> io::Result<()> {
    while let Some((&first, rest)) = bytes.split_first() {
        if *left > 2 {
            let data = bytes.len().min(*left - 2);
            flv.push(&bytes[..data]);
            *left -= data;
            bytes = &bytes[data..];
        } else if *left > 0 {
            *left -= 1;
            bytes = rest;
        } else {
            bytes = rest;
            line.push(first);
            if let Some(size) = line.strip_suffix(b"\r\n") {
                let size = std::str::from_utf8(size).map_err(io::Error::other)?;
                *left = usize::from_str_radix(size, 16).map_err(io::Error::other)? + 2;
                line.clear();
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_taken_off_wherever_the_bytes_are_cut() {
        let mut flv =
            bytes::BytesMut::from(&file::Header { has_audio: true, has_video: true }.encode()[..]);
        file::write_tag(&mut flv, TagKind::Video, 7, b"\x17\x01picture");
        let mut response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in flv.chunks(9) {
            response.extend(format!("{:08x}\r\n", chunk.len()).bytes());
            response.extend(chunk);
            response.extend(b"\r\n");
        }
        for size in 1..response.len() {
            let mut reader = HttpReader::default();
            for piece in response.chunks(size) {
                reader.push(piece).unwrap();
            }
            assert!(
                matches!(reader.flv.poll(), Ok(Some(file::Item::Header(_)))),
                "in pieces of {size}"
            );
            let Ok(Some(file::Item::Tag(tag))) = reader.flv.poll() else {
                panic!("no tag in pieces of {size}")
            };
            assert_eq!((tag.timestamp, &tag.body[2..]), (7, &b"picture"[..]));
        }
    }

    #[test]
    fn a_refusal_is_an_error_with_the_reason() {
        let error = HttpReader::default().push(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err();
        assert!(error.to_string().contains("404"), "{error}");
    }
}
