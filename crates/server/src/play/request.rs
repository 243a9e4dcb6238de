//! The one way of a viewer's request: from what a client has said to what it is sent, or to why it is sent nothing.

#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc};

use weir_clients::{
    counts::Refused,
    held::Held,
    quota,
    roster::{Activity, Presence},
};
use weir_config::{AuthBy, Vhost};
use weir_delivery::Unfit;
use weir_edge::{Ask, NoStream, Protocol};
use weir_hub::Status;
use weir_media::{InvalidKey, StreamKey};
use weir_rtmp::url::StreamUrl;

use crate::{
    auth::{Action, Denied, Shown},
    node::{Node, subject},
};

/// What a client has said that wants to play.
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

impl Request<'_> {
    /// What it shows beside its URL.
    pub fn shown(&self) -> Shown<'_> {
        let Ask { token, page_url, .. } = self.ask;
        Shown { peer: self.ip, edge_token: token.as_ref(), page_url }
    }
}

/// A request whose stream is known.
pub struct Resolved<'a> {
    /// What all parts share.
    pub node: &'a Arc<Node>,
    /// What the client has said.
    pub request: &'a Request<'a>,
    /// The stream.
    pub key: &'a StreamKey,
    /// The settings that it falls under.
    pub vhost: &'a Vhost,
    /// How long it may be waited for.
    pub deadline: tokio::time::Instant,
}

impl Resolved<'_> {
    /// Whether the one who asks is another node, which asks for its viewers.
    pub fn is_node(&self) -> bool {
        !self.request.ask.hops.is_empty()
    }

    /// Asks the origins of an edge whether they let this viewer in. False if they have not decided, and will not before
    /// the stream is here.
    ///
    /// # Errors
    /// When they do not.
    pub async fn ask_origins(&self, protocol: Protocol) -> Result<bool, NoStream> {
        match &self.node.edge {
            Some(edge) if self.node.config().edge.auth == AuthBy::Origin => {
                edge.admit(self.key, self.request.ask, protocol, self.deadline).await
            }
            _ => Ok(true),
        }
    }
}

/// What can be asked for: a stream in some format, or a file of it. How it is looked for, and what its viewers count
/// for; when each of these is asked is [`request`]'s business.
pub trait Resource: Send {
    /// What there is to send, once it is there.
    type Opened: Send;

    /// What a viewer holds while it is sent that. Dropping it gives back what the viewer had, and ends its session.
    type Session: Send;

    /// As what the origins of an edge are asked whether somebody may have it.
    const PROTOCOL: Protocol;

    /// Notes on the connection what it waits for.
    fn note(&self, request: &Request<'_>, key: &StreamKey) {
        request.presence.note(|doing| {
            doing.asks = Some((Activity::Play, key.clone()));
            doing.is_node = !request.ask.hops.is_empty();
            doing.fetches = false;
        });
    }

    /// Whether this client may have it, by the checks of `auth.play`.
    ///
    /// # Errors
    /// When it may not.
    fn authorize(&self, resolved: &Resolved<'_>) -> Result<(), Denied> {
        let Resolved { node, key, vhost, request, .. } = resolved;
        authorize(node, key, vhost, request.url, request.shown())
    }

    /// Whether another one would be let in: before anything is fetched for it.
    ///
    /// # Errors
    /// When it would not.
    fn look(&mut self, resolved: &Resolved<'_>) -> Result<(), Refusal>;

    /// As which client's the request is put to the back end (`hooks.on_play`); none if that is not asked: the viewer
    /// has been let in before. Asked once there is room.
    fn client(&mut self, resolved: &Resolved<'_>) -> Option<u64> {
        Some(resolved.request.presence.id)
    }

    /// Whether the origins of an edge have a say in who gets it.
    fn is_asked_for(&self) -> bool {
        true
    }

    /// Opens it, or waits for it until the deadline. Whoever waits counts for nothing. If the viewer `is_let_in` by the
    /// origins they need not be asked again.
    ///
    /// # Errors
    /// Why it is not to be had.
    fn open(
        &mut self,
        resolved: &Resolved<'_>,
        is_let_in: bool,
    ) -> impl Future<Output = Result<Self::Opened, NoStream>> + Send;

    /// Whether what was opened can be had as it is asked for: before anybody is let in.
    ///
    /// # Errors
    /// When it cannot.
    fn check(&self, _: &Resolved<'_>, _: &Self::Opened) -> Result<(), Refusal> {
        Ok(())
    }

    /// Lets the viewer in: takes its part of the limits, and begins its session in the roster and in the log. What is
    /// `held` goes with the session, if there is one.
    ///
    /// # Errors
    /// When it is one too many.
    fn admit(
        &mut self,
        resolved: &Resolved<'_>,
        opened: &Self::Opened,
        held: Option<Held>,
    ) -> Result<Self::Session, quota::Refusal>;
}

/// A viewer that has been let in. Dropping it undoes all of that.
pub struct Playing<R: Resource> {
    /// The stream.
    pub key: StreamKey,
    /// The settings that its stream falls under, made for it: one that has had what is here already starts with what is
    /// new.
    pub vhost: Arc<Vhost>,
    /// What it is to be sent.
    pub opened: R::Opened,
    /// What it holds while it is sent that.
    pub session: R::Session,
}

/// Why a viewer gets nothing. Shown, it is what the viewer is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its URL names no stream that there can be.
    #[error(transparent)]
    BadName(InvalidKey),
    /// The checks of `auth.play` do not let it.
    #[error("{why}")]
    Denied {
        /// The stream.
        key: StreamKey,
        /// Which one, and why.
        why: Denied,
    },
    /// There is no such stream, or none for this viewer, or no room for it.
    #[error("{why}")]
    NoStream {
        /// The stream.
        key: StreamKey,
        /// Which of these, and why.
        why: NoStream,
    },
    /// The stream is there, and cannot be had in the format that is asked for.
    #[error("{key}: {why}")]
    Unfit {
        /// The stream.
        key: StreamKey,
        /// Why, and where it can be had.
        why: Unfit,
    },
    /// Its address asks for too many files of the stream that are not there.
    #[error("too many requests for missing segments; request the playlist first")]
    Guesses {
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
            Self::NoStream { why, .. } => why.may_be_guess(ask),
            Self::BadName(_) | Self::Guesses { .. } | Self::Unfit { .. } => false,
        }
    }

    /// One whose address has asked for a file of `key` that is not there, and for too many before. It is counted.
    pub fn guesses(key: &StreamKey) -> Self {
        let refusal = Self::Guesses { key: key.clone() };
        refusal.count();
        refusal
    }

    fn count(&self) {
        match self {
            Self::BadName(_) => Refused::BadName.count(),
            // Whoever checks has counted it.
            Self::Denied { .. } => {}
            Self::NoStream { why, .. } => Refused::from(why).count(),
            Self::Guesses { .. } => Refused::Auth.count(),
            Self::Unfit { .. } => Refused::Unfit.count(),
        }
    }
}

