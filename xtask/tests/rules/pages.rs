//! The pages beside the code: links lead somewhere, and the list of decisions has them all.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::source;

const DECISIONS: &str = "docs/adr";

#[test]
fn every_decision_is_in_the_list() {
    let folder = source::root().join(DECISIONS);
    let list = read(&folder.join("README.md"));
    let listed: BTreeSet<_> = list.lines().filter(|line| line.starts_with("- [")).collect();
    let mut wanted = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for path in pages(&folder) {
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let Some((number, _)) = file.split_once('-').filter(|_| file != "README.md") else {
            continue;
        };
        let number: u32 = number.parse().expect("a decision's file begins with its number");
        let text = read(&path);
        let title =
            text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        assert!(title.starts_with(&format!("{number}. ")), "{file}: its title is {title:?}");
        assert!(numbers.insert(number), "{file}: there is another decision {number}");
        wanted.insert(format!("- [{title}]({file})"));
    }
    assert!(wanted.len() > 20, "decisions are found");
    let missing: Vec<_> = wanted.iter().filter(|line| !listed.contains(line.as_str())).collect();
    assert!(missing.is_empty(), "{DECISIONS}/README.md needs these lines: {missing:#?}");
    let gone: Vec<_> = listed.iter().filter(|line| !wanted.contains(**line)).collect();
    assert!(gone.is_empty(), "{DECISIONS}/README.md has lines of no decision: {gone:#?}");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = source::root();
    let folders = [".", ".github/ISSUE_TEMPLATE", "docs/adr", "docs/guide", "bench"];
    let mut wrong = Vec::new();
    for page in folders.iter().flat_map(|folder| pages(&root.join(folder))) {
        for link in links(&read(&page)) {
            let target =
                page.parent().unwrap_or(&root).join(link.split('#').next().unwrap_or_default());
            if !target.exists() {
                wrong.push(format!(
                    "{}: {link}",
                    page.strip_prefix(&root).unwrap_or(&page).display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "links to what is not there:\n{}", wrong.join("\n"));
}

#[test]
fn links_are_found_and_addresses_left_alone() {
    let text = "[a](b.md#c), [d](https://e/f) and `[x](y)`\n[g](../h), [i](#j), [k](mailto:l@m)";
    assert_eq!(links(text), ["b.md#c", "../h"]);
}

/// The targets of a page's links to files, as they are written. What is in backquotes is shown and no link.
fn links(text: &str) -> Vec<&str> {
    let lines = text.lines().flat_map(|line| line.split('`').step_by(2));
    let targets = lines.flat_map(|part| part.split("](").skip(1));
    let targets = targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets.filter(|target| !target.starts_with('#') && !target.contains(':')).collect()
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut pages: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    pages.sort();
    pages
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
