//! The rules between the files of a crate: no circles, and in `server` no arrow up.
//!
//! A file has an arrow to another when it names something that is declared there. Where a name is only handed on
//! (`pub use`), the arrow goes to the file that declares it. Tests may name what they like.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    paths::{self, Paths},
    source::{self, Source},
};

/// The modules of `server`, from the top down. A file may only name what is in its own line or below.
const LAYERS: &[&[&str]] = &[
    &["app"],
    &["command"],
    &["server"],
    &["api"],
    &["metrics"],
    &["operate"],
    &["http", "rtmp"],
    &["play", "publish"],
    &["node"],
    &["auth", "tls"],
    &["log"],
    &["memory", "zero_copy"],
    &["phase", "terms"],
];

/// Arrows of `server` that go up, from module to module. This list only gets shorter.
const UPWARD: &[(&str, &str)] = &[];

/// Files that are in a circle, or folders that have some. This list only gets shorter.
const CIRCLES: &[&str] = &[];

/// The part of all lines that one crate may have, in percent.
const SHARE_MAX: usize = 25;

/// Crates that have more, and how much at most. This list only gets shorter.
const TOO_LARGE: &[(&str, usize)] = &[];

/// How far below its number in [`TOO_LARGE`] a crate may be before the number has to follow.
const SHARE_SLACK: usize = 10;

/// From each file, by its path below `src`, to the files that it names something of.
type Arrows = BTreeMap<String, BTreeSet<String>>;

#[test]
fn arrows_between_modules_point_down() {
    let arrows = arrows(&files_of("crates/server/src"));
    let unknown: BTreeSet<_> = arrows
        .keys()
        .map(|file| module_of(file))
        .filter(|module| layer(LAYERS, module).is_none())
        .collect();
    assert!(
        unknown.is_empty(),
        "say in LAYERS in xtask/tests/rules/modules.rs where they belong: {unknown:?}"
    );
    let found = upward(LAYERS, &arrows);
    let found = found.into_iter().map(|(from, to)| (module_of(&from).to_owned(), to)).collect();
    let known = UPWARD.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    compare("arrows that go up (UPWARD)", &found, &known);
}

#[test]
fn no_files_go_in_circles() {
    let found = crates().into_iter().flat_map(|folder| {
        let circles = circles(&arrows(&files_of(&folder)));
        circles.into_iter().flatten().map(move |file| format!("{folder}/{file}"))
    });
    let found = found.map(|file| listed(CIRCLES, &file).map_or(file, str::to_owned));
    let known = CIRCLES.iter().map(|file| (*file).to_owned()).collect();
    compare("files in a circle (CIRCLES)", &found.collect(), &known);
}

#[test]
fn no_crate_has_more_than_a_quarter_of_all_lines() {
    let lines: BTreeMap<_, usize> = crates()
        .into_iter()
        .map(|folder| {
            let sources = source::below(&folder);
            (folder, sources.iter().map(|source| source.production().len()).sum())
        })
        .collect();
    let wrong = too_large(&lines, TOO_LARGE);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The folders with the sources of each crate.
fn crates() -> Vec<String> {
    let entries = source::root().join("crates").read_dir().expect("a folder of crates");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
    let mut folders: Vec<_> =
        names.map(|name| format!("crates/{}/src", name.expect("a plain name"))).collect();
    folders.push("xtask/src".to_owned());
    folders.sort();
    folders
}

/// The line of `list` that has `file`: itself, or a folder that it is in.
fn listed<'a>(list: &[&'a str], file: &str) -> Option<&'a str> {
    let has = |line: &&str| *line == file || line.ends_with('/') && file.starts_with(*line);
    list.iter().copied().find(has)
}

