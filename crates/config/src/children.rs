//! Programs that run as children of the server: for published streams, to transcode them, and to bring streams in.
//!
//! Programs and their arguments are the operator's words; names of streams are those of strangers. No name becomes an
//! argument of its own: a placeholder stands within one, and what it may not begin with there, whoever fills it in
//! decides (`weir-children`).

use std::time::Duration;

use serde_json::json;

use super::{
    kind::{
        Element, Form, Json, Kind, Leaf, Many, Node, Part, Refusal, Secrets, Section, Text, section,
    },
    pattern::StreamPattern,
    pull::PulledName,
    scalar::{Time, Whole, Word, Words},
    value::Problem,
};

/// Each is a process that decodes or encodes; no machine has as many cores.
const CHILDREN_MAX: u64 = 1024;

/// A program that needs longer to end is not going to.
const STOP_MAX: u64 = 60_000;

/// Bytes of one argument: scripts of filters are long, and Linux takes 128 KiB.
const ARGUMENT_MAX: usize = 8 * 1024;

section! {
    /// Programs that run as children of the server.
    ChildrenLimits / ChildrenKeys {
        /// How many run at the same time, at most; what finds no room waits.
        max: usize = 64, Whole<usize, 0, CHILDREN_MAX>;
        /// How long a program may take to end after SIGTERM, before it is killed.
        stop: Duration = Duration::from_secs(5), Time<0, STOP_MAX>;
    }
}

section! {
    /// A program that runs while a stream is published.
    Exec / ExecKeys {
        /// Of which streams: patterns such as `live/*`.
        streams: Vec<StreamPattern> = vec![StreamPattern::all()], Many<StreamPattern>;
        /// The program and its arguments. `{url}` stands for where the stream is played here, `{vhost}`, `{app}` and
        /// `{stream}` for its names, `{port}` for the port of `{url}`, `{timestamp}` for milliseconds since 1970.
        run: Vec<String> = Vec::new(), Many<Argument>;
        /// Whether it is started again when it ends while the stream goes on.
        restart: Restart = Restart::Always, Word<Restart>;
    }
}

section! {
    /// A stream that is made of another one by FFmpeg.
    Transcode / TranscodeKeys {
        /// Of which streams: patterns such as `live/*`.
        streams: Vec<StreamPattern> = vec![StreamPattern::all()], Many<StreamPattern>;
        /// What tells the made stream apart.
        name: String = String::new(), TranscodeName;
        /// The stream that is made, as app/stream of the same vhost, or a URL of another server. `{app}` and `{stream}`
        /// stand for the names of the one that it is made of, `{name}` for the name above.
        to: String = "{app}/{stream}_{name}".to_owned(), Argument;
        /// FFmpeg.
        program: String = "ffmpeg".to_owned(), Argument;
        /// Its arguments before the input.
        input: Vec<String> = Vec::new(), Many<Argument>;
        /// Its arguments between the input and the output, such as `[-c:v, libx264, -s, 1280x720, -c:a, copy]`.
        args: Vec<String> = Vec::new(), Many<Argument>;
    }
}

section! {
    /// A stream that FFmpeg brings in.
    Ingest / IngestKeys {
        /// The stream, as app/stream or vhost/app/stream.
        stream: String = String::new(), PulledName;
        /// Where it comes from: a file, which is played again and again in real time, or a URL that FFmpeg reads.
        from: String = String::new(), Argument;
        /// FFmpeg.
        program: String = "ffmpeg".to_owned(), Argument;
        /// Its arguments before the input.
        input: Vec<String> = Vec::new(), Many<Argument>;
        /// Its arguments between the input and the output.
        args: Vec<String> = vec!["-c".to_owned(), "copy".to_owned()], Many<Argument>;
    }
}

/// Whether a program is started again when it has ended by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// However it ended.
    #[default]
    Always,
    /// Unless it said that all was well.
    Failure,
    /// It runs once.
    Never,
}

impl Words for Restart {
    const WORDS: &'static [(&'static str, Self)] =
        &[("always", Self::Always), ("failure", Self::Failure), ("never", Self::Never)];
}

