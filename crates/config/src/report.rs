//! From an error of serde, or of the tree as a whole, to a [`Diagnostic`].

use serde_saphyr::{Error, UserMessageFormatter, granit_parser::Span};

use super::{
    ConfigError, Diagnostic, Origin,
    check::Contradiction,
    foreign, hints,
    source::{self, Position, Positions},
    suggest,
    value::{self, Problem},
};

/// A text with settings, for [`Diagnostic`]s about it.
pub(super) struct Source<'t> {
    text: &'t str,
    origin: Origin,
    /// The key that the whole text is the value of; empty for a file.
    path: &'t str,
    places: Positions,
}

impl<'t> Source<'t> {
    /// A file: `text` as the parser read it, `name` the file's.
    pub(super) fn file(name: &str, text: &'t str) -> Self {
        let origin = Origin::File(name.to_owned());
        Self { text, origin, path: "", places: source::places(text) }
    }

    /// A variable that sets the key `path` to `text` as it is.
    pub(super) fn variable(name: &str, path: &'t str, text: &'t str) -> Self {
        let origin = Origin::Variable(name.to_owned());
        Self { text, origin, path, places: Positions::default() }
    }

    /// A variable that sets the key `path` to `text`, which is YAML.
    pub(super) fn yaml_variable(name: &str, path: &'t str, text: &'t str) -> Self {
        let mut places = source::places(text);
        for inner in places.all.iter_mut().map(|p| &mut p.path).chain(&mut places.cut) {
            let dot = if inner.is_empty() || inner.starts_with('[') { "" } else { "." };
            *inner = format!("{path}{dot}{inner}");
        }
        let origin = Origin::Variable(name.to_owned());
        Self { text, origin, path, places }
    }

    /// The name of a variable.
    pub(super) fn name(name: &'t str) -> Self {
        let origin = Origin::Name(name.to_owned());
        Self { text: name, origin, path: "", places: Positions::default() }
    }

    /// The text is not in UTF-8 behind its first `valid` bytes, which are read as they are.
    pub(super) fn not_utf8(&self, valid: usize) -> ConfigError {
        let before = self.text.get(..valid).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
        let problem = match self.text.contains('\0') {
            true => Problem::new("the file is UTF-16, or not text", "save it as UTF-8 text"),
            false => Problem::new("is not valid UTF-8 from here on", "save the file as UTF-8"),
        };
        self.diagnostic((line, column), 1, "", problem)
    }

    /// The whole text is refused.
    pub(super) fn refused_text(&self, problem: Problem) -> ConfigError {
        self.diagnostic((1, 1), usize::MAX, self.path, problem)
    }

    /// What serde-saphyr or one of our readers refused.
    pub(super) fn refused(&self, error: &Error) -> ConfigError {
        if let (Origin::File(_), Some(found)) =
            (&self.origin, foreign::recognise(self.text, &self.places))
        {
            return self.diagnostic((found.line, 1), usize::MAX, "", found.problem);
        }
        let at = error.location().map_or((1, 1), |at| (count(at.line()), count(at.column())));
        let width = error.location().map_or(1, |at| count(at.span().len()));
        let begins = |span: Span| (span.start.line(), span.start.col() + 1) == at;
        let mut places = self.places.all.iter().filter(|p| begins(p.key) || begins(p.value));
        let cause = inner(error);
        // A section begins where its first key begins.
        let place = if is_innermost(cause) { places.next_back() } else { places.next() };
        let path = place.map_or(self.path, |place| &place.path);
        let problem = self.problem(cause, path);
        self.diagnostic(at, width, setting(cause, path), problem)
    }

    /// Where the text sets the key `path`: its place, and the path as it stands there.
    fn place(&self, path: &str) -> Option<((usize, usize), usize, String)> {
        // One value need not be written as a list.
        let alone = path.strip_suffix("[0]").unwrap_or(path);
        let find = |path: &str| self.places.all.iter().find(|place| place.path == path);
        if let Some(place) = find(path).or_else(|| find(alone)) {
            let at = (place.value.start.line(), place.value.start.col() + 1);
            return Some((at, place.value.len(), place.path.clone()));
        }
        // A list, or a single value, sets all that is below its key.
        let below = path.strip_prefix(self.path)?;
        let is_whole = below.is_empty() || below.starts_with('[');
        let path = if self.places.all.is_empty() { alone } else { path };
        (!self.path.is_empty() && is_whole).then(|| ((1, 1), usize::MAX, path.to_owned()))
    }

