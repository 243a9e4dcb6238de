//! From characters to words and marks.

use std::{iter::Peekable, str::Chars};

use crate::{
    Dialect,
    tree::{At, Error, Word},
};

/// What a file is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A word.
    Word(Word),
    /// `;`
    End(At),
    /// `{`
    Open(At),
    /// `}`
    Close(At),
    /// A line has ended: told where SRS makes a difference of it.
    Line(At),
}

/// Reads one text.
pub struct Lexer<'t> {
    rest: Peekable<Chars<'t>>,
    dialect: Dialect,
    /// Where the next character stands.
    at: At,
    /// The last token was a word in quotes: something has to separate it from the next.
    is_behind_quote: bool,
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str, file: usize, dialect: Dialect) -> Self {
        let at = At { file, line: 1, column: 1, width: 1 };
        Self { rest: text.chars().peekable(), dialect, at, is_behind_quote: false }
    }

    fn advance(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.at.line += 1;
            self.at.column = 1;
        } else {
            self.at.column += 1;
        }
        Some(c)
    }

    /// The next token; nothing at the end of the text.
    pub fn next(&mut self) -> Result<Option<Token>, Error> {
        let is_behind_quote = std::mem::take(&mut self.is_behind_quote);
        let mut is_apart = !is_behind_quote;
        loop {
            let Some(&c) = self.rest.peek() else { return Ok(None) };
            let at = self.at;
            match c {
                '\n' => {
                    self.advance();
                    return Ok(Some(Token::Line(at)));
                }
                c if is_space(c) => {
                    self.advance();
                    is_apart = true;
                }
                ';' => {
                    self.advance();
                    return Ok(Some(Token::End(at)));
                }
                '{' => {
                    self.advance();
                    return Ok(Some(Token::Open(at)));
                }
                _ if !(is_apart || c == ')' && self.dialect == Dialect::Nginx) => {
                    let what = format!("`{}` directly behind a quote", c.escape_debug());
                    return Err(Error::new(at, what, "write a space, a ; or a { behind the quote"));
                }
                '}' => {
                    self.advance();
                    return Ok(Some(Token::Close(at)));
                }
                '#' => {
                    while self.rest.peek().is_some_and(|c| *c != '\n') {
                        self.advance();
                    }
                }
                '"' | '\'' => return self.quoted(c).map(|word| Some(Token::Word(word))),
                _ => return Ok(Some(Token::Word(self.plain()))),
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Word, Error> {
        let start = self.at;
        self.advance();
        let mut text = String::new();
        let mut width = 1;
        loop {
            let not_closed = || {
                let what = format!("the quote {quote} is not closed");
                Error::new(start, what, format!("write another {quote} where the text ends"))
            };
            let c = self.advance().ok_or_else(not_closed)?;
            width += 1;
            match c {
                c if c == quote => break,
                '\n' if self.dialect == Dialect::Srs => return Err(not_closed()),
                '\\' if self.dialect == Dialect::Nginx => width += self.escaped(&mut text),
                c => text.push(c),
            }
        }
        self.is_behind_quote = true;
        Ok(Word { text, at: At { width, ..start } })
    }

    fn plain(&mut self) -> Word {
        let start = self.at;
        let mut text = String::new();
        let mut width = 0;
        let is_nginx = self.dialect == Dialect::Nginx;
        while let Some(&c) = self.rest.peek() {
            let is_variable = is_nginx && c == '{' && text.ends_with('$');
            if is_space(c) || c == ';' || (c == '{' && !is_variable) {
                break;
            }
            self.advance();
            width += 1;
            match c {
                '\\' if is_nginx => width += self.escaped(&mut text),
                c => text.push(c),
            }
        }
        Word { text, at: At { width, ..start } }
    }

    /// What stands behind a backslash of nginx; returns its width.
    fn escaped(&mut self, text: &mut String) -> usize {
        let Some(c) = self.advance() else {
            text.push('\\');
            return 0;
        };
        match c {
            '"' | '\'' | '\\' => text.push(c),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'n' => text.push('\n'),
            c => text.extend(['\\', c]),
        }
        1
    }
}
