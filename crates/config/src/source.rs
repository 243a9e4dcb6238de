//! Where in the text each key and value stands.
//!
//! A check of the whole configuration sees paths and no text; messages need both. Secrets are masked where there is a
//! syntax error too, and no tree.

use granit_parser::{Event, Parser, Span};

/// A value in the text: that of a key, or an element of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// `play.flush`, `http.listen[1]`.
    pub(super) path: String,
    /// Where its key stands; of an element of a list, where it stands itself.
    pub(super) key: Span,
    /// Where the value stands; of a mapping or list, where it begins.
    pub(super) value: Span,
    /// Whether it is a single value.
    pub(super) is_single: bool,
}

/// What stands in a text.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// All values of the first document, in its order, up to the first syntax error.
    pub(super) all: Vec<Position>,
    /// Where there is a syntax error: the path of what was being read there.
    pub(super) cut: Option<String>,
}

/// The values in `text`.
pub(super) fn places(text: &str) -> Positions {
    let mut walk = Walk::default();
    let mut cut = None;
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else {
            cut = Some(walk.path());
            break;
        };
        if walk.on_event(event, span).is_none() {
            break;
        }
    }
    Positions { all: walk.found, cut }
}

/// The collections that are open, outermost first, and what was found so far. The parser bounds how deep they nest.
#[derive(Default)]
struct Walk {
    open: Vec<Open>,
    found: Vec<Position>,
}

enum Open {
    /// A mapping at `path`, before a key or, with its path and place, before the value of that key.
    Map { path: String, key: Option<(String, Span)> },
    /// A list at `path`, before its element number `next`.
    List { path: String, next: usize },
}

impl Walk {
    /// `None` where the walk ends: at the end of the document, or at a key that is not a scalar.
    fn on_event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        match event {
            Event::Scalar(text, ..) => self.on_scalar(&text, span),
            Event::Alias(_) => self.on_value(span, true).map(drop),
            Event::MappingStart(..) => {
                let path = self.on_value(span, false)?;
                self.open.push(Open::Map { path, key: None });
                Some(())
            }
            Event::SequenceStart(..) => {
                let path = self.on_value(span, false)?;
                self.open.push(Open::List { path, next: 0 });
                Some(())
            }
            Event::MappingEnd | Event::SequenceEnd => self.open.pop().map(drop),
            Event::DocumentEnd => None,
            _ => Some(()),
        }
    }

    fn on_scalar(&mut self, text: &str, span: Span) -> Option<()> {
        if let Some(Open::Map { path, key: key @ None }) = self.open.last_mut() {
            let dot = if path.is_empty() { "" } else { "." };
            *key = Some((format!("{path}{dot}{text}"), span));
            return Some(());
        }
        self.on_value(span, true).map(drop)
    }

    /// The path of what comes next, of a key that of its section.
    fn path(&self) -> String {
        match self.open.last() {
            None => String::new(),
            Some(Open::Map { key: Some((path, _)), .. } | Open::Map { path, key: None }) => {
                path.clone()
            }
            Some(Open::List { path, next }) => format!("{path}[{next}]"),
        }
    }

    /// Notes the value and returns its path.
    fn on_value(&mut self, value: Span, is_single: bool) -> Option<String> {
        let (path, key) = match self.open.last_mut() {
            None => return Some(String::new()),
            Some(Open::Map { key, .. }) => key.take()?,
            Some(Open::List { path, next }) => {
                let element = format!("{path}[{next}]");
                *next += 1;
                (element, value)
            }
        };
        self.found.push(Position { path: path.clone(), key, value, is_single });
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_value() {
        let text = "# about\nplay:\n  flush: video\n  wait:\n\
            http: { listen: [a, \"b\"] }\nvhosts:\n  a.b:\n    hls: *x\n";
        let text = text.replace("flush: video", "flush: &x video");
        let found: Vec<_> = places(&text)
            .all
            .into_iter()
            .map(|p| (p.path, p.key.slice(&text).unwrap().to_owned(), p.value.start.line()))
            .collect();
        let expected = [
            ("play", "play", 3),
            ("play.flush", "flush", 3),
            ("play.wait", "wait", 4),
            ("http", "http", 5),
            ("http.listen", "listen", 5),
            ("http.listen[0]", "a", 5),
            ("http.listen[1]", "\"b\"", 5),
            ("vhosts", "vhosts", 7),
            ("vhosts.a.b", "a.b", 8),
            ("vhosts.a.b.hls", "hls", 8),
        ];
        let expected = expected.map(|(path, key, line)| (path.to_owned(), key.to_owned(), line));
        assert_eq!(found, expected);
    }

    #[test]
    fn stops_at_what_it_cannot_read() {
        let cut = places("a: 1\nb: [x, \n");
        assert_eq!((cut.all.len(), cut.cut.as_deref()), (3, Some("b[1]")));
        for text in ["? [a]\n: 1\n", "just text", ""] {
            assert_eq!(places(text).all, [], "{text}");
        }
        assert_eq!(places("a: 1\n").cut, None);
    }
}
