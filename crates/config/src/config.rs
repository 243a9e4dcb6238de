//! The typed tree: what an operator can set, and what each part is without a word.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use serde_json::json;
use weir_media::{DEFAULT_VHOST, StreamKey};

use crate::{
    auth::{Auth, AuthOverride},
    children::{ChildrenLimits, Exec, Ingest, Transcode},
    edge::Edge,
    embed::Embedder,
    forward::Forward,
    heartbeat::Heartbeat,
    hooks::{Hooks, HooksOverride},
    host::{Address, HostPort, Network, Peer, without_dot, without_port},
    kind::{
        Form, Json, Kind as _, Leaf, Many, Maybe, Node, Optional, Own, Part, Refusal, Secrets,
        Section, Text as _, section,
    },
    pattern::StreamPattern,
    pull::Pull,
    record::{Keep, Record, RecordOverride},
    scalar::{
        BitRate, Bytes, File, Secret, SecretOrNone, Switch, Time, Whole, Word, Words, Workers,
    },
    stream::{Hls, HlsOverride, Play, PlayOverride, Publish, PublishOverride},
    tls::{HttpTls, PortTls, RtmpTls, everywhere},
    tree::Key,
    upload::Upload,
    value::Problem,
    web::{LabelValue, UserName, WebOrigin},
};

section! {
    /// Everything an operator can set.
    Config / ConfigKeys {
        /// What this process is.
        role: Role = Role::Origin, Word<Role>;
        /// RTMP listeners.
        rtmp: Rtmp = Rtmp::default(), Part<Rtmp>;
        /// HTTP listeners for viewers: HTTP-FLV, HLS, pages.
        http: Http = Http::default(), Part<Http>;
        /// HTTP listeners for operators: API, metrics, health.
        api: Api = Api::default(), Part<Api>;
        /// Delivery shards.
        workers: Workers = Workers::Auto, Workers;
        /// How publishers are treated.
        publish: Publish = Publish::default(), Part<Publish>;
        /// How viewers are treated.
        play: Play = Play::default(), Part<Play>;
        /// The HLS output.
        hls: Hls = Hls::default(), Part<Hls>;
        /// Where finished files are uploaded to.
        upload: Upload = Upload::default(), Part<Upload>;
        /// Streams that go on to other servers.
        forward: Vec<Forward> = Vec::new(), Many<Forward>;
        /// Programs that run while a stream is published.
        exec: Vec<Exec> = Vec::new(), Many<Exec>;
        /// Streams that FFmpeg makes of others.
        transcode: Vec<Transcode> = Vec::new(), Many<Transcode>;
        /// Recording.
        record: Record = Record::default(), Part<Record>;
        /// Where an edge gets its streams.
        edge: Edge = Edge::default(), Part<Edge>;
        /// Streams that come from other servers, or from files.
        pull: Vec<Pull> = Vec::new(), Many<Pull>;
        /// Streams that FFmpeg brings in.
        ingest: Vec<Ingest> = Vec::new(), Many<Ingest>;
        /// Programs that run as children of the server.
        children: ChildrenLimits = ChildrenLimits::default(), Part<ChildrenLimits>;
        /// Who may publish and who may play.
        auth: Auth = Auth::default(), Part<Auth>;
        /// Which back end is told and asked what, over HTTP.
        hooks: Hooks = Hooks::default(), Part<Hooks>;
        /// Which back end hears at intervals that this server is there.
        heartbeat: Heartbeat = Heartbeat::default(), Part<Heartbeat>;
        /// Limits of the process.
        limits: Limits = Limits::default(), Part<Limits>;
        /// What `/metrics` shows.
        metrics: Metrics = Metrics::default(), Part<Metrics>;
        /// How the process shuts down.
        drain: Drain = Drain::default(), Part<Drain>;
        /// How a new process takes over from the running one.
        handover: Handover = Handover::default(), Part<Handover>;
        /// What this server calls itself to its operators, peers and back ends; without one, the name of its host.
        name: String = String::new(), LabelValue;
        /// The folder that relative paths begin in; without one, that in which the process was started.
        work_dir: Option<PathBuf> = None, Maybe<File>;
        /// The file that the log is appended to once the server has started; without one, lines go to stderr.
        log_file: Option<PathBuf> = None, Maybe<File>;
        /// The file with the number of the running process; without one, none is written.
        pid_file: Option<PathBuf> = None, Maybe<File>;
        /// Settings of single vhosts; the key is the vhost's name.
        vhosts: BTreeMap<String, VhostOverride> = BTreeMap::new(), Vhosts;
    }
}

