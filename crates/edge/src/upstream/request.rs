//! What is asked of an origin.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use weir_config::Settings;
use weir_intake::Allowance;
use weir_media::StreamKey;
use weir_rtmp::url::params::Query;
use weir_upstream::{Asking, Failure, Hops};

use crate::query::Question;

/// What is asked of an origin.
#[derive(Clone, Debug)]
pub struct Request {
    /// The stream.
    pub key: StreamKey,
    /// The parameters of the stream's URL that go along.
    pub params: Query,
    /// The page of the one who asks first; empty if it does not say.
    pub page_url: Arc<str>,
    /// Has the vhosts.
    pub settings: Settings,
    /// The edges that the request has come through, this one included.
    pub hops: Hops,
    /// How long the origin may hold the question until the stream begins.
    pub wait: Duration,
    /// Whether what the present publisher has sent is known here, if it has left.
    pub next: bool,
    /// What the origin may make us hold.
    pub memory: Allowance,
}

impl Request {
    /// What is said beside the stream's name.
    pub fn asking(&self) -> Asking<'_> {
        Asking { hops: &self.hops, wait: self.wait, next: self.next }
    }

    /// What is asked of the origin called `host` at `address`, which `make` writes in its protocol.
    pub fn question<T>(
        &self,
        host: &str,
        address: SocketAddr,
        make: impl FnOnce(Question) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let config = self.settings.now();
        let (key, params) = (&self.key, &self.params);
        make(Question { config: &config, host, address, key, params }).map_err(Failure::Missing)
    }
}
