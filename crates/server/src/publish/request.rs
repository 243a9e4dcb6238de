//! The one way of a publish: from what a client has said to a stream that takes media in, or to why there is none.

#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc, time::Instant};

use weir_clients::{
    counts::Refused,
    end::End,
    roster::{Activity, Presence},
    session::Session,
};
use weir_config::Vhost;
use weir_edge::{self as edge, Ask, Push};
use weir_hooks::Ticket;
use weir_intake::{Intake, WakeSignal};
use weir_media::{InvalidKey, StreamKey};
use weir_rtmp::{server::PublishRefusal, url::StreamUrl};

use super::claim::{Unclaimed, claim};
use crate::{
    auth::{Action, Denied, Shown},
    node::{Node, subject},
    phase::Phase,
};

/// What a client has said that wants to publish.
pub struct Request<'a> {
    /// The stream, as its URL names it.
    pub url: &'a StreamUrl,
    /// What it says beside that.
    pub ask: &'a Ask,
    /// Its address: the one behind balancers and proxies, where they say it.
    pub ip: IpAddr,
    /// What others know of its connection.
    pub presence: &'a Arc<Presence>,
}

/// A stream that a client publishes from now on. Dropping it ends the publish: the stream lingers, and the client may
/// begin anew.
pub struct Publication {
    /// The settings that the stream falls under.
    pub vhost: Arc<Vhost>,
    /// Of the settings that `vhost` is from.
    pub generation: u64,
    /// Takes what the client sends.
    pub intake: Intake,
    /// The way to the origin, on an edge.
    pub push: Option<Push>,
    /// Rung when another publisher has taken the stream over.
    pub replaced: Arc<WakeSignal>,
    /// Rung when the first viewer has come.
    pub audience: Arc<WakeSignal>,
    node: Arc<Node>,
    _session: Session,
    /// The back end is told of the end.
    _ticket: Option<Ticket>,
}

impl Publication {
    /// Ends it, and says how: a stream that is watched may be missed, and a file may stand in for it.
    pub fn ends(self, ended: &Result<(), End>) {
        let Self { node, intake, push, .. } = self;
        let publisher = intake.publisher;
        let key = publisher.key().clone();
        // Who watches a stream that is passed on is known elsewhere.
        let is_watched = publisher.demand() > 0 || node.clients.quotas.is_watched_over_hls(&key);
        let linger = node.config().vhost(key.vhost()).publish.linger;
        // A stream that moves to another node must not be held here.
        let is_shown = push.is_none()
            && node.edge.is_none()
            && !node.phase().is_ending()
            && node.fallback.show(publisher, linger);
        if ended.as_ref().is_err_and(|end| end.kind.is_loss()) && is_watched && !is_shown {
            node.streams.lost.lost(&key, linger, Instant::now());
        }
    }
}

/// Why a client may not publish. Shown, it is what the client is told.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its URL names no stream that there can be.
    #[error(transparent)]
    BadName(InvalidKey),
    /// The checks of `auth.publish` do not let it.
    #[error("{why}")]
    Denied {
        /// The stream.
        key: StreamKey,
        /// Which one, and why.
        why: Denied,
    },
    /// No origin of this edge takes the stream.
    #[error("{}", edge::refusal(why).1)]
    Origin {
        /// The stream.
        key: StreamKey,
        /// Why.
        why: edge::Failure,
    },
    /// It was forwarded by this server.
    #[error("{why}")]
    Loop {
        /// The stream.
        key: StreamKey,
        /// The way that it came.
        why: String,
    },
    /// There is no memory for another stream.
    #[error("no memory for another stream (limits.memory)")]
    Memory {
        /// The stream.
        key: StreamKey,
    },
    /// Somebody publishes the stream already.
    #[error("{key} is already being published")]
    Taken {
        /// The stream.
        key: StreamKey,
    },
}

