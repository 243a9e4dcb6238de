//! How a stream is called where an origin is asked for it.
//!
//! Everything is made from the stream's key, as it was authorised here, and from the single parameters of a URL. The
//! client's text goes nowhere. What was made is then read as an origin reads it, and nothing is asked for that does not
//! name exactly that stream: what one server has let pass must not open something else at the next.

use std::net::SocketAddr;

use weir_clients::quota::SESSION;
use weir_config::{Config, ForwardQuery};
use weir_media::{DEFAULT_VHOST, StreamKey};
use weir_rtmp::url::{
    RtmpUrl, StreamUrl, URL_BYTES_MAX, discover, discover_http,
    params::{self, Query, params},
    written,
};

/// The longest parameters that go along: the rest of a URL's length is for the names of host, vhost, app and stream,
/// 255 bytes each, and three times as much where they are percent-encoded.
const QUERY_BYTES_MAX: usize = URL_BYTES_MAX - 3072;

/// The parameters in `text` (with or without a `?` before them) that go along.
///
/// The vhost never does: it is part of the stream's key, and an edge says it itself. Nor does what only tells
/// viewers of HLS apart: the origin would be asked for each of them.
pub fn forwarded(text: &str, rule: &ForwardQuery) -> Query {
    let mut query = Query::default();
    let goes_along = |name: &str| match rule {
        ForwardQuery::All => true,
        ForwardQuery::Only(names) => names.iter().any(|wanted| wanted == name),
    };
    params(text)
        .filter(|param| !param.is_vhost() && param.name() != SESSION && goes_along(&param.name()))
        .for_each(|param| query.push(&param));
    query
}

/// Whether an origin can be asked for `key` with the parameters `forwarded`.
///
/// # Errors
/// When it cannot, with the reason.
pub fn check(key: &StreamKey, forwarded: &Query) -> Result<(), String> {
    let length = forwarded.as_str().len();
    if length > QUERY_BYTES_MAX {
        return Err(format!(
            "the parameters for {key} are too long for an origin: {length} bytes (limit {QUERY_BYTES_MAX})"
        ));
    }
    if [key.app(), key.stream()].into_iter().any(asks_for_vhost) {
        return Err(format!("an origin could mistake {key} for a stream of another vhost"));
    }
    let asked = Some(key.vhost()).filter(|vhost| *vhost != DEFAULT_VHOST);
    if params::vhost(query(key, forwarded).as_str()).as_deref() != asked {
        return Err(format!("the vhost of {key} cannot be written as a parameter"));
    }
    Ok(())
}

/// Whether SRS, at least in one of its versions, would find a vhost in such a name of an app or stream.
fn asks_for_vhost(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = name.match_indices("vhost").map(|(at, vhost)| &name[at + vhost.len()..]);
    let follows = |rest: &str| rest.starts_with(['=', ',', ';', '&']) || rest.starts_with("...");
    ends.into_iter().any(follows)
}

/// The query that asks for `key`: its vhost, where it has one, and then the parameters `forwarded`.
fn query(key: &StreamKey, forwarded: &Query) -> Query {
    match key.vhost() {
        DEFAULT_VHOST => forwarded.clone(),
        vhost => Query::of_vhost(vhost).and(forwarded),
    }
}

/// Where an origin is, and what it is to be asked for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The configuration under which the stream was authorised. The origins' vhosts are taken to be the same.
    pub config: &'a Config,
    /// The name of the origin.
    pub host: &'a str,
    /// Its address.
    pub address: SocketAddr,
    /// The stream.
    pub key: &'a StreamKey,
    /// The parameters that go along.
    pub params: &'a Query,
}

impl Question<'_> {
    /// The same in RTMP, over TLS or not.
    ///
    /// # Errors
    /// When the origin would take it for something else.
    pub fn rtmp(&self, is_tls: bool) -> Result<RtmpUrl, String> {
        let (key, address) = (self.key, self.address);
        check(key, self.params)?;
        let scheme = if is_tls { "rtmps" } else { "rtmp" };
        let url = RtmpUrl {
            is_tls,
            host: self.host.to_owned(),
            port: address.port(),
            tc_url: format!("{scheme}://{}/{}", self.authority(), written(key.app())),
            app: written(key.app()).into_owned(),
            stream_with_query: format!("{}{}", written(key.stream()), query(key, self.params)),
        };
        let read = discover(&url.tc_url, &url.stream_with_query)
            .map_err(|error| format!("RTMP cannot request it: {error}"))?;
        if self.is_meant(&read, key.stream()) {
            return Ok(url);
        }
        Err(format!("RTMP cannot request {key}: the origin would read it as {}", described(&read)))
    }

    /// The same in HTTP: the `Host`, and the target of a request whose path is `path`, percent-encoded. The stream's
    /// file is called `file`.
    ///
    /// # Errors
    /// When the origin would take it for something else.
    pub fn http(&self, path: &str, file: &str) -> Result<(String, String), String> {
        let key = self.key;
        check(key, self.params)?;
        let target = format!("{path}{}", query(key, self.params));
        let host = self.authority();
        let (read, extension) = discover_http(&target, &host)
            .ok_or_else(|| format!("HTTP cannot request {key}: it has no such path"))?;
        if self.is_meant(
            &StreamUrl { stream: format!("{}.{extension}", read.stream), ..read.clone() },
            file,
        ) {
            return Ok((host, target));
        }
        Err(format!("HTTP cannot request {key}: the origin would read it as {}", described(&read)))
    }

    /// `host:port`, with the brackets that an IPv6 address needs.
    ///
    /// A stream of the default vhost is not asked for under a name that is a vhost, but under the address.
    fn authority(&self) -> String {
        let is_vhost = || self.config.vhost(self.host).name != DEFAULT_VHOST;
        if self.key.vhost() == DEFAULT_VHOST && is_vhost() {
            return self.address.to_string();
        }
        let (host, port) = (self.host, self.address.port());
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    fn is_meant(&self, read: &StreamUrl, stream: &str) -> bool {
        let key = self.key;
        // Where a reload has taken the vhost out, its name still says the same.
        let same_vhost =
            read.vhost == key.vhost() || self.config.vhost(&read.vhost).name == key.vhost();
        same_vhost && (read.app.as_str(), read.stream.as_str()) == (key.app(), stream)
    }
}

fn described(url: &StreamUrl) -> String {
    format!("{}/{} on {}", url.app, url.stream, url.vhost)
}

#[cfg(test)]
mod tests;
