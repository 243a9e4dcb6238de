//! From an error of serde, or of the tree as a whole, to a [`Diagnostic`].

use serde_saphyr::{Error, UserMessageFormatter, granit_parser::Span};

use super::{
    ConfigError, Diagnostic,
    check::Contradiction,
    source::{self, Place},
    suggest,
    value::{self, Problem},
};

/// The text being read, for [`Diagnostic`]s about it.
pub(super) struct Source<'t> {
    text: &'t str,
    file: &'t str,
    places: Vec<Place>,
}

impl<'t> Source<'t> {
    /// `text` as the parser read it, `file` its name.
    pub(super) fn new(text: &'t str, file: &'t str) -> Self {
        Self { text, file, places: source::places(text) }
    }

    /// What serde-saphyr or one of our readers refused.
    pub(super) fn refused(&self, error: &Error) -> ConfigError {
        let at = error.location().map_or((1, 1), |at| (count(at.line()), count(at.column())));
        let width = error.location().map_or(1, |at| count(at.span().len()));
        let begins = |span: Span| (span.start.line(), span.start.col() + 1) == at;
        let mut places = self.places.iter().filter(|p| begins(p.key) || begins(p.value));
        let cause = inner(error);
        // A section begins where its first key begins.
        let place = if is_innermost(cause) { places.next_back() } else { places.next() };
        let path = place.map_or("", |place| &place.path);
        let problem = self.problem(cause, path);
        self.diagnostic(at, width, setting(cause, path), problem)
    }

    /// What two settings make impossible, from the first side that stands in the text.
    pub(super) fn contradicted(&self, Contradiction(sides): Contradiction) -> ConfigError {
        let place = |path: &str| {
            // One address need not be written as a list.
            let alone = path.strip_suffix("[0]").unwrap_or(path);
            self.places
                .iter()
                .find(|p| p.path == path)
                .or(self.places.iter().find(|p| p.path == alone))
        };
        let [first, second] = sides.map(|(path, problem)| (place(&path), path, problem));
        let (place, path, problem) = if first.0.is_some() { first } else { second };
        let at = place.map_or((1, 1), |p| (p.value.start.line(), p.value.start.col() + 1));
        let width = place.map_or(1, |p| p.value.len());
        let path = place.map_or(path.as_str(), |p| &p.path);
        self.diagnostic(at, width, path, problem)
    }

    fn problem(&self, error: &Error, path: &str) -> Problem {
        match error {
            Error::SerdeUnknownField { field, expected, .. } => Problem::new(
                format!("unknown key `{field}`{}", suggest::did_you_mean(field, expected)),
                format!("the keys here are {}", expected.join(", ")),
            ),
            Error::Message { msg, .. } => Problem::from_text(msg),
            Error::NullIntoString { .. } => value::no_value("a value"),
            Error::Unexpected { expected: "mapping start", .. } => Problem::new(
                "keys and values are expected here",
                "write `key: value`, one a line, indented below the section's name",
            ),
            Error::Unexpected { expected: "string scalar", .. } => Problem::new(
                "one value is expected here, not a list or keys",
                "write the value alone, in quotes if it begins with `[` or `{`",
            ),
            Error::SerdeInvalidType { expected, .. } => {
                Problem::new(format!("{expected} is expected here"), "")
            }
            Error::DuplicateMappingKey { .. } => self.twice(path),
            Error::MultipleDocuments { .. } => {
                Problem::new("a second document begins", "keep one; take the line `---` out")
            }
            Error::ExternalMessage { msg, .. } => self.bad_syntax(msg, error),
            other => Problem::new(plain(other), ""),
        }
    }

    fn bad_syntax(&self, msg: &str, error: &Error) -> Problem {
        let line = self.line(error.location().map_or(1, |at| count(at.line())));
        let tab = line.trim_start_matches(' ').starts_with('\t');
        Problem::new(msg, if tab { "indent with spaces, not with tabs" } else { "" })
    }

    fn twice(&self, path: &str) -> Problem {
        let first = self.places.iter().find(|place| place.path == path);
        let line = first.map_or(1, |place| place.key.start.line());
        Problem::new(format!("is set twice, first in line {line}"), "keep one of them")
    }

    fn diagnostic(
        &self,
        at: (usize, usize),
        width: usize,
        path: &str,
        problem: Problem,
    ) -> ConfigError {
        let (line, column) = at;
        let snippet = self.line(line).to_owned();
        let rest = snippet.chars().count().saturating_sub(column - 1);
        let width = width.min(rest).max(1);
        let Problem { what, fix } = problem;
        let file = self.file.to_owned();
        ConfigError::Invalid(Box::new(Diagnostic {
            file,
            line,
            column,
            width,
            snippet,
            path: path.to_owned(),
            what,
            fix,
        }))
    }

    /// The text of a line, numbered from 1; nothing after the last.
    fn line(&self, number: usize) -> &'t str {
        self.text.lines().nth(number - 1).unwrap_or_default()
    }
}

/// The error without the snippet of serde-saphyr, and without the way through an alias.
fn inner(error: &Error) -> &Error {
    match error.without_snippet() {
        Error::AliasError { error, .. } => error.without_snippet(),
        other => other,
    }
}

/// Whether the error is about a key or a single value, and not about the section around it.
fn is_innermost(error: &Error) -> bool {
    matches!(
        error,
        Error::SerdeUnknownField { .. }
            | Error::DuplicateMappingKey { .. }
            | Error::Message { .. }
            | Error::NullIntoString { .. }
    )
}

/// serde-saphyr's own words, without the place that it appends.
fn plain(error: &Error) -> String {
    let said = error.render_with_formatter(&UserMessageFormatter);
    let place =
        error.location().map(|at| format!(" at line {}, column {}", at.line(), at.column()));
    place.and_then(|place| said.strip_suffix(&place)).unwrap_or(&said).to_owned()
}

/// The setting that the error is about, where `path` is what stands at its place.
fn setting<'p>(error: &Error, path: &'p str) -> &'p str {
    match error {
        Error::ExternalMessage { .. } | Error::MultipleDocuments { .. } => "",
        Error::SerdeUnknownField { field, .. } => {
            path.strip_suffix(field.as_str()).unwrap_or(path).trim_end_matches('.')
        }
        _ => path,
    }
}

/// A line, column or width of serde-saphyr, which has 0 for what it does not know.
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX).max(1)
}
