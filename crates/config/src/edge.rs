//! The settings of an edge.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use serde_json::json;

use super::{
    host::{Elsewhere, HostPort, OriginName, Resolver},
    kind::{
        self, Element, Form, Json, Leaf, Many, Maybe, Node, Part, Refusal, Secrets, Text, section,
    },
    scalar::{Bytes, File, Parameter, Secret, SecretOrNone, Time, Whole, Word, Words},
    suggest,
    tree::Value,
    value::{self, Human, Problem},
};

const SECOND: u64 = 1000;

/// A stream that nobody watches is pulled for as long.
const LINGER_MAX: u64 = 3600 * SECOND;
/// A lost packet is sent again for up to a second, and a whole group of pictures may come at once: less would take
/// live origins for dead ones.
const DEAD_AFTER_MIN: u64 = SECOND;
/// Nobody waits longer for a picture to go on.
const DEAD_AFTER_MAX: u64 = 60 * SECOND;
/// Viewers and encoders without a stream hold their places.
const GIVE_UP_MAX: u64 = 3600 * SECOND;
/// Below, not one segment of a common stream has its place.
const HLS_CACHE_MIN: u64 = 1 << 20;

section! {
    /// Where an edge has its streams from, and how.
    Edge / EdgeKeys {
        /// Origins. A name means all its addresses, and is resolved regularly.
        origins: Vec<OriginName> = Vec::new(), Many<OriginName>;
        /// How streams are pulled. Publishes are always passed on over RTMP.
        protocol: Upstream = Upstream::Rtmp, Word<Upstream>;
        /// The HTTP port of the origins: HLS, and streams with `protocol: flv`.
        http_port: u16 = 8080, Whole<u16, 1, 65_535>;
        /// How long a stream is still pulled after its last viewer has left.
        linger: Duration = Duration::from_secs(10), Time<0, LINGER_MAX>;
        /// How long an origin may be silent before it counts as dead.
        dead_after: Duration = Duration::from_secs(5), DeadAfter;
        /// How long viewers and encoders are kept while no origin has their stream any more.
        give_up: Duration = Duration::from_secs(60), Time<DEAD_AFTER_MIN, GIVE_UP_MAX>;
        /// Which parameters of the first viewer's, or the publisher's, URL go along.
        forward_query: ForwardQuery = ForwardQuery::All, ForwardQuery;
        /// Who decides about viewers: the origins, which are asked with the parameters of each, or this edge alone.
        auth: AuthBy = AuthBy::Origin, Word<AuthBy>;
        /// The secret by which origins recognise this edge (their check `edge`); empty for none.
        token: Option<Secret> = None, EdgeToken;
        /// TLS to origins that are given as `rtmps://` or `https://`.
        tls: EdgeTls = EdgeTls::default(), Part<EdgeTls>;
        /// Where else than to one another origins may redirect, with `protocol: flv`; without a port it is 80.
        redirects: Vec<HostPort> = Vec::new(), Many<Elsewhere>;
        /// Name servers to ask instead of those of the system.
        resolvers: Vec<SocketAddr> = Vec::new(), Many<Resolver>;
        /// Bytes of playlists and segments of the origins that are kept.
        hls_cache: u64 = 64 << 20, Bytes<HLS_CACHE_MIN>;
    }
}

section! {
    /// How origins show that they are the ones that are meant: by a certificate for the name that they are given by, of
    /// a CA that the system knows; or as it is said here.
    EdgeTls / EdgeTlsKeys {
        /// The PEM file with the CA certificates by which the origins' certificates are signed.
        ca: Option<PathBuf> = None, Maybe<File>;
        /// SHA-256 fingerprints of the origins' certificates or of their public keys.
        pin: Vec<Pin> = Vec::new(), Many<Pin>;
    }
}

impl Edge {
    /// Whether an origin may redirect to this host (an address without brackets) and port.
    pub fn lets_redirect(&self, host: &str, port: u16) -> bool {
        let same = |name: &str, of: u16| name.eq_ignore_ascii_case(host) && of == port;
        self.origins.iter().any(|origin| same(&origin.host, origin.http_port(self.http_port)))
            || self.redirects.iter().any(|other| same(&other.host, other.port))
    }

    /// Whether there may be connections with TLS.
    pub fn has_tls(&self) -> bool {
        self.origins.iter().any(|origin| origin.scheme.is_tls()) || self.tls != EdgeTls::default()
    }
}

/// A SHA-256, as OpenSSL prints fingerprints: 64 hexadecimal digits, with colons between the bytes or without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let not_one = || format!("`{text}` is not a SHA-256 fingerprint");
        let digits: Vec<u32> = text
            .chars()
            .filter(|&c| c != ':')
            .map(|c| c.to_digit(16).ok_or_else(not_one))
            .collect::<Result<_, _>>()?;
        let mut bytes = [0; 32];
        let is_whole = digits.len() == 2 * bytes.len();
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::try_from(pair[0] << 4 | pair[1]).map_err(|_| not_one())?;
        }
        if is_whole { Ok(Self(bytes)) } else { Err(not_one()) }
    }
}

