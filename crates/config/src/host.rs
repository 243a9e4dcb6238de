//! How hosts and networks are written: `origin:1935`, `"[fd00::1]"`, `10.0.0.0/8`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipnet::IpNet;
use serde_json::json;

use super::{
    kind::{Element, Json, Secrets, Text},
    value::{self, Problem},
};

/// The port of RTMP (IANA: macromedia-fcs).
pub(super) const RTMP_PORT: u16 = 1935;
/// The port of DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;
/// The port of HTTP.
const HTTP_PORT: u16 = 80;
/// The port of our own API.
const API_PORT: u16 = 1985;

/// The longest name and the longest label that DNS has (RFC 1035 section 2.3.4).
const NAME_CHARS_MAX: usize = 253;
const LABEL_CHARS_MAX: usize = 63;

/// The port of RTMP over TLS, and of HTTPS: that of all who want to get through.
pub(super) const TLS_PORT: u16 = 443;

/// The name of one or many origins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginName {
    /// What is spoken there.
    pub scheme: Scheme,
    /// A host name or an address, an IPv6 address without its brackets.
    pub host: String,
    /// The port of that scheme.
    pub port: u16,
}

/// What is spoken with an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RTMP at its own port, HTTP at that of all origins.
    #[default]
    Rtmp,
    /// The same, both over TLS.
    Rtmps,
    /// HTTP over TLS, and nothing else.
    Https,
}

impl Scheme {
    const ALL: [(&'static str, Self, u16); 3] = [
        ("rtmp", Self::Rtmp, RTMP_PORT),
        ("rtmps", Self::Rtmps, TLS_PORT),
        ("https", Self::Https, TLS_PORT),
    ];

    /// Whether all connections have TLS.
    pub const fn is_tls(self) -> bool {
        !matches!(self, Self::Rtmp)
    }

    /// Whether RTMP is spoken.
    pub const fn is_rtmp(self) -> bool {
        !matches!(self, Self::Https)
    }
}

/// A host and a port of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A host name or an address, an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl OriginName {
    /// An origin that speaks RTMP at this port.
    pub fn rtmp(host: impl Into<String>, port: u16) -> Self {
        Self { scheme: Scheme::Rtmp, host: host.into(), port }
    }

    /// Its port for HTTP; that of origins in general is `common`.
    pub const fn http_port(&self, common: u16) -> u16 {
        match self.scheme {
            Scheme::Rtmp | Scheme::Rtmps => common,
            Scheme::Https => self.port,
        }
    }
}

impl fmt::Display for OriginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Rtmp => {}
            Scheme::Rtmps => f.write_str("rtmps://")?,
            Scheme::Https => f.write_str("https://")?,
        }
        write_host(f, &self.host, self.port)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host(f, &self.host, self.port)
    }
}

fn write_host(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    match host.parse::<Ipv6Addr>() {
        Ok(ip) => write!(f, "[{ip}]:{port}"),
        Err(_) => write!(f, "{host}:{port}"),
    }
}

impl Text for OriginName {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        parse_origin(text)
    }

    fn show(value: &Self, _: Secrets) -> Json {
        value.to_string().into()
    }

    fn schema() -> Json {
        json!({ "type": ["string", "integer"], "minLength": 1 })
    }
}

impl Element for OriginName {
    const EXPECTED: &'static str = "a host or a list of hosts";
    const WRITE: &'static str = "a host such as origin:1935";
    const MAY_BE_NUMBER: bool = true;
}

/// Another node's API, by its name or address: `weir-edge-peers:1985`.
pub struct Peer;

impl Text for Peer {
    type Value = HostPort;

    fn parse(text: &str) -> Result<HostPort, Problem> {
        if let Some((_, rest)) = text.split_once("://") {
            let what = format!("`{text}` has a scheme, but peers are given as host and port");
            return Err(Problem::new(what, format!("use \"{}\"", rest.trim_end_matches('/'))));
        }
        let (host, port) = parse_host(text, API_PORT)?;
        Ok(HostPort { host: host.to_string(), port: port.unwrap_or(API_PORT) })
    }

