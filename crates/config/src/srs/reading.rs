//! How values of SRS are read, and what is noted meanwhile.

use std::time::Duration;

use weir_conf::{At, Directive, Word};

use super::super::{
    document::{Builder, Difference, Refused, one},
    tree::{Node, Place},
    value::{Human, Problem},
};

/// What was read so far.
#[derive(Debug, Default)]
pub(in super::super) struct Reading {
    /// The keys of Weir.
    pub(in super::super) root: Builder,
    /// What is different here.
    pub(in super::super) notes: Vec<Difference>,
}

impl Reading {
    /// Notes what holds instead of a directive.
    pub(in super::super) fn note(&mut self, at: At, directive: &str, what: impl Into<String>) {
        self.notes.push(Difference { at, directive: directive.to_owned(), what: what.into() });
    }

    /// Sets what SRS takes where nothing is said.
    pub(in super::super) fn usual(&mut self, path: &[&str], value: &str) {
        self.root.set(path, one(Place::NOWHERE, value));
    }

    /// A duration within the bounds that a key of Weir has.
    pub(in super::super) fn bounded(
        &mut self,
        directive: &Directive,
        path: &str,
        value: Duration,
        (min, max): (Duration, Duration),
    ) -> Duration {
        let within = value.clamp(min, max);
        if within != value {
            let what =
                format!("Weir takes {} to {}, so it is {}", Human(min), Human(max), Human(within));
            self.note(directive.arg_at(), path, what);
        }
        within
    }
}

/// A duration where a directive says it.
pub(in super::super) fn time(directive: &Directive, duration: Duration) -> Node {
    one(place_of(directive), Human(duration).to_string())
}

/// A duration within the bounds of its key, where a directive says it.
pub(in super::super) fn bounded_time(
    reading: &mut Reading,
    directive: &Directive,
    path: &str,
    value: Duration,
    bounds: (Duration, Duration),
) -> Node {
    let within = reading.bounded(directive, path, value, bounds);
    time(directive, within)
}

/// Whether a switch is on; `usual` where it is not there, or says nothing.
pub(in super::super) fn is_on(directive: Option<&Directive>, usual: bool) -> bool {
    match directive.map(Directive::arg).filter(|text| !text.is_empty()) {
        // What is neither on nor off is refused when the key is read.
        Some(text) => {
            if usual {
                text != "off"
            } else {
                text == "on"
            }
        }
        None => usual,
    }
}

/// Reads a switch.
pub(in super::super) fn switch(directive: &Directive, path: &str) -> Result<bool, Refused> {
    match directive.arg() {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(wrong(
            directive,
            path,
            format!("`{other}` is neither on nor off"),
            "write on or off",
        )),
    }
}

/// A whole number.
pub(in super::super) fn whole(directive: &Directive, path: &str) -> Result<u64, Refused> {
    let text = directive.arg();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| {
        wrong(
            directive,
            path,
            format!("`{text}` is not a whole number"),
            "write digits, without a unit",
        )
    })
}

/// Longest time that is read: longer ones are for ever.
const SECONDS_MAX: f64 = 1e9;

fn number(directive: &Directive, path: &str) -> Result<f64, Refused> {
    let text = directive.arg();
    let known = |c: char| c.is_ascii_digit() || c == '.';
    let number = Some(text).filter(|text| text.chars().all(known)).and_then(|it| it.parse().ok());
    number.filter(|number: &f64| *number <= SECONDS_MAX * 1000.0).ok_or_else(|| {
        wrong(
            directive,
            path,
            format!("`{text}` is not a number"),
            "write a number, without a unit",
        )
    })
}

/// A time in seconds, which may have a fraction.
pub(in super::super) fn seconds(directive: &Directive, path: &str) -> Result<Duration, Refused> {
    number(directive, path).map(|seconds| Duration::from_millis((seconds * 1000.0).round() as u64))
}

/// A time in milliseconds.
pub(in super::super) fn millis(directive: &Directive, path: &str) -> Result<Duration, Refused> {
    number(directive, path).map(|millis| Duration::from_millis(millis.round() as u64))
}

/// The refusal of what a directive says.
pub(in super::super) fn wrong(
    directive: &Directive,
    path: &str,
    what: impl Into<String>,
    fix: impl Into<String>,
) -> Refused {
    let problem = Problem::new(what, fix);
    Refused { at: directive.arg_at(), directive: path.to_owned(), problem }
}

/// An address to listen on: `1935`, `0.0.0.0:1935`, `[::]:1935`.
pub(in super::super) fn address(word: &Word, path: &str) -> Result<String, Refused> {
    let text = &word.text;
    let refused = |what: String| Refused {
        at: word.at,
        directive: path.to_owned(),
        problem: Problem::new(
            what,
            "write a port, or an IP address with a port such as 0.0.0.0:1935",
        ),
    };
    if text.parse::<std::net::SocketAddr>().is_ok() {
        return Ok(text.clone());
    }
    // SRS takes an IPv6 address without brackets as well.
    if let Some((ip, port)) = text.rsplit_once(':') {
        if let (Ok(_), Ok(port)) = (ip.parse::<std::net::Ipv6Addr>(), port.parse::<u16>()) {
            return Ok(format!("[{ip}]:{port}"));
        }
        if ip.is_empty() && port.parse::<u16>().is_ok() {
            return Ok(format!("0.0.0.0:{port}"));
        }
    }
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(format!("0.0.0.0:{port}")),
        _ => Err(refused(format!("`{text}` is not an address to listen on"))),
    }
}

/// The place of a directive's value.
pub(in super::super) fn place_of(directive: &Directive) -> Place {
    super::super::document::place(directive.arg_at())
}
