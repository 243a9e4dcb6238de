//! What no single value shows: settings that contradict each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use weir_media::DEFAULT_VHOST;

use super::{
    Algorithm, Check, Cidr, Config, Container, Fault, Jwt, OriginName, PullFrom, PullPlace,
    PullProtocol, Role,
    host::without_dot,
    mount,
    value::{Human, Problem, Size},
};

/// Two settings that contradict each other, each seen from its own side, the better place for a message first. One of
/// them may be a default, which stands nowhere in the text.
pub(super) struct Contradiction(pub(super) [(String, Problem); 2]);

impl Config {
    /// Whether no two settings contradict each other: for a configuration that was not read, but made by a program.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), Fault> {
        match contradiction(self) {
            Some(Contradiction([(path, Problem { what, fix }), _])) => {
                Err(Fault::new(path, what, fix))
            }
            None => Ok(()),
        }
    }
}

/// The first contradiction in `config`.
pub(super) fn contradiction(config: &Config) -> Option<Contradiction> {
    shared_address(config)
        .or_else(|| api_beside_streams(config))
        .or_else(|| small_memory(config))
        .or_else(|| role_without_its_settings(config))
        .or_else(|| same_origin_twice(config))
        .or_else(|| origin_is_this_edge(config))
        .or_else(|| pull_that_cannot_be(config))
        .or_else(|| ingested_twice(config))
        .or_else(|| early_give_up(config))
        .or_else(|| half_tls(config))
        .or_else(|| half_basic(config))
        .or_else(|| half_port_tls(config))
        .or_else(|| long_notice(config))
        .or_else(|| useless_check(config))
        .or_else(|| forward_to_nobody(config))
        .or_else(|| nobody_to_ask(config))
        .or_else(|| token_of_no_edge(config))
        .or_else(|| same_vhost_twice(config))
        .or_else(|| parts_that_cannot_be(config))
        .or_else(|| long_ladder(config))
        .or_else(|| mounts(config).map(|(path, problem)| alone(&path, problem)))
}

fn shared_address(config: &Config) -> Option<Contradiction> {
    let mut all = Vec::new();
    for (section, listen) in config.listeners() {
        let numbered = listen.iter().enumerate();
        all.extend(numbered.map(|(number, &address)| Listener { section, number, address }));
    }
    let pairs = all.iter().enumerate().flat_map(|(i, b)| all[..i].iter().map(move |a| (a, b)));
    let (a, b) =
        pairs.into_iter().find(|(a, b)| overlap(a.address, b.address) && !are_one(config, a, b))?;
    Some(Contradiction([b.taken_by(a), a.taken_by(b)]))
}

/// Whether two listeners are meant to be one: that of the API and one for viewers, at the same address.
fn are_one(config: &Config, a: &Listener, b: &Listener) -> bool {
    let api = [(a, b), (b, a)].into_iter().find(|(it, _)| it.section == "api");
    api.is_some_and(|(api, other)| {
        api.address == other.address && config.shared_with(api.address) == Some(other.section)
    })
}

/// What cannot hold for the API where it is at the address of a listener for viewers: that one decides about TLS, and a
/// PROXY header would say where a client is whom the API trusts for being there.
fn api_beside_streams(config: &Config) -> Option<Contradiction> {
    let (number, address, section) = config
        .api
        .listen
        .iter()
        .enumerate()
        .find_map(|(number, it)| Some((number, it, config.shared_with(*it)?)))?;
    let key = match (&config.api.tls, config.http.proxy_protocol) {
        (Some(_), _) => "api.tls",
        (None, true) => "http.proxy_protocol",
        (None, false) => return None,
    };
    let what =
        format!("the API shares {address} with {section}.listen, where {key} cannot hold for it");
    let fix = match key {
        "api.tls" => "give the API a port of its own, or remove api.tls: TLS for both is http.tls",
        _ => "give the API a port of its own",
    };
    let side = |path: String| (path, Problem::new(what.clone(), fix));
    Some(Contradiction([side(key.to_owned()), side(format!("api.listen[{number}]"))]))
}

struct Listener {
    section: &'static str,
    number: usize,
    address: SocketAddr,
}

