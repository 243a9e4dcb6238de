//! What every call is given.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use serde::Serialize;

use super::{answer::Identity, gate::Gate, peers::Peers, samples::Samples, wall::Wall};
use crate::{node::Node, operate::control::Control, tls::Tls};

/// What calls need.
#[derive(Clone)]
pub struct Api {
    /// All that runs.
    pub node: Arc<Node>,
    /// What operators can make it do.
    pub control: Arc<Control>,
    /// Who answers.
    pub identity: Arc<Identity>,
    /// Bit rates.
    pub samples: Arc<Samples>,
    /// What is known of the other nodes.
    pub peers: Arc<Peers>,
    /// The TLS of this port, and how peers are recognised.
    pub tls: Arc<Tls>,
    /// What calls for many items go through.
    pub gate: Arc<Gate>,
    /// All streams at a glance.
    pub wall: Arc<Wall>,
    /// Where the media are.
    pub ports: MediaPorts,
    /// Addresses at which they are served, where those are not all of the machine.
    pub addresses: Arc<[IpAddr]>,
}

/// The ports of the media: the first of each kind, null if there is none.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct MediaPorts {
    /// RTMP.
    #[cfg_attr(test, schema(required))]
    pub rtmp: Option<u16>,
    /// RTMP over TLS.
    #[cfg_attr(test, schema(required))]
    pub rtmps: Option<u16>,
    /// HTTP for viewers.
    #[cfg_attr(test, schema(required))]
    pub http: Option<u16>,
    /// The same over TLS.
    #[cfg_attr(test, schema(required))]
    pub https: Option<u16>,
    /// Whether pages of others may show the player (`http.embed`).
    pub embeds: bool,
}

/// Where the media of this process are served.
#[derive(Clone, Debug, Default)]
pub struct Media {
    /// By their ports.
    pub ports: MediaPorts,
    /// Addresses of their listeners, but for those that mean all of the machine.
    pub addresses: Vec<IpAddr>,
    /// Where all without TLS is.
    pub listens: Listens,
}

/// Where this process listens without TLS.
#[derive(Clone, Debug, Default)]
pub struct Listens {
    /// RTMP.
    pub rtmp: Vec<SocketAddr>,
    /// HTTP for viewers.
    pub http: Vec<SocketAddr>,
    /// The API.
    pub api: Vec<SocketAddr>,
}