impl Text for Pin {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        let fix =
            "use what `openssl x509 -in CERT -noout -fingerprint -sha256` prints behind the =";
        text.parse().map_err(|what: String| Problem::new(what, fix))
    }

    fn show(value: &Self, _: Secrets) -> Json {
        value.to_string().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$" })
    }
}

impl Element for Pin {
    const EXPECTED: &'static str = "a fingerprint or a list of fingerprints";
    const WRITE: &'static str =
        "a SHA-256 fingerprint; [] means that the certificate is not pinned";
    const MAY_BE_NUMBER: bool = false;
}

/// What streams are pulled with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upstream {
    /// RTMP.
    #[default]
    Rtmp,
    /// HTTP-FLV.
    Flv,
}

/// The longest token: some software cuts longer header fields.
const TOKEN_BYTES_MAX: usize = 256;

/// A secret that an HTTP header field can hold, or none.
pub struct EdgeToken;

impl Text for EdgeToken {
    type Value = Option<Secret>;

    fn parse(text: &str) -> Result<Option<Secret>, Problem> {
        if text.len() > TOKEN_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let what =
                format!("is longer than {TOKEN_BYTES_MAX} characters, or has some beside ASCII");
            return Err(Problem::new(
                what,
                "use letters and digits, such as `openssl rand -hex 32` prints",
            ));
        }
        SecretOrNone::parse(text)
    }

    fn show(value: &Option<Secret>, secrets: Secrets) -> Json {
        <SecretOrNone as Text>::show(value, secrets)
    }

    fn schema() -> Json {
        json!({ "type": ["string", "integer"], "pattern": "^[!-~]*$", "maxLength": TOKEN_BYTES_MAX })
    }
}

/// Who decides about the viewers of an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthBy {
    /// The edge alone, by its own `auth` and `hooks`.
    Local,
    /// The origins as well.
    #[default]
    Origin,
}

impl Words for AuthBy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("local", Self::Local), ("origin", Self::Origin)];
}

/// Which parameters of a URL go along to the origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForwardQuery {
    /// All of them, as SRS does.
    #[default]
    All,
    /// Those with these names.
    Only(Vec<String>),
}

impl Words for Upstream {
    const WORDS: &'static [(&'static str, Self)] = &[("rtmp", Self::Rtmp), ("flv", Self::Flv)];
}

/// The duration of `edge.dead_after`, with its own reason for the lower bound.
pub struct DeadAfter;

impl Text for DeadAfter {
    type Value = Duration;

    fn parse(text: &str) -> Result<Duration, Problem> {
        let min = Human(Duration::from_millis(DEAD_AFTER_MIN));
        match value::parse_duration(text) {
            Ok(duration) if duration < min.0 => Err(Problem::new(
                format!("{text} is shorter than {min}"),
                format!(
                    "use {min} or more: with less, a short network stall looks like a dead origin"
                ),
            )),
            _ => Time::<DEAD_AFTER_MIN, DEAD_AFTER_MAX>::parse(text),
        }
    }

    fn show(value: &Duration, secrets: Secrets) -> Json {
        <Time<DEAD_AFTER_MIN, DEAD_AFTER_MAX> as Text>::show(value, secrets)
    }

    fn schema() -> Json {
        <Time<DEAD_AFTER_MIN, DEAD_AFTER_MAX> as Text>::schema()
    }
}

impl Leaf for ForwardQuery {
    type Value = Self;
    const FORM: Form = Form::List;

    fn read(from: &Node) -> Result<Self, Refusal> {
        const EXPECTED: &str = "all, none, or a list of names";
        match from.value() {
            Value::Null => Err(from.refused(value::no_value(EXPECTED))),
            Value::Map(_) => Err(from.refused(kind::is_expected(EXPECTED))),
            Value::List(names) => {
                Node::each(names, |name| name.read(Parameter::parse)).map(Self::Only)
            }
            Value::One(_) => from.read(|text| match text {
                "all" => Ok(Self::All),
                "none" => Ok(Self::Only(Vec::new())),
                _ => {
                    let near = suggest::did_you_mean(text, &["all", "none"]);
                    let what = format!("unknown value `{text}`{near}");
                    let fix = "use all, none, or a list of names such as [token, expires]";
                    Err(Problem::new(what, fix))
                }
            }),
        }
    }

    fn show(value: &Self, _: Secrets) -> Json {
        match value {
            Self::All => "all".into(),
            Self::Only(names) if names.is_empty() => "none".into(),
            Self::Only(names) => names.clone().into(),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [
            { "enum": ["all", "none"] },
            { "type": "array", "items": <Parameter as Text>::schema() },
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_written_with_colons_or_without() {
        let plain = "00ff".repeat(16);
        let pin: Pin = plain.parse().expect("a fingerprint");
        assert_eq!(pin.to_string(), plain);
        assert_eq!((pin.0[0], pin.0[31]), (0x00, 0xff));
        let colons = ["00:FF"; 16].join(":");
        assert_eq!(colons.parse(), Ok(pin));
        let (short, long) = (&plain[..62], format!("{plain}00"));
        for none in ["", "sha256", short, &plain[..63], &long, &plain.replace('0', "g")] {
            assert!(none.parse::<Pin>().is_err(), "{none}");
        }
    }
}
