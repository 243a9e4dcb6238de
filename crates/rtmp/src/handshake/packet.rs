//! The packets of a handshake.

/// The length of C1, S1, C2 and S2.
pub const PACKET_BYTES: usize = 1536;

/// Random bytes for one handshake; only a part of them is sent.
pub type Random = [u8; PACKET_BYTES];
