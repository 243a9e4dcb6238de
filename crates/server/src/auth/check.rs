//! The checks of `auth.publish` and `auth.play`.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use subtle::{Choice, ConstantTimeEq as _};
use weir_children::{PARAM, Passes, Use};
use weir_clients::counts::Refused;
use weir_config::{Check, Cidr, EdgeTokens, Secret, SharedSecret, Vhost};
use weir_media::StreamKey;
use weir_rtmp::url::{URL_BYTES_MAX, params};

use super::{
    denied::{Credential, Denied},
    jwt::{self, Keys},
    referer,
    request::{Action, Request, Shown, now},
    token,
};

/// Decides who may do what. It has what was read along with the configuration in force.
#[derive(Debug, Default)]
pub struct Auth {
    keys: ArcSwap<Keys>,
    /// What programs show that run here for a stream.
    passes: Arc<Passes>,
}

impl Auth {
    /// With the keys of the configuration that is in force at the start.
    pub fn new(keys: Keys, passes: &Arc<Passes>) -> Self {
        Self { keys: ArcSwap::from_pointee(keys), passes: Arc::clone(passes) }
    }

    /// Whether a client may do this now, by what it has `shown`. `settings` are those of the stream's vhost. Back ends
    /// are not asked here.
    ///
    /// # Errors
    /// When it may not, with the reason.
    pub fn check(
        &self,
        settings: &weir_config::Auth,
        action: Action,
        key: &StreamKey,
        params: &str,
        shown: Shown<'_>,
    ) -> Result<(), Denied> {
        let checks = match action {
            Action::Publish => &settings.publish,
            Action::Play => &settings.play,
        };
        // Without checks there is nothing to look at, and not at the clock either.
        if checks.is_empty() || self.has_pass(action, key, params, shown.peer) {
            return Ok(());
        }
        let request = Request { action, key, params, shown, now: now() };
        check(checks, &self.keys.load(), &request).inspect_err(|_| Refused::Auth.count())
    }

    /// Whether this is a program that runs here for this very stream.
    fn has_pass(&self, action: Action, key: &StreamKey, params: &str, peer: IpAddr) -> bool {
        let what = match action {
            Action::Publish => Use::Publish,
            Action::Play => Use::Play,
        };
        let is_here = peer.to_canonical().is_loopback() && params.len() <= URL_BYTES_MAX;
        is_here
            && params::value(params, PARAM).is_some_and(|word| self.passes.allows(&word, what, key))
    }

    /// Whether a viewer may have a segment whose name cannot be guessed. It comes from a playlist, and no
    /// parameters with it: who has the one may have the other, from the right address.
    ///
    /// # Errors
    /// When it may not, with the reason.
    pub fn check_segment(
        &self,
        settings: &weir_config::Auth,
        shown: Shown<'_>,
    ) -> Result<(), Denied> {
        let checked = check_address(&settings.play, shown.peer);
        let checked = checked.and_then(|()| check_edges(&settings.play, shown.edge_token));
        checked.inspect_err(|_| Refused::Auth.count())
    }

    /// Puts `keys` in force beside those that are; [`settle`](Self::settle) follows once the configuration is.
    pub fn prepare(&self, keys: &Keys) {
        self.keys.rcu(|present| keys.and(present));
    }

    /// From now on only `keys` are in force.
    pub fn settle(&self, keys: Keys) {
        self.keys.store(Arc::new(keys));
    }
}

/// Whether viewers are checked by what their URLs have.
pub fn wants_parameters(vhost: &Vhost) -> bool {
    let is_by_url = |check: &Check| !check.is_of_address() && !matches!(check, Check::Referer(_));
    !vhost.hooks.on_play.is_empty() || vhost.auth.play.iter().any(is_by_url)
}

/// Whether `request` passes all of `checks`. `keys` are those of the configuration that has the checks.
///
/// # Errors
/// The first check that it does not pass.
pub fn check(checks: &[Check], keys: &Keys, request: &Request) -> Result<(), Denied> {
    // The addresses cost nothing: they come first.
    check_address(checks, request.shown.peer)?;
    check_edges(checks, request.shown.edge_token)?;
    if request.params.len() > URL_BYTES_MAX {
        return Err(Denied::TooLong);
    }
    checks.iter().try_for_each(|check| match check {
        // Back ends are asked once all else is right.
        Check::Cidr(_) | Check::Edge(_) | Check::Hook => Ok(()),
        Check::Secret(check) => check_secret(check, request.params),
        Check::Token(check) => token::check(check, request),
        Check::Jwt(check) => jwt::check(check, keys, request),
        Check::Referer(check) => referer::check(check, request.shown.page_url),
    })
}

/// Whether somebody at `peer` passes those of `checks` that are about addresses.
///
/// # Errors
/// The first check that it does not pass.
pub fn check_address(checks: &[Check], peer: IpAddr) -> Result<(), Denied> {
    checks.iter().try_for_each(|check| match check {
        Check::Cidr(Cidr { allow, deny }) => match deny.iter().find(|net| holds(net, peer)) {
            Some(net) => Err(Denied::Address(Some(*net))),
            None if allow.is_empty() || allow.iter().any(|net| holds(net, peer)) => Ok(()),
            None => Err(Denied::Address(None)),
        },
        _ => Ok(()),
    })
}

/// Whether who shows `token` passes those of `checks` that only edges pass.
///
/// # Errors
/// The first check that it does not pass.
fn check_edges(checks: &[Check], token: Option<&Secret>) -> Result<(), Denied> {
    checks.iter().try_for_each(|check| match check {
        Check::Edge(EdgeTokens { tokens }) => {
            let token = token.ok_or(Denied::NoEdge)?;
            match is_one_of(tokens, token.expose()) {
                true => Ok(()),
                false => Err(Denied::Invalid(
                    Credential::EdgeToken,
                    "it matches none of the configured tokens",
                )),
            }
        }
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
    match is_one_of(&check.values, &given) {
        true => Ok(()),
        false => {
            Err(Denied::Invalid(Credential::Secret, "it matches none of the configured secrets"))
        }
    }
}

/// Whether `given` is one of `secrets`. All are compared, so that the time does not say which one was close.
fn is_one_of(secrets: &[Secret], given: &str) -> bool {
    let same = |secret: &Secret| secret.expose().as_bytes().ct_eq(given.as_bytes());
    secrets.iter().map(same).fold(Choice::from(0), |found, same| found | same).into()
}
