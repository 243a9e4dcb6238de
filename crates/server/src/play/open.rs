//! From the name of a stream to its channel: waiting for a publisher, or for an origin.

use std::{sync::Arc, time::Instant};

use weir_clients::{counts::Refused, quota::ViewerPermit};
use weir_config::Vhost;
use weir_delivery::{Channel, Format};
use weir_edge::{Ask, NoStream, Protocol};
use weir_hub::Status;
use weir_media::StreamKey;

use crate::node::Node;

/// The channel of `key` in `format`, once viewers can start in it.
///
/// # Errors
/// Why there is none, after as long a wait as viewers of this vhost, or the one who asks, may wait.
pub async fn open(
    node: &Node,
    key: &StreamKey,
    vhost: &Vhost,
    format: Format,
    ask: &Ask,
) -> Result<Arc<Channel>, NoStream> {
    let opened = try_open(node, key, vhost, format, ask).await;
    opened.inspect_err(|why| Refused::from(why).count())
}

async fn try_open(
    node: &Node,
    key: &StreamKey,
    vhost: &Vhost,
    format: Format,
    ask: &Ask,
) -> Result<Arc<Channel>, NoStream> {
    // A full edge pulls nothing.
    node.clients.quotas.look(key, Instant::now())?;
    let wait = ask.wait_at_most(vhost.play.wait);
    let deadline = tokio::time::Instant::now() + wait;
    // Who may not have it does not make it come here.
    let is_admitted = admitted(node, key, ask, deadline).await?;
    let channel = tokio::select! {
        // A stream that is here is found before anything is waited for.
        biased;
        channel = node.delivery.channels.open(key, format, node.play_limits(vhost)) => channel,
        why = denied(node, key, ask, deadline) => return Err(why),
    };
    // It has come through what another one has shown.
    if !is_admitted && !admitted(node, key, ask, deadline).await? {
        return Err(NoStream::Unavailable(format!(
            "the origins have not answered whether {key} may be played"
        )));
    }
    if let Some(edge) = &node.edge {
        edge.joined(key);
    }
    Ok(channel)
}

/// A place for one more viewer of `channel`, or for a node that asks for its viewers.
///
/// # Errors
/// When there is none.
pub fn admit(node: &Node, channel: &Channel, is_node: bool) -> Result<ViewerPermit, NoStream> {
    let now = Instant::now();
    let admitted =
        node.clients.quotas.admit(channel.key(), is_node, channel.bit_rate_now(now), now);
    Ok(admitted.inspect_err(|refusal| Refused::from(refusal).count())?)
}

/// Whether the one who asks has had everything that is here: its viewers' encoder has just left, and no other has come.
pub fn has_had_it(node: &Node, key: &StreamKey, ask: &Ask) -> bool {
    ask.next && node.streams.registry.status(key) == Some(Status::Lingering)
}

/// Whether the origins of an edge let this viewer in; false if they have not decided, and will not before the stream is
/// here.
async fn admitted(
    node: &Node,
    key: &StreamKey,
    ask: &Ask,
    deadline: tokio::time::Instant,
) -> Result<bool, NoStream> {
    match &node.edge {
        Some(edge) => edge.admit(key, ask, Protocol::Live, deadline).await,
        None => Ok(true),
    }
}

/// Ends when there is no use in waiting any longer.
async fn denied(
    node: &Node,
    key: &StreamKey,
    ask: &Ask,
    deadline: tokio::time::Instant,
) -> NoStream {
    match &node.edge {
        Some(edge) => edge.denied(key, ask, deadline).await,
        None => {
            tokio::time::sleep_until(deadline).await;
            NoStream::Missing(format!("nobody publishes {key}"))
        }
    }
}
