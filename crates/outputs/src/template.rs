//! Where files of a stream go below a folder, by a template such as `{app}/{stream}/{date}/{time}`: recordings below
//! `record.dir`, segments and playlists of HLS below `hls.dir`.
//!
//! Whatever streams are called, a file never leaves the folder, and two streams, vhosts or numbers never share one:
//!
//! - What stands for a name is written with `%xx` for each byte that a path, or a template, gives a meaning.
//! - A template from whose result a name cannot be read back gets something appended from which it can be told: a `~`
//!   with a hash of all names, or with the number. No name and no template has a `~` in it.
//! - What is longer than a file system takes is cut, and gets a hash of all of it behind `~~`.
//!
//! All dates and times are UTC: a file system knows no time zones, and summer time has an hour twice.

use std::{
    ffi::OsString,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use percent_encoding::percent_decode_str;
use ring::digest::{SHA256, digest};
use weir_media::{DEFAULT_VHOST, date::rfc3339};

/// Bytes of a template: more than anybody writes.
pub const TEMPLATE_BYTES_MAX: usize = 512;

/// Levels of folders that a template may have, beside those of an app: with names as long as they may be, and a folder
/// of some hundred bytes above them, a path stays below the 4096 bytes of Linux.
const LEVELS_MAX: usize = 12;

/// Bytes of a file's name that every common file system takes.
const NAME_BYTES_MAX: usize = 255;

/// Bytes of a name that are left for what is appended to it: the dot and the extension, or a mark of a file that is
/// not whole yet.
pub const APPENDED_MAX: usize = 32;

/// Letters of a hash: 128 bits, so that nobody finds two names with the same.
const HASH_LETTERS: usize = 32;

/// What files end with: a template may have it, and no folder ends with it, since a file may be called so.
const EXTENSIONS: [&str; 6] = [".flv", ".mp4", ".ts", ".m4s", ".m3u8", ".tmp"];

/// What is behind the name of a folder that ends like a file.
const FOLDER_MARK: &str = "~d";

/// The last second of the year 9999: later dates would need a fifth digit.
const LAST_SECOND: u64 = 253_402_300_799;

/// A template for paths, read from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// From the first folder to the file's name, each of at least one piece.
    levels: Vec<Vec<Piece>>,
    /// Whether the file system takes `A` and `a` for the same name.
    folds: bool,
}

/// What a template is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(Variable),
}

/// What stands in braces or brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The vhost.
    Vhost,
    /// The app.
    App,
    /// The name of the stream.
    Stream,
    /// `2026-11-28`
    Date,
    /// `04-05-06`
    Time,
    /// The year, of four digits.
    Year,
    /// The month, of two digits, as what follows.
    Month,
    /// The day of the month.
    Day,
    /// The hour.
    Hour,
    /// The minute.
    Minute,
    /// The second.
    Second,
    /// Of three digits.
    Millisecond,
    /// Milliseconds since 1970.
    Timestamp,
    /// The number of the file.
    Number,
    /// How long the file is, in milliseconds.
    Duration,
}

impl Variable {
    /// All of them.
    pub const ALL: [Self; VARIABLES.len()] = {
        let mut all = [Self::Vhost; VARIABLES.len()];
        let mut at = 0;
        while at < all.len() {
            all[at] = VARIABLES[at].2;
            at += 1;
        }
        all
    };
}

/// The variables by their names; behind them what SRS calls them (the parts of Go's reference time), if it has them.
const VARIABLES: [(&str, Option<&str>, Variable); 15] = [
    ("vhost", Some("vhost"), Variable::Vhost),
    ("app", Some("app"), Variable::App),
    ("stream", Some("stream"), Variable::Stream),
    ("date", None, Variable::Date),
    ("time", None, Variable::Time),
    ("year", Some("2006"), Variable::Year),
    ("month", Some("01"), Variable::Month),
    ("day", Some("02"), Variable::Day),
    ("hour", Some("15"), Variable::Hour),
    ("minute", Some("04"), Variable::Minute),
    ("second", Some("05"), Variable::Second),
    ("millisecond", Some("999"), Variable::Millisecond),
    ("timestamp", Some("timestamp"), Variable::Timestamp),
    ("number", Some("seq"), Variable::Number),
    ("duration", Some("duration"), Variable::Duration),
];