impl Config {
    /// All keys and values as a file would have them, with secrets as `***`.
    pub fn to_json(&self) -> Json {
        self.show(Secrets::Masked)
    }

    /// The settings in force for the vhost a client `asked` for, by its name or with a port. One that is not configured
    /// gets the settings and the name of the default vhost, as in SRS.
    pub fn vhost(&self, asked: &str) -> Vhost {
        let name = self.vhost_name(asked).unwrap_or(DEFAULT_VHOST);
        let none = VhostOverride::default();
        let own = self.vhosts.get(name).unwrap_or(&none);
        Vhost {
            name: name.to_owned(),
            publish: own.publish.clone().over(&self.publish),
            play: own.play.clone().over(&self.play),
            hls: own.hls.clone().over(&self.hls),
            forward: own.forward.clone().unwrap_or_else(|| self.forward.clone()),
            exec: own.exec.clone().unwrap_or_else(|| self.exec.clone()),
            transcode: own.transcode.clone().unwrap_or_else(|| self.transcode.clone()),
            record: own.record.clone().over(&self.record),
            auth: own.auth.clone().over(&self.auth),
            hooks: own.hooks.clone().over(&self.hooks),
        }
    }

    /// The files with CA certificates that `hooks` name, the first key that names each, and whether an `https` back end
    /// is called without one.
    pub fn hook_authorities(&self) -> (BTreeMap<PathBuf, String>, bool) {
        let (mut files, mut is_of_system) = (BTreeMap::new(), false);
        for name in [DEFAULT_VHOST].into_iter().chain(self.vhosts.keys().map(String::as_str)) {
            let hooks = self.vhost(name).hooks;
            let is_own = self.vhosts.get(name).is_some_and(|own| own.hooks.ca.is_some());
            let path =
                if is_own { format!("vhosts.{name}.hooks.ca") } else { "hooks.ca".to_owned() };
            // The heartbeat is sent as hooks are that no vhost has changed.
            let beat = self.heartbeat.url.iter().filter(|_| name == DEFAULT_VHOST);
            let urls = hooks.lists().into_iter().flat_map(|(_, urls)| urls);
            let has_tls = urls.chain(beat).any(|url| url.is_tls);
            match hooks.ca {
                Some(file) => drop(files.entry(file).or_insert(path)),
                None => is_of_system |= has_tls,
            }
        }
        (files, is_of_system)
    }

