//! Calls over HTTP/1.1: a bounded number of connections to each back end, kept open between calls.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use weir_blocking::Pool;
use weir_clients::{SERVER, descriptors};
use weir_config::HookUrl;
use weir_tls::{
    Stream,
    client::{Spoken, Trust},
};

use crate::health::{Failure, Health, Kind};

/// Calls that one back end is asked something by at a time. With 10 ms each that is 3,200 viewers a second, and more of
/// them at once than the worker processes of a common back end only wait there instead of here.
const ASKS_MAX: usize = 32;

/// Calls that it is told something by at a time, beside those: a flood of notices holds no decision up.
const TELLS_MAX: usize = 16;

/// Back ends that are remembered although nothing is open to them; they come from the configuration.
const HOSTS_MAX: usize = 64;

/// The longest answer that is read, as in SRS. With `on_forward` it is a list of URLs.
pub const ANSWER_BYTES_MAX: usize = 32 * 1024;

/// What a connection reads at a time; the head of an answer must fit.
const READ_BYTES: usize = 16 * 1024;

/// Names of back ends, looked up by the system.
static NAMES: LazyLock<Pool> = LazyLock::new(|| Pool::new("looking up names", 4));

type Sender = http1::SendRequest<Full<Bytes>>;

/// The connections to all back ends.
#[derive(Debug, Default)]
pub struct Backends {
    hosts: Mutex<HashMap<Place, Arc<Host>>>,
}

/// Where connections go, and whom is trusted there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    is_tls: bool,
    host: String,
    port: u16,
    ca: Option<PathBuf>,
}

/// One back end.
#[derive(Debug)]
pub struct Host {
    asks: Arc<Semaphore>,
    tells: Arc<Semaphore>,
    idle: Mutex<Vec<Sender>>,
    /// How it does.
    pub health: Health,
}

/// Whom to trust where a call has TLS.
#[derive(Clone, Debug)]
pub struct Security {
    /// The file that says so.
    pub ca: Option<PathBuf>,
    /// What was read from it; none if nothing was.
    pub trust: Option<Trust>,
}

/// One call.
pub struct Call<'a> {
    /// Where it goes.
    pub url: &'a HookUrl,
    /// What it says.
    pub body: Bytes,
    /// Its header fields beside the usual ones.
    pub fields: Vec<(&'static str, String)>,
    /// Whom to trust.
    pub security: &'a Security,
    /// How long it may take in all.
    pub limit: Duration,
}

