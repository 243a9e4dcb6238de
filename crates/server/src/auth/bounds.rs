//! How many checks a configuration may have.

use weir_config::{Check, Config, Fault};

/// The most checks in one list. Each one costs up to a verified signature (some 0.1 ms with RSA), for every client that
/// asks; a rule that needs more is one for the service that makes the tokens.
pub const CHECKS_MAX: usize = 16;

/// The most secrets of one check: each one is a hash for every client that asks. For two generations of keys, or one
/// secret for each of some dozen encoders.
pub const SECRETS_MAX: usize = 64;

/// Whether every list of checks is one that clients can be put through in time.
///
/// # Errors
/// The first one that is not.
pub fn check_bounds(config: &Config) -> Result<(), Fault> {
    for (list, checks) in lists(config) {
        if checks.len() > CHECKS_MAX {
            let what = format!("more than {CHECKS_MAX} checks in one list");
            return Err(Fault::new(list, what, "use fewer checks, or let the token issuer decide"));
        }
        let is_long = |check: &Check| match check {
            Check::Secret(check) => check.values.len() > SECRETS_MAX,
            Check::Token(check) => check.secrets.len() > SECRETS_MAX,
            Check::Edge(check) => check.tokens.len() > SECRETS_MAX,
            Check::Cidr(_) | Check::Jwt(_) | Check::Referer(_) | Check::Hook => false,
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
pub fn lists(config: &Config) -> impl Iterator<Item = (String, &Vec<Check>)> {
    let all = [("auth.publish", &config.auth.publish), ("auth.play", &config.auth.play)];
    let vhosts = config.vhosts.iter().flat_map(|(name, own)| {
        let lists = [("publish", &own.auth.publish), ("play", &own.auth.play)].into_iter();
        lists.filter_map(move |(list, checks)| {
            Some((format!("vhosts.{name}.auth.{list}"), checks.as_ref()?))
        })
    });
    all.into_iter().map(|(list, checks)| (list.to_owned(), checks)).chain(vhosts)
}