    fn problem(&self, error: &Error, path: &str) -> Problem {
        match error {
            Error::SerdeUnknownField { field, expected, .. } => unknown_key(field, path, expected),
            Error::Message { msg, .. } => Problem::from_text(msg),
            Error::NullIntoString { .. } => value::no_value("a value"),
            Error::Unexpected { expected: "mapping start", .. } => Problem::new(
                "expected keys and values",
                "write `key: value`, one per line, indented under the section name",
            ),
            Error::Unexpected { expected: "string scalar", .. } => Problem::new(
                "expected a single value, not a list or keys",
                "write only the value, in quotes if it begins with `[` or `{`",
            ),
            Error::SerdeInvalidType { expected, .. } => {
                Problem::new(format!("expected {expected}"), "")
            }
            Error::DuplicateMappingKey { .. } => self.twice(path),
            Error::MultipleDocuments { .. } => Problem::new(
                "a second YAML document starts here",
                "keep one, and remove the line `---`",
            ),
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
        let first = self.places.all.iter().find(|place| place.path == path);
        let line = first.map_or(1, |place| place.key.start.line());
        Problem::new(format!("is set twice, first on line {line}"), "keep one of them")
    }

    fn diagnostic(
        &self,
        at: (usize, usize),
        width: usize,
        path: &str,
        problem: Problem,
    ) -> ConfigError {
        let (line, column) = at;
        let snippet = self.masked_line(line);
        let rest = snippet.chars().count().saturating_sub(column - 1);
        let width = width.min(rest).max(1);
        let Problem { what, fix } = problem;
        let (origin, path) = (self.origin.clone(), path.to_owned());
        ConfigError::Invalid(Box::new(Diagnostic {
            origin,
            line,
            column,
            width,
            snippet,
            path,
            what,
            fix,
        }))
    }

    /// The text of a line with each character of a secret as a star.
    fn masked_line(&self, number: usize) -> String {
        let line = self.line(number);
        let star = |c: char| if c.is_whitespace() { c } else { '*' };
        let unread = self.places.cut.as_ref().is_some_and(|path| {
            let last = self.places.all.last().map_or(1, |place| place.value.start.line());
            number >= last && (is_secret(path) || sounds_secret(line))
        });
        if unread || is_secret(self.path) {
            return line.chars().map(star).collect();
        }
        let mut chars: Vec<_> = line.chars().collect();
        let secrets = self.places.all.iter().filter(|p| p.is_single && is_secret(&p.path));
        for Position { value, .. } in secrets {
            let (first, last) = (value.start.line(), value.end.line());
            let from = if first == number { value.start.col() } else { 0 };
            let to = if last == number { value.end.col() } else { chars.len() };
            if (first..=last).contains(&number) && from <= to.min(chars.len()) {
                let end = to.min(chars.len());
                chars[from..end].iter_mut().for_each(|c| *c = star(*c));
            }
        }
        chars.into_iter().collect()
    }

    /// The text of a line, numbered from 1; nothing after the last.
    fn line(&self, number: usize) -> &'t str {
        self.text.lines().nth(number - 1).unwrap_or_default()
    }
}

/// What two settings make impossible, from the first side that stands in one of `sources`; the source that wins comes
/// first.
pub(super) fn contradicted(
    sources: &[Source<'_>],
    Contradiction(sides): Contradiction,
) -> ConfigError {
    let [first, second] = sides;
    let place = |(path, problem): (String, Problem)| {
        let found = sources.iter().find_map(|source| Some((source, source.place(&path)?)));
        found.ok_or((path, problem.clone())).map(|found| (found, problem))
    };
    match place(first).or_else(|_| place(second)) {
        Ok(((source, (at, width, path)), problem)) => source.diagnostic(at, width, &path, problem),
        Err((path, problem)) => Source::file("", "").diagnostic((1, 1), 1, &path, problem),
    }
}

/// What is wrong with the setting at `path`, where it stands in one of `sources`; the source that wins comes first.
pub(super) fn located(sources: &[Source<'_>], path: &str, problem: Problem) -> Option<ConfigError> {
    let (source, (at, width, path)) =
        sources.iter().find_map(|source| Some((source, source.place(path)?)))?;
    Some(source.diagnostic(at, width, &path, problem))
}

/// What to say of the key `field`, which is at `path` and none of `expected`.
fn unknown_key(field: &str, path: &str, expected: &[&str]) -> Problem {
    let section = path.strip_suffix(field).unwrap_or(path).trim_end_matches('.');
    let near = suggest::did_you_mean(field, expected);
    let known = hints::of_others(field).is_some() || near.is_empty();
    known.then(|| hints::unknown_key(field, section)).flatten().unwrap_or_else(|| {
        Problem::new(
            format!("unknown key `{field}`{near}"),
            format!("valid keys are {}", expected.join(", ")),
        )
    })
}

/// The keys of secrets, whatever stands below them.
const SECRET_KEYS: [&str; 5] = ["admin_tokens", "read_tokens", "peer_token", "secrets", "values"];

/// Whether what stands at `path` is, or was probably meant to be, a secret.
fn is_secret(path: &str) -> bool {
    let mut keys = path.split('.').map(|key| key.split('[').next().unwrap_or_default());
    sounds_secret(keys.clone().next_back().unwrap_or_default())
        || keys.any(|key| SECRET_KEYS.contains(&key))
}

fn sounds_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["token", "secret", "password"].iter().any(|word| text.contains(word))
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
