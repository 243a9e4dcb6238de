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
use weir_hooks::{Hooks, Ticket};
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
struct Agreed(Option<Ticket>);

impl Permit for Agreed {
    fn begin(&mut self, key: &StreamKey) {
        if let Some(ticket) = &mut self.0 {
            ticket.begin(key);
        }
    }
}

impl Host for PullHost {
    /// SRS's ingest is an encoder on the same machine that publishes over RTMP: back ends know it by that address.
    fn may_publish<'a>(&'a self, key: &'a StreamKey) -> Asked<'a> {
        const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Box::pin(async move {
            let vhost = self.settings.vhost(key.vhost());
            let who = || subject(client::next_id(), HERE, key, &Ask::default());
            let asked = self.hooks.publish(&vhost, who).await;
            let agreed = asked.map_err(|refused| {
                debug!(stream = %key, reason = refused.reason(), "a pull may not publish");
                refused.to_string()
            })?;
            Ok(Box::new(Agreed(agreed)) as Box<dyn Permit>)
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
