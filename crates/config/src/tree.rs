//! What a text with settings says, in whatever format it is written: mappings, lists and single values, each with its
//! place.
//!
//! ```text
//! text ─► yaml ─► Node ─► kind: the keys of each section ─► Config
//!                   └──────────► Refusal ─► report: place, path, what is wrong
//! ```
//!
//! Other formats beside YAML make a [`Node`] too: see `srs` and `nginx`. A format makes it and bounds how deep and how
//! large it is; the keys are read from it and know no format.

use std::{collections::VecDeque, rc::Rc};

use super::value::{self, Problem};

/// Where something stands in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which of the texts of a configuration, from 0: a file, those that it includes, variables.
    pub file: usize,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters it has.
    pub width: usize,
}

impl Place {
    /// The whole first line.
    pub const FIRST_LINE: Self = Self { file: 0, line: 1, column: 1, width: usize::MAX };

    /// Of what stands nowhere: what is meant where a file does not say it.
    pub const NOWHERE: Self = Self { file: usize::MAX, line: 1, column: 1, width: 1 };
}

/// A value in a text. A clone is the same value, not a copy of it.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands; of a mapping or list, where it begins.
    pub place: Place,
    value: Rc<Value>,
}

/// What a value is.
#[derive(Debug)]
pub enum Value {
    /// Nothing is there, or a word that the format has for it.
    Null,
    /// A single value.
    One(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping: keys in the order in which they stand, each once.
    Map(Vec<(Key, Node)>),
}

/// A single value.
#[derive(Debug)]
pub struct Scalar {
    /// What it says, without what the format has around it.
    pub text: Box<str>,
    /// How it was written.
    pub style: Style,
}

/// How a single value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// So that it is text, whatever it says.
    Text,
    /// So that the format would take it for a number, were it not that a key says what it is.
    Number,
    /// So that the format would take it for a truth value.
    Truth,
    /// Without any format around it, as the value of a variable.
    Alone,
}

/// A key in a text.
#[derive(Clone, Debug)]
pub struct Key {
    /// Where it stands.
    pub place: Place,
    /// What it says.
    pub text: Rc<str>,
}

/// What is wrong with something in a text.
#[derive(Debug)]
pub struct Refusal {
    /// Where it stands.
    pub place: Place,
    /// The way to it from the value that was read.
    pub path: Path,
    /// What is wrong.
    pub why: Why,
}

/// What is wrong.
#[derive(Debug)]
pub enum Why {
    /// This, and how to mend it.
    Problem(Problem),
    /// There is no such key in the section at the path, but these.
    NoSuchKey(Rc<str>, &'static [&'static str]),
    /// The text is not in its format. Such a refusal has no path.
    Syntax(Problem),
}

/// The way to a value: keys and places in lists, the outermost first.
#[derive(Debug, Default)]
pub struct Path(VecDeque<Step>);

#[derive(Debug)]
enum Step {
    Key(Rc<str>),
    Element(usize),
}

impl Path {
    /// The path as operators write it, below the setting at `above`: `play.flush`, `http.listen[1]`.
    pub fn below(&self, above: &str) -> String {
        let mut path = above.to_owned();
        for step in &self.0 {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => path.extend([".", key]),
                Step::Element(number) => path.push_str(&format!("[{number}]")),
            }
        }
        path
    }
}

impl Refusal {
    /// `problem` with what stands at `place`.
    pub fn new(place: Place, problem: Problem) -> Self {
        Self { place, path: Path::default(), why: Why::Problem(problem) }
    }

    /// The same, seen from the mapping that has it behind `key`.
    pub fn behind(self, key: &Key) -> Self {
        self.from(Step::Key(Rc::clone(&key.text)))
    }

    /// The same, seen from the list that has it as its element `number`.
    pub fn in_element(self, number: usize) -> Self {
        self.from(Step::Element(number))
    }

    fn from(mut self, step: Step) -> Self {
        if !matches!(self.why, Why::Syntax(_)) {
            self.path.0.push_front(step);
        }
        self
    }
}

impl Key {
    /// Reads the key.
    pub fn read<T>(&self, read: impl FnOnce(&str) -> Result<T, Problem>) -> Result<T, Refusal> {
        let read = value::scalar(&self.text, read);
        read.map_err(|problem| Refusal::new(self.place, problem).behind(self))
    }

    /// The refusal of a key that is none of `known`.
    pub fn is_none_of(&self, known: &'static [&'static str]) -> Refusal {
        let why = Why::NoSuchKey(Rc::clone(&self.text), known);
        Refusal { place: self.place, path: Path::default(), why }
    }
}

impl Node {
    /// The `value` at `place`.
    pub fn new(place: Place, value: Value) -> Self {
        Self { place, value: Rc::new(value) }
    }

    /// A single value that is `text` as it is.
    pub fn alone(text: &str) -> Self {
        Self::new(Place::FIRST_LINE, Value::One(Scalar { text: text.into(), style: Style::Alone }))
    }

    /// The same value where it is named once more.
    pub fn named_at(&self, place: Place) -> Self {
        Self { place, value: Rc::clone(&self.value) }
    }

    /// What it is.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Whether nothing is there.
    pub fn is_null(&self) -> bool {
        matches!(*self.value, Value::Null)
    }

    /// Whether it says that there is to be nothing: alone, a variable has no other way.
    pub fn is_none(&self) -> bool {
        match &*self.value {
            Value::Null => true,
            Value::One(Scalar { text, style: Style::Alone }) => &**text == "null",
            _ => false,
        }
    }

    /// The refusal of this value.
    pub fn refused(&self, problem: Problem) -> Refusal {
        Refusal::new(self.place, problem)
    }

    /// Reads a single value, whatever the format would take it for.
    pub fn read<T>(&self, read: impl FnOnce(&str) -> Result<T, Problem>) -> Result<T, Refusal> {
        let problem = match &*self.value {
            Value::One(one) => match value::scalar(&one.text, read) {
                Ok(read) => return Ok(read),
                Err(problem) => problem,
            },
            Value::Null => value::no_value("a value"),
            Value::List(_) | Value::Map(_) => value::not_one(),
        };
        Err(self.refused(problem))
    }

    /// The keys and values of a mapping.
    pub fn entries(&self) -> Result<&[(Key, Self)], Refusal> {
        match &*self.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.refused(Problem::new(
                "expected keys and values",
                "write `key: value`, one per line, indented under the section name",
            ))),
        }
    }

    /// Reads each element of a list.
    pub fn each<T>(
        list: &[Self],
        read: impl Fn(&Self) -> Result<T, Refusal>,
    ) -> Result<Vec<T>, Refusal> {
        let read = |(number, node)| read(node).map_err(|refusal| refusal.in_element(number));
        list.iter().enumerate().map(read).collect()
    }
}
