//! A stream that is played from another server.

use std::{future::Future, io, sync::atomic::AtomicBool, time::Duration};

use tokio::time::{Instant, timeout_at};
use weir_clients::permits::Permit;
use weir_flv::Tag;
use weir_tls::Stream;

use crate::{
    client::RtmpClient,
    connect::permit,
    failure::{Failure, Lost, NOTHING, Over},
    flv::{self, HttpCall, HttpServer},
    rtmp::{self, Call},
};

/// A stream that is being played from another server. Dropping it closes the connection.
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
    /// Asks for a stream in RTMP, on the connection that `connecting` gives, and resolves once its first tag has come.
    /// Dropping the future closes the connection.
    ///
    /// The question must be put within `call.dead_after`, and the first tag must come within `call.wait` and another
    /// `call.dead_after`.
    ///
    /// # Errors
    /// When no stream comes, with the reason.
    pub async fn play(
        connecting: impl Future<Output = io::Result<Stream>>,
        call: Call,
    ) -> Result<Self, Failure> {
        let permit = permit()?;
        let (client, first_by) = rtmp::play(connecting, call).await?;
        Self::begun(Player::Rtmp(Box::new(client)), first_by, permit).await
    }

    /// The same in HTTP-FLV; redirects are followed where `server` lets them. `connected` is set as soon as there is a
    /// TCP connection.
    ///
    /// # Errors
    /// When no stream comes, with the reason.
    pub async fn download(
        server: &impl HttpServer,
        call: HttpCall,
        connected: &AtomicBool,
    ) -> Result<Self, Failure> {
        let permit = permit()?;
        let (download, first_by) = flv::open(server, call, connected).await?;
        Self::begun(Player::Flv(Box::new(download)), first_by, permit).await
    }

    /// Asks for a stream in HTTP-FLV until the server has decided, and goes.
    ///
    /// # Errors
    /// When it does not let it be played, with the reason.
    pub async fn may_download(
        server: &impl HttpServer,
        call: HttpCall,
        connected: &AtomicBool,
    ) -> Result<(), Failure> {
        flv::open(server, call, connected).await.map(drop)
    }

    async fn begun(mut player: Player, first_by: Instant, permit: Permit) -> Result<Self, Failure> {
        match timeout_at(first_by, player.tag()).await {
            Ok(Ok(tag)) => Ok(Self { player, first: Some(tag), ended: false, _permit: permit }),
            Ok(Err(over)) => Err(over.before_media()),
            Err(_) => Err(Failure::Missing(NOTHING.to_owned())),
        }
    }

    /// From now on the server may say nothing for so long.
    pub fn set_dead_after(&mut self, dead_after: Duration) {
        match &mut self.player {
            Player::Rtmp(client) => client.set_dead_after(dead_after),
            Player::Flv(download) => download.set_dead_after(dead_after),
        }
    }

    /// Bytes of our answers that the socket has not taken yet.
    pub fn queued(&self) -> usize {
        match &self.player {
            Player::Rtmp(client) => client.queued(),
            Player::Flv(_) => 0,
        }
    }

    /// The next tag; none when the server says that the stream has ended. Nothing is lost when it is cancelled.
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
