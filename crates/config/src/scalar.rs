//! The kinds of single values that several sections use: switches, numbers, durations, sizes, words, paths, secrets.

use std::{
    fmt,
    marker::PhantomData,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde_json::json;

use super::{
    kind::{Element, Json, Secrets, Text},
    suggest,
    value::{self, Human, Problem, Rate, Size},
};

/// More shards than any machine has cores.
const WORKERS_MAX: usize = 1024;

/// `true` or `false`; or `on` and `off`, as in an SRS configuration.
pub struct Switch;

impl Text for Switch {
    type Value = bool;

    fn parse(text: &str) -> Result<bool, Problem> {
        match text {
            "true" | "on" | "yes" => Ok(true),
            "false" | "off" | "no" => Ok(false),
            _ => Err(Problem::new(
                format!("`{text}` is neither true nor false"),
                "use true or false",
            )),
        }
    }

    fn show(value: &bool, _: Secrets) -> Json {
        (*value).into()
    }

    fn schema() -> Json {
        json!({ "enum": [true, false, "true", "false", "on", "off", "yes", "no"] })
    }
}

/// What a few words stand for.
pub trait Words: Copy + PartialEq + 'static {
    /// Each word with its meaning.
    const WORDS: &'static [(&'static str, Self)];
}

/// One of the words of `T`.
pub struct Word<T>(PhantomData<T>);

impl<T: Words> Text for Word<T> {
    type Value = T;

    fn parse(text: &str) -> Result<T, Problem> {
        if let Some((_, meaning)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(*meaning);
        }
        let words: Vec<_> = T::WORDS.iter().map(|(word, _)| *word).collect();
        let what = format!("unknown value `{text}`{}", suggest::did_you_mean(text, &words));
        Err(Problem::new(what, format!("use {}", words.join(", "))))
    }

    fn show(value: &T, _: Secrets) -> Json {
        T::WORDS.iter().find(|(_, meaning)| meaning == value).map(|(word, _)| *word).into()
    }

    fn schema() -> Json {
        let words: Vec<_> = T::WORDS.iter().map(|(word, _)| *word).collect();
        json!({ "enum": words })
    }
}

/// A whole number from `MIN` to `MAX`.
pub struct Whole<N, const MIN: u64, const MAX: u64>(PhantomData<N>);

impl<N, const MIN: u64, const MAX: u64> Text for Whole<N, MIN, MAX>
where
    N: TryFrom<u64> + Copy + Into<Json>,
{
    type Value = N;

    fn parse(text: &str) -> Result<N, Problem> {
        let fix = format!("use a number from {MIN} to {MAX}");
        let number = value::whole_number(text)
            .ok_or_else(|| Problem::new(format!("`{text}` is not a whole number"), fix.clone()))?;
        let more = || Problem::new(format!("{text} is more than {MAX}"), fix.clone());
        if number < i128::from(MIN) {
            Err(Problem::new(format!("{text} is less than {MIN}"), fix))
        } else if number > i128::from(MAX) {
            Err(more())
        } else {
            u64::try_from(number).ok().and_then(|it| N::try_from(it).ok()).ok_or_else(more)
        }
    }

    fn show(value: &N, _: Secrets) -> Json {
        (*value).into()
    }

    fn schema() -> Json {
        json!({ "type": ["integer", "string"], "minimum": MIN, "maximum": MAX, "pattern": "^[0-9]+$" })
    }
}

/// What [`value::parse_duration`] reads, for engines without look-around too.
pub const DURATION_PATTERN: &str = "^([0-9]+h([0-9]+m)?([0-9]+s)?([0-9]+ms)?|[0-9]+m([0-9]+s)?([0-9]+ms)?|\
    [0-9]+s([0-9]+ms)?|[0-9]+ms)$";

/// A duration from `MIN` to `MAX` milliseconds.
pub struct Time<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Time<MIN, MAX> {
    const MIN: Duration = Duration::from_millis(MIN);
    const MAX: Duration = Duration::from_millis(MAX);
}

impl<const MIN: u64, const MAX: u64> Text for Time<MIN, MAX> {
    type Value = Duration;

    fn parse(text: &str) -> Result<Duration, Problem> {
        let (min, max) = (Human(Self::MIN), Human(Self::MAX));
        let fix = format!("use a duration from {min} to {max}");
        let duration = value::parse_duration(text)
            .map_err(|what| Problem::new(what, format!("{fix}, such as 10s or 1m30s")))?;
        if duration < min.0 {
            Err(Problem::new(format!("{text} is shorter than {min}"), fix))
        } else if duration > max.0 {
            Err(Problem::new(format!("{text} is longer than {max}"), fix))
        } else {
            Ok(duration)
        }
    }

    fn show(value: &Duration, _: Secrets) -> Json {
        Human(*value).to_string().into()
    }

    fn schema() -> Json {
        let range = format!("From {} to {}.", Human(Self::MIN), Human(Self::MAX));
        json!({ "type": "string", "pattern": DURATION_PATTERN, "description": range })
    }
}

/// A number of bytes, at least `MIN`.
pub struct Bytes<const MIN: u64>;

impl<const MIN: u64> Text for Bytes<MIN> {
    type Value = u64;

    fn parse(text: &str) -> Result<u64, Problem> {
        let bytes = value::parse_size(text)
            .map_err(|what| Problem::new(what, "use a size such as 512MiB or 2GiB"))?;
        if bytes < MIN {
            let min = Size(MIN);
            let what = format!("{text} is less than {min}");
            return Err(Problem::new(what, format!("use {min} or more")));
        }
        Ok(bytes)
    }

