//! What the pages of a console ask for, and when: `crates/console/web` has it in JavaScript.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::play::http_server;

/// How long a call waits for news (`WAIT_SECONDS` of `streams.js`).
const WAIT_SECONDS: u64 = 20;

/// Between two answers about all streams (`every` in `streams.js`), and about events (`events.js`).
const WALL_EVERY: Duration = Duration::from_millis(900);
const EVENTS_EVERY: Duration = Duration::from_millis(1000);

/// Between two looks at a stream (`EVERY` of `stream.js`), and at the cluster (`cluster.js`).
const STREAM_EVERY: Duration = Duration::from_millis(3000);
const CLUSTER_EVERY: Duration = Duration::from_millis(2500);

/// How often a tile gets a picture (`stills.js`).
const STILL_MIN: Duration = Duration::from_millis(2500);
const STILL_OF_MANY: Duration = Duration::from_millis(400);
const STILL_MAX: Duration = Duration::from_secs(20);

/// For an answer, waiting included.
const PATIENCE: Duration = Duration::from_secs(40);

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What one connection of a page is for.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    /// All streams, and what changes of them.
    Wall,
    /// Pictures for the tiles that are seen.
    Stills,
    /// One stream, its last minutes, its clients.
    Stream,
    /// Events, and the next one.
    Events,
    /// All nodes.
    Cluster,
}

/// The streams that a page knows of.
#[derive(Debug, Default)]
pub struct Streams(Mutex<Vec<String>>);

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is kept alive, and opened again when the server has closed it.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    host: String,
    socket: Mutex<Option<TcpStream>>,
}

impl Connection {
    /// To the server at `url`, not connected yet.
    ///
    /// # Errors
    /// When that is no URL, or has no address.
    pub fn new(url: &str) -> io::Result<Self> {
        let server = http_server(url, None)?;
        Ok(Self { address: server.address, host: server.host, socket: Mutex::default() })
    }

    /// Whoever waits for an answer gets an error.
    pub fn close(&self) {
        if let Some(socket) = &*self.lock() {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<TcpStream>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of the answer to this call.
    fn get(&self, path: &str) -> io::Result<Vec<u8>> {
        if let Some(mut socket) = self.lock().as_ref().map(TcpStream::try_clone).transpose()?
            && let Ok(body) = self.ask(&mut socket, path)
        {
            return Ok(body);
        }
        // The server closes connections that have been idle.
        let mut socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        *self.lock() = Some(socket.try_clone()?);
        self.ask(&mut socket, path)
    }

    fn ask(&self, socket: &mut TcpStream, path: &str) -> io::Result<Vec<u8>> {
        write!(socket, "GET /api/v1/{path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host)?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 64 * 1024]);
        let (head, length) = loop {
            match socket.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => answer.extend_from_slice(&buffer[..read]),
            }
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break (end + 4, length_of(&String::from_utf8_lossy(&answer[..end]))?);
            }
            if answer.len() > HEAD_BYTES_MAX {
                return Err(io::Error::other("the head of an answer does not end"));
            }
        };
        while answer.len() < head + length {
            match socket.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => answer.extend_from_slice(&buffer[..read]),
            }
        }
        Ok(answer.split_off(head))
    }
}

/// The length of the body behind this head of a good answer.
fn length_of(head: &str) -> io::Result<usize> {
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(status.to_owned()));
    }
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, value)| value.trim().parse().ok());
    length.ok_or_else(|| io::Error::other("an answer without Content-Length"))
}