/// What placeholders there are in the arguments of `exec`.
pub const EXEC_WORDS: [&str; 6] = ["url", "vhost", "app", "stream", "port", "timestamp"];

/// The same in `transcode.to`.
pub const TRANSCODE_WORDS: [&str; 4] = ["vhost", "app", "stream", "name"];

/// `text` with `value` of each word that stands in braces in it. What it puts in is not looked through again, and
/// braces around anything else stay.
pub fn filled(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, behind) = rest.split_at(open);
        out.push_str(before);
        let word = behind[1..].split_once('}').map(|(word, _)| word);
        match word.and_then(|word| Some((word, value(word)?))) {
            Some((word, value)) => {
                out.push_str(&value);
                rest = &behind[word.len() + 2..];
            }
            None => {
                out.push('{');
                rest = &behind[1..];
            }
        }
    }
    out + rest
}

/// The first word in braces in `text` that looks like a placeholder and is none of `known`.
fn unknown<'t>(text: &'t str, known: &[&str]) -> Option<&'t str> {
    let words = text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    let mut words = words.filter(|word| !word.is_empty());
    let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    words.find(|word| is_word(word) && !known.contains(word))
}

/// An argument of a program. Shown, a URL is its scheme and host: the rest may be a secret.
#[derive(Debug)]
pub struct Argument;

impl Text for Argument {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        const FIX: &str = "write one argument, without a shell's quotes";
        if text.len() > ARGUMENT_MAX {
            return Err(Problem::new(format!("is longer than {ARGUMENT_MAX} bytes"), FIX));
        }
        match text.contains('\0') {
            true => Err(Problem::new("has a zero byte", FIX)),
            false => Ok(text.to_owned()),
        }
    }

    fn show(value: &String, secrets: Secrets) -> Json {
        match secrets {
            Secrets::Masked => masked(value).into(),
            Secrets::Plain => value.as_str().into(),
        }
    }

    fn schema() -> Json {
        json!({ "type": ["string", "number"], "maxLength": ARGUMENT_MAX })
    }
}

/// `argument` as people may see it.
pub fn masked(argument: &str) -> String {
    let Some((scheme, rest)) = argument.split_once("://") else { return argument.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, more) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let hidden = if more.len() > 1 || host != authority { "/***" } else { more };
    format!("{scheme}://{host}{hidden}")
}

impl Element for Argument {
    const EXPECTED: &'static str = "an argument or a list of arguments";
    const WRITE: &'static str =
        "a list of arguments such as [ffmpeg, -i, \"{url}\"]; [] means none";
    const MAY_BE_NUMBER: bool = true;
}

/// What tells the streams of several lines of `transcode` apart.
#[derive(Debug)]
pub struct TranscodeName;

/// Bytes of a name; the names of streams have 255 in all.
const NAME_MAX: usize = 64;

impl Text for TranscodeName {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.len() > NAME_MAX || !text.chars().all(is_plain) {
            let what = format!("`{text}` is no name of a transcode");
            return Err(Problem::new(what, "write letters and digits, such as hd"));
        }
        Ok(text.to_owned())
    }

    fn show(value: &String, _: Secrets) -> Json {
        value.as_str().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "maxLength": NAME_MAX })
    }
}

/// A line of a list, which is read as a whole: what is wrong with it, and how it is written.
trait Line: Section {
    const REQUIRED: &'static [&'static str];
    fn problem(&self) -> Option<Problem>;
}

/// Reads a line of the list.
fn line<L: Line>(from: &Node) -> Result<L, Refusal> {
    let line = <Part<L> as Kind>::over(Part::<L>::read(from)?, &L::default());
    match line.problem() {
        Some(problem) => Err(from.refused(problem)),
        None => Ok(line),
    }
}

fn line_schema<L: Line>() -> Json {
    let mut schema = <L as Section>::schema(Some(&L::default()));
    for key in L::REQUIRED {
        if let Some(of) = schema["properties"][*key].as_object_mut() {
            of.remove("default");
        }
    }
    schema["type"] = "object".into();
    schema["required"] = json!(L::REQUIRED);
    schema
}