/// Has a client play `resource` of a stream: finds out which stream that is, whether the client may have it and whether
/// there is room; has an edge ask for it, waits for it, and lets the viewer in. Dropped before it is through, it leaves
/// nothing behind but what the client has asked for, in the roster.
///
/// # Errors
/// Why it gets nothing. It has been counted, and is in no log.
pub async fn request<R: Resource>(
    node: &Arc<Node>,
    request: &Request<'_>,
    resource: &mut R,
) -> Result<Playing<R>, Refusal> {
    let playing = try_request(node, request, resource).await;
    playing.inspect_err(Refusal::count)
}

async fn try_request<R: Resource>(
    node: &Arc<Node>,
    request: &Request<'_>,
    resource: &mut R,
) -> Result<Playing<R>, Refusal> {
    let (key, mut vhost) = node.resolve(request.url).map_err(Refusal::BadName)?;
    resource.note(request, &key);
    let deadline = tokio::time::Instant::now() + request.ask.wait_at_most(vhost.play.wait);
    if has_had_it(node, &key, request.ask) {
        Arc::make_mut(&mut vhost).play.gop = false;
    }
    let resolved = Resolved { node, request, key: &key, vhost: &vhost, deadline };
    let no_stream = |why| Refusal::NoStream { key: key.clone(), why };
    resource.authorize(&resolved).map_err(|why| Refusal::Denied { key: key.clone(), why })?;
    resource.look(&resolved)?;
    let held = match resource.client(&resolved) {
        Some(id) => ask_back_end(&resolved, id).await?,
        None => None,
    };
    let is_let_in = match resource.is_asked_for() {
        true => resolved.ask_origins(R::PROTOCOL).await.map_err(no_stream)?,
        false => true,
    };
    let opened = resource.open(&resolved, is_let_in).await.map_err(no_stream)?;
    resource.check(&resolved, &opened)?;
    let admitted = resource.admit(&resolved, &opened, held);
    let session = admitted.map_err(|full| no_stream(full.into()))?;
    Ok(Playing { key, vhost, opened, session })
}

/// Asks the back end whether client number `id` may play. What is returned goes with its session: the back end is told
/// of its end when it is dropped.
///
/// # Errors
/// When it may not.
async fn ask_back_end(resolved: &Resolved<'_>, id: u64) -> Result<Option<Held>, Refusal> {
    let Resolved { node, key, vhost, request, .. } = resolved;
    let asked = node.hooks.play(vhost, || subject(id, request.ip, key, request.ask)).await;
    let ticket = asked.map_err(|why| {
        Refused::Auth.count();
        Refusal::Denied { key: (*key).clone(), why: Denied::Hook(why) }
    })?;
    Ok(ticket.map(|ticket| Box::new(ticket) as Held))
}

/// The first two steps of [`request`], for those who only ask: which stream `url` names, and whether a client with what
/// is `shown` may have it as far as this node knows. Its back end is not asked.
///
/// # Errors
/// When there can be no such stream, or the client may not have it. It has been counted.
pub fn resolve(
    node: &Node,
    url: &StreamUrl,
    shown: Shown<'_>,
) -> Result<(StreamKey, Arc<Vhost>), Refusal> {
    let resolved = node.resolve(url).map_err(Refusal::BadName);
    let (key, vhost) = resolved.inspect_err(Refusal::count)?;
    match authorize(node, &key, &vhost, url, shown) {
        Ok(()) => Ok((key, vhost)),
        Err(why) => Err(Refusal::Denied { key, why }),
    }
}

/// Whether a client may play the stream by what it has `shown` and the checks of `auth.play`.
///
/// # Errors
/// When it may not. It has been counted.
pub fn authorize(
    node: &Node,
    key: &StreamKey,
    vhost: &Vhost,
    url: &StreamUrl,
    shown: Shown<'_>,
) -> Result<(), Denied> {
    node.auth.check(&vhost.auth, Action::Play, key, &url.params, shown)
}

/// Whether the one who asks has had everything that is here: its viewers' encoder has just left, and no other has come.
fn has_had_it(node: &Node, key: &StreamKey, ask: &Ask) -> bool {
    ask.next && node.streams.registry.status(key) == Some(Status::Lingering)
}
