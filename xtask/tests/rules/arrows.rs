//! The rules between crates: arrows point down only, and the pure crates know neither the runtime nor the clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

use crate::source;

/// What each crate may depend on, by the short names (`weir-` left out). A new crate needs a line here, and a reason.
const ARROWS: &[(&str, &[&str])] = &[
    ("media", &[]),
    ("flv", &["media"]),
    ("rtmp", &["flv", "media"]),
    ("mp4", &["media"]),
    ("hls", &["media", "mp4"]),
    ("hub", &["media"]),
    // The leaf with the unsafe system calls.
    ("sys", &[]),
    // Threads for what blocks one: who waits for a file or a name must not hold others up.
    ("blocking", &[]),
    // Certificates and encrypted connections, whatever is spoken over them.
    ("tls", &[]),
    // Pages as files.
    ("console", &[]),
    // Files of directives, whatever they mean.
    ("conf", &[]),
    // Keys and their values, and nothing that runs.
    ("config", &["conf", "media"]),
    // Who connects, whatever they speak and whatever is configured.
    ("clients", &["media", "tls"]),
    // Streams to sockets, by terms that others have decided; what a file of frames is, `hls` knows.
    ("delivery", &["clients", "flv", "hls", "hub", "media", "rtmp", "tls"]),
    // Into the hub, from whatever brings a stream.
    ("intake", &["clients", "config", "flv", "hub", "media", "rtmp"]),
    // Connections to other servers, for whatever reason, and what is played and published over them.
    (
        "upstream",
        &["blocking", "clients", "config", "flv", "hub", "intake", "media", "rtmp", "tls"],
    ),
    // From the hub to files, whoever serves them, and to other servers.
    (
        "outputs",
        &[
            "blocking", "clients", "config", "flv", "hls", "hub", "intake", "media", "rtmp", "tls",
            "upstream",
        ],
    ),
    // From files to a storage, whoever has written them.
    ("upload", &["blocking", "clients", "config", "hls", "media", "outputs", "tls", "upstream"]),
    // Programs for streams: who connects, and how, others know.
    (
        "children",
        &["blocking", "clients", "config", "hub", "intake", "media", "outputs", "upstream"],
    ),
    // What clients do, to back ends over HTTP: who they are and what they do, others know.
    ("hooks", &["blocking", "clients", "config", "media", "tls"]),
    // From origins and to them: what it is given to send, and who watches, others know.
    (
        "edge",
        &[
            "blocking", "clients", "config", "flv", "hls", "hub", "intake", "media", "rtmp", "tls",
            "upstream",
        ],
    ),
    // From other servers and from files into the hub: who watches, and in which protocol, others know.
    (
        "pull",
        &[
            "blocking", "clients", "config", "flv", "hub", "intake", "media", "rtmp", "tls",
            "upstream",
        ],
    ),
    (
        "server",
        &[
            "blocking", "children", "clients", "config", "console", "delivery", "edge", "flv",
            "hls", "hooks", "hub", "intake", "media", "outputs", "pull", "rtmp", "sys", "tls",
            "upload", "upstream",
        ],
    ),
    ("testkit", &["flv", "media", "rtmp"]),
    ("load", &["flv", "media", "rtmp", "tls"]),
    ("xtask", &[]),
];

/// Only tests may depend on these.
const TEST_ONLY: &[&str] = &["testkit"];

/// Crates in which time and bytes are arguments.
const PURE: &[&str] = &["media", "flv", "rtmp", "mp4", "hls", "conf"];

/// Packages that bring IO, a runtime or the clock.
const IMPURE_PACKAGES: &[&str] = &["tokio", "mio", "socket2", "async-std", "smol"];

/// What the sources of a pure crate never mention.
const IMPURE_WORDS: &[&str] =
    &["Instant::now", "SystemTime::now", "std::net", "std::fs", "std::thread", "tokio::"];

/// What the sources of a crate never mention, beside what it may not depend on: sockets come to delivery, and it asks
/// no runtime for them; intake has messages and no sockets; the edge connects, and nobody connects to it.
const UNKNOWN: &[(&str, &[&str])] = &[
    ("delivery", &["tokio::net", "tokio::spawn"]),
    ("intake", &["tokio::net", "std::net", "tokio::spawn"]),
    ("edge", &["TcpListener", "axum", "hyper::server", "weir_delivery"]),
    ("hooks", &["TcpListener", "axum", "hyper::server", "weir_hub"]),
    ("upstream", &["hyper::server", "weir_edge"]),
    ("outputs", &["tokio::net", "std::net", "http::", "axum"]),
];

/// The same hidden in `use std::{...}`.
const IMPURE_STD_MODULES: &[&str] = &["net", "fs", "thread"];

