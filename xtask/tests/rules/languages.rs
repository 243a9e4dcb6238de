//! Guides in two languages: both name the same keys, commands, files and pages.

use std::collections::BTreeSet;

use crate::{pages, source};

/// The pages in Simplified Chinese; each has the file name of its original.
const TRANSLATED: &str = "docs/zh";

/// Where the originals are, but for [`FRONT_PAGE`].
const ORIGINALS: &str = "docs/guide";

/// The original of this name is at the top of the repository.
const FRONT_PAGE: &str = "README.md";

/// How far down a page its link to the other language may be.
const LINK_LINES_MAX: usize = 4;

/// Frames and arrows of drawings, whose words are in the page's own language.
const DRAWN: &[char] = &['─', '│', '┌', '┐', '└', '┘', '├', '┤', '►', '◄', '▲', '▼'];

#[test]
fn both_languages_name_the_same() {
    let mut wrong = String::new();
    for name in translated() {
        let original = original_name(&name);
        let [original, name] = [original, name].map(|name| Page::of(&name, &read(&name)));
        wrong.push_str(&differences(&original, &name));
    }
    assert!(wrong.is_empty(), "the languages of a page differ:\n{wrong}");
}

#[test]
fn each_page_leads_to_its_other_language() {
    for name in translated() {
        let original = original_name(&name);
        for (from, to) in [(&name, &original), (&original, &name)] {
            let text = read(from);
            let top: Vec<_> = text.lines().take(LINK_LINES_MAX).collect();
            let top = top.join("\n");
            let mut links = pages::links(&top).into_iter();
            let leads = links.any(|link| resolved(from, link) == *to);
            assert!(leads, "{from} does not link to {to} at its top");
        }
    }
}

const ORIGINAL: &str = "\
# Run

