//! Protocol control and user control messages.

use super::type_id;

/// A protocol control message (section 5.4). All are on message stream 0, and Set Chunk Size and Abort never leave
/// the chunk reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The sender's next chunks have up to this many bytes of data.
    SetChunkSize(u32),
    /// The rest of the partial message on this chunk stream will not come.
    Abort(u32),
    /// Bytes received so far, modulo 2^32.
    Acknowledgement(u32),
    /// The receiver is to acknowledge each time it received so many bytes.
    WindowAckSize(u32),
    /// The receiver is to limit its output.
    SetPeerBandwidth {
        /// Unacknowledged bytes allowed.
        size: u32,
        /// How the limit combines with an earlier one.
        limit: BandwidthLimit,
    },
    /// A User Control message.
    User(UserControl),
}

/// How a bandwidth limit combines with an earlier one (section 5.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BandwidthLimit {
    /// It replaces it.
    Hard,
    /// The smaller one counts.
    Soft,
    /// Hard if the earlier one was hard, else it is ignored.
    Dynamic,
}

/// An event of the connection or one of its message streams (section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserControl {
    /// The stream will be used now.
    StreamBegin(u32),
    /// Playback of the stream is over.
    StreamEof(u32),
    /// There is no more data on the stream for now.
    StreamDry(u32),
    /// The player buffers so much of the stream.
    SetBufferLength {
        /// The stream.
        stream_id: u32,
        /// The length in milliseconds.
        millis: u32,
    },
    /// The stream is a recorded one.
    StreamIsRecorded(u32),
    /// The server asks whether the client is there; to be answered with the same number.
    PingRequest(u32),
    /// The answer.
    PingResponse(u32),
    /// Another event, to be ignored: Adobe's servers and JW Player have undocumented ones.
    Other(u16),
}

impl Control {
    /// Whether messages of this type are control messages.
    pub fn is_type(type_id: u8) -> bool {
        matches!(
            type_id,
            type_id::SET_CHUNK_SIZE
                | type_id::ABORT
                | type_id::ACKNOWLEDGEMENT
                | type_id::WINDOW_ACK_SIZE
                | type_id::SET_PEER_BANDWIDTH
                | type_id::USER_CONTROL
        )
    }

    /// Parses a control message. `None` if `type_id` is of no control message, and if the message is shorter than its
    /// fields: then it says nothing, and nobody else ends a connection for it.
    pub fn decode(type_id: u8, payload: &[u8]) -> Option<Self> {
        if Self::is_type(type_id) { Self::fields(type_id, payload) } else { None }
    }

    fn fields(type_id: u8, payload: &[u8]) -> Option<Self> {
        if type_id == type_id::USER_CONTROL {
            return UserControl::fields(payload).map(Self::User);
        }
        let value = u32::from_be_bytes(*payload.first_chunk()?);
        Some(match type_id {
            type_id::SET_CHUNK_SIZE => Self::SetChunkSize(value),
            type_id::ABORT => Self::Abort(value),
            type_id::ACKNOWLEDGEMENT => Self::Acknowledgement(value),
            type_id::WINDOW_ACK_SIZE => Self::WindowAckSize(value),
            _ => Self::SetPeerBandwidth { size: value, limit: limit(*payload.get(4)?) },
        })
    }

    /// The message's type and body.
    pub fn encode(&self) -> (u8, Vec<u8>) {
        match *self {
            Self::SetChunkSize(size) => (type_id::SET_CHUNK_SIZE, size.to_be_bytes().into()),
            Self::Abort(csid) => (type_id::ABORT, csid.to_be_bytes().into()),
            Self::Acknowledgement(sum) => (type_id::ACKNOWLEDGEMENT, sum.to_be_bytes().into()),
            Self::WindowAckSize(size) => (type_id::WINDOW_ACK_SIZE, size.to_be_bytes().into()),
            Self::SetPeerBandwidth { size, limit } => {
                let [a, b, c, d] = size.to_be_bytes();
                (type_id::SET_PEER_BANDWIDTH, vec![a, b, c, d, limit as u8])
            }
            Self::User(event) => (type_id::USER_CONTROL, event.encode()),
        }
    }
}

fn limit(byte: u8) -> BandwidthLimit {
    match byte {
        0 => BandwidthLimit::Hard,
        1 => BandwidthLimit::Soft,
        _ => BandwidthLimit::Dynamic,
    }
}

impl UserControl {
    fn fields(payload: &[u8]) -> Option<Self> {
        let (event, rest) = payload.split_first_chunk()?;
        let event = u16::from_be_bytes(*event);
        if !matches!(event, 0..=4 | 6 | 7) {
            return Some(Self::Other(event));
        }
        let (value, rest) = rest.split_first_chunk()?;
        let value = u32::from_be_bytes(*value);
        Some(match event {
            0 => Self::StreamBegin(value),
            1 => Self::StreamEof(value),
            2 => Self::StreamDry(value),
            3 => Self::SetBufferLength {
                stream_id: value,
                millis: u32::from_be_bytes(*rest.first_chunk()?),
            },
            4 => Self::StreamIsRecorded(value),
            6 => Self::PingRequest(value),
            _ => Self::PingResponse(value),
        })
    }

    fn encode(self) -> Vec<u8> {
        let (event, value) = match self {
            Self::StreamBegin(id) => (0, id),
            Self::StreamEof(id) => (1, id),
            Self::StreamDry(id) => (2, id),
            Self::SetBufferLength { stream_id, .. } => (3, stream_id),
            Self::StreamIsRecorded(id) => (4, id),
            Self::PingRequest(time) => (6, time),
            Self::PingResponse(time) => (7, time),
            Self::Other(event) => return event.to_be_bytes().into(),
        };
        let mut body = [&u16::to_be_bytes(event)[..], &value.to_be_bytes()].concat();
        if let Self::SetBufferLength { millis, .. } = self {
            body.extend_from_slice(&millis.to_be_bytes());
        }
        body
    }
}
