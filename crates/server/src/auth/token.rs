//! Signatures that expire: `?expires=UNIX&token=HEX`.
//!
//! HEX is HMAC-SHA256 with a shared secret as the key over three lines without an end of line behind the last one: the
//! action, the stream, and the text of `expires`.

use ring::hmac;
use weir_config::{Secret, SignedToken};
use weir_media::StreamKey;
use weir_rtmp::url::params;

use super::{
    denied::{Credential, Denied},
    request::{Action, Request},
};

/// Bytes of a signature.
const BYTES: usize = 32;

/// The signature of `secret` for doing `action` with `key` until `expires`, in hexadecimal digits.
pub fn sign(secret: &Secret, action: Action, key: &StreamKey, expires: u64) -> String {
    let message = message(action, key, &expires.to_string());
    let signature = hmac::sign(&hmac_key(secret), message.as_bytes());
    signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn check(check: &SignedToken, request: &Request) -> Result<(), Denied> {
    let parameter = |name: &str| {
        params::value(request.params, name).ok_or_else(|| Denied::Missing(name.to_owned()))
    };
    let (signature, expires) = (parameter(&check.param)?, parameter(&check.expires)?);
    let invalid = |why| Denied::Invalid(Credential::Token, why);
    let until =
        seconds(&expires).ok_or_else(|| invalid("its expiry time is not a number of seconds"))?;
    let signature = bytes(&signature).ok_or_else(|| invalid("it is not 64 hexadecimal digits"))?;
    let message = message(request.action, request.key, &expires);
    let is_of = |secret| hmac::verify(&hmac_key(secret), message.as_bytes(), &signature).is_ok();
    // All are tried, so that the time does not say which secret is in use.
    if check.secrets.iter().filter(|secret| is_of(secret)).count() == 0 {
        return Err(invalid(
            "it does not match this action, stream and expiry time with any secret",
        ));
    }
    match request.now.checked_sub(until) {
        Some(ago) => Err(Denied::Expired(ago)),
        None => Ok(()),
    }
}

fn hmac_key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes())
}

/// What is signed. None of the parts can have an end of line in it.
fn message(action: Action, key: &StreamKey, expires: &str) -> String {
    format!("{}\n{key}\n{expires}", action.label())
}

/// Digits alone: what Rust takes for a number has a sign.
fn seconds(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn bytes(text: &str) -> Option<[u8; BYTES]> {
    let digits = text.as_bytes();
    let digit = |at: usize| char::from(digits[at]).to_digit(16).and_then(|d| u8::try_from(d).ok());
    if digits.len() != 2 * BYTES {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = digit(2 * at)? << 4 | digit(2 * at + 1)?;
    }
    Some(bytes)
}