impl Backends {
    /// The back end of `url`.
    pub fn host(&self, url: &HookUrl, security: &Security) -> Arc<Host> {
        let ca = security.ca.clone().filter(|_| url.is_tls);
        let place = Place { is_tls: url.is_tls, host: url.host.clone(), port: url.port, ca };
        let mut hosts = self.lock();
        if hosts.len() >= HOSTS_MAX && !hosts.contains_key(&place) {
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
        Arc::clone(hosts.entry(place).or_insert_with(|| Arc::new(Host::new())))
    }

    /// Another configuration is in force, with `urls`: what is open and idle is closed, since another file may say whom
    /// to trust, and back ends that it does not name are forgotten.
    pub fn follow(&self, urls: &[HookUrl]) {
        let is_named = |place: &Place| {
            let is_it = |url: &HookUrl| {
                (url.is_tls, &url.host, url.port) == (place.is_tls, &place.host, place.port)
            };
            urls.iter().any(is_it)
        };
        let mut hosts = self.lock();
        hosts.retain(|place, _| is_named(place));
        hosts.values().for_each(|host| host.close_idle());
    }

    /// The files `changed` say whom to trust in another way: what is open and idle by them is closed.
    pub fn trust_anew(&self, changed: &[PathBuf]) {
        let is_by = |place: &Place| place.ca.as_ref().is_some_and(|ca| changed.contains(ca));
        let hosts = self.lock();
        hosts.iter().filter(|(place, _)| is_by(place)).for_each(|(_, host)| host.close_idle());
    }

    /// How many back ends have failed at their last call.
    pub fn failing(&self) -> usize {
        self.lock().values().filter(|host| host.health.is_failing()).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Arc<Host>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    fn new() -> Self {
        Self {
            asks: Arc::new(Semaphore::new(ASKS_MAX)),
            tells: Arc::new(Semaphore::new(TELLS_MAX)),
            idle: Mutex::default(),
            health: Health::default(),
        }
    }

    /// A turn for a call, as soon as one is free: who came first is first.
    pub async fn turn(&self, is_ask: bool) -> Option<OwnedSemaphorePermit> {
        let turns = if is_ask { &self.asks } else { &self.tells };
        Arc::clone(turns).acquire_owned().await.ok()
    }

    /// Makes a call; the status and the whole body of the answer.
    ///
    /// # Errors
    /// When there is no answer in time, or none that can be read.
    pub async fn call(&self, call: &Call<'_>) -> Result<(StatusCode, Bytes), Failure> {
        let late = |_| {
            let why = format!("no answer within {:?} (hooks.timeout)", call.limit);
            Err(Failure { kind: Kind::Late, why })
        };
        timeout(call.limit, self.try_call(call)).await.unwrap_or_else(late)
    }

    async fn try_call(&self, call: &Call<'_>) -> Result<(StatusCode, Bytes), Failure> {
        let request = call.request().map_err(unreachable)?;
        let (mut response, sender) = self.send(call, request).await?;
        let status = response.status();
        let body = read(&mut response).await?;
        drop(response);
        self.keep(sender);
        Ok((status, body))
    }

    async fn send(
        &self,
        call: &Call<'_>,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Sender), Failure> {
        // The back end may close an idle connection in the very moment it is used again: it has not read the call then.
        while let Some(mut sender) = self.take() {
            if sender.ready().await.is_ok()
                && let Ok(response) = sender.send_request(request.clone()).await
            {
                return Ok((response, sender));
            }
        }
        let mut sender = open(call).await.map_err(unreachable)?;
        let sent = sender.send_request(request).await;
        let response = sent.map_err(|error| Failure {
            kind: if error.is_parse() { Kind::Garbage } else { Kind::Unreachable },
            why: format!("no answer: {}", in_full(&error)),
        })?;
        Ok((response, sender))
    }

    fn close_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn take(&self) -> Option<Sender> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        if idle.len() < ASKS_MAX + TELLS_MAX && !sender.is_closed() {
            idle.push(sender);
        }
    }
}

impl Call<'_> {
    fn request(&self) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::post(self.url.target())
            .header(header::HOST, self.url.authority())
            .header(header::USER_AGENT, SERVER)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in &self.fields {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(self.body.clone()));
        request.map_err(|error| format!("cannot make a request: {error}"))
    }
}

/// The whole body, unless it is longer than an answer is.
async fn read(response: &mut Response<Incoming>) -> Result<Bytes, Failure> {
    let garbage = |why: String| Failure { kind: Kind::Garbage, why };
    let too_long = || garbage(format!("its answer is longer than {ANSWER_BYTES_MAX} bytes"));
    let body = response.body_mut();
    if body.size_hint().lower() > ANSWER_BYTES_MAX as u64 {
        return Err(too_long());
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| garbage(format!("its answer breaks off: {}", in_full(&error))))?;
        let Some(data) = frame.data_ref() else { continue };
        if whole.len() + data.len() > ANSWER_BYTES_MAX {
            return Err(too_long());
        }
        whole.extend_from_slice(data);
    }
    Ok(whole.into())
}

fn unreachable(why: String) -> Failure {
    Failure { kind: Kind::Unreachable, why }
}

async fn open(call: &Call<'_>) -> Result<Sender, String> {
    let descriptor = descriptors::opened().take().ok_or("out of file descriptors")?;
    let HookUrl { host, port, is_tls, .. } = call.url;
    let socket = connect(host, *port).await.map_err(|error| format!("cannot connect: {error}"))?;
    let stream = if *is_tls {
        let none = || "no CA certificates are known for it (hooks.ca)".to_owned();
        let trust = call.security.trust.as_ref().ok_or_else(none)?;
        let shaken = trust.connect(socket, host, Spoken::Http).await;
        shaken.map_err(|failed| io::Error::from(failed).to_string())?
    } else {
        Stream::from(socket)
    };
    let handshake = http1::Builder::new()
        .max_buf_size(READ_BYTES)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(|error| error.to_string())?;
    // Ends when the sender and the answer's body are gone, or the back end closes.
    tokio::spawn(async move {
        let _ = connection.await;
        drop(descriptor);
    });
    Ok(sender)
}

/// The first address that accepts.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no addresses");
    for address in addresses(host, port).await? {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                // A call does not wait for more to come.
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Where a back end is.
pub async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let name = host.to_owned();
    let look_up = move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
    NAMES.run(look_up).await.flatten()
}

/// The error and its causes; hyper's own text is the first half of a sentence.
fn in_full(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
