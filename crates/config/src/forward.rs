//! Which streams go on to other servers, and where to.

use std::{fmt, path::PathBuf};

use serde_json::json;
use weir_media::DEFAULT_VHOST;

use super::{
    host::{HostPort, host_and_port},
    kind::{
        Element, Form, Json, Kind as _, Leaf, Many, Maybe, Node, Part, Refusal, Secrets, Section,
        Text, section,
    },
    pattern::StreamPattern,
    scalar::{File, Switch},
    value::Problem,
};

/// Longest target: as long as a URL of RTMP may be.
const TARGET_MAX: usize = 4096;

/// The ports of RTMP and of RTMP over TLS.
const PORTS: (u16, u16) = (1935, 443);

section! {
    /// Streams that go on to other servers.
    Forward / ForwardKeys {
        /// Which streams: patterns such as `live/*`.
        streams: Vec<StreamPattern> = vec![StreamPattern::all()], Many<StreamPattern>;
        /// Where to: URLs with `rtmp://` or `rtmps://`, which count as secrets, or a host.
        to: Vec<ForwardTarget> = Vec::new(), Many<ForwardTarget>;
        /// The PEM file with the CA certificates by which those of `rtmps://` targets are signed; without one, those
        /// that the system knows.
        ca: Option<PathBuf> = None, Maybe<File>;
        /// Whether targets that do not say which codecs they take are sent those of Enhanced RTMP all the same.
        assume_enhanced: bool = false, Switch;
    }
}

impl Leaf for Forward {
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

impl Element for Forward {
    const EXPECTED: &'static str = "a list of streams with their targets";
    const WRITE: &'static str =
        "a list such as [{ streams: live/*, to: rtmp://HOST/APP/KEY }]; [] means none";
    const MAY_BE_NUMBER: bool = false;
}

/// A server that streams go on to, and the names that they have there. Whoever knows the whole of it can publish there:
/// it shows itself with its host alone, and the rest as `***`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ForwardTarget {
    /// As it was written.
    text: String,
    is_tls: bool,
    server: HostPort,
    /// App and stream with their placeholders: `{app}/{stream}`.
    path: String,
    /// What follows the `?`, that included.
    query: String,
    /// Whether the path was not written, but is that of SRS's `forward`.
    is_bare: bool,
}

/// Why something is no target. Nothing of it is in here: what was meant to be a target may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoTarget(&'static str);

impl ForwardTarget {
    /// Reads `rtmp://HOST[:PORT]/APP/STREAM`, the same with `rtmps://`, or one of them with less: without a stream's
    /// name that of the stream follows, without an app that as well. `{vhost}`, `{app}` and `{stream}` stand for the
    /// stream's own names.
    ///
    /// # Errors
    /// Says what is wrong, without the text.
    pub fn new(text: &str) -> Result<Self, NoTarget> {
        let fail = |why| Err(NoTarget(why));
        if text.len() > TARGET_MAX {
            return fail("the target is too long");
        }
        if text.chars().any(|c| c.is_control() || c == ' ' || c == '#') {
            return fail("the target has a space, a # or a control character");
        }
        let (is_tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("rtmp") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("rtmps") => (true, rest),
            Some(_) => return fail("the target begins with neither rtmp:// nor rtmps://"),
            None if text.contains(['/', '?']) => {
                return fail("the target begins with neither rtmp:// nor rtmps://");
            }
            None => (false, text),
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return fail("the target has a user's name, which RTMP does not send");
        }
        let usual = if is_tls { PORTS.1 } else { PORTS.0 };
        let Some(server) = host_and_port(authority, usual) else {
            return fail("the target has no valid host and port");
        };
        let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let path = placeholders(path.strip_prefix('/').unwrap_or(path));
        let query = placeholders(query);
        let (Some(path), Some(query)) = (path, query) else {
            return fail("the target has a placeholder other than {vhost}, {app} and {stream}");
        };
        let parts: Vec<&str> = path.split('/').collect();
        let has_gap = parts.iter().rev().skip(1).any(|part| part.is_empty());
        let (path, is_bare) = match (parts.as_slice(), path.ends_with('/')) {
            ([""], _) => ("{app}/{stream}".to_owned(), true),
            _ if has_gap => return fail("the target has an empty part in its path"),
            (_, true) => (format!("{path}{{stream}}"), false),
            ([app], _) => (format!("{app}/{{stream}}"), false),
            _ => (path, false),
        };
        Ok(Self { text: text.to_owned(), is_tls, server, path, query, is_bare })
    }

    /// Whether it is reached with TLS.
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Where it is.
    pub const fn server(&self) -> &HostPort {
        &self.server
    }

    /// The URL for the stream with these names, written as they go into a URL. It is a secret. One of another vhost
    /// than the default one is sent to a bare host with its vhost, as SRS does.
    pub fn url(&self, vhost: &str, app: &str, stream: &str) -> String {
        let fill = |text: &str| {
            // One after the other would find placeholders in names.
            let mut out = String::with_capacity(text.len());
            let mut rest = text;
            while let Some(at) = rest.find('{') {
                out.push_str(&rest[..at]);
                rest = &rest[at..];
                let names = [("{vhost}", vhost), ("{app}", app), ("{stream}", stream)];
                match names.into_iter().find(|(word, _)| rest.starts_with(word)) {
                    Some((word, name)) => {
                        out.push_str(name);
                        rest = &rest[word.len()..];
                    }
                    None => {
                        out.push('{');
                        rest = &rest[1..];
                    }
                }
            }
            out + rest
        };
        let scheme = if self.is_tls { "rtmps" } else { "rtmp" };
        let (path, mut query) = (fill(&self.path), fill(&self.query));
        if self.is_bare && vhost != DEFAULT_VHOST {
            let mark = if query.is_empty() { '?' } else { '&' };
            query = format!("{query}{mark}vhost={vhost}");
        }
        format!("{scheme}://{}/{path}{query}", self.server)
    }
}

