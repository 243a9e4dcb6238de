//! The PROXY protocol, versions 1 and 2 (haproxy.org/download/3.0/doc/proxy-protocol.txt): what a load balancer writes
//! in front of a connection that it passes on, to say who the client is.
//!
//! Written here and not taken from a crate: all that is needed is the source's address, in bounds of our own and with
//! errors for people, and that is shorter than the use of a library.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// The longest line of version 1, its end included; so says the specification.
const LINE_BYTES_MAX: usize = 107;

/// The longest header taken. Version 2 could announce 64 KiB; the addresses need up to 232 bytes with their prefix, and
/// what balancers add to them (a checksum, an id, a host name) fits into the rest.
pub const HEADER_BYTES_MAX: usize = 536;

const SIGNATURE_1: &[u8] = b"PROXY ";
const SIGNATURE_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before the addresses: signature, version and command, family, length.
const PREFIX_2: usize = 16;

/// A whole header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its bytes.
    pub length: usize,
    /// The client; none if the balancer speaks for itself (a health check) or does not say in terms of IP.
    pub source: Option<SocketAddr>,
}

/// Why bytes do not begin with a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Something else comes first.
    #[error("no PROXY header")]
    Missing,
    /// Version 1 does not end in time.
    #[error("PROXY header line longer than {LINE_BYTES_MAX} bytes")]
    EndlessLine,
    /// Version 1 says something that cannot be read.
    #[error("malformed PROXY header: {0:?}")]
    Line(String),
    /// Version 2 of a version that is not 2.
    #[error("unknown version {0} of the binary PROXY header")]
    Version(u8),
    /// Version 2 with something else than LOCAL and PROXY.
    #[error("unknown command {0} in the PROXY header")]
    Command(u8),
    /// Version 2 with a family or transport that does not exist.
    #[error("unknown address family {0:#04x} in the PROXY header")]
    Family(u8),
    /// Version 2 without room for its addresses.
    #[error("PROXY header too short for its addresses: {0} bytes")]
    Short(usize),
    /// Version 2 that announces too much.
    #[error("PROXY header too long: {0} bytes (limit {HEADER_BYTES_MAX})")]
    Long(usize),
}

/// The header at the start of `bytes`; none while it is not all there.
///
/// # Errors
/// When `bytes` cannot become a header, whatever follows.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Invalid> {
    if begins(bytes, SIGNATURE_2) {
        parse_2(bytes)
    } else if begins(bytes, SIGNATURE_1) {
        parse_1(bytes)
    } else {
        Err(Invalid::Missing)
    }
}

/// Whether `bytes` begin with `signature`, as far as they go.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    let common = bytes.len().min(signature.len());
    bytes[..common] == signature[..common]
}

fn parse_1(bytes: &[u8]) -> Result<Option<Header>, Invalid> {
    let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = line.iter().position(|&byte| byte == b'\n') else {
        return if line.len() < LINE_BYTES_MAX { Ok(None) } else { Err(Invalid::EndlessLine) };
    };
    let length = end + 1;
    let invalid = || Invalid::Line(String::from_utf8_lossy(&line[..end]).into_owned());
    let text = line[..end].strip_suffix(b"\r").ok_or_else(invalid)?;
    let text = std::str::from_utf8(text).map_err(|_| invalid())?;
    let words: Vec<&str> = text.split(' ').collect();
    let source = match words[..] {
        [_, "UNKNOWN", ..] => None,
        [_, family, source, destination, port, other_port] => {
            let ip = match family {
                "TCP4" => address::<Ipv4Addr>(source, destination),
                "TCP6" => address::<Ipv6Addr>(source, destination),
                _ => None,
            };
            let port = port_of(port).filter(|_| port_of(other_port).is_some());
            Some(ip.zip(port).map(SocketAddr::from).ok_or_else(invalid)?)
        }
        _ => return Err(invalid()),
    };
    Ok(Some(Header { length, source }))
}

/// The source's address; the destination must be one of the same family.
fn address<A: FromStr + Into<IpAddr>>(source: &str, destination: &str) -> Option<IpAddr> {
    destination.parse::<A>().ok()?;
    Some(source.parse::<A>().ok()?.into())
}

/// A port as the specification writes it: digits without a zero before them.
fn port_of(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_padded = text.len() > 1 && text.starts_with('0');
    text.parse().ok().filter(|_| is_plain && !is_padded)
}

fn parse_2(bytes: &[u8]) -> Result<Option<Header>, Invalid> {
    let Some(&[version, family, high, low]) = bytes.get(SIGNATURE_2.len()..PREFIX_2) else {
        return Ok(None);
    };
    if version >> 4 != 2 {
        return Err(Invalid::Version(version >> 4));
    }
    let length = PREFIX_2 + usize::from(u16::from_be_bytes([high, low]));
    if length > HEADER_BYTES_MAX {
        return Err(Invalid::Long(length));
    }
    // Addresses of other kinds than IP are left to those who have a use for them: the socket's own is as good.
    let address_bytes = match (version & 0x0f, family) {
        (0, _) | (1, 0x00 | 0x31 | 0x32) => 0,
        (1, 0x11 | 0x12) => 2 * (4 + 2),
        (1, 0x21 | 0x22) => 2 * (16 + 2),
        (1, family) => return Err(Invalid::Family(family)),
        (command, _) => return Err(Invalid::Command(command)),
    };
    if length < PREFIX_2 + address_bytes {
        return Err(Invalid::Short(length));
    }
    if bytes.len() < length {
        return Ok(None);
    }
    Ok(Some(Header { length, source: source_2(&bytes[PREFIX_2..PREFIX_2 + address_bytes]) }))
}

/// Source and destination addresses, then source and destination ports.
fn source_2(addresses: &[u8]) -> Option<SocketAddr> {
    if let Some((ip, rest)) = addresses.split_first_chunk::<16>()
        && let Some(port) = rest.get(16..18)
    {
        return Some((Ipv6Addr::from(*ip), u16::from_be_bytes([port[0], port[1]])).into());
    }
    let (ip, rest) = addresses.split_first_chunk::<4>()?;
    let port = rest.get(4..6)?;
    Some((Ipv4Addr::from(*ip), u16::from_be_bytes([port[0], port[1]])).into())
}

#[cfg(test)]
mod tests;
