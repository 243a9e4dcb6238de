//! A row of the table of directives.

/// Directives of one block that have the same fate.
#[derive(Debug)]
pub(super) struct Row {
    /// The block that they are in, with those around it: `vhost.play`; empty at the top.
    pub(super) block: &'static str,
    /// Their names, with a space between them; behind a `=` the value that SRS takes where nothing is said.
    pub(super) names: &'static str,
    /// What becomes of them.
    pub(super) fate: Fate,
}

/// What becomes of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A block, of which each directive has a fate of its own; there may be several of it.
    Block { many: bool },
    /// It is read, and these keys say the same.
    Key(&'static str),
    /// There is nothing to say: Weir does so always, or nobody can tell the difference.
    Always(&'static str),
    /// It is read with a warning, which says what holds instead, unless it says what SRS does without it.
    Instead(&'static str),
    /// Nothing can be started that is configured so.
    Refused(&'static str),
    /// It is in another place now: there, with its own name where that is `*`.
    Moved(&'static str),
    /// A block that has anything in it, and belongs to what is around it.
    Free,
    /// It belongs to the block that it is in, and has the fate of that.
    Within,
}

impl Row {
    /// The names, each with its default.
    pub(super) fn names(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.names.split(' ').map(|name| name.split_once('=').unwrap_or((name, "")))
    }
}

/// The name of the directive `name` in `block`, with the blocks.
pub(super) fn path(block: &str, name: &str) -> String {
    if block.is_empty() { name.to_owned() } else { format!("{block}.{name}") }
}
