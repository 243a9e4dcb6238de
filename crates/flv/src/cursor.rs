//! Reading fields from a message body.

use std::ops::Range;

use weir_media::FourCc;

use crate::Error;

/// A position in a message body. Each read names the field it reads, for the error when the body ends first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The bytes that are not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.body[self.at..]
    }

    /// Where [`Cursor::rest`] lies in the body.
    pub(crate) fn remaining(&self) -> Range<usize> {
        self.at..self.body.len()
    }

    /// Lets the body end `len` bytes from here, where `field` ends.
    pub(crate) fn limit(&mut self, field: &'static str, len: usize) -> Result<(), Error> {
        let mut end = *self;
        end.take(field, len)?;
        self.body = &self.body[..end.at];
        Ok(())
    }

    pub(crate) fn take(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], Error> {
        let rest = self.rest();
        let bytes =
            rest.get(..len).ok_or(Error::Truncated { field, needed: len, left: rest.len() })?;
        self.at += len;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let rest = self.rest();
        let bytes =
            rest.first_chunk().ok_or(Error::Truncated { field, needed: N, left: rest.len() })?;
        self.at += N;
        Ok(*bytes)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        self.array(field).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, Error> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u24(&mut self, field: &'static str) -> Result<u32, Error> {
        self.array(field).map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, Error> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// A signed 24-bit integer, the specification's SI24.
    pub(crate) fn i24(&mut self, field: &'static str) -> Result<i32, Error> {
        self.array(field).map(|[a, b, c]| i32::from_be_bytes([a, b, c, 0]) >> 8)
    }

    pub(crate) fn four_cc(&mut self, field: &'static str) -> Result<FourCc, Error> {
        self.array(field).map(FourCc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_signed_and_unsigned_fields_in_order() {
        let mut cursor = Cursor::new(&[1, 0, 2, 0, 0, 3, 0xff, 0xff, 0xfe, b'h', b'v', b'c', b'1']);
        assert_eq!(cursor.u8("a"), Ok(1));
        assert_eq!(cursor.u16("b"), Ok(2));
        assert_eq!(cursor.u24("c"), Ok(3));
        assert_eq!(cursor.i24("d"), Ok(-2));
        assert_eq!(cursor.four_cc("e"), Ok(FourCc(*b"hvc1")));
        assert_eq!(cursor.position(), 13);
        assert!(cursor.rest().is_empty());
    }

    #[test]
    fn the_extremes_of_si24() {
        assert_eq!(Cursor::new(&[0x7f, 0xff, 0xff]).i24("cts"), Ok(8_388_607));
        assert_eq!(Cursor::new(&[0x80, 0, 0]).i24("cts"), Ok(-8_388_608));
    }

    #[test]
    fn a_limit_hides_what_follows() {
        let mut cursor = Cursor::new(&[1, 2, 3, 4]);
        cursor.u8("a").unwrap();
        cursor.limit("track", 2).unwrap();
        assert_eq!((cursor.rest(), cursor.remaining()), (&[2, 3][..], 1..3));
        let error = Error::Truncated { field: "track", needed: 3, left: 2 };
        assert_eq!(cursor.limit("track", 3), Err(error));
    }

    #[test]
    fn a_short_body_names_the_field_and_moves_nothing() {
        let mut cursor = Cursor::new(&[1, 2]);
        let error = Error::Truncated { field: "FourCC", needed: 4, left: 2 };
        assert_eq!(cursor.four_cc("FourCC"), Err(error));
        assert_eq!(cursor.take("FourCC", 4), Err(error));
        assert_eq!(cursor.position(), 0);
        assert_eq!(error.to_string(), "FourCC needs 4 bytes, the message has 2 left");
    }
}
