//! The name and the signature of a call.

use std::fmt::Write as _;

use ring::hmac::{HMAC_SHA256, Key, sign};

/// The header field with the event's name: the same however often a call is tried, at every URL.
pub const EVENT_HEADER: &str = "weir-event";

/// The header field with the signature of a call.
pub const SIGNATURE_HEADER: &str = "weir-signature";

/// `t=TIME,v1=SIGNATURE`: the HMAC-SHA256, in hexadecimal digits, of `TIME.EVENT.BODY` under `secret`. TIME is when the
/// call was made, in seconds since 1970: a back end that checks how long ago that is cannot be shown the same call
/// later.
pub fn signature(secret: &str, time: u64, event: &str, body: &[u8]) -> String {
    let key = Key::new(HMAC_SHA256, secret.as_bytes());
    let signed = [format!("{time}.{event}.").as_bytes(), body].concat();
    let mut text = format!("t={time},v1=");
    for byte in sign(&key, &signed).as_ref() {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value is OpenSSL's: `printf '1700000000.e1-1.{"a":1}' | openssl dgst -sha256 -hmac s3cret`.
    #[test]
    fn a_call_is_signed_with_its_time_and_name() {
        let text = signature("s3cret", 1_700_000_000, "e1-1", b"{\"a\":1}");
        let (time, digits) = text.split_once(",v1=").expect("two parts");
        assert_eq!((time, digits.len()), ("t=1700000000", 64));
        assert_eq!(digits, OPENSSL);
        assert_ne!(text, signature("s3cret", 1_700_000_000, "e1-2", b"{\"a\":1}"));
        assert_ne!(text, signature("other", 1_700_000_000, "e1-1", b"{\"a\":1}"));
    }

    const OPENSSL: &str = "bafa2727694ec23b600f960b2d528021afe65e564f7e5a74aced0474f0826684";
}
