//! One call of a node's API.

use std::{fmt, io, net::SocketAddr, path::Path, str::FromStr, time::Duration};

use bytes::Bytes;
use http::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST},
    uri::Authority,
};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use weir_config::Secret;
use weir_tls::client::{Spoken, Trust};

use crate::command::trust;

/// The port of the API.
const PORT: u16 = 1985;

/// How long a connection may take. Who asks sits before it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call may take: a reload waits for another one, and for files, for 10 s each.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of an answer: ten thousand clients take some 5 MB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Where an API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `None` where nothing says whether it is TLS.
    is_tls: Option<bool>,
    /// Without the brackets of IPv6.
    host: String,
    port: u16,
}

impl Address {
    /// That of a listener.
    pub fn of(address: SocketAddr) -> Self {
        Self { is_tls: None, host: address.ip().to_string(), port: address.port() }
    }

    /// Whether it is said to be TLS, if anything is said.
    pub const fn is_tls(&self) -> Option<bool> {
        self.is_tls
    }

    /// As it stands in a URL.
    fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls == Some(true) { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let not_one =
            || format!("`{text}` is not HOST, HOST:PORT, http://HOST:PORT or https://HOST:PORT");
        let (is_tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(false), rest),
            Some(("https", rest)) => (Some(true), rest),
            Some(_) => return Err(not_one()),
            None => (None, text),
        };
        let authority: Authority = rest.trim_end_matches('/').parse().map_err(|_| not_one())?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = match authority
            .as_str()
            .rsplit_once(']')
            .unwrap_or(("", authority.as_str()))
            .1
            .split_once(':')
        {
            Some((_, port)) => {
                port.parse().map_err(|_| format!("`{text}`: the port must be from 1 to 65535"))?
            }
            None => PORT,
        };
        if host.is_empty() || port == 0 || authority.as_str().contains('@') {
            return Err(not_one());
        }
        Ok(Self { is_tls, host: host.to_owned(), port })
    }
}

/// How a node shows that it is the one that is meant.
pub enum Proof {
    /// Not at all.
    Plain,
    /// By TLS.
    Tls(Trust),
}

impl Proof {
    /// By the certificate in the file at `cert`, which is the node's own.
    ///
    /// # Errors
    /// When the file cannot be read, or has none.
    pub fn same_as(cert: &Path) -> io::Result<Self> {
        trust::in_certificate(cert).map(Self::Tls)
    }

    /// By a certificate for its name that one of the authorities in the file at `ca` has signed.
    ///
    /// # Errors
    /// When the file cannot be read, or has none.
    pub fn of_authorities(ca: &Path) -> io::Result<Self> {
        trust::in_servers(Some(ca), &[]).map(Self::Tls)
    }
}

/// A node.
pub struct Node {
    /// Where its API is.
    pub address: Address,
    /// What it is shown.
    pub token: Option<Secret>,
    /// What it has to show.
    pub proof: Proof,
}

/// What it answers.
pub struct Answer {
    /// Whether it did it.
    pub status: StatusCode,
    body: Bytes,
}

impl Answer {
    /// As JSON; `null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// As text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

impl Node {
    /// Makes a call.
    ///
    /// # Errors
    /// When there is no answer; the error is a sentence.
    pub async fn call(&self, method: Method, path: &str) -> Result<Answer, String> {
        let cannot = |why: &dyn fmt::Display| {
            format!(
                "cannot reach the API at {}: {why}\nis a node running there? set its address with --api",
                self.address
            )
        };
        let Address { host, port, .. } = &self.address;
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect((host.as_str(), *port))).await;
        let socket = connected
            .map_err(|_| cannot(&format!("no connection within {CONNECT_TIMEOUT:?}")))?
            .map_err(|error| cannot(&error))?;
        let answer = async {
            match &self.proof {
                Proof::Plain => self.exchange(socket, method, path).await,
                Proof::Tls(trust) => {
                    let stream = trust.connect(socket, host, Spoken::Http).await;
                    let stream =
                        stream.map_err(|error| format!("{}: TLS failed: {error}", self.address))?;
                    self.exchange(stream, method, path).await
                }
            }
        };
        let late = || Err(format!("{} has not answered within {CALL_TIMEOUT:?}", self.address));
        timeout(CALL_TIMEOUT, answer).await.unwrap_or_else(|_| late())
    }

    async fn exchange<S>(&self, socket: S, method: Method, path: &str) -> Result<Answer, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let failed = |error: hyper::Error| format!("{}: HTTP failed: {error}", self.address);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(socket)).await.map_err(failed)?;
        // Ends with this function.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.authority())
            .header(CONNECTION, "close")
            .header(CONTENT_LENGTH, 0);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| format!("{}: incomplete answer: {error}", self.address))?;
        Ok(Answer { status, body: body.to_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_in_many_ways() {
        for (text, shown) in [
            ("weir-0", "http://weir-0:1985"),
            ("10.0.0.7:80", "http://10.0.0.7:80"),
            ("[::1]", "http://[::1]:1985"),
            ("[::1]:7", "http://[::1]:7"),
            ("http://a:1/", "http://a:1"),
            ("https://a.example", "https://a.example:1985"),
        ] {
            assert_eq!(
                text.parse::<Address>().map(|it| it.to_string()),
                Ok(shown.to_owned()),
                "{text}"
            );
        }
        for text in ["", "ftp://a", "a:0", "a:70000", "a:", "u:p@h", "a/b", "http://"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
