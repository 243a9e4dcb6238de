//! The kinds of values, and the sections that keys of these kinds make up.
//!
//! A kind knows how its values are read, shown, and described to an editor, so that a key is declared once, with
//! [`section!`], and cannot be missing from the reader, from the environment's names, from a comparison of two
//! configurations, or from the schema.

use std::marker::PhantomData;

pub use serde_json::Value as Json;

pub use super::tree::{Node, Refusal};
use super::{
    tree::{Scalar, Style, Value},
    value::{self, Problem},
};

/// Declares a section: the section with its defaults, and its partial form, in which every key may be missing. Behind
/// the default stands the kind of the key.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        $section:ident / $partial:ident {
            $( $(#[doc = $key_doc:literal])* $key:ident: $type:ty = $default:expr, $kind:ty; )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $section { $( $(#[doc = $key_doc])* pub $key: $type, )* }

        #[doc = concat!("The keys of [`", stringify!($section), "`] that are set.")]
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $partial {
            $( $(#[doc = $key_doc])* pub $key: Option<<$kind as $crate::kind::Kind>::Given>, )*
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $( $key: $default, )* }
            }
        }

        impl $partial {
            /// These keys, and `base` for the others.
            pub fn over(self, base: &$section) -> $section {
                $section {
                    $( $key: match self.$key {
                        Some(given) => <$kind as $crate::kind::Kind>::over(given, &base.$key),
                        None => base.$key.clone(),
                    }, )*
                }
            }
        }

        const _: () = {
            use $crate::kind::{self, Json, Kind, Node, OnKey, Refusal, Section, Secrets};

            impl Section for $section {
                type Partial = $partial;

                fn over(partial: $partial, base: &Self) -> Self {
                    partial.over(base)
                }

                fn read(from: &Node) -> Result<$partial, Refusal> {
                    let mut partial = $partial::default();
                    for (key, value) in from.entries()? {
                        let read = match &*key.text {
                            $( stringify!($key) => {
                                <$kind as Kind>::read(value).map(|given| partial.$key = Some(given))
                            } )*
                            _ => return Err(key.is_none_of(&[$( stringify!($key) ),*])),
                        };
                        read.map_err(|refusal| refusal.behind(key))?;
                    }
                    Ok(partial)
                }

                fn read_key(key: &str, below: &[&str], from: &Node) -> Result<$partial, Refusal> {
                    let mut partial = $partial::default();
                    match key {
                        $( stringify!($key) => {
                            partial.$key = Some(<$kind as Kind>::read_below(below, from)?);
                        } )*
                        _ => return Err(kind::no_such_key(from)),
                    }
                    Ok(partial)
                }

                fn show(&self, secrets: Secrets) -> Json {
                    let keys = [$( (stringify!($key), <$kind as Kind>::show(&self.$key, secrets)), )*];
                    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
                }

                fn show_partial(partial: &$partial, secrets: Secrets) -> Json {
                    let show = [$( (
                        stringify!($key),
                        partial.$key.as_ref().map(|given| <$kind as Kind>::show_given(given, secrets)),
                    ), )*];
                    show.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
                }

                fn schema(default: Option<&Self>) -> Json {
                    kind::section_schema([$( (
                        stringify!($key),
                        kind::described(
                            <$kind as Kind>::schema(default.map(|section| &section.$key)),
                            &[$($key_doc),*],
                        ),
                    ), )*])
                }

                fn each_key(path: &str, on_key: OnKey<'_>) {
                    $( <$kind as Kind>::each_key(kind::below(path, stringify!($key)), on_key); )*
                }
            }
        };
    };
}
pub(super) use section;

/// What a key holds.
pub trait Kind {
    /// What the configuration has.
    type Value: Clone;
    /// What one source of settings says: of a section, the keys that it sets.
    type Given;

    /// Reads what stands behind the key.
    fn read(from: &Node) -> Result<Self::Given, Refusal>;

    /// Reads what stands behind the key `path` below this one; with an empty path, behind this one.
    fn read_below(path: &[&str], from: &Node) -> Result<Self::Given, Refusal>;

    /// What holds when `given` is set and `base` held before.
    fn over(given: Self::Given, base: &Self::Value) -> Self::Value;

    /// The value as the configuration writes it.
    fn show(value: &Self::Value, secrets: Secrets) -> Json;

    /// The same of what one source sets.
    fn show_given(given: &Self::Given, secrets: Secrets) -> Json;

    /// The JSON Schema of what may stand behind the key.
    fn schema(default: Option<&Self::Value>) -> Json;

    /// Names this key, which is at `path`, and those below it.
    fn each_key(path: String, on_key: OnKey<'_>);
}

/// Who is told the path and the form of each key.
pub type OnKey<'f> = &'f mut dyn FnMut(String, Form);

/// Whether secrets are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// As `***`.
    Masked,
    /// As they are, to compare them. Never for people.
    Plain,
}

/// How a value is written where nothing but the value is: in a variable of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is: no character means anything to YAML.
    Scalar,
    /// A list in brackets, or one of its elements as it is.
    List,
    /// Keys and values in braces.
    Map,
}

