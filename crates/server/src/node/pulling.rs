//! What pulls ask and tell the rest of the server.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::debug;
use weir_clients::client;
use weir_config::Settings;
use weir_edge::Ask;
use weir_hooks::{Hooks, Refused, Subject, Ticket};
use weir_media::StreamKey;
use weir_outputs::Outputs;
use weir_pull::{Asked, Host, Permit};

use super::{hooked::subject, streams::Streams};

/// Whoever follows streams, knows of those that are missed, and hears of publishers.
pub struct PullHost {
    /// What follows streams.
    pub outputs: Outputs,
    /// All streams.
    pub streams: Arc<Streams>,
    /// The back ends that decide who may publish.
    pub hooks: Arc<Hooks>,
    /// The configuration in force.
    pub settings: Settings,
}

/// What a back end has agreed to, if there is one.
struct Agreed {
    connection: Option<Ticket>,
    publish: Option<Ticket>,
    received: u64,
}

impl Permit for Agreed {
    fn begin(&mut self, key: &StreamKey) {
        if let Some(ticket) = &mut self.publish {
            ticket.begin(key);
        }
    }

    fn took(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }
}

impl Drop for Agreed {
    fn drop(&mut self) {
        // As of an encoder: it stops, and then it goes.
        drop(self.publish.take());
        if let Some(connection) = self.connection.take() {
            connection.close(0, self.received);
        }
    }
}

impl Host for PullHost {
    /// SRS's ingest is an encoder on the same machine that connects and publishes over RTMP: back ends know it by that
    /// address.
    fn may_publish<'a>(&'a self, key: &'a StreamKey) -> Asked<'a> {
        const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Box::pin(async move {
            let vhost = self.settings.vhost(key.vhost());
            let who = subject(client::next_id(), HERE, key, &Ask::default());
            let refused = |refused: Refused| {
                debug!(stream = %key, reason = refused.reason(), "a pull may not publish");
                refused.to_string()
            };
            // Who connects has not said yet which stream it is about.
            let connects = || Subject { stream: String::new(), ..who.clone() };
            let connection = self.hooks.connect(&vhost, connects).await.map_err(refused)?;
            let mut agreed = Agreed { connection, publish: None, received: 0 };
            agreed.publish = self.hooks.publish(&vhost, || who.clone()).await.map_err(refused)?;
            Ok(Box::new(agreed) as Box<dyn Permit>)
        })
    }

    fn began(&self, key: &StreamKey) {
        self.outputs.follow(key);
        self.streams.lost.found(key);
    }

    fn lost(&self, key: &StreamKey, linger: Duration) {
        self.streams.lost.lost(key, linger, Instant::now());
    }
}