/// What a path is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathOf<'a> {
    /// The vhost of the stream.
    pub vhost: &'a str,
    /// Its app, possibly of several levels.
    pub app: &'a str,
    /// Its name.
    pub stream: &'a str,
    /// When the file begins.
    pub at: SystemTime,
    /// Which of several files it is that begin at the same time, or that the template does not tell apart; 0 is not
    /// shown where the template does not ask for it.
    pub number: u64,
    /// How long it is, where that is known.
    pub duration: Duration,
}

/// Why a text is no [`Template`], for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {what}")]
pub struct Error {
    /// Which character of the text it is, from 1.
    pub at: usize,
    /// What is the matter there, and what to write.
    pub what: String,
}

impl Error {
    fn new(at: usize, what: impl Into<String>) -> Self {
        Self { at: at + 1, what: what.into() }
    }
}

impl Template {
    /// Reads a template. An extension that files have is left out: that of the container is appended anyway.
    ///
    /// # Errors
    /// With the first character that is wrong.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > TEMPLATE_BYTES_MAX {
            let what = format!("longer than {TEMPLATE_BYTES_MAX} bytes");
            return Err(Error::new(TEMPLATE_BYTES_MAX, what));
        }
        let extension = EXTENSIONS[..EXTENSIONS.len() - 1]
            .iter()
            .find_map(|extension| text.strip_suffix(extension));
        let text = extension.unwrap_or(text);
        let mut levels = Vec::new();
        let mut at = 0;
        for level in text.split('/') {
            levels.push(read_level(level, at)?);
            at += level.chars().count() + 1;
            if levels.len() > LEVELS_MAX {
                return Err(Error::new(at - 1, format!("more than {LEVELS_MAX} levels")));
            }
        }
        Ok(Self { levels, folds: false })
    }

    /// The same for a file system that takes `A` and `a`, or different forms of `ä`, for the same: then names have
    /// small ASCII letters only.
    #[must_use]
    pub fn folding(self, folds: bool) -> Self {
        Self { folds, ..self }
    }

    /// Whether `variable` is in it.
    pub fn has(&self, variable: Variable) -> bool {
        self.levels.iter().any(|level| level.contains(&Piece::Variable(variable)))
    }

    /// Whether `variable` can be read back from its paths.
    pub fn tells(&self, variable: Variable) -> bool {
        self.levels.iter().any(|level| tells(level, variable))
    }

    /// The path below the folder, without an extension, which may have [`APPENDED_MAX`] bytes.
    ///
    /// It is relative, and has no `.` and `..`. Two that differ in vhost, app, stream or number are different, with any
    /// extension, and none is a folder of the other. Those of two templates may be the same.
    pub fn expand(&self, of: &PathOf<'_>) -> PathBuf {
        self.names(of).into_iter().collect()
    }

    /// The same with an extension (`flv`).
    pub fn file(&self, of: &PathOf<'_>, extension: &str) -> PathBuf {
        let mut path = OsString::from(self.expand(of));
        path.push(".");
        path.push(extension);
        path.into()
    }

    fn names(&self, of: &PathOf<'_>) -> Vec<String> {
        let date = Date::of(of.at);
        let Some((file, folders)) = self.levels.split_last() else { return Vec::new() };
        let mut names = Vec::new();
        for level in folders {
            match level[..] {
                // Folders of an app are folders.
                [Piece::Variable(Variable::App)] => {
                    names.extend(of.app.split('/').map(|part| folder(self.escaped(part))));
                }
                _ => names.push(folder(self.level(level, of, &date))),
            }
        }
        names.push(cut(self.level(file, of, &date) + &self.told_apart(of), self.folds));
        names
    }

    fn level(&self, pieces: &[Piece], of: &PathOf<'_>, date: &Date) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable(Variable::Vhost) => self.escaped(of.vhost),
            Piece::Variable(Variable::App) => self.escaped(of.app),
            Piece::Variable(Variable::Stream) => self.escaped(of.stream),
            Piece::Variable(Variable::Number) => of.number.to_string(),
            Piece::Variable(Variable::Duration) => of.duration.as_millis().to_string(),
            Piece::Variable(variable) => date.show(*variable),
        };
        pieces.iter().map(text).collect()
    }

    /// What is appended because the rest could be another stream's, too.
    fn told_apart(&self, of: &PathOf<'_>) -> String {
        let is_told = |variable| self.tells(variable);
        let names = [Variable::App, Variable::Stream];
        let is_default = of.vhost == DEFAULT_VHOST;
        let mut text = String::new();
        if !names.into_iter().all(is_told) || !(is_default || is_told(Variable::Vhost)) {
            // No name has a NUL that counts: with the lengths, nothing else has the same bytes.
            let (vhost, app) = (of.vhost.len(), of.app.len());
            let all = format!("{vhost} {app} {}{}{}", of.vhost, of.app, of.stream);
            text = format!("~{}", hash(&all));
        }
        if of.number > 0 && !is_told(Variable::Number) {
            text += &format!("~{}", of.number);
        }
        text
    }

    /// `name` without anything that a path, a template or a shell on another system gives a meaning.
    fn escaped(&self, name: &str) -> String {
        let mut text = String::new();
        let last = name.chars().count().saturating_sub(1);
        for (index, c) in name.chars().enumerate() {
            let is_inside = index > 0 && index < last;
            let is_plain = match c {
                'a'..='z' | '0'..='9' | '-' | '_' | '+' | '=' | ',' => true,
                'A'..='Z' => !self.folds,
                // Neither `..` nor a hidden file, and nothing that other systems cut off.
                '.' | ' ' => is_inside,
                // What Unicode calls a space or a mark may stay, as long as it is none of the control characters.
                _ => !c.is_ascii() && !c.is_control() && !self.folds,
            };
            if is_plain {
                text.push(c);
            } else {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes).bytes().for_each(|byte| text += &format!("%{byte:02x}"));
            }
        }
        // Nothing has no bytes, and an escape has three.
        if text.is_empty() { "%".to_owned() } else { text }
    }
}

