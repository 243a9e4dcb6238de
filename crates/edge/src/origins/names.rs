//! Names of origins, looked up again and again.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant, SystemTime},
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name as DnsName, RecordType},
    },
    system_conf::read_system_conf,
};
use tokio::time::timeout;
use tracing::{info, warn};

/// The shortest time between two look-ups, whatever the name servers say.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest one: within this time an edge finds an origin that was added.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// For a name server to answer a question; it is asked once more after that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// For a look-up of one kind of addresses, which may ask for a short name in several domains.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the addresses of a name stay that is said to have none any more. While all origins of a Kubernetes Service
/// restart it has none; addresses that are another's by now must not be asked for ever.
const VANISHED_KEPT: Duration = Duration::from_secs(60);

/// Addresses of one name: more than any cluster has, since each of them costs a task.
const ADDRESSES_MAX: usize = 256;

/// What else than the name servers decides what a name stands for.
const SYSTEM_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The name of one or many origins.
#[derive(Debug)]
pub struct Name {
    memory: Memory,
    /// The name in full, once it has been found under it. Then nothing else is asked for: in other domains there is
    /// no such name, and that would hide that the right servers do not answer.
    full: Option<String>,
    resolver: Resolver,
}

impl Name {
    /// A name that has not been looked up. `servers` are asked, or those of the system if there are none. `key` is
    /// where the configuration has it, for the log.
    ///
    /// # Errors
    /// When the system does not say which name servers to ask.
    pub fn new(host: &str, servers: &[SocketAddr], key: &'static str) -> io::Result<Self> {
        let resolver = Resolver::new(servers).map_err(|error| {
            let text =
                format!("{key}: no name server to resolve {host} ({error}); set edge.resolvers");
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self { memory: Memory::new(host, key), full: None, resolver })
    }

    /// Looks it up; returns when to do so again.
    pub async fn look_up(&mut self) -> Duration {
        self.resolver.refresh();
        let (answers, valid) = match self.resolver.hosts_file(&self.memory.host) {
            Some(answers) => (answers, PAUSE_MAX),
            None => self.ask().await,
        };
        self.memory.learn(answers, Instant::now());
        match self.memory.state {
            State::Resolves => valid.clamp(PAUSE_MIN, PAUSE_MAX),
            State::New | State::Fails { .. } => PAUSE_MIN,
        }
    }

    /// Asks the name servers; also returns how long their answers are good for.
    async fn ask(&mut self) -> ([Answer; 2], Duration) {
        let host = self.full.as_deref().unwrap_or(&self.memory.host);
        let v4 = self.resolver.ask(host, RecordType::A);
        let v6 = self.resolver.ask(host, RecordType::AAAA);
        let (v4, mut v6) = tokio::join!(v4, v6);
        if let (Some(full), Some(other)) = (v4.full(), v6.full())
            && full != other
        {
            v6 = Answer::Nothing(format!("{full} has no addresses, only {other}"));
        }
        if let Some(full) = v4.full().or(v6.full()) {
            self.full = Some(full.to_owned());
        } else if self.addresses().is_empty() {
            self.full = None;
        }
        let valid = v4.valid().min(v6.valid());
        ([v4, v6], valid)
    }

    /// What it stands for, as far as is known; in the same order on all edges.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.memory.addresses()
    }
}

/// What is known of a name.
#[derive(Debug)]
struct Memory {
    /// Where the configuration has it.
    key: &'static str,
    host: String,
    /// The IPv4 and the IPv6 addresses.
    kinds: [Vec<IpAddr>; 2],
    state: State,
}

#[derive(Debug)]
enum State {
    /// It has not been looked up.
    New,
    /// Its addresses are what the name servers said last.
    Resolves,
    /// Its addresses are old ones.
    Fails {
        /// Since when the name servers say that it has none.
        vanished: Option<Instant>,
    },
}

/// What the name servers said to one question.
#[derive(Debug)]
enum Answer {
    Addresses {
        addresses: Vec<IpAddr>,
        /// The name in full that has them.
        full: String,
        /// How long they are good for.
        valid: Duration,
    },
    /// There are none, and why.
    Nothing(String),
    /// They did not say.
    Failed(String),
}

impl Answer {
    fn full(&self) -> Option<&str> {
        if let Self::Addresses { full, .. } = self { Some(full) } else { None }
    }

    fn valid(&self) -> Duration {
        if let Self::Addresses { valid, .. } = self { *valid } else { PAUSE_MAX }
    }

    fn nothing() -> Self {
        Self::Nothing("the name has no addresses".to_owned())
    }
}

