//! The paths that a Rust source mentions: what its `use` items bring in, and what it names in full.
//!
//! No parser: the text is cut into words and signs, comments and literals left out. That is enough, because a path
//! looks the same wherever it stands, and rustfmt and the compiler have seen the source before.

/// What a source says about modules.
#[derive(Debug, Default, PartialEq)]
pub struct Paths {
    /// The modules that are declared in files of their own, `mod name;`.
    pub modules: Vec<String>,
    pub uses: Vec<Use>,
    /// Paths outside `use` items, and how deep in modules written in braces they stand.
    pub inline: Vec<(usize, Vec<String>)>,
}

/// One name that a `use` item brings in.
#[derive(Debug, PartialEq)]
pub struct Use {
    /// How deep in modules written in braces it stands.
    pub depth: usize,
    pub path: Vec<String>,
    /// The name it has here; none for `*` and `_`.
    pub name: Option<String>,
    /// Whether it stands there for others, `pub use`.
    pub is_public: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Sign(char),
    /// `::`
    Join,
}

use Token::{Join, Sign, Word};

/// Reads `text`, a source without its tests.
pub fn read(text: &str) -> Paths {
    let tokens = tokens(text);
    let mut paths = Paths::default();
    // For each brace that is open: whether it is a module's.
    let mut braces: Vec<bool> = Vec::new();
    let (mut at, mut is_public) = (0, false);
    while let Some(token) = tokens.get(at) {
        let depth = braces.iter().filter(|is_module| **is_module).count();
        match (token, tokens.get(at + 1), tokens.get(at + 2)) {
            (Word(word), Some(Word(name)), Some(Sign(sign))) if word == "mod" => {
                match sign {
                    ';' => paths.modules.push(name.clone()),
                    _ => braces.push(true),
                }
                at += 3;
            }
            // `use<'a>` says what a type captures.
            (Word(word), next, _) if word == "use" && next != Some(&Sign('<')) => {
                at += 1;
                read_use(&tokens, &mut at, &mut Vec::new(), &mut |path, name| {
                    paths.uses.push(Use { depth, path, name, is_public });
                });
                is_public = false;
            }
            (Word(word), next, _) if word == "pub" => {
                is_public = true;
                at += 1;
                // `pub(in path)` mentions a module, and needs nothing of it.
                if next == Some(&Sign('(')) {
                    at += tokens[at..].iter().take_while(|token| **token != Sign(')')).count() + 1;
                }
            }
            (Word(_), Some(Join), _) if at == 0 || tokens[at - 1] != Join => {
                let mut path = Vec::new();
                while let Some(Word(part)) = tokens.get(at) {
                    path.push(part.clone());
                    at += 1;
                    if tokens.get(at) != Some(&Join) {
                        break;
                    }
                    at += 1;
                }
                paths.inline.push((depth, path));
                is_public = false;
            }
            (Sign('{'), _, _) => {
                braces.push(false);
                at += 1;
                is_public = false;
            }
            (Sign('}'), _, _) => {
                braces.pop();
                at += 1;
                is_public = false;
            }
            _ => {
                at += 1;
                is_public = false;
            }
        }
    }
    paths
}

/// Reads the tree of a `use` item from `at` on, `path` being what stands before it, and says what each leaf brings in.
fn read_use(
    tokens: &[Token],
    at: &mut usize,
    path: &mut Vec<String>,
    bring: &mut impl FnMut(Vec<String>, Option<String>),
) {
    let before = path.len();
    let mut name = None;
    let mut is_leaf = true;
    while let Some(token) = tokens.get(*at) {
        match token {
            Word(word) if word == "as" => {
                let Some(Word(alias)) = tokens.get(*at + 1) else { return };
                name = Some(alias.clone()).filter(|alias| alias != "_");
                *at += 2;
                continue;
            }
            // `a::{self}` is `a`.
            Word(word) if word == "self" && !path.is_empty() => name = path.last().cloned(),
            Word(word) => {
                path.push(word.clone());
                name = Some(word.clone());
            }
            Sign('*') => {
                path.push("*".to_owned());
                name = None;
            }
            Sign('{') => {
                is_leaf = false;
                *at += 1;
                while tokens.get(*at).is_some_and(|token| *token != Sign('}')) {
                    read_use(tokens, at, path, bring);
                    *at += usize::from(tokens.get(*at) == Some(&Sign(',')));
                }
            }
            Sign(',' | ';' | '}') => break,
            Join | Sign(_) => {}
        }
        *at += 1;
    }
    if is_leaf && path.len() + usize::from(name.is_some()) > before {
        bring(path.clone(), name);
    }
    path.truncate(before);
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(&char) = chars.get(at) {
        match (char, chars.get(at + 1)) {
            ('/', Some('/')) => at += chars[at..].iter().take_while(|char| **char != '\n').count(),
            ('/', Some('*')) => at = end_of_comment(&chars, at),
            ('"', _) => at = end_of_string(&chars, at + 1),
            ('\'', _) => at = end_of_char(&chars, at),
            (':', Some(':')) => {
                tokens.push(Join);
                at += 2;
            }
            _ if char.is_alphanumeric() || char == '_' => {
                let is_part = |char: &&char| char.is_alphanumeric() || **char == '_';
                let word: String = chars[at..].iter().take_while(is_part).collect();
                at += word.chars().count();
                match end_of_raw(&chars, at, &word) {
                    Some(end) => at = end,
                    None => tokens.push(Word(word)),
                }
            }
            _ if char.is_whitespace() => at += 1,
            _ => {
                tokens.push(Sign(char));
                at += 1;
            }
        }
    }
    tokens
}