fn read_level(level: &str, begin: usize) -> Result<Vec<Piece>, Error> {
    if level.is_empty() {
        let what = if begin == 0 {
            "a path below the folder does not begin with a slash, and is not empty"
        } else {
            "there is nothing between two slashes, or behind the last one"
        };
        return Err(Error::new(begin, what));
    }
    if level.starts_with('.') {
        let what = "no name may begin with a dot: the path stays below the folder, and nothing there is hidden";
        return Err(Error::new(begin, what));
    }
    let (mut pieces, mut text) = (Vec::new(), String::new());
    let mut chars = level.chars().enumerate();
    while let Some((index, c)) = chars.next() {
        let at = begin + index;
        let close = match c {
            '{' => '}',
            '[' => ']',
            '}' | ']' => return Err(Error::new(at, format!("`{c}` closes nothing"))),
            '~' | '\\' | '%' => {
                return Err(Error::new(at, format!("`{c}` is not for templates")));
            }
            c if c.is_control() => return Err(Error::new(at, "a control character")),
            c => {
                text.push(c);
                continue;
            }
        };
        let name: String = chars.by_ref().map(|(_, c)| c).take_while(|c| *c != close).collect();
        let is_closed = level.chars().nth(index + 1 + name.chars().count()) == Some(close);
        if !is_closed {
            return Err(Error::new(at, format!("`{c}` is not closed by `{close}`")));
        }
        let variable = variable(&name, c).ok_or_else(|| unknown(at, c, &name))?;
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(Piece::Variable(variable));
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

fn variable(name: &str, open: char) -> Option<Variable> {
    let is_it = |(ours, srs, _): &&(&str, Option<&str>, Variable)| match open {
        '{' => *ours == name,
        _ => *srs == Some(name),
    };
    VARIABLES.iter().find(is_it).map(|(_, _, variable)| *variable)
}

fn unknown(at: usize, open: char, name: &str) -> Error {
    let all: Vec<_> = match open {
        '{' => VARIABLES.iter().map(|(ours, _, _)| format!("{{{ours}}}")).collect(),
        _ => VARIABLES.iter().filter_map(|(_, srs, _)| Some(format!("[{}]", (*srs)?))).collect(),
    };
    Error::new(at, format!("unknown variable `{name}`; use {}", all.join(", ")))
}

/// What a path says of its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The vhost, if the template has it.
    pub vhost: Option<String>,
    /// The app, if the template has it.
    pub app: Option<String>,
    /// The name of the stream, if the template has it.
    pub stream: Option<String>,
    /// The number, if the template has it or it was appended.
    pub number: Option<u64>,
}

impl Template {
    /// What the path of these `names`, from the first folder to the file without its extension, says; none if no file
    /// of this template has it. Only what the template [tells](Self::tells) is said, and whoever asks has to make the
    /// path again from what it finds: names that were cut are not read.
    pub fn read(&self, names: &[&str]) -> Option<Said> {
        let (file, folders) = self.levels.split_last()?;
        let (of_file, of_folders) = names.split_last()?;
        let is_app = |level: &Vec<Piece>| level[..] == [Piece::Variable(Variable::App)];
        let app_at = folders.iter().position(is_app);
        let more = of_folders.len().checked_sub(folders.len())?;
        let (mut said, mut at) = (Said::default(), 0);
        let plain = |name: &str| unescaped(name.strip_suffix(FOLDER_MARK).unwrap_or(name));
        for (number, level) in folders.iter().enumerate() {
            let count = if Some(number) == app_at { more + 1 } else { 1 };
            let own = of_folders.get(at..at + count)?;
            at += count;
            match is_app(level) {
                true => {
                    let parts: Option<Vec<_>> = own.iter().map(|name| plain(name)).collect();
                    said.app = Some(parts?.join("/"));
                }
                false => said.read_level(level, own.first()?.trim_end_matches(FOLDER_MARK))?,
            }
        }
        if at != of_folders.len() {
            return None;
        }
        // No template has the mark.
        let (of_file, appended) = match of_file.split_once('~') {
            Some((name, number)) => (name, Some(number)),
            None => (*of_file, None),
        };
        said.read_level(file, of_file)?;
        if let Some(number) = appended {
            said.number = Some(read_number(number)?);
        }
        Some(said)
    }
}

impl Said {
    fn read_level(&mut self, level: &[Piece], name: &str) -> Option<()> {
        let is_name = |piece: &Piece| {
            matches!(piece, Piece::Variable(Variable::Vhost | Variable::App | Variable::Stream))
        };
        let (before, name_at) = match level.iter().position(is_name) {
            Some(at) => (&level[..at], Some(at)),
            None => (level, None),
        };
        let mut rest = name;
        for piece in before {
            rest = self.read_piece(piece, rest, false)?;
        }
        let Some(at) = name_at else { return rest.is_empty().then_some(()) };
        for piece in level[at + 1..].iter().rev() {
            rest = self.read_piece(piece, rest, true)?;
        }
        let text = unescaped(rest)?;
        match level[at] {
            Piece::Variable(Variable::Vhost) => self.vhost = Some(text),
            Piece::Variable(Variable::App) => self.app = Some(text),
            _ => self.stream = Some(text),
        }
        Some(())
    }

    /// Takes what `piece` has become from one end of `text`; what is left of that.
    fn read_piece<'t>(&mut self, piece: &Piece, text: &'t str, from_end: bool) -> Option<&'t str> {
        let take = |length: usize| match from_end {
            true => text.split_at_checked(text.len().checked_sub(length)?).map(|(l, r)| (r, l)),
            false => text.split_at_checked(length),
        };
        let digits = |text: &str| match from_end {
            true => text.bytes().rev().take_while(u8::is_ascii_digit).count(),
            false => text.bytes().take_while(u8::is_ascii_digit).count(),
        };
        let Piece::Variable(variable) = piece else {
            let Piece::Text(part) = piece else { return None };
            return match from_end {
                true => text.strip_suffix(part.as_str()),
                false => text.strip_prefix(part.as_str()),
            };
        };
        let length = match variable {
            Variable::Date => 10,
            Variable::Time => 8,
            Variable::Year => 4,
            Variable::Millisecond => 3,
            Variable::Number | Variable::Timestamp | Variable::Duration => digits(text),
            _ => 2,
        };
        let (part, rest) = take(length)?;
        let is_date = |byte: u8| byte.is_ascii_digit() || byte == b'-';
        if part.is_empty() || !part.bytes().all(is_date) {
            return None;
        }
        if *variable == Variable::Number {
            self.number = Some(read_number(part)?);
        }
        Some(rest)
    }
}

