//! From the name of a stream to its channel: waiting for a publisher, or for an origin.

use std::{sync::Arc, time::Duration};

use weir_media::StreamKey;

use super::{Channel, Format};
use crate::{
    config::Vhost,
    edge::{Ask, NoStream},
    node::Node,
};

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
    let wait = ask.wait.map_or(vhost.play.wait, |wait| wait.min(vhost.play.wait));
    tokio::select! {
        // A stream that is here is found before anything is waited for.
        biased;
        channel = node.channels.open(key, format, node.play_limits(vhost)) => Ok(channel),
        why = denied(node, key, ask, wait) => Err(why),
    }
}

/// Ends when there is no use in waiting any longer.
async fn denied(node: &Node, key: &StreamKey, ask: &Ask, wait: Duration) -> NoStream {
    match &node.edge {
        Some(edge) => edge.denied(key, ask, wait).await,
        None => {
            tokio::time::sleep(wait).await;
            NoStream::Missing(format!("nobody publishes {key}"))
        }
    }
}
