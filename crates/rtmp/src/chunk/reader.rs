//! Bytes to messages.

use bytes::Bytes;

use weir_media::{Budget, Charge, Use};

use super::{
    CHUNK_SIZE_DEFAULT, CHUNK_STREAMS_MAX, IDLE_CHUNK_STREAMS_MAX, IDLE_PARTIAL_BYTES_MAX,
    MESSAGE_BYTES_MAX, Message, PARTIAL_BYTES_MAX, TIMESTAMP_EXTENDED,
};
use crate::{
    Error,
    limits::HELD_BYTES_MAX,
    message::{COMMAND_BYTES_MAX, DATA_BYTES_MAX, type_id},
};

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
    limits: Limits,
    /// Capacity of all unfinished messages.
    partial_bytes: usize,
    /// The same, where it counts for more than this connection.
    charge: Option<Charge>,
    streams: Vec<ChunkStream>,
    /// Messages of the chunk layer since they were last [taken](Self::take_obeyed).
    obeyed: u32,
}

/// What the peer may make us hold.
#[derive(Clone, Copy, Debug)]
struct Limits {
    message_bytes: usize,
    partial_bytes: usize,
    chunk_streams: usize,
}

impl Limits {
    /// Before it publishes, and once it has ceased.
    const IDLE: Self = Self {
        message_bytes: COMMAND_BYTES_MAX,
        partial_bytes: IDLE_PARTIAL_BYTES_MAX,
        chunk_streams: IDLE_CHUNK_STREAMS_MAX,
    };

    /// A publish waits for its answer: messages as long as they may be afterwards have begun, but not much is read of
    /// them before.
    const fn of_held(message_bytes: usize) -> Self {
        Self { partial_bytes: HELD_BYTES_MAX, ..Self::of_media(message_bytes) }
    }

