//! Whether the listeners of this process answer.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use futures_util::future::try_join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What begins an RTMP connection: the version, and a digest-less first packet (section 5.2 of the RTMP specification).
const RTMP_HELLO: [u8; 1 + 1536] = {
    let mut hello = [0; 1 + 1536];
    hello[0] = 3;
    hello
};

/// A request that every HTTP listener answers, if need be in words or TLS alerts that say no.
const HTTP_HELLO: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A PROXY header (version 1) of somebody who connects for itself.
const PROXY_HEADER: &[u8] = b"PROXY UNKNOWN\r\n";

/// A listener to ask at.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    service: &'static str,
    address: SocketAddr,
    has_proxy_header: bool,
}

impl Trial {
    /// That of `service` on `address`.
    pub fn new(service: &'static str, address: SocketAddr, has_proxy_header: bool) -> Self {
        Self { service, address, has_proxy_header }
    }

    /// Asks, and waits for an answer. Nobody but this process accepts: a connection that is closed was accepted here
    /// too, by a server that is full.
    async fn ask(&self) -> io::Result<()> {
        let named = |error: io::Error| {
            let Self { service, address, .. } = self;
            io::Error::new(error.kind(), format!("our listener {service} on {address}: {error}"))
        };
        let mut socket = TcpStream::connect(reachable(self.address)).await.map_err(named)?;
        let header = if self.has_proxy_header { PROXY_HEADER } else { b"" };
        // At a port for TLS it is enough to be accepted; who goes without a word is in nobody's log.
        let is_tls = self.service.ends_with(".tls");
        let hello = match self.service {
            _ if is_tls => b"",
            "rtmp" => &RTMP_HELLO[..],
            _ => HTTP_HELLO,
        };
        // Who is turned away may not get it all out.
        let _ = socket.write_all(&[header, hello].concat()).await;
        if is_tls {
            let _ = socket.shutdown().await;
        }
        let _ = socket.read(&mut [0; 64]).await;
        Ok(())
    }
}

/// Asks at all `listeners`.
///
/// # Errors
/// For the first one that cannot be reached.
pub async fn all(listeners: &[Trial]) -> io::Result<()> {
    try_join_all(listeners.iter().map(Trial::ask)).await.map(drop)
}

/// An address under which this machine can reach a listener.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
