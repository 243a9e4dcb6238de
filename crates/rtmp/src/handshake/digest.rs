//! Digests in C1, S1, C2 and S2.

use ring::hmac::{Context, HMAC_SHA256, Key};

use super::packet::{PACKET_BYTES, Random};

/// Signs what servers send; S1 is signed with the text alone.
pub(super) const SERVER_KEY: [u8; 68] =
    *b"Genuine Adobe Flash Media Server 001\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
    \x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";

/// Signs what players and encoders send; C1 is signed with the text alone.
pub(super) const PLAYER_KEY: [u8; 62] =
    *b"Genuine Adobe Flash Player 001\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
    \x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";

/// The length of a digest.
const DIGEST_BYTES: usize = 32;

/// A HMAC-SHA256 value.
pub(super) type Digest = [u8; DIGEST_BYTES];

/// Where the digest of C1 or S1 is. Behind time and version, the packet has two blocks of 764 bytes, one for a key
/// (of an encrypted variant; here random) and one for the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// The digest's block is the second one ("schema 0" in SRS).
    KeyFirst,
    /// The digest's block is the first one ("schema 1" in SRS); FFmpeg and librtmp write this.
    DigestFirst,
}

impl Scheme {
    /// Where the digest begins: the block's first four bytes say, so that it is always inside the block.
    pub(super) fn digest_at(self, packet: &Random) -> usize {
        let block = match self {
            Self::KeyFirst => 772,
            Self::DigestFirst => 8,
        };
        let sum: usize = packet[block..block + 4].iter().map(|byte| usize::from(*byte)).sum();
        block + 4 + sum % 728
    }
}

/// The digest in a peer's C1 or S1, if it has a valid one.
pub(super) fn find(packet: &Random, key: &[u8]) -> Option<(Scheme, Digest)> {
    [Scheme::DigestFirst, Scheme::KeyFirst].into_iter().find_map(|scheme| {
        let at = scheme.digest_at(packet);
        let digest = hello_digest(packet, at, key);
        (packet[at..at + DIGEST_BYTES] == digest).then_some((scheme, digest))
    })
}

/// Puts the digest into C1 or S1.
pub(super) fn sign_hello(packet: &mut Random, scheme: Scheme, key: &[u8]) {
    let at = scheme.digest_at(packet);
    let digest = hello_digest(packet, at, key);
    packet[at..at + DIGEST_BYTES].copy_from_slice(&digest);
}

/// C2 or S2: random bytes and a digest over them, whose key depends on the peer's digest.
pub(super) fn reply(random: &Random, peer_digest: &Digest, key: &[u8]) -> Random {
    const SIGNED: usize = PACKET_BYTES - DIGEST_BYTES;
    let reply_key = hmac(key, &[peer_digest]);
    let mut packet = *random;
    let digest = hmac(&reply_key, &[&packet[..SIGNED]]);
    packet[SIGNED..].copy_from_slice(&digest);
    packet
}

/// The digest over everything but the digest.
fn hello_digest(packet: &Random, at: usize, key: &[u8]) -> Digest {
    hmac(key, &[&packet[..at], &packet[at + DIGEST_BYTES..]])
}

pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut mac = Context::with_key(&Key::new(HMAC_SHA256, key));
    parts.iter().for_each(|part| mac.update(part));
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(mac.sign().as_ref());
    digest
}