    /// The TLS of the ports for encoders and viewers, where there is some.
    pub fn port_tls(&self) -> impl Iterator<Item = PortTls<'_>> {
        let rtmp = self.rtmp.tls.as_ref().map(RtmpTls::port);
        rtmp.into_iter().chain(self.http.tls.as_ref().map(HttpTls::port))
    }

    /// All addresses to listen on, by the section that has the key `listen`.
    pub fn listeners(&self) -> impl Iterator<Item = (&'static str, &[SocketAddr])> {
        let plain: [(_, &[SocketAddr]); 4] = [
            ("rtmp", &self.rtmp.listen),
            ("http", &self.http.listen),
            ("api", &self.api.listen),
            ("metrics", &self.metrics.listen),
        ];
        plain.into_iter().chain(self.port_tls().map(|port| (port.section, port.listen)))
    }

    /// The section for viewers that listens at this address of the API as well, which has no listener of its own then.
    pub fn shared_with(&self, address: SocketAddr) -> Option<&'static str> {
        let has = |listen: &[SocketAddr]| address.port() != 0 && listen.contains(&address);
        match &self.http.tls {
            _ if has(&self.http.listen) => Some("http"),
            Some(tls) if has(&tls.listen) => Some("http.tls"),
            _ => None,
        }
    }

    /// The folders that HLS is written to, and the first key that names each. An edge writes none, and neither does who
    /// names none.
    pub fn hls_dirs(&self) -> BTreeMap<PathBuf, String> {
        let mut dirs = BTreeMap::new();
        if self.role == Role::Edge {
            return dirs;
        }
        for name in [DEFAULT_VHOST].into_iter().chain(self.vhosts.keys().map(String::as_str)) {
            let hls = self.vhost(name).hls;
            let is_own = self.vhosts.get(name).is_some_and(|own| own.hls.dir.is_some());
            let path = if is_own { format!("vhosts.{name}.hls.dir") } else { "hls.dir".to_owned() };
            if hls.enabled && !hls.dir.as_os_str().is_empty() {
                dirs.entry(hls.dir).or_insert(path);
            }
        }
        dirs
    }

    /// All of `forward`, with the path of each: `forward[0]`, `vhosts.a.org.forward[1]`. An edge forwards nothing.
    pub fn forwards(&self) -> impl Iterator<Item = (String, &Forward)> {
        let vhosts = self.vhosts.iter().filter_map(|(name, own)| {
            Some((format!("vhosts.{name}.forward"), own.forward.as_ref()?))
        });
        let all = [("forward".to_owned(), &self.forward)].into_iter().chain(vhosts);
        let all = all.filter(|_| self.role == Role::Origin);
        all.flat_map(|(path, list)| {
            let numbered = list.iter().enumerate();
            numbered.map(move |(number, forward)| (format!("{path}[{number}]"), forward))
        })
    }

    /// All programs that run for streams, with the path of each list. An edge runs none.
    pub fn programs(&self) -> impl Iterator<Item = (String, &[Exec], &[Transcode])> {
        let vhosts = self.vhosts.iter().map(|(name, own)| {
            let (exec, transcode) = (own.exec.as_deref(), own.transcode.as_deref());
            (format!("vhosts.{name}."), exec.unwrap_or_default(), transcode.unwrap_or_default())
        });
        let all = [(String::new(), &*self.exec, &*self.transcode)].into_iter().chain(vhosts);
        all.filter(|_| self.role == Role::Origin)
    }

    /// The folders that recordings are written below, and the first key that names each. An edge records nothing.
    pub fn record_dirs(&self) -> BTreeMap<PathBuf, String> {
        let mut dirs = BTreeMap::new();
        if self.role == Role::Edge {
            return dirs;
        }
        for name in [DEFAULT_VHOST].into_iter().chain(self.vhosts.keys().map(String::as_str)) {
            let record = self.vhost(name).record;
            let is_own = self.vhosts.get(name).is_some_and(|own| own.record.dir.is_some());
            let path =
                if is_own { format!("vhosts.{name}.record.dir") } else { "record.dir".to_owned() };
            if record.is_possible() {
                dirs.entry(record.dir).or_insert(path);
            }
        }
        dirs
    }

    /// What is kept of the recordings in `dir`: what is strictest of all vhosts that record there.
    pub fn record_keep(&self, dir: &Path) -> Keep {
        let names = [DEFAULT_VHOST].into_iter().chain(self.vhosts.keys().map(String::as_str));
        let records = names.map(|name| self.vhost(name).record).filter(|record| record.dir == dir);
        let all: Vec<_> = records.map(|record| record.keep).collect();
        let ages = all.iter().map(|keep| keep.age).filter(|age| !age.is_zero());
        let sizes = all.iter().map(|keep| keep.size).filter(|size| *size > 0);
        Keep { age: ages.min().unwrap_or_default(), size: sizes.min().unwrap_or_default() }
    }

    /// The vhost and the streams that `pull` means.
    pub fn pulled(&self, pull: &Pull) -> Option<(String, StreamPattern)> {
        self.named(&pull.stream)
    }

    /// The stream that `pull` means, if it is a single one.
    pub fn pulled_stream(&self, pull: &Pull) -> Option<StreamKey> {
        self.named_stream(&pull.stream)
    }

    /// The stream that `ingest` brings in.
    pub fn ingested(&self, ingest: &Ingest) -> Option<StreamKey> {
        self.named_stream(&ingest.stream)
    }

    /// The vhost and the streams that `text` means. Its first part names a vhost if there is one of that name.
    fn named(&self, text: &str) -> Option<(String, StreamPattern)> {
        let named = text.split_once('/').and_then(|(first, rest)| {
            let vhost = match self.vhost_name(first) {
                Some(vhost) => vhost,
                None if first == DEFAULT_VHOST => DEFAULT_VHOST,
                None => return None,
            };
            Some((vhost.to_owned(), StreamPattern::parse(rest).ok()?))
        });
        named.or_else(|| Some((DEFAULT_VHOST.to_owned(), StreamPattern::parse(text).ok()?)))
    }

    fn named_stream(&self, text: &str) -> Option<StreamKey> {
        let (vhost, streams) = self.named(text).filter(|_| !text.contains('*'))?;
        let name = streams.to_string();
        let (app, stream) = name.rsplit_once('/')?;
        StreamKey::new(&vhost, app, stream).ok()
    }

    /// The configured vhost that is meant by `asked`. Names of hosts are the same in upper and lower case, and with a
    /// dot at the end.
    pub(crate) fn vhost_name(&self, asked: &str) -> Option<&str> {
        if let Some((name, _)) = self.vhosts.get_key_value(asked) {
            return Some(name);
        }
        let host = without_dot(without_port(asked));
        let mut names = self.vhosts.keys().map(String::as_str);
        names.find(|name| without_dot(name).eq_ignore_ascii_case(host))
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

impl Words for Role {
    const WORDS: &'static [(&'static str, Self)] =
        &[("origin", Self::Origin), ("edge", Self::Edge)];
}

