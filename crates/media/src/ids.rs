//! Names by which calls speak of streams, vhosts and nodes, as SRS writes them: `vid-` and some letters.
//!
//! They follow from the name alone, so that a stream has the same one on every node and after every start.

use crate::StreamKey;

/// Letters of an id: as many as it takes that ten thousand streams do not share one.
const LETTERS: usize = 10;

/// The id of a stream.
pub fn stream(key: &StreamKey) -> String {
    of(&["stream", key.vhost(), key.app(), key.stream()])
}

/// The id of a vhost.
pub fn vhost(name: &str) -> String {
    of(&["vhost", name])
}

fn of(parts: &[&str]) -> String {
    // FNV-1a: nobody gains by a clash, and it is the same in every version of Rust.
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    // Its high bits change little between names that differ in their last letter only.
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("vid-{}", letters(hash ^ (hash >> 29), LETTERS))
}

/// `count` letters and digits, drawn from `number`.
pub fn letters(mut number: u64, count: usize) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut letter = || {
        let at = (number & 31) as usize;
        number >>= 5;
        char::from(ALPHABET[at])
    };
    (0..count).map(|_| letter()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key(stream: &str) -> StreamKey {
        StreamKey::new("v.org", "live", stream).expect("a key")
    }

    #[test]
    fn ids_are_the_same_everywhere_and_for_ever() {
        assert_eq!(stream(&key("a")), "vid-gedxcymn0j");
        assert_eq!(vhost("v.org"), "vid-t4xzc8qtdy");
        assert_ne!(vhost("a"), vhost("b"));
    }

    #[test]
    fn streams_do_not_share_an_id() {
        let ids: HashSet<_> = (0..20_000).map(|n| stream(&key(&format!("s{n}")))).collect();
        assert_eq!(ids.len(), 20_000);
    }

    #[test]
    fn parts_are_kept_apart() {
        let one = StreamKey::new("v", "live/a", "b").expect("a key");
        let other = StreamKey::new("v", "live", "a/b");
        if let Ok(other) = other {
            assert_ne!(stream(&one), stream(&other));
        }
        assert!(stream(&one).starts_with("vid-"));
    }
}
