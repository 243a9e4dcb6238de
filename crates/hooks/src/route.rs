//! The address by which this machine reaches a back end.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use tokio::time::timeout;
use weir_config::HookUrl;

use crate::backend::addresses;

/// Addresses of nobody (RFC 5737 and RFC 3849), outside of this machine.
const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// The address by which this machine reaches the back end at `url`; if that is on this machine, by which it reaches
/// others. None without a network, or if the name is not found within `limit`.
pub async fn own_address(url: &HookUrl, limit: Duration) -> Option<IpAddr> {
    let found = timeout(limit, addresses(&url.host, url.port)).await;
    let found = found.ok().and_then(Result::ok).unwrap_or_default();
    let own = found.into_iter().find_map(towards);
    let outside = || OUTSIDE.into_iter().find_map(|ip| towards(SocketAddr::new(ip, url.port)));
    match own {
        Some(ip) if !ip.is_loopback() => own,
        _ => outside().or(own),
    }
}

/// The address that what is sent to `to` comes from. Nothing is sent for that.
fn towards(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_back_end_on_this_machine_is_reached_by_some_address() {
        let url = HookUrl::of("http://127.0.0.1:8085/").expect("a URL");
        let own = own_address(&url, Duration::from_secs(5)).await.expect("an address");
        assert!(!own.is_unspecified() && !OUTSIDE.contains(&own), "{own}");
        let loopback = SocketAddr::from(([127, 0, 0, 1], 8085));
        assert_eq!(towards(loopback), Some(Ipv4Addr::LOCALHOST.into()));
    }
}
