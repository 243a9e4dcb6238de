//! Who uses the API with a browser or a script, and how it is written: user names, web origins, labels of metrics.

use std::fmt;

use serde_json::json;

use crate::{
    kind::{Element, Json, Secrets, Text},
    value::Problem,
};

/// A user name for HTTP Basic (RFC 7617), which ends at the first colon.
pub struct UserName;

impl Text for UserName {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        if text.contains(':') || text.chars().any(char::is_control) {
            let what = format!("`{text}` has a colon or a control character");
            return Err(Problem::new(what, "use a name without them, such as admin"));
        }
        Ok(text.to_owned())
    }

    fn show(value: &String, _: Secrets) -> Json {
        value.clone().into()
    }

    fn schema() -> Json {
        json!({ "type": ["string", "integer"], "pattern": "^[^:]*$" })
    }
}

/// The value of a label that an operator gives.
pub struct LabelValue;

/// Bytes of a label: every scrape carries it.
const LABEL_BYTES_MAX: usize = 128;

impl Text for LabelValue {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        if text.len() > LABEL_BYTES_MAX || text.chars().any(char::is_control) {
            let what = format!("a label has at most {LABEL_BYTES_MAX} bytes, and no line breaks");
            return Err(Problem::new(what, "use a short name, such as cn-beijing"));
        }
        Ok(text.to_owned())
    }

    fn show(value: &String, _: Secrets) -> Json {
        value.clone().into()
    }

    fn schema() -> Json {
        json!({ "type": ["string", "integer"], "maxLength": LABEL_BYTES_MAX })
    }
}

/// Where web pages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebOrigin {
    /// Everywhere.
    Any,
    /// `https://console.example.com`, in lower case, as a browser's `Origin` has it.
    Of(String),
}

impl WebOrigin {
    /// Whether a page of `origin`, as a browser names it, is meant by name.
    pub fn names(&self, origin: &str) -> bool {
        match self {
            Self::Any => false,
            Self::Of(own) => own.eq_ignore_ascii_case(origin),
        }
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Of(origin) => f.write_str(origin),
        }
    }
}

impl Text for WebOrigin {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        match text.split_once("://") {
            Some(("http" | "https", host)) if !host.is_empty() && host.bytes().all(is_host) => {
                Ok(Self::Of(text.to_ascii_lowercase()))
            }
            _ => {
                let what = format!("`{text}` is not the origin of a web page");
                Err(Problem::new(
                    what,
                    "write scheme and host, such as https://console.example.com, or \"*\"",
                ))
            }
        }
    }

    fn show(value: &Self, _: Secrets) -> Json {
        value.to_string().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^(\*|https?://[A-Za-z0-9._:\[\]-]+)$" })
    }
}

impl Element for WebOrigin {
    const EXPECTED: &'static str = "an origin or a list of origins";
    const WRITE: &'static str = "an origin such as https://console.example.com; [] means none";
    const MAY_BE_NUMBER: bool = false;
}
