//! Which origin owns a stream: rendezvous hashing, so that edges agree without asking one another.
//!
//! Each origin has a weight for each stream, and the heaviest owns it. An origin that comes takes streams from all
//! others and moves none between them; one that goes leaves its streams to all others.

/// A hash in the making: FNV-1a with 64 bits. Edges of different versions must agree, so it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(u64);

impl Hash {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;

    /// The hash of `text`.
    pub fn of(text: &str) -> Self {
        Self(Self::BASIS).and(text)
    }

    /// The hash of what was hashed and then `text`.
    #[must_use]
    pub fn and(self, text: &str) -> Self {
        let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(Self::PRIME);
        Self(text.bytes().fold(self.0, step))
    }

    /// The hash as a weight. FNV leaves the last bytes in the low bits; the finalizer of SplitMix64 spreads them.
    pub fn weight(self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: usize = 10_000;

    fn weight(address: &str, key: &str) -> u64 {
        Hash::of(address).and(key).weight()
    }

    /// The owner of each of [`KEYS`] streams among `count` origins.
    fn owners(count: usize) -> Vec<usize> {
        let addresses: Vec<_> = (1..=count).map(|n| format!("10.0.0.{n}:1935")).collect();
        let owner = |key: &str| (0..count).max_by_key(|&n| weight(&addresses[n], key));
        (0..KEYS).map(|n| owner(&format!("/live/stream{n}")).expect("an origin")).collect()
    }

    #[test]
    fn weights_are_the_same_for_ever() {
        assert_eq!(weight("10.0.0.1:1935", "/live/livestream"), 0x8fbd_eafc_b439_2b44);
        assert_eq!(weight("[2001:db8::1]:1935", "/live/livestream"), 0xc274_02c6_c837_d852);
        assert_eq!(weight("10.0.0.2:1935", "example.com/live/eu/a"), 0x1f95_59ac_a10c_874b);
    }

    #[test]
    fn streams_are_spread_evenly() {
        for count in [3, 5] {
            let owners = owners(count);
            for origin in 0..count {
                let owned = owners.iter().filter(|&&owner| owner == origin).count();
                let (even, off) = (KEYS / count, owned.abs_diff(KEYS / count));
                assert!(off * 10 <= even, "origin {origin} of {count} owns {owned} of {KEYS}");
            }
        }
    }

    #[test]
    fn a_new_origin_takes_its_share_and_moves_nothing_else() {
        let (three, four) = (owners(3), owners(4));
        let moved: Vec<_> = three.iter().zip(&four).filter(|(old, new)| old != new).collect();
        assert!(moved.iter().all(|&(_, &new)| new == 3), "streams moved between the old ones");
        let off = moved.len().abs_diff(KEYS / 4);
        assert!(off * 10 <= KEYS / 4, "{} of {KEYS} streams moved", moved.len());
    }
}
