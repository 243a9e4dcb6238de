//! What a client has already, and which part it wants: `If-None-Match`, `Range` and `If-Range` (RFC 9110).

use std::ops::Range;

use http::{HeaderMap, HeaderName, header};

/// Ranges that are looked at, and names of what a client has: more in one request is an attack or a mistake.
const NAMES_MAX: usize = 32;

/// What a request says of what it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The values of `If-None-Match`, as they were written.
    known: Vec<String>,
    range: Option<String>,
    if_range: Option<String>,
}

/// What is sent of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// Nothing: the client has it.
    Nothing,
    /// These bytes.
    Part(Range<u64>),
    /// There are no such bytes.
    Beyond,
}

impl Conditions {
    /// Those of a request with these fields. Parts are for requests that want the bytes.
    pub fn of(fields: &HeaderMap, is_head: bool) -> Self {
        let all = |name: HeaderName| fields.get_all(name).iter().filter_map(|it| it.to_str().ok());
        let only = |name: HeaderName| {
            let mut values = all(name);
            values.next().filter(|_| values.next().is_none()).map(str::to_owned)
        };
        let if_range = only(header::IF_RANGE);
        // What a part depends on must be understood.
        let may_be_part = !is_head && if_range.is_some() == fields.contains_key(header::IF_RANGE);
        let known = all(header::IF_NONE_MATCH).flat_map(|list| list.split(','));
        Self {
            known: known.map(|name| name.trim().to_owned()).take(NAMES_MAX).collect(),
            range: only(header::RANGE).filter(|_| may_be_part),
            if_range,
        }
    }

    /// Whether it says nothing: everything is to be sent.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.range.is_none()
    }

    /// What is to be sent of a file that has the name `etag` (with its quotes) and so many bytes.
    pub fn wanted(&self, etag: &str, length: u64) -> Wanted {
        if self.has(etag) {
            return Wanted::Nothing;
        }
        // A date says too little, and a weak name is not for bytes (RFC 9110 section 13.1.5).
        let is_same = self.if_range.as_ref().is_none_or(|wanted| wanted.trim() == etag);
        match self.range.as_deref().filter(|_| is_same) {
            Some(range) => part(range, length),
            None => Wanted::Whole,
        }
    }

    /// The same for a file of which there are no parts.
    pub fn wanted_whole(&self, etag: &str) -> Wanted {
        if self.has(etag) { Wanted::Nothing } else { Wanted::Whole }
    }

    fn has(&self, etag: &str) -> bool {
        let is_it = |known: &String| {
            known == "*" || known.strip_prefix("W/").unwrap_or(known.as_str()) == etag
        };
        self.known.iter().any(is_it)
    }
}

/// What the value of a `Range` means of a file of so many bytes. What is not understood, or asks for several parts,
/// gets everything (RFC 9110 section 14.2).
fn part(range: &str, length: u64) -> Wanted {
    let Some((unit, ranges)) = range.split_once('=') else { return Wanted::Whole };
    let Some((first, last)) = ranges.trim().split_once('-') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let (first, last) = (first.trim(), last.trim());
    let (first, end) = match (number(first), number(last)) {
        (Some(first), None) if last.is_empty() => (first, length),
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(length)),
        // The last bytes.
        (None, Some(count)) if first.is_empty() => (length - count.min(length), length),
        _ => return Wanted::Whole,
    };
    if first < end { Wanted::Part(first..end) } else { Wanted::Beyond }
}

