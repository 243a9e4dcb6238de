//! What is wrong with a configuration, said so that it can be mended.

use std::{
    fmt::{self, Write},
    io,
    path::PathBuf,
};

use super::fault::Fault;

/// Why there is no configuration. Shown over several lines, for people: see [`Diagnostic`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("error: {}: cannot be read: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// The text is no configuration.
    #[error(transparent)]
    Invalid(Box<Diagnostic>),
    /// A setting that stands nowhere cannot work here: its default is in force.
    #[error("error: {}: {} (by default)\n  = help: {}", .0.path, .0.what, .0.fix)]
    Default(Fault),
    /// A setting that the program gave cannot work here.
    #[error("error: {}: {}\n  = help: {}", .0.path, .0.what, .0.fix)]
    Program(Fault),
}

/// One error and its place. Shown as
///
/// ```text
/// error: weir.yaml:7:10: play.flush: 5s is longer than 1s
///   |
/// 7 |   flush: 5s
///   |          ^^
///   = help: use 0ms, video, or a duration up to 1s
/// ```
///
/// or, where it is in the environment, as
///
/// ```text
/// error: WEIR_PLAY__FLUSH: play.flush: 5s is longer than 1s
///   |
///   | WEIR_PLAY__FLUSH=5s
///   |                  ^^
///   = help: use 0ms, video, or a duration up to 1s
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostic {
    /// Where the text is from.
    pub origin: Origin,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters of the line are meant, at least 1.
    pub width: usize,
    /// The text of the line, with secrets masked.
    pub snippet: String,
    /// The setting, such as `play.flush`; empty for an error of syntax.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// How to mend it; may be empty.
    pub fix: String,
}

/// Where settings are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file; its name, as given.
    File(String),
    /// The value of a variable of the environment; the variable's name.
    Variable(String),
    /// The name of a variable itself.
    Name(String),
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, line, column, width, snippet, path, what, fix } = self;
        let colon = if path.is_empty() { "" } else { ": " };
        let number = line.to_string();
        let (place, number, before) = match origin {
            Origin::File(name) => (format!("{name}:{line}:{column}"), number.as_str(), None),
            Origin::Variable(name) => (name.clone(), " ", Some(name).filter(|_| *line == 1)),
            Origin::Name(name) => (name.clone(), " ", None),
        };
        let before = before.map_or(String::new(), |name| format!("{name}="));
        writeln!(f, "error: {}: {}{colon}{}", Visible(&place), Visible(path), Visible(what))?;
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(before.chars().count() + column.saturating_sub(1));
        writeln!(f, "{margin} |\n{number} | {}{}", Visible(&before), Visible(snippet))?;
        write!(f, "{margin} | {indent}{}", "^".repeat(*width))?;
        if !fix.is_empty() {
            write!(f, "\n{margin} = help: {fix}")?;
        }
        Ok(())
    }
}

/// Text of the file with each control character as a space: a tab would part the caret from what it points at, and an
/// escape sequence would reach the terminal.
struct Visible<'t>(&'t str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| f.write_char(if c.is_control() { ' ' } else { c }))
    }
}
