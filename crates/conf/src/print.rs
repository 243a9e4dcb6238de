//! From directives to a text that is read as the same.

use crate::{Dialect, tree::Directive};

/// What a block is indented by.
const INDENT: &str = "    ";

/// The directives as a file.
pub fn print(directives: &[Directive], dialect: Dialect) -> String {
    let mut out = String::new();
    write(&mut out, directives, dialect, 0);
    out
}

fn write(out: &mut String, directives: &[Directive], dialect: Dialect, depth: usize) {
    for directive in directives {
        out.push_str(&INDENT.repeat(depth));
        out.push_str(&word(&directive.name.text, dialect));
        for arg in &directive.args {
            out.push(' ');
            out.push_str(&word(&arg.text, dialect));
        }
        match &directive.block {
            None => out.push_str(";\n"),
            Some(inner) => {
                out.push_str(" {\n");
                write(out, inner, dialect, depth + 1);
                out.push_str(&INDENT.repeat(depth));
                out.push_str("}\n");
            }
        }
    }
}

fn word(text: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Srs => of_srs(text),
        Dialect::Nginx => of_nginx(text),
    }
}

/// SRS has no escapes; what was read from quotes of one kind has none of that kind in it.
fn of_srs(text: &str) -> String {
    let is_mark = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n' | ';' | '{');
    let is_plain =
        !text.is_empty() && !text.starts_with(['"', '\'', '#', '}']) && !text.contains(is_mark);
    match () {
        () if is_plain => text.to_owned(),
        () if !text.contains('"') => format!("\"{text}\""),
        () => format!("'{text}'"),
    }
}

fn of_nginx(text: &str) -> String {
    let is_plain =
        |c: char| c.is_alphanumeric() || (c.is_ascii_punctuation() && !"\"'\\;{}#$".contains(c));
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}