/// What is wrong with the `lines` of each crate.
fn too_large(lines: &BTreeMap<String, usize>, known: &[(&str, usize)]) -> Vec<String> {
    let all: usize = lines.values().sum();
    let mut wrong = Vec::new();
    for (folder, lines) in lines {
        let share = (100 * lines).div_ceil(all);
        match known.iter().find(|(name, _)| *name == folder) {
            Some((_, most))
                if share > *most || share <= SHARE_MAX || share + SHARE_SLACK < *most =>
            {
                wrong.push(format!("{folder} has {share} % of all lines, TOO_LARGE says {most}"));
            }
            None if share > SHARE_MAX => {
                wrong.push(format!("{folder} has {share} % of all lines; {SHARE_MAX} is the most"));
            }
            _ => {}
        }
    }
    wrong
}

fn compare<T: Ord + std::fmt::Debug>(what: &str, found: &BTreeSet<T>, known: &BTreeSet<T>) {
    let new: Vec<_> = found.difference(known).collect();
    assert!(new.is_empty(), "new {what}; turn them around: {new:#?}");
    let stale: Vec<_> = known.difference(found).collect();
    assert!(stale.is_empty(), "{what} that are no more; take them off the list: {stale:#?}");
}

/// The production code of each file below `folder`, by its path there.
fn files_of(folder: &str) -> Vec<(String, String)> {
    let sources = source::below(folder).into_iter().filter(|source| !source.is_test());
    let text = |source: &Source| {
        source.production().into_iter().map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    let name = |source: &Source| {
        let path = source.path.strip_prefix(folder).expect("a file of the folder");
        path.to_str().expect("a plain name").to_owned()
    };
    sources.map(|source| (name(&source), text(&source))).collect()
}

/// The module of the crate's root that a file belongs to: `play` for `play/shard.rs`, nothing for the root's file.
fn module_of(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or_default();
    let name = first.strip_suffix(".rs").unwrap_or(first);
    if is_root(file) { "" } else { name }
}

fn is_root(file: &str) -> bool {
    file == "lib.rs" || file == "main.rs"
}

fn layer(layers: &[&[&str]], module: &str) -> Option<usize> {
    // The root declares the modules, and is above them all.
    if module.is_empty() { Some(0) } else { layers.iter().position(|line| line.contains(&module)) }
}

/// The arrows from a file to a module of a line above its own.
fn upward(layers: &[&[&str]], arrows: &Arrows) -> BTreeSet<(String, String)> {
    let all = arrows.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, module_of(to))));
    let goes_up = |(from, to): &(&String, &str)| {
        layer(layers, to) < layer(layers, module_of(from)) && *to != module_of(from)
    };
    all.filter(goes_up).map(|(from, to)| (from.clone(), to.to_owned())).collect()
}

/// The sets of files that can each be reached from each other.
fn circles(arrows: &Arrows) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<_, _> = arrows.keys().map(|file| (file, reach(arrows, file))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (file, to) in &reached {
        if to.contains(*file) && !circles.iter().any(|circle| circle.contains(*file)) {
            circles.push(to.iter().filter(|to| reached[to].contains(*file)).cloned().collect());
        }
    }
    circles
}

fn reach(arrows: &Arrows, from: &String) -> BTreeSet<String> {
    let (mut seen, mut stack) = (BTreeSet::new(), vec![from]);
    while let Some(file) = stack.pop() {
        for to in &arrows[file] {
            if seen.insert(to.clone()) {
                stack.push(to);
            }
        }
    }
    seen
}

/// The modules of a crate, by their paths.
struct Modules<'a> {
    files: BTreeMap<Vec<String>, (&'a str, Paths)>,
}

/// What a path leads to.
enum Target {
    Module(Vec<String>),
    /// Something declared in the module.
    Item(Vec<String>),
}

