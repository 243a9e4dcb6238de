//! Big-endian bit fields.

/// Reads them.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// The next `count` bits, at most 24.
    pub fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for at in self.at..self.at + count {
            let byte = self.data.get(at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - at % 8) & 1);
        }
        self.at += count;
        Some(value)
    }

    pub fn take_u8(&mut self, count: usize) -> Option<u8> {
        self.take(count).and_then(|value| u8::try_from(value).ok())
    }
}

/// Writes them.
#[derive(Default)]
pub(super) struct BitWriter {
    data: Vec<u8>,
    /// Bits of the last byte that are not used yet.
    free: usize,
}

impl BitWriter {
    /// Appends the low `count` bits of `value`.
    pub fn put(&mut self, value: u32, count: usize) {
        for at in (0..count).rev() {
            if self.free == 0 {
                self.data.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.data.last_mut() {
                *last |= u8::from(value >> at & 1 == 1) << self.free;
            }
        }
    }

    /// What was written, with zeros to the end of its last byte.
    pub fn into_bytes(self) -> Vec<u8> {
        self.data
    }
}
