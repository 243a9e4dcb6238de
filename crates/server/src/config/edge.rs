//! The settings of an edge.

use std::{net::SocketAddr, time::Duration};

/// Where an edge has its streams from, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Origins. A name stands for all its addresses, and is looked up again and again.
    pub origins: Vec<OriginName>,
    /// What streams are pulled with. Publishes are always passed on by RTMP.
    pub protocol: Upstream,
    /// The HTTP port of the origins: HLS, and streams with `protocol: flv`.
    pub http_port: u16,
    /// How long a stream goes on being pulled after its last viewer.
    pub linger: Duration,
    /// How long an origin may say nothing before it counts as dead.
    pub dead_after: Duration,
    /// How long viewers and encoders are kept while no origin has their stream any more.
    pub give_up: Duration,
    /// Which parameters of the first viewer's, or the publisher's, URL go along.
    pub forward_query: ForwardQuery,
    /// Name servers to ask instead of those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// Bytes of playlists and segments of the origins that are kept.
    pub hls_cache: u64,
}

/// The name of one or many origins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginName {
    /// A host name or an address, an IPv6 address without its brackets.
    pub host: String,
    /// The RTMP port.
    pub port: u16,
}

/// What streams are pulled with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upstream {
    /// RTMP.
    #[default]
    Rtmp,
    /// HTTP-FLV.
    Flv,
}

/// Which parameters of a URL go along to the origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForwardQuery {
    /// All of them, as SRS does.
    #[default]
    All,
    /// Those with these names.
    Only(Vec<String>),
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            protocol: Upstream::default(),
            http_port: 8080,
            linger: Duration::from_secs(10),
            dead_after: Duration::from_secs(5),
            give_up: Duration::from_secs(60),
            forward_query: ForwardQuery::default(),
            resolvers: Vec::new(),
            hls_cache: 64 << 20,
        }
    }
}
