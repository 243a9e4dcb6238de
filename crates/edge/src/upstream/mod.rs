//! Connections to an origin: a [`Source`] is a stream that is played from it, a [`Sink`] one that is published to it.

mod failure;
mod flv;
mod request;
mod rtmp;

use std::{sync::atomic::AtomicBool, time::Duration};

use tokio::time::{timeout, timeout_at};
use weir_clients::permits::Permit;
use weir_config::Upstream;
use weir_flv::{Tag, TagKind, metadata};
use weir_rtmp::{client::Event, message};

use self::{
    failure::{NOTHING, Over},
    request::permit,
};
use crate::{
    client::{self, RtmpClient},
    origins::Origin,
};

pub use failure::{Failure, Lost, words};
pub use request::Request;

/// A stream that is being played from an origin. Dropping it closes the connection.
pub struct Source {
    player: Player,
    first: Option<Tag>,
    ended: bool,
    _permit: Permit,
}

enum Player {
    Rtmp(Box<RtmpClient>),
    Flv(Box<flv::Download>),
}

impl Source {
    /// Asks `origin` for a stream and resolves once its first tag has come; `connected` is set as soon as there is a
    /// TCP connection. Dropping the future closes the connection.
    ///
    /// The question must be put within `dead_after`, and the first tag must come within `request.wait` and another
    /// `dead_after`.
    ///
    /// # Errors
    /// When no stream comes, with the reason.
    pub async fn open(
        origin: &Origin,
        protocol: Upstream,
        request: &Request,
        dead_after: Duration,
        connected: &AtomicBool,
    ) -> Result<Self, Failure> {
        let permit = permit()?;
        let (mut player, first_by) = match origin.protocol(protocol) {
            Upstream::Rtmp => {
                let (client, first_by) = rtmp::play(origin, request, dead_after, connected).await?;
                (Player::Rtmp(Box::new(client)), first_by)
            }
            Upstream::Flv => {
                let (download, first_by) =
                    flv::open(origin, request, dead_after, connected).await?;
                (Player::Flv(Box::new(download)), first_by)
            }
        };
        match timeout_at(first_by, player.tag()).await {
            Ok(Ok(tag)) => Ok(Self { player, first: Some(tag), ended: false, _permit: permit }),
            Ok(Err(over)) => Err(over.before_media()),
            Err(_) => Err(Failure::Missing(NOTHING.to_owned())),
        }
    }

    /// From now on the origin may say nothing for so long.
    pub fn set_dead_after(&mut self, dead_after: Duration) {
        match &mut self.player {
            Player::Rtmp(client) => client.set_dead_after(dead_after),
            Player::Flv(download) => download.set_dead_after(dead_after),
        }
    }

    /// The next tag; none when the origin says that the stream has ended. Nothing is lost when it is cancelled.
    ///
    /// # Errors
    /// When the connection is gone, silent for too long, or broke the protocol.
    pub async fn next(&mut self) -> Result<Option<Tag>, Lost> {
        if let Some(tag) = self.first.take() {
            return Ok(Some(tag));
        }
        if self.ended {
            return Ok(None);
        }
        match self.player.next().await {
            Ok(tag) => Ok(Some(tag)),
            Err(Over::Ended) => {
                self.ended = true;
                Ok(None)
            }
            Err(Over::Closed) => Err(Lost::closed()),
            Err(Over::Refused { code, description }) => {
                Err(Lost { why: format!("it answered {code}: {description}"), is_failure: false })
            }
            Err(Over::Broke(why)) => Err(Lost { why, is_failure: true }),
        }
    }
}

impl Player {
    /// The first tag, however long it takes.
    async fn tag(&mut self) -> Result<Tag, Over> {
        match self {
            Self::Rtmp(client) => rtmp::tag(client).await,
            Self::Flv(download) => download.tag().await,
        }
    }

