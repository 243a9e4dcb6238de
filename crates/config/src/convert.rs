//! A configuration of another server as YAML, with a comment where something is different.

use std::path::Path;

use super::{
    document::{Document, Note},
    error::{ConfigError, Origin},
    load,
    tree::{Node, Place, Value},
};

/// The configuration of SRS or nginx in the file at `path` as YAML that means the same here, and what is different.
/// Nothing where the file has a format of ours.
///
/// # Errors
/// It cannot be read, or is wrong.
pub fn convert(path: &Path) -> Result<Option<(String, Vec<Note>)>, ConfigError> {
    let found = load::foreign_file(path)?;
    Ok(found.map(|(node, document)| {
        let text = written(&node, &document);
        (text, document.notes)
    }))
}

/// The tree as YAML.
fn written(node: &Node, document: &Document) -> String {
    let mut writer =
        Writer { out: String::new(), notes: document.notes.iter().map(Some).collect() };
    writer.map(node, 0);
    let from = match document.texts.first().map(|quoted| &quoted.origin) {
        Some(Origin::File(name)) => name.as_str(),
        _ => "",
    };
    let mut head = format!("# From {}\n", visible(from));
    let rest: Vec<_> = writer.notes.iter().flatten().collect();
    if !rest.is_empty() {
        head.push_str("#\n# What is different, and has no key here:\n");
    }
    for note in rest {
        head.push_str(&format!("# - {}\n", visible(&note.to_string())));
    }
    format!("{head}\n{}", writer.out)
}

struct Writer<'d> {
    out: String,
    /// Those that are not yet written.
    notes: Vec<Option<&'d Note>>,
}

impl Writer<'_> {
    fn indent(&mut self, depth: usize) {
        self.out.push_str(&"  ".repeat(depth));
    }

    /// Writes what is different about the directive at `place`.
    fn comments(&mut self, place: Place, depth: usize) {
        let is_here = |note: &Note| place.file == 0 && note.line == place.line;
        let here: Vec<_> =
            self.notes.iter_mut().filter_map(|note| note.take_if(|note| is_here(note))).collect();
        for note in here {
            self.indent(depth);
            let text = visible(&note.to_string());
            self.out.push_str(&format!("# {text}\n"));
        }
    }

    fn map(&mut self, node: &Node, depth: usize) {
        let Value::Map(entries) = node.value() else { return };
        for (key, value) in entries {
            let is_single = matches!(value.value(), Value::One(_) | Value::List(_) | Value::Null);
            if is_single && value.place != Place::NOWHERE {
                self.comments(value.place, depth);
            }
            self.indent(depth);
            self.out.push_str(&scalar(&key.text, true));
            self.out.push(':');
            self.value(value, depth);
        }
    }

    /// What stands behind a key.
    fn value(&mut self, node: &Node, depth: usize) {
        match node.value() {
            Value::Null => self.out.push_str(" null\n"),
            Value::One(one) => self.out.push_str(&format!(" {}\n", scalar(&one.text, false))),
            Value::Map(entries) if entries.is_empty() => self.out.push_str(" {}\n"),
            Value::Map(_) => {
                self.out.push('\n');
                self.map(node, depth + 1);
            }
            Value::List(all) if all.iter().all(|one| matches!(one.value(), Value::One(_))) => {
                let one = |node: &Node| match node.value() {
                    Value::One(one) => scalar(&one.text, true),
                    _ => String::new(),
                };
                let all: Vec<_> = all.iter().map(one).collect();
                self.out.push_str(&format!(" [{}]\n", all.join(", ")));
            }
            Value::List(all) => {
                self.out.push('\n');
                for element in all {
                    let mut inner = Writer { out: String::new(), notes: Vec::new() };
                    inner.map(element, depth + 2);
                    // The first key stands behind the dash.
                    let text = inner.out.get(2 * (depth + 2)..).unwrap_or_default().to_owned();
                    self.indent(depth + 1);
                    self.out.push_str(&format!("- {text}"));
                }
            }
        }
    }
}

/// A single value; `is_text`: a number must not be taken for one.
fn scalar(text: &str, is_text: bool) -> String {
    let words = ["true", "false", "yes", "no", "y", "n", "on", "off", "null"];
    let is_word = words.iter().any(|word| text.eq_ignore_ascii_case(word));
    let known = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/')
        || text.starts_with("./") && text.len() > 2;
    let is_number = !text.is_empty()
        && text.len() < 10
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    let is_time = text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with('s')
        && text.chars().all(|c| c.is_ascii_digit() || "hms".contains(c));
    match () {
        () if !is_text && (text == "true" || text == "false" || is_number) => text.to_owned(),
        () if is_time => text.to_owned(),
        () if is_plain && !is_word && text.chars().all(known) => text.to_owned(),
        () => quoted(text),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Text for a comment: in one line.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
