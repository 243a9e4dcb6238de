//! What a file of directives says, each word with its place.

use std::fmt;

/// Where a word stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// Which of the files that were read, from 0: [`Read::files`](crate::Read).
    pub file: usize,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters it has, quotes included.
    pub width: usize,
}

/// A word: the name of a directive, or an argument of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What it says, without quotes and escapes.
    pub text: String,
    /// Where it stands.
    pub at: At,
}

/// `name argument...;` or `name argument... { ... }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The first word.
    pub name: Word,
    /// The other words.
    pub args: Vec<Word>,
    /// What stands in its braces, if it has any.
    pub block: Option<Vec<Directive>>,
}

impl Word {
    /// A word at a place.
    pub fn new(text: impl Into<String>, at: At) -> Self {
        Self { text: text.into(), at }
    }
}

impl Directive {
    /// The first argument; nothing where there is none.
    pub fn arg(&self) -> &str {
        self.args.first().map_or("", |word| &word.text)
    }

    /// Where the first argument stands; the name, where there is none.
    pub fn arg_at(&self) -> At {
        self.args.first().unwrap_or(&self.name).at
    }

    /// What stands in its braces.
    pub fn inner(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// The first directive with this name in its braces.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.inner().iter().find(|directive| directive.name.text == name)
    }
}

/// Why a text is not a file of directives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where.
    pub at: At,
    /// What is wrong, for people.
    pub what: String,
    /// What to do; may be empty.
    pub fix: String,
}

impl Error {
    pub(crate) fn new(at: At, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { at, what: what.into(), fix: fix.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.at.line, self.at.column, self.what)
    }
}

impl std::error::Error for Error {}