/// Comments nest.
fn end_of_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The end of the string whose text begins at `at`.
fn end_of_string(chars: &[char], mut at: usize) -> usize {
    while let Some(char) = chars.get(at) {
        match char {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// The end of a raw string whose `prefix` ends at `at`, if that is what it is: `r#"..."#`, `br"..."`.
fn end_of_raw(chars: &[char], at: usize, prefix: &str) -> Option<usize> {
    if !["r", "br", "cr"].contains(&prefix) {
        return None;
    }
    let hashes = chars[at..].iter().take_while(|char| **char == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return None;
    }
    let begin = at + hashes + 1;
    let closes = |end: &usize| {
        chars[*end] == '"' && chars[end + 1..].iter().take(hashes).all(|char| *char == '#')
    };
    Some((begin..chars.len()).find(closes).map_or(chars.len(), |end| end + 1 + hashes))
}

/// The end of a character, or of the `'` of a lifetime.
fn end_of_char(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            // The second one may be the escaped one.
            let rest = chars.get(at + 3..).unwrap_or_default();
            at + 3 + rest.iter().take_while(|char| **char != '\'').count() + 1
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(text: &str) -> Vec<(String, Option<String>)> {
        let uses = read(text).uses.into_iter();
        uses.map(|found| (found.path.join("::"), found.name)).collect()
    }

    fn some(path: &str, name: &str) -> (String, Option<String>) {
        (path.to_owned(), Some(name.to_owned()))
    }

    #[test]
    fn trees_of_use_are_read_to_their_leaves() {
        let text = "use crate::{a::{self, B, c::D as E}, f::*, g as _};\npub use self::h::I;";
        let expected = [
            some("crate::a", "a"),
            some("crate::a::B", "B"),
            some("crate::a::c::D", "E"),
            ("crate::f::*".to_owned(), None),
            ("crate::g".to_owned(), None),
            some("self::h::I", "I"),
        ];
        assert_eq!(uses(text), expected);
        let public: Vec<_> = read(text).uses.iter().map(|found| found.is_public).collect();
        assert_eq!(public, [false, false, false, false, false, true]);
    }

    #[test]
    fn paths_in_the_text_are_found_and_words_in_literals_and_comments_are_not() {
        let text = r###"
            //! crate::comment::a
            pub(super) fn f<'a>(x: &'a crate::b::C, y: char) -> super::D {
                let _ = ("crate::string::e", r#"crate::raw::f "g" "#, b'"', '"', '\'', '\u{22}');
                /* crate::comment /* crate::nested */ crate::still */
                module::g::<crate::H>(x)
            }
        "###;
        let inline: Vec<_> = read(text).inline.iter().map(|(_, path)| path.join("::")).collect();
        assert_eq!(inline, ["crate::b::C", "super::D", "module::g", "crate::H"]);
    }

    #[test]
    fn modules_in_braces_count_as_depth() {
        let paths =
            read("mod a;\nmod b { use super::C; fn f() { super::g(); } }\nfn h() { c::i(); }");
        assert_eq!(paths.modules, ["a"]);
        assert_eq!(paths.uses[0].depth, 1);
        let depths: Vec<_> = paths.inline.iter().map(|(depth, _)| *depth).collect();
        assert_eq!(depths, [1, 0]);
    }
}