macro_rules! lines {
    ($($line:ident: $expected:literal, $write:literal;)*) => { $(
        impl Leaf for $line {
            type Value = Self;
            const FORM: Form = Form::Map;

            fn read(from: &Node) -> Result<Self, Refusal> {
                line(from)
            }

            fn show(value: &Self, secrets: Secrets) -> Json {
                Section::show(value, secrets)
            }

            fn schema() -> Json {
                line_schema::<Self>()
            }
        }

        impl Element for $line {
            const EXPECTED: &'static str = $expected;
            const WRITE: &'static str = $write;
            const MAY_BE_NUMBER: bool = false;
        }
    )* };
}

lines! {
    Exec: "a list of programs",
        "a list: [{ streams: live/*, run: [PROGRAM, ARGUMENT] }]; [] means none";
    Transcode: "a list of transcoded streams",
        "a list: [{ streams: live/*, name: hd, args: [-s, 1280x720] }]; [] means none";
    Ingest: "a list of streams with where they come from",
        "a list: [{ stream: live/a, from: FILE }]; [] means none";
}

impl Line for Exec {
    const REQUIRED: &'static [&'static str] = &["run"];

    fn problem(&self) -> Option<Problem> {
        let Some(program) = self.run.first().filter(|program| !program.is_empty()) else {
            return Some(Problem::new("has no program", "write run: [PROGRAM, ARGUMENT, ...]"));
        };
        if self.run.len() == 1 && program.contains(' ') {
            let fix = "write a list, as no shell takes it apart: run: [ffmpeg, -i, \"{url}\"]";
            return Some(Problem::new("run is one word with spaces in it", fix));
        }
        if program.contains('{') {
            let fix = "write the program, and the placeholder in an argument of it";
            return Some(Problem::new("the program has a placeholder in its name", fix));
        }
        let unknown = self.run.iter().find_map(|argument| unknown(argument, &EXEC_WORDS));
        if let Some(unknown) = unknown {
            return Some(no_placeholder(unknown, &EXEC_WORDS));
        }
        let script = script_of(&self.run)?;
        let has_word = EXEC_WORDS.iter().any(|word| script.contains(&format!("{{{word}}}")));
        has_word.then(|| {
            let fix = "hand it over as an argument: [sh, -c, 'SCRIPT \"$1\"', sh, '{stream}']";
            Problem::new("a shell would run what a stream is called", fix)
        })
    }
}

impl Line for Transcode {
    const REQUIRED: &'static [&'static str] = &["name"];

    fn problem(&self) -> Option<Problem> {
        if self.name.is_empty() {
            return Some(Problem::new("has no name", "write name: hd"));
        }
        if let Some(unknown) = unknown(&self.to, &TRANSCODE_WORDS) {
            return Some(no_placeholder(unknown, &TRANSCODE_WORDS));
        }
        if self.program.is_empty() {
            return Some(Problem::new("has no program", "write program: ffmpeg"));
        }
        if self.to == "{app}/{stream}" {
            let fix = "write {app}/{stream}_{name}";
            return Some(Problem::new("to is the stream that it is made of", fix));
        }
        let is_named = self.to.contains("://") || self.to.contains('/');
        (!is_named).then(|| {
            let fix = "write app/stream, such as {app}/{stream}_{name}";
            Problem::new("to has no app, or no stream", fix)
        })
    }
}

impl Line for Ingest {
    const REQUIRED: &'static [&'static str] = &["stream", "from"];

    fn problem(&self) -> Option<Problem> {
        let bad = |what: &str, fix: &str| Some(Problem::new(what, fix));
        if self.stream.is_empty() || self.from.is_empty() {
            return bad(
                "needs a stream and where it comes from",
                "write stream: live/a, from: FILE",
            );
        }
        if self.stream.contains('*') {
            return bad("means several streams, and one is brought in", "write its name: live/a");
        }
        // An option would be taken for one.
        if self.from.starts_with('-') {
            return bad("from begins with a dash", "write ./-NAME for a file");
        }
        if self.program.is_empty() {
            return bad("has no program", "write program: ffmpeg");
        }
        None
    }
}

const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "ksh", "zsh"];