section! {
    /// RTMP listeners.
    Rtmp / RtmpKeys {
        /// Addresses to listen on; empty disables RTMP, port 0 takes any free port.
        listen: Vec<SocketAddr> = everywhere(1935), Many<Address>;
        /// Chunk size for sending, in bytes.
        chunk_size: u32 = 60_000, Whole<u32, CHUNK_SIZE_MIN, CHUNK_SIZE_MAX>;
        /// Whether each connection starts with a PROXY protocol header (version 1 or 2).
        proxy_protocol: bool = false, Switch;
        /// RTMPS: RTMP over TLS, on ports of its own.
        tls: Option<RtmpTls> = None, Optional<RtmpTls>;
    }
}

/// What RTMP starts with, and the least that SRS allows.
const CHUNK_SIZE_MIN: u64 = 128;
/// The most that SRS allows; nothing is gained above, since one chunk then holds nearly every frame.
const CHUNK_SIZE_MAX: u64 = 65_536;

section! {
    /// HTTP listeners for viewers: HTTP-FLV, HLS, pages.
    Http / HttpKeys {
        /// Addresses to listen on; empty disables HTTP, port 0 takes any free port.
        listen: Vec<SocketAddr> = everywhere(8080), Many<Address>;
        /// Whether each connection starts with a PROXY protocol header (version 1 or 2).
        proxy_protocol: bool = false, Switch;
        /// Proxies whose `X-Forwarded-For` is trusted.
        trusted_proxies: Vec<IpNet> = Vec::new(), Many<Network>;
        /// Sites whose pages may show the player in a frame, as `https://example.com`, or `*` for all; empty allows none.
        embed: Vec<String> = Vec::new(), Many<Embedder>;
        /// HTTPS: HTTP over TLS, on ports of its own.
        tls: Option<HttpTls> = None, Optional<HttpTls>;
    }
}

section! {
    /// HTTP listeners for operators: API, metrics, health.
    Api / ApiKeys {
        /// Addresses to listen on; empty disables the API, port 0 takes any free port.
        listen: Vec<SocketAddr> = everywhere(1985), Many<Address>;
        /// Bearer tokens with all rights. Without any, nobody can change anything, except with a certificate.
        admin_tokens: Vec<Secret> = Vec::new(), Many<Secret>;
        /// Bearer tokens that may read `/api/v1` and `/metrics`.
        read_tokens: Vec<Secret> = Vec::new(), Many<Secret>;
        /// Addresses that may read `/api/v1` without a token, if there are no read tokens.
        read_from: Vec<IpNet> = loopback(), Many<Network>;
        /// TLS of the API; without it, plain HTTP.
        tls: Option<Tls> = None, Optional<Tls>;
        /// The APIs of the other nodes, for `?scope=cluster`. A name means all its addresses.
        peers: Vec<HostPort> = Vec::new(), Many<Peer>;
        /// The bearer token sent to peers.
        peer_token: Option<Secret> = None, SecretOrNone;
        /// A name and a password with all rights (HTTP Basic). With them, reading needs rights too.
        basic: Option<Basic> = None, Optional<Basic>;
        /// Web origins whose pages may read `/api/v1` from a browser (CORS, JSONP); `*` means all pages.
        web_origins: Vec<WebOrigin> = Vec::new(), Many<WebOrigin>;
        /// Whether `GET /api/v1/raw?rpc=reload` reloads, as `raw_api` of SRS allows.
        raw_reload: bool = false, Switch;
        /// Whether the refusals that SRS answers with status 200 and a code have that status here.
        srs_status: bool = false, Switch;
    }
}

