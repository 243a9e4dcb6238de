//! HTTP clients that ask for a playlist or a segment again and again on kept-alive connections, on one thread.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use serde::Serialize;

use crate::{
    cli::Request,
    cpu::Watch,
    play::{HttpServer, http_server, share},
    report::{Spread, Times},
    socket::Socket,
};

/// Socket events taken at a time.
const EVENTS: usize = 4096;

/// How many connections are begun in one turn: the kernel's backlog is finite.
const CONNECTS_MAX: usize = 64;

/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long what is asked for may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long is waited between two looks whether it is there.
const LOOK: Duration = Duration::from_millis(50);

/// What was measured; printed as JSON, or for people.
#[derive(Debug, Serialize)]
struct Report {
    /// Seconds measured.
    seconds: f64,
    /// Connections that were there to the end.
    connections: usize,
    /// Connections that ended, or had an answer that is not 200.
    failed: usize,
    /// Whole answers in the measurement.
    requests: u64,
    /// Bytes of their bodies.
    bytes: u64,
    /// From a request to the last byte of its answer.
    latency: Spread,
    /// CPU seconds of the watched processes, and of the kernel's softirq threads.
    cpu: f64,
    softirq: f64,
    /// CPU seconds for each GB delivered, softirq threads included.
    cpu_per_gb: Option<f64>,
    /// CPU microseconds for each answer, softirq threads included.
    cpu_per_request: Option<f64>,
    /// Resident memory of the watched processes in KiB, before the first connection and at the end.
    rss_before: u64,
    rss: u64,
}

/// Where a connection is.
#[derive(Debug)]
enum State {
    /// Its next request is not due.
    Idle,
    /// These bytes of its request are not written.
    Asking { from: usize },
    /// The head of the answer until now.
    Head(Vec<u8>),
    /// Bytes of the body that are to come.
    Body(u64),
    /// It has ended.
    Gone,
}

struct Connection {
    socket: Socket<TcpStream>,
    state: State,
    /// When its request began.
    asked: Instant,
    /// Of the body that is coming.
    length: u64,
}

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    /// Its bytes, the empty line included.
    len: usize,
    status: u16,
    /// Of the body.
    length: u64,
}

/// Asks, measures and prints.
///
/// # Errors
/// When the server cannot be reached, or never answers with what is asked for.
pub fn run(request: &Request) -> io::Result<()> {
    let watch = Watch::new(&request.watch);
    let mut server = http_server(&request.url, request.ca.as_deref())?;
    if request.newest {
        server.path = newest(&server)?;
    }
    fetch_patiently(&server)?;
    let rss_before = watch.rss_kib();
    let mut crowd = Crowd::new(request, server)?;
    crowd.until(Instant::now() + request.ramp + request.warmup)?;
    crowd.begin_measurement();
    let (began, before) = (Instant::now(), watch.read());
    crowd.until(began + request.seconds)?;
    let (elapsed, after) = (began.elapsed(), watch.read());
    let mut report = crowd.report(elapsed);
    (report.rss_before, report.rss) = (rss_before, watch.rss_kib());
    if watch.is_any() {
        let spent = after.since(before);
        report.add_cpu(spent.process, spent.softirq);
    }
    if request.json {
        println!("{}", serde_json::to_string(&report).map_err(io::Error::other)?);
    } else {
        print!("{report}");
    }
    Ok(())
}

fn ask(HttpServer { host, path, .. }: &HttpServer) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// The last segment that the playlist at the server's path lists.
fn newest(server: &HttpServer) -> io::Result<String> {
    let (playlist, path) = (fetch_patiently(server)?, &server.path);
    let text = String::from_utf8_lossy(&playlist);
    let name = text.lines().rfind(|line| !line.is_empty() && !line.starts_with('#'));
    let name = name.ok_or_else(|| io::Error::other(format!("{path} lists no segment")))?;
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Ok(if name.starts_with('/') { name.to_owned() } else { format!("{folder}/{name}") })
}

