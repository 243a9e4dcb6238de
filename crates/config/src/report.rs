//! From a [`Refusal`], or what is wrong with the configuration as a whole, to a [`Diagnostic`].

use super::{
    ConfigError, Diagnostic, Origin,
    check::Contradiction,
    foreign, hints,
    source::{self, Position, Positions},
    suggest,
    tree::{Refusal, Why},
    value::Problem,
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

    /// Something in the text is refused.
    pub(super) fn refused(&self, refusal: &Refusal) -> ConfigError {
        if let (Origin::File(_), Some(found)) =
            (&self.origin, foreign::recognise(self.text, &self.places))
        {
            return self.diagnostic((found.line, 1), usize::MAX, "", found.problem);
        }
        let Refusal { place, path, why } = refusal;
        let path = path.below(self.path);
        let (path, problem) = match why {
            Why::Problem(problem) => (path.as_str(), problem.clone()),
            Why::NoSuchKey(key, known) => (path.as_str(), unknown_key(key, &path, known)),
            Why::Syntax(problem) => ("", problem.clone()),
        };
        self.diagnostic((place.line, place.column), place.width, path, problem)
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

    /// The line at which the text sets the key `path`, or a section that it is in; none if it does not.
    pub(super) fn line_of(&self, path: &str) -> Option<usize> {
        self.place(path).map(|((line, _), ..)| line)
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

/// What to say of the key `field` of the section at `section`, which has only those `expected`.
fn unknown_key(field: &str, section: &str, expected: &[&str]) -> Problem {
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
const SECRET_KEYS: [&str; 7] =
    ["admin_tokens", "forward", "read_tokens", "peer_token", "access_key", "secrets", "values"];

/// What is below one of them and is none: which streams go on somewhere, and whom to trust there.
const NO_SECRET_KEYS: [&str; 3] = ["streams", "ca", "assume_enhanced"];

/// Whether what stands at `path` is, or was probably meant to be, a secret.
fn is_secret(path: &str) -> bool {
    let mut keys = path.split('.').map(|key| key.split('[').next().unwrap_or_default());
    let last = keys.clone().next_back().unwrap_or_default();
    let is_below = !NO_SECRET_KEYS.contains(&last) && keys.any(|key| SECRET_KEYS.contains(&key));
    is_below || sounds_secret(last)
}

fn sounds_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["token", "secret", "password"].iter().any(|word| text.contains(word))
}
