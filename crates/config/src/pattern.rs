//! Which streams of a vhost are meant: `live/cam`, `live/*`, `*`.

use std::fmt;

use serde_json::json;
use weir_media::KEY_BYTES_MAX;

use super::{
    kind::{Element, Json, Secrets, Text},
    value::Problem,
};

/// Two names and what is between them: an app, a slash and a stream.
const PATTERN_MAX: usize = 2 * KEY_BYTES_MAX + 1;

/// A pattern for streams of one vhost: `app/stream`, where `*` stands for any characters of that part, none included.
/// An app may have several levels (`live/eu/cam`): the stream's name is behind the last slash, and a `*` in the app
/// stands for slashes too. `*` alone means every stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamPattern {
    /// The app's part; `*` in a pattern that is `*` alone.
    app: String,
    /// The same of the stream's name.
    stream: String,
}

impl StreamPattern {
    /// The pattern that every stream matches.
    pub fn all() -> Self {
        Self { app: "*".to_owned(), stream: "*".to_owned() }
    }

    /// Whether the stream `stream` of `app` is meant.
    pub fn matches(&self, app: &str, stream: &str) -> bool {
        matches(&self.app, app) && matches(&self.stream, stream)
    }

    /// The app, if only streams of one app are meant.
    pub fn only_app(&self) -> Option<&str> {
        Some(&*self.app).filter(|app| !app.contains('*'))
    }

    /// The stream's name, if only streams of one name are meant.
    pub fn only_stream(&self) -> Option<&str> {
        Some(&*self.stream).filter(|stream| !stream.contains('*'))
    }

    /// Whether every stream is.
    pub fn is_all(&self) -> bool {
        let any = |part: &str| part.bytes().all(|byte| byte == b'*');
        any(&self.app) && any(&self.stream)
    }
}

/// As the configuration writes it.
impl fmt::Display for StreamPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.app == "*" && self.stream == "*" {
            return f.write_str("*");
        }
        write!(f, "{}/{}", self.app, self.stream)
    }
}

/// Whether `name` is what `pattern` describes. A later `*` never needs an earlier one to take more than it has: one
/// place to go back to is enough, and no pattern takes longer than its length times that of the name.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut of) = (0, 0);
    // Where to go on if what is behind the last `*` does not fit: in the pattern, and in the name.
    let mut back: Option<(usize, usize)> = None;
    while of < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                back = Some((at, of));
            }
            Some(byte) if *byte == name[of] => (at, of) = (at + 1, of + 1),
            _ => {
                let Some((behind, from)) = back else { return false };
                back = Some((behind, from + 1));
                (at, of) = (behind, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

impl Text for StreamPattern {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        const FIX: &str = "write app/stream, with * for any characters, such as live/cam or live/*; * alone means all";
        let is_bad = |what: &str| Problem::new(format!("`{text}` {what}"), FIX);
        if text == "*" {
            return Ok(Self::all());
        }
        if text.len() > PATTERN_MAX {
            return Err(Problem::new(format!("is longer than {PATTERN_MAX} bytes"), FIX));
        }
        let (app, stream) = text.rsplit_once('/').ok_or_else(|| is_bad("has no slash"))?;
        if app.is_empty() || stream.is_empty() {
            return Err(is_bad("has no app, or no stream"));
        }
        if app.starts_with('/') {
            return Err(is_bad("begins with a slash"));
        }
        if let Some(c) = text.chars().find(|c| matches!(c, '?' | '#' | '\\')) {
            return Err(is_bad(&format!("has a `{c}`, which no name of a stream has")));
        }
        Ok(Self { app: app.to_owned(), stream: stream.to_owned() })
    }

    fn show(value: &Self, _: Secrets) -> Json {
        value.to_string().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^(\*|[^/?#\\][^?#\\]*/[^/?#\\]+)$", "maxLength": PATTERN_MAX })
    }
}

impl Element for StreamPattern {
    const EXPECTED: &'static str = "a pattern of streams or a list of them";
    const WRITE: &'static str = "a pattern such as live/*; [] means no stream";
    const MAY_BE_NUMBER: bool = false;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> StreamPattern {
        StreamPattern::parse(text).expect("a pattern")
    }

    #[test]
    fn streams_that_are_meant() {
        for (text, app, stream, is_meant) in [
            ("*", "live", "cam", true),
            ("*", "live/eu", "cam", true),
            ("live/cam", "live", "cam", true),
            ("live/cam", "live", "cam2", false),
            ("live/cam", "live2", "cam", false),
            ("live/*", "live", "cam", true),
            ("live/*", "live/eu", "cam", false),
            ("live*/*", "live/eu", "cam", true),
            ("live/eu/cam", "live/eu", "cam", true),
            ("*/cam*", "a/b", "cam", true),
            ("*/cam*", "live", "mycam", false),
            ("*/*_720p", "live", "cam_720p", true),
            ("*/*_720p", "live", "cam_720p_720p", true),
            ("*/*_720p", "live", "cam_720", false),
            ("live/a*b*c", "live", "abc", true),
            ("live/a*b*c", "live", "axbxbxc", true),
            ("live/a*b*c", "live", "axcxb", false),
            ("live/Cam", "live", "cam", false),
            ("live/ä*", "live", "äö", true),
        ] {
            assert_eq!(pattern(text).matches(app, stream), is_meant, "{text}: {app}/{stream}");
        }
    }

    #[test]
    fn patterns_are_read_as_they_are_shown() {
        for text in ["*", "live/*", "live/eu/*", "*/cam", "l*e/c*m", "**/*"] {
            assert_eq!(StreamPattern::show(&pattern(text), Secrets::Masked), text);
        }
        assert_eq!(pattern("*/*"), StreamPattern::all());
        assert!(pattern("**/*").is_all() && !pattern("*/cam").is_all());
        for none in ["", "live", "/cam", "live/", "/live/cam", "live/a?b", "li#ve/a", "a\\b/c"] {
            assert!(StreamPattern::parse(none).is_err(), "{none}");
        }
        assert!(StreamPattern::parse(&format!("a/{}", "x".repeat(600))).is_err());
    }

    proptest! {
        #[test]
        fn a_pattern_takes_what_a_search_of_all_ways_takes(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
            fn slow(pattern: &[u8], name: &[u8]) -> bool {
                match pattern.split_first() {
                    None => name.is_empty(),
                    Some((b'*', rest)) => (0..=name.len()).any(|from| slow(rest, &name[from..])),
                    Some((byte, rest)) => name.first() == Some(byte) && slow(rest, &name[1..]),
                }
            }
            prop_assert_eq!(matches(&pattern, &name), slow(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