    /// Media may come whose messages have up to `message_bytes`.
    const fn of_media(message_bytes: usize) -> Self {
        let (partial_bytes, chunk_streams) = (PARTIAL_BYTES_MAX, CHUNK_STREAMS_MAX);
        Self { message_bytes, partial_bytes, chunk_streams }
    }
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
            limits: Limits::of_media(MESSAGE_BYTES_MAX),
            partial_bytes: 0,
            charge: None,
            streams: Vec::new(),
            obeyed: 0,
        }
    }

    /// From now on unfinished messages count against `budget` too.
    pub fn charge(&mut self, budget: &Budget) {
        let mut charge = Charge::new(budget, Use::Commands);
        charge.add(self.partial_bytes);
        self.charge = Some(charge);
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

    /// From the next message header on, the peer may say no more than somebody who does not publish has to say.
    pub fn expect_commands(&mut self) {
        self.limits = Limits::IDLE;
        if let Some(charge) = &mut self.charge {
            charge.is_for(Use::Commands);
        }
    }

    /// From the next message header on, media may come, in messages of up to `bytes`, from a peer that may not publish
    /// yet: what it sends counts as before.
    pub fn expect_held(&mut self, bytes: usize) {
        self.limits = Limits::of_held(bytes.min(MESSAGE_BYTES_MAX));
        if let Some(charge) = &mut self.charge {
            charge.is_for(Use::Commands);
        }
    }

    /// What the peer's bytes count against, if they count.
    pub(crate) fn budget(&self) -> Option<&Budget> {
        self.charge.as_ref().map(Charge::budget)
    }

    /// From the next message header on, media may come, in messages of up to `bytes`.
    pub fn expect_media(&mut self, bytes: usize) {
        self.limits = Limits::of_media(bytes.min(MESSAGE_BYTES_MAX));
        if let Some(charge) = &mut self.charge {
            charge.is_for(Use::Messages);
        }
    }

    /// Bytes of unfinished messages.
    pub fn partial_bytes(&self) -> usize {
        self.partial_bytes
    }

    /// Whether the unfinished messages are more than this peer's part of a budget that has hardly any room.
    pub fn is_hog(&self) -> bool {
        self.charge.as_ref().is_some_and(Charge::is_hog)
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

    /// Whether a message may come of which the header is there: what has no room is refused before it takes any.
    fn check_length(&self, header: &Header) -> Result<(), Error> {
        let (type_id, length) = (header.type_id, header.length as usize);
        let most = match type_id {
            type_id::AUDIO | type_id::VIDEO | type_id::AGGREGATE => MESSAGE_BYTES_MAX,
            type_id::DATA | type_id::DATA_AMF3 => DATA_BYTES_MAX,
            _ => COMMAND_BYTES_MAX,
        };
        let max = self.limits.message_bytes.min(most);
        if length > max {
            return Err(Error::MessageTooLong { type_id, length, max });
        }
        match &self.charge {
            Some(charge) if !charge.fits(length.min(self.limits.partial_bytes)) => {
                Err(Error::Memory { bytes: length })
            }
            _ => Ok(()),
        }
    }

    fn slot(&mut self, found: Option<usize>, csid: u32) -> Result<usize, Error> {
        if let Some(slot) = found {
            return Ok(slot);
        }
        if self.streams.len() >= self.limits.chunk_streams {
            return Err(Error::ChunkStreams { max: self.limits.chunk_streams });
        }
        self.streams.push(ChunkStream { csid, last: Header::default(), partial: None });
        Ok(self.streams.len() - 1)
    }

    /// Moves up to `left` bytes of data into the message of `slot`; returns how many.
    fn data(&mut self, slot: usize, left: usize, input: &mut &[u8]) -> Result<usize, Error> {
        let from_carry = left.min(usize::from(self.carried));
        let (now, later) = input.split_at(input.len().min(left - from_carry));
        self.reserve(slot, from_carry + now.len())?;
        let partial = self.streams[slot].partial.get_or_insert_default();
        partial.extend_from_slice(&self.carry[..from_carry]);
        partial.extend_from_slice(now);
        *input = later;
        self.uncarry(from_carry);
        Ok(from_carry + now.len())
    }

    /// Makes room for `more` bytes of the message of `slot`: doubling, so that the copies stay linear, and never beyond
    /// its length. Nothing is allocated that may not be held.
    fn reserve(&mut self, slot: usize, more: usize) -> Result<(), Error> {
        let ChunkStream { last, partial, .. } = &mut self.streams[slot];
        let partial = partial.get_or_insert_default();
        if partial.capacity() - partial.len() >= more {
            return Ok(());
        }
        let before = partial.capacity();
        let room = more.max(partial.len()).min(last.length as usize - partial.len());
        let grown = (partial.len() + room).saturating_sub(before);
        if self.partial_bytes + grown > self.limits.partial_bytes {
            return Err(Error::PartialBytes { max: self.limits.partial_bytes });
        }
        let refused = Error::Memory { bytes: grown };
        if let Some(charge) = &mut self.charge {
            charge.grow(grown).map_err(|_| refused.clone())?;
        }
        partial.try_reserve_exact(room).map_err(|_| refused)?;
        self.partial_bytes += grown;
        Ok(())
    }

    /// Unfinished messages of `bytes` are no more.
    fn release(&mut self, bytes: usize) {
        self.partial_bytes = self.partial_bytes.saturating_sub(bytes);
        if let Some(charge) = &mut self.charge {
            charge.shrink(bytes);
        }
    }

    /// The message of `slot`, if its last byte has arrived.
    fn take_complete(&mut self, slot: usize) -> Option<Message> {
        let ChunkStream { csid, last, partial } = &mut self.streams[slot];
        let payload = partial.take_if(|bytes| bytes.len() == last.length as usize)?;
        let (csid, last) = (*csid, *last);
        self.release(payload.len());
        Some(Message {
            csid,
            timestamp: last.timestamp,
            type_id: last.type_id,
            stream_id: last.stream_id,
            payload: Bytes::from(payload),
        })
    }

    /// Acts on the messages of the chunk layer itself; returns whether `message` was one.
    fn obey(&mut self, message: &Message) -> Result<bool, Error> {
        if !matches!(message.type_id, type_id::SET_CHUNK_SIZE | type_id::ABORT) {
            return Ok(false);
        }
        self.obeyed = self.obeyed.saturating_add(1);
        // One that is too short says nothing.
        let Some(bytes) = message.payload.first_chunk() else { return Ok(true) };
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
            self.release(partial.capacity());
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