    fn show(value: &HostPort, _: Secrets) -> Json {
        value.to_string().into()
    }

    fn schema() -> Json {
        <OriginName as Text>::schema()
    }
}

impl Element for Peer {
    const EXPECTED: &'static str = "a host or a list of hosts";
    const WRITE: &'static str = "a host such as weir-edge-peers:1985; [] means none";
    const MAY_BE_NUMBER: bool = true;
}

/// The host and the port in `text`, without a scheme; the port is `usual` where there is none.
pub(super) fn host_port(text: &str, usual: u16) -> Result<HostPort, Problem> {
    let (host, port) = parse_host(text, usual)?;
    Ok(HostPort { host: host.to_string(), port: port.unwrap_or(usual) })
}

/// The host of a site, without a scheme and a port: `example.com`.
#[derive(Debug)]
pub struct Site;

impl Text for Site {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        const FIX: &str = "write a host such as example.com: pages on its subdomains may as well";
        let bad = |what: &str| Problem::new(format!("`{text}` {what}"), FIX);
        if text.contains("://") {
            return Err(bad("has a scheme"));
        }
        // What nginx calls a host with all of its subdomains.
        let name = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
        match parse_host(name, HTTP_PORT)? {
            (_, Some(_)) => Err(bad("has a port")),
            (host, None) => Ok(host.to_string()),
        }
    }

    fn show(value: &String, _: Secrets) -> Json {
        value.clone().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Element for Site {
    const EXPECTED: &'static str = "a host or a list of hosts";
    const WRITE: &'static str = "a host such as example.com";
    const MAY_BE_NUMBER: bool = false;
}

/// A server that an origin may send us to, by its name or address: `other.example.com:8080`.
pub struct Elsewhere;

impl Text for Elsewhere {
    type Value = HostPort;

    fn parse(text: &str) -> Result<HostPort, Problem> {
        let (host, default_port) = match text.split_once("://") {
            Some((scheme, host)) if scheme.eq_ignore_ascii_case("http") => (host, HTTP_PORT),
            Some((scheme, host)) if scheme.eq_ignore_ascii_case("https") => (host, TLS_PORT),
            _ => (text, HTTP_PORT),
        };
        let (host, port) = parse_host(host.trim_end_matches('/'), default_port)?;
        Ok(HostPort { host: host.to_string(), port: port.unwrap_or(default_port) })
    }

    fn show(value: &HostPort, _: Secrets) -> Json {
        value.to_string().into()
    }

    fn schema() -> Json {
        <OriginName as Text>::schema()
    }
}

impl Element for Elsewhere {
    const EXPECTED: &'static str = "a host or a list of hosts";
    const WRITE: &'static str = "a host such as other.example.com:8080; [] means only the origins";
    const MAY_BE_NUMBER: bool = true;
}

/// An address to listen on.
pub struct Address;

impl Text for Address {
    type Value = SocketAddr;

    fn parse(text: &str) -> Result<SocketAddr, Problem> {
        value::parse_address(text)
    }

    fn show(value: &SocketAddr, _: Secrets) -> Json {
        value.to_string().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^([0-9.]+|\[[0-9A-Fa-f:.]+(%[0-9]+)?\]):[0-9]{1,5}$" })
    }
}

impl Element for Address {
    const EXPECTED: &'static str = "an address or a list of addresses";
    const WRITE: &'static str = "an address; [] switches the listener off";
    const MAY_BE_NUMBER: bool = true;
}

/// A name server.
pub struct Resolver;

impl Text for Resolver {
    type Value = SocketAddr;

    fn parse(text: &str) -> Result<SocketAddr, Problem> {
        parse_resolver(text)
    }

    fn show(value: &SocketAddr, _: Secrets) -> Json {
        value.to_string().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^([0-9.]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$" })
    }
}

impl Element for Resolver {
    const EXPECTED: &'static str = "an IP address or a list of IP addresses";
    const WRITE: &'static str = "an IP address; [] means the name servers of this system";
    const MAY_BE_NUMBER: bool = true;
}

/// A network, or one address.
pub struct Network;

impl Text for Network {
    type Value = IpNet;

    fn parse(text: &str) -> Result<IpNet, Problem> {
        parse_network(text)
    }

    fn show(value: &IpNet, _: Secrets) -> Json {
        value.to_string().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$" })
    }
}

impl Element for Network {
    const EXPECTED: &'static str = "a network or a list of networks";
    const WRITE: &'static str = "a network such as 10.0.0.0/8; [] means none";
    const MAY_BE_NUMBER: bool = true;
}

fn parse_origin(text: &str) -> Result<OriginName, Problem> {
    let (scheme, default_port, address) = match text.split_once("://") {
        Some((word, rest)) => {
            let known = Scheme::ALL.into_iter().find(|known| known.0.eq_ignore_ascii_case(word));
            let (_, scheme, port) = known.ok_or_else(|| other_scheme(text, word, rest))?;
            (scheme, port, rest)
        }
        None => (Scheme::Rtmp, RTMP_PORT, text),
    };
    if let Some(end) = address.find(['/', '?', '#']) {
        let begin = &text[..text.len() - address.len() + end];
        let what = format!("`{text}` has more than a host and a port");
        let fix = format!("use \"{begin}\": the app and the stream come from viewers and encoders");
        return Err(Problem::new(what, fix));
    }
    let (host, port) = parse_host(address, default_port)?;
    Ok(OriginName { scheme, host: host.to_string(), port: port.unwrap_or(default_port) })
}

/// The port of another protocol is of no use: the fix has the host alone.
fn other_scheme(text: &str, scheme: &str, rest: &str) -> Problem {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let fix = match parse_host(authority, RTMP_PORT) {
        Ok((host, _)) => {
            let origin = OriginName::rtmp(host.to_string(), RTMP_PORT);
            format!("use \"rtmp://{origin}\"; edge.protocol and edge.http_port are for HTTP")
        }
        Err(_) => format!("use \"rtmp://HOST:{RTMP_PORT}\""),
    };
    Problem::new(
        format!("`{text}` has the scheme {scheme}, but origins have rtmp, rtmps or https"),
        fix,
    )
}

fn parse_resolver(text: &str) -> Result<SocketAddr, Problem> {
    match parse_host(text, DNS_PORT)? {
        (Host::Ip(ip), port) => Ok(SocketAddr::new(ip, port.unwrap_or(DNS_PORT))),
        (Host::Name(_), _) => Err(Problem::new(
            format!("`{text}` is a host name, but a resolver is given as an IP address"),
            "use the IP address of the name server, such as 10.96.0.10",
        )),
    }
}

/// A network with its prefix length, or one address.
fn parse_network(text: &str) -> Result<IpNet, Problem> {
    let not_one = || {
        let fix = "use an address with a prefix length, such as 10.0.0.0/8 or \"fd00::/8\"";
        Problem::new(format!("`{text}` is not a network"), fix)
    };
    let (ip, prefix) = match text.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().map_err(|_| not_one())?;
    let Some(prefix) = prefix else { return Ok(ip.into()) };
    let network: IpNet = text.parse().map_err(|_| {
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        let what = format!("`{prefix}` is not a prefix length");
        Problem::new(what, format!("use a number from 0 to {bits}"))
    })?;
    if network.trunc() != network {
        let what = format!("{text} has bits set after its prefix");
        return Err(Problem::new(
            what,
            format!("use {} for the network, or {ip} for the address", network.trunc()),
        ));
    }
    Ok(network)
}

/// The host in `text`, and its port or `usual`; none where one of them is not valid. For what must not be repeated.
pub(super) fn host_and_port(text: &str, usual: u16) -> Option<HostPort> {
    let (host, port) = parse_host(text, usual).ok()?;
    Some(HostPort { host: host.to_string(), port: port.unwrap_or(usual) })
}

/// What is before the port.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Host {
    Ip(IpAddr),
    /// In lower case: DNS makes no difference (RFC 1035 section 2.3.3), and one origin must have one name.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A name without the dot at its end that says that it is whole.
pub(super) fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// The host in `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(super) fn without_port(text: &str) -> &str {
    if let Some((ip, _)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return ip;
    }
    match text.split_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => text,
    }
}

