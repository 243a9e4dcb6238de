//! A stream that is published to another server.

use std::{future::Future, io, sync::atomic::AtomicBool, time::Duration};

use tokio::time::timeout;
use weir_clients::permits::Permit;
use weir_flv::{TagKind, metadata};
use weir_rtmp::client::{Event, Session};
use weir_tls::Stream;

use crate::{
    client::RtmpClient,
    connect::permit,
    failure::{Failure, Lost, words},
    rtmp::{self, Call},
};

/// A stream that is being published to another server. Dropping it closes the connection.
pub struct Sink {
    client: Box<RtmpClient>,
    dead_after: Duration,
    _permit: Permit,
}

/// Why a publish is over; a sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The connection is gone, or the server is: another may take the stream.
    Lost(Lost),
    /// The server does not want the stream any more.
    Decided(String),
}

impl Sink {
    /// Asks a server to take a stream, on the connection that `connecting` gives, and resolves once it agrees;
    /// `greeted` is set as soon as it has answered the handshake. Dropping the future closes the connection.
    ///
    /// The question must be put within `call.dead_after`, and the answer must come within `call.wait` more.
    ///
    /// # Errors
    /// When the server does not take it, with the reason.
    pub async fn publish(
        connecting: impl Future<Output = io::Result<Stream>>,
        call: Call,
        greeted: &AtomicBool,
    ) -> Result<Self, Failure> {
        let permit = permit()?;
        let dead_after = call.dead_after;
        let client = rtmp::publish(connecting, call, greeted).await?;
        Ok(Self { client: Box::new(client), dead_after, _permit: permit })
    }

    /// From now on the server may say nothing, and take no data, for so long.
    pub fn set_dead_after(&mut self, dead_after: Duration) {
        self.client.set_dead_after(dead_after);
        self.dead_after = dead_after;
    }

    /// The protocol: what the server has said of itself.
    pub fn session(&self) -> &Session {
        self.client.session()
    }

    /// Queues a message of the stream. The server is asked to keep metadata for its viewers.
    pub fn send(&mut self, kind: TagKind, timestamp: u32, body: &[u8]) {
        match kind {
            TagKind::Script => self.client.send(kind, timestamp, &metadata::for_server(body)),
            TagKind::Audio | TagKind::Video => self.client.send(kind, timestamp, body),
        }
    }

    /// Bytes that the socket has not taken yet.
    pub fn queued(&self) -> usize {
        self.client.queued()
    }

    /// Writes what is queued. Nothing is lost when it is cancelled.
    ///
    /// # Errors
    /// When the publish is over, as for [`watch`](Self::watch).
    pub async fn flush(&mut self) -> Result<(), Broken> {
        let flushed = self.client.flush().await;
        match self.client.poll_event().and_then(end_of_publish) {
            Some(broken) => Err(broken),
            None => flushed.map_err(|lost| Broken::Lost(rtmp::lost(&lost))),
        }
    }

    /// Hears what the server says, pings it, and writes what is queued. Resolves only when the publish is over: the
    /// server ended it, the connection is gone, nothing came though it was pinged, or nothing was taken for too long.
    /// Nothing is lost when it is cancelled.
    pub async fn watch(&mut self) -> Broken {
        loop {
            match self.client.event().await {
                Ok(event) => {
                    if let Some(broken) = end_of_publish(event) {
                        return broken;
                    }
                }
                Err(lost) => return Broken::Lost(rtmp::lost(&lost)),
            }
        }
    }

    /// Writes what is queued, says that this was all, and closes the connection.
    pub async fn close(self) {
        // The stream is over, whatever the server heard of it.
        let _ = timeout(self.dead_after, self.client.close()).await;
    }
}

fn end_of_publish(event: Event) -> Option<Broken> {
    match event {
        Event::Ended { code, description } | Event::Refused { code, description } => {
            let reason = format!("it answered {}: {}", words(&code), words(&description));
            // A server that shuts down has nothing against the stream.
            let is_decision = code.starts_with("NetStream.Publish.");
            Some(if is_decision {
                Broken::Decided(reason)
            } else {
                Broken::Lost(Lost { why: reason, is_failure: false })
            })
        }
        // It is going to stop, and another may take the stream.
        Event::ReconnectRequested { description, .. } => {
            let why = format!("it asked to reconnect: {}", words(&description));
            Some(Broken::Lost(Lost { why, is_failure: false }))
        }
        _ => None,
    }
}
