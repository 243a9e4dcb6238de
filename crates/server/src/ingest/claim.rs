//! Who may publish a stream.

use std::{sync::Arc, time::Duration, time::Instant};

use tracing::info;
use weir_clients::{
    client::Client,
    counts,
    end::{End, Side},
};
use weir_config::Vhost;
use weir_hub::{Conflict, PublishSettings, Publisher, Refused, Start, Status};
use weir_intake::{WakeSignal, announce, flush, log_limits};
use weir_media::StreamKey;
use weir_rtmp::server::{Event, PublishRefusal};

use crate::{connection::Connection, node::Node};

/// How long a publisher must be silent to lose its stream to the next one. Encoders send several frames a second, and
/// reconnect within two or three after their network is back.
const SILENT: Duration = Duration::from_secs(3);

/// How long frames of a publisher that has gone may still be read, so that they do not speak for it: an encoder or an
/// edge that reconnects at once is here before its old connection has been read to the end.
const LEFTOVERS: Duration = Duration::from_millis(500);

/// Makes the connection the publisher of `key`. `None` when it was refused, or gave up while it was being decided.
///
/// # Errors
/// The connection's end.
pub async fn claim(
    connection: &mut Connection,
    stream_id: u32,
    key: &StreamKey,
    replaced: &Arc<WakeSignal>,
) -> Result<Option<Publisher>, End> {
    let node = Arc::clone(&connection.node);
    if node.streams.registry.budget().is_full()
        && node.streams.registry.status(key) != Some(Status::Live)
    {
        // Every log has shrunk by now: one more stream would be at the expense of those that are here.
        counts::Refused::Memory.count();
        let reason = "no memory for another stream (limits.memory)";
        return Ok(refuse(connection, stream_id, key, PublishRefusal::Failed, reason));
    }
    // An origin or the present publisher may have been waited for: what is in force now counts.
    let settings = || settings(&node, &node.config().vhost(key.vhost()), replaced);
    let mut idle_at = match node.streams.registry.publish(key, settings(), Instant::now()) {
        Ok(publisher) => return Ok(Some(publisher)),
        Err(Refused::Taken) => return Ok(refuse_taken(connection, stream_id, key)),
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
            left = given_up(connection, stream_id) => return left.map(|()| None),
        }
        let now = Instant::now();
        match node.streams.registry.publish(key, settings(), now) {
            Ok(publisher) => return Ok(Some(publisher)),
            Err(Refused::MaybeDead { idle_at: later }) if now < judged_at => idle_at = later,
            Err(_) => return Ok(refuse_taken(connection, stream_id, key)),
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

fn refuse_taken(connection: &mut Connection, stream_id: u32, key: &StreamKey) -> Option<Publisher> {
    counts::Refused::Conflict.count();
    let reason = format!("{key} is already being published");
    refuse(connection, stream_id, key, PublishRefusal::BadName, &reason)
}

fn refuse(
    connection: &mut Connection,
    stream_id: u32,
    key: &StreamKey,
    refusal: PublishRefusal,
    reason: &str,
) -> Option<Publisher> {
    let Client { id: conn, peer, .. } = connection.client;
    info!(conn, %peer, stream = %key, side = Side::Policy.label(), reason, "publish refused");
    connection.refuse_publish(stream_id, refusal, reason);
    None
}

/// Ends when the client does not want to publish any more, or is gone.
pub async fn given_up(connection: &mut Connection, stream_id: u32) -> Result<(), End> {
    loop {
        match connection.event().await? {
            Event::EndPublish { stream_id: ended } if ended == stream_id => return Ok(()),
            event => connection.refuse_another(&event, "one stream per connection"),
        }
    }
}
