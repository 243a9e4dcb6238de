//! Bytes to values.

use std::{borrow::Cow, fmt::Write as _};

use super::{Object, Value, marker};
pub use crate::limits::DEPTH_MAX;
pub use crate::limits::VALUES_MAX;
use crate::{Error, cursor::Cursor};

/// The end of an object: an empty name and the object-end marker.
pub(super) const OBJECT_END: [u8; 3] = [0, 0, marker::OBJECT_END];

/// Decodes one value and moves `input` behind it.
///
/// # Errors
/// If the input ends inside the value, nests too deep, holds too many values, has a string that is not UTF-8 or a type
/// of AMF3. `input` is not moved then.
pub fn decode(input: &mut &[u8]) -> Result<Value, Error> {
    let mut decoder = Decoder::new(input);
    let value = decoder.value()?;
    *input = decoder.rest();
    Ok(value)
}

/// Decodes all values of a command or data message; [`VALUES_MAX`] holds for them together.
///
/// # Errors
/// As [`decode`].
pub fn decode_all(input: &[u8]) -> Result<Vec<Value>, Error> {
    Decoder::new(input).all()
}

/// The same, where text may be in any encoding, as in commands: names of streams in GBK. Each byte that is not UTF-8 is
/// percent-encoded, as it would be in a URL.
///
/// # Errors
/// As [`decode`], but for strings.
pub fn decode_all_escaped(input: &[u8]) -> Result<Vec<Value>, Error> {
    Decoder { escapes: true, ..Decoder::new(input) }.all()
}

/// Text of which each byte that is not UTF-8 is percent-encoded.
#[must_use]
pub fn escaped(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.into();
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text.into()
}

/// Decodes the values of one message under one budget.
pub(crate) struct Decoder<'a> {
    cursor: Cursor<'a>,
    depth: usize,
    values: usize,
    /// Whether text need not be UTF-8.
    escapes: bool,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { cursor: Cursor::new(input), depth: 0, values: 0, escapes: false }
    }

    fn all(mut self) -> Result<Vec<Value>, Error> {
        let mut values = Vec::new();
        while !self.rest().is_empty() {
            values.push(self.value()?);
        }
        Ok(values)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.cursor.rest()
    }

    pub(crate) fn position(&self) -> usize {
        self.cursor.position()
    }

    pub(crate) fn marker(&mut self) -> Result<u8, Error> {
        self.cursor.u8("AMF0 type marker")
    }

    pub(crate) fn value(&mut self) -> Result<Value, Error> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(Error::AmfCount);
        }
        match self.marker()? {
            marker::NUMBER => self.number().map(Value::Number),
            marker::BOOLEAN => Ok(Value::Boolean(self.cursor.u8("AMF0 boolean")? != 0)),
            marker::STRING => self.string().map(|text| Value::String(text.into_owned())),
            marker::LONG_STRING => self.long_string().map(|text| Value::String(text.into_owned())),
            marker::XML => self.long_string().map(|text| Value::Xml(text.into_owned())),
            marker::OBJECT => self.object().map(Value::Object),
            marker::ECMA_ARRAY => self.ecma_array().map(Value::EcmaArray),
            marker::STRICT_ARRAY => self.strict_array().map(Value::StrictArray),
            marker::TYPED_OBJECT => self.typed_object(),
            marker::DATE => self.date(),
            marker::NULL => Ok(Value::Null),
            marker::UNDEFINED => Ok(Value::Undefined),
            marker::UNSUPPORTED => Ok(Value::Unsupported),
            marker::REFERENCE => Ok(Value::Reference(self.cursor.u16("AMF0 reference")?)),
            other => Err(Error::AmfMarker(other)),
        }
    }

    /// The count that precedes an ECMA array's properties. It is a hint: encoders that write live leave it 0.
    pub(crate) fn ecma_count(&mut self) -> Result<u32, Error> {
        self.cursor.u32("AMF0 ECMA array count")
    }

    /// The name of the next property, or `None` behind the end of the object. An empty name is an ordinary one unless
    /// the object-end marker follows.
    pub(crate) fn property_name(&mut self) -> Result<Option<Cow<'a, str>>, Error> {
        if self.rest().starts_with(&OBJECT_END) {
            self.cursor.take("AMF0 object end", OBJECT_END.len())?;
            return Ok(None);
        }
        self.string().map(Some)
    }

    fn number(&mut self) -> Result<f64, Error> {
        self.cursor.array("AMF0 number").map(f64::from_be_bytes)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Error> {
        let len = self.cursor.u16("AMF0 string length")?;
        self.text(usize::from(len))
    }

    fn long_string(&mut self) -> Result<Cow<'a, str>, Error> {
        let len = self.cursor.u32("AMF0 long string length")?;
        self.text(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn text(&mut self, len: usize) -> Result<Cow<'a, str>, Error> {
        let bytes = self.cursor.take("AMF0 string", len)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.into()),
            Err(_) if self.escapes => Ok(escaped(bytes)),
            Err(error) => Err(Error::AmfUtf8 { len, at: error.valid_up_to() }),
        }
    }

    fn date(&mut self) -> Result<Value, Error> {
        let millis = self.number()?;
        let zone = self.cursor.array("AMF0 date zone").map(i16::from_be_bytes)?;
        Ok(Value::Date { millis, zone })
    }

    fn typed_object(&mut self) -> Result<Value, Error> {
        let class = self.string()?.into_owned();
        Ok(Value::Typed { class, object: self.object()? })
    }

    fn ecma_array(&mut self) -> Result<Object, Error> {
        self.ecma_count()?;
        self.object()
    }

    fn object(&mut self) -> Result<Object, Error> {
        self.nested(|decoder| {
            let mut object = Object::new();
            while let Some(name) = decoder.property_name()? {
                object.push(name.into_owned(), decoder.value()?);
            }
            Ok(object)
        })
    }

    fn strict_array(&mut self) -> Result<Vec<Value>, Error> {
        let count = self.cursor.u32("AMF0 strict array count")?;
        self.nested(|decoder| (0..count).map(|_| decoder.value()).collect())
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth == DEPTH_MAX {
            return Err(Error::AmfDepth);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }
}