impl From<Lookup> for Answer {
    fn from(lookup: Lookup) -> Self {
        let addresses: Vec<_> =
            lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
        if addresses.is_empty() {
            return Self::nothing();
        }
        // Names on the way to the addresses have times of their own.
        let seconds = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
        let valid = Duration::from_secs(u64::from(seconds));
        Self::Addresses { addresses, full: lookup.query().name().to_ascii(), valid }
    }
}

impl From<NetError> for Answer {
    fn from(error: NetError) -> Self {
        if error.is_nx_domain() {
            Self::Nothing("no such name".to_owned())
        } else if error.is_no_records_found() {
            Self::nothing()
        } else {
            Self::Failed(error.to_string())
        }
    }
}

impl Memory {
    fn new(host: &str, key: &'static str) -> Self {
        Self { key, host: host.to_owned(), kinds: [Vec::new(), Vec::new()], state: State::New }
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses = self.kinds.concat();
        addresses.sort();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        addresses
    }

    /// Takes in what was said about the IPv4 and the IPv6 addresses.
    fn learn(&mut self, answers: [Answer; 2], now: Instant) {
        match answers {
            [Answer::Failed(why), Answer::Failed(_) | Answer::Nothing(_)]
            | [Answer::Nothing(_), Answer::Failed(why)] => self.fail(&why),
            [Answer::Nothing(why), Answer::Nothing(_)] => self.vanish(&why, now),
            answers => self.resolve(answers),
        }
    }

    fn resolve(&mut self, answers: [Answer; 2]) {
        for (addresses, answer) in self.kinds.iter_mut().zip(answers) {
            match answer {
                Answer::Addresses { addresses: new, .. } => *addresses = new,
                Answer::Nothing(_) => addresses.clear(),
                // The addresses of one kind do not go because nobody answered.
                Answer::Failed(_) => {}
            }
        }
        if let State::Fails { .. } = std::mem::replace(&mut self.state, State::Resolves) {
            info!(origin = self.host, "the name in {} resolves again", self.key);
        }
    }

    fn fail(&mut self, reason: &str) {
        if let State::Fails { .. } = self.state {
            return;
        }
        self.state = State::Fails { vanished: None };
        let (key, origin) = (self.key, &self.host);
        if self.kinds.iter().all(Vec::is_empty) {
            warn!(origin, reason, "a name in {key} does not resolve: it is not used");
        } else {
            warn!(
                origin,
                reason, "a name in {key} does not resolve: its last known addresses are used"
            );
        }
    }

    fn vanish(&mut self, reason: &str, now: Instant) {
        self.fail(reason);
        let State::Fails { vanished } = &mut self.state else { return };
        let since = *vanished.get_or_insert(now);
        if now.duration_since(since) >= VANISHED_KEPT {
            self.kinds = [Vec::new(), Vec::new()];
        }
    }
}

/// Who is asked.
#[derive(Debug)]
struct Resolver {
    /// Empty: those of the system.
    servers: Vec<SocketAddr>,
    hickory: TokioResolver,
    hosts: Hosts,
    /// When the system's files were changed that have been read.
    read: [Option<SystemTime>; 2],
}

impl Resolver {
    fn new(servers: &[SocketAddr]) -> io::Result<Self> {
        // Taken first: a change while they are read is one that comes afterwards.
        let read = system_files();
        let hosts = Hosts::from_system().unwrap_or_default();
        Ok(Self { servers: servers.to_vec(), hickory: build(servers)?, hosts, read })
    }

    /// Reads the system's files again if they have been changed, and forgets what was answered.
    fn refresh(&mut self) {
        self.hickory.clear_cache();
        if self.read == system_files() {
            return;
        }
        // A file that is just being written is read the next time.
        if let Ok(new) = Self::new(&self.servers) {
            *self = new;
        }
    }

    /// What the system's own list of hosts says, which goes before all name servers.
    fn hosts_file(&self, host: &str) -> Option<[Answer; 2]> {
        let name = DnsName::from_utf8(host).ok()?;
        let listed = [RecordType::A, RecordType::AAAA]
            .map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)));
        let any = listed.iter().any(Option::is_some);
        any.then(|| listed.map(|lookup| lookup.map_or_else(Answer::nothing, Answer::from)))
    }

    /// Asks the name servers for one kind of addresses of `host`.
    async fn ask(&self, host: &str, kind: RecordType) -> Answer {
        match timeout(LOOKUP_TIMEOUT, self.hickory.lookup(host, kind)).await {
            Ok(answer) => answer.map_or_else(Answer::from, Answer::from),
            Err(_) => Answer::Failed(format!("no answer within {LOOKUP_TIMEOUT:?}")),
        }
    }
}

