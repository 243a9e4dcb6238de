//! Streams that an origin gets from elsewhere: from another server, or from a file.

use std::{fmt, path::PathBuf, time::Duration};

use serde_json::json;
use weir_media::{DEFAULT_VHOST, StreamKey};

use super::{
    Pin, StreamPattern,
    host::{RTMP_PORT, TLS_PORT, parse_authority},
    kind::{
        Element, Form, Json, Kind, Leaf, Many, Maybe, Node, Part, Refusal, Secrets, Section, Text,
        section,
    },
    scalar::{File, Time, Word, Words},
    value::Problem,
};

const HOUR: u64 = 3_600_000;

/// The port of HTTP.
const HTTP_PORT: u16 = 80;

/// As of any URL of RTMP here.
const FROM_BYTES_MAX: usize = 8 * 1024;

section! {
    /// A stream that comes from elsewhere, or all streams of some names.
    Pull / PullKeys {
        /// The stream, as app/stream or vhost/app/stream; with `when: demand` also a pattern such as live/*.
        stream: String = String::new(), PulledName;
        /// Where it comes from: rtmp://, rtmps://, http:// or https:// (FLV), or file:/path.flv. `{app}` and `{stream}`
        /// stand for the names of the stream that is pulled.
        from: PullFrom = PullFrom::default(), PullFrom;
        /// Whether it is pulled always, or while somebody watches it.
        when: When = When::Always, Word<When>;
        /// How long a stream that is pulled on demand is still pulled after its last viewer has left.
        linger: Duration = Duration::from_secs(10), Time<0, HOUR>;
        /// The PEM file with the CA certificates by which the certificate of the other server is signed; without it,
        /// those that the system trusts.
        ca: Option<PathBuf> = None, Maybe<File>;
        /// SHA-256 fingerprints of the other server's certificate or of its public key.
        pin: Vec<Pin> = Vec::new(), Many<Pin>;
    }
}

/// When a stream is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// For as long as it is configured.
    #[default]
    Always,
    /// While somebody watches it.
    Demand,
}

impl Words for When {
    const WORDS: &'static [(&'static str, Self)] =
        &[("always", Self::Always), ("demand", Self::Demand)];
}

impl Pull {
    /// Whether it means several streams: those of a pattern.
    pub fn is_pattern(&self) -> bool {
        self.stream.contains('*')
    }
}

/// A stream of a vhost, or several of them.
#[derive(Debug)]
pub struct PulledName;

impl Text for PulledName {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        let pattern = StreamPattern::parse(text)?;
        let name = pattern.to_string();
        if let Some((app, stream)) = name.rsplit_once('/').filter(|_| !name.contains('*')) {
            StreamKey::new(DEFAULT_VHOST, app, stream).map_err(|why| {
                Problem::new(why.to_string(), "write app/stream, such as live/cam")
            })?;
        }
        Ok(name)
    }

    fn show(value: &String, _: Secrets) -> Json {
        value.as_str().into()
    }

    fn schema() -> Json {
        <StreamPattern as Text>::schema()
    }
}

/// Where a stream comes from. Shown, its parameters are left out: they may be secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PullFrom {
    text: String,
    place: PullPlace,
}

/// The parts of where a stream comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PullPlace {
    /// An FLV file, which is read again and again. The path may have `{app}` and `{stream}` in it.
    File(String),
    /// Another server.
    Server(PullServer),
    /// Not said: what is in force has none of these.
    #[default]
    Nowhere,
}

/// Another server that a stream comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullServer {
    /// What is spoken.
    pub protocol: PullProtocol,
    /// Whether over TLS.
    pub is_tls: bool,
    /// A host name or an address, an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What is spoken with the server that a stream comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullProtocol {
    /// RTMP.
    Rtmp,
    /// HTTP-FLV.
    Flv,
}

impl PullFrom {
    /// The parts.
    pub fn place(&self) -> &PullPlace {
        &self.place
    }

    /// The whole URL with its secrets, in which `name` writes the names that are put into it: of the app for `{app}`,
    /// of the stream for `{stream}`.
    pub fn of(&self, app: &str, stream: &str) -> String {
        filled(&self.text, app, stream)
    }

    /// Whether the name of the stream is put into it.
    pub fn has_stream(&self) -> bool {
        self.text.contains(STREAM)
    }

    /// `text` without what is secret here: the values of the parameters.
    pub fn masked(&self, text: &str) -> String {
        let Some((_, params)) = self.text.split_once('?') else { return text.to_owned() };
        let values = params.split(['&', '=', '?', '/']).filter(|value| value.len() >= SECRET_MIN);
        let mut values: Vec<_> = values.collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.into_iter().fold(text.to_owned(), |text, value| text.replace(value, "***"))
    }

    /// The path and the parameters of an HTTP URL, from the slash on.
    pub fn target(url: &str) -> &str {
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
        authority.find('/').map_or("/", |slash| &authority[slash..])
    }
}

/// Shorter parts of parameters are no secrets, and would be found in any sentence.
const SECRET_MIN: usize = 4;