impl Listener {
    fn taken_by(&self, other: &Self) -> (String, Problem) {
        let what = format!(
            "{} is already used by {}.listen ({})",
            self.address, other.section, other.address
        );
        let path = format!("{}.listen[{}]", self.section, self.number);
        (path, Problem::new(what, "give each listener its own port"))
    }
}

/// Whether the system would let only one of the two listen.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && a.is_ipv4() == b.is_ipv4() && same_ip
}

fn small_memory(config: &Config) -> Option<Contradiction> {
    let (all, one) = (Size(config.limits.memory), Size(config.limits.stream_memory));
    let side = |key: &str, what, fix| (format!("limits.{key}"), Problem::new(what, fix));
    (one.0 > all.0).then(|| {
        Contradiction([
            side(
                "stream_memory",
                format!("{one} is more than limits.memory ({all})"),
                format!("use {all} or less"),
            ),
            side(
                "memory",
                format!("{all} is less than limits.stream_memory ({one})"),
                format!("use {one} or more, or lower limits.stream_memory"),
            ),
        ])
    })
}

fn role_without_its_settings(config: &Config) -> Option<Contradiction> {
    let side = |path: &str, what: &str, fix: &str| (path.to_owned(), Problem::new(what, fix));
    match (config.role, config.edge.origins.is_empty()) {
        (Role::Edge, true) => {
            let what = "an edge needs at least one origin, but edge.origins is empty";
            let fix = "set edge: { origins: [\"rtmp://HOST:1935\"] }";
            Some(Contradiction([side("role", what, fix), side("edge.origins", what, fix)]))
        }
        (Role::Origin, false) => Some(Contradiction([
            side(
                "edge.origins",
                "is set, but role is origin, and an origin does not pull from other servers",
                "add role: edge, or remove edge.origins",
            ),
            side(
                "role",
                "an origin does not pull from other servers, but edge.origins is set",
                "use role: edge, or remove edge.origins",
            ),
        ])),
        _ => None,
    }
}

fn same_origin_twice(config: &Config) -> Option<Contradiction> {
    let origins = &config.edge.origins;
    let first = |second: &OriginName| origins.iter().position(|origin| origin == second);
    let mut pairs = origins.iter().enumerate().filter_map(|(i, o)| Some((first(o)?, i, o)));
    let (first, second, origin) = pairs.find(|(first, second, _)| first < second)?;
    let side = |path: usize, other: usize| {
        let what = format!("{origin} is listed twice (also as edge.origins[{other}])");
        (format!("edge.origins[{path}]"), Problem::new(what, "keep one of them"))
    };
    Some(Contradiction([side(second, first), side(first, second)]))
}

/// Loops through names and through other edges are seen only when they are tried.
fn origin_is_this_edge(config: &Config) -> Option<Contradiction> {
    if config.role != Role::Edge {
        return None;
    }
    let Config { rtmp, http, edge, .. } = config;
    let ours = |ports: &[SocketAddr], origin: &OriginName, port| {
        ports.iter().find(|ours| reaches(&origin.host, port, **ours)).copied()
    };
    edge.origins.iter().enumerate().find_map(|(number, origin)| {
        let loops = |what: String, fix: &str| {
            let problem = || Problem::new(format!("a loop: {what}"), fix);
            let path = format!("edge.origins[{number}]");
            // Without origins there is no loop: they do stand in the text.
            Contradiction([(path.clone(), problem()), (path, problem())])
        };
        if let Some(ours) = ours(&rtmp.listen, origin, origin.port)
            && origin.scheme.is_rtmp()
        {
            let what = format!("{origin} is this edge itself (rtmp.listen: {ours})");
            return Some(loops(what, "name the origin, or give the edge another port"));
        }
        let port = origin.http_port(edge.http_port);
        let ours = ours(&http.listen, origin, port)?;
        let what =
            format!("port {port} of {} is this edge itself (http.listen: {ours})", origin.host);
        Some(loops(what, "set edge.http_port to the HTTP port of the origin"))
    })
}