section! {
    /// A name and a password. Both are there: a [`Config`] with one alone is refused.
    Basic / BasicKeys {
        /// The user name.
        username: String = String::new(), UserName;
        /// The password.
        password: Option<Secret> = None, SecretOrNone;
    }
}

section! {
    /// The TLS of a listener. Certificate and key are both there: a [`Config`] with one alone is refused.
    Tls / TlsKeys {
        /// The PEM file with the certificate and the intermediate certificates.
        cert: PathBuf = PathBuf::new(), File;
        /// The PEM file with the certificate's private key.
        key: PathBuf = PathBuf::new(), File;
        /// The PEM file with the CA certificates whose clients have all rights.
        admin_ca: Option<PathBuf> = None, Maybe<File>;
        /// The PEM file with the CA certificates whose clients may read.
        read_ca: Option<PathBuf> = None, Maybe<File>;
    }
}

fn loopback() -> Vec<IpNet> {
    let whole = |ip: IpAddr, prefix| IpNet::new_assert(ip, prefix);
    vec![whole(Ipv4Addr::LOCALHOST.into(), 8).trunc(), whole(Ipv6Addr::LOCALHOST.into(), 128)]
}

section! {
    /// Limits of the process.
    Limits / LimitsKeys {
        /// Concurrent connections, over all listeners; 0 means no limit.
        connections: usize = 20_000, Whole<usize, 0, CONNECTIONS_MAX>;
        /// Total bit rate sent to all viewers; 0 means no limit.
        egress: u64 = 0, BitRate;
        /// Concurrent viewers of one stream; 0 means no limit.
        viewers_per_stream: usize = 0, Whole<usize, 0, CONNECTIONS_MAX>;
        /// Concurrent connections from one client address; 0 means no limit.
        connections_per_ip: usize = 0, Whole<usize, 0, CONNECTIONS_MAX>;
        /// Bytes that the logs of all streams may hold together.
        memory: u64 = 2 << 30, Bytes<MEMORY_MIN>;
        /// Bytes that one log of one stream may hold, whatever its publisher sends.
        stream_memory: u64 = 64 << 20, Bytes<STREAM_MEMORY_MIN>;
    }
}

/// More than any machine holds; a greater number is a slip.
const CONNECTIONS_MAX: u64 = 10_000_000;
/// Below, a few streams are enough to have every log cut to its newest media all the time.
const MEMORY_MIN: u64 = 16 << 20;
/// Below, common streams lose the start of their group of pictures, and nobody can join them.
const STREAM_MEMORY_MIN: u64 = 1 << 20;

section! {
    /// What `/metrics` shows.
    Metrics / MetricsKeys {
        /// Streams with their own series: those with the most viewers. The others are counted together.
        streams: usize = 20, Whole<usize, 0, METRICS_STREAMS_MAX>;
        /// Further addresses that serve `/metrics` and the probes, and nothing else, such as SRS's port 9972.
        listen: Vec<SocketAddr> = Vec::new(), Many<Address>;
        /// The label `label` of `srs_build_info`; without it, there is none.
        label: String = String::new(), LabelValue;
        /// The label `tag` of `srs_build_info`; without it, there is none.
        tag: String = String::new(), LabelValue;
    }
}

/// Each is a dozen series, which every scrape carries and the monitoring keeps.
const METRICS_STREAMS_MAX: u64 = 1000;

