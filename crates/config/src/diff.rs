//! What a reload would change.

use std::{collections::BTreeSet, fmt};

use super::{
    Config,
    kind::{Json, Secrets, Section, below},
};

/// What only a new process can do: take other ports, or run with other threads or in another role. Of `api.tls` and its
/// like, only that it appears or vanishes is a change of the key itself.
const NEEDS_RESTART: [&str; 17] = [
    "role",
    "workers",
    "rtmp.listen",
    "rtmp.chunk_size",
    "rtmp.tls",
    "rtmp.tls.listen",
    "http.listen",
    "http.tls",
    "http.tls.listen",
    "api.listen",
    "api.tls",
    "metrics.listen",
    "handover.socket",
    "name",
    "work_dir",
    "log_file",
    "pid_file",
];

/// What is different between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Each key with another value, in the order of their paths.
    pub changes: Vec<Change>,
}

/// A key with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `play.wait`, `vhosts.a.org.play.wait`.
    pub path: String,
    /// The old value as the configuration writes it, secrets as `***`; `not set` for a key of a vhost that has none of
    /// its own.
    pub from: String,
    /// The new value, as `from`.
    pub to: String,
    /// Whether a running process cannot apply it.
    pub needs_restart: bool,
}

impl Diff {
    /// Whether both configurations are the same.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What a running process cannot apply.
    pub fn needing_restart(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.needs_restart)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.path, self.from, self.to)
    }
}

/// What is different in `new`.
pub fn diff(old: &Config, new: &Config) -> Diff {
    let plain = [old, new].map(|config| config.show(Secrets::Plain));
    let masked = [old, new].map(|config| config.show(Secrets::Masked));
    let mut diff = Diff::default();
    diff.compare(String::new(), plain.each_ref().map(Some), masked.each_ref().map(Some));
    diff
}

impl Diff {
    /// Compares two trees, and shows the difference as it is in those with masked secrets.
    fn compare(&mut self, path: String, plain: [Option<&Json>; 2], masked: [Option<&Json>; 2]) {
        if plain[0] == plain[1] {
            return;
        }
        if is_section(plain) {
            let keys = masked.iter().flatten().filter_map(|value| value.as_object());
            let keys: BTreeSet<_> = keys.flat_map(|section| section.keys()).collect();
            for key in keys {
                self.compare(below(&path, key), at(plain, key), at(masked, key));
            }
            return;
        }
        let [from, to] = masked.map(shown);
        let needs_restart = NEEDS_RESTART.contains(&path.as_str());
        self.changes.push(Change { path, from, to, needs_restart });
    }
}

/// Whether there are keys to compare. That a vhost without any appears or vanishes is all there is to say.
fn is_section(sides: [Option<&Json>; 2]) -> bool {
    sides.iter().flatten().all(|side| side.is_object())
        && sides.iter().flatten().filter_map(|side| side.as_object()).any(|keys| !keys.is_empty())
}

fn at<'j>(sides: [Option<&'j Json>; 2], key: &str) -> [Option<&'j Json>; 2] {
    sides.map(|side| side?.get(key))
}

fn shown(value: Option<&Json>) -> String {
    match value {
        None => "not set".to_owned(),
        Some(Json::String(text)) if !text.is_empty() => text.clone(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each change in a line, with a star for those that need a restart.
    fn changes(old: &str, new: &str) -> Vec<String> {
        let [old, new] = [old, new].map(|text| Config::parse(text, "weir.yaml").unwrap());
        let star = |change: &Change| if change.needs_restart { " *" } else { "" };
        diff(&old, &new).changes.iter().map(|change| format!("{change}{}", star(change))).collect()
    }

    #[test]
    fn names_each_key() {
        assert!(changes("", "").is_empty());
        assert_eq!(
            changes(
                "play: { wait: 1s, flush: 0ms }\nlimits: { egress: 1Mbps }\n",
                "play: { wait: 60s, gop: off }\nhttp: { trusted_proxies: ['::1'] }\napi: { peers: a }\n",
            ),
            [
                "api.peers: [] -> [\"a:1985\"]",
                "http.trusted_proxies: [] -> [\"::1/128\"]",
                "limits.egress: 1Mbps -> 0",
                "play.flush: 0ms -> video",
                "play.gop: true -> false",
                "play.wait: 1s -> 1m",
            ]
        );
        // Another way of writing the same.
        assert!(
            changes("play: { wait: 60s }\napi: { tls: null }\n", "play: { wait: 1m }\n").is_empty()
        );
    }

    #[test]
    fn names_what_needs_a_restart() {
        assert_eq!(
            changes(
                "",
                "role: edge\nworkers: 2\nrtmp: { listen: [], chunk_size: 128 }\nhttp: { listen: [] }\n\
                 api: { listen: [], tls: { cert: a, key: b } }\nhandover: { socket: s }\nedge: { origins: a }\n",
            ),
            [
                "api.listen: [\"0.0.0.0:1985\"] -> [] *",
                "api.tls: null -> {\"admin_ca\":null,\"cert\":\"a\",\"key\":\"b\",\"read_ca\":null} *",
                "edge.origins: [] -> [\"a:1935\"]",
                "handover.socket: null -> s *",
                "http.listen: [\"0.0.0.0:8080\"] -> [] *",
                "role: origin -> edge *",
                "rtmp.chunk_size: 60000 -> 128 *",
                "rtmp.listen: [\"0.0.0.0:1935\"] -> [] *",
                "workers: auto -> 2 *",
            ]
        );
        let tls = |more: &str| format!("api: {{ tls: {{ cert: a, key: b{more} }} }}");
        assert_eq!(changes(&tls(""), &tls(", read_ca: c")), ["api.tls.read_ca: null -> c"]);
        let all =
            diff(&Config::default(), &Config::parse("workers: 2\nplay: { wait: 1s }", "").unwrap());
        let paths: Vec<_> = all.needing_restart().map(|change| change.path.as_str()).collect();
        assert_eq!((paths, all.is_empty()), (vec!["workers"], false));
    }

    #[test]
    fn names_the_keys_of_vhosts() {
        assert_eq!(
            changes(
                "vhosts: { a.b: { play: { wait: 1s } }, b: {}, c: { hls: { window: 3 } } }",
                "vhosts: { a.b: { play: { wait: 2s } }, b: { play: { gop: off } }, d: {} }",
            ),
            [
                "vhosts.a.b.play.wait: 1s -> 2s",
                "vhosts.b.play.gop: not set -> false",
                "vhosts.c.hls.window: 3 -> not set",
                "vhosts.d: not set -> {}",
            ]
        );
    }

    #[test]
    fn secrets_are_compared_and_not_shown() {
        assert_eq!(
            changes(
                "api: { admin_tokens: a, peer_token: b }\nauth: { play: [secret: { values: [a] }] }",
                "api: { admin_tokens: c, peer_token: d }\nauth: { play: [secret: { values: [b] }] }",
            ),
            [
                "api.admin_tokens: [\"***\"] -> [\"***\"]",
                "api.peer_token: *** -> ***",
                "auth.play: [{\"secret\":{\"param\":\"secret\",\"values\":[\"***\"]}}] -> \
                 [{\"secret\":{\"param\":\"secret\",\"values\":[\"***\"]}}]",
            ]
        );
    }
}