impl Refusal {
    /// Whether something secret may have been guessed at, here or at the origins. Then the answer is to be held back:
    /// [`WrongSecrets::hold_back`](weir_clients::wrong_secrets::WrongSecrets::hold_back).
    pub fn may_be_guess(&self, ask: &Ask) -> bool {
        match self {
            Self::Denied { why, .. } => {
                why.may_be_guess() || why.is_of_back_end() && !ask.params.is_empty()
            }
            Self::Origin { why, .. } => {
                edge::refusal(why).0 == PublishRefusal::Denied && !ask.params.is_empty()
            }
            Self::BadName(_) | Self::Loop { .. } | Self::Memory { .. } | Self::Taken { .. } => {
                false
            }
        }
    }

    fn count(&self) {
        match self {
            Self::BadName(_) => Refused::BadName.count(),
            // Whoever checks has counted it.
            Self::Denied { .. } => {}
            Self::Origin { .. } => Refused::Origin.count(),
            Self::Loop { .. } => Refused::Conflict.count(),
            Self::Memory { .. } => Refused::Memory.count(),
            Self::Taken { .. } => Refused::Conflict.count(),
        }
    }
}

/// Has a client publish a stream: finds out which stream that is and whether the client may; at an edge has an origin
/// take it; makes the client its publisher, and lets everybody know that reads streams. Dropped before it is through,
/// it leaves nothing behind but what the client has asked for, in the roster.
///
/// # Errors
/// Why it may not. It has been counted, and is in no log.
pub async fn request(node: &Arc<Node>, request: &Request<'_>) -> Result<Publication, Refusal> {
    let publication = try_request(node, request).await;
    publication.inspect_err(Refusal::count)
}

async fn try_request(node: &Arc<Node>, request: &Request<'_>) -> Result<Publication, Refusal> {
    let Request { url, ask, ip, presence } = *request;
    // Before the settings are read: what is put in force meanwhile is taken up at the first look.
    let generation = node.settings.generation();
    // While the listeners are tried out, a stream may still be the process's that is replaced: for milliseconds.
    let _ = node.phase.subscribe().wait_for(|phase| *phase != Phase::Starting).await;
    let (key, vhost) = node.resolve(url).map_err(Refusal::BadName)?;
    presence.asks(Activity::Publish, &key);
    let shown = Shown { peer: ip, edge_token: ask.token.as_ref(), page_url: &ask.page_url };
    let allowed = node.auth.check(&vhost.auth, Action::Publish, &key, &url.params, shown);
    allowed.map_err(|why| Refusal::Denied { key: key.clone(), why })?;
    let asked = node.hooks.publish(&vhost, || subject(presence.id, ip, &key, ask)).await;
    let mut ticket = asked.map_err(|why| {
        Refused::Auth.count();
        Refusal::Denied { key: key.clone(), why: Denied::Hook(why) }
    })?;
    let opened = match &node.edge {
        None => {
            let looped = node.forward.check(&ask.hops);
            looped.map_err(|why| Refusal::Loop { key: key.clone(), why })?;
            None
        }
        Some(edge) => match edge.open_push(&key, ask).await {
            Ok(opened) => Some((edge, opened)),
            Err(why) => return Err(Refusal::Origin { key, why }),
        },
    };
    let replaced = Arc::new(WakeSignal::default());
    let publisher = match claim(node, &key, &replaced).await {
        Ok(publisher) => publisher,
        Err(Unclaimed::Memory) => return Err(Refusal::Memory { key }),
        Err(Unclaimed::Taken) => return Err(Refusal::Taken { key }),
    };
    if let Some(ticket) = &mut ticket {
        ticket.begin(&key);
    }
    let push = opened.map(|(edge, opened)| edge.keep_pushing(opened));
    if push.is_none() {
        node.forward.arrives(&key, &ask.hops);
        node.outputs.follow(&key);
    }
    let session = Session::begin(&node.clients.roster, presence, Activity::Publish, &key);
    node.streams.lost.found(&key);
    Ok(Publication {
        vhost,
        generation,
        intake: Intake::new(publisher, &format_args!("connection {}", presence.id)),
        push,
        replaced,
        audience: node.streams.audiences.of(&key),
        node: Arc::clone(node),
        _session: session,
        _ticket: ticket,
    })
}
