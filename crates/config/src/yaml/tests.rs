use std::{fmt, fs, path::Path};

use proptest::prelude::*;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

use super::*;

/// What a text says, without places.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Null,
    Text(String),
    Number,
    Truth,
    List(Vec<Self>),
    /// In the order of the keys: where merged keys stand does not matter.
    Map(Vec<(String, Self)>),
}

impl Said {
    fn map(mut entries: Vec<(String, Self)>) -> Self {
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self::Map(entries)
    }
}

impl From<&Node> for Said {
    fn from(node: &Node) -> Self {
        match node.value() {
            Value::Null => Self::Null,
            Value::One(Scalar { style: Style::Number, .. }) => Self::Number,
            Value::One(Scalar { style: Style::Truth, .. }) => Self::Truth,
            Value::One(Scalar { text, .. }) => Self::Text(text.to_string()),
            Value::List(list) => Self::List(list.iter().map(Self::from).collect()),
            Value::Map(map) => Self::map(
                map.iter().map(|(key, node)| (key.text.to_string(), node.into())).collect(),
            ),
        }
    }
}

/// The same text as another reader has it.
impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Said;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Said, E> {
                Ok(Said::Null)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Said, E> {
                Ok(Said::Text(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Said, E> {
                Ok(Said::Truth)
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Said, E> {
                Ok(Said::Number)
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Said, E> {
                Ok(Said::Number)
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Said, E> {
                Ok(Said::Number)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Said, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element()? {
                    all.push(one);
                }
                Ok(Said::List(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Said::map(all))
            }
        }

        from.deserialize_any(Any)
    }
}

fn said(text: &str) -> Option<Said> {
    read(text).ok().map(|node| Said::from(&node))
}

fn refused(text: &str) -> (Place, String) {
    let Refusal { place, path, why } = read(text).expect_err(text);
    let problem = match why {
        Why::Problem(problem) | Why::Syntax(problem) => problem.what,
        Why::NoSuchKey(..) => unreachable!("no key is looked for here"),
    };
    (place, format!("{}: {problem}", path.below("")))
}

/// Whether both readers say the same of `text`.
fn agree(text: &str) {
    let other = serde_saphyr::from_str::<Said>(text);
    assert_eq!(said(text), other.as_ref().ok().cloned(), "{text:?}: {other:?} {:?}", read(text));
}

#[test]
fn single_values_are_what_yaml_takes_them_for() {
    let values = "~ null Null NULL nULL true True yes NO y N on Off offf 0 -0 +0 00 007 1 -1 +1 12_3 _1 1_ \
        1__0 0_1 00_1 ++1 0x+1 0x1f 0X1F 0xg 0x 0o17 0o8 0b101 0b2 0x_1 -0x1 18446744073709551616 \
        0x1ffffffffffffffff 1.5 1. .5 . -.5 1e5 1E-5 1e999 e5 .inf -.INF .Nan .nan inf nan infinity 1s \
        10.0.0.1 ::1 a:b a#b 1,2 '' \"\" 'null' \"1\" '1' ! !!str !!null !!str~ !other 2026-01-01 1_000.5 \
        0x1p3 +.inf + - -- +-1 << =";
    for value in values.split(' ') {
        // What is infinite was text to that reader, of its own making.
        if [".inf", "-.INF", "+.inf", ".nan", "1e999"].contains(&value) {
            assert_eq!(said(value), Some(Said::Number), "{value}");
            continue;
        }
        for text in [value.to_owned(), format!("[{value}]"), format!("a: {value}\n")] {
            agree(&text);
        }
    }
    for text in [
        "!!str 1",
        "!!str null",
        "! 1",
        "! ~",
        "!x 1",
        "!x ~",
        "!null 1",
        "!!null x",
        "!!map {}",
        "!!seq []",
        "!!map []",
        "!!seq {}",
        "!!str []",
        "!x []",
        "! []",
        "!!int []",
        "!!map x",
        "a: &b 1\nc: *b",
        "a: |\n  1\n",
        "a: >-\n  x\n  y\n",
        "a: 'b\n  c'",
        "\"\\x41\\u00e9\"",
    ] {
        agree(text);
    }
}

#[test]
fn documents_mappings_and_merge_keys_are_read_as_before() {
    for text in [
        "",
        " ",
        "\n\n",
        "# x",
        "---",
        "---\n",
        "--- # x\n",
        "...\n",
        "---\n...\n",
        "a: 1\n...\n",
        "a: 1\n---\n",
        "a: 1\n...\n---\nb: 1\n",
        "%YAML 1.2\n---\na: 1\n",
        "a: 1\n... x\n",
        "{}",
        "{a}",
        "{a, b: }",
        "{a: 1, a: 2}",
        "a: 1\na: 2\n",
        "'a': 1\na: 2\n",
        "? a\n: 1\n",
        "? [a]\n: 1\n",
        "? {a: 1}\n: 1\n",
        "? \n: 1\n",
        "~: 1\n",
        ": 1\n",
        "null: 1\n",
        "'null': 1\n",
        "1: a\ntrue: b\n",
        "[a: 1, b]",
        "[, a]",
        "[a, ]",
        "- a\n-\n- b\n",
        "a:\n- b\n- c\n",
        "a: b: c\n",
        "a: *b\n",
        "&a a: *a\n",
        "a: &b [c]\nd: *b\n",
        "&k a: 1\nb: *k\n",
        "a: &k b\n*k : 1\n",
        "a: &k [b]\n*k : 1\n",
        "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\n",
        "a: &x {b: 1}\nd: {b: 0, <<: *x}\n",
        "a: &x {b: 1}\ne: &y {b: 2, c: 3}\nd: {<<: [*x, *y], z: 1}\n",
        "a: &x {b: 1}\nd: {<<: *x, <<: {b: 2, c: 3}}\n",
        "d: {<<: {a: 1}}\n",
        "d: {<<: }\n",
        "d: {<<: 1}\n",
        "d: {<<: [1]}\n",
        "d: {<<: [[{a: 1}], ~]}\n",
        "d: {'<<': 1}\n",
        "d: {!!merge <<: {a: 1}}\n",
        "a: &x {<<: {b: 1}, c: 2}\nd: {<<: *x}\n",
        "&a [*a]",
        "a: &a {b: *a}\n",
        "a: &a 1\nb: &a 2\nc: *a\n",
        "a:\tb\n",
        "\ta: b\n",
        "a: [\n",
        "a: {b: \n",
        "a: \"b\n",
        "@a",
        "`a",
        "a: %b",
        "a: b # c\n",
        "- - - a\n",
    ] {
        agree(text);
    }
}

#[test]
fn every_yaml_file_of_the_project_is_read_alike() {
    fn look(dir: &Path, seen: &mut usize) {
        for entry in fs::read_dir(dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                look(&path, seen);
            } else if path.extension().is_some_and(|it| it == "yaml" || it == "yml") {
                let text = fs::read_to_string(&path).expect("text");
                for document in text.split("\n---\n") {
                    agree(document);
                }
                *seen += 1;
            }
        }
    }

    let mut seen = 0;
    look(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")), &mut seen);
    assert!(seen > 3, "{seen} files");
}

#[test]
fn places_and_paths_are_those_of_the_text() {
    let node = read("a:\n  - é: [x, 'yz']\n").expect("YAML");
    let (key, list) = &node.entries().expect("a mapping")[0];
    assert_eq!((key.place, &*key.text), (Place { file: 0, line: 1, column: 1, width: 1 }, "a"));
    let Value::List(list) = list.value() else { panic!("{list:?}") };
    let (_, inner) = &list[0].entries().expect("a mapping")[0];
    let Value::List(inner) = inner.value() else { panic!("{inner:?}") };
    assert_eq!(inner[1].place, Place { file: 0, line: 2, column: 12, width: 4 });
    let at = |line, column, width| Place { file: 0, line, column, width };
    for (text, place, said) in [
        ("a:\n  - b: 1\n    b: 2\n", at(3, 5, 1), "a[0].b: is set twice, first on line 2"),
        ("a: {b: &x [*x]}\n", at(1, 12, 2), "a.b[0]: this value contains itself"),
        (
            "a: [1, {? [b] : c}]\n",
            at(1, 11, 1),
            "a[1]: expected a single value, not a list or keys",
        ),
        (
            "a: {<<: b}\n",
            at(1, 9, 1),
            "a.<<: expected keys and values after `<<`, or a list of aliases for them",
        ),
    ] {
        assert_eq!(refused(text), (place, said.to_owned()), "{text}");
    }
}

#[test]
fn aliases_cannot_make_much_of_little() {
    // Each list has ten times what the one before it has.
    let mut bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
    for n in 1..20 {
        let last = n - 1;
        bomb += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{last}"); 10].join(", "));
    }
    let (place, said) = refused(&bomb);
    assert!(place.line == 6 && said.contains("more than 250000 values"), "{place:?} {said}");
    // Little of it is there when it is refused: what is named is not copied.
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 20].join(", "));
    assert!(refused(&long).1.contains("8 MiB"), "{:?}", refused(&long));
    let merges = format!("a: &a {{b: 1, c: 2}}\nd: {{{}}}\n", vec!["<<: *a"; 100_000].join(", "));
    assert!(refused(&merges).1.contains("more than 250000 values"));
    let fair = format!("a: &a {{b: 1, c: 2}}\nd: [{}]\n", vec!["*a"; 1000].join(", "));
    assert!(read(&fair).is_ok());
}

#[test]
fn values_are_so_deep_in_one_another_and_no_deeper() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(DEPTH_MAX)).is_ok());
    assert!(refused(&nested(DEPTH_MAX + 1)).1.contains("more than 64 deep"));
    assert!(read(&nested(100_000)).is_err());
    let block: String = (0..=DEPTH_MAX).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    assert!(refused(&block).1.contains("more than 64 deep"));
    // Each alias goes one deeper.
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for n in 1..DEPTH_MAX {
        chain += &format!("a{n}: &a{n} [*a{}]\n", n - 1);
    }
    let (place, said) = refused(&chain);
    assert!(place.line == DEPTH_MAX && said.contains("more than 64 deep"), "{place:?} {said}");
}