/// What is at the server's path, as soon as it has it.
fn fetch_patiently(server: &HttpServer) -> io::Result<Vec<u8>> {
    let start = Instant::now();
    loop {
        match fetch(server) {
            Ok(body) => return Ok(body),
            Err(error) if start.elapsed() > PATIENCE => return Err(error),
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

fn fetch(server: &HttpServer) -> io::Result<Vec<u8>> {
    let below = std::net::TcpStream::connect(server.address)?;
    below.set_read_timeout(Some(PATIENCE))?;
    let mut socket = Socket::new(below, &server.name, server.tls.as_ref())?;
    socket.write_all(&ask(server))?;
    socket.flush()?;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; READ_BYTES]);
    loop {
        if let Some(head) = head(&answer)? {
            if head.status != 200 {
                return Err(io::Error::other(format!("{}: status {}", server.path, head.status)));
            }
            if (answer.len() - head.len) as u64 >= head.length {
                return Ok(answer.split_off(head.len));
            }
        }
        match socket.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
}

/// The head that `bytes` begin with, once it is whole.
fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() > HEAD_BYTES_MAX {
            Err(io::Error::other("the head of an answer does not end"))
        } else {
            Ok(None)
        };
    };
    let text = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let length = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())
    });
    match (status, length.flatten()) {
        (Some(status), Some(length)) => Ok(Some(Head { len: end + 4, status, length })),
        _ => Err(io::Error::other("an answer without status or Content-Length")),
    }
}

struct Crowd<'a> {
    request: &'a Request,
    server: HttpServer,
    ask: Vec<u8>,
    poll: Poll,
    connections: Vec<Connection>,
    start: Instant,
    /// When whose next request is due, the next first.
    due: VecDeque<(Instant, usize)>,
    latency: Times,
    requests: u64,
    bytes: u64,
    buffer: Vec<u8>,
}

impl<'a> Crowd<'a> {
    fn new(request: &'a Request, server: HttpServer) -> io::Result<Self> {
        Ok(Self {
            request,
            ask: ask(&server),
            server,
            poll: Poll::new()?,
            connections: Vec::new(),
            start: Instant::now(),
            due: VecDeque::new(),
            latency: Times::default(),
            requests: 0,
            bytes: 0,
            buffer: vec![0; READ_BYTES],
        })
    }

    fn begin_measurement(&mut self) {
        self.latency = Times::default();
        (self.requests, self.bytes) = (0, 0);
    }

    fn until(&mut self, end: Instant) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            let is_behind = self.connect_due(now)?;
            while let Some((_, number)) = self.due.pop_front_if(|(due, _)| *due <= now) {
                self.begin(number);
            }
            let next = self.due.front().map_or(end, |(due, _)| end.min(*due));
            // Connections come one by one within the ramp.
            let most = if self.connections.len() < self.request.count { LOOK / 50 } else { LOOK };
            let timeout =
                if is_behind { Duration::ZERO } else { next.saturating_duration_since(now) };
            self.poll.poll(&mut events, Some(timeout.min(most)))?;
            for event in &events {
                self.go_on(event.token().0);
            }
        }
    }

    /// Begins the connections whose time has come; true when there are more.
    fn connect_due(&mut self, now: Instant) -> io::Result<bool> {
        let request = self.request;
        let wanted = share(request.count, now, self.start, request.ramp);
        let until = wanted.min(self.connections.len() + CONNECTS_MAX);
        for number in self.connections.len()..until {
            let mut socket = self.server.connect()?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket.below, Token(number), interest)?;
            let state = State::Asking { from: 0 };
            self.connections.push(Connection { socket, state, asked: now, length: 0 });
        }
        Ok(until < wanted)
    }

    /// Its next request is due.
    fn begin(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        if matches!(connection.state, State::Idle) {
            (connection.state, connection.asked) = (State::Asking { from: 0 }, Instant::now());
            self.go_on(number);
        }
    }

    /// Does what its socket allows.
    fn go_on(&mut self, number: usize) {
        loop {
            let connection = &mut self.connections[number];
            match connection.step(&self.ask, &mut self.buffer) {
                Ok(Progress::More) => {}
                Ok(Progress::Blocked) => return,
                Ok(Progress::Answered(bytes)) => {
                    self.latency.record(connection.asked.elapsed());
                    self.requests += 1;
                    self.bytes += bytes;
                    if let Some(every) = self.request.every {
                        connection.state = State::Idle;
                        // Who is late asks again at the usual distance: requests do not bunch up.
                        let due = connection.asked + every;
                        self.due.push_back((due.max(Instant::now()), number));
                        return;
                    }
                    connection.state = State::Asking { from: 0 };
                    connection.asked = Instant::now();
                }
                Err(_) => {
                    connection.state = State::Gone;
                    return;
                }
            }
        }
    }

    fn report(&self, elapsed: Duration) -> Report {
        let gone = self.connections.iter().filter(|connection| connection.is_gone()).count();
        Report {
            seconds: elapsed.as_secs_f64(),
            connections: self.connections.len() - gone,
            failed: gone,
            requests: self.requests,
            bytes: self.bytes,
            latency: self.latency.spread(),
            cpu: 0.0,
            softirq: 0.0,
            cpu_per_gb: None,
            cpu_per_request: None,
            rss_before: 0,
            rss: 0,
        }
    }
}

