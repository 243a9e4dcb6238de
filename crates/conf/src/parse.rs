//! From tokens to directives, and into the files that `include` names.

use crate::{
    Dialect,
    lexer::{Lexer, Token},
    tree::{At, Directive, Error, Word},
};

/// How many blocks may be in one another: SRS has five, nginx with everything eight.
pub const BLOCKS_DEEP_MAX: usize = 24;
/// How many files may include one another: a file that includes itself ends here.
pub const INCLUDES_DEEP_MAX: usize = 8;
/// How many files one configuration may have: a file for each of some hundred vhosts.
pub const FILES_MAX: usize = 256;
/// Bytes of all files together.
pub const BYTES_MAX: usize = 4 << 20;
/// Words of all files together: a thousand vhosts with every directive have a fifth of it.
pub const WORDS_MAX: usize = 500_000;

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, for messages.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Who reads the files that `include` names.
pub trait Files {
    /// The files that `named` means, which stands in the file `by`: one, or with a pattern of nginx as many as there
    /// are.
    ///
    /// # Errors
    /// Says why they cannot be read, for people.
    fn read(&mut self, named: &str, by: &str) -> Result<Vec<File>, String>;
}

/// For texts that cannot include anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&mut self, _: &str, _: &str) -> Result<Vec<File>, String> {
        Err("nothing can be included here".to_owned())
    }
}

/// What was read, whether it is right or not: messages quote it.
#[derive(Clone, Debug)]
pub struct Read {
    /// The file, and behind it those that were included, in the order in which they were.
    pub files: Vec<File>,
    /// The directives, with those of included files in the place of `include`.
    pub directives: Result<Vec<Directive>, Error>,
}

/// Reads `file`, and through `files` what it includes.
pub fn parse(file: File, dialect: Dialect, files: &mut dyn Files) -> Read {
    let bytes = file.text.len();
    let mut parser = Parser { dialect, source: files, files: Vec::new(), bytes, words: 0 };
    let directives = match bytes > BYTES_MAX {
        true => Err(too_much(At { file: 0, line: 1, column: 1, width: 1 })),
        false => parser.file(file, 0, Where { depth: 0, is_followed: true }),
    };
    Read { files: parser.files, directives }
}

fn too_much(at: At) -> Error {
    let what =
        format!("the files have more than {WORDS_MAX} words, or {} MiB, together", BYTES_MAX >> 20);
    Error::new(at, what, "leave out what is not used")
}

struct Parser<'f> {
    dialect: Dialect,
    source: &'f mut dyn Files,
    files: Vec<File>,
    bytes: usize,
    words: usize,
}

/// What directives are in.
#[derive(Clone, Copy)]
struct Where {
    /// How many blocks.
    depth: usize,
    /// Whether what is included here is of interest. Of nginx only `rtmp` is.
    is_followed: bool,
}

