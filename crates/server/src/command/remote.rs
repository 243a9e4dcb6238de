//! Commands that talk to the API of a running node: `weir status`, `top`, `streams`, `clients`, `kick`, `reload` and
//! `drain`.

mod call;
mod show;
pub mod top;

use std::{
    env,
    ffi::OsString,
    fmt::Display,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use weir_config::{Config, ConfigError, Secret, file};

use self::call::{Address, Answer, Node, Proof};
use crate::operate::handover::reachable;

/// Longest file with a token: as long as the head of a request may be.
const TOKEN_BYTES_MAX: u64 = 16 << 10;

/// Items of a list: what the API gives at most.
const COUNT: usize = 10_000;

/// The variables that have the token, or the path of its file.
const TOKEN: &str = "WEIR_TOKEN";
const TOKEN_FILE: &str = "WEIR_TOKEN_FILE";

/// Which node is meant, and how it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Target {
    /// The API of the node: HOST, HOST:PORT, or http://HOST:PORT or https://HOST:PORT. Without it, `api.listen` and
    /// the tokens of the configuration are used.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    api: Option<Address>,
    /// The configuration file of the node (or set WEIR_CONFIG).
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The token. Other users of this machine can see it: prefer WEIR_TOKEN or --token-file.
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,
    /// The file with the token (or set WEIR_TOKEN_FILE).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A PEM file with the CA certificates for an https:// node.
    #[arg(long, value_name = "FILE", requires = "api")]
    ca: Option<PathBuf>,
    /// Print the answer of the API as JSON.
    #[arg(long)]
    json: bool,
}

/// What is asked of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// How it does.
    Status,
    /// Its streams.
    Streams,
    /// Who is connected.
    Clients,
    /// To end the connection of a client, by its number, or of a stream's publisher, by the stream's name.
    Kick(String),
    /// To read its configuration anew.
    Reload,
    /// To let everybody go and end.
    Drain,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration that says where the node is has an error.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something else, in a sentence.
    #[error("error: {0}")]
    Failed(String),
}

impl Error {
    fn new(why: impl Display) -> Self {
        Self::Failed(why.to_string())
    }
}

