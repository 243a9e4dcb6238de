//! The settings of callbacks: which back end hears of what, and whether it decides.

use std::{fmt, path::PathBuf, time::Duration};

use serde_json::json;

use super::{
    host::{HostPort, host_port},
    kind::{Element, Json, Many, Maybe, Secrets, Text, section},
    scalar::{File, Secret, SecretOrNone, Time, Word, Words},
    value::Problem,
};

/// A back end on the other side of the world answers within 300 ms when it is idle.
const TIMEOUT_MIN: u64 = 100;
/// A viewer that waits longer for a picture has gone.
const TIMEOUT_MAX: u64 = 60_000;
/// What is older is of no use to whoever keeps count of viewers.
const RETRY_MAX: u64 = 3_600_000;

section! {
    /// Which back end hears of what clients do, over HTTP as with SRS, and decides about it.
    Hooks / HooksOverride {
        /// Asked when a client has connected over RTMP.
        on_connect: Vec<HookUrl> = Vec::new(), Many<HookUrl>;
        /// Told when such a connection has ended.
        on_close: Vec<HookUrl> = Vec::new(), Many<HookUrl>;
        /// Asked whether a client may publish.
        on_publish: Vec<HookUrl> = Vec::new(), Many<HookUrl>;
        /// Told when a publish has ended.
        on_unpublish: Vec<HookUrl> = Vec::new(), Many<HookUrl>;
        /// Asked whether a client may play.
        on_play: Vec<HookUrl> = Vec::new(), Many<HookUrl>;
        /// Told when a viewer has gone.
        on_stop: Vec<HookUrl> = Vec::new(), Many<HookUrl>;
        /// Told of each HLS segment.
        on_hls: Vec<HookUrl> = Vec::new(), Many<HookUrl>;
        /// Told of each finished recording.
        on_record: Vec<HookUrl> = Vec::new(), Many<HookUrl>;
        /// The same, by its name in SRS.
        on_dvr: Vec<HookUrl> = Vec::new(), Many<HookUrl>;
        /// Asked where a stream is forwarded to.
        on_forward: Vec<HookUrl> = Vec::new(), Many<HookUrl>;
        /// How long one call may take.
        timeout: Duration = Duration::from_secs(5), Time<TIMEOUT_MIN, TIMEOUT_MAX>;
        /// What holds for clients when the back end does not decide.
        fail: Fail = Fail::Closed, Word<Fail>;
        /// How long what the back end is told is tried again.
        retry: Duration = Duration::from_secs(60), Time<0, RETRY_MAX>;
        /// The key that calls are signed with; empty: they are not.
        secret: Option<Secret> = None, SecretOrNone;
        /// The PEM file with the CA certificates by which `https` back ends are signed; without one, those of the
        /// system.
        ca: Option<PathBuf> = None, Maybe<File>;
    }
}

impl Hooks {
    /// Whether anybody is told or asked anything.
    pub fn is_set(&self) -> bool {
        self.lists().into_iter().any(|(_, urls)| !urls.is_empty())
    }

    /// All URLs, by the names of their keys.
    pub fn lists(&self) -> [(&'static str, &[HookUrl]); 10] {
        [
            ("on_connect", &self.on_connect),
            ("on_close", &self.on_close),
            ("on_publish", &self.on_publish),
            ("on_unpublish", &self.on_unpublish),
            ("on_play", &self.on_play),
            ("on_stop", &self.on_stop),
            ("on_hls", &self.on_hls),
            ("on_record", &self.on_record),
            ("on_dvr", &self.on_dvr),
            ("on_forward", &self.on_forward),
        ]
    }
}

/// What holds for clients when the back end does not decide: it is down, late, or answers what is no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fail {
    /// They are let in.
    Open,
    /// They are refused.
    #[default]
    Closed,
}

impl Words for Fail {
    const WORDS: &'static [(&'static str, Self)] =
        &[("open", Self::Open), ("closed", Self::Closed)];
}

/// Where a back end is called: `http://host[:port]/path[?query]`, or `https://`. What stands behind the `?` may be
/// secret, and is not shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HookUrl {
    /// Whether the connection has TLS.
    pub is_tls: bool,
    /// A host name or an address, an IPv6 address without its brackets.
    pub host: String,
    /// The port: unless the URL has one, 80, or 443 with TLS.
    pub port: u16,
    target: String,
    text: String,
}

/// The URL goes out with each call.
const URL_BYTES_MAX: usize = 2048;

impl HookUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// Says what is wrong with it, without repeating it.
    pub fn of(text: &str) -> Result<Self, String> {
        let no_url = || "is not a URL that begins with http:// or https://".to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(no_url)?;
        let is_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(no_url()),
        };
        if text.len() > URL_BYTES_MAX {
            return Err(format!("is longer than {URL_BYTES_MAX} bytes"));
        }
        if !text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '#' | '"' | '\\')) {
            return Err("has characters that no URL has".to_owned());
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("has a user and a password, which are not sent".to_owned());
        }
        let usual = if is_tls { 443 } else { 80 };
        let at = host_port(authority, usual).map_err(|_| "has no host".to_owned())?;
        let HostPort { host, port } = at;
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { is_tls, host, port, target: format!("{slash}{target}"), text: text.to_owned() })
    }

    /// Path and query, as they are sent: not for people.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// `host`, or `host:port` where the port is not the usual one, for the field `Host`.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let usual = if self.is_tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

/// Without what may be secret.
impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.split_once('?') {
            Some((path, _)) => write!(f, "{path}?***"),
            None => f.write_str(&self.text),
        }
    }
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookUrl({self})")
    }
}

impl Text for HookUrl {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        let fix = "write a URL such as http://backend:8085/api/v1/streams";
        Self::of(text).map_err(|what| Problem::new(what, fix))
    }

    fn show(value: &Self, secrets: Secrets) -> Json {
        match secrets {
            Secrets::Masked => value.to_string().into(),
            Secrets::Plain => value.text.clone().into(),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^https?://[^#\"\\\\ ]+$", "maxLength": URL_BYTES_MAX })
    }
}

impl Element for HookUrl {
    const EXPECTED: &'static str = "a URL or a list of URLs";
    const WRITE: &'static str = "a URL; [] means that nobody is called";
    const MAY_BE_NUMBER: bool = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_shown_without_its_query() {
        let url = HookUrl::of("http://backend:8085/api?token=s3cret").expect("a URL");
        assert_eq!((url.is_tls, &*url.host, url.port), (false, "backend", 8085));
        assert_eq!((url.target(), &*url.authority()), ("/api?token=s3cret", "backend:8085"));
        let shown =
            [url.to_string(), format!("{url:?}"), HookUrl::show(&url, Secrets::Masked).to_string()];
        assert!(shown.iter().all(|shown| !shown.contains("s3cret")), "{shown:?}");
        let short = HookUrl::of("https://[::1]").expect("a URL");
        assert_eq!(
            (short.is_tls, &*short.host, short.port, short.target()),
            (true, "::1", 443, "/")
        );
        assert_eq!(short.authority(), "[::1]");
        assert_eq!(HookUrl::of("https://h?a=b").expect("a URL").target(), "/?a=b");
        for none in
            ["", "backend", "ftp://h/", "http://", "http://a b/", "http://u:p@h/", "http://h/#a"]
        {
            assert!(HookUrl::of(none).is_err(), "{none}");
        }
    }
}