/// A stream that is pulled twice, and a stream that is pulled from itself. Loops through names and
/// through other servers are seen only when they are tried.
fn pull_that_cannot_be(config: &Config) -> Option<Contradiction> {
    config.pull.iter().enumerate().find_map(|(number, pull)| {
        let path = |key: &str| format!("pull[{number}].{key}");
        let (vhost, streams) = config.pulled(pull)?;
        let before = config.pull[..number].iter();
        let is_twice = before
            .clone()
            .any(|other| config.pulled(other) == Some((vhost.clone(), streams.clone())));
        if is_twice {
            let what = format!("{} is pulled twice", pull.stream);
            return Some(alone(&path("stream"), Problem::new(what, "keep one of them")));
        }
        let PullPlace::Server(server) = pull.from.place() else { return None };
        let (service, listen) = match (server.protocol, server.is_tls) {
            (PullProtocol::Rtmp, false) => ("rtmp", &*config.rtmp.listen),
            (PullProtocol::Flv, false) => ("http", &*config.http.listen),
            (PullProtocol::Rtmp, true) => {
                ("rtmp.tls", config.rtmp.tls.as_ref().map_or(&[][..], |tls| &tls.listen))
            }
            (PullProtocol::Flv, true) => {
                ("http.tls", config.http.tls.as_ref().map_or(&[][..], |tls| &tls.listen))
            }
        };
        let ours = listen.iter().find(|ours| reaches(&server.host, server.port, **ours))?;
        // With names that are the same on both sides it is the very stream.
        let name = streams.to_string();
        let (app, stream) = name.rsplit_once('/')?;
        let placeholder = if pull.is_pattern() { "{stream}" } else { stream };
        let url = pull.from.of(app, placeholder);
        let path_of_url =
            PullFrom::target(&url).split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        let path_of_url = path_of_url.strip_suffix(".flv").unwrap_or(path_of_url);
        (path_of_url == format!("{app}/{placeholder}") && vhost == DEFAULT_VHOST).then(|| {
            let what =
                format!("a loop: {} is this server itself ({service}.listen: {ours})", pull.from);
            alone(&path("from"), Problem::new(what, "name the other server, or another stream"))
        })
    })
}

/// A stream that two programs bring in, or a program and a pull: each would take it from the other.
fn ingested_twice(config: &Config) -> Option<Contradiction> {
    let mut keys: Vec<_> = config.pull.iter().filter_map(|it| config.pulled_stream(it)).collect();
    config.ingest.iter().enumerate().find_map(|(number, ingest)| {
        let key = config.ingested(ingest)?;
        if !keys.contains(&key) {
            keys.push(key);
            return None;
        }
        let what = format!("{} is brought in twice", ingest.stream);
        let problem = Problem::new(what, "keep one of them, in ingest or in pull");
        Some(alone(&format!("ingest[{number}].stream"), problem))
    })
}

/// Whether a connection to `host` and `port` certainly ends at the listener `ours`.
fn reaches(host: &str, port: u16, ours: SocketAddr) -> bool {
    let ips: &[IpAddr] = match host.parse() {
        Ok(ip) => &[ip],
        Err(_) if host == "localhost" => {
            &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
        }
        Err(_) => &[],
    };
    let is_ours = |ip: &IpAddr| {
        let any = ours.ip().is_unspecified() && ip.is_loopback();
        ours.ip() == *ip || (any && ours.is_ipv4() == ip.is_ipv4())
    };
    port == ours.port() && ips.iter().any(is_ours)
}

/// More to choose from than anybody encodes. Each request for it looks at all of them.
const LADDER_MAX: usize = 12;

fn long_ladder(config: &Config) -> Option<Contradiction> {
    let vhosts = config.vhosts.iter();
    let own = vhosts
        .filter_map(|(name, own)| Some((format!("vhosts.{name}."), own.hls.ladder.as_ref()?)));
    let mut all = std::iter::once((String::new(), &config.hls.ladder)).chain(own);
    all.find(|(_, ladder)| ladder.len() > LADDER_MAX).map(|(place, ladder)| {
        let what = format!("has {} streams, more than {LADDER_MAX}", ladder.len());
        let problem = || Problem::new(what.clone(), format!("keep {LADDER_MAX} of them"));
        let path = format!("{place}hls.ladder");
        Contradiction([(path.clone(), problem()), (path, problem())])
    })
}

