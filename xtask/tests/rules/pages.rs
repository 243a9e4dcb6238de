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
    let folders = [".", ".github/ISSUE_TEMPLATE", "docs/adr", "docs/guide", "docs/zh", "bench"];
    let mut wrong = Vec::new();
    for page in folders.iter().flat_map(|folder| pages(&root.join(folder))) {
        let text = read(&page);
        let name = page.strip_prefix(&root).unwrap_or(&page).display();
        for link in links(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                _ => page.parent().unwrap_or(&root).join(file),
            };
            if !target.exists() {
                wrong.push(format!("{name}: {link}"));
            } else if !heading.is_empty() && !headings(&read(&target)).contains(heading) {
                wrong.push(format!("{name}: {link}: there is no such heading"));
            }
        }
    }
    assert!(wrong.is_empty(), "links to what is not there:\n{}", wrong.join("\n"));
}

#[test]
fn links_are_found_and_addresses_left_alone() {
    let text = "[a](b.md#c), [d](https://e/f) and `[x](y)`\n[g](../h), [i](#j), [k](mailto:l@m)";
    assert_eq!(links(text), ["b.md#c", "../h", "#j"]);
}

#[test]
fn headings_have_the_names_that_links_use() {
    let text =
        "# A `b` [c](d.md)!\n## 升级、回滚 e\n```sh\n# no heading\n```\n## F-g_h (i)\n## A b c\n";
    let wanted = ["a-b-c", "升级回滚-e", "f-g_h-i"].map(str::to_owned);
    assert_eq!(headings(text), wanted.into());
}

/// The targets of a page's links to files, as they are written. What is in backquotes is shown and no link.
pub fn links(text: &str) -> Vec<&str> {
    let lines = text.lines().flat_map(|line| line.split('`').step_by(2));
    let targets = lines.flat_map(|part| part.split("](").skip(1));
    let targets = targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets.filter(|target| !target.contains(':')).collect()
}

/// The names by which links lead to the headings of a page, as GitHub makes them.
fn headings(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut names = BTreeSet::new();
    for line in text.lines() {
        is_code ^= line.trim_start().starts_with("```");
        let Some((marks, title)) = line.split_once(' ').filter(|_| !is_code) else { continue };
        if marks.is_empty() || !marks.chars().all(|c| c == '#') {
            continue;
        }
        let mut shown = String::new();
        let mut rest = title;
        while let Some((before, after)) = rest.split_once("](") {
            shown.push_str(before);
            rest = after.split_once(')').map_or("", |(_, after)| after);
        }
        shown.push_str(rest);
        let kept = shown.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        names.insert(kept.collect::<String>().to_lowercase().replace(' ', "-"));
    }
    names
}

pub fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut pages: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    pages.sort();
    pages
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
