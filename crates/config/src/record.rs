//! Which streams are recorded, where to, and in which container.

use std::{path::PathBuf, time::Duration};

use serde_json::json;

use super::{
    kind::{Json, Many, Part, Secrets, Text, section},
    pattern::StreamPattern,
    scalar::{Bytes, Folder, Switch, Time, Word, Words},
    value::Problem,
};

/// A week: whoever wants longer files splits by size, or not at all.
const SPLIT_MAX: u64 = 7 * 24 * 3600 * 1000;

/// Ten years: whoever keeps recordings for longer keeps them for ever.
const AGE_MAX: u64 = 10 * 365 * 24 * 3600 * 1000;

/// Longest template of a path, in bytes: longer ones come to no path that a system has.
const TEMPLATE_MAX: usize = 1000;

section! {
    /// Recording.
    Record / RecordOverride {
        /// The folder that recordings are below; empty for no recordings at all.
        dir: PathBuf = PathBuf::new(), Folder;
        /// Which streams are recorded from the beginning of each publish; empty for those that the API is asked for.
        streams: Vec<StreamPattern> = Vec::new(), Many<StreamPattern>;
        /// The container of the files.
        container: RecordContainer = RecordContainer::Flv, Word<RecordContainer>;
        /// Where a file is below the folder, without its ending.
        path: String = "{vhost}/{app}/{stream}/{date}-{time}-{number}".to_owned(), PathTemplate;
        /// When the next file begins, at a key frame; by default a stream is one file from its publish to its end.
        split: Split = Split::default(), Part<Split>;
        /// Which files are removed again; by default none.
        keep: Keep = Keep::default(), Part<Keep>;
    }
}

section! {
    /// When the next file of a recording begins.
    Split / SplitOverride {
        /// When the file is as long as this; 0s for never.
        duration: Duration = Duration::ZERO, Time<0, SPLIT_MAX>;
        /// When the file has as many bytes; 0 for never.
        size: u64 = 0, Bytes<0>;
        /// When its publisher has gone: who returns within `publish.linger` begins another.
        publisher: bool = false, Switch;
    }
}

section! {
    /// What is kept of recordings. Streams whose recordings share a folder share what is strictest.
    Keep / KeepOverride {
        /// Files that were finished longer ago are removed; 0s for never.
        age: Duration = Duration::ZERO, Time<0, AGE_MAX>;
        /// The oldest files are removed while there are more bytes in the folder; 0 for never.
        size: u64 = 0, Bytes<0>;
    }
}

impl Record {
    /// Whether the stream `stream` of `app` is recorded without being asked for.
    pub fn matches(&self, app: &str, stream: &str) -> bool {
        self.is_possible() && self.streams.iter().any(|pattern| pattern.matches(app, stream))
    }

    /// Whether anything can be recorded: there is a folder for it.
    pub fn is_possible(&self) -> bool {
        !self.dir.as_os_str().is_empty()
    }
}

/// What recordings are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordContainer {
    /// FLV: all that RTMP carries, as it was published.
    Flv,
    /// Fragmented MP4.
    Mp4,
    /// MPEG-TS.
    Ts,
}

impl RecordContainer {
    /// What the names of its files end with.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Flv => ".flv",
            Self::Mp4 => ".mp4",
            Self::Ts => ".ts",
        }
    }
}

impl Words for RecordContainer {
    const WORDS: &'static [(&'static str, Self)] =
        &[("flv", Self::Flv), ("mp4", Self::Mp4), ("ts", Self::Ts)];
}

/// The template of a path. What it names is looked at when it is used.
#[derive(Debug)]
pub struct PathTemplate;

impl Text for PathTemplate {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        const FIX: &str = "write a path such as {app}/{stream}/{date}-{time}";
        match text.len() {
            0 => Err(Problem::new("is empty", FIX)),
            1..=TEMPLATE_MAX => Ok(text.to_owned()),
            _ => Err(Problem::new(format!("is longer than {TEMPLATE_MAX} bytes"), FIX)),
        }
    }

    fn show(value: &String, _: Secrets) -> Json {
        value.as_str().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1, "maxLength": TEMPLATE_MAX })
    }
}

/// The template of a path, or nothing.
#[derive(Debug)]
pub struct MaybeTemplate;

impl Text for MaybeTemplate {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        if text.is_empty() { Ok(String::new()) } else { PathTemplate::parse(text) }
    }

    fn show(value: &String, _: Secrets) -> Json {
        value.as_str().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "maxLength": TEMPLATE_MAX })
    }
}