/// Low latency that the container cannot have, or parts longer than their segments; of all streams, and of each vhost.
fn parts_that_cannot_be(config: &Config) -> Option<Contradiction> {
    let vhosts =
        config.vhosts.iter().map(|(name, own)| (Some((name, &own.hls)), config.vhost(name).hls));
    std::iter::once((None, config.hls.clone())).chain(vhosts).find_map(|(vhost, hls)| {
        let side = |key: &str, what: String, fix: &str| {
            let is_own = vhost.is_some_and(|(_, own)| match key {
                "part" => own.part.is_some(),
                "container" => own.container.is_some(),
                _ => own.segment.is_some(),
            });
            let vhost = vhost.filter(|_| is_own).map(|(name, _)| format!("vhosts.{name}."));
            (format!("{}hls.{key}", vhost.unwrap_or_default()), Problem::new(what, fix))
        };
        let (part, segment) = (Human(hls.parts()?), Human(hls.segment));
        if hls.container == Container::Ts {
            let fix = "use container: auto or fmp4, or part: 0s";
            return Some(Contradiction([
                side("part", "segments of MPEG-TS (container: ts) have no parts".to_owned(), fix),
                side("container", format!("segments of MPEG-TS have no parts (part: {part})"), fix),
            ]));
        }
        (hls.part > hls.segment).then(|| {
            let fix = "use part: 200ms, or a segment at least as long as the part";
            Contradiction([
                side("part", format!("{part} is longer than hls.segment ({segment})"), fix),
                side("segment", format!("{segment} is shorter than hls.part ({part})"), fix),
            ])
        })
    })
}

fn early_give_up(config: &Config) -> Option<Contradiction> {
    let (give_up, dead_after) = (config.edge.give_up, config.edge.dead_after);
    let (shown, dead) = (Human(give_up), Human(dead_after));
    let side = |key: &str, what, fix| (format!("edge.{key}"), Problem::new(what, fix));
    (give_up < dead_after).then(|| {
        Contradiction([
            side(
                "give_up",
                format!("{shown} is shorter than edge.dead_after ({dead})"),
                format!(
                    "use {dead} or more, so that a dead origin is detected before the stream is given up"
                ),
            ),
            side(
                "dead_after",
                format!("{dead} is longer than edge.give_up ({shown})"),
                format!("use {shown} or less, or raise edge.give_up"),
            ),
        ])
    })
}

fn half_port_tls(config: &Config) -> Option<Contradiction> {
    const FIX: &str = "set both files of each: certificates: [{ cert: FILE, key: FILE }]";
    config.port_tls().find_map(|port| {
        let section = port.section;
        let side = |path: String, what: &str| (path, Problem::new(what, FIX));
        if port.certificates.is_empty() {
            let what = "TLS needs a certificate and its private key";
            let paths = [format!("{section}.certificates"), section.to_owned()];
            return Some(Contradiction(paths.map(|path| side(path, what))));
        }
        port.certificates.iter().enumerate().find_map(|(number, files)| {
            let at = |key: &str| format!("{section}.certificates[{number}].{key}");
            let is_missing = |path: &std::path::Path| path.as_os_str().is_empty();
            let (there, what) = match (is_missing(&files.cert), is_missing(&files.key)) {
                (false, false) => return None,
                (false, true) => (at("cert"), "a certificate needs its private key"),
                (true, false) => (at("key"), "a private key needs its certificate"),
                (true, true) => {
                    let whole = format!("{section}.certificates[{number}]");
                    (whole, "TLS needs a certificate and its private key")
                }
            };
            let list = format!("{section}.certificates");
            Some(Contradiction([there, list].map(|path| side(path, what))))
        })
    })
}

