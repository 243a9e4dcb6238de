//! Bytes that count for as long as anybody holds them.

use bytes::Bytes;
use weir_media::{Charge, Use};

/// A segment or a part of one with its place in the memory budget.
pub struct Counted {
    data: Bytes,
    _charge: Charge,
}

impl Counted {
    /// `data`, counted beside what `charge` counts.
    pub fn wrap(data: Bytes, charge: &Charge) -> Bytes {
        let mut handed_out = Charge::new(charge.budget(), Use::HlsWindow);
        handed_out.add(data.len());
        Bytes::from_owner(Self { data, _charge: handed_out })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}
