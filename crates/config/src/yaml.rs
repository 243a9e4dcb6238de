//! From YAML to a [`Node`].
//!
//! YAML 1.2 with what operators expect of it besides: merge keys (`<<`), and the truth values of YAML 1.1, which are
//! only told from text here. Aliases are followed, within bounds: a text may say far more than it has characters.

use std::{collections::HashMap, rc::Rc};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::{
    tree::{Key, Node, Path, Place, Refusal, Scalar, Style, Value, Why},
    value::{self, Problem},
};

/// How deep values may be in one another. No key is below more than seven.
const DEPTH_MAX: usize = 64;

/// Values in one text, those behind aliases counted each time. A thousand vhosts with every key have a fifth of it.
const VALUES_MAX: usize = 250_000;

/// Bytes of values in one text, counted in the same way: some copies of the longest file.
const BYTES_MAX: usize = 8 << 20;

/// The value that `text` is; nothing is [`Value::Null`].
///
/// # Errors
/// The text is not YAML, has a second document, a key twice, a tag of a type that no key has, or too much in it.
pub(super) fn read(text: &str) -> Result<Node, Refusal> {
    let anchors = HashMap::new();
    let mut reader =
        Reader { text, events: Parser::new_from_str(text), anchors, values: 0, bytes: 0 };
    let mut root = None;
    while let Some((event, span)) = reader.next()? {
        if !event.is_node() {
            continue;
        }
        if root.is_some() {
            let fix = "keep one, and remove the line `---`";
            return Err(syntax(
                place(&span),
                Problem::new("a second YAML document starts here", fix),
            ));
        }
        root = Some(reader.node(event, &span, 0)?);
    }
    let nothing = Place { file: 0, line: 1, column: 1, width: 1 };
    Ok(root.map_or_else(|| Node::new(nothing, Value::Null), |Built { node, .. }| node))
}

struct Reader<'t> {
    text: &'t str,
    events: Parser<'t, StrInput<'t>>,
    /// Those whose values are whole.
    anchors: HashMap<usize, Built>,
    values: usize,
    bytes: usize,
}

/// A value with what it takes.
#[derive(Clone)]
struct Built {
    node: Node,
    /// Values in it, itself included.
    values: usize,
    /// Bytes of their texts.
    bytes: usize,
    /// How many mappings and lists are in one another.
    height: usize,
}

