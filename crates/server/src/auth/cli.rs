//! `weir token`: signs the right to publish or play a stream for some time.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use weir_config::Secret;
use weir_media::{DEFAULT_VHOST, StreamKey};
use weir_rtmp::url::stream_name;

use super::{
    request::{Action, now},
    token,
};

/// The words of `weir token`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Token {
    /// The secret, one of `secrets` of the check. Other users of this machine can see it: prefer --secret-file.
    #[arg(long, value_name = "SECRET", value_parser = secret, required_unless_present = "secret_file")]
    secret: Option<Secret>,
    /// The file with the secret; a trailing newline is ignored.
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    secret_file: Option<PathBuf>,
    /// The action to allow.
    #[arg(long, value_enum)]
    action: Action,
    /// The stream: /APP/STREAM, or VHOST/APP/STREAM for a vhost of the configuration.
    #[arg(long, value_name = "STREAM", value_parser = stream)]
    stream: StreamKey,
    /// How long the token is valid, such as 1h or 30m.
    #[arg(long = "for", value_name = "TIME", value_parser = weir_config::parse_duration)]
    lasts: Duration,
    /// The parameter with the signature, `param` of the check.
    #[arg(long, value_name = "NAME", default_value = "token")]
    param: String,
    /// The parameter with the time, `expires` of the check.
    #[arg(long, value_name = "NAME", default_value = "expires")]
    expires_param: String,
}

/// Prints the parameters to put behind the `?` of the URL.
pub fn run(words: &Token) -> ExitCode {
    match words.query(now()) {
        Ok(query) => {
            // A reader that has gone away has seen enough.
            let _ = writeln!(io::stdout(), "{query}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Token {
    fn query(&self, now: u64) -> io::Result<String> {
        let secret = match (&self.secret, &self.secret_file) {
            (Some(secret), _) => secret.clone(),
            (None, Some(path)) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })?;
                secret(text.trim_end_matches(['\r', '\n'])).map_err(io::Error::other)?
            }
            (None, None) => return Err(io::Error::other("no secret given")),
        };
        let expires = now.saturating_add(self.lasts.as_secs());
        let signature = token::sign(&secret, self.action, &self.stream, expires);
        Ok(format!("{}={expires}&{}={signature}", self.expires_param, self.param))
    }
}

fn secret(text: &str) -> Result<Secret, &'static str> {
    if text.is_empty() { Err("the secret is empty") } else { Ok(Secret::new(text)) }
}

fn stream(text: &str) -> Result<StreamKey, String> {
    let form = || "use /APP/STREAM or VHOST/APP/STREAM".to_owned();
    let (vhost, path) = text.split_once('/').ok_or_else(form)?;
    let (app, stream) = path.rsplit_once('/').ok_or_else(form)?;
    let vhost = if vhost.is_empty() { DEFAULT_VHOST } else { vhost };
    StreamKey::new(vhost, app, stream_name(stream)).map_err(|error| format!("{error}; {}", form()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_written_as_the_log_has_them() {
        for text in ["/live/a", "/live/eu/a", "example.com/live/a"] {
            assert_eq!(stream(text).map(|key| key.to_string()), Ok(text.to_owned()));
        }
        for text in ["live", "live/a", "/live/", "/a", "rtmp://h/live/a"] {
            assert!(stream(text).is_err(), "{text}");
        }
    }
}
