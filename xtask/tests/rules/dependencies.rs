//! What the program is made of besides our own crates: from where, under which licences, each once, and how much of it.
//! `deny.toml` says the same to those who have cargo-deny ([ADR 31](../../../docs/adr/0031-what-weir-is-made-of.md)).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use serde_json::Value;

use crate::{arrows, source};

/// Crates of others in the program, those that only help to compile it included. Each is somebody's trust and a user's
/// download: a new one should take the place of another.
const CRATES_MAX: usize = 190;

/// The only place that packages come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Under these the program can be given on as it is licensed itself. The table `licenses.allow` of `deny.toml` is this
/// one.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that are there in two versions, and who holds on to the older one.
const TWICE: &[(&str, &str)] = &[
    ("getrandom", "ring 0.17; the same system call"),
    ("syn", "derive macros; nothing of it is in the program"),
];

/// What must not come back, and why.
const NEVER: &[(&str, &str)] = &[
    ("aws-lc-rs", "the cryptography is ring's, once for tokens and TLS"),
    ("aws-lc-sys", "the cryptography is ring's, once for tokens and TLS"),
    ("openssl", "a static program brings its own cryptography, which is ring's"),
    ("openssl-sys", "a static program brings its own cryptography, which is ring's"),
    (
        "rsa",
        "what it does with private keys takes times that tell of them (RUSTSEC-2023-0071); ring verifies",
    ),
];

/// A package of somebody else's.
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    source: &'a str,
    licence: &'a str,
}

#[test]
fn the_program_is_made_of_little() {
    let many = program().len();
    assert!(
        many <= CRATES_MAX,
        "{many} crates of others in the program, over the budget of {CRATES_MAX}; which ones, and through whom: \
         cargo tree -e normal"
    );
}

#[test]
fn each_crate_is_there_once() {
    let program = program();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, version) in &program {
        versions.entry(name).or_default().push(version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let known: Vec<_> = TWICE.iter().map(|(name, _)| *name).collect();
    let twice: Vec<_> = versions.keys().copied().collect();
    assert_eq!(
        twice, known,
        "what is twice in the program is not what TWICE says: {versions:?}; through whom: cargo tree -e normal -d"
    );
}

#[test]
fn nothing_comes_back_that_was_thrown_out() {
    let program = program();
    for (name, why) in NEVER {
        let found = program.iter().any(|(package, _)| package == name);
        assert!(!found, "{name}: {why}; through whom: cargo tree -e normal -i {name}");
    }
}

/// Those of the tests too: they are run on developers' machines.
#[test]
fn packages_come_from_crates_io_under_known_licences() {
    let metadata = arrows::metadata(&["--filter-platform", &arrows::host()]);
    let mut wrong = Vec::new();
    for package in arrows::packages(&metadata).iter().filter_map(theirs) {
        let Package { name, version, source, licence } = package;
        if source != REGISTRY {
            wrong.push(format!("{name} {version} comes from {source}"));
        }
        if !is_allowed(licence) {
            wrong.push(format!("{name} {version} has the licence {licence:?}, see LICENCES"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn cargo_deny_is_told_the_same() {
    let text = fs::read_to_string(source::root().join("deny.toml")).expect("deny.toml is there");
    let list = |key: &str| {
        let (_, rest) = text.split_once(&format!("\n{key} = [")).expect(key);
        let (list, _) = rest.split_once(']').expect("a list has an end");
        let code = list.lines().map(|line| line.split('#').next().unwrap_or_default());
        let quoted = |line: &str| line.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        code.flat_map(|line| -> Vec<String> { quoted(line) }).collect::<Vec<_>>()
    };
    assert_eq!(list("allow"), LICENCES);
    assert_eq!(list("skip"), TWICE.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    assert_eq!(list("deny"), NEVER.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

#[test]
fn licences_are_read_as_they_are_written() {
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "ISC AND MIT",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND AGPL-3.0", "MIT-like"] {
        assert!(!is_allowed(bad), "{bad}");
    }
    assert!(is_allowed("GPL-3.0 OR (MIT AND ISC)"));
    assert!(!is_allowed("MIT AND (GPL-3.0 OR AGPL-3.0)"));
    assert!(is_allowed("Apache-2.0 WITH LLVM-exception OR GPL-3.0") == is_allowed("GPL-3.0"));
}

/// Name and version of each package of others in the program, once, as `cargo tree` has them: what cargo says of the
/// whole workspace has the features that only tests ask for.
fn program() -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "weir-server", "--edges", "normal", "--prefix", "none"])
        .current_dir(source::root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let packages = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    let packages: BTreeSet<_> = packages.filter(|(name, _)| !name.starts_with("weir-")).collect();
    assert!(
        packages.iter().any(|(name, _)| name == "tokio"),
        "cargo tree says something else: {text}"
    );
    packages
}

fn theirs(package: &Value) -> Option<Package<'_>> {
    let text = |key: &str| package[key].as_str();
    // Our own come from no registry.
    let source = text("source")?;
    let (name, version) = (text("name")?, text("version")?);
    Some(Package { name, version, source, licence: text("license").unwrap_or_default() })
}

/// Whether an SPDX expression lets us choose among [`LICENCES`]. `/` is how it was written before there was `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    any_of(&mut spaced.split_whitespace().peekable())
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words) -> bool {
    let mut any = all_of(words);
    while words.next_if_eq(&"OR").is_some() {
        any |= all_of(words);
    }
    any
}

fn all_of(words: &mut Words) -> bool {
    let mut all = one(words);
    while words.next_if_eq(&"AND").is_some() {
        all &= one(words);
    }
    all
}

fn one(words: &mut Words) -> bool {
    let Some(word) = words.next() else { return false };
    if word == "(" {
        let inside = any_of(words);
        return words.next() == Some(")") && inside;
    }
    // An exception is one more licence that nobody has read.
    let exception = words.next_if_eq(&"WITH").and_then(|_| words.next());
    exception.is_none() && LICENCES.contains(&word)
}