/// What a tag says of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    /// Nothing, or nothing that is known here.
    Nothing,
    /// That it is what it is written as: `!`.
    Written,
    Text,
    Null,
    Map,
    List,
    Merge,
    /// That it is of a type which no key has.
    Other,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Refusal> {
        self.events.next().transpose().map_err(|error| self.bad_syntax(&error))
    }

    /// The next event within a value, which has an end.
    fn within(&mut self) -> Result<(Event<'t>, Span), Refusal> {
        loop {
            match self.next()? {
                Some((event, span)) if event.is_node() || is_end(&event) => {
                    return Ok((event, span));
                }
                Some(_) => {}
                None => {
                    let nowhere = Place { file: 0, line: 1, column: 1, width: 1 };
                    return Err(syntax(nowhere, Problem::new("the text ends within a value", "")));
                }
            }
        }
    }

    fn bad_syntax(&self, error: &ScanError) -> Refusal {
        let at = error.marker();
        let place = Place { file: 0, line: at.line().max(1), column: at.col() + 1, width: 1 };
        let line = self.text.lines().nth(place.line - 1).unwrap_or_default();
        let tab = line.trim_start_matches(' ').starts_with('\t');
        let what = match error.kind() {
            ErrorKind::UnknownAnchor => "reference to unknown value".to_owned(),
            _ => error.info(),
        };
        syntax(
            place,
            Problem::new(what, if tab { "indent with spaces, not with tabs" } else { "" }),
        )
    }

    /// The value that begins with `event`, `depth` mappings and lists deep.
    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Built, Refusal> {
        let place = place(span);
        let (values, bytes) = (self.values, self.bytes);
        let (anchor, value, height) = match event {
            Event::Alias(anchor) => return self.alias(anchor, place, depth),
            Event::Scalar(text, style, anchor, tag) => {
                self.count(place, 1, text.len())?;
                (anchor, scalar(&text, style, says(tag.as_deref()), place)?, 0)
            }
            Event::SequenceStart(_, anchor, tag) => {
                of_kind(tag.as_deref(), Says::List, place)?;
                self.count(place, 1, 0)?;
                let (list, height) = self.list(place, depth)?;
                (anchor, Value::List(list), height)
            }
            Event::MappingStart(_, anchor, tag) => {
                of_kind(tag.as_deref(), Says::Map, place)?;
                self.count(place, 1, 0)?;
                let (entries, height) = self.map(place, depth)?;
                (anchor, Value::Map(entries), height)
            }
            _ => return Err(syntax(place, Problem::new("expected a value", ""))),
        };
        let (values, bytes) = (self.values - values, self.bytes - bytes);
        let built = Built { node: Node::new(place, value), values, bytes, height };
        if anchor != 0 {
            self.anchors.insert(anchor, built.clone());
        }
        Ok(built)
    }

    /// The value at the anchor that an alias at `place` names.
    fn alias(&mut self, anchor: usize, place: Place, depth: usize) -> Result<Built, Refusal> {
        let Some(built) = self.anchors.get(&anchor).cloned() else {
            return Err(Refusal::new(place, Problem::new("this value contains itself", "")));
        };
        deep(place, depth + built.height)?;
        self.count(place, built.values, built.bytes)?;
        let node = built.node.named_at(place);
        Ok(Built { node, ..built })
    }

    fn list(&mut self, place: Place, depth: usize) -> Result<(Vec<Node>, usize), Refusal> {
        deep(place, depth + 1)?;
        let (mut list, mut height) = (Vec::new(), 0);
        loop {
            let (event, span) = self.within()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok((list, height + 1));
            }
            let built = self.node(event, &span, depth + 1);
            let built = built.map_err(|refusal| refusal.in_element(list.len()))?;
            height = height.max(built.height);
            list.push(built.node);
        }
    }

    fn map(&mut self, place: Place, depth: usize) -> Result<(Vec<(Key, Node)>, usize), Refusal> {
        deep(place, depth + 1)?;
        let (mut entries, mut merged, mut height) = (Vec::new(), Vec::new(), 0);
        let mut lines: HashMap<Rc<str>, usize> = HashMap::new();
        loop {
            let (event, span) = self.within()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let is_merge = is_merge(&event);
            let key = self.key(event, &span)?;
            let (event, span) = self.within()?;
            if !is_merge {
                let (text, line) = (Rc::clone(&key.text), key.place.line);
                if let Some(first) = lines.insert(text, line) {
                    let what = format!("is set twice, first on line {first}");
                    let problem = Problem::new(what, "keep one of them");
                    return Err(Refusal::new(key.place, problem).behind(&key));
                }
            }
            let built = self.node(event, &span, depth + 1);
            let built = built.map_err(|refusal| refusal.behind(&key))?;
            height = height.max(built.height);
            match is_merge {
                true => merged.push((key, built.node)),
                false => entries.push((key, built.node)),
            }
        }
        for (key, from) in &merged {
            merge(&mut entries, &mut lines, from).map_err(|refusal| refusal.behind(key))?;
        }
        Ok((entries, height + 1))
    }

    fn key(&mut self, event: Event<'t>, span: &Span) -> Result<Key, Refusal> {
        let node = match event {
            // What is in it does not matter: only a single value will do.
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                Node::new(place(span), Value::List(Vec::new()))
            }
            event => self.node(event, span, 0)?.node,
        };
        match node.value() {
            Value::One(Scalar { text, .. }) => {
                Ok(Key { place: node.place, text: Rc::from(&**text) })
            }
            Value::Null => Err(node.refused(value::no_value("a key"))),
            Value::List(_) | Value::Map(_) => Err(node.refused(value::not_one())),
        }
    }

    /// Counts what a value at `place` takes.
    fn count(&mut self, place: Place, values: usize, bytes: usize) -> Result<(), Refusal> {
        self.values = self.values.saturating_add(values);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.values <= VALUES_MAX && self.bytes <= BYTES_MAX {
            return Ok(());
        }
        let what = format!(
            "more than {VALUES_MAX} values, or {} MiB of text, with everything that aliases repeat",
            BYTES_MAX >> 20
        );
        Err(Refusal::new(place, Problem::new(what, "use fewer aliases (`*name`)")))
    }
}

/// Adds what `from`, a mapping or a list of them, has and `entries` have not.
fn merge(
    entries: &mut Vec<(Key, Node)>,
    lines: &mut HashMap<Rc<str>, usize>,
    from: &Node,
) -> Result<(), Refusal> {
    match from.value() {
        Value::Null => Ok(()),
        Value::Map(more) => {
            for (key, node) in more {
                if !lines.contains_key(&key.text) {
                    lines.insert(Rc::clone(&key.text), key.place.line);
                    entries.push((key.clone(), node.clone()));
                }
            }
            Ok(())
        }
        Value::List(all) => all.iter().try_for_each(|one| merge(entries, lines, one)),
        Value::One(_) => {
            let what = "expected keys and values after `<<`, or a list of aliases for them";
            Err(from.refused(Problem::new(what, "write <<: *name, or remove it")))
        }
    }
}

