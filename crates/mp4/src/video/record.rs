//! What the modules of the codecs share.

use std::borrow::Cow;

/// What goes into a sample entry.
pub struct Described<'a> {
    /// The entry's type.
    pub entry: &'static [u8; 4],
    /// The type of the box with the record.
    pub config: &'static [u8; 4],
    pub record: Cow<'a, [u8]>,
    pub codecs: String,
    /// Width and height in pixels, if they can be read.
    pub size: Option<(u16, u16)>,
}

/// A size that fits into a sample entry and is none of a broken stream.
pub fn size(width: u32, height: u32) -> Option<(u16, u16)> {
    let (width, height) = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    (width > 0 && height > 0).then_some((width, height))
}

/// Takes a configuration record apart; nothing when it is too short.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Bytes after their length in two bytes.
    pub fn nal(&mut self) -> Option<&'a [u8]> {
        let len = self.take(2)?;
        self.take(usize::from(u16::from_be_bytes([len[0], len[1]])))
    }
}

/// The record with the version that players ask for: some encoders write 0.
pub fn versioned(record: &[u8]) -> Cow<'_, [u8]> {
    match record {
        [0, rest @ ..] => Cow::Owned([&[1], rest].concat()),
        _ => Cow::Borrowed(record),
    }
}