fn half_tls(config: &Config) -> Option<Contradiction> {
    let tls = config.api.tls.as_ref()?;
    let (cert, key) = (tls.cert.as_os_str().is_empty(), tls.key.as_os_str().is_empty());
    let fix = "set both files: tls: { cert: FILE, key: FILE }";
    let one = |path: &str, what: &str| Some(alone(path, Problem::new(what, fix)));
    match (cert, key) {
        (false, false) => None,
        (false, true) => {
            one("api.tls.cert", "a certificate needs its private key, but api.tls.key is not set")
        }
        (true, false) => {
            one("api.tls.key", "a private key needs its certificate, but api.tls.cert is not set")
        }
        (true, true) => {
            let what = "TLS needs a certificate and its private key";
            let side = |path: &str| (path.to_owned(), Problem::new(what, fix));
            // What else was set may stand alone in a variable.
            let other = if tls.admin_ca.is_some() { "api.tls.admin_ca" } else { "api.tls.read_ca" };
            Some(Contradiction([side("api.tls"), side(other)]))
        }
    }
}

fn half_basic(config: &Config) -> Option<Contradiction> {
    let basic = config.api.basic.as_ref()?;
    let fix = "set both: basic: { username: admin, password: PASSWORD }";
    let both = |first: &str, second: &str, what: &str| {
        let side = |path: &str| (path.to_owned(), Problem::new(what, fix));
        Some(Contradiction([side(first), side(second)]))
    };
    let (name, password) = ("api.basic.username", "api.basic.password");
    match (basic.username.is_empty(), basic.password.is_some()) {
        (false, true) => None,
        (false, false) => both(name, "api.basic", "a user name needs its password"),
        (true, true) => both(password, "api.basic", "a password needs its user name"),
        (true, false) => both("api.basic", name, "a user name and a password are needed"),
    }
}

/// What one setting shows alone, but only where all sources have been read.
fn alone(path: &str, problem: Problem) -> Contradiction {
    Contradiction([(path.to_owned(), problem.clone()), (path.to_owned(), problem)])
}

fn long_notice(config: &Config) -> Option<Contradiction> {
    let (notice, timeout) = (Human(config.drain.notice), Human(config.drain.timeout));
    let side = |key: &str, what, fix| (format!("drain.{key}"), Problem::new(what, fix));
    (notice.0 >= timeout.0).then(|| {
        Contradiction([
            side(
                "notice",
                format!("{notice} is not shorter than drain.timeout ({timeout})"),
                "use less, to leave time for disconnecting clients".to_owned(),
            ),
            side(
                "timeout",
                format!("{timeout} is not longer than drain.notice ({notice})"),
                format!("use more than {notice}, or lower drain.notice"),
            ),
        ])
    })
}

/// Names of hosts are the same in upper and lower case: only one of two such vhosts would ever be meant.
fn same_vhost_twice(config: &Config) -> Option<Contradiction> {
    let same = |a: &str, b: &str| without_dot(a).eq_ignore_ascii_case(without_dot(b));
    let names = config.vhosts.keys();
    let mut pairs =
        names.enumerate().flat_map(|(i, b)| config.vhosts.keys().take(i).map(move |a| (a, b)));
    let (a, b) = pairs.find(|(a, b)| same(a, b))?;
    let side = |name: &str, other: &str| {
        let what = format!("{name} and {other} are the same host name");
        (format!("vhosts.{name}"), Problem::new(what, "keep one of them"))
    };
    Some(Contradiction([side(b, a), side(a, b)]))
}

/// Streams that would go nowhere.
fn forward_to_nobody(config: &Config) -> Option<Contradiction> {
    let (path, _) = config.forwards().find(|(_, forward)| forward.to.is_empty())?;
    Some(alone(&path, Problem::new("has no target", "write to: rtmp://HOST/APP/STREAM")))
}

/// A check that everybody passes, or nobody.
fn useless_check(config: &Config) -> Option<Contradiction> {
    let vhosts = config.vhosts.iter().flat_map(|(name, own)| {
        let of = |list| format!("vhosts.{name}.auth.{list}");
        [(of("publish"), own.auth.publish.as_ref()), (of("play"), own.auth.play.as_ref())]
    });
    let all = [("auth.publish", &config.auth.publish), ("auth.play", &config.auth.play)];
    let all = all.into_iter().map(|(path, checks)| (path.to_owned(), Some(checks)));
    all.chain(vhosts).find_map(|(path, checks)| {
        checks?.iter().enumerate().find_map(|(number, check)| {
            let path = format!("{path}[{number}].{}", check.name());
            useless(check).map(|problem| alone(&path, problem))
        })
    })
}

