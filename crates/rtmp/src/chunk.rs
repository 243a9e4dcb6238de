//! Chunks: how messages share one byte stream (specification, section 5.3).

mod reader;

use bytes::{BufMut, Bytes, BytesMut};

pub use reader::Reader;

/// The chunk size of a new connection, both ways, until a Set Chunk Size message changes it.
pub const CHUNK_SIZE_DEFAULT: usize = 128;

/// The largest message: its length field has 24 bits.
pub const MESSAGE_BYTES_MAX: usize = 0xff_ffff;

/// Chunk streams that a publisher, or a server that we play from, may open. Encoders and players use 3 to 8 of the
/// 65,597 possible ones; a few conferencing clients open one for each track. Each costs some 50 bytes for the life of
/// the connection.
pub const CHUNK_STREAMS_MAX: usize = 64;

/// The same for a peer that does not publish: commands, control messages and their answers take 2 or 3.
pub const IDLE_CHUNK_STREAMS_MAX: usize = 16;

/// Bytes of unfinished messages on all chunk streams together: one message of the largest size, and audio, data and
/// control messages that are interleaved with it.
pub const PARTIAL_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 4 * 1024 * 1024;

/// The same for a peer that does not publish: one command of the largest size, and what is interleaved with it.
pub const IDLE_PARTIAL_BYTES_MAX: usize = 64 * 1024;

/// The chunk stream of protocol control and user control messages, which the specification fixes (section 5.4).
pub const CSID_CONTROL: u8 = 2;
/// The chunk stream of our connection's commands.
pub const CSID_COMMAND: u8 = 3;
/// The chunk stream of a message stream's status, as in SRS.
pub const CSID_STATUS: u8 = 5;
/// The chunk stream of video.
pub const CSID_VIDEO: u8 = 6;
/// The chunk stream of audio.
pub const CSID_AUDIO: u8 = 7;
/// The chunk stream of script data.
pub const CSID_DATA: u8 = 8;

/// Timestamps from here on are written as this value and an extended timestamp field.
const TIMESTAMP_EXTENDED: u32 = 0xff_ffff;

/// A complete RTMP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The chunk stream it came on.
    pub csid: u32,
    /// Absolute, in milliseconds; wraps after 49.7 days.
    pub timestamp: u32,
    /// What it is; see [`message::type_id`](crate::message::type_id).
    pub type_id: u8,
    /// The message stream it belongs to; 0 is the connection itself.
    pub stream_id: u32,
    /// Its body.
    pub payload: Bytes,
}

/// Appends one message to `out`: a chunk of type 0, and chunks of type 3 with the rest. The extended timestamp is on
/// each of them, as the specification asks and FFmpeg, librtmp and SRS expect.
///
/// No field depends on an earlier message, so the bytes of one message may be sent to many viewers, whatever each of
/// them was sent before.
///
/// # Panics
/// If `csid` is below 2 (those values mark longer headers), `chunk_size` is 0, or the payload is longer than
/// [`MESSAGE_BYTES_MAX`].
pub fn encode_message(
    out: &mut BytesMut,
    csid: u8,
    timestamp: u32,
    type_id: u8,
    stream_id: u32,
    payload: &[u8],
    chunk_size: usize,
) {
    assert!(csid >= 2, "chunk stream id {csid} marks a longer header");
    assert!(payload.len() <= MESSAGE_BYTES_MAX, "message of {} bytes", payload.len());
    let (first, rest) = payload.split_at(payload.len().min(chunk_size));
    out.reserve(encoded_len(csid, timestamp, payload.len(), chunk_size));
    put_basic_header(out, 0, csid);
    out.put_uint(u64::from(timestamp.min(TIMESTAMP_EXTENDED)), 3);
    out.put_uint(payload.len() as u64, 3);
    out.put_u8(type_id);
    out.put_u32_le(stream_id);
    put_extended_timestamp(out, timestamp);
    out.put_slice(first);
    for chunk in rest.chunks(chunk_size) {
        put_basic_header(out, 3, csid);
        put_extended_timestamp(out, timestamp);
        out.put_slice(chunk);
    }
}

/// The number of bytes that [`encode_message`] appends.
pub fn encoded_len(csid: u8, timestamp: u32, payload_len: usize, chunk_size: usize) -> usize {
    let basic = if csid < 64 { 1 } else { 2 };
    let extended = if timestamp >= TIMESTAMP_EXTENDED { 4 } else { 0 };
    let chunks = payload_len.div_ceil(chunk_size).max(1);
    11 + chunks * (basic + extended) + payload_len
}

fn put_basic_header(out: &mut BytesMut, fmt: u8, csid: u8) {
    match csid {
        0..64 => out.put_u8(fmt << 6 | csid),
        64.. => out.put_slice(&[fmt << 6, csid - 64]),
    }
}

fn put_extended_timestamp(out: &mut BytesMut, timestamp: u32) {
    if timestamp >= TIMESTAMP_EXTENDED {
        out.put_u32(timestamp);
    }
}

#[cfg(test)]
mod tests;