    async fn next(&mut self) -> Result<Tag, Over> {
        match self {
            // The session knows how long it may be silent.
            Self::Rtmp(client) => rtmp::tag(client).await,
            Self::Flv(download) => download.next().await,
        }
    }
}

/// A stream that is being published to an origin. Dropping it closes the connection.
pub struct Sink {
    client: Box<RtmpClient>,
    dead_after: Duration,
    _permit: Permit,
}

/// Why a publish is over; a sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The connection is gone, or the origin is: another may take the stream.
    Lost(Lost),
    /// The origin does not want the stream any more.
    Decided(String),
}

impl Sink {
    /// Asks `origin` to take a stream and resolves once it agrees; `greeted` is set as soon as it has answered the
    /// handshake. Dropping the future closes the connection.
    ///
    /// The question must be put within `dead_after`, and the answer must come within `request.wait` more.
    ///
    /// # Errors
    /// When the origin does not take it, with the reason.
    pub async fn open(
        origin: &Origin,
        request: &Request,
        dead_after: Duration,
        greeted: &AtomicBool,
    ) -> Result<Self, Failure> {
        let permit = permit()?;
        let client = rtmp::publish(origin, request, dead_after, greeted).await?;
        Ok(Self { client: Box::new(client), dead_after, _permit: permit })
    }

    /// From now on the origin may say nothing, and take no data, for so long.
    pub fn set_dead_after(&mut self, dead_after: Duration) {
        self.client.set_dead_after(dead_after);
        self.dead_after = dead_after;
    }

    /// Queues a message of the stream. The origin is asked to keep metadata for its viewers.
    pub fn send(&mut self, kind: TagKind, timestamp: u32, body: &[u8]) {
        match kind {
            TagKind::Script => self.client.send(kind, timestamp, &metadata::for_server(body)),
            TagKind::Audio | TagKind::Video => self.client.send(kind, timestamp, body),
        }
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

    /// Hears what the origin says, pings it, and writes what is queued. Resolves only when the publish is over: the
    /// origin ended it, the connection is gone, nothing came though it was pinged, or nothing was taken for too long.
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
        // The stream is over, whatever the origin heard of it.
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

/// Asks `origin` to play a stream until it has decided, and goes: for one that knows no questions.
///
/// # Errors
/// When it does not let it play, with the reason.
pub async fn may_play(
    origin: &Origin,
    protocol: Upstream,
    request: &Request,
    dead_after: Duration,
    connected: &AtomicBool,
) -> Result<(), Failure> {
    match origin.protocol(protocol) {
        Upstream::Rtmp => drop(rtmp::play(origin, request, dead_after, connected).await?),
        Upstream::Flv => drop(flv::open(origin, request, dead_after, connected).await?),
    }
    Ok(())
}

/// A connection to `origin` for questions, and how many it lets wait for their answers at a time: none if it knows no
/// questions. `request` is the first one.
///
/// # Errors
/// When there is none; [`Failure::Refused`] and [`Failure::Missing`] are the doing of servers that know no questions.
pub async fn questions(
    origin: &Origin,
    request: &Request,
    dead_after: Duration,
    connected: &AtomicBool,
) -> Result<(RtmpClient, usize), Failure> {
    rtmp::questions(origin, request, dead_after, connected).await
}

/// The question whether `request` would be let play.
///
/// # Errors
/// When no stream can have this name in RTMP.
pub fn question(origin: &Origin, request: &Request) -> Result<message::Question, Failure> {
    let url = rtmp::url(origin, request)?;
    let (tc_url, name) = (url.tc_url, url.stream_with_query);
    Ok(message::Question { tc_url, name, hops: request.hops.to_string() })
}

/// What it says of an origin that a connection with questions was lost: nothing, if the origin has closed it.
pub fn lost_question(lost: &client::Lost) -> Option<Failure> {
    let lost = rtmp::lost(lost);
    lost.is_failure.then_some(Failure::Unreachable(lost.why))
}

#[cfg(test)]
mod tests;
