//! What counts as one address.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// One customer of a provider has an IPv6 network of this size at least, and as many addresses as it wants
/// (RFC 6177): what one machine can choose for itself must not count as many machines.
const IPV6_PREFIX: u32 = 64;

/// An IPv4 address, or an IPv6 network of `IPV6_PREFIX` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// That of `ip`.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V6(ip) => {
                let mask = u128::MAX << (Ipv6Addr::BITS - IPV6_PREFIX);
                Self(Ipv6Addr::from_bits(ip.to_bits() & mask).into())
            }
            ip @ IpAddr::V4(_) => Self(ip),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => write!(f, "{ip}"),
            IpAddr::V6(ip) => write!(f, "{ip}/{IPV6_PREFIX}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ip: &str) -> String {
        Network::of(ip.parse().expect("an address")).to_string()
    }

    #[test]
    fn ipv6_counts_by_the_network_that_one_customer_has() {
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2::1"), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:3::1"), "2001:db8:1:3::/64");
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7", "IPv4 on a socket of IPv6");
    }
}
