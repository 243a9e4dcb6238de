//! A back end for callbacks: it writes down what it is told, checks that against SRS's contract, and answers as a test
//! wants.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::eventually;

/// For the slowest machine.
const SOON: Duration = Duration::from_secs(20);

/// A call that came in.
#[derive(Clone, Debug)]
pub struct Call {
    /// The path with the query.
    pub target: String,
    /// The fields of the head, their names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body, byte by byte.
    pub text: String,
    /// The same as JSON; null if it is none.
    pub body: Value,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// This status and body.
    Text(u16, String),
    /// Nothing, while the connection stays.
    Never,
    /// This, so much later.
    Later(Duration, Box<Reply>),
    /// A gigabyte.
    Huge,
    /// One byte a second, with a length that is never reached.
    Trickle,
    /// A redirect to there.
    Redirect(String),
    /// The connection is closed.
    Close,
}

type Manner = Arc<dyn Fn(&Call) -> Reply + Send + Sync>;

/// The back end. Dropping it closes its port.
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

struct Shared {
    calls: Mutex<Vec<Call>>,
    manner: Mutex<Manner>,
    open: AtomicUsize,
    most_open: AtomicUsize,
    busy: AtomicUsize,
    most_busy: AtomicUsize,
}

impl Call {
    /// A field of the head; empty without.
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// A field of the body that is text; empty without.
    pub fn said(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }
}

impl Backend {
    /// One that accepts everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let accept: Manner = Arc::new(|_| Reply::Text(200, "{\"code\":0}".to_owned()));
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            manner: Mutex::new(accept),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            most_busy: AtomicUsize::new(0),
        });
        let task = Some(serve(listener, &shared));
        Self { address, shared, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// From now on it answers like this.
    pub fn answers(&self, manner: impl Fn(&Call) -> Reply + Send + Sync + 'static) {
        *self.shared.manner.lock().expect("no test panics here") = Arc::new(manner);
    }

    /// From now on it answers everything with this.
    pub fn replies(&self, reply: Reply) {
        self.answers(move |_| reply.clone());
    }

    /// Stops, and has closed all connections then. What it was told is kept.
    pub async fn stop(&mut self) {
        let Some(task) = self.task.take() else { return };
        task.abort();
        // It was told to end, which is no failure.
        let _ = task.await;
        let is_alone = async || (self.shared.open.load(Ordering::Acquire) == 0).then_some(());
        eventually("its connections are closed", SOON, is_alone).await;
    }

    /// Listens again, at the same port.
    pub async fn go_on(&mut self) {
        let address = self.address;
        let listener =
            eventually("the port is free", SOON, async || TcpListener::bind(address).await.ok());
        self.task = Some(serve(listener.await, &self.shared));
    }

    /// What it was told so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().expect("no test panics here").clone()
    }

    /// The calls with this action.
    pub fn of(&self, action: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.said("action") == action).collect()
    }

    /// Waits for so many calls with this action.
    pub async fn until(&self, action: &str, count: usize) -> Vec<Call> {
        eventually(&format!("{count} calls of {action}"), SOON, async || {
            let calls = self.of(action);
            (calls.len() >= count).then_some(calls)
        })
        .await
    }

    /// The most connections that were open, and calls that were being answered, at one time.
    pub fn most(&self) -> (usize, usize) {
        let Shared { most_open, most_busy, .. } = &*self.shared;
        (most_open.load(Ordering::Acquire), most_busy.load(Ordering::Acquire))
    }

    /// # Panics
    /// If a call is not what SRS would send.
    pub fn assert_contract(&self) {
        for call in self.calls() {
            if let Err(why) = check(&call.body) {
                panic!("{why}: {}", call.text);
            }
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Whether `body` has exactly the fields that SRS sends with its action, with their types.
///
/// # Errors
/// What is different.
pub fn check(body: &Value) -> Result<(), String> {
    const ALL: &[(&str, &str)] = &[
        ("server_id", "string"),
        ("service_id", "string"),
        ("action", "string"),
        ("client_id", "string"),
        ("ip", "string"),
        ("vhost", "string"),
        ("app", "string"),
    ];
    const SAID: &[(&str, &str)] = &[("tcUrl", "string"), ("stream", "string"), ("param", "string")];
    const PAGE: &[(&str, &str)] = &[("pageUrl", "string")];
    const STREAM: &[(&str, &str)] = &[("stream_url", "string"), ("stream_id", "string")];
    const BYTES: &[(&str, &str)] = &[("send_bytes", "integer"), ("recv_bytes", "integer")];
    const FILE: &[(&str, &str)] = &[("cwd", "string"), ("file", "string")];
    const SEGMENT: &[(&str, &str)] = &[
        ("duration", "number"),
        ("url", "string"),
        ("m3u8", "string"),
        ("m3u8_url", "string"),
        ("seq_no", "integer"),
    ];
    let action = body["action"].as_str().unwrap_or_default();
    let parts: &[&[(&str, &str)]] = match action {
        "on_connect" => &[SAID, PAGE],
        "on_close" => &[BYTES],
        "on_publish" | "on_unpublish" | "on_stop" => &[SAID, STREAM],
        "on_play" => &[SAID, PAGE, STREAM],
        "on_dvr" => &[SAID, STREAM, FILE],
        "on_hls" => &[SAID, STREAM, FILE, SEGMENT],
        "on_forward" => &[SAID],
        other => return Err(format!("no such action: {other:?}")),
    };
    let expected: Vec<_> = ALL.iter().chain(parts.iter().copied().flatten()).collect();
    let fields = body.as_object().ok_or("not an object")?;
    for (name, kind) in &expected {
        let value = fields.get(*name).ok_or_else(|| format!("{action} has no {name}"))?;
        let fits = match *kind {
            "string" => value.is_string(),
            "integer" => value.is_u64(),
            _ => value.is_number(),
        };
        if !fits {
            return Err(format!("{name} of {action} is not of the type {kind}"));
        }
    }
    let unknown = fields.keys().find(|name| !expected.iter().any(|(known, _)| known == name));
    unknown.map_or(Ok(()), |name| Err(format!("{action} has a field {name}")))
}

fn serve(listener: TcpListener, shared: &Arc<Shared>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        // Ended with this task.
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            while connections.try_join_next().is_some() {}
            connections.spawn(converse(socket, Arc::clone(&shared)));
        }
    })
}

