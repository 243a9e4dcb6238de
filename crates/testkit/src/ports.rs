//! Ports that belong to a test.

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
};

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