/// A kind of values that are set as a whole.
pub trait Leaf {
    /// What the configuration has.
    type Value: Clone;
    /// How it is written alone.
    const FORM: Form;

    /// Reads what stands behind the key.
    fn read(from: &Node) -> Result<Self::Value, Refusal>;

    /// The value as the configuration writes it.
    fn show(value: &Self::Value, secrets: Secrets) -> Json;

    /// The JSON Schema of what may stand behind the key, without the default.
    fn schema() -> Json;
}

impl<L: Leaf> Kind for L {
    type Value = L::Value;
    type Given = L::Value;

    fn read(from: &Node) -> Result<Self::Given, Refusal> {
        L::read(from)
    }

    fn read_below(path: &[&str], from: &Node) -> Result<Self::Given, Refusal> {
        if path.is_empty() { L::read(from) } else { Err(no_such_key(from)) }
    }

    fn over(given: Self::Given, _: &Self::Value) -> Self::Value {
        given
    }

    fn show(value: &Self::Value, secrets: Secrets) -> Json {
        L::show(value, secrets)
    }

    fn show_given(given: &Self::Given, secrets: Secrets) -> Json {
        L::show(given, secrets)
    }

    fn schema(default: Option<&Self::Value>) -> Json {
        let mut schema = L::schema();
        let default = default.map_or(Json::Null, |default| L::show(default, Secrets::Masked));
        if !default.is_null() {
            schema["default"] = default;
        }
        schema
    }

    fn each_key(path: String, on_key: OnKey<'_>) {
        on_key(path, L::FORM);
    }
}

/// A kind of single values: what YAML takes for a scalar.
pub trait Text {
    /// What the configuration has.
    type Value: Clone;

    /// Reads the text of the value.
    fn parse(text: &str) -> Result<Self::Value, Problem>;

    /// The value as the configuration writes it.
    fn show(value: &Self::Value, secrets: Secrets) -> Json;

    /// The JSON Schema of the value.
    fn schema() -> Json;
}

impl<T: Text> Leaf for T {
    type Value = T::Value;
    const FORM: Form = Form::Scalar;

    fn read(from: &Node) -> Result<Self::Value, Refusal> {
        from.read(T::parse)
    }

    fn show(value: &Self::Value, secrets: Secrets) -> Json {
        T::show(value, secrets)
    }

    fn schema() -> Json {
        T::schema()
    }
}

/// What [`section!`] declares.
pub trait Section: Clone + Default {
    /// The keys that are set.
    type Partial: Default + Clone;

    /// The keys of `partial`, and `base` for the others.
    fn over(partial: Self::Partial, base: &Self) -> Self;

    /// Reads the keys that are set.
    fn read(from: &Node) -> Result<Self::Partial, Refusal>;

    /// Reads what stands behind the key `below` of `key`, or behind `key` itself.
    fn read_key(key: &str, below: &[&str], from: &Node) -> Result<Self::Partial, Refusal>;

    /// All keys and values as the configuration writes them.
    fn show(&self, secrets: Secrets) -> Json;

    /// The keys that are set.
    fn show_partial(partial: &Self::Partial, secrets: Secrets) -> Json;

    /// The JSON Schema; with `default`, each key's default is in it.
    fn schema(default: Option<&Self>) -> Json;

    /// Names the keys; `path` is that of the section.
    fn each_key(path: &str, on_key: OnKey<'_>);
}

/// A section within another. One whose keys are all commented out is null, and sets nothing.
pub struct Part<S>(PhantomData<S>);

impl<S: Section> Kind for Part<S> {
    type Value = S;
    type Given = S::Partial;

    fn read(from: &Node) -> Result<Self::Given, Refusal> {
        if from.is_null() { Ok(S::Partial::default()) } else { S::read(from) }
    }

    fn read_below(path: &[&str], from: &Node) -> Result<Self::Given, Refusal> {
        match path {
            [] => Self::read(from),
            [key, below @ ..] => S::read_key(key, below, from),
        }
    }

    fn over(given: Self::Given, base: &S) -> S {
        S::over(given, base)
    }

    fn show(value: &S, secrets: Secrets) -> Json {
        value.show(secrets)
    }

    fn show_given(given: &Self::Given, secrets: Secrets) -> Json {
        S::show_partial(given, secrets)
    }

    fn schema(default: Option<&S>) -> Json {
        S::schema(default)
    }

    fn each_key(path: String, on_key: OnKey<'_>) {
        on_key(path.clone(), Form::Map);
        S::each_key(&path, on_key);
    }
}

/// A section that is there or is not.
pub struct Optional<S>(PhantomData<S>);

impl<S: Section> Kind for Optional<S> {
    type Value = Option<S>;
    /// `None` where null is written.
    type Given = Option<S::Partial>;

    fn read(from: &Node) -> Result<Self::Given, Refusal> {
        if from.is_none() { Ok(None) } else { S::read(from).map(Some) }
    }

    fn read_below(path: &[&str], from: &Node) -> Result<Self::Given, Refusal> {
        match path {
            [] => Self::read(from),
            _ => Part::<S>::read_below(path, from).map(Some),
        }
    }

