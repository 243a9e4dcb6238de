//! The stream itself, as it flows: for viewers of RTMP, and of files without an end.

use std::{sync::Arc, time::Instant};

use weir_clients::{held::Held, quota, roster::Activity, session::ViewerSession};
use weir_delivery::{Channel, Format};
use weir_edge::{NoStream, Protocol};
use weir_media::StreamKey;
use weir_pull::NoPull;

use super::{Refusal, Request, Resolved, Resource};
use crate::auth::shown;

/// The stream in this format, for one who is sent it from now on.
pub struct Live(pub Format);

/// The same for one who only wants to know whether it is there. Nobody is let in.
pub struct LiveHead(pub Format);

impl Resource for Live {
    type Opened = Arc<Channel>;
    type Session = ViewerSession;

    const PROTOCOL: Protocol = Protocol::Live;

    fn note(&self, request: &Request<'_>, key: &StreamKey) {
        note(request, key, self.0);
    }

    fn look(&mut self, resolved: &Resolved<'_>) -> Result<(), Refusal> {
        look(resolved)
    }

    async fn open(
        &mut self,
        resolved: &Resolved<'_>,
        is_let_in: bool,
    ) -> Result<Arc<Channel>, NoStream> {
        open(resolved, self.0, is_let_in).await
    }

    fn check(&self, resolved: &Resolved<'_>, channel: &Arc<Channel>) -> Result<(), Refusal> {
        check(resolved, channel)
    }

    fn admit(
        &mut self,
        resolved: &Resolved<'_>,
        channel: &Arc<Channel>,
        held: Option<Held>,
    ) -> Result<ViewerSession, quota::Refusal> {
        let (Resolved { node, key, .. }, now) = (resolved, Instant::now());
        let bit_rate = channel.bit_rate_now(now);
        let permit = node.clients.quotas.admit(key, resolved.is_node(), bit_rate, now)?;
        let presence = resolved.request.presence;
        let session = ViewerSession::begin(permit, &node.clients.roster, presence, key);
        Ok(session.keeping(held))
    }
}

impl Resource for LiveHead {
    type Opened = Arc<Channel>;
    type Session = ();

    const PROTOCOL: Protocol = Protocol::Live;

    fn note(&self, request: &Request<'_>, key: &StreamKey) {
        note(request, key, self.0);
    }

    fn look(&mut self, resolved: &Resolved<'_>) -> Result<(), Refusal> {
        look(resolved)
    }

    async fn open(
        &mut self,
        resolved: &Resolved<'_>,
        is_let_in: bool,
    ) -> Result<Arc<Channel>, NoStream> {
        open(resolved, self.0, is_let_in).await
    }

    fn check(&self, resolved: &Resolved<'_>, channel: &Arc<Channel>) -> Result<(), Refusal> {
        check(resolved, channel)
    }

    fn admit(
        &mut self,
        _: &Resolved<'_>,
        _: &Arc<Channel>,
        _: Option<Held>,
    ) -> Result<(), quota::Refusal> {
        Ok(())
    }
}

fn note(request: &Request<'_>, key: &StreamKey, format: Format) {
    request.presence.note(|doing| {
        if let Format::File(..) = format {
            // What SRS makes of the URL, so that those who list clients find the host that was asked.
            let (host, app) = (&request.url.vhost, key.app());
            doing.tc_url = shown(&format!("http://{host}/{app}")).into();
            doing.page_url = shown(&request.ask.page_url).into();
        }
        doing.asks = Some((Activity::Play, key.clone()));
        doing.is_node = !request.ask.hops.is_empty();
        doing.fetches = false;
        doing.format = Some(format.label());
    });
}

/// A stream that the format has no room for is refused by name.
fn check(resolved: &Resolved<'_>, channel: &Channel) -> Result<(), Refusal> {
    let checked = channel.check(Instant::now());
    checked.map_err(|why| Refusal::Unfit { key: resolved.key.clone(), why })
}

/// A full edge pulls nothing.
pub fn look(resolved: &Resolved<'_>) -> Result<(), Refusal> {
    let (node, key) = (resolved.node, resolved.key);
    let looked = node.clients.quotas.look(key, Instant::now());
    looked.map_err(|full| Refusal::NoStream { key: key.clone(), why: full.into() })
}

/// The channel of the stream, once viewers can start in it.
async fn open(
    resolved: &Resolved<'_>,
    format: Format,
    is_let_in: bool,
) -> Result<Arc<Channel>, NoStream> {
    let Resolved { node, key, vhost, .. } = resolved;
    let channel = node.delivery.channels.open(key, format, node.play_limits(vhost));
    open_before(resolved, is_let_in, channel).await
}

/// What `opening` has of the stream, if it has that before there is no use in waiting any longer.
///
/// # Errors
/// Why there is no use, or why the origins of an edge do not let the viewer in.
pub async fn open_before<T>(
    resolved: &Resolved<'_>,
    is_let_in: bool,
    opening: impl Future<Output = T>,
) -> Result<T, NoStream> {
    let Resolved { node, key, .. } = resolved;
    let opened = tokio::select! {
        // A stream that is here is found before anything is waited for.
        biased;
        opened = opening => opened,
        why = denied(resolved) => return Err(why),
    };
    // It has come through what another one has shown.
    if !is_let_in && !resolved.ask_origins(Protocol::Live).await? {
        return Err(NoStream::Unavailable(format!(
            "the origins have not answered whether {key} may be played"
        )));
    }
    if let Some(edge) = &node.edge {
        edge.joined(key);
    }
    Ok(opened)
}

/// Why there is nothing to be pulled, as a viewer is told it.
fn no_stream(why: NoPull) -> NoStream {
    match why {
        NoPull::Missing(why) => NoStream::Missing(why),
        NoPull::Refused(why) => NoStream::Refused(why),
        NoPull::Unavailable(why) => NoStream::Unavailable(why),
    }
}

/// Ends when there is no use in waiting any longer.
async fn denied(resolved: &Resolved<'_>) -> NoStream {
    let Resolved { node, key, deadline, .. } = resolved;
    match &node.edge {
        Some(edge) => edge.denied(key, resolved.request.ask, *deadline).await,
        None => match &node.pulls {
            Some(pulls) => no_stream(pulls.denied(key, resolved.request.ask, *deadline).await),
            None => {
                tokio::time::sleep_until(*deadline).await;
                NoStream::Missing(format!("nobody publishes {key}"))
            }
        },
    }
}