const APP: &str = "{app}";
const STREAM: &str = "{stream}";

/// `text` with the names in it.
fn filled(text: &str, app: &str, stream: &str) -> String {
    // What a name says is not looked into for the other one.
    let parts = text.split(STREAM).map(|part| part.replace(APP, app));
    parts.collect::<Vec<_>>().join(stream)
}

/// As people may see it.
impl fmt::Display for PullFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.text.split_once('?')) {
            (PullPlace::Server(_), Some((url, _))) => write!(f, "{url}?***"),
            _ => f.write_str(&self.text),
        }
    }
}

impl fmt::Debug for PullFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PullFrom({self})")
    }
}

impl Text for PullFrom {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        const FIX: &str = "write rtmp://HOST/APP/STREAM, rtmps://..., http://HOST/APP/STREAM.flv, https://..., or \
                           file:/PATH.flv";
        // What is wrong is said without the text: it may have a secret in it.
        let bad = |what: &str| Problem::new(what, FIX);
        if text.len() > FROM_BYTES_MAX {
            return Err(bad("longer than 8192 bytes"));
        }
        if filled(text, "", "").contains(['{', '}']) {
            return Err(bad("has another placeholder than {app} and {stream}"));
        }
        let (scheme, rest) = text.split_once(':').ok_or_else(|| bad("has no scheme"))?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "file" {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() {
                return Err(bad("has no path"));
            }
            return Ok(Self { text: text.to_owned(), place: PullPlace::File(path.to_owned()) });
        }
        let (protocol, is_tls, usual_port) = match &*scheme {
            "rtmp" => (PullProtocol::Rtmp, false, RTMP_PORT),
            "rtmps" => (PullProtocol::Rtmp, true, TLS_PORT),
            "http" => (PullProtocol::Flv, false, HTTP_PORT),
            "https" => (PullProtocol::Flv, true, TLS_PORT),
            _ => return Err(bad("has none of the schemes rtmp, rtmps, http, https, file")),
        };
        let rest = rest.strip_prefix("//").ok_or_else(|| bad("has no // behind its scheme"))?;
        let (authority, path) = rest.split_once('/').ok_or_else(|| bad("has no path"))?;
        if authority.contains('@') {
            return Err(bad("has a user before its host, which is not sent; use a parameter"));
        }
        let (host, port) = parse_authority(authority, usual_port)?;
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let has_app = path
            .rsplit_once('/')
            .is_some_and(|(app, stream)| !app.trim_matches('/').is_empty() && !stream.is_empty());
        if path.is_empty() || protocol == PullProtocol::Rtmp && !has_app && !text.contains('?') {
            return Err(bad("has no app, or no stream"));
        }
        let server = PullServer { protocol, is_tls, host, port };
        Ok(Self { text: text.to_owned(), place: PullPlace::Server(server) })
    }

    fn show(value: &Self, secrets: Secrets) -> Json {
        match secrets {
            Secrets::Masked => value.to_string().into(),
            Secrets::Plain => value.text.as_str().into(),
        }
    }

    fn schema() -> Json {
        let schemes = "[Rr][Tt][Mm][Pp][Ss]?://|[Hh][Tt][Tt][Pp][Ss]?://|[Ff][Ii][Ll][Ee]:";
        json!({ "type": "string", "pattern": format!("^({schemes}).+") })
    }
}

impl Element for Pull {
    const EXPECTED: &'static str = "a list of streams with where they come from";
    const WRITE: &'static str = "a list: [{ stream: live/cam, from: URL }]; [] means none";
    const MAY_BE_NUMBER: bool = false;
}

impl Leaf for Pull {
    type Value = Self;
    const FORM: Form = Form::Map;

    fn read(from: &Node) -> Result<Self, Refusal> {
        let pull = <Part<Self> as Kind>::over(Part::<Self>::read(from)?, &Self::default());
        match pull.problem() {
            Some((what, fix)) => Err(from.refused(Problem::new(what, fix))),
            None => Ok(pull),
        }
    }

    fn show(value: &Self, secrets: Secrets) -> Json {
        Section::show(value, secrets)
    }

    fn schema() -> Json {
        let mut schema = <Self as Section>::schema(Some(&Self::default()));
        for key in ["stream", "from"] {
            if let Some(of) = schema["properties"][key].as_object_mut() {
                of.remove("default");
            }
        }
        schema["type"] = "object".into();
        schema["required"] = json!(["stream", "from"]);
        schema
    }
}