/// The host and the port of a URL's authority; `usual_port` where none is written.
pub(super) fn parse_authority(text: &str, usual_port: u16) -> Result<(String, u16), Problem> {
    let (host, port) = parse_host(text, usual_port)?;
    Ok((host.to_string(), port.unwrap_or(usual_port)))
}

/// Reads a host and, where one is written, the port behind it.
pub(super) fn parse_host(text: &str, default_port: u16) -> Result<(Host, Option<u16>), Problem> {
    // `fd00::1:1935` is an address too: without brackets nobody can tell where the port begins.
    if text.parse::<Ipv6Addr>().is_ok() {
        let what = format!("`{text}` is an IPv6 address without brackets");
        return Err(Problem::new(what, format!("use \"[{text}]\" or \"[{text}]:{default_port}\"")));
    }
    let not_one = || {
        let what = format!("`{text}` is not a host");
        let fix = "use a host name or an IP address, with its port if that is not";
        Problem::new(what, format!("{fix} {default_port}"))
    };
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (ip, rest) = bracketed.split_once(']').ok_or_else(not_one)?;
            let ip: Ipv6Addr = ip.parse().map_err(|_| not_one())?;
            (Host::Ip(ip.into()), rest)
        }
        None => {
            let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            (read_host(host).ok_or_else(not_one)?, rest)
        }
    };
    if matches!(host, Host::Ip(ip) if ip.is_unspecified()) {
        let what = format!("`{host}` stands for every address of this machine");
        return Err(Problem::new(what, "use one specific address"));
    }
    if rest.is_empty() {
        return Ok((host, None));
    }
    let port = rest.strip_prefix(':').ok_or_else(not_one)?;
    match port.parse() {
        Ok(number) if number != 0 && !port.starts_with('+') => Ok((host, Some(number))),
        _ => {
            let fix = format!("use a port from 1 to 65535, or none for {default_port}");
            Err(Problem::new(format!("`{text}` has no valid port"), fix))
        }
    }
}

