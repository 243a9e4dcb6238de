//! The settings of an edge.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer, Visitor},
};

use super::{
    host, suggest,
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

/// Where an edge has its streams from, and how.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Edge {
    /// Origins. A name stands for all its addresses, and is looked up again and again.
    #[serde(deserialize_with = "host::origins")]
    pub origins: Vec<OriginName>,
    /// What streams are pulled with. Publishes are always passed on by RTMP.
    pub protocol: Upstream,
    /// The HTTP port of the origins: HLS, and streams with `protocol: flv`.
    #[serde(deserialize_with = "value::whole::<_, u16, _, 1, 65_535>")]
    pub http_port: u16,
    /// How long a stream goes on being pulled after its last viewer.
    #[serde(deserialize_with = "value::duration::<_, _, 0, LINGER_MAX>")]
    pub linger: Duration,
    /// How long an origin may say nothing before it counts as dead.
    #[serde(deserialize_with = "dead_after")]
    pub dead_after: Duration,
    /// How long viewers and encoders are kept while no origin has their stream any more.
    #[serde(deserialize_with = "value::duration::<_, _, DEAD_AFTER_MIN, GIVE_UP_MAX>")]
    pub give_up: Duration,
    /// Which parameters of the first viewer's, or the publisher's, URL go along.
    pub forward_query: ForwardQuery,
    /// Name servers to ask instead of those of the system.
    #[serde(deserialize_with = "host::resolvers")]
    pub resolvers: Vec<SocketAddr>,
    /// Bytes of playlists and segments of the origins that are kept.
    #[serde(deserialize_with = "value::size::<_, HLS_CACHE_MIN>")]
    pub hls_cache: u64,
}

/// The name of one or many origins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginName {
    /// A host name or an address, an IPv6 address without its brackets.
    pub host: String,
    /// The RTMP port.
    pub port: u16,
}

impl fmt::Display for OriginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.parse::<Ipv6Addr>() {
            Ok(ip) => write!(f, "[{ip}]:{port}"),
            Err(_) => write!(f, "{host}:{port}"),
        }
    }
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

/// Which parameters of a URL go along to the origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForwardQuery {
    /// All of them, as SRS does.
    #[default]
    All,
    /// Those with these names.
    Only(Vec<String>),
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            protocol: Upstream::default(),
            http_port: 8080,
            linger: Duration::from_secs(10),
            dead_after: Duration::from_secs(5),
            give_up: Duration::from_secs(60),
            forward_query: ForwardQuery::default(),
            resolvers: Vec::new(),
            hls_cache: 64 << 20,
        }
    }
}

fn dead_after<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let (min, max) = (Duration::from_millis(DEAD_AFTER_MIN), Duration::from_millis(DEAD_AFTER_MAX));
    value::scalar(from, |text| match value::parse_duration(text) {
        Ok(duration) if duration < min => Err(Problem::new(
            format!("{text} is shorter than {}", Human(min)),
            format!(
                "use {} or more: with less, short stalls of a network pass for dead origins",
                Human(min)
            ),
        )),
        _ => value::duration_within(text, min, max),
    })
}

impl<'de> Deserialize<'de> for Upstream {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        value::word(from, &[("rtmp", Self::Rtmp), ("flv", Self::Flv)])
    }
}

impl<'de> Deserialize<'de> for ForwardQuery {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AllNoneOrNames)
    }
}

struct AllNoneOrNames;

impl<'de> Visitor<'de> for AllNoneOrNames {
    type Value = ForwardQuery;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("all, none, or a list of names")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        value::scalar(text.into_deserializer(), |text| match text {
            "all" => Ok(ForwardQuery::All),
            "none" => Ok(ForwardQuery::Only(Vec::new())),
            _ => {
                let near = suggest::did_you_mean(text, &["all", "none"]);
                let what = format!("unknown value `{text}`{near}");
                let fix = "use all, none, or a list of names such as [token, expires]";
                Err(Problem::new(what, fix))
            }
        })
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Err(E::custom(value::no_value("all, none, or a list of names")))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some(Parameter(name)) = list.next_element()? {
            names.push(name);
        }
        Ok(ForwardQuery::Only(names))
    }
}

/// The name of a parameter of a URL.
struct Parameter(String);

impl<'de> Deserialize<'de> for Parameter {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        value::scalar(from, |text| {
            if text.is_empty() || text.contains(['?', '&', '=', '#', ' ']) {
                let what = format!("`{text}` is not the name of a parameter");
                return Err(Problem::new(what, "write the name alone, such as token"));
            }
            Ok(Self(text.to_owned()))
        })
    }
}
