//! JSON Web Tokens (RFC 7519).

mod keys;
mod verifier;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jsonwebtoken::{DecodingKey, Validation, errors::ErrorKind};
use serde::Deserialize;
use weir_config::{Algorithm, Check, Config, Fault, Jwt, file};
use weir_rtmp::url::params;

use super::{
    bounds::{check_bounds, lists},
    denied::{Credential, Denied},
    request::{Action, Request},
};

/// A PEM file with an RSA key of 16 Kibit has 3 KB; whatever is longer is no key.
const KEY_BYTES_MAX: u64 = 64 * 1024;

/// How far the clock of who makes tokens may be before ours, in seconds: a token that is good from now on is used at
/// once. An end has no such grace.
const SKEW: f64 = 5.0;

/// The public keys that a configuration names.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    algorithm: Algorithm,
    path: PathBuf,
    key: Arc<DecodingKey>,
}

impl Keys {
    /// Reads the files that `config` names.
    ///
    /// # Errors
    /// When one cannot be read or has no key of its algorithm, or a check of `config` is beyond all bounds.
    pub fn read(config: &Config) -> Result<Self, Fault> {
        check_bounds(config)?;
        let mut keys = Self::default();
        for (list, checks) in lists(config) {
            for (number, check) in checks.iter().enumerate() {
                if let Check::Jwt(Jwt { algorithm, public_key: Some(path), .. }) = check
                    && keys.find(*algorithm, path).is_none()
                {
                    let key = read(*algorithm, path).map_err(|error| {
                        let what = format!("{}: {error}", path.display());
                        let fix = format!(
                            "use a PEM file with a public key of {} that this user can read",
                            name(*algorithm)
                        );
                        Fault::new(format!("{list}[{number}].jwt.public_key"), what, fix)
                    })?;
                    let path = path.clone();
                    keys.0.push(Key { algorithm: *algorithm, path, key: Arc::new(key) });
                }
            }
        }
        Ok(keys)
    }

    /// These keys, and those of `others` that are not among them.
    pub fn and(&self, others: &Self) -> Self {
        let mut all = self.clone();
        let new = others.0.iter().filter(|key| self.find(key.algorithm, &key.path).is_none());
        all.0.extend(new.cloned());
        all
    }

    fn find(&self, algorithm: Algorithm, path: &Path) -> Option<&DecodingKey> {
        let found = self.0.iter().find(|key| key.algorithm == algorithm && key.path == path);
        found.map(|key| &*key.key)
    }
}

fn read(algorithm: Algorithm, path: &Path) -> io::Result<DecodingKey> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let pem = file::read(path, KEY_BYTES_MAX)?;
    keys::public_key(&pem, algorithm)
        .ok_or_else(|| invalid(format!("no public key of {} in PEM", name(algorithm))))
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Hs256 => "HS256",
        Algorithm::Rs256 => "RS256 (RSA, 2048 to 8192 bits)",
        Algorithm::Es256 => "ES256 (P-256)",
        Algorithm::EdDsa => "EdDSA (Ed25519)",
    }
}

fn of(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    }
}

/// What is looked at in a token. All else is the business of who makes them.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
    nbf: Option<f64>,
    action: Option<OneOrMany>,
    stream: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn any(&self, is_it: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::One(text) => is_it(text),
            Self::Many(texts) => texts.iter().any(|text| is_it(text)),
        }
    }
}

pub fn check(check: &Jwt, keys: &Keys, request: &Request) -> Result<(), Denied> {
    let token = params::value(request.params, &check.param)
        .ok_or_else(|| Denied::Missing(check.param.clone()))?;
    let own;
    let key = match (&check.secret, &check.public_key) {
        (Some(secret), _) => {
            own = DecodingKey::from_secret(secret.expose().as_bytes());
            Some(&own)
        }
        (None, Some(path)) => keys.find(check.algorithm, path),
        (None, None) => None,
    };
    let key = key.ok_or_else(|| invalid("its key is not loaded"))?;
    // The algorithm is ours to say, never the token's.
    let mut validation = Validation::new(of(check.algorithm));
    // Times are compared below, with the time of the request.
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_aud) = (false, false);
    verifier::install();
    let decoded = jsonwebtoken::decode::<Claims>(&*token, key, &validation);
    let decoded = decoded.map_err(|error| invalid(why(error.kind())))?;
    if decoded.header.crit.is_some() {
        // RFC 7515 section 4.1.11.
        return Err(invalid("it has an unsupported critical header (crit)"));
    }
    check_claims(&decoded.claims, request)
}

fn check_claims(claims: &Claims, request: &Request) -> Result<(), Denied> {
    let now = request.now as f64;
    if claims.exp <= now {
        return Err(Denied::Expired((now - claims.exp) as u64));
    }
    if claims.nbf.is_some_and(|begin| begin > now + SKEW) {
        return Err(Denied::Early);
    }
    let is_action = |name: &str| name == Action::label(request.action);
    if claims.action.as_ref().is_some_and(|actions| !actions.any(is_action)) {
        return Err(invalid("it is for another action"));
    }
    let key = request.key.to_string();
    let is_stream = |name: &str| match name.strip_suffix('*') {
        Some(begin) => key.starts_with(begin),
        None => key == name,
    };
    if claims.stream.as_ref().is_some_and(|streams| !streams.any(is_stream)) {
        return Err(invalid("it is for another stream"));
    }
    Ok(())
}

fn invalid(why: &'static str) -> Denied {
    Denied::Invalid(Credential::Token, why)
}

fn why(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "its signature does not match the key",
        ErrorKind::InvalidAlgorithm => "it is signed with another algorithm",
        ErrorKind::Json(_) => "its header or claims are invalid (exp is required)",
        _ => "it is not a JSON Web Token",
    }
}
