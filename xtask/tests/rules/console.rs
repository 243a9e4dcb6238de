//! The pages in the program are those of the sources, and what others have made of them is as they publish it.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use crate::source;

/// Where the pages are.
const CRATE: &str = "crates/console";

#[test]
fn the_pages_are_packed() {
    let dir = source::root().join(CRATE);
    for folder in ["", "vendor"] {
        for entry in fs::read_dir(dir.join("packed").join(folder)).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                continue;
            }
            let unpacked = Command::new("gzip").arg("-dc").arg(&path).output().expect("gzip runs");
            let name = entry.file_name().to_string_lossy().trim_end_matches(".gz").to_owned();
            let source = fs::read(dir.join("web").join(folder).join(&name)).unwrap_or_default();
            assert!(
                unpacked.stdout == source,
                "{folder}/{name} has changed: run `cargo xtask console`"
            );
        }
    }
}

/// `PUBLISHED` has, for each file, its SHA-512, the package on npm with its version, its path there, and the integrity
/// that the registry states of that package.
#[test]
fn what_others_have_made_is_what_they_have_published() {
    let vendor = source::root().join(CRATE).join("web/vendor");
    let list = fs::read_to_string(vendor.join("PUBLISHED")).expect("the list");
    let mut known = BTreeMap::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let [file, hash, package, path, integrity] =
            line.split_whitespace().collect::<Vec<_>>()[..]
        else {
            panic!("five words in {line:?}");
        };
        assert!(integrity.starts_with("sha512-"), "{line}");
        assert_eq!(hash_of(&vendor.join(file)), hash, "{file} is not the one of {package}");
        known.insert(file.to_owned(), (package.to_owned(), path.to_owned()));
    }
    let there = fs::read_dir(&vendor).expect("the folder").flatten();
    for name in there.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        assert!(name == "PUBLISHED" || known.contains_key(&name), "{name} is not in PUBLISHED");
    }
    // The packages themselves, where the tools of the tests have them.
    let packages = source::root().join("target/tools/players/node_modules");
    for (file, (package, path)) in &known {
        let (name, version) = package.rsplit_once('@').expect("a version");
        let dir = packages.join(name);
        let manifest = fs::read_to_string(dir.join("package.json")).unwrap_or_default();
        if !manifest.contains(&format!("\"version\": \"{version}\"")) {
            continue;
        }
        assert_eq!(hash_of(&dir.join(path)), hash_of(&vendor.join(file)), "{file} and {package}");
    }
}

fn hash_of(path: &Path) -> String {
    let said = Command::new("sha512sum").arg(path).output().expect("sha512sum runs");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    said.split_whitespace().next().unwrap_or_default().to_owned()
}
