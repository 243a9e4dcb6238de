//! What there is to say of an event: for people who read English, and in parts for programs that say it otherwise.

/// Why, or what else there is to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// A sentence in English; no secrets.
    pub text: Box<str>,
    /// Which sentence that is, in a word; empty where it is only what somebody else has said.
    pub code: &'static str,
    /// What the sentence is about: names, numbers, and what others have said.
    pub values: Vec<Box<str>>,
}

/// Characters of a text, and of a value: what peers say of themselves may be long.
pub const CHARS_MAX: usize = 300;

/// Values of a detail.
const VALUES_MAX: usize = 3;

impl Detail {
    /// The sentence `code` about these `values`; `text` is it in English.
    pub fn new<const N: usize>(code: &'static str, values: [&str; N], text: &str) -> Self {
        const { assert!(N <= VALUES_MAX) };
        let values = values.iter().map(|value| bounded(value)).collect();
        Self { text: bounded(text), code, values }
    }
}

fn bounded(text: &str) -> Box<str> {
    text.chars().take(CHARS_MAX).collect()
}

/// What somebody else has said, or nothing.
impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self { text: bounded(text), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_bounded() {
        let long = "x".repeat(5000);
        let detail = Detail::new("failed", [&long], &long);
        assert_eq!((detail.text.len(), detail.values[0].len()), (CHARS_MAX, CHARS_MAX));
        assert_eq!(Detail::from(&*long).text.len(), CHARS_MAX);
    }
}