/// A number as it is written.
fn read_number(digits: &str) -> Option<u64> {
    let number = digits.parse().ok()?;
    (u64::to_string(&number) == digits).then_some(number)
}

/// What was escaped; none if it was not written by [`Template::escaped`].
fn unescaped(name: &str) -> Option<String> {
    if name == "%" {
        return Some(String::new());
    }
    let bytes: Vec<u8> = percent_decode_str(name).collect();
    let text = String::from_utf8(bytes).ok()?;
    (!text.is_empty()).then_some(text)
}

/// Whether `variable` can be read back from what `level` becomes: there is only one piece of unknown length and any
/// characters, and what consists of digits has none beside it.
fn tells(level: &[Piece], variable: Variable) -> bool {
    let is_name = |piece: &Piece| {
        matches!(piece, Piece::Variable(Variable::Vhost | Variable::App | Variable::Stream))
    };
    let is_digits = is_number;
    // On the side of a piece that is meant, a text must begin, or end, with something else than a digit.
    let parts = |piece: Option<&Piece>, side: fn(&str) -> Option<char>| match piece {
        None => true,
        Some(Piece::Text(text)) => side(text).is_some_and(|c| !c.is_ascii_digit()),
        Some(Piece::Variable(_)) => false,
    };
    let are_parted =
        level.iter().enumerate().filter(|(_, piece)| is_digits(piece)).all(|(at, _)| {
            let before = at.checked_sub(1).and_then(|before| level.get(before));
            parts(before, |text| text.chars().next_back())
                && parts(level.get(at + 1), |text| text.chars().next())
        });
    level.contains(&Piece::Variable(variable))
        && level.iter().filter(|piece| is_name(piece)).count() <= 1
        && are_parted
}