/// A name or an IPv4 address. What ends in a number is no name: a slip of an address must not be looked up.
fn read_host(text: &str) -> Option<Host> {
    let labels = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=LABEL_CHARS_MAX).contains(&label.len()) && label.chars().all(known)
    };
    if labels.len() > NAME_CHARS_MAX || !labels.split('.').all(is_label) {
        return None;
    }
    let last = labels.rsplit('.').next().unwrap_or_default();
    if last.chars().all(|c| c.is_ascii_digit()) {
        return text.parse::<Ipv4Addr>().ok().map(|ip| Host::Ip(ip.into()));
    }
    Some(Host::Name(text.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(text: &str) -> Option<(String, u16)> {
        parse_origin(text).ok().map(|OriginName { host, port, .. }| (host, port))
    }

    #[test]
    fn reads_origins() {
        let table = [
            ("origin", "origin", 1935),
            ("Origin.Example.COM:1936", "origin.example.com", 1936),
            ("origins.default.svc.cluster.local.", "origins.default.svc.cluster.local.", 1935),
            ("weir_origin-0:1", "weir_origin-0", 1),
            ("3com.example:65535", "3com.example", 65535),
            ("10.0.0.7", "10.0.0.7", 1935),
            ("127.0.0.1:1936", "127.0.0.1", 1936),
            ("[fd00::1]", "fd00::1", 1935),
            ("[FD00:0:0::1]:1936", "fd00::1", 1936),
            ("rtmp://origin", "origin", 1935),
            ("RTMP://origin:1936", "origin", 1936),
            ("rtmp://[::1]:1936", "::1", 1936),
            ("rtmps://origin", "origin", 443),
            ("RTMPS://Origin:1937", "origin", 1937),
            ("https://[::1]", "::1", 443),
            ("https://origin:8443", "origin", 8443),
        ];
        for (text, host, port) in table {
            assert_eq!(origin(text), Some((host.to_owned(), port)), "{text}");
        }
        let long = "a".repeat(64);
        for text in [
            "",
            ":",
            ":1935",
            "origin:",
            "origin:0",
            "origin:65536",
            "origin:-1",
            "origin:+1",
            "origin:1:2",
            "origin:rtmp",
            "a b",
            "a..b",
            ".",
            "a..",
            "user@origin",
            "origin/live",
            "origin?a=b",
            "rtmp:origin",
            "rtmp://",
            "//origin",
            "rtmps://",
            "rtmps://origin/live",
            "https://origin:8443/",
            "http://origin:8080",
            "1935",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.7.",
            "0.0.0.0",
            "[::]",
            "fd00::1",
            "fd00::1:1935",
            "[fd00::1",
            "[fd00::1]1935",
            "[10.0.0.7]",
            "[fe80::1%eth0]",
            "[]",
            "bücher.de",
            &long,
        ] {
            assert_eq!(origin(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_spoken_with_an_origin_is_written_before_it() {
        let table = [
            ("origin", Scheme::Rtmp, "origin:1935"),
            ("rtmp://origin:443", Scheme::Rtmp, "origin:443"),
            ("rtmps://origin", Scheme::Rtmps, "rtmps://origin:443"),
            ("https://[fd00::1]:8443", Scheme::Https, "https://[fd00::1]:8443"),
        ];
        for (text, scheme, written) in table {
            let origin = parse_origin(text).expect("an origin");
            assert_eq!((origin.scheme, origin.to_string().as_str()), (scheme, written));
        }
        let port = |text| parse_origin(text).expect("an origin").http_port(8080);
        let ports = ["origin", "rtmps://origin:1937", "https://origin:8443"].map(port);
        assert_eq!(ports, [8080, 8080, 8443]);
    }

    #[test]
    fn reads_other_servers() {
        for (text, written) in [
            ("cdn.example", "cdn.example:80"),
            ("HTTP://cdn.example/", "cdn.example:80"),
            ("https://cdn.example", "cdn.example:443"),
            ("https://[fd00::1]:8443/", "[fd00::1]:8443"),
        ] {
            let read = Elsewhere::parse(text).map(|other| other.to_string());
            assert_eq!(read.ok().as_deref(), Some(written), "{text}");
        }
        assert!(Elsewhere::parse("rtmp://cdn.example").is_err());
    }

    #[test]
    fn reads_resolvers() {
        let table = [
            ("10.96.0.10", "10.96.0.10:53"),
            ("127.0.0.53:5353", "127.0.0.53:5353"),
            ("[fd00::a]", "[fd00::a]:53"),
            ("[fd00::a]:5353", "[fd00::a]:5353"),
        ];
        for (text, address) in table {
            assert_eq!(parse_resolver(text).ok().map(|a| a.to_string()).as_deref(), Some(address));
        }
        for text in ["", "dns", "dns:53", "10.96.0.10:0", "fd00::a", "10.96.0.10/8", "0.0.0.0"] {
            assert!(parse_resolver(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_networks() {
        let table = [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("10.1.2.3/32", "10.1.2.3/32"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
        ];
        for (text, network) in table {
            assert_eq!(parse_network(text).ok().map(|n| n.to_string()).as_deref(), Some(network));
        }
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0/-1",
            "10.0.0.0/255.0.0.0",
            "10.0.0/8",
            "10.1.0.0/8",
            "fd00::1/8",
            "proxy/8",
            "10.0.0.0/8/8",
            "[fd00::]/8",
        ] {
            assert!(parse_network(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_host_or_not(text in "((rtmps?|https)://|\\[|\\]|[0-9a-f:./]|\\PC){0,20}") {
            let _ = (parse_resolver(&text), parse_network(&text));
            if let Ok(origin) = parse_origin(&text) {
                prop_assert_eq!(parse_origin(&origin.to_string()), Ok(origin));
            }
        }
    }
}
