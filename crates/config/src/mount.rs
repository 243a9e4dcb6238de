//! Where streams are found over HTTP: in which formats, and under which paths.

use serde_json::json;

use super::{
    kind::{
        Element, Form, Json, Kind as _, Leaf, Node, Part, Refusal, Secrets, Section, Text, section,
    },
    pattern::StreamPattern,
    scalar::{Word, Words},
    value::Problem,
};

/// Longest path of a mount, in bytes: what is longer is no path that anybody types.
const PATH_MAX: usize = 512;

/// The formats in which a stream is one file without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveFormat {
    /// FLV.
    Flv,
    /// MPEG-TS.
    Ts,
    /// Fragmented MP4.
    Mp4,
    /// MP3, sound alone.
    Mp3,
    /// AAC in ADTS, sound alone.
    Aac,
}

impl LiveFormat {
    /// All of them.
    pub fn all() -> Vec<Self> {
        Self::WORDS.iter().map(|(_, format)| *format).collect()
    }

    /// What paths end with, without the dot.
    pub fn extension(self) -> &'static str {
        Self::WORDS.iter().find(|(_, format)| *format == self).map_or("", |(word, _)| word)
    }

    /// The format with this extension.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(word, _)| *word == extension).map(|(_, format)| *format)
    }
}

impl Words for LiveFormat {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("flv", Self::Flv),
        ("ts", Self::Ts),
        ("mp4", Self::Mp4),
        ("mp3", Self::Mp3),
        ("aac", Self::Aac),
    ];
}

impl Element for Word<LiveFormat> {
    const EXPECTED: &'static str = "a format or a list of formats";
    const WRITE: &'static str = "a format such as flv; [] means none";
    const MAY_BE_NUMBER: bool = false;
}

section! {
    /// A path under which streams are found in a format, in place of the usual one.
    Mount / MountKeys {
        /// The path, such as `/{app}/{stream}.flv` or `/live.flv`. It ends with the extension of its format.
        path: MountPath = MountPath::default(), MountPath;
        /// Which streams: a pattern such as `live/*`. What the path does not say of a stream, the pattern has to.
        streams: StreamPattern = StreamPattern::all(), StreamPattern;
    }
}

impl Mount {
    /// The app and the stream that are mounted under `path`, without percent-encoding; none if none is.
    pub fn find(&self, path: &str) -> Option<(String, String)> {
        let (app, stream) = self.path.find(path)?;
        let app = app.or_else(|| self.streams.only_app().map(str::to_owned))?;
        let stream = stream.or_else(|| self.streams.only_stream().map(str::to_owned))?;
        self.streams.matches(&app, &stream).then_some((app, stream))
    }

    /// Whether path and pattern together leave open which app, or which stream, is meant.
    pub(super) fn is_open(&self) -> bool {
        (self.streams.only_app().is_none() && !self.path.has(Variable::App))
            || (self.streams.only_stream().is_none() && !self.path.has(Variable::Stream))
    }
}

impl Leaf for Mount {
    type Value = Self;
    const FORM: Form = Form::Map;

    fn read(from: &Node) -> Result<Self, Refusal> {
        let own = Part::<Self>::read(from)?;
        Ok(<Part<Self> as super::kind::Kind>::over(own, &Self::default()))
    }

    fn show(value: &Self, secrets: Secrets) -> Json {
        Section::show(value, secrets)
    }

    fn schema() -> Json {
        <Self as Section>::schema(Some(&Self::default()))
    }
}

impl Element for Mount {
    const EXPECTED: &'static str = "a list of paths with their streams";
    const WRITE: &'static str =
        "a list such as [{ path: /live.flv, streams: live/cam }]; [] means the usual paths";
    const MAY_BE_NUMBER: bool = false;
}

/// A path with `{app}` and `{stream}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPath {
    /// As it is shown.
    text: String,
    format: LiveFormat,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Variable {
    App,
    Stream,
}

impl Variable {
    const fn word(self) -> &'static str {
        match self {
            Self::App => "{app}",
            Self::Stream => "{stream}",
        }
    }
}