/// The text that a shell among `words` takes for a script.
fn script_of(words: &[String]) -> Option<&str> {
    let is_shell = |word: &String| SHELLS.contains(&word.rsplit('/').next().unwrap_or_default());
    let mut behind = words.iter().skip_while(|word| !is_shell(word));
    let is_option = |word: &&String| word.starts_with('-') && word.ends_with('c');
    behind.find(is_option)?;
    behind.next().map(String::as_str)
}

fn no_placeholder(word: &str, known: &[&str]) -> Problem {
    let known: Vec<_> = known.iter().map(|word| format!("{{{word}}}")).collect();
    let what = format!("{{{word}}} is no placeholder");
    Problem::new(what, format!("those that there are: {}", known.join(", ")))
}

impl Ingest {
    /// Whether it comes from a file, and not from another server or a device.
    pub fn is_file(&self) -> bool {
        !self.from.contains("://") && !self.from.starts_with("/dev/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn placeholders_are_filled_once() {
        let value = |word: &str| match word {
            "app" => Some("{stream}".to_owned()),
            "stream" => Some("{app}}".to_owned()),
            _ => None,
        };
        for (text, is) in [
            ("a", "a"),
            ("{app}/{stream}", "{stream}/{app}}"),
            ("{other}{", "{other}{"),
            ("{{app}}", "{{stream}}"),
            ("{}", "{}"),
        ] {
            assert_eq!(filled(text, value), is, "{text}");
        }
    }

    #[test]
    fn arguments_are_shown_without_what_may_be_secret() {
        for (argument, shown) in [
            ("-c", "-c"),
            ("./{stream}.flv", "./{stream}.flv"),
            ("rtmp://a/live2/KEY", "rtmp://a/***"),
            ("rtsp://user:pass@cam", "rtsp://cam/***"),
            ("rtsp://cam:554/", "rtsp://cam:554/"),
            ("http://a?token=x", "http://a/***"),
            ("tee:[f=flv]rtmp://u:p@a/b/c", "tee:[f=flv]rtmp://a/***"),
        ] {
            assert_eq!(masked(argument), shown);
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (text, what) in [
            ("exec: [{ streams: live/* }]", "has no program"),
            ("exec: [{ run: 'ffmpeg -i {url}' }]", "as no shell takes it apart"),
            ("exec: [{ run: ['{stream}'] }]", "a placeholder in its name"),
            ("exec: [{ run: [a, '{steam}'] }]", "{steam} is no placeholder"),
            ("exec: [{ run: [a], restart: often }]", "unknown value"),
            ("exec: [{ run: [/bin/bash, -ec, 'echo {stream}'] }]", "a shell would run"),
            ("exec: [{ run: [env, sh, -c, '{app}'] }]", "a shell would run"),
            ("exec: run", "expected a list of programs"),
            ("transcode: [{ args: [-s, 1x1] }]", "has no name"),
            ("transcode: [{ name: 'a/b' }]", "no name of a transcode"),
            ("transcode: [{ name: a, to: b }]", "has no app, or no stream"),
            ("transcode: [{ name: a, to: '{app}/{stream}' }]", "the stream that it is made of"),
            ("transcode: [{ name: a, to: 'a/{engine}' }]", "{engine} is no placeholder"),
            ("ingest: [{ stream: live/a }]", "needs a stream and where"),
            ("ingest: [{ stream: live/*, from: a }]", "several streams"),
            ("ingest: [{ stream: live/a, from: -a }]", "begins with a dash"),
            ("children: { max: 2000 }", "more than 1024"),
        ] {
            let error = Config::parse(text, "a.yaml").map(|_| ()).expect_err(text).to_string();
            assert!(error.contains(what), "{text}: {error}");
        }
    }

    #[test]
    fn numbers_are_arguments_and_braces_of_others_stay() {
        let text = "exec: [{ run: [awk, -v, 7, '{ print $1 }', '{stream}'] }]";
        let config = Config::parse(text, "a.yaml").expect("a configuration");
        assert_eq!(config.exec[0].run, ["awk", "-v", "7", "{ print $1 }", "{stream}"]);
        let handed_over = "exec: [{ run: [sh, -c, 'echo \"$1\"', sh, '{stream}'] }]";
        assert!(Config::parse(handed_over, "a.yaml").is_ok());
    }
}
