//! What both ends of a connection share: the chunk reader, acknowledgements, pings, and the output.

use bytes::{Bytes, BytesMut};

pub use crate::limits::ANSWER_BYTES_MAX;
use crate::{
    Error,
    chunk::{
        self, CHUNK_SIZE_DEFAULT, CSID_CONTROL, CSID_DATA, CSID_STATUS, CSID_VIDEO, Message, Reader,
    },
    message::{Command, Control, UserControl, amf0_body, type_id},
};
use weir_flv::TagKind;

/// One end of a connection below its commands.
#[derive(Debug)]
pub(crate) struct Link {
    reader: Reader,
    pub(crate) out: BytesMut,
    /// Bytes of answers in `out`.
    answers: usize,
    out_chunk_size: u32,
    /// The acknowledgement window that the peer set; 0 before it did, and when it wants no acknowledgements.
    window: u32,
    received: u64,
    acknowledged: u64,
    /// Messages since they were last [taken](Self::take_notices) that are neither commands nor audio or video.
    notices: u32,
}

/// A message that the link did not deal with itself.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A command with its message stream.
    Command(u32, Command),
    /// Audio, video, script data or an aggregate of them.
    Media(Message),
    /// The player's buffer length.
    BufferLength { stream_id: u32, millis: u32 },
    /// The peer's request to limit the output to so many unacknowledged bytes.
    PeerBandwidth(u32),
    /// The answer to a ping.
    Pong,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self {
            reader: Reader::new(),
            out: BytesMut::new(),
            answers: 0,
            out_chunk_size: CHUNK_SIZE_DEFAULT as u32,
            window: 0,
            received: 0,
            acknowledged: 0,
            notices: 0,
        }
    }

    /// Takes bytes off `input` up to the next message that concerns the session; `None` when the input is used up.
    pub(crate) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, Error> {
        loop {
            if self.answers > ANSWER_BYTES_MAX {
                return Err(Error::Answers);
            }
            let before = input.len();
            let message = self.reader.read(input)?;
            self.received += (before - input.len()) as u64;
            let Some(message) = message else {
                self.acknowledge();
                return Ok(None);
            };
            if let Some(incoming) = self.sort(message)? {
                return Ok(Some(incoming));
            }
        }
    }

    fn sort(&mut self, message: Message) -> Result<Option<Incoming>, Error> {
        if Control::is_type(message.type_id) {
            let control = Control::decode(message.type_id, &message.payload);
            // Acknowledgements come as often as we send, and cost nothing but their reading.
            if !matches!(control, Some(Control::Acknowledgement(_))) {
                self.notices = self.notices.saturating_add(1);
            }
            return Ok(control.and_then(|control| self.control(control)));
        }
        Ok(match message.type_id {
            type_id::COMMAND | type_id::COMMAND_AMF3 => {
                let body = amf0_body(message.type_id, message.payload);
                Some(Incoming::Command(message.stream_id, Command::decode(&body)?))
            }
            type_id::AUDIO | type_id::VIDEO | type_id::AGGREGATE => Some(Incoming::Media(message)),
            type_id::DATA | type_id::DATA_AMF3 => {
                self.notices = self.notices.saturating_add(1);
                Some(Incoming::Media(message))
            }
            // Shared objects, and types that no specification has.
            _ => {
                self.notices = self.notices.saturating_add(1);
                None
            }
        })
    }

    fn control(&mut self, control: Control) -> Option<Incoming> {
        match control {
            Control::WindowAckSize(size) => self.window = size,
            Control::SetPeerBandwidth { size, .. } => return Some(Incoming::PeerBandwidth(size)),
            Control::User(UserControl::PingRequest(time)) => {
                self.send_control(Control::User(UserControl::PingResponse(time)));
            }
            Control::User(UserControl::SetBufferLength { stream_id, millis }) => {
                return Some(Incoming::BufferLength { stream_id, millis });
            }
            Control::User(UserControl::PingResponse(_)) => return Some(Incoming::Pong),
            // The chunk reader obeys the first two. We do not limit what is unacknowledged: TCP and the caller's
            // budgets do.
            Control::SetChunkSize(_)
            | Control::Abort(_)
            | Control::Acknowledgement(_)
            | Control::User(_) => {}
        }
        None
    }

    /// Acknowledges at half the window, as SRS does: encoders that stop sending at a full window then never stop.
    fn acknowledge(&mut self) {
        if self.window == 0 {
            return;
        }
        if self.received - self.acknowledged >= u64::from(self.window / 2).max(1) {
            self.acknowledged = self.received;
            self.send_control(Control::Acknowledgement(self.received as u32));
        }
    }

    /// How many control and data messages have come since the last call.
    pub(crate) fn take_notices(&mut self) -> u32 {
        std::mem::take(&mut self.notices).saturating_add(self.reader.take_obeyed())
    }

    /// What is read.
    pub(crate) fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// Bytes of unfinished messages.
    pub(crate) fn partial_bytes(&self) -> usize {
        self.reader.partial_bytes()
    }

    /// See [`Reader::is_hog`].
    pub(crate) fn is_hog(&self) -> bool {
        self.reader.is_hog()
    }

    /// The size of our chunks.
    pub(crate) fn out_chunk_size(&self) -> u32 {
        self.out_chunk_size
    }

    /// Announces the size of our chunks and uses it from the next message on.
    pub(crate) fn set_out_chunk_size(&mut self, size: u32) {
        let size = size.clamp(1, 0x7fff_ffff);
        self.send_control(Control::SetChunkSize(size));
        self.out_chunk_size = size;
    }

    pub(crate) fn send_control(&mut self, control: Control) {
        let (type_id, body) = control.encode();
        self.answer(CSID_CONTROL, type_id, 0, &body);
    }

    pub(crate) fn send_command(&mut self, csid: u8, stream_id: u32, command: &Command) {
        self.answer(csid, type_id::COMMAND, stream_id, &command.encode());
    }

    fn answer(&mut self, csid: u8, type_id: u8, stream_id: u32, body: &[u8]) {
        let before = self.out.len();
        self.send(csid, 0, type_id, stream_id, body);
        self.answers += self.out.len() - before;
    }

    /// Sends `onStatus` on a message stream.
    pub(crate) fn send_status(&mut self, stream_id: u32, level: &str, code: &str, text: &str) {
        self.send_command(CSID_STATUS, stream_id, &Command::status(level, code, text));
    }

    pub(crate) fn send_media(
        &mut self,
        stream_id: u32,
        kind: TagKind,
        timestamp: u32,
        body: &[u8],
    ) {
        let csid = match kind {
            TagKind::Audio => chunk::CSID_AUDIO,
            TagKind::Video => CSID_VIDEO,
            TagKind::Script => CSID_DATA,
        };
        self.send(csid, timestamp, kind.type_id(), stream_id, body);
    }

    pub(crate) fn send(&mut self, csid: u8, timestamp: u32, type_id: u8, stream: u32, body: &[u8]) {
        let chunk_size = self.out_chunk_size as usize;
        chunk::encode_message(&mut self.out, csid, timestamp, type_id, stream, body, chunk_size);
    }

    /// Everything there is to send, and no memory kept behind.
    pub(crate) fn poll_output(&mut self) -> Option<Bytes> {
        self.answers = 0;
        (!self.out.is_empty()).then(|| std::mem::take(&mut self.out).freeze())
    }

    /// Heap memory in use, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.reader.heap_bytes() + self.out.capacity()
    }
}
