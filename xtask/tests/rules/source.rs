//! Reading the repository's own Rust sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The files of modules that only tests have.
const TEST_FILES: &[&str] = &["tests.rs", "testing.rs"];

/// A Rust source file of the repository.
pub struct Source {
    /// Relative to the top of the repository, for messages.
    pub path: PathBuf,
    pub text: String,
}

/// The top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every `.rs` file below `dir`, a folder named from the top of the repository.
pub fn below(dir: &str) -> Vec<Source> {
    let (mut sources, mut dirs) = (Vec::new(), vec![root().join(dir)]);
    while let Some(dir) = dirs.pop() {
        let entries = dir.read_dir().and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        for entry in entries.unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.path();
            if path.is_dir() && entry.file_name() != "target" {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(Source::read(&path));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path: path.strip_prefix(root()).unwrap_or(path).into(), text }
    }

    /// Every line, numbered from 1.
    pub fn lines(&self) -> Vec<(usize, &str)> {
        (1..).zip(self.text.lines()).collect()
    }

    /// Whether all of it is test code: it lies in a `tests` folder, or is the file of a `mod tests;` or `mod testing;`.
    pub fn is_test(&self) -> bool {
        self.path.components().any(|part| part.as_os_str() == "tests")
            || TEST_FILES.iter().any(|name| self.path.ends_with(name))
    }

    /// The lines that are not test code, numbered from 1.
    pub fn production(&self) -> Vec<(usize, &str)> {
        if self.is_test() { Vec::new() } else { production(&self.text) }
    }
}

/// The lines of `text` without the items marked `#[cfg(test)]`, numbered from 1.
///
/// It leans on rustfmt, which a check before this one requires: an item is one line that ends with `;`, or ends at the
/// first `}` that is indented like its beginning.
fn production(text: &str) -> Vec<(usize, &str)> {
    let mut kept = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push((number, line));
            continue;
        }
        let is_one_line = lines.next().is_some_and(|(_, first)| first.ends_with(';'));
        if !is_one_line {
            lines.find(|(_, next)| indentation(next) == indentation(line) && next.trim() == "}");
        }
    }
    kept
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[test]
fn test_items_are_not_production_code() {
    let text = "\
use a;
#[cfg(test)]
mod tests;
fn f() {
    #[cfg(test)]
    g();
    h();
}
#[cfg(test)]
mod more {
    const TEXT: &str = \"
some;
\";
}
fn j() {}
";
    let kept: Vec<_> = production(text).into_iter().map(|(number, _)| number).collect();
    assert_eq!(kept, [1, 4, 7, 8, 15]);
}
