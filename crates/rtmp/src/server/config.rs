//! What a session is told.

use std::time::Duration;

use weir_flv::amf0;

/// What a session is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The size of our chunks. Clients read any size; the larger, the fewer headers in a key frame.
    pub chunk_size: u32,
    /// After how many bytes the client is to acknowledge.
    pub window_ack_size: u32,
    /// More fields for the `data` object in the reply to `connect`: SRS has `srs_server`, `srs_version`, `srs_id`,
    /// ... there.
    pub connect_reply: amf0::Object,
    /// From the start of the session to the end of the handshake.
    pub handshake_timeout: Duration,
    /// How long a connection may neither publish nor play, nor wait for the answer to one: after the handshake, and
    /// again when its last stream ends.
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chunk_size: 60_000,
            window_ack_size: 2_500_000,
            connect_reply: amf0::Object::new(),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
        }
    }
}
