//! Bytes to messages.

use bytes::Bytes;

use super::{
    CHUNK_SIZE_DEFAULT, CHUNK_STREAMS_MAX, MESSAGE_BYTES_MAX, Message, PARTIAL_BYTES_MAX,
    TIMESTAMP_EXTENDED,
};
use crate::{Error, message::type_id};

/// The longest chunk header: basic header 3, message header 11, extended timestamp 4.
const HEADER_BYTES_MAX: usize = 18;

/// The length of the message header of each chunk type.
const MESSAGE_HEADER_BYTES: [usize; 4] = [11, 7, 3, 0];

/// Assembles messages from chunks.
///
/// Feed it what arrives, in pieces of any size; it keeps at most a partial header and the partial messages. Set Chunk
/// Size and Abort are the chunk layer's own messages: they are obeyed here and not returned.
///
/// A message's buffer grows with the bytes that have arrived, not with the length that was announced, and is exactly
/// as large as the message when it is complete.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// Bytes that are taken from the input but not yet understood: the beginning of a header.
    carry: [u8; HEADER_BYTES_MAX],
    carried: u8,
    chunk_size: u32,
    message_bytes_max: u32,
    partial_bytes: usize,
    streams: Vec<ChunkStream>,
    /// Messages of the chunk layer since they were last [taken](Self::take_obeyed).
    obeyed: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// At the beginning of a chunk, or inside its header.
    Header,
    /// Inside the data of a chunk of `streams[slot]`.
    Data { slot: usize, left: usize },
}

/// What a chunk stream remembers between chunks.
#[derive(Debug)]
struct ChunkStream {
    csid: u32,
    last: Header,
    /// The bytes of the message that is not complete yet.
    partial: Option<Vec<u8>>,
}

/// The message header that later chunks of a chunk stream refer to.
#[derive(Clone, Copy, Debug, Default)]
struct Header {
    /// Absolute.
    timestamp: u32,
    /// The timestamp field or the extended timestamp as it was sent: absolute in type 0, else a delta.
    field: u32,
    /// Whether `field` was in an extended timestamp.
    extended: bool,
    /// Whether `field` is absolute.
    absolute: bool,
    length: u32,
    type_id: u8,
    stream_id: u32,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the beginning of the chunk stream, right behind the handshake.
    pub const fn new() -> Self {
        Self {
            state: State::Header,
            carry: [0; HEADER_BYTES_MAX],
            carried: 0,
            chunk_size: CHUNK_SIZE_DEFAULT as u32,
            message_bytes_max: MESSAGE_BYTES_MAX as u32,
            partial_bytes: 0,
            streams: Vec::new(),
            obeyed: 0,
        }
    }