/// What is beyond all numbers is beyond all files.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions<const N: usize>(fields: [(HeaderName, &str); N]) -> Conditions {
        let fields = fields.map(|(name, value)| (name, value.parse().expect("a value")));
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, value);
        }
        Conditions::of(&map, false)
    }

    #[test]
    fn parts_are_those_of_rfc_9110() {
        for (range, wanted) in [
            ("bytes=0-", Wanted::Part(0..100)),
            ("bytes=10-19", Wanted::Part(10..20)),
            ("Bytes = 10 - 19", Wanted::Part(10..20)),
            ("bytes=99-99", Wanted::Part(99..100)),
            ("bytes=90-1000", Wanted::Part(90..100)),
            ("bytes=90-99999999999999999999999", Wanted::Part(90..100)),
            ("bytes=-10", Wanted::Part(90..100)),
            ("bytes=-1000", Wanted::Part(0..100)),
            ("bytes=100-", Wanted::Beyond),
            ("bytes=100-200", Wanted::Beyond),
            ("bytes=99999999999999999999999-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=20-10", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=0-9,5-14", Wanted::Whole),
            ("bytes=0-0,-1", Wanted::Whole),
            ("bytes=--1", Wanted::Whole),
            ("bytes=1-2-3", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes", Wanted::Whole),
            ("", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
        ] {
            assert_eq!(
                conditions([(header::RANGE, range)]).wanted("\"a\"", 100),
                wanted,
                "{range}"
            );
        }
        for range in ["bytes=0-", "bytes=-1", "bytes=0-0"] {
            let wanted = conditions([(header::RANGE, range)]).wanted("\"a\"", 0);
            assert_eq!(wanted, Wanted::Beyond, "{range} of nothing");
        }
        let twice = conditions([(header::RANGE, "bytes=0-1"), (header::RANGE, "bytes=5-6")]);
        assert_eq!(twice.wanted("\"a\"", 100), Wanted::Whole);
    }

    #[test]
    fn a_part_is_sent_of_what_the_client_has_the_beginning_of() {
        for (if_range, wanted) in [
            ("\"a\"", Wanted::Part(5..100)),
            ("\"b\"", Wanted::Whole),
            ("W/\"a\"", Wanted::Whole),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Wanted::Whole),
        ] {
            let fields = [(header::RANGE, "bytes=5-"), (header::IF_RANGE, if_range)];
            assert_eq!(conditions(fields).wanted("\"a\"", 100), wanted, "{if_range}");
        }
    }

    #[test]
    fn a_part_that_depends_on_what_nobody_understands_is_everything() {
        let range = (header::RANGE, "bytes=5-");
        let same = (header::IF_RANGE, "\"a\"");
        assert_eq!(
            conditions([range.clone(), same.clone()]).wanted("\"a\"", 9),
            Wanted::Part(5..9)
        );
        let twice = conditions([range, same.clone(), same]);
        assert_eq!(twice.wanted("\"a\"", 9), Wanted::Whole);
        let mut fields = HeaderMap::new();
        fields.insert(header::RANGE, "bytes=5-".parse().expect("a value"));
        let latin = http::HeaderValue::from_bytes(b"\"\xe4\"").expect("a value");
        fields.insert(header::IF_RANGE, latin);
        assert_eq!(Conditions::of(&fields, false).wanted("\"a\"", 9), Wanted::Whole);
        // Only GET has parts (RFC 9110 section 14.2).
        fields.remove(header::IF_RANGE);
        assert_eq!(Conditions::of(&fields, true).wanted("\"a\"", 9), Wanted::Whole);
        assert_eq!(Conditions::of(&fields, false).wanted("\"a\"", 9), Wanted::Part(5..9));
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for (known, wanted) in [
            ("\"a\"", Wanted::Nothing),
            ("W/\"a\"", Wanted::Nothing),
            ("\"x\", \"a\"", Wanted::Nothing),
            ("*", Wanted::Nothing),
            ("\"x\"", Wanted::Whole),
            ("a", Wanted::Whole),
        ] {
            assert_eq!(conditions([(header::IF_NONE_MATCH, known)]).wanted("\"a\"", 9), wanted);
            assert_eq!(conditions([(header::IF_NONE_MATCH, known)]).wanted_whole("\"a\""), wanted);
        }
        let both = [(header::IF_NONE_MATCH, "\"a\""), (header::RANGE, "bytes=0-1")];
        assert_eq!(conditions(both).wanted("\"a\"", 9), Wanted::Nothing, "it comes first");
        let many = vec!["\"x\""; 2 * NAMES_MAX].join(",");
        assert_eq!(conditions([(header::IF_NONE_MATCH, &many)]).known.len(), NAMES_MAX);
    }
}
