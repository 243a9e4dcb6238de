//! The values of AMF0.

/// One AMF0 value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A double; the only kind of number there is.
    Number(f64),
    /// A truth value.
    Boolean(bool),
    /// A string; on the wire a String up to 65,535 bytes, beyond that a Long String.
    String(String),
    /// An anonymous object.
    Object(Object),
    /// An associative array. Peers use it like an object; FFmpeg and OBS write `onMetaData` with it.
    EcmaArray(Object),
    /// An array with indices from 0.
    StrictArray(Vec<Self>),
    /// No object.
    Null,
    /// No value.
    Undefined,
    /// Something the sender could not express.
    Unsupported,
    /// An earlier object of the same message, by its index; not resolved.
    Reference(u16),
    /// A moment.
    Date {
        /// Milliseconds since the Unix epoch, UTC.
        millis: f64,
        /// Time zone in minutes; reserved, senders write 0.
        zone: i16,
    },
    /// An XML document as text.
    Xml(String),
    /// An object of a named class.
    Typed {
        /// The class's name.
        class: String,
        /// Its properties.
        object: Object,
    },
}

impl Value {
    /// The text of a [`Value::String`].
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a [`Value::Number`].
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value of a [`Value::Boolean`].
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The properties of an object, an ECMA array or a typed object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) | Self::EcmaArray(object) | Self::Typed { object, .. } => {
                Some(object)
            }
            _ => None,
        }
    }

    /// Whether this is [`Value::Null`] or [`Value::Undefined`]: peers use both for "no command object".
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::Undefined)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl From<Vec<Self>> for Value {
    fn from(values: Vec<Self>) -> Self {
        Self::StrictArray(values)
    }
}

/// Named properties in the order of the wire.
///
/// A peer may send a name twice; all are kept, and the last one counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(String, Value)>);

impl Object {
    /// An object without properties.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of the property `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Sets a property: in its place if there is one of this name, else at the end.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().rev().find(|(key, _)| *key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Appends a property without looking for one of the same name.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.push((name.into(), value.into()));
    }

    /// The properties in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &Value)> + ExactSizeIterator {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The number of properties.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no properties.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Object {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(properties: I) -> Self {
        Self(properties.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl<K: Into<String>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Object {
    fn from(properties: [(K, V); N]) -> Self {
        properties.into_iter().collect()
    }
}