#[test]
fn long_texts_are_read_or_refused() {
    let million = 1 << 20;
    for text in [
        "x".repeat(million),
        format!("\"{}\"", "\\n".repeat(million / 2)),
        format!("a: '{}'", "\n".repeat(million)),
        "- ".repeat(million / 2),
        "[a, ".repeat(million / 4),
        "a,".repeat(million / 2),
        format!("[{}]", "a,".repeat(million / 2)),
        "? ".repeat(million / 2),
        "*a ".repeat(million / 3),
        "&a ".repeat(million / 3),
        "%a\n".repeat(million / 3),
        "---\n".repeat(million / 4),
        "{".repeat(million),
        format!("!<{}> a", "x".repeat(million)),
        (0..80_000).map(|n| format!("k{n}: {n}\n")).collect(),
        "#\n".repeat(million / 2),
    ] {
        let _ = read(&text);
    }
}

/// Text that looks more or less like YAML.
const YAML_LIKE: &str = "([a-d]{0,2}[:,&*!#'\"\\[\\]{}?|>~-]?[ \n]{0,2}|[a-d]: |- \
    |\\{|\\}|\\[|\\]|, |&a |\\*a|<<: |!!str |'b'|~|1|yes|\n  |\n|---\n){0,24}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn both_readers_agree(text in YAML_LIKE) {
        agree(&text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        let _ = read(&text);
    }
}
