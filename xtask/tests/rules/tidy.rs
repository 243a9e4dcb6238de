//! The tidiness of the sources, as far as neither rustfmt nor clippy sees to it.

use crate::source::{self, Source};

/// The widest line; code is formatted to 100 columns, comments and strings may need more.
const LINE_CHARS_MAX: usize = 120;

/// The longest file, test code left out: past that it is several files.
const FILE_LINES_MAX: usize = 800;

/// Where our sources are.
const FOLDERS: &[&str] = &["crates", "xtask", "fuzz"];

/// Marks of unfinished work, split so that this file does not hold them.
const MARKS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

#[test]
fn lines_are_narrow() {
    // An address cannot be broken.
    check("is wider than 120 characters", Source::lines, |line| {
        line.chars().count() > LINE_CHARS_MAX && !line.contains("://")
    });
}

#[test]
fn nothing_is_left_for_later() {
    check("marks unfinished work: do it, or file an issue", Source::lines, |line| {
        let mut words = line.split(|c: char| !c.is_alphanumeric());
        words.any(|word| MARKS.contains(&word))
    });
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let what = "unwraps: return an error, or `expect` with the invariant";
    check(what, Source::production, |line| {
        line.contains(".unwrap()") && !line.trim_start().starts_with("//")
    });
}

#[test]
fn files_are_short() {
    let long: Vec<_> = sources()
        .iter()
        .map(|source| (source.path.display().to_string(), source.production().len()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .collect();
    assert!(long.is_empty(), "files of more than {FILE_LINES_MAX} lines; split them: {long:?}");
}

fn sources() -> Vec<Source> {
    FOLDERS.iter().flat_map(|folder| source::below(folder)).collect()
}

/// Fails with every one of the `lines` of each source that `is_wrong`.
fn check(what: &str, lines: fn(&Source) -> Vec<(usize, &str)>, is_wrong: impl Fn(&str) -> bool) {
    let mut wrong = String::new();
    for source in sources() {
        for (number, line) in lines(&source).into_iter().filter(|(_, line)| is_wrong(line)) {
            let path = source.path.display();
            wrong.push_str(&format!("{path}:{number} {what}: {}\n", line.trim()));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
