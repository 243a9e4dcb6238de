//! Files of directives, as nginx and SRS have them: `listen 1935;` and `vhost name { ... }`.
//!
//! ```text
//! text ─► Lexer ─► words, `;`, `{`, `}` ─► parse, which follows `include` ─► Directive ─► print
//! ```
//!
//! SRS took the grammar from nginx and left some of it out ([`Dialect`]). What directives mean, nothing here knows.
//! Files are read by whoever asks ([`Files`]), and each word knows where it stands, for messages.

mod lexer;
mod parse;
mod print;
#[cfg(test)]
mod tests;
mod tree;

pub use self::{
    parse::{
        BLOCKS_DEEP_MAX, BYTES_MAX, FILES_MAX, File, Files, INCLUDES_DEEP_MAX, NoFiles, Read,
        WORDS_MAX, parse,
    },
    print::print,
    tree::{At, Directive, Error, Word},
};

/// Whose grammar a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// That of SRS: nothing is escaped with a backslash, words without a letter (`""`) are left out, and a directive
    /// ends on the line on which it begins.
    Srs,
    /// That of nginx: a backslash escapes, `${name}` belongs to a word, and lines do not matter.
    Nginx,
}