/// Finds the arrows between `files`, which are all of a crate.
fn arrows(files: &[(String, String)]) -> Arrows {
    let mut arrows: Arrows =
        files.iter().map(|(file, _)| (file.clone(), BTreeSet::new())).collect();
    // The library and the binary beside it are a crate each.
    for root in ["lib.rs", "main.rs"] {
        let modules = Modules::below(root, files);
        for (module, (file, paths)) in &modules.files {
            let uses = paths.uses.iter().filter(|found| !found.is_public);
            let uses = uses.map(|found| (found.depth, &found.path));
            let inline = paths.inline.iter().map(|(depth, path)| (*depth, path));
            let targets = uses.chain(inline).filter_map(|(depth, path)| {
                let path = outside_braces(depth, path)?;
                match modules.resolve(module, path, 0)? {
                    Target::Item(module) => Some(modules.files[&module].0),
                    Target::Module(_) => None,
                }
            });
            let targets = targets.filter(|to| to != file).map(str::to_owned);
            arrows.entry((*file).to_owned()).or_default().extend(targets);
        }
    }
    arrows
}

/// What `path`, written `depth` modules deep within a file, is for the file; none if it stays within these modules.
fn outside_braces(depth: usize, path: &[String]) -> Option<&[String]> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    match path.first()?.as_str() {
        "super" if ups < depth => None,
        "super" => Some(&path[depth..]),
        "crate" => Some(path),
        _ => (depth == 0).then_some(path),
    }
}

impl<'a> Modules<'a> {
    /// Those that `root` declares, and what these declare.
    fn below(root: &str, files: &'a [(String, String)]) -> Self {
        let mut found = Self { files: BTreeMap::new() };
        let mut stack = vec![(Vec::new(), root.to_owned(), String::new())];
        while let Some((module, file, folder)) = stack.pop() {
            let Some((file, text)) = files.iter().find(|(name, _)| *name == file) else { continue };
            let paths = paths::read(text);
            for name in &paths.modules {
                let below = [module.as_slice(), std::slice::from_ref(name)].concat();
                for file in [format!("{folder}{name}.rs"), format!("{folder}{name}/mod.rs")] {
                    stack.push((below.clone(), file, format!("{folder}{name}/")));
                }
            }
            found.files.insert(module, (file, paths));
        }
        found
    }