    fn show(value: &u64, _: Secrets) -> Json {
        Size(*value).to_string().into()
    }

    fn schema() -> Json {
        let range = format!("{} or more.", Size(MIN));
        json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)$", "description": range })
    }
}

/// Bits per second; 0 needs no unit.
pub struct BitRate;

impl Text for BitRate {
    type Value = u64;

    fn parse(text: &str) -> Result<u64, Problem> {
        value::parse_rate(text).map_err(|what| {
            Problem::new(what, "use bits per second such as 800Mbps or 1.5Gbps, or 0 for no limit")
        })
    }

    fn show(value: &u64, _: Secrets) -> Json {
        if *value == 0 { 0.into() } else { Rate(*value).to_string().into() }
    }

    fn schema() -> Json {
        let pattern = r"^(0|[0-9]+(\.[0-9]+)?(bps|kbps|Mbps|Gbps))$";
        json!({ "type": ["string", "integer"], "pattern": pattern, "minimum": 0, "maximum": 0 })
    }
}

/// A directory; none, if it is empty.
pub struct Folder;

impl Text for Folder {
    type Value = PathBuf;

    fn parse(text: &str) -> Result<PathBuf, Problem> {
        Ok(text.into())
    }

    fn show(value: &PathBuf, _: Secrets) -> Json {
        shown(value)
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

/// A file or a socket.
pub struct File;

impl Text for File {
    type Value = PathBuf;

    fn parse(text: &str) -> Result<PathBuf, Problem> {
        path(text, "write the path of a file")
    }

    fn show(value: &PathBuf, _: Secrets) -> Json {
        shown(value)
    }

    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

fn path(text: &str, fix: &str) -> Result<PathBuf, Problem> {
    if text.is_empty() { Err(Problem::new("the path is empty", fix)) } else { Ok(text.into()) }
}

fn shown(path: &Path) -> Json {
    path.display().to_string().into()
}

/// How many delivery shards run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// One for each core that this process may use.
    #[default]
    Auto,
    /// So many.
    Count(NonZeroUsize),
}

impl Workers {
    /// How many that is on this machine.
    pub fn count(&self) -> usize {
        match self {
            Self::Auto => thread::available_parallelism().map_or(1, NonZeroUsize::get),
            Self::Count(count) => count.get(),
        }
    }
}

impl Text for Workers {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let what = match value::whole_number(text).map(usize::try_from) {
            None => format!("`{text}` is not a number of workers"),
            Some(Ok(count)) if count <= WORKERS_MAX => match NonZeroUsize::new(count) {
                Some(count) => return Ok(Self::Count(count)),
                None => format!("{text} is less than 1"),
            },
            Some(_) if text.starts_with('-') => format!("{text} is less than 1"),
            Some(_) => format!("{text} is more than {WORKERS_MAX}"),
        };
        Err(Problem::new(what, format!("use auto, or a number from 1 to {WORKERS_MAX}")))
    }

    fn show(value: &Self, _: Secrets) -> Json {
        match value {
            Self::Auto => "auto".into(),
            Self::Count(count) => count.get().into(),
        }
    }

    fn schema() -> Json {
        let pattern = "^(auto|[1-9][0-9]{0,3})$";
        json!({ "type": ["string", "integer"], "pattern": pattern, "minimum": 1, "maximum": WORKERS_MAX })
    }
}

/// What must not be shown: a token, a key. It shows itself as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, to compare or to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// As `secrets` has it.
    fn shown(&self, secrets: Secrets) -> Json {
        match secrets {
            Secrets::Masked => self.to_string().into(),
            Secrets::Plain => self.0.clone().into(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Text for Secret {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        if text.is_empty() {
            let fix = "write the secret, or remove it: anybody could guess an empty one";
            return Err(Problem::new("the secret is empty", fix));
        }
        Ok(Self::new(text))
    }

    fn show(value: &Self, secrets: Secrets) -> Json {
        value.shown(secrets)
    }

    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Element for Secret {
    const EXPECTED: &'static str = "a secret in quotes or a list of them";
    const WRITE: &'static str = "a secret; [] means none";
    const MAY_BE_NUMBER: bool = false;
}

/// A secret, or none: empty text.
pub struct SecretOrNone;

impl Text for SecretOrNone {
    type Value = Option<Secret>;

    fn parse(text: &str) -> Result<Option<Secret>, Problem> {
        Ok((!text.is_empty()).then(|| Secret::new(text)))
    }

    fn show(value: &Option<Secret>, secrets: Secrets) -> Json {
        value.as_ref().map_or_else(|| "".into(), |secret| secret.shown(secrets))
    }

    fn schema() -> Json {
        json!({ "type": ["string", "integer"] })
    }
}

/// The name of a parameter of a URL.
pub struct Parameter;

impl Text for Parameter {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        if text.is_empty() || text.contains(['?', '&', '=', '#', ' ']) {
            let what = format!("`{text}` is not a parameter name");
            return Err(Problem::new(what, "write only the name, such as token"));
        }
        Ok(text.to_owned())
    }

    fn show(value: &String, _: Secrets) -> Json {
        value.clone().into()
    }

    fn schema() -> Json {
        json!({ "type": ["string", "integer"], "pattern": "^[^?&=# ]+$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::parse("hunter2").unwrap();
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(Secret::show(&secret, Secrets::Masked), "***");
        assert_eq!(secret.expose(), "hunter2");
        assert!(Secret::parse("").is_err());
        assert_ne!(secret, Secret::new("hunter3"));
    }
}
