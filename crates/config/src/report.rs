//! From a [`Refusal`], or what is wrong with the configuration as a whole, to a [`Diagnostic`].

use super::{
    ConfigError, Diagnostic, Origin,
    check::Contradiction,
    foreign, hints,
    source::{self, Position, Positions, Quoted},
    suggest,
    tree::{Place, Refusal, Why},
    value::Problem,
};

/// A text with settings, for [`Diagnostic`]s about it; or several that are one configuration.
pub(super) struct Source<'t> {
    /// The text and, behind it, those that it includes and variables that change it.
    texts: Vec<(&'t str, Origin)>,
    /// The key that the whole text is the value of; empty for a file.
    path: &'t str,
    places: Positions,
    /// Whether it is YAML. In other formats a word in a line shows that it has a secret, whatever is made of it.
    is_yaml: bool,
}

impl<'t> Source<'t> {
    fn new(text: &'t str, origin: Origin, path: &'t str, places: Positions) -> Self {
        Self { texts: vec![(text, origin)], path, places, is_yaml: true }
    }

    /// A file: `text` as the parser read it, `name` the file's.
    pub(super) fn file(name: &str, text: &'t str) -> Self {
        Self::new(text, Origin::File(name.to_owned()), "", source::places(text))
    }

    /// Texts in the format of another server, with what stands where.
    pub(super) fn quoting(texts: &'t [Quoted], places: Positions) -> Self {
        let texts = texts.iter().map(|quoted| (&*quoted.text, quoted.origin.clone())).collect();
        Self { texts, path: "", places, is_yaml: false }
    }

    /// A variable that sets the key `path` to `text` as it is.
    pub(super) fn variable(name: &str, path: &'t str, text: &'t str) -> Self {
        Self::new(text, Origin::Variable(name.to_owned()), path, Positions::default())
    }

    /// A variable that sets the key `path` to `text`, which is YAML.
    pub(super) fn yaml_variable(name: &str, path: &'t str, text: &'t str) -> Self {
        let mut places = source::places(text);
        for inner in places.all.iter_mut().map(|p| &mut p.path).chain(&mut places.cut) {
            let dot = if inner.is_empty() || inner.starts_with('[') { "" } else { "." };
            *inner = format!("{path}{dot}{inner}");
        }
        Self::new(text, Origin::Variable(name.to_owned()), path, places)
    }

    /// The name of a variable.
    pub(super) fn name(name: &'t str) -> Self {
        Self::new(name, Origin::Name(name.to_owned()), "", Positions::default())
    }

    /// The text is not in UTF-8 behind its first `valid` bytes, which are read as they are.
    pub(super) fn not_utf8(&self, valid: usize) -> ConfigError {
        let text = self.texts.first().map_or("", |(text, _)| text);
        let before = text.get(..valid).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
        let problem = match text.contains('\0') {
            true => Problem::new("the file is UTF-16, or not text", "save it as UTF-8 text"),
            false => Problem::new("is not valid UTF-8 from here on", "save the file as UTF-8"),
        };
        self.diagnostic(Place { file: 0, line, column, width: 1 }, "", problem)
    }

    /// The whole text is refused.
    pub(super) fn refused_text(&self, problem: Problem) -> ConfigError {
        self.diagnostic(Place::FIRST_LINE, self.path, problem)
    }

    /// Something in the text is refused.
    pub(super) fn refused(&self, refusal: &Refusal) -> ConfigError {
        if let Some((text, Origin::File(_))) = self.texts.first().filter(|_| self.is_yaml)
            && let Some(found) = foreign::recognise(text, &self.places)
        {
            let place = Place { line: found.line, ..Place::FIRST_LINE };
            return self.diagnostic(place, "", found.problem);
        }
        let Refusal { place, path, why } = refusal;
        let path = path.below(self.path);
        let (path, problem) = match why {
            Why::Problem(problem) => (path.as_str(), problem.clone()),
            Why::NoSuchKey(key, known) => (path.as_str(), unknown_key(key, &path, known)),
            Why::Syntax(problem) => ("", problem.clone()),
        };
        self.diagnostic(*place, path, problem)
    }