#[test]
fn arrows_point_down() {
    let metadata = metadata(&["--no-deps"]);
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in packages(&metadata) {
        let name = short(package);
        let Some(allowed) = allowed.get(name) else {
            wrong.push(format!(
                "{name} is new: say in ARROWS in xtask/tests/rules/arrows.rs what it may depend on"
            ));
            continue;
        };
        for dependency in
            ours(package, Some("normal")).into_iter().chain(ours(package, Some("build")))
        {
            if !allowed.contains(&dependency) {
                wrong.push(format!("{name} -> {dependency}: crates/{name}/Cargo.toml, see ARROWS"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the architecture does not have:\n{}", wrong.join("\n"));
}

/// The check builds what a release has: code behind a feature would be built by nobody, and break unseen.
#[test]
fn no_crate_has_features() {
    for package in packages(&metadata(&["--no-deps"])) {
        let features = package["features"].as_object().expect("packages list features");
        let names: Vec<_> = features.keys().collect();
        assert!(names.is_empty(), "{}: build it always, or not at all: {names:?}", short(package));
    }
}

#[test]
fn test_crates_are_only_dev_dependencies() {
    for package in packages(&metadata(&["--no-deps"])) {
        for name in ours(package, Some("normal")) {
            let short = short(package);
            assert!(!TEST_ONLY.contains(&name), "{short} -> {name}: move it to [dev-dependencies]");
        }
    }
}

#[test]
fn pure_crates_have_no_runtime_among_their_dependencies() {
    let metadata = metadata(&["--filter-platform", &host()]);
    let graph = normal_dependencies(&metadata);
    for pure in PURE {
        let (id, _) = graph.iter().find(|(_, (name, _))| *name == format!("weir-{pure}")).unwrap();
        let (mut seen, mut stack) = (BTreeSet::new(), vec![(*id, Vec::new())]);
        while let Some((id, mut path)) = stack.pop() {
            let (name, dependencies) = &graph[id];
            path.push(*name);
            assert!(
                !IMPURE_PACKAGES.contains(name),
                "a pure crate has {name}: {}",
                path.join(" -> ")
            );
            if seen.insert(id) {
                stack.extend(dependencies.iter().map(|id| (*id, path.clone())));
            }
        }
    }
}

#[test]
fn pure_crates_know_neither_io_nor_the_clock() {
    let mut wrong = Vec::new();
    for source in PURE.iter().flat_map(|pure| source::below(&format!("crates/{pure}/src"))) {
        let lines = source.production();
        let code = lines.iter().filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (number, line) in code {
            for word in impure_words(line) {
                wrong.push(format!("{}:{number}: {word}", source.path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "pure crates take bytes and time as arguments:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn crates_do_not_mention_what_they_do_not_know() {
    for (name, words) in UNKNOWN {
        for source in source::below(&format!("crates/{name}/src")) {
            for (number, line) in source.production() {
                let found = words.iter().find(|word| line.contains(*word));
                assert!(found.is_none(), "{}:{number}: {found:?}", source.path.display());
            }
        }
    }
}

#[test]
fn impure_words_are_found_in_every_spelling() {
    assert_eq!(impure_words("let now = std::time::Instant::now();"), ["Instant::now"]);
    assert_eq!(
        impure_words("use std::{collections::{BTreeMap}, fs, net::TcpStream};"),
        ["net", "fs"]
    );
    assert!(impure_words("use std::{fmt, sync::Arc}; let offset = internet;").is_empty());
}

fn impure_words(line: &str) -> Vec<&'static str> {
    let mut found: Vec<_> =
        IMPURE_WORDS.iter().copied().filter(|word| line.contains(word)).collect();
    if let Some((_, group)) = line.split_once("std::{") {
        let words: Vec<_> = group.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        found.extend(IMPURE_STD_MODULES.iter().copied().filter(|module| words.contains(module)));
    }
    found
}

/// What `cargo metadata` says.
pub fn metadata(args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1"])
        .args(args)
        .current_dir(source::root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// The platform that we build for: packages of other platforms may not even be downloaded.
pub fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc names its host")
        .to_owned()
}

pub fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().expect("metadata lists packages")
}

/// A package's name without `weir-`.
fn short(package: &Value) -> &str {
    let name = package["name"].as_str().expect("packages have names");
    name.strip_prefix("weir-").unwrap_or(name)
}

/// The crates of this workspace that `package` names as dependencies of `kind`, as short names.
fn ours<'a>(package: &'a Value, kind: Option<&str>) -> Vec<&'a str> {
    let kind = kind.filter(|kind| *kind != "normal");
    let dependencies = package["dependencies"].as_array().expect("packages list dependencies");
    let of_kind = dependencies.iter().filter(|dependency| dependency["kind"].as_str() == kind);
    of_kind.filter(|dependency| dependency["path"].is_string()).map(short).collect()
}

/// Each package's name and the ids of its normal dependencies, by package id.
fn normal_dependencies(metadata: &Value) -> BTreeMap<&str, (&str, Vec<&str>)> {
    let names: BTreeMap<_, _> = packages(metadata)
        .iter()
        .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
        .collect();
    let nodes = metadata["resolve"]["nodes"].as_array().expect("metadata has a resolved graph");
    let edges = nodes.iter().filter_map(|node| {
        let dependencies =
            node["deps"].as_array()?.iter().filter(|dependency| is_normal(dependency));
        let id = node["id"].as_str()?;
        Some((id, (names[id], dependencies.filter_map(|d| d["pkg"].as_str()).collect())))
    });
    edges.collect()
}

fn is_normal(dependency: &Value) -> bool {
    let kinds = dependency["dep_kinds"].as_array();
    kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
}
