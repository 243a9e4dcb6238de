//! Certificates as operators are told of them.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::ServerConfig;
use weir_tls::x509::Facts;

/// How long before its end a certificate is warned of: whoever renews them does that a month before.
const SOON_OVER: Duration = Duration::from_secs(14 * 24 * 3600);

/// A certificate in force, for whoever watches over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is: `api.tls`, `rtmp.tls`, `http.tls`.
    pub section: &'static str,
    /// Its file.
    pub path: PathBuf,
    /// What it says of itself.
    pub facts: Facts,
}

impl Certificate {
    /// What is to be said of it at `now`.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let Self { section, path, facts } = self;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
        let left = facts.not_after - now;
        let what = if left <= 0 {
            format!("has been over for {}: clients refuse it", days(-left))
        } else if facts.not_before > now {
            format!("is not valid yet, for another {}", days(facts.not_before - now))
        } else if left <= SOON_OVER.as_secs() as i64 {
            format!("ends in {}: renew it", days(left))
        } else {
            return None;
        };
        Some(format!("{section}: the certificate in {} {what}", path.display()))
    }
}

fn days(seconds: i64) -> String {
    match seconds / 86_400 {
        0 => format!("{} h", seconds / 3600),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// What rustls is told for connections that come in.
pub type Made = Arc<ServerConfig>;
