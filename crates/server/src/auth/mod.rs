//! Who may publish and who may play: the checks of `auth.publish` and `auth.play`.
//!
//! A client is checked when it asks, by the settings of that moment; who is in stays in, whatever a reload changes. A
//! check reads no file and asks nobody: public keys are read together with the configuration.

pub mod cli;
mod denied;
mod jwt;
mod part;
mod shown;
#[cfg(test)]
mod tests;
mod token;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use subtle::{Choice, ConstantTimeEq as _};
use weir_clients::counts::Refused;
use weir_config::{Check, Cidr, Config, Fault, SharedSecret};
use weir_media::StreamKey;
use weir_rtmp::url::{URL_BYTES_MAX, params};

use self::denied::Credential;
pub use self::{
    denied::Denied,
    jwt::Keys,
    shown::{shown, without_secrets},
};

/// The most checks in one list. Each one costs up to a verified signature (some 0.1 ms with RSA), for every client that
/// asks; a rule that needs more is one for the service that makes the tokens.
const CHECKS_MAX: usize = 16;

/// The most secrets of one check: each one is a hash for every client that asks. For two generations of keys, or one
/// secret for each of some dozen encoders.
const SECRETS_MAX: usize = 64;

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Send a stream.
    Publish,
    /// Watch it.
    Play,
}

impl Action {
    /// Its name in tokens and in the log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

/// What a client asks for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// What it wants to do.
    pub action: Action,
    /// With which stream.
    pub key: &'a StreamKey,
    /// The parameters of its URL, with or without a `?` before them.
    pub params: &'a str,
    /// Its address: the one behind balancers and proxies, where they say it.
    pub peer: IpAddr,
    /// When it asks, in seconds since 1970.
    pub now: u64,
}

/// Decides who may do what. It has what was read along with the configuration in force.
#[derive(Debug, Default)]
pub struct Auth(ArcSwap<Keys>);

impl Auth {
    /// With the keys of the configuration that is in force at the start.
    pub fn new(keys: Keys) -> Self {
        Self(ArcSwap::from_pointee(keys))
    }

    /// Whether a client at `peer` may do this now. `settings` are those of the stream's vhost.
    ///
    /// # Errors
    /// When it may not, with the reason.
    pub fn check(
        &self,
        settings: &weir_config::Auth,
        action: Action,
        key: &StreamKey,
        params: &str,
        peer: IpAddr,
    ) -> Result<(), Denied> {
        let checks = match action {
            Action::Publish => &settings.publish,
            Action::Play => &settings.play,
        };
        // Without checks there is nothing to look at, and not at the clock either.
        if checks.is_empty() {
            return Ok(());
        }
        let request = Request { action, key, params, peer, now: now() };
        check(checks, &self.0.load(), &request).inspect_err(|_| Refused::Auth.count())
    }

    /// Whether a viewer at `peer` may have a segment whose name cannot be guessed. It comes from a playlist, and no
    /// parameters with it: who has the one may have the other, from the right address.
    ///
    /// # Errors
    /// When it may not, with the reason.
    pub fn check_segment(&self, settings: &weir_config::Auth, peer: IpAddr) -> Result<(), Denied> {
        check_address(&settings.play, peer).inspect_err(|_| Refused::Auth.count())
    }

    /// Puts `keys` in force beside those that are; [`settle`](Self::settle) follows once the configuration is.
    pub fn prepare(&self, keys: &Keys) {
        self.0.rcu(|present| keys.and(present));
    }

    /// From now on only `keys` are in force.
    pub fn settle(&self, keys: Keys) {
        self.0.store(Arc::new(keys));
    }
}

/// Whether viewers are checked by more than their addresses.
pub fn wants_parameters(settings: &weir_config::Auth) -> bool {
    settings.play.iter().any(|check| !matches!(check, Check::Cidr(_)))
}