/// `text` with the placeholders of SRS as ours; none if there is an unknown one.
fn placeholders(text: &str) -> Option<String> {
    let mut text = text.to_owned();
    for word in ["vhost", "app", "stream"] {
        text = text.replace(&format!("[{word}]"), &format!("{{{word}}}"));
    }
    let is_known =
        |rest: &str| ["vhost}", "app}", "stream}"].into_iter().any(|word| rest.starts_with(word));
    text.split('{').skip(1).all(is_known).then_some(text)
}

/// With its host; whatever else there is, is a secret.
impl fmt::Display for ForwardTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "rtmps" } else { "rtmp" };
        let hidden = if self.is_bare && self.query.is_empty() { "" } else { "/***" };
        write!(f, "{scheme}://{}{hidden}", self.server)
    }
}

impl fmt::Debug for ForwardTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForwardTarget({self})")
    }
}

impl Text for ForwardTarget {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        const FIX: &str = "write rtmp://HOST/APP/STREAM or rtmps://HOST/APP/STREAM, where {app} and {stream} may stand \
            for the stream's own names, or HOST:PORT";
        Self::new(text).map_err(|why| Problem::new(why.to_string(), FIX))
    }

    fn show(value: &Self, secrets: Secrets) -> Json {
        match secrets {
            Secrets::Masked => value.to_string().into(),
            Secrets::Plain => value.text.as_str().into(),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1, "maxLength": TARGET_MAX })
    }
}

impl Element for ForwardTarget {
    const EXPECTED: &'static str = "a target or a list of targets";
    const WRITE: &'static str = "a target such as rtmp://HOST/APP/STREAM";
    const MAY_BE_NUMBER: bool = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> ForwardTarget {
        ForwardTarget::new(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn targets_have_the_names_of_the_stream_where_they_say_none() {
        for (text, url) in [
            ("other", "rtmp://other:1935/live/eu/cam"),
            ("other:1936", "rtmp://other:1936/live/eu/cam"),
            ("[::1]:1936", "rtmp://[::1]:1936/live/eu/cam"),
            ("rtmp://other", "rtmp://other:1935/live/eu/cam"),
            ("rtmps://Other/", "rtmps://other:443/live/eu/cam"),
            ("rtmp://other/push", "rtmp://other:1935/push/cam"),
            ("rtmp://other/push/", "rtmp://other:1935/push/cam"),
            ("rtmp://other/push/eu/", "rtmp://other:1935/push/eu/cam"),
            ("rtmp://other/push?a=b", "rtmp://other:1935/push/cam?a=b"),
            ("rtmp://a/live2/KEY", "rtmp://a:1935/live2/KEY"),
            (
                "rtmp://a/[app]/x_[stream]?v=[vhost]",
                "rtmp://a:1935/live/eu/x_cam?v=__defaultVhost__",
            ),
            ("rtmp://a/{app}/{stream}{stream}", "rtmp://a:1935/live/eu/camcam"),
        ] {
            assert_eq!(target(text).url(DEFAULT_VHOST, "live/eu", "cam"), url, "{text}");
        }
        let srs = target("other").url("v.org", "live", "cam");
        assert_eq!(srs, "rtmp://other:1935/live/cam?vhost=v.org");
        let own = target("rtmp://other/live/").url("v.org", "live", "cam");
        assert_eq!(own, "rtmp://other:1935/live/cam");
        let odd = target("other").url(DEFAULT_VHOST, "{stream}", "{app}");
        assert_eq!(odd, "rtmp://other:1935/{stream}/{app}", "names are no placeholders");
    }

    #[test]
    fn a_target_shows_its_host_and_no_more() {
        for (text, shown) in [
            ("rtmp://a.rtmp.youtube.com/live2/KEY", "rtmp://a.rtmp.youtube.com:1935/***"),
            ("rtmps://a/KEY", "rtmps://a:443/***"),
            ("rtmp://a?key=KEY", "rtmp://a:1935/***"),
            ("other:1936", "rtmp://other:1936"),
        ] {
            let target = target(text);
            assert_eq!(target.to_string(), shown);
            assert!(!format!("{target:?}").contains("KEY"));
            assert_eq!(<ForwardTarget as Text>::show(&target, Secrets::Masked), shown);
            assert_eq!(<ForwardTarget as Text>::show(&target, Secrets::Plain), text);
        }
    }

    #[test]
    fn what_is_no_target_is_not_repeated() {
        for none in [
            "",
            "http://KEY/a/b",
            "KEY/a",
            "rtmp:///KEY",
            "rtmp://user:KEY@host/a/b",
            "rtmp://host/KEY//b",
            "rtmp://host/KEY/{b}",
            "rtmp://host/KEY/{stream",
            "rtmp://host:KEY/a/b",
            "rtmp://host/a b/KEY",
            "rtmp://host/a/KEY#b",
        ] {
            let problem = ForwardTarget::parse(none).expect_err(none);
            assert!(!format!("{problem:?}").contains("KEY"), "{none}: {problem:?}");
        }
        assert!(ForwardTarget::new(&format!("rtmp://a/{}", "x".repeat(5000))).is_err());
    }
}