/// Asks, and prints the answer.
///
/// # Errors
/// When there is no answer, or one that says no.
pub async fn run(request: &Request, target: &Target) -> Result<(), Error> {
    let node = target.node(|name| env::var_os(name))?;
    let answer = node.call(request.method(), &request.path()).await.map_err(Error::new)?;
    let done = answer.require(&node)?;
    let text = if target.json {
        format!("{done}\n")
    } else {
        match request {
            Request::Status => {
                let ready = node.call(Method::GET, "/readyz").await.map_err(Error::new)?;
                let reload = node.call(Method::GET, "/api/v1/reload").await.map_err(Error::new)?;
                let ready = (ready.status == StatusCode::OK, ready.text());
                show::status(&node, &done, ready, &reload.json())
            }
            Request::Streams => show::streams(&done),
            Request::Clients => show::clients(&done),
            Request::Kick(whom) => show::kicked(whom, &done),
            Request::Reload => show::reloaded(&done),
            Request::Drain => show::draining(&done),
        }
    };
    // A reader that has gone away has seen enough.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

impl Request {
    const fn method(&self) -> Method {
        match self {
            Self::Status | Self::Streams | Self::Clients => Method::GET,
            Self::Kick(_) => Method::DELETE,
            Self::Reload | Self::Drain => Method::POST,
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Status => "/api/v1/summaries".to_owned(),
            Self::Streams => format!("/api/v1/streams?start=0&count={COUNT}"),
            Self::Clients => format!("/api/v1/clients?start=0&count={COUNT}"),
            Self::Kick(whom) => {
                let is_number = !whom.is_empty() && whom.bytes().all(|byte| byte.is_ascii_digit());
                let name = whom.strip_prefix('/').unwrap_or(whom);
                let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
                match is_number {
                    true => format!("/api/v1/clients/{whom}"),
                    false => format!("/api/v1/streams/{name}/publisher"),
                }
            }
            Self::Reload => "/api/v1/reload".to_owned(),
            Self::Drain => "/api/v1/drain".to_owned(),
        }
    }
}

impl Target {
    /// The node that is meant. A token of the configuration is shown to nobody but the node that it is the
    /// configuration of.
    fn node(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<Node, Error> {
        let shown = self.shown_token(variable)?;
        // Another node than the one that WEIR_CONFIG is about.
        if let Some(address) = &self.api {
            let proof = match (&self.ca, address.is_tls()) {
                (Some(ca), _) => Proof::of_authorities(ca).map_err(Error::new)?,
                (None, None | Some(false)) => Proof::Plain,
                (None, Some(true)) => {
                    return Err(Error::new(
                        "set the authority of the node's certificate with --ca FILE",
                    ));
                }
            };
            if self.ca.is_some() && address.is_tls() == Some(false) {
                return Err(Error::new("--ca is for https://"));
            }
            return Ok(Node { address: address.clone(), token: shown, proof });
        }
        let (config, _) = Config::load_from_process(&self.config.clone().into())?;
        let Some(listener) = config.api.listen.first() else {
            return Err(Error::new(
                "api.listen of this configuration is empty: the node has no API",
            ));
        };
        if listener.port() == 0 {
            return Err(Error::new(
                "api.listen of this configuration has port 0: set the actual port with --api",
            ));
        }
        let proof = match certificate(&config, *listener) {
            Some(certificate) => Proof::same_as(certificate).map_err(Error::new)?,
            None => Proof::Plain,
        };
        let own = config.api.admin_tokens.first().or(config.api.read_tokens.first());
        let token = shown.or_else(|| own.cloned());
        Ok(Node { address: Address::of(reachable(*listener)), token, proof })
    }

    /// The token that is given on the command line or in the environment.
    fn shown_token(
        &self,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Secret>, Error> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let of_file = |path: &Path| {
            let text = file::read(path, TOKEN_BYTES_MAX).and_then(|bytes| {
                String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
            });
            let text = text
                .map_err(|why| Error::new(format!("{}: cannot be read: {why}", path.display())))?;
            token(text.trim(), &path.display())
        };
        match (&self.token, &self.token_file) {
            (Some(text), _) => return token(text, &"--token"),
            (None, Some(path)) => return of_file(path),
            (None, None) => {}
        }
        if let Some(text) = set(TOKEN) {
            let text =
                text.into_string().map_err(|_| Error::new(format!("{TOKEN} is not UTF-8 text")))?;
            return token(text.trim(), &TOKEN);
        }
        set(TOKEN_FILE).map_or(Ok(None), |path| of_file(Path::new(&path)))
    }
}

/// The certificate of the node's own listener for the API, if it speaks TLS there.
fn certificate(config: &Config, listener: SocketAddr) -> Option<&Path> {
    match (config.shared_with(listener), &config.http.tls) {
        (Some("http.tls"), Some(tls)) => tls.certificates.first().map(|files| files.cert.as_path()),
        _ => config.api.tls.as_ref().map(|tls| tls.cert.as_path()),
    }
}

/// A token that can stand in the head of a request.
fn token(text: &str, from: &dyn Display) -> Result<Option<Secret>, Error> {
    let is_fit = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    match is_fit {
        true => Ok(Some(Secret::new(text))),
        false => {
            Err(Error::new(format!("{from}: is not a token: empty, or not one line of ASCII")))
        }
    }
}

impl Answer {
    /// The answer, if it says yes.
    fn require(&self, node: &Node) -> Result<Value, Error> {
        let json = self.json();
        if self.status.is_success() && json["code"] == 0 {
            return Ok(json);
        }
        let words = json["error"].as_str().unwrap_or("not an answer of the Weir API");
        let rights = match (self.status, node.token.is_some()) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, false) => {
                "\ngive a token: --token-file FILE, WEIR_TOKEN, or --config with the node's own configuration"
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, true) => {
                "\nthis token does not allow it"
            }
            _ => "",
        };
        let words = words.strip_prefix("error: ").unwrap_or(words);
        Err(Error::new(format!(
            "{} answers {}: {}{rights}",
            node.address,
            self.status.as_u16(),
            show::lines(words)
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<Address> {
        text.parse().ok()
    }

    #[test]
    fn names_of_streams_are_one_part_of_the_path() {
        for (whom, path) in [
            ("17", "/api/v1/clients/17"),
            ("live/a", "/api/v1/streams/live%2Fa/publisher"),
            ("/live/a b?x", "/api/v1/streams/live%2Fa%20b%3Fx/publisher"),
            ("../drain", "/api/v1/streams/%2E%2E%2Fdrain/publisher"),
            ("", "/api/v1/streams//publisher"),
        ] {
            assert_eq!(Request::Kick(whom.to_owned()).path(), path);
        }
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "of-file\n").unwrap();
        let config = dir.path().join("weir.yaml");
        std::fs::write(&config, "api: { admin_tokens: [of-config], listen: '0.0.0.0:7' }\n")
            .unwrap();
        let none = |_: &str| None;
        let both = |name: &str| {
            let file = || file.clone().into_os_string();
            (name == TOKEN).then(|| "of-env".into()).or_else(|| (name == TOKEN_FILE).then(file))
        };
        let token = |target: &Target, set: &dyn Fn(&str) -> Option<OsString>| {
            let node = target.node(set).unwrap();
            node.token.map(|token| token.expose().to_owned())
        };
        let mut target = Target { config: Some(config), ..Target::default() };
        assert_eq!(target.node(none).unwrap().address.to_string(), "http://127.0.0.1:7");
        assert_eq!(token(&target, &none).as_deref(), Some("of-config"));
        assert_eq!(token(&target, &both).as_deref(), Some("of-env"));
        target.token_file = Some(file.clone());
        assert_eq!(token(&target, &both).as_deref(), Some("of-file"));
        target = Target { api: address("elsewhere"), ..Target::default() };
        assert_eq!(token(&target, &none), None, "no token of ours goes elsewhere");
        target.token = Some("line\nfeed".to_owned());
        assert!(target.node(none).is_err());
        target = Target { api: address("https://elsewhere"), ..Target::default() };
        assert!(target.node(none).is_err(), "nobody says whom to trust");
    }
}
