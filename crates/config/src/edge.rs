//! The settings of an edge.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;

use super::{
    host::{Elsewhere, OriginName, Resolver},
    kind::{self, Form, Json, Leaf, Many, Node, Refusal, Secrets, Text, section},
    scalar::{Bytes, Parameter, Time, Whole, Word, Words},
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
        /// Where else than to one another origins may redirect, with `protocol: flv`; without a port it is 80.
        redirects: Vec<OriginName> = Vec::new(), Many<Elsewhere>;
        /// Name servers to ask instead of those of the system.
        resolvers: Vec<SocketAddr> = Vec::new(), Many<Resolver>;
        /// Bytes of playlists and segments of the origins that are kept.
        hls_cache: u64 = 64 << 20, Bytes<HLS_CACHE_MIN>;
    }
}

impl Edge {
    /// Whether an origin may redirect to this host (an address without brackets) and port.
    pub fn lets_redirect(&self, host: &str, port: u16) -> bool {
        let same = |name: &OriginName, of: u16| name.host.eq_ignore_ascii_case(host) && of == port;
        self.origins.iter().any(|origin| same(origin, self.http_port))
            || self.redirects.iter().any(|other| same(other, other.port))
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