/// Whether `request` passes all of `checks`. `keys` are those of the configuration that has the checks.
///
/// # Errors
/// The first check that it does not pass.
pub fn check(checks: &[Check], keys: &Keys, request: &Request) -> Result<(), Denied> {
    // The addresses cost nothing: they come first.
    check_address(checks, request.peer)?;
    if request.params.len() > URL_BYTES_MAX {
        return Err(Denied::TooLong);
    }
    checks.iter().try_for_each(|check| match check {
        Check::Cidr(_) => Ok(()),
        Check::Secret(check) => check_secret(check, request.params),
        Check::Token(check) => token::check(check, request),
        Check::Jwt(check) => jwt::check(check, keys, request),
    })
}

/// Whether somebody at `peer` passes those of `checks` that are about addresses.
///
/// # Errors
/// The first check that it does not pass.
fn check_address(checks: &[Check], peer: IpAddr) -> Result<(), Denied> {
    checks.iter().try_for_each(|check| match check {
        Check::Cidr(Cidr { allow, deny }) => match deny.iter().find(|net| holds(net, peer)) {
            Some(net) => Err(Denied::Address(Some(*net))),
            None if allow.is_empty() || allow.iter().any(|net| holds(net, peer)) => Ok(()),
            None => Err(Denied::Address(None)),
        },
        _ => Ok(()),
    })
}

/// Whether `ip` is in `net`. A socket for both families has IPv4 clients at `::ffff:a.b.c.d`: they count as IPv4, and
/// so does a network that is written like that.
fn holds(net: &IpNet, ip: IpAddr) -> bool {
    /// The prefix of addresses that stand for IPv4 (RFC 4291 section 2.5.5.2).
    const MAPPED_PREFIX: u8 = 96;
    match (net, ip.to_canonical()) {
        (IpNet::V6(net), IpAddr::V4(ip)) => {
            net.prefix_len() >= MAPPED_PREFIX && net.contains(&ip.to_ipv6_mapped())
        }
        (net, ip) => net.contains(&ip),
    }
}

fn check_secret(check: &SharedSecret, params: &str) -> Result<(), Denied> {
    let given =
        params::value(params, &check.param).ok_or_else(|| Denied::Missing(check.param.clone()))?;
    // All are compared, so that the time does not say which one was close.
    let same = |secret: &weir_config::Secret| secret.expose().as_bytes().ct_eq(given.as_bytes());
    let found = check.values.iter().map(same).fold(Choice::from(0), |found, same| found | same);
    if found.into() {
        return Ok(());
    }
    Err(Denied::Invalid(Credential::Secret, "it matches none of the configured secrets"))
}

/// Whether every list of checks is one that clients can be put through in time.
fn check_bounds(config: &Config) -> Result<(), Fault> {
    for (list, checks) in lists(config) {
        if checks.len() > CHECKS_MAX {
            let what = format!("more than {CHECKS_MAX} checks in one list");
            return Err(Fault::new(list, what, "use fewer checks, or let the token issuer decide"));
        }
        let is_long = |check: &Check| match check {
            Check::Secret(check) => check.values.len() > SECRETS_MAX,
            Check::Token(check) => check.secrets.len() > SECRETS_MAX,
            Check::Cidr(_) | Check::Jwt(_) => false,
        };
        if let Some(number) = checks.iter().position(is_long) {
            let what = format!("more than {SECRETS_MAX} secrets in one check");
            let path = format!("{list}[{number}].{}", checks[number].name());
            return Err(Fault::new(path, what, "use fewer secrets, or signed tokens"));
        }
    }
    Ok(())
}

/// All lists of checks that `config` has, and the keys that they stand behind.
fn lists(config: &Config) -> impl Iterator<Item = (String, &Vec<Check>)> {
    let all = [("auth.publish", &config.auth.publish), ("auth.play", &config.auth.play)];
    let vhosts = config.vhosts.iter().flat_map(|(name, own)| {
        let lists = [("publish", &own.auth.publish), ("play", &own.auth.play)].into_iter();
        lists.filter_map(move |(list, checks)| {
            Some((format!("vhosts.{name}.auth.{list}"), checks.as_ref()?))
        })
    });
    all.into_iter().map(|(list, checks)| (list.to_owned(), checks)).chain(vhosts)
}

fn now() -> u64 {
    // A clock before 1970 knows of no time at all: then every token is from the future, and none has expired.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
