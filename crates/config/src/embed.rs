//! Sites whose pages may show the player.

use serde_json::json;

use crate::{
    kind::{Element, Json, Secrets, Text},
    value::Problem,
};

/// A site as a Content-Security-Policy names it, or `*` for all.
pub struct Embedder;

impl Text for Embedder {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_of_host = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']' | b'*')
        };
        let is_site = host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_of_host));
        if text == "*" || is_site {
            return Ok(text.to_owned());
        }
        let what = format!("`{text}` is not a site");
        Err(Problem::new(
            what,
            "use a site without a path such as https://example.com, or \"*\" for all",
        ))
    }

    fn show(value: &String, _: Secrets) -> Json {
        value.clone().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(\\*|https?://[A-Za-z0-9.:*\\[\\]-]+)$" })
    }
}

impl Element for Embedder {
    const EXPECTED: &'static str = "a site or a list of sites";
    const WRITE: &'static str =
        "a site such as https://example.com, or \"*\" for all; [] means none";
    const MAY_BE_NUMBER: bool = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_what_a_policy_can_name() {
        for good in [
            "*",
            "https://example.com",
            "http://localhost:3000",
            "https://*.example.com",
            "https://[::1]:8443",
        ] {
            assert_eq!(Embedder::parse(good).ok().as_deref(), Some(good));
        }
        for bad in [
            "",
            "example.com",
            "https://",
            "https://a/b",
            "https://a; script-src *",
            "https://a 'self'",
            "'none'",
            "data:",
        ] {
            assert!(Embedder::parse(bad).is_err(), "{bad}");
        }
    }
}