impl Ask {
    /// Asks again and again until the page is `ending`; `asked` hears of each answer's bytes.
    ///
    /// # Errors
    /// When an answer fails.
    pub fn go_on(
        self,
        connection: &Connection,
        streams: &Streams,
        tiles: usize,
        ending: &AtomicBool,
        mut asked: impl FnMut(usize),
    ) -> io::Result<()> {
        let mut after = 0;
        let mut due = HashMap::<String, Instant>::new();
        while !ending.load(Ordering::Relaxed) {
            let began = Instant::now();
            let mut get = |path: &str| {
                let body = connection.get(path)?;
                asked(body.len());
                io::Result::Ok(body)
            };
            let every = match self {
                Self::Wall => {
                    let answer = json(&get(&since("wall", after))?)?;
                    after = answer["version"].as_u64().unwrap_or(0);
                    if answer["full"] == true {
                        *streams.lock() = ids(&answer, tiles);
                    }
                    WALL_EVERY
                }
                Self::Stills => {
                    still(&mut get, &streams.lock().clone(), &mut due)?;
                    Duration::from_millis(250)
                }
                Self::Stream => {
                    let Some(id) = the_one(&mut get, streams)? else { continue };
                    get(&format!("streams/{id}"))?;
                    get(&format!("streams/{id}/history"))?;
                    get(&format!("streams/{id}/clients"))?;
                    STREAM_EVERY
                }
                Self::Events => {
                    let id = streams.lock().first().cloned();
                    if let Some(id) = id {
                        let path = format!("{}&stream={id}", since("events", after));
                        after = json(&get(&path)?)?["last"].as_u64().unwrap_or(0);
                    }
                    EVENTS_EVERY
                }
                Self::Cluster => {
                    get("nodes?scope=cluster")?;
                    CLUSTER_EVERY
                }
            };
            thread::park_timeout(every.saturating_sub(began.elapsed()));
        }
        Ok(())
    }
}

/// A call that waits for what is new since `after`.
fn since(call: &str, after: u64) -> String {
    let wait = if after == 0 { 0 } else { WAIT_SECONDS };
    format!("{call}?after={after}&wait={wait}")
}

fn json(body: &[u8]) -> io::Result<Value> {
    serde_json::from_slice(body).map_err(io::Error::other)
}

/// The ids of the first streams of the wall.
fn ids(answer: &Value, count: usize) -> Vec<String> {
    let mut all: Vec<_> = answer["streams"].as_array().into_iter().flatten().collect();
    all.sort_by_key(|row| row["url"].as_str().map(str::to_owned));
    let ids = all.iter().filter_map(|row| row["id"].as_str().map(str::to_owned));
    ids.take(count).collect()
}

/// The stream that a page of one stream shows.
fn the_one(
    get: &mut impl FnMut(&str) -> io::Result<Vec<u8>>,
    streams: &Streams,
) -> io::Result<Option<String>> {
    let known = streams.lock().first().cloned();
    if known.is_some() {
        return Ok(known);
    }
    let first = ids(&json(&get("wall?after=0&wait=0")?)?, 1);
    (*streams.lock()).clone_from(&first);
    Ok(first.into_iter().next())
}

/// Fetches the pictures that are due, one after the other.
fn still(
    get: &mut impl FnMut(&str) -> io::Result<Vec<u8>>,
    all: &[String],
    due: &mut HashMap<String, Instant>,
) -> io::Result<()> {
    let many = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let every = STILL_OF_MANY.saturating_mul(many).clamp(STILL_MIN, STILL_MAX);
    for id in all {
        let now = Instant::now();
        if due.get(id).is_none_or(|due| *due <= now) {
            due.insert(id.clone(), now + every);
            get(&format!("streams/{id}/still"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_answers_have_a_length() {
        assert_eq!(length_of("HTTP/1.1 200 OK\r\nContent-length: 7").unwrap(), 7);
        assert!(length_of("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 7").is_err());
        assert!(length_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked").is_err());
    }

    #[test]
    fn the_first_streams_by_their_names_are_seen() {
        let row = |name: &str| serde_json::json!({ "url": name, "id": format!("id-{name}") });
        let answer = serde_json::json!({ "streams": [row("c"), row("a"), row("b")] });
        assert_eq!(ids(&answer, 2), ["id-a", "id-b"]);
    }

    #[test]
    fn a_picture_is_asked_for_when_it_is_due() {
        let (mut asked, mut due) = (Vec::new(), HashMap::new());
        let all = ["a".to_owned(), "b".to_owned()];
        for _ in 0..3 {
            let mut get = |path: &str| {
                asked.push(path.to_owned());
                io::Result::Ok(Vec::new())
            };
            still(&mut get, &all, &mut due).unwrap();
        }
        assert_eq!(asked, ["streams/a/still", "streams/b/still"]);
    }
}