/// The check `hook` where there is nobody to ask, of all streams or of one vhost.
fn nobody_to_ask(config: &Config) -> Option<Contradiction> {
    let own = config.vhosts.keys().map(|name| (format!("vhosts.{name}."), config.vhost(name)));
    let mut all = std::iter::once((String::new(), config.vhost(DEFAULT_VHOST))).chain(own);
    all.find_map(|(place, vhost)| {
        let lists = [
            ("publish", &vhost.auth.publish, &vhost.hooks.on_publish),
            ("play", &vhost.auth.play, &vhost.hooks.on_play),
        ];
        let mut idle = lists.into_iter().filter(|(_, checks, urls)| {
            urls.is_empty() && checks.iter().any(|check| matches!(check, Check::Hook))
        });
        let (list, ..) = idle.next()?;
        let what = format!("the check hook has nobody to ask: {place}hooks.on_{list} is empty");
        let fix =
            format!("set {place}hooks.on_{list} to the URL of the back end, or remove the check");
        Some(alone(&format!("{place}auth.{list}"), Problem::new(what, fix)))
    })
}

/// What an edge shows its origins.
fn token_of_no_edge(config: &Config) -> Option<Contradiction> {
    let is_needless = config.role == Role::Origin && config.edge.token.is_some();
    is_needless.then(|| {
        let what = "is set, but role is origin: it is what an edge shows its origins";
        let fix = "use auth: { play: [edge: { tokens: [TOKEN] }] } to let edges with this token in";
        alone("edge.token", Problem::new(what, fix))
    })
}

fn useless(check: &Check) -> Option<Problem> {
    let (what, fix) = match check {
        Check::Cidr(Cidr { allow, deny }) if allow.is_empty() && deny.is_empty() => {
            ("the check has no network", "write allow: [10.0.0.0/8] or deny: [10.0.0.0/8]")
        }
        Check::Secret(check) if check.values.is_empty() => {
            ("the check has no secret", "write values: [SECRET]")
        }
        Check::Token(check) if check.secrets.is_empty() => {
            ("the check has no secret", "write secrets: [SECRET]")
        }
        Check::Edge(check) if check.tokens.is_empty() => {
            ("the check has no token", "write tokens: [TOKEN], the edge.token of the edges")
        }
        Check::Referer(check) if check.hosts.is_empty() => {
            ("the check has no host", "write hosts: [example.com]")
        }
        Check::Token(check) if check.param == check.expires => (
            "the signature and its expiry use the same parameter",
            "use two names: param and expires",
        ),
        Check::Jwt(Jwt { secret, public_key, algorithm, .. }) => match (secret, public_key) {
            (Some(_), Some(_)) => ("the check has a secret and a public key", "keep one of them"),
            (None, None) => {
                ("the check has no key", "write secret: SECRET, or public_key: FILE and algorithm")
            }
            (None, Some(_)) if *algorithm == Algorithm::Hs256 => {
                ("HS256 does not use a public key", "write algorithm: RS256, ES256 or EdDSA")
            }
            (Some(_), None) if *algorithm != Algorithm::Hs256 => {
                ("only HS256 uses a secret", "use public_key: FILE instead")
            }
            _ => return None,
        },
        _ => return None,
    };
    Some(Problem::new(what, fix))
}

/// The first mount that leaves open which stream it means, and why.
fn mounts(config: &Config) -> Option<(String, Problem)> {
    let own = config.vhosts.iter().filter_map(|(name, own)| {
        Some((format!("vhosts.{name}.play.mounts"), own.play.mounts.as_ref()?))
    });
    let mut all = [("play.mounts".to_owned(), &config.play.mounts)].into_iter().chain(own);
    all.find_map(|(path, mounts)| {
        let (number, problem) = mount::fault(mounts)?;
        Some((format!("{path}[{number}]"), problem))
    })
}
