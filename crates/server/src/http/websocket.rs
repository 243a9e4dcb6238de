//! The handshake of WebSocket (RFC 6455 section 4.2).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// What every server appends to a client's key before it hashes that (section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of a client's key, before it is written in Base64.
const KEY_BYTES: usize = 16;

/// The only version that there is.
const VERSION: &str = "13";

/// A request that asks for WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// It is granted with this `Sec-WebSocket-Accept`.
    Accept(String),
    /// It has no key, or none that can be one.
    BadKey,
    /// It is of another version.
    BadVersion,
}

impl Upgrade {
    /// What a request with these fields asks for: a field's values are those of all its lines. None if it does not ask
    /// for WebSocket.
    pub fn of(field: impl Fn(&str) -> String) -> Option<Self> {
        let has = |name: &str, token: &str| {
            field(name).split(',').any(|value| value.trim().eq_ignore_ascii_case(token))
        };
        if !has("upgrade", "websocket") || !has("connection", "upgrade") {
            return None;
        }
        if field("sec-websocket-version").trim() != VERSION {
            return Some(Self::BadVersion);
        }
        let key = field("sec-websocket-key");
        let key = key.trim();
        let is_key = BASE64_STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES);
        Some(if is_key { Self::Accept(accept(key)) } else { Self::BadKey })
    }

    /// Status, reason and fields of the answer to one that is not granted.
    pub const fn refusal(&self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::Accept(_) => None,
            Self::BadKey => Some(("400 Bad Request", "Sec-WebSocket-Key is no key", "")),
            Self::BadVersion => Some((
                "426 Upgrade Required",
                "only version 13 of WebSocket is spoken here",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            )),
        }
    }
}

fn accept(key: &str) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    BASE64_STANDARD.encode(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(upgrade: &str, connection: &str, version: &str, key: &str) -> Option<Upgrade> {
        Upgrade::of(|name| {
            let value = match name {
                "upgrade" => upgrade,
                "connection" => connection,
                "sec-websocket-version" => version,
                _ => key,
            };
            value.to_owned()
        })
    }

    /// The key of RFC 6455, section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    #[test]
    fn the_example_of_the_standard_is_granted_as_it_says() {
        let accept = Upgrade::Accept("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned());
        assert_eq!(asked("websocket", "Upgrade", "13", KEY), Some(accept.clone()));
        assert_eq!(asked("h2c, WebSocket", "keep-alive, upgrade", "13", KEY), Some(accept));
    }

    #[test]
    fn what_is_not_asked_for_is_not_refused() {
        assert_eq!(asked("", "keep-alive", "", ""), None);
        assert_eq!(asked("h2c", "Upgrade", "13", KEY), None);
        assert_eq!(asked("websocket", "close", "13", KEY), None);
    }

    #[test]
    fn other_versions_and_keys_that_are_none_are_refused() {
        assert_eq!(asked("websocket", "upgrade", "8", KEY), Some(Upgrade::BadVersion));
        for key in ["", "c2hvcnQ=", "not base64 at all", "dGhlIHNhbXBsZSBub25jZQ"] {
            assert_eq!(asked("websocket", "upgrade", "13", key), Some(Upgrade::BadKey), "{key}");
        }
    }
}
