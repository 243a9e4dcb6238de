//! The parameters of a URL: the only place where they are taken apart, and where they are put together again.
//!
//! Parameters stand between `&`, and between `?`, since encoders paste a name with a query behind another one. As SRS
//! has it, a `,`, a `;` or a `#` separates as well, but only before `vhost=` and `domain=` and behind their values: in
//! all other places these characters belong to the value. `...vhost...` means `?vhost=`. Names and values are
//! percent-decoded, after they have been taken apart.
//!
//! Whoever decides over a stream and whoever opens it must read one text in one way, on this server and on the next.
//! So nothing that a client has written goes on to another server: [`Query`] writes it anew.

use std::{borrow::Cow, fmt};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The parameters that ask for a vhost; the first one goes before the second.
const VHOST: [&str; 2] = ["vhost", "domain"];

/// What SRS writes instead of `?vhost=`.
const DOTTED: &str = "...vhost...";

/// The dots of [`DOTTED`], which stand for `?` and for `=`.
const DOTS: &str = "...";

/// The longest way to write one of [`VHOST`]: all of it percent-encoded.
const VHOST_BYTES_MAX: usize = 3 * "domain".len();

/// One parameter, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

/// The parameters in `text`, with or without a `?` before them.
pub fn params(text: &str) -> impl Iterator<Item = Param<'_>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (written, next) = split(text);
        rest = next;
        Some(Param::of(written))
    })
    .filter(|param| !param.name.is_empty())
}

/// The value of the first parameter `name` that has one, decoded.
pub fn value<'a>(text: &'a str, name: &str) -> Option<Cow<'a, str>> {
    params(text).filter(|param| param.name() == name).find_map(|param| param.value())
}

/// The vhost that parameters ask for, if they do.
pub fn vhost(text: &str) -> Option<Cow<'_, str>> {
    VHOST.iter().find_map(|name| {
        let asked = params(text).filter(|param| param.name() == *name);
        let mut asked = asked.filter_map(|param| param.value()).map(without_slashes);
        asked.find(|asked| !asked.is_empty())
    })
}

impl<'a> Param<'a> {
    fn of(written: &'a str) -> Self {
        let dotted = written.strip_prefix(VHOST[0]).and_then(|rest| rest.strip_prefix(DOTS));
        match (dotted, written.split_once('=')) {
            (Some(value), _) => Self { name: VHOST[0], value: Some(value) },
            (None, Some((name, value))) => Self { name, value: Some(value) },
            (None, None) => Self { name: written, value: None },
        }
    }

    /// Its name, decoded.
    pub fn name(&self) -> Cow<'a, str> {
        decoded(self.name)
    }

    /// Its value, decoded; none without a `=`.
    pub fn value(&self) -> Option<Cow<'a, str>> {
        self.value.map(decoded)
    }

    /// Whether it asks for a vhost, or would where nobody looks at the case of letters.
    pub fn is_vhost(&self) -> bool {
        let name = self.name();
        VHOST.iter().any(|vhost| name.trim().eq_ignore_ascii_case(vhost))
    }
}

/// The first parameter of `text`, and what follows it.
fn split(text: &str) -> (&str, Option<&str>) {
    let is_vhost = begins_vhost(text);
    for (at, byte) in text.bytes().enumerate() {
        let next = match byte {
            b'?' | b'&' => at + 1,
            b',' | b';' | b'#' if is_vhost || begins_vhost(&text[at + 1..]) => at + 1,
            b'.' if text[at..].starts_with(DOTTED) => at + DOTS.len(),
            _ => continue,
        };
        return (&text[..at], Some(&text[next..]));
    }
    (text, None)
}

/// Whether `vhost=` or `domain=` stands here, however it is written.
fn begins_vhost(text: &str) -> bool {
    if text.strip_prefix(VHOST[0]).is_some_and(|rest| rest.starts_with(DOTS)) {
        return true;
    }
    let end = text.bytes().take(VHOST_BYTES_MAX + 1).position(|byte| byte == b'=');
    end.is_some_and(|end| VHOST.contains(&&*decoded(&text[..end])))
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn without_slashes(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.trim_matches('/') {
        trimmed if trimmed.len() == text.len() => text,
        trimmed => trimmed.to_owned().into(),
    }
}

/// What stands for itself in a [`Query`]: what RFC 3986 leaves unreserved, and of the others those that tokens have and
/// that no server takes for a separator. A `%` is looked at apart.
const LITERAL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'%')
    .remove(b'+')
    .remove(b':')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'*')
    .remove(b'(')
    .remove(b')');

/// Parameters that are put together for another server. Its text is empty, or begins with a `?`.
///
/// What was percent-encoded stays so, byte for byte, and so does what tokens consist of, including the `=` at the end
/// of base64: some servers compare what they get without decoding it. All else is encoded, because servers differ in
/// where they take parameters apart. SRS does it at `=`, `,` and `;` too, takes names and values in turn, and looks for
/// the stream behind the last slash; its older versions find `vhost=` behind any other letters. So no word of a query
/// but its own `vhost` ends in that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(String);

impl Query {
    /// Asks for a vhost. It stands before all else.
    #[must_use]
    pub fn of_vhost(vhost: &str) -> Self {
        Self(format!("?{}={}", VHOST[0], word(vhost)))
    }

    /// Adds a parameter.
    pub fn push(&mut self, param: &Param) {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0 += &word(param.name);
        if let Some(value) = param.value {
            let padding = value.len() - value.trim_end_matches('=').len();
            self.0.push('=');
            self.0 += &word(&value[..value.len() - padding]);
            self.0 += &value[value.len() - padding..];
        }
    }

    /// The same, and what `others` has behind it.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        match others.0.strip_prefix('?') {
            Some(text) if !self.0.is_empty() => Self(format!("{}&{text}", self.0)),
            _ if self.0.is_empty() => others.clone(),
            _ => self.clone(),
        }
    }

    /// Its text: empty, or from its `?` on.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `text` as one word that no server takes apart, or for the name of a vhost.
fn word(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for part in utf8_percent_encode(text, LITERAL) {
        word += part;
    }
    let word = with_percent_signs_encoded(&word).replace(DOTS, "%2E%2E%2E");
    let ending = VHOST.iter().find(|vhost| {
        word.len() >= vhost.len()
            && word.as_bytes()[word.len() - vhost.len()..].eq_ignore_ascii_case(vhost.as_bytes())
    });
    match (ending, word.char_indices().next_back()) {
        (Some(_), Some((at, last))) => format!("{}%{:02X}", &word[..at], u32::from(last)),
        _ => word,
    }
}

/// Encodes each `%` that encodes nothing.
fn with_percent_signs_encoded(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.bytes().take(2).filter(u8::is_ascii_hexdigit).count();
        out += if digits == 2 { "%" } else { "%25" };
        out += piece;
    }
    out
}

#[cfg(test)]
mod tests;
