//! AMF0: the encoding of RTMP commands and FLV script data (Action Message Format AMF0 specification, 2007).
//!
//! Decoding is safe on hostile input: nesting is limited to [`DEPTH_MAX`], a message to [`VALUES_MAX`] values, and
//! memory grows with the bytes that are there, never with the counts that they announce.

mod decode;
mod encode;
mod value;

pub(crate) use decode::Decoder;
pub use decode::{DEPTH_MAX, VALUES_MAX, decode, decode_all, decode_all_escaped, escaped};
pub use encode::encode;
pub(crate) use encode::encode_property;
pub use value::{Object, Value};

/// The type markers of section 2.1 that this crate reads and writes. Reserved are 0x04 (movie clip) and 0x0E (record
/// set); 0x11 switches to AMF3, which RTMP peers only announce and do not use inside AMF0 commands.
pub(crate) mod marker {
    pub(crate) const NUMBER: u8 = 0x00;
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const STRING: u8 = 0x02;
    pub(crate) const OBJECT: u8 = 0x03;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const UNDEFINED: u8 = 0x06;
    pub(crate) const REFERENCE: u8 = 0x07;
    pub(crate) const ECMA_ARRAY: u8 = 0x08;
    pub(crate) const OBJECT_END: u8 = 0x09;
    pub(crate) const STRICT_ARRAY: u8 = 0x0a;
    pub(crate) const DATE: u8 = 0x0b;
    pub(crate) const LONG_STRING: u8 = 0x0c;
    pub(crate) const UNSUPPORTED: u8 = 0x0d;
    pub(crate) const XML: u8 = 0x0f;
    pub(crate) const TYPED_OBJECT: u8 = 0x10;
}

#[cfg(test)]
mod tests;
