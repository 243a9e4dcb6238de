//! The page of the guide with SRS's samples says of those that they work which tests name.

use std::{collections::BTreeSet, fs, path::Path};

/// So many samples SRS has, and so many of them have to work.
const ALL: usize = 102;
const WORKING: usize = 80;

/// The samples that a test names before it, and those of its cases.
fn named() -> BTreeSet<&'static str> {
    let tests = include_str!("samples.rs");
    let mut named = BTreeSet::new();
    let mut lines = tests.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(said) = line.trim().strip_prefix("samples: \"") {
            named.extend(said.split('"').next().unwrap_or_default().split(' '));
        }
        let Some(mut said) = line.strip_prefix("/// `") else { continue };
        loop {
            let (names, rest) = said.split_once('`').map_or((said, None), |(a, b)| (a, Some(b)));
            named.extend(names.split_whitespace());
            if rest.is_some() {
                break;
            }
            said = lines.next().and_then(|line| line.strip_prefix("/// ")).expect("it goes on");
        }
    }
    named
}

#[test]
fn the_page_of_samples_says_what_tests_show() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/guide/from-srs-samples.md")).expect("the page");
    let rows = page.lines().filter_map(|line| {
        let mut columns = line.strip_prefix("| `")?.split(" | ");
        let (name, state) = (columns.next()?.strip_suffix('`')?, columns.nth(1)?);
        Some((name, state.starts_with("works")))
    });
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows.len(), ALL);
    let all: BTreeSet<_> = rows.iter().map(|(name, _)| *name).collect();
    assert_eq!(all.len(), ALL, "each once");
    let working: BTreeSet<_> =
        rows.iter().filter(|(_, works)| *works).map(|(name, _)| *name).collect();
    let named: BTreeSet<_> = named().into_iter().filter(|name| all.contains(name)).collect();
    assert_eq!(working, named);
    assert!(working.len() >= WORKING, "{}", working.len());
    assert!(page.contains(&format!("{} of them work", working.len())));
}
