//! HTTP connections to origins, kept open between requests.
//!
//! The protocol is hyper's. Which connection a request goes out on is decided here, since hyper-util decides it
//! otherwise (`docs/adr/0035-connections-for-hls.md`).

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use weir_clients::descriptors;

use super::followed::LIVE_MAX;
use crate::{Origin, origins::Port};

/// Connections to one origin at a time, as many as hls.js or a CDN node would never need. More wait for a free one.
const CONNECTIONS_MAX: usize = 32;

/// Idle connections to one origin: those, and those that it held requests on.
const IDLE_MAX: usize = CONNECTIONS_MAX + 2 * LIVE_MAX;

/// Addresses that are remembered although nothing is open to them; origins of a cluster come and go.
const HOSTS_MAX: usize = 256;

/// What a connection reads at a time; the head of a response must fit.
const READ_BYTES: usize = 64 * 1024;

/// A request without a body.
pub type Get = Request<Empty<Bytes>>;

type Sender = http1::SendRequest<Empty<Bytes>>;

/// The connections to all origins.
#[derive(Debug, Default)]
pub struct Pool {
    hosts: Mutex<HashMap<Place, Host>>,
}

/// Where connections go. With TLS it matters by which name: that is what a certificate has been shown for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    address: SocketAddr,
    name: Option<String>,
}

impl Place {
    fn of(origin: &Origin) -> Self {
        let name = origin.scheme.is_tls().then(|| origin.host.clone());
        Self { address: origin.http, name }
    }
}

#[derive(Debug)]
struct Host {
    places: Arc<Semaphore>,
    idle: Vec<Sender>,
}

/// A response whose body is still to be read, on the connection that carries it.
#[derive(Debug)]
pub struct Exchange {
    /// What the origin answered.
    pub response: Response<Incoming>,
    sender: Sender,
    place: Place,
}

/// Why a request has no response.
#[derive(Debug)]
pub enum SendError {
    /// There is no connection, or it broke.
    Silent(String),
    /// It is not HTTP that is spoken there, or not well.
    Wrong(String),
}

impl Pool {
    /// One of the places for connections to `origin`, as soon as one is free; none without a descriptor.
    pub async fn place(&self, origin: &Origin) -> Option<OwnedSemaphorePermit> {
        // That nobody can be asked says nothing of the origin.
        drop(descriptors::opened().take()?);
        let places = {
            let mut hosts = self.lock();
            if hosts.len() >= HOSTS_MAX {
                hosts.retain(|_, host| host.is_in_use());
            }
            Arc::clone(&hosts.entry(Place::of(origin)).or_insert_with(Host::new).places)
        };
        places.acquire_owned().await.ok()
    }

    /// Sends a request, and returns with the head of the response.
    ///
    /// # Errors
    /// When there is no connection within `connect`, or what comes on it is no response.
    pub async fn send(
        &self,
        origin: &Origin,
        request: &Get,
        connect: Duration,
    ) -> Result<Exchange, SendError> {
        let place = Place::of(origin);
        // The origin may close an idle connection in the very moment it is used again. Whether the origin is alive
        // shows on a new one.
        while let Some(mut sender) = self.idle(&place) {
            if sender.ready().await.is_ok()
                && let Ok(response) = sender.send_request(request.clone()).await
            {
                return Ok(Exchange { response, sender, place });
            }
        }
        let mut sender = open(origin, connect).await.map_err(SendError::Silent)?;
        let response = sender.send_request(request.clone()).await.map_err(|error| {
            let why = format!("no answer: {}", in_full(&error));
            if error.is_parse() { SendError::Wrong(why) } else { SendError::Silent(why) }
        })?;
        Ok(Exchange { response, sender, place })
    }

    /// Keeps a connection whose response has been read to its end.
    pub fn keep(&self, exchange: Exchange) {
        let mut hosts = self.lock();
        let host = hosts.entry(exchange.place).or_insert_with(Host::new);
        host.idle.retain(|sender| !sender.is_closed());
        if host.idle.len() < IDLE_MAX && !exchange.sender.is_closed() {
            host.idle.push(exchange.sender);
        }
    }

    fn idle(&self, place: &Place) -> Option<Sender> {
        self.lock().get_mut(place)?.idle.pop()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), idle: Vec::new() }
    }

    fn is_in_use(&self) -> bool {
        self.places.available_permits() < CONNECTIONS_MAX
            || self.idle.iter().any(|sender| !sender.is_closed())
    }
}

async fn open(origin: &Origin, limit: Duration) -> Result<Sender, String> {
    let descriptor = descriptors::opened().take().ok_or("out of file descriptors")?;
    let connecting = timeout(limit, origin.connect(Port::Http, &AtomicBool::new(false))).await;
    let stream = connecting.map_err(|_| format!("no connection within {limit:?}"))?;
    let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
    let handshake = http1::Builder::new()
        .max_buf_size(READ_BYTES)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(|error| error.to_string())?;
    // Ends when the sender and the response's body are gone, or the origin closes. What went wrong is told to those.
    tokio::spawn(async move {
        let _ = connection.await;
        drop(descriptor);
    });
    Ok(sender)
}

/// The error and its causes; hyper's own text is the first half of a sentence.
pub fn in_full(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