    /// Takes bytes off `input` up to the end of the next message and returns that; `None` when the input is used up
    /// first.
    ///
    /// # Errors
    /// If the bytes are no chunks or exceed a limit. The reader has lost its place then and must not be used again.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        loop {
            let (slot, left) = match self.state {
                State::Data { slot, left } => (slot, left),
                State::Header => match self.header(input)? {
                    Some(chunk) => chunk,
                    None => return Ok(None),
                },
            };
            let left = left - self.data(slot, left, input)?;
            if left > 0 {
                self.state = State::Data { slot, left };
                return Ok(None);
            }
            self.state = State::Header;
            if let Some(message) = self.take_complete(slot)
                && !self.obey(&message)?
            {
                return Ok(Some(message));
            }
        }
    }

    /// Refuses messages longer than `bytes` from the next message header on.
    pub fn set_message_bytes_max(&mut self, bytes: usize) {
        self.message_bytes_max = bytes.min(MESSAGE_BYTES_MAX) as u32;
    }

    /// How many messages of the chunk layer itself have come since the last call.
    pub(crate) fn take_obeyed(&mut self) -> u32 {
        std::mem::take(&mut self.obeyed)
    }

    /// The peer's present chunk size.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Heap memory in use, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let partial = self.streams.iter().flat_map(|s| &s.partial).map(Vec::capacity);
        self.streams.capacity() * size_of::<ChunkStream>() + partial.sum::<usize>()
    }

    /// Parses a chunk's header. Returns the chunk stream's slot and the number of bytes of data in this chunk.
    fn header(&mut self, input: &mut &[u8]) -> Result<Option<(usize, usize)>, Error> {
        let Some((fmt, csid, basic)) = self.basic_header(input) else { return Ok(None) };
        let found = self.streams.iter().position(|stream| stream.csid == csid);
        let last = self.check_order(fmt, csid, found)?;
        let end = basic + MESSAGE_HEADER_BYTES[usize::from(fmt)];
        if !self.carry_up_to(end, input) {
            return Ok(None);
        }
        let mut header = message_header(fmt, &self.carry[basic..end], last);
        let Some(extended) = self.extended_timestamp(fmt, end, &mut header, input) else {
            return Ok(None);
        };
        self.uncarry(end + extended);
        let begins = found.is_none_or(|slot| self.streams[slot].partial.is_none());
        if begins {
            header.advance(fmt);
            self.check_length(&header)?;
        }
        let slot = self.slot(found, csid)?;
        let stream = &mut self.streams[slot];
        stream.last = header;
        let received = stream.partial.get_or_insert_default().len();
        Ok(Some((slot, (header.length as usize - received).min(self.chunk_size as usize))))
    }

    /// Reads the extended timestamp behind the message header, which ends at `end`; returns its length, 0 or 4.
    ///
    /// Some encoders leave it out of chunks of type 3. It is there if the bytes are the value it must have: that of the
    /// last header, or the message's absolute time, which others repeat instead of a delta. SRS tells it the same way.
    fn extended_timestamp(
        &mut self,
        fmt: u8,
        end: usize,
        header: &mut Header,
        input: &mut &[u8],
    ) -> Option<usize> {
        if !header.extended {
            return Some(0);
        }
        if !self.carry_up_to(end + 4, input) {
            return None;
        }
        let value = u32::from_be_bytes(*self.carry[end..].first_chunk()?);
        if fmt < 3 {
            header.field = value;
        }
        let there = value == header.field || value == header.timestamp;
        Some(if there { 4 } else { 0 })
    }

    /// The chunk type, the chunk stream id and the length of the basic header (section 5.3.1.1).
    fn basic_header(&mut self, input: &mut &[u8]) -> Option<(u8, u32, usize)> {
        if !self.carry_up_to(1, input) {
            return None;
        }
        let len = match self.carry[0] & 0x3f {
            0 => 2,
            1 => 3,
            _ => 1,
        };
        if !self.carry_up_to(len, input) {
            return None;
        }
        let [first, second, third, ..] = self.carry;
        let csid = match len {
            1 => u32::from(first & 0x3f),
            2 => u32::from(second) + 64,
            _ => u32::from(third) * 256 + u32::from(second) + 64,
        };
        Some((first >> 6, csid, len))
    }

    /// Whether a chunk of type `fmt` may come now, and the header it refers to.
    ///
    /// Only type 3 may continue a message. A type 0, 1 or 2 inside one could mean that the peer gave the message up
    /// or that it repeats the header; guessing wrong turns the rest of the stream into garbage, so it is an error, as
    /// it is for type 0 in SRS.
    fn check_order(&self, fmt: u8, csid: u32, found: Option<usize>) -> Result<Header, Error> {
        match found {
            Some(slot) if fmt < 3 && self.streams[slot].partial.is_some() => {
                Err(Error::ChunkInsideMessage { csid, fmt })
            }
            Some(slot) => Ok(self.streams[slot].last),
            // librtmp begins chunk stream 2 with a type 1 when it answers pings.
            None if fmt < 2 => Ok(Header::default()),
            None => Err(Error::ChunkWithoutHeader { csid, fmt }),
        }
    }

    fn check_length(&self, header: &Header) -> Result<(), Error> {
        if header.length <= self.message_bytes_max {
            return Ok(());
        }
        Err(Error::MessageTooLong {
            type_id: header.type_id,
            length: header.length as usize,
            max: self.message_bytes_max as usize,
        })
    }

    fn slot(&mut self, found: Option<usize>, csid: u32) -> Result<usize, Error> {
        if let Some(slot) = found {
            return Ok(slot);
        }
        if self.streams.len() == CHUNK_STREAMS_MAX {
            return Err(Error::ChunkStreams);
        }
        self.streams.push(ChunkStream { csid, last: Header::default(), partial: None });
        Ok(self.streams.len() - 1)
    }

    /// Moves up to `left` bytes of data into the message of `slot`; returns how many.
    fn data(&mut self, slot: usize, left: usize, input: &mut &[u8]) -> Result<usize, Error> {
        let from_carry = left.min(usize::from(self.carried));
        let (now, later) = input.split_at(input.len().min(left - from_carry));
        let stream = &mut self.streams[slot];
        let partial = stream.partial.get_or_insert_default();
        reserve(partial, from_carry + now.len(), stream.last.length as usize);
        partial.extend_from_slice(&self.carry[..from_carry]);
        partial.extend_from_slice(now);
        *input = later;
        self.uncarry(from_carry);
        self.partial_bytes += from_carry + now.len();
        if self.partial_bytes > PARTIAL_BYTES_MAX {
            return Err(Error::PartialBytes);
        }
        Ok(from_carry + now.len())
    }

    /// The message of `slot`, if its last byte has arrived.
    fn take_complete(&mut self, slot: usize) -> Option<Message> {
        let ChunkStream { csid, last, partial } = &mut self.streams[slot];
        let payload = partial.take_if(|bytes| bytes.len() == last.length as usize)?;
        self.partial_bytes -= payload.len();
        Some(Message {
            csid: *csid,
            timestamp: last.timestamp,
            type_id: last.type_id,
            stream_id: last.stream_id,
            payload: Bytes::from(payload),
        })
    }

    /// Acts on the messages of the chunk layer itself; returns whether `message` was one.
    fn obey(&mut self, message: &Message) -> Result<bool, Error> {
        let name = match message.type_id {
            type_id::SET_CHUNK_SIZE => "Set Chunk Size",
            type_id::ABORT => "Abort",
            _ => return Ok(false),
        };
        self.obeyed = self.obeyed.saturating_add(1);
        let length = message.payload.len();
        let bytes = message.payload.first_chunk().ok_or(Error::ShortMessage { name, length })?;
        let value = u32::from_be_bytes(*bytes);
        if message.type_id == type_id::ABORT {
            self.abort(value);
        } else if matches!(value, 1..=0x7fff_ffff) {
            self.chunk_size = value;
        } else {
            return Err(Error::ChunkSize(value));
        }
        Ok(true)
    }

    fn abort(&mut self, csid: u32) {
        let stream = self.streams.iter_mut().find(|stream| stream.csid == csid);
        if let Some(partial) = stream.and_then(|stream| stream.partial.take()) {
            self.partial_bytes -= partial.len();
        }
    }

    /// Fills the carry to `len` bytes; returns whether there were enough.
    fn carry_up_to(&mut self, len: usize, input: &mut &[u8]) -> bool {
        let carried = usize::from(self.carried);
        let missing = len.saturating_sub(carried);
        let (now, later) = input.split_at(input.len().min(missing));
        self.carry[carried..carried + now.len()].copy_from_slice(now);
        self.carried += now.len() as u8;
        *input = later;
        now.len() == missing
    }

    /// Drops the first `len` bytes of the carry.
    fn uncarry(&mut self, len: usize) {
        self.carry.copy_within(len..usize::from(self.carried), 0);
        self.carried -= len as u8;
    }
}

