//! Which stream a URL names.
//!
//! Encoders and players split one URL into `tcUrl` and stream name in many ways, and put the vhost into queries.
//! [`discover`] follows the rules of SRS (`srs_net_url_parse_tcurl`), so that what worked with SRS names the same
//! stream here.

mod discover;
mod http;
pub mod params;

use std::fmt;

use crate::Error;
pub use crate::limits::BYTES_SHOWN;
pub use crate::limits::URL_BYTES_MAX;
pub use discover::{
    DEFAULT_APP, StreamUrl, app_bytes, discover, stream_name, vhost_of, without_stream, written,
};
pub use http::{discover_http, http_path};

/// RTMP's port.
pub const PORT: u16 = 1935;

/// The port of RTMP over TLS.
pub const TLS_PORT: u16 = 443;

/// Where a client publishes to or plays from: `rtmp://host[:port]/app[/more]/stream[?query]`, or `rtmps://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtmpUrl {
    /// Whether the connection has TLS.
    pub is_tls: bool,
    /// Host name or address, an IPv6 address without its brackets.
    pub host: String,
    /// TCP port: unless the URL has one, 1935, or 443 with TLS.
    pub port: u16,
    /// What `connect` sends: the URL up to the app.
    pub tc_url: String,
    /// The app, possibly of several levels.
    pub app: String,
    /// What `publish` or `play` sends: the stream's name and the query.
    pub stream_with_query: String,
}

impl RtmpUrl {
    /// Parses a URL with scheme `rtmp` or `rtmps`. The last component of the path is the stream, the rest the app.
    ///
    /// # Errors
    /// Says what is wrong with the URL.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let fail = |reason| Error::url(url, reason);
        if url.len() > URL_BYTES_MAX {
            return Err(fail("it is too long"));
        }
        let schemes = [("rtmp", false, PORT), ("rtmps", true, TLS_PORT)];
        let (rest, scheme, is_tls, usual_port) = schemes
            .into_iter()
            .find_map(|(scheme, is_tls, port)| {
                Some((strip_scheme(url, scheme)?, scheme, is_tls, port))
            })
            .ok_or_else(|| fail("it does not start with rtmp:// or rtmps://"))?;
        let (authority, path) = rest.split_once('/').ok_or_else(|| fail("it has no app"))?;
        let (host, port) = split_authority(authority).map_err(fail)?;
        let path_end = path.find(['?', '#']).unwrap_or(path.len());
        let slash = path[..path_end].rfind('/').ok_or_else(|| fail("it has no stream name"))?;
        let (app, stream) = (path[..slash].trim_matches('/'), &path[slash + 1..]);
        if host.is_empty() || app.is_empty() || slash + 1 == path_end {
            return Err(fail("the host, the app or the stream name is empty"));
        }
        Ok(Self {
            is_tls,
            host: host.to_owned(),
            port: port.unwrap_or(usual_port),
            tc_url: format!("{scheme}://{authority}/{app}"),
            app: app.to_owned(),
            stream_with_query: stream.to_owned(),
        })
    }
}

impl std::str::FromStr for RtmpUrl {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        Self::parse(url)
    }
}

impl fmt::Display for RtmpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tc_url, self.stream_with_query)
    }
}

/// What follows `scheme://`, whatever the case of the scheme.
fn strip_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = url.split_once("://")?;
    found.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_authority(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("the address has no closing bracket")?;
            (host, rest.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = port.map(|port| port.parse().map_err(|_| "the port is not a number up to 65535"));
    Ok((host, port.transpose()?))
}

#[cfg(test)]
mod tests;
