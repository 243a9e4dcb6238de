//! A configuration in the format of another server: its texts, what stands where, and what is different here.

use std::fmt;

use weir_conf::At;

use super::{
    error::{ConfigError, Origin},
    report::Source,
    source::{Positions, Quoted},
    tree::{Key, Node, Place, Refusal, Scalar, Style, Value},
    value::Problem,
};

/// The texts of one configuration, and what became of them.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// The file, those that it includes, and variables that change it.
    pub(super) texts: Vec<Quoted>,
    /// Where each key stands.
    pub(super) positions: Positions,
    /// What is different here.
    pub(super) notes: Vec<Note>,
}

impl Document {
    /// What messages quote.
    pub(super) fn source(&self) -> Source<'_> {
        Source::quoting(&self.texts, self.positions.clone())
    }
}

/// A directive of another server that means something else here, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it stands: `srs.conf:7:5`, or the name of a variable.
    pub place: String,
    /// The directive with the blocks that it is in: `vhost.play.mw_msgs`.
    pub directive: String,
    /// What holds instead.
    pub what: String,
    /// Its line in the file, from 1; 0 where it stands elsewhere.
    pub line: usize,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, directive, what, .. } = self;
        write!(f, "{place}: {directive}: {what}")
    }
}

/// What is different, before it is known what the texts are called.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub(super) at: At,
    pub(super) directive: String,
    pub(super) what: String,
}

/// Why a directive is refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) at: At,
    /// The directive with the blocks that it is in; empty for an error of the grammar.
    pub(super) directive: String,
    pub(super) problem: Problem,
}

impl From<weir_conf::Error> for Refused {
    fn from(error: weir_conf::Error) -> Self {
        let problem = Problem::new(error.what, error.fix);
        Self { at: error.at, directive: String::new(), problem }
    }
}

impl Refused {
    /// As it is told.
    pub(super) fn told(self, texts: &[Quoted]) -> ConfigError {
        let source = Source::quoting(texts, Positions::default());
        source.refused_at(place(self.at), &self.directive, self.problem)
    }
}

impl Difference {
    /// As it is told.
    pub(super) fn told(self, texts: &[Quoted]) -> Note {
        let (place, line) = match texts.get(self.at.file).map(|quoted| &quoted.origin) {
            Some(Origin::Variable(name) | Origin::Name(name)) => (name.clone(), 0),
            Some(Origin::File(name)) => {
                let line = if self.at.file == 0 { self.at.line } else { 0 };
                (format!("{name}:{}:{}", self.at.line, self.at.column), line)
            }
            None => (String::new(), 0),
        };
        Note { place, directive: self.directive, what: self.what, line }
    }
}

/// The place of a word in the tree.
pub(super) fn place(at: At) -> Place {
    Place { file: at.file, line: at.line, column: at.column, width: at.width }
}

/// Makes a mapping, key by key.
#[derive(Debug, Default)]
pub(super) struct Builder {
    entries: Vec<(Key, Item)>,
}

/// A value, or the keys of a section where there is none.
#[derive(Debug, Default)]
struct Item {
    value: Option<Node>,
    section: Builder,
}

impl Builder {
    /// The entry of the key `name`, which stands at `at` where it is new.
    fn entry(&mut self, name: &str, at: Place) -> &mut (Key, Item) {
        let index = match self.entries.iter().position(|(key, _)| &*key.text == name) {
            Some(index) => index,
            None => {
                let key = Key { place: at, text: name.into() };
                self.entries.push((key, Item::default()));
                self.entries.len() - 1
            }
        };
        &mut self.entries[index]
    }

    /// The section behind the keys of `path`, which begins at `at` where it is new.
    pub(super) fn section(&mut self, path: &[&str], at: Place) -> &mut Self {
        let Some((first, rest)) = path.split_first() else { return self };
        let (_, item) = self.entry(first, at);
        item.value = None;
        item.section.section(rest, at)
    }

    /// Sets the key at `path`, whatever it was before.
    pub(super) fn set(&mut self, path: &[&str], node: Node) {
        let Some((name, above)) = path.split_last() else { return };
        let (key, item) = self.section(above, node.place).entry(name, node.place);
        key.place = node.place;
        *item = Item { value: Some(node), section: Self::default() };
    }

    /// Adds an element to the list at `path`.
    pub(super) fn push(&mut self, path: &[&str], node: Node) {
        let Some((name, above)) = path.split_last() else { return };
        let (_, item) = self.section(above, node.place).entry(name, node.place);
        let at = item.value.as_ref().map_or(node.place, |list| list.place);
        let mut all = match item.value.as_ref().map(Node::value) {
            Some(Value::List(all)) => all.clone(),
            _ => Vec::new(),
        };
        all.push(node);
        item.value = Some(Node::new(at, Value::List(all)));
    }

    /// Takes over what `other` has.
    pub(super) fn merge(&mut self, other: Self) {
        for (key, item) in other.entries {
            match item.value {
                Some(node) => self.set(&[&key.text], node),
                None => self.section(&[&key.text], key.place).merge(item.section),
            }
        }
    }

    /// The mapping.
    pub(super) fn node(self, at: Place) -> Node {
        let entry = |(key, item): (Key, Item)| {
            let node = match item.value {
                Some(node) => node,
                None => item.section.node(key.place),
            };
            (key, node)
        };
        Node::new(at, Value::Map(self.entries.into_iter().map(entry).collect()))
    }
}

/// A single value.
pub(super) fn one(at: Place, text: impl Into<String>) -> Node {
    let text: String = text.into();
    Node::new(at, Value::One(Scalar { text: text.into(), style: Style::Text }))
}

/// A list.
pub(super) fn list(at: Place, all: Vec<Node>) -> Node {
    Node::new(at, Value::List(all))
}

/// What was refused when keys were read from the tree, at its place.
pub(super) fn refused(refusal: &Refusal, texts: &[Quoted]) -> ConfigError {
    Source::quoting(texts, Positions::default()).refused(refusal)
}
