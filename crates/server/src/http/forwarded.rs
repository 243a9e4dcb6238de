//! `X-Forwarded-For`: who the client is, behind proxies that are trusted to say so (`http.trusted_proxies`).

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// The field.
pub const FIELD: &str = "x-forwarded-for";

/// The client of a request that came from `peer` with these fields, in their order. None if `peer` is nobody's trusted
/// proxy, or does not say.
///
/// Each proxy appends the address that it was asked from. What trusted ones have appended is true, so the client is the
/// last address that is none of theirs; what stands before that anybody may have written.
pub fn client<'a>(
    trusted: &[IpNet],
    peer: IpAddr,
    fields: impl DoubleEndedIterator<Item = &'a str>,
) -> Option<IpAddr> {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
    if !is_trusted(&peer) {
        return None;
    }
    let mut client = None;
    for word in fields.rev().flat_map(|field| field.rsplit(',')) {
        let Some(ip) = parse(word.trim()) else { break };
        client = Some(ip);
        if !is_trusted(&ip) {
            break;
        }
    }
    client
}

/// An address; some proxies add the port, or the brackets of a URL.
fn parse(word: &str) -> Option<IpAddr> {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    let ip = bare.parse().ok().or_else(|| Some(word.parse::<SocketAddr>().ok()?.ip()))?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(peer: &str, fields: &[&str]) -> Option<String> {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().expect("a network"));
        let peer = peer.parse().expect("an address");
        client(&trusted, peer, fields.iter().copied()).map(|ip| ip.to_string())
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        let expected = Some("192.0.2.7".to_owned());
        for fields in [
            &["192.0.2.7"][..],
            &["192.0.2.7, 10.9.9.9"],
            &["192.0.2.7", "10.9.9.9,2001:db8::1"],
            &["192.0.2.7:4711"],
            &["::ffff:192.0.2.7"],
        ] {
            assert_eq!(client_of("10.0.0.1", fields), expected, "{fields:?}");
        }
        assert_eq!(client_of("10.0.0.1", &["[2001:dead::7]:80"]), Some("2001:dead::7".to_owned()));
        assert_eq!(client_of("10.0.0.1", &["[2001:dead::7]"]), Some("2001:dead::7".to_owned()));
    }

    #[test]
    fn what_the_client_itself_has_written_does_not_count() {
        let forged = ["198.51.100.1, 10.0.0.5", "192.0.2.7"];
        assert_eq!(client_of("10.0.0.1", &forged), Some("192.0.2.7".to_owned()));
        assert_eq!(client_of("192.0.2.7", &["198.51.100.1"]), None, "it is no proxy of ours");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk() {
        assert_eq!(client_of("10.0.0.1", &[]), None);
        for nobody in ["", "unknown", "192.0.2.7, unknown", "192.0.2.7,", "10.0.0.1.1"] {
            assert_eq!(client_of("10.0.0.1", &[nobody]), None, "{nobody:?}");
        }
        let behind_junk = client_of("10.0.0.1", &["192.0.2.7, junk, 10.0.0.9"]);
        assert_eq!(behind_junk, Some("10.0.0.9".to_owned()), "the last that is known to be true");
        assert_eq!(client_of("10.0.0.1", &["10.0.0.2, 10.0.0.3"]), Some("10.0.0.2".to_owned()));
    }
}