    /// Something at a place is refused.
    pub(super) fn refused_at(&self, place: Place, path: &str, problem: Problem) -> ConfigError {
        self.diagnostic(place, path, problem)
    }

    /// Where the text sets the key `path`: its place, and the path as it stands there.
    fn place(&self, path: &str) -> Option<(Place, String)> {
        // One value need not be written as a list.
        let alone = path.strip_suffix("[0]").unwrap_or(path);
        let find = |path: &str| self.places.all.iter().find(|place| place.path == path);
        if let Some(place) = find(path).or_else(|| find(alone)) {
            return Some((place.value.place, place.path.clone()));
        }
        // A list, or a single value, sets all that is below its key.
        let below = path.strip_prefix(self.path)?;
        let is_whole = below.is_empty() || below.starts_with('[');
        let path = if self.places.all.is_empty() { alone } else { path };
        (!self.path.is_empty() && is_whole).then(|| (Place::FIRST_LINE, path.to_owned()))
    }

    /// The text, and the line of it, that sets the key `path`; none if none does.
    pub(super) fn set_at(&self, path: &str) -> Option<(&Origin, usize)> {
        let (place, _) = self.place(path)?;
        self.texts.get(place.file).map(|(_, origin)| (origin, place.line))
    }

    fn diagnostic(&self, place: Place, path: &str, problem: Problem) -> ConfigError {
        let Place { file, line, column, width } = place;
        let snippet = self.masked_line(file, line);
        let rest = snippet.chars().count().saturating_sub(column - 1);
        let width = width.min(rest).max(1);
        let Problem { what, fix } = problem;
        let origin = self.texts.get(file).or_else(|| self.texts.first());
        let origin = origin.map_or(Origin::File(String::new()), |(_, origin)| origin.clone());
        let path = path.to_owned();
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
    fn masked_line(&self, file: usize, number: usize) -> String {
        let line = self.line(file, number);
        let star = |c: char| if c.is_whitespace() { c } else { '*' };
        let unread = self.places.cut.as_ref().is_some_and(|path| {
            let last = self.places.all.last().map_or(1, |place| place.value.place.line);
            number >= last && (is_secret(path) || sounds_secret(line))
        });
        let is_marked = !self.is_yaml && directive_has_secret(line);
        if unread || is_marked || is_secret(self.path) {
            return line.chars().map(star).collect();
        }
        let mut chars: Vec<_> = line.chars().collect();
        let secrets = self.places.all.iter().filter(|p| p.is_single && is_secret(&p.path));
        for Position { value, .. } in secrets {
            let (first, (last, behind)) = (value.place.line, value.end);
            let from = if first == number { value.place.column - 1 } else { 0 };
            let to = if last == number { behind - 1 } else { chars.len() };
            let is_here = value.place.file == file && (first..=last).contains(&number);
            if is_here && from <= to.min(chars.len()) {
                let end = to.min(chars.len());
                chars[from..end].iter_mut().for_each(|c| *c = star(*c));
            }
        }
        chars.into_iter().collect()
    }

    /// The text of a line, numbered from 1; nothing after the last.
    fn line(&self, file: usize, number: usize) -> &'t str {
        let text = self.texts.get(file).map_or("", |(text, _)| text);
        text.lines().nth(number.saturating_sub(1)).unwrap_or_default()
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
        Ok(((source, (place, path)), problem)) => source.diagnostic(place, &path, problem),
        Err((path, problem)) => Source::file("", "").diagnostic(Place::FIRST_LINE, &path, problem),
    }
}

/// What is wrong with the setting at `path`, where it stands in one of `sources`; the source that wins comes first.
pub(super) fn located(sources: &[Source<'_>], path: &str, problem: Problem) -> Option<ConfigError> {
    let (source, (place, path)) =
        sources.iter().find_map(|source| Some((source, source.place(path)?)))?;
    Some(source.diagnostic(place, &path, problem))
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

/// Directives of other servers whose lines have, or may have, a secret: passwords, and URLs that somebody can publish
/// to.
fn directive_has_secret(line: &str) -> bool {
    let words =
        ["passphrase", "secret", "token", "password", "destination", "push", "pull", "key="];
    let line = line.to_ascii_lowercase().replace("token_traverse", "");
    words.iter().any(|word| line.contains(word))
}
