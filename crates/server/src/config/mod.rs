//! The configuration: one typed tree, read from YAML.
//!
//! Every key is optional, and [`Config::default`] is what an empty file means: an origin on the standard ports.
//! Values are checked while they are read, so that a value out of range is reported like a syntax error: file,
//! line, column, the offending text and the fix ([`ConfigError`]). Reading ends at the first error.
//! `docs/guide/configuration.md` says what each key means to an operator.

mod check;
mod edge;
mod error;
mod host;
mod report;
mod source;
mod stream;
mod suggest;
#[cfg(test)]
mod tests;
mod value;

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::Path,
    thread,
};

use ipnet::IpNet;
use serde::Deserialize;
use weir_media::DEFAULT_VHOST;

pub use edge::{Edge, ForwardQuery, OriginName, Upstream};
pub use error::{ConfigError, Diagnostic};
use report::Source;
pub use stream::{Conflict, Flush, Hls, HlsOverride, Play, PlayOverride, Publish, PublishOverride};
pub use value::{Human, Rate, Size};

/// Everything an operator can set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What this process is.
    pub role: Role,
    /// RTMP listeners.
    #[serde(deserialize_with = "value::section")]
    pub rtmp: Rtmp,
    /// HTTP listeners for viewers: HTTP-FLV, HLS, pages.
    #[serde(deserialize_with = "value::section")]
    pub http: Http,
    /// HTTP listeners for operators: API, metrics, health.
    #[serde(deserialize_with = "value::section")]
    pub api: Api,
    /// Delivery shards.
    pub workers: Workers,
    /// How publishers are treated.
    #[serde(deserialize_with = "value::section")]
    pub publish: Publish,
    /// How viewers are treated.
    #[serde(deserialize_with = "value::section")]
    pub play: Play,
    /// The HLS output.
    #[serde(deserialize_with = "value::section")]
    pub hls: Hls,
    /// Where an edge has its streams from.
    #[serde(deserialize_with = "value::section")]
    pub edge: Edge,
    /// What the process may use at most.
    #[serde(deserialize_with = "value::section")]
    pub limits: Limits,
    /// How the process stops.
    #[serde(skip)]
    pub drain: Drain,
    /// n
    #[serde(skip)]
    pub handover: Handover,
    /// What is different on some vhosts; the key is the vhost's name.
    #[serde(deserialize_with = "value::vhosts")]
    pub vhosts: BTreeMap<String, VhostOverride>,
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, is not YAML, or has a key or value that is not acceptable.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|why| ConfigError::Read { path: path.to_owned(), why })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads `text`; `origin` is the file name that messages show.
    ///
    /// # Errors
    /// The text is not YAML, or has a key or value that is not acceptable.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let source = || Source::new(text, origin);
        let config: Option<Self> =
            serde_saphyr::from_str(text).map_err(|e| source().refused(&e))?;
        let config = config.unwrap_or_default();
        check::contradiction(&config).map_or(Ok(config), |found| Err(source().contradicted(found)))
    }

    /// The settings in force for the vhost a client `asked` for. One that is not configured gets the settings and
    /// the name of the default vhost, as in SRS.
    pub fn vhost(&self, asked: &str) -> Vhost {
        let name = if self.vhosts.contains_key(asked) { asked } else { DEFAULT_VHOST };
        let none = VhostOverride::default();
        let own = self.vhosts.get(name).unwrap_or(&none);
        Vhost {
            name: name.to_owned(),
            publish: own.publish.over(&self.publish),
            play: own.play.over(&self.play),
            hls: own.hls.over(&self.hls),
        }
    }
}

/// What this process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Takes streams in, and serves them.
    #[default]
    Origin,
    /// Has its streams from origins, or from other edges, and passes publishes on to them.
    Edge,
}

/// RTMP listeners.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rtmp {
    /// Addresses to listen on; empty switches RTMP off, port 0 takes any free port.
    #[serde(deserialize_with = "value::addresses")]
    pub listen: Vec<SocketAddr>,
    /// Chunk size of what we send, in bytes.
    #[serde(deserialize_with = "value::whole::<_, u32, _, CHUNK_SIZE_MIN, CHUNK_SIZE_MAX>")]
    pub chunk_size: u32,
    /// Whether each connection begins with a header of the PROXY protocol (version 1 or 2).
    #[serde(deserialize_with = "value::flag")]
    pub proxy_protocol: bool,
}

/// What RTMP starts with, and the least that SRS allows.
const CHUNK_SIZE_MIN: u64 = 128;
/// The most that SRS allows; nothing is gained above, since one chunk then holds nearly every frame.
const CHUNK_SIZE_MAX: u64 = 65_536;

impl Default for Rtmp {
    fn default() -> Self {
        Self { listen: everywhere(1935), chunk_size: 60_000, proxy_protocol: false }
    }
}

