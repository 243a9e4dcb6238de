//! Where in the text each key and value stands.
//!
//! A check of the whole configuration sees paths and no text; messages need both. Secrets are masked where there is a
//! syntax error too, and no tree.

use granit_parser::{Event, Parser, Span};

use super::{
    error::Origin,
    tree::{Key, Node, Place, Value},
};

/// A text, to quote it.
#[derive(Clone, Debug)]
pub(super) struct Quoted {
    /// What it says.
    pub(super) text: String,
    /// Where it is from.
    pub(super) origin: Origin,
}

/// From where to where something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    /// Where it begins, and how many characters it has.
    pub(super) place: Place,
    /// The line in which it ends, and the column behind its last character.
    pub(super) end: (usize, usize),
}

impl Area {
    fn of_span(span: &Span) -> Self {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        let place = Place { file: 0, line, column, width: span.len() };
        Self { place, end: (span.end.line(), span.end.col() + 1) }
    }

    fn in_line(place: Place) -> Self {
        Self { place, end: (place.line, place.column.saturating_add(place.width)) }
    }
}

/// A value in the text: that of a key, or an element of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// `play.flush`, `http.listen[1]`.
    pub(super) path: String,
    /// Where its key stands; of an element of a list, where it stands itself.
    pub(super) key: Area,
    /// Where the value stands; of a mapping or list, where it begins.
    pub(super) value: Area,
    /// Whether it is a single value.
    pub(super) is_single: bool,
}

/// What stands in a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Positions {
    /// All values of the first document, in its order, up to the first syntax error.
    pub(super) all: Vec<Position>,
    /// Where there is a syntax error: the path of what was being read there.
    pub(super) cut: Option<String>,
}

/// The values in the tree that was made from texts of another format. What stands nowhere is left out.
pub(super) fn of_node(node: &Node) -> Positions {
    let mut all = Vec::new();
    walk_node(node, "", &mut all);
    Positions { all, cut: None }
}

fn walk_node(node: &Node, path: &str, all: &mut Vec<Position>) {
    let mut found = |path: &str, key: Place, node: &Node| {
        if node.place != Place::NOWHERE {
            let is_single = matches!(node.value(), Value::One(_) | Value::Null);
            let (key, value) = (Area::in_line(key), Area::in_line(node.place));
            all.push(Position { path: path.to_owned(), key, value, is_single });
        }
        walk_node(node, path, all);
    };
    match node.value() {
        Value::Map(entries) => {
            for (Key { place, text }, node) in entries {
                let dot = if path.is_empty() { "" } else { "." };
                found(&format!("{path}{dot}{text}"), *place, node);
            }
        }
        Value::List(list) => {
            for (number, node) in list.iter().enumerate() {
                found(&format!("{path}[{number}]"), node.place, node);
            }
        }
        Value::Null | Value::One(_) => {}
    }
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
        let (key, value) = (Area::of_span(&key), Area::of_span(&value));
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
        let at = |place: Place| -> String {
            let line = text.lines().nth(place.line - 1).expect("a line");
            line.chars().skip(place.column - 1).take(place.width).collect()
        };
        let found: Vec<_> = places(&text)
            .all
            .into_iter()
            .map(|p| (p.path, at(p.key.place), p.value.place.line))
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
