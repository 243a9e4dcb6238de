//! Who becomes the publisher of a stream.

use std::{sync::Arc, time::Duration, time::Instant};

use weir_config::Vhost;
use weir_hub::{Conflict, PublishSettings, Publisher, Refused, Start, Status};
use weir_intake::{WakeSignal, announce, flush, log_limits};
use weir_media::StreamKey;

use crate::node::Node;

/// How long a publisher must be silent to lose its stream to the next one. Encoders send several frames a second, and
/// reconnect within two or three after their network is back.
const SILENT: Duration = Duration::from_secs(3);

/// How long frames of a publisher that has gone may still be read, so that they do not speak for it: an encoder or an
/// edge that reconnects at once is here before its old connection has been read to the end.
const LEFTOVERS: Duration = Duration::from_millis(500);

/// Why a stream has no further publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclaimed {
    /// There is no memory for another stream.
    Memory,
    /// Somebody publishes it already.
    Taken,
}

/// The publisher of `key` from now on; `replaced` is rung when another one takes the stream over. Waits while it is not
/// certain whether the present publisher is still there.
///
/// # Errors
/// When there is to be none.
pub async fn claim(
    node: &Node,
    key: &StreamKey,
    replaced: &Arc<WakeSignal>,
) -> Result<Publisher, Unclaimed> {
    if node.streams.registry.budget().is_full()
        && node.streams.registry.status(key) != Some(Status::Live)
    {
        // Every log has shrunk by now: one more stream would be at the expense of those that are here.
        return Err(Unclaimed::Memory);
    }
    // An origin or the present publisher may have been waited for: what is in force now counts.
    let settings = || settings(node, &node.config().vhost(key.vhost()), replaced);
    let mut idle_at = match node.streams.registry.publish(key, settings(), Instant::now()) {
        Ok(publisher) => return Ok(publisher),
        Err(Refused::Taken) => return Err(Unclaimed::Taken),
        Err(Refused::MaybeDead { idle_at }) => idle_at,
    };
    // What is heard of the present publisher from now on decides: its end, any frame behind the leftovers, or its
    // silence until `idle_at`.
    let signal = Arc::new(WakeSignal::default());
    let _observer = node.streams.registry.follow(key, Start::NextGroup, Arc::clone(&signal) as _);
    let judged_at = Instant::now() + LEFTOVERS;
    loop {
        tokio::select! {
            () = signal.rang() => {}
            () = tokio::time::sleep_until(idle_at.into()) => {}
        }
        let now = Instant::now();
        match node.streams.registry.publish(key, settings(), now) {
            Ok(publisher) => return Ok(publisher),
            Err(Refused::MaybeDead { idle_at: later }) if now < judged_at => idle_at = later,
            Err(_) => return Err(Unclaimed::Taken),
        }
    }
}

fn settings(node: &Node, vhost: &Vhost, replaced: &Arc<WakeSignal>) -> PublishSettings {
    PublishSettings {
        linger: vhost.publish.linger,
        conflict: match vhost.publish.conflict {
            // On an edge the origin has decided already.
            _ if node.edge.is_some() => Conflict::Takeover,
            weir_config::Conflict::Reject => Conflict::Reject,
            weir_config::Conflict::Takeover => Conflict::Takeover,
            weir_config::Conflict::TakeoverIfIdle => Conflict::TakeoverIfIdle(SILENT),
        },
        flush: announce(flush(&vhost.play)),
        limits: log_limits(&node.config()),
        replaced: Arc::clone(replaced) as _,
    }
}