/// Whether a piece is of digits, however many.
fn is_number(piece: &Piece) -> bool {
    matches!(piece, Piece::Variable(Variable::Number | Variable::Timestamp | Variable::Duration))
}

/// The name of a folder, which no file of ours has.
fn folder(name: String) -> String {
    let lower = name.to_ascii_lowercase();
    let looks_like_file = EXTENSIONS.iter().any(|extension| lower.ends_with(extension));
    cut(if looks_like_file { name + FOLDER_MARK } else { name }, true)
}

/// `name`, as long as a name may be.
fn cut(name: String, folds: bool) -> String {
    let most = NAME_BYTES_MAX - APPENDED_MAX;
    if name.len() <= most {
        return name;
    }
    let readable = name.floor_char_boundary(most - HASH_LETTERS - 2);
    let readable = &name[..readable];
    let hash = hash(&name);
    if folds {
        format!("{}~~{hash}", readable.to_ascii_lowercase())
    } else {
        format!("{readable}~~{hash}")
    }
}

fn hash(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let halves = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    halves.take(HASH_LETTERS).map(|half| char::from(b'a' + half)).collect()
}

/// A moment as text: `2026-11-28T04:05:06.789Z`, and in milliseconds.
struct Date {
    text: String,
    timestamp: u64,
}

impl Date {
    fn of(at: SystemTime) -> Self {
        // Before 1970 there are no recordings.
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = since.min(Duration::from_secs(LAST_SECOND));
        let timestamp = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Self { text: rfc3339(since), timestamp }
    }