impl Pull {
    /// What its keys say together that cannot be, and how to mend it.
    fn problem(&self) -> Option<(&'static str, &'static str)> {
        let is_tls = matches!(&self.from.place, PullPlace::Server(PullServer { is_tls: true, .. }));
        if self.stream.is_empty() || self.from.text.is_empty() {
            return Some((
                "a pull needs a stream and where it comes from",
                "write stream: and from:",
            ));
        }
        if self.is_pattern() && self.when == When::Always {
            return Some((
                "a pattern has no list of streams that could be pulled always",
                "write when: demand, or the name of one stream",
            ));
        }
        if self.is_pattern() && !self.from.has_stream() {
            return Some((
                "all streams of a pattern would be the same one",
                "write {stream} where the URL has the stream's name",
            ));
        }
        if !is_tls && (self.ca.is_some() || !self.pin.is_empty()) {
            return Some(("ca and pin are for rtmps:// and https://", "remove them"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn from(text: &str) -> Result<PullFrom, Problem> {
        PullFrom::parse(text)
    }

    fn config(text: &str) -> Config {
        Config::parse(text, "a.yaml").expect("a configuration")
    }

    #[test]
    fn servers_and_files_are_told_apart() {
        let server = |text: &str| match from(text).expect(text).place {
            PullPlace::Server(server) => (server.protocol, server.is_tls, server.host, server.port),
            other => panic!("{text}: {other:?}"),
        };
        let (rtmp, flv) = (PullProtocol::Rtmp, PullProtocol::Flv);
        assert_eq!(server("rtmp://a.org/live/x"), (rtmp, false, "a.org".to_owned(), 1935));
        assert_eq!(server("RTMPS://a.org:1/l/e/x"), (rtmp, true, "a.org".to_owned(), 1));
        assert_eq!(server("http://[::1]/live/x.flv?a=b"), (flv, false, "::1".to_owned(), 80));
        assert_eq!(server("https://127.0.0.1/x.flv"), (flv, true, "127.0.0.1".to_owned(), 443));
        for (text, path) in
            [("file:/a/b.flv", "/a/b.flv"), ("file:///a.flv", "/a.flv"), ("file:a.flv", "a.flv")]
        {
            assert_eq!(from(text).expect(text).place, PullPlace::File(path.to_owned()));
        }
        for bad in [
            "",
            "a",
            "srt://a/b/c",
            "rtmp:/a/b/c",
            "rtmp://a",
            "rtmp://a/x",
            "rtmp://u:secret@a/b/c",
            "file:",
            "rtmp://a:0/b/c",
            "http://a/{name}.flv",
            "rtmp:///b/c",
        ] {
            let problem = from(bad).expect_err(bad);
            assert!(!problem.what.contains("secret"), "{problem:?}");
        }
    }

    #[test]
    fn parameters_are_shown_to_nobody() {
        let url = from("rtmp://a.org/live/x?token=hunter22&b=7").expect("a URL");
        assert_eq!(url.to_string(), "rtmp://a.org/live/x?***");
        assert!(!format!("{url:?}").contains("hunter22"));
        assert_eq!(<PullFrom as Text>::show(&url, Secrets::Masked), "rtmp://a.org/live/x?***");
        let said = url.masked("no stream x?token=hunter22, 7 viewers");
        assert_eq!(said, "no stream x?***=***, 7 viewers");
        assert_eq!(url.of("live", "x"), "rtmp://a.org/live/x?token=hunter22&b=7");
    }

    #[test]
    fn names_are_put_in() {
        let url = from("http://a/{app}/{stream}.flv?s={stream}").expect("a URL");
        assert_eq!(url.of("l/{stream}", "c"), "http://a/l/{stream}/c.flv?s=c");
        assert_eq!(PullFrom::target("http://a:1/b/c?d"), "/b/c?d");
    }

    #[test]
    fn the_first_part_is_a_vhost_where_there_is_one() {
        let config = config(
            "vhosts: { a.org: {} }\npull:\n- { stream: a.org/live/x, from: 'file:/a' }\n\
             - { stream: b.org/live/x, from: 'file:/a' }\n\
             - { stream: a.org/live/*, from: 'rtmp://h/live/{stream}', when: demand }\n",
        );
        let keys: Vec<_> = config.pull.iter().map(|pull| config.pulled_stream(pull)).collect();
        let key = |vhost, app| StreamKey::new(vhost, app, "x").ok();
        assert_eq!(keys, [key("a.org", "live"), key(DEFAULT_VHOST, "b.org/live"), None]);
        let (vhost, streams) = config.pulled(&config.pull[2]).expect("streams");
        assert_eq!((&*vhost, &*streams.to_string()), ("a.org", "live/*"));
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (pull, what) in [
            ("{ stream: live/x }", "needs a stream and where"),
            ("{ stream: live/*, from: 'rtmp://a/b/{stream}' }", "pulled always"),
            ("{ stream: live/*, from: 'rtmp://a/b/c', when: demand }", "the same one"),
            ("{ stream: live/x, from: 'rtmp://a/b/c', ca: x.pem }", "rtmps://"),
            ("{ stream: live/.., from: 'rtmp://a/b/c' }", "forbidden component"),
            ("{ stream: live/x, from: 'rtmp://a/b/c', when: often }", "unknown value"),
        ] {
            let error = Config::parse(&format!("pull: [{pull}]\n"), "a.yaml").expect_err(pull);
            assert!(error.to_string().contains(what), "{pull}: {error}");
        }
    }
}