impl Default for MountPath {
    fn default() -> Self {
        Self { text: "/{app}/{stream}.flv".to_owned(), format: LiveFormat::Flv }
    }
}

impl MountPath {
    /// The format that its extension says.
    pub const fn format(&self) -> LiveFormat {
        self.format
    }

    fn has(&self, variable: Variable) -> bool {
        self.text.contains(variable.word())
    }

    /// What `path` says of app and stream; none if it is no path of these.
    fn find(&self, path: &str) -> Option<(Option<String>, Option<String>)> {
        let levels: Vec<&str> = self.text.strip_prefix('/')?.split('/').collect();
        let given: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let app_at = levels.iter().position(|level| *level == Variable::App.word());
        // An app may have several levels, and all others have one.
        let of_app = match app_at {
            Some(_) => (given.len() + 1).checked_sub(levels.len()).filter(|count| *count > 0)?,
            None if given.len() == levels.len() => 0,
            None => return None,
        };
        let (mut app, mut stream, mut at) = (None, None, 0);
        for (number, level) in levels.iter().enumerate() {
            if Some(number) == app_at {
                app = Some(given.get(at..at + of_app)?.join("/"));
                at += of_app;
                continue;
            }
            let part = *given.get(at)?;
            at += 1;
            match level.split_once(Variable::Stream.word()) {
                Some((before, after)) => {
                    let name = part.strip_prefix(before)?.strip_suffix(after)?;
                    stream = Some(name.to_owned()).filter(|name| !name.is_empty());
                    stream.as_ref()?;
                }
                None if part == *level => {}
                None => return None,
            }
        }
        Some((app, stream))
    }
}

impl Text for MountPath {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        const FIX: &str =
            "write a path such as /{app}/{stream}.flv, or /live.flv with streams: live/cam";
        let bad = |what: &str| Problem::new(format!("`{text}` {what}"), FIX);
        if text.len() > PATH_MAX {
            return Err(Problem::new(format!("is longer than {PATH_MAX} bytes"), FIX));
        }
        let mut path = text.to_owned();
        for word in ["vhost", "app", "stream"] {
            path = path.replace(&format!("[{word}]"), &format!("{{{word}}}"));
        }
        // The host in a mount of SRS: a vhost is found by the host of a request, or by `?vhost=`.
        let path = path.strip_prefix("{vhost}").unwrap_or(&path).to_owned();
        if path.contains("{vhost}") {
            return Err(bad(
                "has the vhost in it: it is found by the host of a request, or by ?vhost=",
            ));
        }
        let Some(levels) = path.strip_prefix('/') else {
            return Err(bad("does not begin with a slash"));
        };
        if path.chars().any(|c| c.is_control() || matches!(c, '?' | '#' | '%' | '\\' | '*' | ' ')) {
            return Err(bad("has a character that no path of a mount has"));
        }
        let bare = path.replacen("{app}", "", 1).replacen("{stream}", "", 1);
        if bare.contains(['{', '}', '[', ']']) {
            return Err(bad(
                "has something else in braces than {app} and {stream}, or one of them twice",
            ));
        }
        for level in levels.split('/') {
            if level.is_empty() || level.starts_with('.') {
                return Err(bad("has an empty part, or one that begins with a dot"));
            }
            if level.contains("{app}") && level != "{app}" {
                return Err(bad(
                    "has {app} beside something else, but an app is a whole part of a path",
                ));
            }
        }
        let format = levels.rsplit_once('.').and_then(|(_, it)| LiveFormat::of_extension(it));
        match format {
            Some(format) => Ok(Self { text: path, format }),
            None => Err(bad("ends with none of .flv, .ts, .mp4, .mp3 and .aac")),
        }
    }

    fn show(value: &Self, _: Secrets) -> Json {
        value.text.clone().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"\.(flv|ts|mp4|mp3|aac)$", "maxLength": PATH_MAX })
    }
}

