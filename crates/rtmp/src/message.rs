//! What messages say: protocol control, user control and commands (specification, sections 5.4, 6 and 7).

mod command;
mod control;
mod question;

use bytes::{Buf, Bytes};

pub use command::{Command, NAME_BYTES_SHOWN};
pub use control::{BandwidthLimit, Control, UserControl};
pub use question::{
    MAY_PLAY, MayPlay, QUESTION_BYTES_MAX, QUESTIONS_FIELD, QUESTIONS_MAX, Question,
};

/// The type ids of messages.
pub mod type_id {
    /// Set Chunk Size.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort a partial message.
    pub const ABORT: u8 = 2;
    /// Acknowledgement of bytes received.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User Control: events of the connection and its streams.
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size.
    pub const WINDOW_ACK_SIZE: u8 = 5;
    /// Set Peer Bandwidth.
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    /// Audio: the body of an FLV audio tag.
    pub const AUDIO: u8 = 8;
    /// Video: the body of an FLV video tag.
    pub const VIDEO: u8 = 9;
    /// Script data with one byte before the AMF0.
    pub const DATA_AMF3: u8 = 15;
    /// A command with one byte before the AMF0.
    pub const COMMAND_AMF3: u8 = 17;
    /// Script data.
    pub const DATA: u8 = 18;
    /// A command.
    pub const COMMAND: u8 = 20;
    /// FLV tags in one message.
    pub const AGGREGATE: u8 = 22;
}

/// The longest command. A `connect` with long URLs and every Enhanced RTMP property has 2 KB; the URL of a signed
/// stream has at most a few more.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;

/// The longest script data. `onMetaData` has below 16 KB, a cue point or an ID3 tag with a picture some more; what is
/// longer would be parsed and copied for nobody.
pub const DATA_BYTES_MAX: usize = 1024 * 1024;

/// The status with which a server asks a client to connect anew (Enhanced RTMP v2, "Reconnect Request").
pub const RECONNECT_REQUEST: &str = "NetConnection.Connect.ReconnectRequest";

/// Takes the byte off that precedes AMF0 in messages of the AMF3 types. FMLE and Flash Player send those once a
/// connection uses object encoding 3, with AMF0 inside as long as nothing needs AMF3.
pub(crate) fn amf0_body(type_id: u8, mut payload: Bytes) -> Bytes {
    let wrapped = matches!(type_id, type_id::DATA_AMF3 | type_id::COMMAND_AMF3);
    if wrapped && payload.first() == Some(&0) {
        payload.advance(1);
    }
    payload
}

#[cfg(test)]
mod tests;