/// Whom to ask, and how.
fn build(servers: &[SocketAddr]) -> io::Result<TokioResolver> {
    let (config, mut options) = if servers.is_empty() {
        read_system_conf().map_err(io::Error::other)?
    } else {
        let servers = servers.iter().map(name_server).collect();
        (ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default())
    };
    options.timeout = ANSWER_TIMEOUT;
    options.attempts = 1;
    // It would look for the name in the hosts file only after it has put domains to it.
    options.use_hosts_file = ResolveHosts::Never;
    let provider = TokioRuntimeProvider::default();
    let builder = TokioResolver::builder_with_config(config, provider).with_options(options);
    builder.build().map_err(io::Error::other)
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

fn system_files() -> [Option<SystemTime>; 2] {
    SYSTEM_FILES.map(|path| fs::metadata(path).and_then(|file| file.modified()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn addresses(list: &[&str]) -> Answer {
        answer(ips(list))
    }

    fn answer(addresses: Vec<IpAddr>) -> Answer {
        Answer::Addresses { addresses, full: "origin.test.".to_owned(), valid: PAUSE_MAX }
    }

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|address| address.parse().expect("an address")).collect()
    }

    fn nothing() -> Answer {
        Answer::Nothing("no such name".to_owned())
    }

    fn failed() -> Answer {
        Answer::Failed("no answer".to_owned())
    }

    /// What is known after each of the `answers`, a second apart.
    fn known_after(answers: impl IntoIterator<Item = [Answer; 2]>) -> Vec<Vec<IpAddr>> {
        let (mut memory, mut now) = (Memory::new("origin.test", "edge.origins"), Instant::now());
        let learn = |answers| {
            memory.learn(answers, now);
            now += SECOND;
            memory.addresses()
        };
        answers.into_iter().map(learn).collect()
    }

    #[test]
    fn a_name_stands_for_what_was_answered_last() {
        let known = known_after([
            [addresses(&["10.0.0.2", "10.0.0.1"]), addresses(&["::1"])],
            [addresses(&["10.0.0.3", "10.0.0.1"]), nothing()],
            [nothing(), addresses(&["::2"])],
        ]);
        assert_eq!(known[0], ips(&["10.0.0.1", "10.0.0.2", "::1"]), "sorted");
        assert_eq!(known[1], ips(&["10.0.0.1", "10.0.0.3"]));
        assert_eq!(known[2], ips(&["::2"]));
    }

    #[test]
    fn addresses_stay_while_nobody_answers() {
        let both = [addresses(&["10.0.0.1"]), addresses(&["::1"])];
        let silent = std::iter::repeat_with(|| [failed(), failed()]).take(1000);
        let known = known_after(std::iter::once(both).chain(silent));
        assert_eq!(known.last(), Some(&ips(&["10.0.0.1", "::1"])));
        let known = known_after([
            [addresses(&["10.0.0.1"]), addresses(&["::1"])],
            [addresses(&["10.0.0.2"]), failed()],
            [failed(), nothing()],
        ]);
        assert_eq!(known[1], ips(&["10.0.0.2", "::1"]), "those of one kind");
        assert_eq!(known[2], ips(&["10.0.0.2", "::1"]));
    }

    #[test]
    fn addresses_of_a_name_that_vanished_stay_for_a_while() {
        let first = [addresses(&["10.0.0.1"]), nothing()];
        let vanished = std::iter::repeat_with(|| [nothing(), nothing()]).take(62);
        let known = known_after(std::iter::once(first).chain(vanished));
        assert_eq!(known[60], ips(&["10.0.0.1"]));
        assert_eq!(known[61], ips(&[]), "a minute after it vanished");
        // It comes back, and goes again: the minute begins anew.
        let again = [[nothing(), nothing()], [addresses(&["10.0.0.2"]), nothing()]];
        let vanished = std::iter::repeat_with(|| [nothing(), nothing()]).take(60);
        let known = known_after(again.into_iter().chain(vanished));
        assert_eq!(known.last(), Some(&ips(&["10.0.0.2"])));
    }

    #[test]
    fn a_name_does_not_stand_for_the_whole_internet() {
        let many = (0..=u16::MAX).map(|n| IpAddr::from([10, 0, (n >> 8) as u8, n as u8])).collect();
        let known = known_after([[answer(many), nothing()]]);
        assert_eq!(known[0].len(), ADDRESSES_MAX);
    }
}
