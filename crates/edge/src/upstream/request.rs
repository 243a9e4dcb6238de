//! What is asked of an origin, and the connection that it is asked on.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use tokio::time::{Instant, timeout_at};
use weir_clients::{descriptors, permits::Permit, socket};
use weir_config::Settings;
use weir_intake::Allowance;
use weir_media::StreamKey;
use weir_rtmp::url::params::Query;
use weir_tls::Stream;

use super::failure::Failure;
use crate::{hops::Hops, query::Question};

/// What is asked of an origin.
#[derive(Clone, Debug)]
pub struct Request {
    /// The stream.
    pub key: StreamKey,
    /// The parameters of the stream's URL that go along.
    pub params: Query,
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

/// Waits for a connection until `by`.
pub async fn connected(
    connecting: impl Future<Output = io::Result<Stream>>,
    by: Instant,
) -> Result<Stream, Failure> {
    let stream = timeout_at(by, connecting).await;
    let stream = stream.map_err(|_| Failure::Unreachable("no connection in time".to_owned()))?;
    let broken = |error| Failure::Unreachable(format!("no connection: {error}"));
    let stream = stream.map_err(broken)?;
    socket::prepare(stream.socket()).map_err(broken)?;
    Ok(stream)
}

/// A descriptor for a connection.
pub fn permit() -> Result<Permit, Failure> {
    let none = || Failure::Busy("out of file descriptors for connections to origins".to_owned());
    descriptors::opened().take().ok_or_else(none)
}