/// What a step has come to.
enum Progress {
    More,
    Blocked,
    /// A whole answer, with a body of so many bytes.
    Answered(u64),
}

impl Connection {
    fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    fn step(&mut self, ask: &[u8], buffer: &mut [u8]) -> io::Result<Progress> {
        match &mut self.state {
            State::Idle | State::Gone => Ok(Progress::Blocked),
            State::Asking { from } => match self.socket.write(&ask[*from..]) {
                Ok(sent) => {
                    *from += sent;
                    if *from == ask.len() {
                        self.state = State::Head(Vec::new());
                    }
                    Ok(Progress::More)
                }
                Err(error) => blocked(error),
            },
            State::Head(_) | State::Body(_) => match self.socket.read(buffer) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.take(&buffer[..read]),
                Err(error) => blocked(error),
            },
        }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<Progress> {
        let left = match &mut self.state {
            State::Head(before) => {
                before.extend_from_slice(bytes);
                let Some(head) = head(before)? else { return Ok(Progress::More) };
                if head.status != 200 {
                    return Err(io::Error::other(format!("status {}", head.status)));
                }
                self.length = head.length;
                head.length.checked_sub((before.len() - head.len) as u64)
            }
            State::Body(left) => left.checked_sub(bytes.len() as u64),
            State::Idle | State::Asking { .. } | State::Gone => None,
        };
        match left {
            None => Err(io::Error::other("more than the body that was announced")),
            Some(0) => Ok(Progress::Answered(self.length)),
            Some(left) => {
                self.state = State::Body(left);
                Ok(Progress::More)
            }
        }
    }
}

impl Report {
    fn add_cpu(&mut self, cpu: f64, softirq: f64) {
        (self.cpu, self.softirq) = (cpu, softirq);
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let (bytes, requests) = (self.bytes as f64, self.requests as f64);
        if self.requests > 0 {
            self.cpu_per_gb = Some((cpu + softirq) / bytes * 1e9);
            self.cpu_per_request = Some((cpu + softirq) / requests * 1e6);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "connections   {} ({} failed)", self.connections, self.failed)?;
        writeln!(f, "answers       {} of {} bytes together", self.requests, self.bytes)?;
        writeln!(f, "latency       {}", self.latency)?;
        if let (Some(request), Some(gigabyte)) = (self.cpu_per_request, self.cpu_per_gb) {
            writeln!(f, "cpu           {request:.1} us an answer, {gigabyte:.2} s/GB")?;
            writeln!(f, "memory        {} KiB, {} KiB before", self.rss, self.rss_before)?;
        }
        Ok(())
    }
}

fn blocked(error: io::Error) -> io::Result<Progress> {
    match error.kind() {
        // A socket that is still connecting says `NotConnected`.
        ErrorKind::WouldBlock | ErrorKind::NotConnected => Ok(Progress::Blocked),
        ErrorKind::Interrupted => Ok(Progress::More),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-LENGTH:  12\r\nETag: x\r\n\r\nbody";
        let whole = Head { len: text.len() - 4, status: 200, length: 12 };
        assert_eq!(head(text).unwrap(), Some(whole));
        assert_eq!(head(&text[..text.len() - 6]).unwrap(), None);
    }

    #[test]
    fn a_head_that_says_no_length_or_does_not_end_is_an_error() {
        assert!(head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(head(&vec![b'a'; HEAD_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn connections_ask_again_and_again_and_what_they_get_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = |mut socket: std::net::TcpStream| {
            let mut buffer = [0; 1024];
            while socket.read(&mut buffer).is_ok_and(|read| read > 0) {
                // In two pieces, the head with the beginning of the body.
                let done = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
                if done.and_then(|()| socket.write_all(b"def")).is_err() {
                    return;
                }
            }
        };
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                thread::spawn(move || serve(socket));
            }
        });
        let request = Request {
            url: format!("http://{address}/"),
            ca: None,
            newest: false,
            count: 3,
            ramp: Duration::ZERO,
            warmup: Duration::ZERO,
            seconds: Duration::ZERO,
            every: None,
            watch: Vec::new(),
            json: false,
        };
        let mut crowd = Crowd::new(&request, http_server(&request.url, None).unwrap()).unwrap();
        let start = Instant::now();
        while crowd.requests < 100 && start.elapsed() < PATIENCE {
            crowd.until(Instant::now() + LOOK).unwrap();
        }
        let report = crowd.report(start.elapsed());
        assert_eq!((report.connections, report.failed), (3, 0));
        assert!(report.requests >= 100 && report.bytes == 6 * report.requests, "{report:?}");
    }
}