    /// Where `path` leads from `module`; nowhere in this crate, if it begins with the name of another one.
    fn resolve(&self, module: &[String], path: &[String], turns: usize) -> Option<Target> {
        // Names that are handed on in a circle lead nowhere.
        let turns = Some(turns + 1).filter(|turns| *turns < 32)?;
        let mut at = module.to_vec();
        let (first, mut rest) = path.split_first()?;
        let mut is_here = true;
        match first.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => {
                at.pop()?;
                while let Some((next, after)) = rest.split_first()
                    && next == "super"
                {
                    at.pop()?;
                    rest = after;
                }
            }
            _ => (rest, is_here) = (path, false),
        }
        while let Some((next, after)) = rest.split_first() {
            let below = [at.as_slice(), std::slice::from_ref(next)].concat();
            let paths = &self.files[&at].1;
            let handed_on = paths
                .uses
                .iter()
                .find(|found| found.depth == 0 && found.name.as_ref() == Some(next));
            if self.files.contains_key(&below) {
                at = below;
            } else if let Some(found) = handed_on
                && found.path != path
            {
                match self.resolve(&at, &found.path, turns) {
                    Some(Target::Module(module)) => at = module,
                    Some(item) => return Some(item),
                    // It is another crate's, and handed on for those who have asked for it here.
                    None => return is_here.then_some(Target::Item(at)),
                }
            } else if is_here {
                return Some(Target::Item(at));
            } else {
                return None;
            }
            (rest, is_here) = (after, true);
        }
        Some(Target::Module(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let owned = |(file, text): &(&str, &str)| ((*file).to_owned(), (*text).to_owned());
        let arrows = arrows(&files.iter().map(owned).collect::<Vec<_>>());
        let lines =
            arrows.iter().flat_map(|(from, to)| to.iter().map(move |to| format!("{from} -> {to}")));
        lines.collect()
    }

    const LINES: &[&[&str]] = &[&["top"], &["middle", "beside"], &["bottom"]];

    fn made_up(bottom: &str) -> Arrows {
        let files = [
            ("lib.rs", "mod top; mod middle; mod beside; mod bottom;"),
            (
                "top.rs",
                "pub use crate::bottom::Low; use crate::middle::part::{self, Part}; fn f() { part::g(); }",
            ),
            ("middle/mod.rs", "pub mod part; pub use part::Part; use crate::beside::B;"),
            ("middle/part.rs", "use crate::bottom; pub struct Part(bottom::Low); pub fn g() {}"),
            ("beside.rs", "pub struct B;"),
            ("bottom.rs", bottom),
        ];
        arrows(&files.map(|(file, text)| (file.to_owned(), text.to_owned())))
    }

    #[test]
    fn a_made_up_arrow_that_goes_up_is_found_in_every_spelling() {
        assert!(upward(LINES, &made_up("pub struct Low;")).is_empty());
        for spelling in [
            "use crate::middle::part::Part;",
            "use crate::{top, middle::{Part as Other}}; fn f(_: Other) {}",
            "fn f() { crate::middle::part::g(); }",
            "fn f() { super::middle::part::g(); }",
            "use crate::middle; fn f() { middle::part::g(); }",
            "mod inside { use super::super::middle::Part; }",
            "use crate::middle::part::*;",
        ] {
            let found = upward(LINES, &made_up(spelling));
            let expected = ("bottom.rs".to_owned(), "middle".to_owned());
            assert_eq!(found, BTreeSet::from([expected]), "{spelling}");
        }
    }

    #[test]
    fn a_made_up_circle_is_found() {
        assert!(circles(&made_up("pub struct Low;")).is_empty());
        let circle = circles(&made_up("pub struct Low; fn f() { crate::middle::part::g(); }"));
        let expected = ["bottom.rs", "middle/part.rs"].map(str::to_owned);
        assert_eq!(circle, [BTreeSet::from(expected)]);
        let longer = circles(&made_up("pub struct Low; fn f() { crate::top::f(); }"));
        assert_eq!(longer[0].len(), 3, "by way of a third one: {longer:?}");
    }

    #[test]
    fn what_is_handed_on_is_looked_for_where_it_is_declared() {
        let files = [
            ("lib.rs", "mod a; pub use a::{b::B, shared};"),
            (
                "a.rs",
                "pub mod b; mod c; pub use c::shared; pub use weir_other::Other; pub const HERE: u8 = 0;",
            ),
            ("a/b.rs", "use super::{shared, Other}; pub struct B;"),
            ("a/c.rs", "pub fn shared() -> u8 { super::HERE }"),
        ];
        assert_eq!(found(&files), ["a/b.rs -> a.rs", "a/b.rs -> a/c.rs", "a/c.rs -> a.rs"]);
    }

    #[test]
    fn lists_may_only_shrink() {
        let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let try_compare = |found: &[&str], known: &[&str]| {
            let (found, known): (BTreeSet<String>, BTreeSet<String>) = (set(found), set(known));
            std::panic::catch_unwind(|| compare("faults", &found, &known)).is_ok()
        };
        assert!(try_compare(&["a"], &["a"]));
        assert!(!try_compare(&["a", "b"], &["a"]), "a new one");
        assert!(!try_compare(&[], &["a"]), "a stale one");
    }

    #[test]
    fn a_crate_that_is_too_large_is_found() {
        let lines = |large| BTreeMap::from([("large".to_owned(), large), ("rest".to_owned(), 0)]);
        let mut lines = lines(26);
        lines.insert("rest".to_owned(), 74);
        assert_eq!(too_large(&lines, &[("rest", 74)]).len(), 1, "large has 26 %");
        assert!(too_large(&lines, &[("rest", 74), ("large", 26)]).is_empty());
        assert_eq!(too_large(&lines, &[("rest", 73), ("large", 26)]).len(), 1, "it has grown");
        assert_eq!(
            too_large(&lines, &[("rest", 85), ("large", 26)]).len(),
            1,
            "the number is stale"
        );
    }
}
