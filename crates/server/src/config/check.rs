//! What no single value shows: settings that contradict each other.

use std::net::SocketAddr;

use super::{
    Config,
    value::{Problem, Size},
};

/// Two settings that contradict each other, each seen from its own side, the better place for a message first. One of
/// them may be a default, which stands nowhere in the text.
pub(super) struct Contradiction(pub(super) [(String, Problem); 2]);

/// The first contradiction in `config`.
pub(super) fn contradiction(config: &Config) -> Option<Contradiction> {
    shared_address(config).or_else(|| small_memory(config))
}

fn shared_address(config: &Config) -> Option<Contradiction> {
    let sections =
        [("rtmp", &config.rtmp.listen), ("http", &config.http.listen), ("api", &config.api.listen)];
    let numbered = |(section, listen): (&'static str, &Vec<SocketAddr>)| {
        let listen = listen.clone().into_iter().enumerate();
        listen.map(move |(number, address)| Listener { section, number, address })
    };
    let all: Vec<_> = sections.into_iter().flat_map(numbered).collect();
    let pairs = all.iter().enumerate().flat_map(|(i, b)| all[..i].iter().map(move |a| (a, b)));
    let (a, b) = pairs.into_iter().find(|(a, b)| overlap(a.address, b.address))?;
    Some(Contradiction([b.taken_by(a), a.taken_by(b)]))
}

struct Listener {
    section: &'static str,
    number: usize,
    address: SocketAddr,
}

impl Listener {
    fn taken_by(&self, other: &Self) -> (String, Problem) {
        let what =
            format!("{} is taken by {}.listen ({})", self.address, other.section, other.address);
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