impl Header {
    /// Sets the timestamp of a message that begins with a chunk of type `fmt`.
    fn advance(&mut self, fmt: u8) {
        match fmt {
            0 => self.timestamp = self.field,
            // Section 5.3.1.2.4 repeats the field of a type 0 as a delta, and FFmpeg sends that for a second message
            // at 2 x the first timestamp. Past 4.6 hours that cannot be meant; SRS takes an extended timestamp as
            // absolute here.
            3 if self.extended && self.absolute => {}
            _ => self.timestamp = self.timestamp.wrapping_add(self.field),
        }
    }
}

/// The header that a chunk of type `fmt` has, given the one before it. The absolute timestamp is still the earlier one.
fn message_header(fmt: u8, bytes: &[u8], last: Header) -> Header {
    let mut header = last;
    if let [a, b, c, ..] = *bytes {
        header.field = u32::from_be_bytes([0, a, b, c]);
        header.extended = header.field == TIMESTAMP_EXTENDED;
        header.absolute = fmt == 0;
    }
    if let [_, _, _, a, b, c, type_id, ..] = *bytes {
        header.length = u32::from_be_bytes([0, a, b, c]);
        header.type_id = type_id;
    }
    if let [.., a, b, c, d] = *bytes
        && fmt == 0
    {
        header.stream_id = u32::from_le_bytes([a, b, c, d]);
    }
    header
}

/// Makes room for `more` bytes of a message of `length` bytes: doubling, so that the copies stay linear, and never
/// beyond `length`.
fn reserve(partial: &mut Vec<u8>, more: usize, length: usize) {
    if partial.capacity() - partial.len() < more {
        let room = more.max(partial.len()).min(length - partial.len());
        partial.reserve_exact(room);
    }
}