fn is_end(event: &Event<'_>) -> bool {
    matches!(event, Event::SequenceEnd | Event::MappingEnd)
}

/// Whether it is the key whose value is merged into the mapping.
fn is_merge(event: &Event<'_>) -> bool {
    let Event::Scalar(text, style, _, tag) = event else { return false };
    text == "<<"
        && match says(tag.as_deref()) {
            Says::Merge => true,
            _ => tag.is_none() && *style == ScalarStyle::Plain,
        }
}

fn scalar(text: &str, style: ScalarStyle, says: Says, place: Place) -> Result<Value, Refusal> {
    let is_plain = style == ScalarStyle::Plain && !matches!(says, Says::Text | Says::Written);
    let one = |style| Value::One(Scalar { text: text.into(), style });
    match says {
        Says::Map | Says::List | Says::Other => Err(wrong_tag(place)),
        Says::Null => Ok(Value::Null),
        _ if is_plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") => Ok(Value::Null),
        _ if is_plain && is_truth(text) => Ok(one(Style::Truth)),
        _ if is_plain && is_number(text) => Ok(one(Style::Number)),
        _ => Ok(one(Style::Text)),
    }
}

/// Whether YAML 1.1 takes the text for a truth value.
fn is_truth(text: &str) -> bool {
    let words = ["true", "false", "yes", "no", "y", "n", "on", "off"];
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether YAML takes the text for a number.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    is_whole(unsigned)
        || unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && unsigned.parse::<f64>().is_ok()
        || matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN")
}

/// Whether it is a whole number without a sign, which may have `_` between its digits.
fn is_whole(text: &str) -> bool {
    const PREFIXES: [(&str, u32); 6] =
        [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)];
    let mut based =
        PREFIXES.iter().filter_map(|(prefix, base)| Some((text.strip_prefix(prefix)?, *base)));
    let (digits, base) = based.next().unwrap_or((text, 10));
    let is_odd = digits.starts_with(['_', '+'])
        || digits.ends_with('_')
        || digits.contains("__")
        || base == 10 && digits.len() > 1 && digits.starts_with('0');
    !is_odd && u64::from_str_radix(&digits.replace('_', ""), base).is_ok()
}

fn says(tag: Option<&Tag>) -> Says {
    let Some(tag) = tag else { return Says::Nothing };
    let standard = tag.suffix_in_namespace("tag:yaml.org,2002:");
    let Some(name) = standard.or_else(|| tag.suffix_in_namespace("!")) else {
        return Says::Nothing;
    };
    match name.strip_prefix('!').unwrap_or(&name) {
        "" => Says::Written,
        "str" => Says::Text,
        "null" => Says::Null,
        "map" => Says::Map,
        "seq" => Says::List,
        "merge" => Says::Merge,
        "bool" | "int" | "float" | "binary" | "timestamp" | "time" | "degrees" | "radians" => {
            Says::Other
        }
        _ => Says::Nothing,
    }
}

/// Whether what is `expected` to be there may have this tag.
fn of_kind(tag: Option<&Tag>, expected: Says, place: Place) -> Result<(), Refusal> {
    let says = says(tag);
    let fits = says == expected || matches!(says, Says::Nothing | Says::Written);
    if fits { Ok(()) } else { Err(wrong_tag(place)) }
}

fn wrong_tag(place: Place) -> Refusal {
    let what = "this YAML tag is not supported here";
    Refusal::new(place, Problem::new(what, "remove the tag (`!!int`)"))
}

/// Whether values may be so deep in one another.
fn deep(place: Place, depth: usize) -> Result<(), Refusal> {
    if depth <= DEPTH_MAX {
        return Ok(());
    }
    let what = format!("values are nested more than {DEPTH_MAX} deep");
    Err(Refusal::new(place, Problem::new(what, "")))
}

fn syntax(place: Place, problem: Problem) -> Refusal {
    Refusal { place, path: Path::default(), why: Why::Syntax(problem) }
}

fn place(span: &Span) -> Place {
    let at = span.start;
    Place { file: 0, line: at.line().max(1), column: at.col() + 1, width: span.len().max(1) }
}

#[cfg(test)]
mod tests;