    fn show(&self, variable: Variable) -> String {
        let part = match variable {
            Variable::Date => 0..10,
            Variable::Time => 11..19,
            Variable::Year => 0..4,
            Variable::Month => 5..7,
            Variable::Day => 8..10,
            Variable::Hour => 11..13,
            Variable::Minute => 14..16,
            Variable::Second => 17..19,
            Variable::Millisecond => 20..23,
            _ => return self.timestamp.to_string(),
        };
        // No colons: not every file system takes them.
        self.text[part].replace(':', "-")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    /// 2026-11-28 04:05:06.789
    const AT: u64 = 1_795_838_706_789;

    fn of<'a>(vhost: &'a str, app: &'a str, stream: &'a str, number: u64) -> PathOf<'a> {
        let (at, duration) = (UNIX_EPOCH + Duration::from_millis(AT), Duration::from_millis(2040));
        PathOf { vhost, app, stream, at, number, duration }
    }

    fn template(text: &str) -> Template {
        Template::parse(text).expect(text)
    }

    #[test]
    fn ordinary_names_stand_for_themselves() {
        let cam = of(DEFAULT_VHOST, "live/eu", "Cam 1.hd", 3);
        for (text, path) in [
            ("{app}/{stream}/{date}/{time}-{number}", "live/eu/Cam 1.hd/2026-11-28/04-05-06-3"),
            (
                "{app}/{stream}.{year}{month}{day}T{hour}{minute}{second}{millisecond}",
                "live/eu/Cam 1.hd.20261128T040506789~3",
            ),
            ("[app]/[stream].[timestamp].flv", "live/eu/Cam 1.hd.1795838706789~3"),
            (
                "[app]/[2006]/[01]/[02]/[stream]-[15].[04].[05].[999].mp4",
                "live/eu/2026/11/28/Cam 1.hd-04.05.06.789~3",
            ),
            ("{app}-x/{stream}", "live%2feu-x/Cam 1.hd~3"),
            ("[app]/[stream]-[seq].ts", "live/eu/Cam 1.hd-3"),
            ("[app]/[stream]-[duration]-{number}.m4s", "live/eu/Cam 1.hd-2040-3"),
        ] {
            assert_eq!(template(text).expand(&cam), PathBuf::from(path), "{text}");
        }
        let first = of(DEFAULT_VHOST, "live", "cam", 0);
        assert_eq!(template("{app}/{stream}").file(&first, "flv"), PathBuf::from("live/cam.flv"));
        let vhost = of("a.org", "live", "cam", 0);
        assert_eq!(
            template("{vhost}/{app}/{stream}").expand(&vhost),
            PathBuf::from("a.org/live/cam")
        );
    }

    #[test]
    fn what_is_wrong_in_a_template_is_shown() {
        for (text, at, what) in [
            ("", 1, "not empty"),
            ("/var/{stream}", 1, "does not begin with a slash"),
            ("{app}/../{stream}", 7, "dot"),
            ("./{stream}", 1, "dot"),
            ("{app}//{stream}", 7, "between two slashes"),
            ("{app}/", 7, "behind the last one"),
            ("{app}/{strem}", 7, "unknown variable `strem`; use {vhost}, {app}, {stream}, "),
            ("{app}/[date]", 7, "unknown variable `date`; use [vhost], [app], [stream], [2006], "),
            ("{app}/{stream", 7, "`{` is not closed by `}`"),
            ("ä{app}/ä[stream}", 9, "`[` is not closed by `]`"),
            ("a}b", 2, "`}` closes nothing"),
            ("a~b", 2, "`~`"),
            ("a\0b", 2, "control character"),
            ("a/b/c/d/e/f/g/h/i/j/k/l/m/{stream}", 26, "more than 12 levels"),
        ] {
            let error = Template::parse(text).expect_err(text);
            assert!(error.at == at && error.what.contains(what), "{text}: {error}");
        }
        assert!(Template::parse(&"x".repeat(TEMPLATE_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn paths_say_what_their_templates_tell() {
        for text in [
            "{app}/{stream}/{date}/{time}-{number}",
            "[app]/[stream]-[seq].ts",
            "x/{app}/{year}{month}/a{stream}-{duration}-b-{number}",
            "{stream}.{timestamp}/{app}-x/{number}",
            "{vhost}/{app}/{stream}",
        ] {
            let template = template(text);
            for (app, stream) in
                [("live", "cam"), ("live/eu", "a-7-2040-b"), ("x.ts", "A %~"), ("a/b/c", "\u{e4}")]
            {
                let of = of("v.org", app, stream, 42);
                let path = template.expand(&of);
                let names: Vec<_> = path.iter().map(|name| name.to_str().expect("text")).collect();
                if names.last().is_some_and(|name| name.len() > HASH_LETTERS) {
                    // The vhost is told by a hash.
                    continue;
                }
                let said = template.read(&names).expect(text);
                let told = (said.app.as_deref(), said.stream.as_deref(), said.number);
                assert_eq!(told, (Some(app), Some(stream), Some(42)), "{text}: {path:?}");
            }
        }
        for (text, other) in [
            ("{app}/{stream}-{number}", "cam-7"),
            ("{app}/{stream}-{number}", "live/cam-07"),
            ("{app}/{stream}-{number}", "live/cam"),
            ("{app}/{stream}-{number}", "live/-"),
            ("x/{app}/{stream}", "y/live/cam"),
        ] {
            let names: Vec<_> = other.split('/').collect();
            assert_eq!(template(text).read(&names), None, "{text} {other}");
        }
    }

    #[test]
    fn a_folder_is_no_file() {
        let plain = template("{app}/{stream}");
        let file = plain.file(&of(DEFAULT_VHOST, "live", "cam", 0), "flv");
        let folder = plain.expand(&of(DEFAULT_VHOST, "live/cam.flv", "x", 0));
        assert_eq!(folder, PathBuf::from("live/cam.flv~d/x"));
        assert!(!folder.starts_with(file));
    }

    /// Names made of what could be mixed up.
    const NAME: &str =
        "(a|A|b|1|-|\\.|/|~|%|%2e|~d|\\.flv|\\.\\.|\0|\\\\| |\u{e4}|a\u{308}|\\PC|x{90}){0,5}";

    const TEMPLATE: &str = "(\\{(vhost|app|stream|number|date|timestamp)\\}\
        |\\[(app|stream|2006|timestamp)\\]|a|-|1|_){1,4}\
        (/(\\{(app|stream|vhost|number)\\}|b|-|2){1,3}){0,3}";

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn no_name_leads_out_of_the_folder(
            text in TEMPLATE, vhost in NAME, app in NAME, stream in NAME, number: u64, at: u64, folds: bool,
        ) {
            let at = UNIX_EPOCH + Duration::from_millis(at);
            let duration = Duration::from_secs(2);
            let of = PathOf { vhost: &vhost, app: &app, stream: &stream, at, number, duration };
            let path = template(&text).folding(folds).expand(&of);
            let text = path.to_str().expect("text");
            prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
            // What `components` leaves out counts, too.
            for name in text.split('/') {
                prop_assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX - APPENDED_MAX, "{path:?}");
                prop_assert!(!name.starts_with('.') && !name.contains(['\0', '\\']), "{path:?}");
            }
        }

        #[test]
        fn no_two_streams_share_a_file(
            text in TEMPLATE,
            vhosts in proptest::array::uniform2(NAME),
            apps in proptest::array::uniform2(NAME),
            streams in proptest::array::uniform2(NAME),
            numbers in proptest::array::uniform2(0_u64..13),
            ats in proptest::array::uniform2(0..2 * AT),
            (same, folds, is_default) in (0_u8..8, any::<bool>(), any::<bool>()),
        ) {
            let template = template(&text).folding(folds);
            let pick = |of: usize, bit: u8| if same & bit > 0 { 0 } else { of };
            let path_of = |n: usize| PathOf {
                vhost: if is_default { DEFAULT_VHOST } else { &vhosts[pick(n, 1)] },
                app: &apps[pick(n, 2)],
                stream: &streams[pick(n, 4)],
                at: UNIX_EPOCH + Duration::from_millis(ats[n]),
                number: numbers[n],
                duration: Duration::ZERO,
            };
            let (a, b) = (path_of(0), path_of(1));
            let named = |of: &PathOf<'_>| (of.vhost.to_owned(), of.app.to_owned(), of.stream.to_owned(), of.number);
            let file = |of: &PathOf<'_>, extension| {
                let path = template.file(of, extension);
                let text = path.to_str().expect("text").to_owned();
                if folds { PathBuf::from(text.to_lowercase()) } else { path }
            };
            for extension in ["flv", "mp4", "ts"] {
                let (a_file, b_file) = (file(&a, extension), file(&b, "flv"));
                if named(&a) != named(&b) {
                    prop_assert_ne!(&a_file, &b_file);
                }
                // Neither is a folder of the other.
                prop_assert!(a_file == b_file || !a_file.starts_with(&b_file), "{a_file:?} {b_file:?}");
                prop_assert!(a_file == b_file || !b_file.starts_with(&a_file), "{a_file:?} {b_file:?}");
            }
        }
    }
}