/// One more for as long as this lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(now: &'a AtomicUsize, most: &AtomicUsize) -> Self {
        most.fetch_max(now.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
        Self(now)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn converse(mut socket: TcpStream, shared: Arc<Shared>) {
    let _open = Counted::new(&shared.open, &shared.most_open);
    let mut read = Vec::new();
    while let Some(call) = next(&mut socket, &mut read).await {
        let _busy = Counted::new(&shared.busy, &shared.most_busy);
        shared.calls.lock().expect("no test panics here").push(call.clone());
        let manner = Arc::clone(&shared.manner.lock().expect("no test panics here"));
        if answer(&mut socket, manner(&call)).await.is_none() {
            return;
        }
    }
}

/// The next call; none at the end of the connection.
async fn next(socket: &mut TcpStream, read: &mut Vec<u8>) -> Option<Call> {
    loop {
        if let Some((call, length)) = parse(read) {
            read.drain(..length);
            return Some(call);
        }
        if socket.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}

/// The call at the start of `read`, once it is all there, and its length.
fn parse(read: &[u8]) -> Option<(Call, usize)> {
    let head = read.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&read[..head]).into_owned();
    let mut lines = text.split("\r\n");
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let fields: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = fields.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, length)| length.parse().expect("a length"));
    let body = read.get(head + 4..head + 4 + length)?;
    let text = String::from_utf8_lossy(body).into_owned();
    let body = serde_json::from_slice(body).unwrap_or_default();
    Some((Call { target, fields, text, body }, head + 4 + length))
}

/// Answers; none if the connection is over.
async fn answer(socket: &mut TcpStream, reply: Reply) -> Option<()> {
    let reply = match reply {
        Reply::Later(pause, reply) => {
            sleep(pause).await;
            *reply
        }
        other => other,
    };
    match reply {
        Reply::Text(status, body) => {
            let length = body.len();
            let text = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{body}");
            socket.write_all(text.as_bytes()).await.ok()
        }
        Reply::Redirect(to) => {
            let text = format!("HTTP/1.1 302 x\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            socket.write_all(text.as_bytes()).await.ok()
        }
        Reply::Huge => {
            socket.write_all(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n").await.ok()?;
            let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
            for _ in 0..(1 << 30) / 0x10000 {
                socket.write_all(&chunk).await.ok()?;
            }
            None
        }
        Reply::Trickle => {
            socket.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 1000\r\n\r\n").await.ok()?;
            loop {
                socket.write_all(b" ").await.ok()?;
                sleep(Duration::from_secs(1)).await;
            }
        }
        Reply::Never | Reply::Later(..) => {
            // Until the caller gives up.
            let mut rest = [0; 1024];
            while socket.read(&mut rest).await.is_ok_and(|count| count > 0) {}
            None
        }
        Reply::Close => None,
    }
}
