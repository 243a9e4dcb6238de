//! Objects of Kubernetes as a file has them.

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// All objects of a stream of YAML documents, as JSON.
///
/// # Panics
/// If it is no YAML, or has aliases.
pub fn parse(text: &str) -> Vec<Value> {
    let events = Parser::new_from_str(text)
        .map(|event| event.unwrap_or_else(|error| panic!("no YAML: {error}")).0);
    let mut events = events.filter(|event| {
        !matches!(
            event,
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd
        )
    });
    std::iter::from_fn(|| events.next().map(|first| value(first, &mut events))).collect()
}

fn value<'t>(first: Event<'t>, rest: &mut impl Iterator<Item = Event<'t>>) -> Value {
    match first {
        Event::Scalar(text, ScalarStyle::Plain, ..) => plain(&text),
        Event::Scalar(text, ..) => Value::String(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut all = Vec::new();
            loop {
                match rest.next().expect("a sequence ends") {
                    Event::SequenceEnd => return Value::Array(all),
                    first => all.push(value(first, rest)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut all = Map::new();
            loop {
                let key = match rest.next().expect("a mapping ends") {
                    Event::MappingEnd => return Value::Object(all),
                    Event::Scalar(key, ..) => key.into_owned(),
                    other => panic!("no key: {other:?}"),
                };
                let first = rest.next().expect("a key has a value");
                all.insert(key, value(first, rest));
            }
        }
        other => panic!("no value: {other:?}"),
    }
}

/// What a word without quotes means.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        _ => text.parse::<i64>().map_or_else(|_| text.into(), Into::into),
    }
}

/// The object of this kind and name.
///
/// # Panics
/// If there is none.
#[track_caller]
pub fn find<'o>(objects: &'o [Value], kind: &str, name: &str) -> &'o Value {
    let found =
        objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind}/{name}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_read() {
        let text = "kind: A\nmetadata: { name: a }\nn: 7\nempty: {}\n---\n\
                    kind: B\nlist: [\"7\", true]\ntext: >\n  if a\n    b\n  c\n";
        let objects = parse(text);
        assert_eq!(
            objects[0],
            json!({"kind": "A", "metadata": {"name": "a"}, "n": 7, "empty": {}})
        );
        assert_eq!(objects[1], json!({"kind": "B", "list": ["7", true], "text": "if a\n  b\nc\n"}));
        assert_eq!(find(&objects, "A", "a")["n"], 7);
    }
}