    fn over(given: Self::Given, base: &Self::Value) -> Self::Value {
        let none = S::default();
        given.map(|given| S::over(given, base.as_ref().unwrap_or(&none)))
    }

    fn show(value: &Self::Value, secrets: Secrets) -> Json {
        value.as_ref().map_or(Json::Null, |section| section.show(secrets))
    }

    fn show_given(given: &Self::Given, secrets: Secrets) -> Json {
        given.as_ref().map_or(Json::Null, |given| S::show_partial(given, secrets))
    }

    fn schema(_: Option<&Self::Value>) -> Json {
        S::schema(None)
    }

    fn each_key(path: String, on_key: OnKey<'_>) {
        Part::<S>::each_key(path, on_key);
    }
}

/// The keys of a section that are set, kept apart from the section itself.
pub struct Own<S>(PhantomData<S>);

impl<S: Section> Leaf for Own<S> {
    type Value = S::Partial;
    const FORM: Form = Form::Map;

    fn read(from: &Node) -> Result<Self::Value, Refusal> {
        if from.is_null() { Ok(S::Partial::default()) } else { S::read(from) }
    }

    fn show(value: &Self::Value, secrets: Secrets) -> Json {
        S::show_partial(value, secrets)
    }

    fn schema() -> Json {
        S::schema(None)
    }
}

/// A value that is there, or null.
pub struct Maybe<L>(PhantomData<L>);

impl<L: Leaf> Leaf for Maybe<L> {
    type Value = Option<L::Value>;
    const FORM: Form = L::FORM;

    fn read(from: &Node) -> Result<Self::Value, Refusal> {
        if from.is_none() { Ok(None) } else { L::read(from).map(Some) }
    }

    fn show(value: &Self::Value, secrets: Secrets) -> Json {
        value.as_ref().map_or(Json::Null, |value| L::show(value, secrets))
    }

    fn schema() -> Json {
        let mut schema = L::schema();
        let mut types = match schema["type"].take() {
            Json::Array(types) => types,
            one => vec![one],
        };
        types.push("null".into());
        schema["type"] = types.into();
        schema
    }
}

/// A kind that lists are made of.
pub trait Element: Leaf {
    /// What a list of it, or one, is called.
    const EXPECTED: &'static str;
    /// What to write where nothing stands.
    const WRITE: &'static str;
    /// Whether one is recognised even if YAML takes it for a number: a port alone, as in `listen 1935;` of an SRS
    /// configuration. A secret is not: YAML's number does not say how it was written.
    const MAY_BE_NUMBER: bool;
}

/// One value or a list of them.
pub struct Many<E>(PhantomData<E>);

impl<E: Element> Leaf for Many<E> {
    type Value = Vec<E::Value>;
    const FORM: Form = Form::List;

    fn read(from: &Node) -> Result<Self::Value, Refusal> {
        match from.value() {
            Value::Null => Err(from.refused(value::no_value(E::WRITE))),
            Value::List(all) => Node::each(all, E::read),
            Value::Map(_) => Err(from.refused(is_expected(E::EXPECTED))),
            Value::One(_) if E::FORM == Form::Map => Err(from.refused(is_expected(E::EXPECTED))),
            Value::One(Scalar { style, .. }) => {
                let is_text = match style {
                    Style::Text | Style::Alone => true,
                    Style::Number => E::MAY_BE_NUMBER,
                    Style::Truth => false,
                };
                if !is_text {
                    let problem = Problem::new("is not a string in YAML", "write it in quotes");
                    return Err(from.refused(problem));
                }
                E::read(from).map(|one| vec![one])
            }
        }
    }

    fn show(value: &Self::Value, secrets: Secrets) -> Json {
        value.iter().map(|value| E::show(value, secrets)).collect()
    }

    fn schema() -> Json {
        let element = E::schema();
        let list = serde_json::json!({ "type": "array", "items": element });
        if E::FORM == Form::Map { list } else { serde_json::json!({ "anyOf": [element, list] }) }
    }
}

/// What to say where `what` is expected.
pub fn is_expected(what: &str) -> Problem {
    Problem::new(format!("expected {what}"), "")
}

pub fn no_such_key(from: &Node) -> Refusal {
    from.refused(Problem::new("no such key", ""))
}

/// The path of a key in the section at `path`.
pub fn below(path: &str, key: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("{path}{dot}{key}")
}

/// The schema of a section with these keys.
pub fn section_schema<const N: usize>(keys: [(&str, Json); N]) -> Json {
    let keys: serde_json::Map<_, _> =
        keys.into_iter().map(|(key, schema)| (key.to_owned(), schema)).collect();
    serde_json::json!({ "type": ["object", "null"], "properties": keys, "additionalProperties": false })
}

/// `schema` with the key's documentation.
pub fn described(mut schema: Json, doc: &[&str]) -> Json {
    let lines: Vec<_> = doc.iter().map(|line| line.trim()).collect();
    let mut text = lines.join(" ").replace(['[', ']'], "");
    if let Some(range) = schema["description"].as_str() {
        text = format!("{text} {range}");
    }
    schema["description"] = text.into();
    schema
}
