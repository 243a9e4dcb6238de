//! Reading answers of other nodes, which may be anything: their text stays as it is, and little is made of it.
//!
//! A tree of what is in a text can be many times as large: `[0,0,0]` has a value for each two bytes.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::{Error as _, SerializeSeq as _},
};
use serde_json::value::RawValue;

/// Members of an object that are looked at; ours have some twenty.
const FIELDS_MAX: usize = 64;

/// Items of a list that are looked at. Lists that are long are asked for in parts.
const ITEMS_MAX: usize = 65_536;

/// How deep what is passed on may be nested. Ours is some five deep, and readers of JSON give up at about a hundred.
const DEPTH_MAX: usize = 32;

/// Whether somebody who reads `text`, which is JSON, may find it nested too deep.
pub fn is_too_deep(text: &str) -> bool {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            _ if is_text => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// The members of an object, as they stand in its text.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub struct Fields<'a>(pub BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Fields<'a> {
    /// The member with this name.
    pub fn get(&self, name: &str) -> Option<&&'a RawValue> {
        self.0.get(name)
    }
}

/// A name that is borrowed where its text has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    fields.insert(name, value);
                    if fields.len() > FIELDS_MAX {
                        return Err(A::Error::custom("it has too many members"));
                    }
                }
                Ok(Fields(fields))
            }
        }

        from.deserialize_map(Object)
    }
}

/// The members of the object that `bytes` are.
///
/// # Errors
/// When they are none.
pub fn fields(bytes: &[u8]) -> serde_json::Result<Fields<'_>> {
    serde_json::from_slice(bytes)
}

/// A member that is a whole number.
pub fn number(field: Option<&&RawValue>) -> Option<u64> {
    field.and_then(|field| field.get().parse().ok())
}

/// The items of a list; no more of them than are looked at.
struct List<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for List<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Array;

        impl<'de> Visitor<'de> for Array {
            type Value = List<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while items.len() < ITEMS_MAX
                    && let Some(item) = seq.next_element()?
                {
                    items.push(item);
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(List(items))
            }
        }

        from.deserialize_seq(Array)
    }
}

/// A part of what the lists of several answers have together, each item with the name of its node.
pub struct Items<'a> {
    /// Names and answers.
    pub parts: Vec<(String, &'a [u8])>,
    /// What the list is called in each of them.
    pub list: &'a str,
    /// The first item that is wanted.
    pub start: usize,
    /// How many are wanted.
    pub count: usize,
}

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = serializer.serialize_seq(None)?;
        let (mut before, mut left) = (self.start, self.count);
        for (node, bytes) in &self.parts {
            let node = serde_json::value::to_raw_value(node).map_err(S::Error::custom)?;
            // What is no list has no items, whoever sent it.
            let all = fields(bytes).unwrap_or_default();
            let list = all.get(self.list).and_then(|list| serde_json::from_str(list.get()).ok());
            let List(items) = list.unwrap_or(List(Vec::new()));
            let items: Vec<_> = items.into_iter().filter(|item| !is_too_deep(item.get())).collect();
            let skipped = before.min(items.len());
            before -= skipped;
            for item in items.into_iter().skip(skipped).take(left) {
                left -= 1;
                match fields(item.get().as_bytes()) {
                    Ok(mut fields) => {
                        fields.0.insert("node".into(), &node);
                        written.serialize_element(&fields)?;
                    }
                    Err(_) => written.serialize_element(item)?,
                }
            }
        }
        written.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(parts: &[&str], start: usize, count: usize) -> String {
        let parts = parts.iter().enumerate();
        let parts = parts.map(|(number, text)| (number.to_string(), text.as_bytes())).collect();
        serde_json::to_string(&Items { parts, list: "l", start, count }).expect("written")
    }

    #[test]
    fn items_keep_their_text_and_get_the_name_of_their_node() {
        let parts = [r#"{"l":[{"b":1.50,"a":[{}]},{}]}"#, r#"{"l":[{"node":"x"},3]}"#];
        let all = r#"[{"a":[{}],"b":1.50,"node":"0"},{"node":"0"},{"node":"1"},3]"#;
        assert_eq!(merged(&parts, 0, usize::MAX), all);
        assert_eq!(merged(&parts, 1, 2), r#"[{"node":"0"},{"node":"1"}]"#);
        assert_eq!(merged(&parts, 9, 2), "[]");
        assert_eq!(merged(&[r#"{"l":7}"#, "[]", "", r#"{"l":[7]}"#], 0, 9), "[7]");
    }

    #[test]
    fn what_is_made_of_a_text_is_bounded() {
        let many = format!("{{\"l\":[{}0]}}", "0,".repeat(2 * ITEMS_MAX));
        assert_eq!(merged(&[&many], 0, usize::MAX).len(), 2 * ITEMS_MAX + 1);
        let object: String = (0..=FIELDS_MAX).map(|number| format!(",\"{number}\":0")).collect();
        let object = format!("{{{}}}", &object[1..]);
        assert!(fields(object.as_bytes()).is_err());
        assert_eq!(merged(&[&format!("{{\"l\":[{object}]}}")], 0, 9), format!("[{object}]"));
    }

    #[test]
    fn what_is_nested_deep_is_left_out() {
        let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        let answer = format!("{{\"l\":[{{\"a\":{deep}}}]}}");
        assert_eq!(merged(&[&answer, r#"{"l":[7]}"#], 0, 9), "[7]");
        assert!(!is_too_deep(r#"{"a":"\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[","b":[[]]}"#));
        assert!(!is_too_deep(&"[]".repeat(100)));
    }
}
