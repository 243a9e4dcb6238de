//! The map of the code: each file that ARCHITECTURE.md names is there, and has what the map says is in it.

use std::fs;

use crate::source::{self, Source};

const MAP: &str = "ARCHITECTURE.md";

/// What comes before the name of what is declared.
const ITEMS: [&str; 9] =
    ["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "macro_rules"];

/// What comes after the name of a variant or a field.
const PARTS: [&str; 5] = [",", ": ", " {", "(", " ="];

#[test]
fn the_map_names_what_is_there() {
    let sources: Vec<_> =
        ["crates", "xtask", "fuzz"].iter().flat_map(|folder| source::below(folder)).collect();
    let map = fs::read_to_string(source::root().join(MAP)).expect("the map");
    let (wrong, count) = wrong(&map, &sources);
    assert!(count > 150, "{count} names beside files: the map is read");
    assert!(wrong.is_empty(), "{MAP} names what is not there:\n{}", wrong.join("\n"));
}

#[test]
fn a_file_that_is_not_there_and_a_name_that_is_elsewhere_are_found() {
    let text = "pub struct Pull {\n    since: u64,\n}\nimpl Pull {\n    pub(crate) async fn run(self) {}\n}\n\
                enum End {\n    Left,\n}\n";
    let source = Source { path: "crates/edge/src/pull.rs".into(), text: text.to_owned() };
    let map = "\
        | what | where |\n\
        | it ends | `Pull::run`, `edge/src/pull.rs`; `Left` and `since`, `pull.rs` |\n\
        | it begins | `Pull::begin`, `pull.rs`; `Push`, `push.rs` |\n\
        What `full.rs` and `Nothing` do.\n";
    let (wrong, count) = wrong(map, &[source]);
    let expected = [
        "line 3: no file push.rs",
        "line 3: Pull::begin is not in pull.rs",
        "line 4: no file full.rs",
    ];
    assert_eq!((wrong, count), (expected.map(str::to_owned).to_vec(), 4));
}

/// What `map` says wrongly, and how many names it has beside files. In a table these are between the same semicolons.
fn wrong(map: &str, sources: &[Source]) -> (Vec<String>, usize) {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (number, line) in (1..).zip(map.lines()) {
        for file in spans(line).filter(|span| is_file(span)) {
            if named(file, sources).next().is_none() {
                wrong.push(format!("line {number}: no file {file}"));
            }
        }
        for part in line.split(['|', ';']).filter(|_| line.starts_with('|')) {
            let files: Vec<_> = spans(part).filter(|span| is_file(span)).collect();
            let mut found = files.iter().flat_map(|file| named(file, sources)).peekable();
            if found.peek().is_none() {
                continue;
            }
            let found: Vec<_> = found.collect();
            for span in spans(part).filter(|span| is_name(span)) {
                let name = span.rsplit("::").next().unwrap_or(span);
                count += 1;
                if !found.iter().any(|source| declares(&source.text, name)) {
                    wrong.push(format!("line {number}: {span} is not in {}", files.join(", ")));
                }
            }
        }
    }
    (wrong, count)
}

/// What stands in backquotes.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_file(span: &str) -> bool {
    span.ends_with(".rs")
}

/// Whether this is the name of an item, maybe with those that it is in.
fn is_name(span: &str) -> bool {
    span.split("::").all(|part| {
        part.starts_with(|first: char| first.is_alphabetic())
            && part.chars().all(|char| char.is_alphanumeric() || char == '_')
    })
}

/// The sources whose paths end like this.
fn named<'a>(file: &str, sources: &'a [Source]) -> impl Iterator<Item = &'a Source> {
    sources.iter().filter(move |source| source.path.ends_with(file))
}

fn declares(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let words: Vec<_> =
            line.split(|char: char| !char.is_alphanumeric() && char != '_').collect();
        let is_item = words.windows(2).any(|pair| ITEMS.contains(&pair[0]) && pair[1] == name);
        let line = line.trim_start();
        // `pub`, `pub(crate)`
        let public = line.strip_prefix("pub").and_then(|rest| rest.split_once(' '));
        let line = public.map_or(line, |(_, rest)| rest);
        let is_part = |rest: &str| PARTS.iter().any(|part| rest.starts_with(part));
        is_item || line.strip_prefix(name).is_some_and(is_part)
    })
}
