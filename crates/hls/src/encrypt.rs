//! Segments that nobody can play who does not have the key: AES-128 (RFC 8216, 4.3.2.4).
//!
//! The block cipher is a library's. What is here is how HLS uses it: cipher block chaining over a whole segment, padded
//! as PKCS #7 has it.

use std::fmt;

use aes::{
    Aes128,
    cipher::{BlockCipherEncrypt as _, KeyInit as _},
};
use bytes::Bytes;
use weir_media::{Budget, Charge, Use};

use crate::counted::Counted;

/// Bytes of a block, and of a key.
const BLOCK: usize = 16;

/// What segments are encrypted with.
#[derive(Clone)]
pub struct SegmentKey {
    bytes: [u8; BLOCK],
    cipher: Aes128,
}

/// Without the key.
impl fmt::Debug for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentKey").finish_non_exhaustive()
    }
}

impl SegmentKey {
    /// The key of these bits, which must come from the system's random source.
    pub fn new(bits: u128) -> Self {
        let bytes = bits.to_be_bytes();
        Self { bytes, cipher: Aes128::new(&bytes.into()) }
    }

    /// As players fetch it.
    pub fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes)
    }

    /// The segment as it is handed out: up to a block longer than `data`. It counts against `budget` for as long as
    /// anybody holds it.
    pub fn encrypt(&self, iv: u128, data: &[u8], budget: &Budget) -> Bytes {
        let charge = Charge::new(budget, Use::HlsWindow);
        Counted::wrap(self.chained(iv, data).into(), &charge)
    }

    fn chained(&self, iv: u128, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() + BLOCK);
        let (whole, rest) = data.as_chunks::<BLOCK>();
        let missing = BLOCK - rest.len();
        let mut last = [u8::try_from(missing).unwrap_or_default(); BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        let mut chain = iv;
        for block in whole.iter().chain([&last]) {
            let mut block = (u128::from_be_bytes(*block) ^ chain).to_be_bytes().into();
            self.cipher.encrypt_block(&mut block);
            chain = u128::from_be_bytes(block.into());
            out.extend_from_slice(&block);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST SP 800-38A, F.2.1.
    #[test]
    fn segments_are_encrypted_as_the_standard_has_it() {
        let key = SegmentKey::new(0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c);
        let iv = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f;
        let plain = [
            0x6bc1_bee2_2e40_9f96_e93d_7e11_7393_172a_u128,
            0xae2d_8a57_1e03_ac9c_9eb7_6fac_45af_8e51,
        ];
        let data: Vec<u8> = plain.iter().flat_map(|block| block.to_be_bytes()).collect();
        let out = key.encrypt(iv, &data, &Budget::new(1 << 20));
        let blocks: Vec<_> =
            out.as_chunks::<BLOCK>().0.iter().map(|it| u128::from_be_bytes(*it)).collect();
        assert_eq!(
            blocks[..2],
            [0x7649_abac_8119_b246_cee9_8e9b_12e9_197d, 0x5086_cb9b_5072_19ee_95db_113a_9176_78b2]
        );
        assert_eq!(out.len(), 48, "a whole block says that nothing is missing");
    }

    #[test]
    fn what_is_missing_of_the_last_block_is_padded() {
        let key = SegmentKey::new(7);
        for len in 0..40 {
            let out = key.chained(9, &vec![1; len]);
            assert_eq!(out.len(), (len / BLOCK + 1) * BLOCK, "{len} bytes");
        }
        assert_eq!(format!("{key:?}"), "SegmentKey { .. }", "logs have no keys");
        assert_eq!(&key.bytes()[..], &7_u128.to_be_bytes());
    }
}