/// HTTP listeners for viewers: HTTP-FLV, HLS, pages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Addresses to listen on; empty switches HTTP off, port 0 takes any free port.
    #[serde(deserialize_with = "value::addresses")]
    pub listen: Vec<SocketAddr>,
    /// Whether each connection begins with a header of the PROXY protocol (version 1 or 2).
    #[serde(deserialize_with = "value::flag")]
    pub proxy_protocol: bool,
    /// Whose `X-Forwarded-For` is believed.
    #[serde(deserialize_with = "host::networks")]
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: everywhere(8080), proxy_protocol: false, trusted_proxies: Vec::new() }
    }
}

/// HTTP listeners for operators: API, metrics, health.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Addresses to listen on; empty switches the API off, port 0 takes any free port.
    #[serde(deserialize_with = "value::addresses")]
    pub listen: Vec<SocketAddr>,
}

impl Default for Api {
    fn default() -> Self {
        Self { listen: everywhere(1985) }
    }
}

fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))]
}

/// How many delivery shards run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// One for each core that this process may use.
    #[default]
    Auto,
    /// So many.
    Count(NonZeroUsize),
}

impl Workers {
    /// How many that is on this machine.
    pub fn count(&self) -> usize {
        match self {
            Self::Auto => thread::available_parallelism().map_or(1, NonZeroUsize::get),
            Self::Count(count) => count.get(),
        }
    }
}

/// What the process may use at most.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at one time, over all listeners; 0 sets no limit.
    #[serde(deserialize_with = "value::whole::<_, usize, _, 0, CONNECTIONS_MAX>")]
    pub connections: usize,
    /// Bits of media that all viewers together are sent in a second; 0 sets no limit.
    #[serde(deserialize_with = "value::rate")]
    pub egress: u64,
    /// Viewers of one stream at one time; 0 sets no limit.
    #[serde(deserialize_with = "value::whole::<_, usize, _, 0, CONNECTIONS_MAX>")]
    pub viewers_per_stream: usize,
    /// Connections from one client address at one time; 0 sets no limit.
    #[serde(deserialize_with = "value::whole::<_, usize, _, 0, CONNECTIONS_MAX>")]
    pub connections_per_ip: usize,
    /// Bytes that the logs of all streams may hold together.
    #[serde(deserialize_with = "value::size::<_, MEMORY_MIN>")]
    pub memory: u64,
    /// Bytes that one log of one stream may hold, whatever its publisher sends.
    #[serde(deserialize_with = "value::size::<_, STREAM_MEMORY_MIN>")]
    pub stream_memory: u64,
}

/// More than any machine holds; a greater number is a slip.
const CONNECTIONS_MAX: u64 = 10_000_000;
/// Below, a few streams are enough to have every log cut to its newest media all the time.
const MEMORY_MIN: u64 = 16 << 20;
/// Below, common streams lose the start of their group of pictures, and nobody can join them.
const STREAM_MEMORY_MIN: u64 = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            egress: 0,
            viewers_per_stream: 0,
            connections_per_ip: 0,
            memory: 2 << 30,
            stream_memory: 64 << 20,
        }
    }
}

/// placeholder
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// n
    pub notice: std::time::Duration,
    /// t
    pub timeout: std::time::Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            notice: std::time::Duration::from_secs(5),
            timeout: std::time::Duration::from_secs(60),
        }
    }
}

/// What is different on one vhost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VhostOverride {
    /// How publishers are treated.
    #[serde(deserialize_with = "value::section")]
    pub publish: PublishOverride,
    /// How viewers are treated.
    #[serde(deserialize_with = "value::section")]
    pub play: PlayOverride,
    /// The HLS output.
    #[serde(deserialize_with = "value::section")]
    pub hls: HlsOverride,
}

/// The settings in force for one vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vhost {
    /// The configured name, or [`DEFAULT_VHOST`]; the first part of a [`weir_media::StreamKey`].
    pub name: String,
    /// How publishers are treated.
    pub publish: Publish,
    /// How viewers are treated.
    pub play: Play,
    /// The HLS output.
    pub hls: Hls,
}

// STUB-BEGIN
/// n
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handover {
    /// n
    pub socket: Option<std::path::PathBuf>,
}
/// n
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// n
    pub path: String,
    /// n
    pub from: String,
    /// n
    pub to: String,
    /// n
    pub needs_restart: bool,
}
impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} -> {}", self.path, self.from, self.to)
    }
}
/// n
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// n
    pub changes: Vec<Change>,
}
impl Diff {
    /// n
    pub fn needing_restart(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.needs_restart)
    }
}
/// n
pub fn diff(_: &Config, _: &Config) -> Diff {
    Diff::default()
}
impl Config {
    /// n
    pub fn load_from_process(path: Option<&Path>) -> Result<Self, ConfigError> {
        path.map_or(Ok(Self::default()), Self::load)
    }
}
// STUB-END
