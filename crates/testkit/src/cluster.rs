//! Origins and edges that find each other.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::PathBuf,
    sync::atomic::{AtomicU16, Ordering},
};

use crate::{Weir, server::Builder};

/// Where fixed ports are looked for: below those that Linux gives to outgoing connections. Whoever goes on connecting
/// to a port there after its server has gone may be given that very port, and be connected with itself.
const FIRST_PORT: u16 = 12_000;
const LAST_PORT: u16 = 32_000;

/// Ports that belong to the test, whether somebody listens or not, on every loopback address: a server can be started
/// on them again, and several servers can have the same ones on different addresses.
#[derive(Debug)]
pub struct Ports {
    /// For RTMP.
    pub rtmp: u16,
    /// For HTTP.
    pub http: u16,
    /// For the API.
    pub api: u16,
    /// Tests agree by holding the same ports for UDP, which no server here uses.
    _held: Vec<UdpSocket>,
}

impl Ports {
    /// Three that nobody uses.
    ///
    /// # Panics
    /// If there are none.
    pub fn free() -> Self {
        let mut held = Vec::new();
        let [rtmp, http, api] = [(); 3].map(|()| hold(&mut held));
        Self { rtmp, http, api, _held: held }
    }

    /// Given ones, in a network where nobody else is.
    pub fn fixed(rtmp: u16, http: u16, api: u16) -> Self {
        Self { rtmp, http, api, _held: Vec::new() }
    }
}

fn hold(held: &mut Vec<UdpSocket>) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = LAST_PORT - FIRST_PORT;
    // Tests in other processes begin elsewhere.
    let start = u16::try_from(std::process::id() % u32::from(count)).unwrap_or_default();
    for _ in 0..count {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT + start.wrapping_mul(7).wrapping_add(step) % count;
        let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else { continue };
        if std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            held.push(socket);
            return port;
        }
    }
    panic!("no port between {FIRST_PORT} and {LAST_PORT} is free")
}

/// Origins on the same ports of different addresses, and edges in front of them.
#[derive(Debug)]
pub struct Cluster {
    binary: PathBuf,
    /// The ports of every origin.
    pub ports: Ports,
}

impl Cluster {
    /// A cluster of `binary`, which a test knows as `env!("CARGO_BIN_EXE_weir")`, without members yet.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), ports: Ports::free() }
    }

    /// The address of origin `number`, counted from 1.
    pub fn ip(number: u8) -> IpAddr {
        Ipv4Addr::new(127, 0, 0, number).into()
    }

    /// What edges call the origin at `host`, an address or a name.
    pub fn origin_at(&self, host: impl Display) -> String {
        format!("{host}:{}", self.ports.rtmp)
    }

    /// Starts origin `number` with this configuration beside its listeners.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn origin(&self, number: u8, config: &str) -> Weir {
        Weir::builder(&self.binary).config(config).at(Self::ip(number), &self.ports).start()
    }

    /// Starts an edge in front of `origins`, addresses or names, with more keys for its section `edge` and more
    /// configuration.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn edge(&self, origins: &[&str], keys: &str, config: &str) -> Weir {
        let origins: Vec<_> = origins.iter().map(|origin| self.origin_at(origin)).collect();
        self.edge_to(&origins, self.ports.http, keys, config).start()
    }

    /// An edge in front of `origins`, each with its RTMP port, all with the same HTTP port.
    pub fn edge_to(&self, origins: &[String], http_port: u16, keys: &str, config: &str) -> Builder {
        let comma = if keys.is_empty() { "" } else { ", " };
        let head = format!(
            "role: edge\nedge: {{ origins: {origins:?}, http_port: {http_port}{comma}{keys} }}\n"
        );
        Weir::builder(&self.binary).config(&(head + config))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ports_are_nobody_elses_and_no_outgoing_connections() {
        let sets = [Ports::free(), Ports::free()];
        let ports: BTreeSet<_> =
            sets.iter().flat_map(|set| [set.rtmp, set.http, set.api]).collect();
        assert_eq!(ports.len(), 6);
        assert!(ports.iter().all(|port| (FIRST_PORT..LAST_PORT).contains(port)), "{ports:?}");
        let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, sets[0].rtmp));
        assert!(taken.is_err(), "another test could take port {}", sets[0].rtmp);
    }
}