Set `a.b` in `x.yaml` ([more](edge.md#top)):

    weir check # reads it

```yaml
a: { b: 1 }  # why
```
";

const TRANSLATION: &str = "\
# 运行

在 `x.yaml` 里设置 `a.b`（[更多](../guide/edge.md#上)）：

    weir check # 读它

```yaml
a: { b: 1 } # 为什么
```
";

#[test]
fn a_page_that_lacks_something_is_found() {
    let compare = |translation: &str| {
        let original = Page::of("docs/guide/run.md", ORIGINAL);
        let said = differences(&original, &Page::of("docs/zh/run.md", translation));
        said.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(compare(TRANSLATION).is_empty());
    let (here, there) = ("docs/zh/run.md lacks the", "docs/guide/run.md lacks the");
    for (from, to, said) in [
        ("`a.b`", "a.b", vec![format!("{here} name `a.b`")]),
        (
            "`x.yaml`",
            "`y.yaml`",
            vec![format!("{here} name `x.yaml`"), format!("{there} name `y.yaml`")],
        ),
        ("    weir check # 读它\n", "", vec![format!("{here} line `weir check`")]),
        (
            "b: 1",
            "b: 2",
            vec![format!("{here} line `a: {{ b: 1 }}`"), format!("{there} line `a: {{ b: 2 }}`")],
        ),
        (
            "/edge.md",
            "/hls.md",
            vec![
                format!("{here} link `docs/guide/edge.md`"),
                format!("{there} link `docs/guide/hls.md`"),
            ],
        ),
    ] {
        assert!(TRANSLATION.contains(from), "{from}");
        assert_eq!(compare(&TRANSLATION.replace(from, to)), said);
    }
}

#[test]
fn drawings_and_links_to_the_other_language_are_left_out() {
    let original = Page::of(
        "docs/guide/run.md",
        "[中文](../zh/run.md), [here](#run)\n\n```text\nencoder\n  └─► edge\n```\n\n[edges](edge.md)\n",
    );
    let translated = Page::of(
        "docs/zh/run.md",
        "[English](../guide/run.md)\n\n```text\n编码器\n  └─► 边缘\n```\n\n[边缘](../guide/edge.md)\n",
    );
    assert_eq!(differences(&original, &translated), "");
    assert_eq!(original.links, BTreeSet::from(["docs/guide/edge.md".to_owned()]));
    assert!(original.lines.is_empty());
}

#[test]
fn a_span_of_code_may_go_on_in_the_next_line() {
    let page =
        Page::of("docs/guide/run.md", "Use `weir\ncheck`, then `weir`.\n\n- `a`\n\n    b  c\n");
    assert_eq!(page.names, ["a", "weir", "weir check"].map(str::to_owned).into());
    assert_eq!(page.lines, ["b c"].map(str::to_owned).into());
}

/// What a page has that is the same in every language.
struct Page {
    /// The page, from the top of the repository.
    name: String,
    /// Its spans of code: keys, commands, files, messages.
    names: BTreeSet<String>,
    /// The lines of its blocks of code, without comments and drawings.
    lines: BTreeSet<String>,
    /// The pages and files it links to; a page in two languages counts as its original.
    links: BTreeSet<String>,
}

impl Page {
    fn of(name: &str, text: &str) -> Self {
        let (prose, blocks) = parts(text);
        let drawn = |block: &&String| !block.contains(DRAWN);
        let lines = blocks.iter().filter(drawn).flat_map(|block| block.lines());
        let lines = lines.map(|line| squeezed(uncommented(line))).filter(|line| !line.is_empty());
        let links = pages::links(text).into_iter();
        let links = links.map(|link| original_name(&resolved(name, link)));
        let own = original_name(name);
        Self {
            name: name.to_owned(),
            names: prose.split('`').skip(1).step_by(2).map(squeezed).collect(),
            lines: lines.collect(),
            links: links.filter(|link| *link != own).collect(),
        }
    }
}

/// One line for each thing that only one of the pages has.
fn differences(original: &Page, translated: &Page) -> String {
    let mut said = String::new();
    for (page, other) in [(translated, original), (original, translated)] {
        for (kind, has, wanted) in [
            ("name", &page.names, &other.names),
            ("line", &page.lines, &other.lines),
            ("link", &page.links, &other.links),
        ] {
            for missing in wanted.difference(has) {
                said.push_str(&format!("{} lacks the {kind} `{missing}`\n", page.name));
            }
        }
    }
    said
}

/// The text outside blocks of code, and the blocks: fenced ones, and indented ones after an empty line.
fn parts(text: &str) -> (String, Vec<String>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    let (mut fence, mut indented) = (None::<String>, None::<String>);
    let mut is_after_empty = true;
    for line in text.lines() {
        if let Some(block) = &mut fence {
            if line.trim_start().starts_with("```") {
                blocks.extend(fence.take());
            } else {
                block.push_str(line);
                block.push('\n');
            }
            continue;
        }
        if line.trim_start().starts_with("```") {
            fence = Some(String::new());
            continue;
        }
        let is_code = line.starts_with("    ") && (is_after_empty || indented.is_some());
        is_after_empty = line.trim().is_empty();
        if is_code {
            let block = indented.get_or_insert_default();
            block.push_str(line);
            block.push('\n');
        } else {
            blocks.extend(indented.take());
            prose.push_str(line);
            prose.push('\n');
        }
    }
    blocks.extend(indented);
    (prose, blocks)
}

/// `line` without a comment of a shell, YAML or JavaScript.
fn uncommented(line: &str) -> &str {
    let begins = |mark: &str| {
        let mut found = line.match_indices(mark).map(|(at, _)| at);
        found.find(|&at| at == 0 || line[..at].ends_with(char::is_whitespace))
    };
    let end = [begins("#"), begins("//")].into_iter().flatten().min();
    &line[..end.unwrap_or(line.len())]
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The name of the page in English that `name` is, or is a translation of.
fn original_name(name: &str) -> String {
    match name.strip_prefix(TRANSLATED).and_then(|rest| rest.strip_prefix('/')) {
        None => name.to_owned(),
        Some(FRONT_PAGE) => FRONT_PAGE.to_owned(),
        Some(file) => format!("{ORIGINALS}/{file}"),
    }
}

/// The name of what `link` of the page `name` leads to, without the place in it.
fn resolved(name: &str, link: &str) -> String {
    let file = link.split('#').next().unwrap_or_default();
    if file.is_empty() {
        return name.to_owned();
    }
    let mut parts: Vec<_> = name.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// The pages that are a translation, by their names from the top of the repository.
fn translated() -> Vec<String> {
    let pages = pages::pages(&source::root().join(TRANSLATED));
    let files = pages.iter().filter_map(|path| path.file_name()?.to_str());
    let names: Vec<_> = files.map(|file| format!("{TRANSLATED}/{file}")).collect();
    assert!(!names.is_empty(), "pages are found");
    names
}

fn read(name: &str) -> String {
    pages::read(&source::root().join(name))
}
