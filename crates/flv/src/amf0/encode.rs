//! Values to bytes.

use bytes::BufMut;

use super::{Object, Value, decode::OBJECT_END, marker};

/// Appends `value` to `out`, which must grow by itself (`Vec<u8>`, `BytesMut`).
///
/// A property or class name longer than 65,535 bytes, which AMF0 cannot express, is cut at a character boundary.
pub fn encode(value: &Value, out: &mut impl BufMut) {
    match value {
        Value::Number(number) => {
            out.put_u8(marker::NUMBER);
            out.put_f64(*number);
        }
        Value::Boolean(value) => out.put_slice(&[marker::BOOLEAN, u8::from(*value)]),
        Value::String(text) => encode_string(text, out),
        Value::Object(object) => {
            out.put_u8(marker::OBJECT);
            encode_properties(object, out);
        }
        Value::EcmaArray(object) => {
            out.put_u8(marker::ECMA_ARRAY);
            out.put_u32(wire_len(object.len()));
            encode_properties(object, out);
        }
        Value::StrictArray(values) => {
            out.put_u8(marker::STRICT_ARRAY);
            out.put_u32(wire_len(values.len()));
            values.iter().for_each(|value| encode(value, out));
        }
        Value::Null => out.put_u8(marker::NULL),
        Value::Undefined => out.put_u8(marker::UNDEFINED),
        Value::Unsupported => out.put_u8(marker::UNSUPPORTED),
        Value::Reference(index) => {
            out.put_u8(marker::REFERENCE);
            out.put_u16(*index);
        }
        Value::Date { millis, zone } => {
            out.put_u8(marker::DATE);
            out.put_f64(*millis);
            out.put_i16(*zone);
        }
        Value::Xml(text) => encode_long(marker::XML, text, out),
        Value::Typed { class, object } => {
            out.put_u8(marker::TYPED_OBJECT);
            encode_name(class, out);
            encode_properties(object, out);
        }
    }
}

fn encode_string(text: &str, out: &mut impl BufMut) {
    if text.len() > usize::from(u16::MAX) {
        return encode_long(marker::LONG_STRING, text, out);
    }
    out.put_u8(marker::STRING);
    encode_name(text, out);
}

fn encode_long(marker: u8, text: &str, out: &mut impl BufMut) {
    out.put_u8(marker);
    out.put_u32(wire_len(text.len()));
    out.put_slice(text.as_bytes());
}

fn encode_properties(object: &Object, out: &mut impl BufMut) {
    for (name, value) in object.iter() {
        encode_property(name, value, out);
    }
    out.put_slice(&OBJECT_END);
}

pub(crate) fn encode_property(name: &str, value: &Value, out: &mut impl BufMut) {
    encode_name(name, out);
    encode(value, out);
}

fn encode_name(name: &str, out: &mut impl BufMut) {
    let name = &name[..name.floor_char_boundary(usize::from(u16::MAX))];
    out.put_u16(u16::try_from(name.len()).unwrap_or(u16::MAX));
    out.put_slice(name.as_bytes());
}

/// A length or count as the wire's 32 bits; values of 4 GiB do not occur in a protocol whose messages end at 16 MiB.
fn wire_len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