/// The first of `mounts` that leaves open which stream it means, alone or beside another one: its number, and why.
pub(super) fn fault(mounts: &[Mount]) -> Option<(usize, Problem)> {
    if let Some(number) = mounts.iter().position(Mount::is_open) {
        let mount = &mounts[number].path.text;
        let what = format!("{mount} could be any of several streams");
        let fix = "write {app} and {stream} in the path, or name the stream: streams: live/cam";
        return Some((number, Problem::new(what, fix)));
    }
    let shape = |mount: &Mount| mount.path.text.replace("{app}/", "").replace("{stream}", "*");
    let is_twice =
        |number: &usize| mounts[..*number].iter().any(|it| shape(it) == shape(&mounts[*number]));
    let number = (0..mounts.len()).find(is_twice)?;
    let what = format!("{} is the path of another mount as well", mounts[number].path.text);
    Some((number, Problem::new(what, "keep one of them")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(path: &str, streams: &str) -> Mount {
        Mount {
            path: MountPath::parse(path).expect(path),
            streams: StreamPattern::parse(streams).expect(streams),
        }
    }

    #[test]
    fn paths_lead_to_streams() {
        for (path, streams, asked, found) in [
            ("/{app}/{stream}.flv", "*", "/live/cam.flv", Some(("live", "cam"))),
            ("[vhost]/[app]/[stream].flv", "*", "/live/eu/c.d.flv", Some(("live/eu", "c.d"))),
            ("/{app}/{stream}.flv", "*", "/cam.flv", None),
            ("/{app}/{stream}.flv", "*", "/live/.flv", None),
            ("/{app}/{stream}.flv", "live/*", "/vod/cam.flv", None),
            ("/live.flv", "live/cam", "/live.flv", Some(("live", "cam"))),
            ("/live.flv", "live/cam", "/a/live.flv", None),
            ("/{stream}.ts", "live/eu/*", "/cam.ts", Some(("live/eu", "cam"))),
            ("/tv/{app}/x/{stream}/index.mp3", "*", "/tv/a/b/x/s/index.mp3", Some(("a/b", "s"))),
            ("/tv/{app}/x/{stream}/index.mp3", "*", "/tv/x/s/index.mp3", None),
            ("/a-{stream}-b.aac", "live/*", "/a-x-b-b.aac", Some(("live", "x-b"))),
        ] {
            let found = found.map(|(app, stream)| (app.to_owned(), stream.to_owned()));
            let mount = mount(path, streams);
            assert!(!mount.is_open(), "{path}");
            assert_eq!(mount.find(asked), found, "{path} {streams}: {asked}");
        }
    }

    #[test]
    fn what_leaves_open_which_stream_is_meant_is_known() {
        for (path, streams) in [("/live.flv", "*"), ("/live.flv", "live/*"), ("/{stream}.flv", "*")]
        {
            assert!(mount(path, streams).is_open(), "{path} {streams}");
        }
        let fault = |yaml: &str| {
            let text = format!("play: {{ mounts: [{yaml}] }}");
            crate::Config::parse(&text, "a.yaml")
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        let open = fault("{ path: '/{app}/{stream}.flv' }, { path: /live.flv, streams: live/* }");
        assert!(open.contains("could be any of several streams"), "{open}");
        let twice =
            "{ path: '/{stream}.flv', streams: a/* }, { path: '/{stream}.flv', streams: b/* }";
        assert!(fault(twice).contains("is the path of another mount"), "{}", fault(twice));
        assert_eq!(fault("{ path: /a.ts, streams: l/a }, { path: /a.flv, streams: l/a }"), "");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for bad in [
            "",
            "live.flv",
            "/live",
            "/live.m3u8",
            "/{app}/{stream}",
            "//a.flv",
            "/../a.flv",
            "/{app}/{app}/a.flv",
            "/x{app}/{stream}.flv",
            "/a?b.flv",
            "/{file}.flv",
            "/{vhost}/a.flv",
            "/a*.flv",
            "/%2e.flv",
        ] {
            assert!(MountPath::parse(bad).is_err(), "{bad}");
        }
        let shown = <MountPath as Text>::show(
            &MountPath::parse("[vhost]/[app]/[stream].ts").expect("one"),
            Secrets::Masked,
        );
        assert_eq!(shown, "/{app}/{stream}.ts");
    }
}