impl Parser<'_> {
    fn file(&mut self, file: File, deep: usize, place: Where) -> Result<Vec<Directive>, Error> {
        let number = self.files.len();
        let text = file.text.clone();
        self.files.push(file);
        let mut lexer = Lexer::new(&text, number, self.dialect);
        self.directives(&mut lexer, None, deep, place)
    }

    /// The directives up to the end of the file or, in the block of `of`, to its `}`.
    fn directives(
        &mut self,
        lexer: &mut Lexer<'_>,
        of: Option<&Word>,
        deep: usize,
        place: Where,
    ) -> Result<Vec<Directive>, Error> {
        let mut all = Vec::new();
        while let Some((mut words, end)) = self.statement(lexer, of)? {
            let name = words.remove(0);
            if name.text == "include" && place.is_followed {
                self.include(&name, &words, deep, place, &mut all)?;
                continue;
            }
            let block = match end {
                Mark::End => None,
                Mark::Open(at) if place.depth + 1 > BLOCKS_DEEP_MAX => {
                    let what = format!("more than {BLOCKS_DEEP_MAX} blocks are in one another");
                    return Err(Error::new(at, what, "close blocks with }"));
                }
                Mark::Open(_) => {
                    let is_of_rtmp = self.dialect == Dialect::Srs || name.text == "rtmp";
                    let is_followed = place.is_followed && (place.depth > 0 || is_of_rtmp);
                    let inner = Where { depth: place.depth + 1, is_followed };
                    Some(self.directives(lexer, Some(&name), deep, inner)?)
                }
            };
            all.push(Directive { name, args: words, block });
        }
        Ok(all)
    }

    /// The words of the next directive, at least one, and what follows them; nothing where the block or the file ends.
    fn statement(
        &mut self,
        lexer: &mut Lexer<'_>,
        of: Option<&Word>,
    ) -> Result<Option<(Vec<Word>, Mark)>, Error> {
        let mut words: Vec<Word> = Vec::new();
        let mut is_on_next_line = false;
        loop {
            let token = lexer.next()?;
            let alone = words.is_empty();
            let mark = match token {
                None if !alone => return Err(without_end(&words)),
                None => return ended(of),
                Some(Token::Line(_)) => {
                    is_on_next_line = !alone;
                    continue;
                }
                Some(Token::Close(at)) if !alone => {
                    let what = format!("`{}` has no end before this }}", words[0].text);
                    return Err(Error::new(at, what, "write a ; before the }"));
                }
                Some(Token::Close(_)) if of.is_some() => return Ok(None),
                Some(Token::Close(at)) => {
                    let what = "this } closes no block";
                    return Err(Error::new(at, what, "remove it, or open a block with {"));
                }
                Some(Token::End(at)) if alone => {
                    return Err(Error::new(at, "this ; ends no directive", "remove it"));
                }
                Some(Token::Open(at)) if alone => {
                    let what = "this { has no directive before it";
                    return Err(Error::new(at, what, "write the name of the block before it"));
                }
                Some(Token::Word(word)) => {
                    let is_srs = self.dialect == Dialect::Srs;
                    if is_srs && is_on_next_line {
                        return Err(without_end(&words));
                    }
                    self.words += 1;
                    if self.words > WORDS_MAX {
                        return Err(too_much(word.at));
                    }
                    match word.text.is_empty() {
                        true if is_srs => {}
                        true if alone => {
                            let what = "the name of this directive is empty";
                            return Err(Error::new(word.at, what, "write a name, or remove it"));
                        }
                        _ => words.push(word),
                    }
                    continue;
                }
                Some(Token::End(_)) => Mark::End,
                Some(Token::Open(at)) => Mark::Open(at),
            };
            return Ok(Some((words, mark)));
        }
    }

    fn include(
        &mut self,
        name: &Word,
        args: &[Word],
        deep: usize,
        place: Where,
        all: &mut Vec<Directive>,
    ) -> Result<(), Error> {
        if args.is_empty() {
            return Err(Error::new(name.at, "include names no file", "write include FILE;"));
        }
        if deep + 1 > INCLUDES_DEEP_MAX {
            let what = format!("more than {INCLUDES_DEEP_MAX} files include one another");
            return Err(Error::new(name.at, what, "remove the include that leads back here"));
        }
        for word in args {
            let by = self.files.get(name.at.file).map_or("", |file| &file.name).to_owned();
            let files = self.source.read(&word.text, &by).map_err(|why| {
                let what = format!("`{}` cannot be included: {why}", word.text);
                Error::new(word.at, what, "name a file that this user can read")
            })?;
            for file in files {
                self.bytes = self.bytes.saturating_add(file.text.len());
                if self.bytes > BYTES_MAX || self.files.len() >= FILES_MAX {
                    let what = format!("more than {FILES_MAX} files, or {} MiB", BYTES_MAX >> 20);
                    return Err(Error::new(word.at, what, "include fewer files"));
                }
                all.extend(self.file(file, deep + 1, place)?);
            }
        }
        Ok(())
    }
}

/// What follows the words of a directive.
enum Mark {
    End,
    Open(At),
}

fn without_end(words: &[Word]) -> Error {
    let last = words.last().map_or_else(At::default, |word| word.at);
    let name = words.first().map_or("", |word| &word.text);
    Error::new(last, format!("the directive `{name}` has no end"), "write a ; behind it")
}

/// The end of the file, where a block may still be open.
fn ended<T>(of: Option<&Word>) -> Result<Option<T>, Error> {
    match of {
        None => Ok(None),
        Some(name) => {
            let what = format!("the block `{}` is not closed", name.text);
            Err(Error::new(name.at, what, "write a } where it ends"))
        }
    }
}