section! {
    /// How the process shuts down.
    Drain / DrainKeys {
        /// How long clients are still served while `/readyz` answers 503, so that load balancers notice.
        notice: Duration = Duration::from_secs(5), Time<0, DRAIN_MAX>;
        /// Time from the signal until the process exits, whoever is still connected.
        timeout: Duration = Duration::from_secs(60), Time<DRAIN_MIN, DRAIN_MAX>;
    }
}

/// Clients that are let go at once all come back at once, elsewhere.
const DRAIN_MIN: u64 = 1000;
/// Whoever waits for the end, a rollout or a node that is emptied, waits for as long.
const DRAIN_MAX: u64 = 3_600_000;

section! {
    /// How a new process takes over from the running one.
    Handover / HandoverKeys {
        /// The unix socket for handing over listeners; without it, they are not handed over.
        socket: Option<PathBuf> = None, Maybe<File>;
    }
}

section! {
    /// Settings of one vhost.
    VhostOverride / VhostKeys {
        /// How publishers are treated.
        publish: PublishOverride = PublishOverride::default(), Own<Publish>;
        /// How viewers are treated.
        play: PlayOverride = PlayOverride::default(), Own<Play>;
        /// The HLS output.
        hls: HlsOverride = HlsOverride::default(), Own<Hls>;
        /// Streams that go on to other servers.
        forward: Option<Vec<Forward>> = None, Maybe<Many<Forward>>;
        /// Programs that run while a stream is published.
        exec: Option<Vec<Exec>> = None, Maybe<Many<Exec>>;
        /// Streams that FFmpeg makes of others.
        transcode: Option<Vec<Transcode>> = None, Maybe<Many<Transcode>>;
        /// Recording.
        record: RecordOverride = RecordOverride::default(), Own<Record>;
        /// Who may publish and who may play.
        auth: AuthOverride = AuthOverride::default(), Own<Auth>;
        /// Which back end is told and asked what, over HTTP.
        hooks: HooksOverride = HooksOverride::default(), Own<Hooks>;
    }
}

/// Vhosts by name, each name fit for a [`StreamKey`].
pub struct Vhosts;

impl Leaf for Vhosts {
    type Value = BTreeMap<String, VhostOverride>;
    const FORM: Form = Form::Map;

    fn read(from: &Node) -> Result<Self::Value, Refusal> {
        if from.is_null() {
            return Ok(BTreeMap::new());
        }
        let vhost = |(key, value): &(Key, Node)| {
            let name = key.read(vhost_name)?;
            let own = Part::<VhostOverride>::read(value).map_err(|refusal| refusal.behind(key))?;
            Ok((name, own.over(&VhostOverride::default())))
        };
        from.entries()?.iter().map(vhost).collect()
    }

    fn show(vhosts: &Self::Value, secrets: Secrets) -> Json {
        vhosts.iter().map(|(name, own)| (name.clone(), shown_vhost(own, secrets))).collect()
    }

    fn schema() -> Json {
        json!({
            "type": ["object", "null"],
            "additionalProperties": VhostOverride::schema(None),
            "propertyNames": { "pattern": "^[^/]+$" },
        })
    }
}

/// Sections that set nothing are left out.
fn shown_vhost(own: &VhostOverride, secrets: Secrets) -> Json {
    let mut shown = own.show(secrets);
    if let Json::Object(sections) = &mut shown {
        let is_set =
            |keys: &Json| keys.is_array() || keys.as_object().is_some_and(|keys| !keys.is_empty());
        sections.retain(|_, keys| is_set(keys));
    }
    shown
}

fn vhost_name(text: &str) -> Result<String, Problem> {
    match StreamKey::new(text, "app", "stream") {
        Ok(_) => Ok(text.to_owned()),
        Err(why) => Err(Problem::new(why.to_string(), "use a host name")),
    }
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
    /// Streams that go on to other servers.
    pub forward: Vec<Forward>,
    /// Programs that run while a stream is published.
    pub exec: Vec<Exec>,
    /// Streams that FFmpeg makes of others.
    pub transcode: Vec<Transcode>,
    /// Recording.
    pub record: Record,
    /// Who may publish and who may play.
    pub auth: Auth,
    /// Which back end is told and asked what, over HTTP.
    pub hooks: Hooks,
}
