//! The FLV container (annex E.2 and E.3): files, and the endless file that HTTP-FLV is.
//!
//! ```text
//! header(9)  size of the tag before = 0 (4)  tag header(11) body  size of the tag before (4)  tag header(11) ...
//! ```

use bytes::{Buf, BufMut, BytesMut};
use weir_media::{Budget, Charge, Use};

pub use crate::limits::BODY_BYTES_MAX;
pub use crate::limits::HEADER_BYTES_MAX;
use crate::{Error, Tag, TagKind};

/// What a tag adds to its body: a header of 11 bytes before it and its size in 4 bytes behind it.
pub const TAG_OVERHEAD: usize = TAG_HEADER_BYTES + PREVIOUS_TAG_SIZE_BYTES;

const HEADER_BYTES: u8 = 9;
const TAG_HEADER_BYTES: usize = 11;
const PREVIOUS_TAG_SIZE_BYTES: usize = 4;
const HAS_AUDIO: u8 = 0x04;
const HAS_VIDEO: u8 = 0x01;

/// The header of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Whether audio tags follow. A hint: many writers set both flags always.
    pub has_audio: bool,
    /// Whether video tags follow. A hint as well.
    pub has_video: bool,
}

impl Header {
    /// The header and the size of the tag before the first one, which is 0: all that precedes the first tag.
    pub fn encode(self) -> [u8; 13] {
        let flags = [(self.has_audio, HAS_AUDIO), (self.has_video, HAS_VIDEO)];
        let flags = flags.into_iter().fold(0, |all, (set, bit)| if set { all | bit } else { all });
        [b'F', b'L', b'V', 1, flags, 0, 0, 0, HEADER_BYTES, 0, 0, 0, 0]
    }
}

/// Appends a tag: its header, `body` and its size.
///
/// A body longer than [`BODY_BYTES_MAX`] cannot be written; nothing is appended then. No received message is that long.
pub fn write_tag(out: &mut BytesMut, kind: TagKind, timestamp: u32, body: &[u8]) {
    let Some(header) = tag_header(kind, timestamp, body.len()) else { return };
    out.reserve(TAG_OVERHEAD + body.len());
    out.put_slice(&header);
    out.put_slice(body);
    out.put_slice(&previous_tag_size(body.len()));
}

/// The 11 bytes before a body of `len` bytes, for those who do not want to copy the body; `None` above
/// [`BODY_BYTES_MAX`].
pub fn tag_header(kind: TagKind, timestamp: u32, len: usize) -> Option<[u8; TAG_HEADER_BYTES]> {
    let len = u32::try_from(len).ok().filter(|_| len <= BODY_BYTES_MAX)?;
    let [_, l0, l1, l2] = len.to_be_bytes();
    let [extended, t0, t1, t2] = timestamp.to_be_bytes();
    Some([kind.type_id(), l0, l1, l2, t0, t1, t2, extended, 0, 0, 0])
}

/// The 4 bytes behind a body of `len` bytes, at most [`BODY_BYTES_MAX`].
pub fn previous_tag_size(len: usize) -> [u8; PREVIOUS_TAG_SIZE_BYTES] {
    u32::try_from(len.saturating_add(TAG_HEADER_BYTES)).unwrap_or(u32::MAX).to_be_bytes()
}

/// What a [`Reader`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The file's header; always the first item.
    Header(Header),
    /// A tag.
    Tag(Tag),
}

/// Reads a file from pieces of any size.
///
/// [`push`](Self::push) bytes as they come, then [`poll`](Self::poll) until it returns `None`. The reader then holds
/// less than one tag: its memory follows the bytes received, whatever length a tag announces, and ends at 16 MiB or
/// what [`limit_to`](Self::limit_to) says. The body of a tag has a buffer of exactly its size. After an error the
/// reader is of no further use.
#[derive(Debug, Default)]
pub struct Reader {
    /// What was pushed and not understood yet.
    buffer: BytesMut,
    state: State,
    /// The longest body accepted; none is any that can be announced.
    body_bytes_max: Option<usize>,
    /// Counts the unfinished body.
    charge: Option<Charge>,
}

#[derive(Debug, Default)]
enum State {
    /// At the file's header.
    #[default]
    Header,
    /// At the size of the tag before. Its value is not checked: there are writers that get it wrong, and readers only
    /// go forward.
    Tag,
    /// Inside a body of `len` bytes.
    Body { kind: TagKind, timestamp: u32, len: usize, body: Vec<u8> },
}

impl Reader {
    /// A reader at the start of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// An unfinished body counts against `budget` from now on, and none may be longer than `body_bytes_max`.
    pub fn limit_to(&mut self, budget: &Budget, body_bytes_max: usize) {
        self.charge = Some(Charge::new(budget, Use::Messages));
        self.body_bytes_max = Some(body_bytes_max);
    }

    /// Whether the unfinished body is more than this reader's part of a budget that has hardly any room.
    pub fn is_hog(&self) -> bool {
        self.charge.as_ref().is_some_and(Charge::is_hog)
    }

    /// Takes the next bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item, or `None` when it is not complete yet.
    ///
    /// # Errors
    /// If this is no FLV file of version 1, or a tag is of an unknown type or encrypted, which mostly means that the
    /// framing is lost.
    pub fn poll(&mut self) -> Result<Option<Item>, Error> {
        loop {
            match self.state {
                State::Header => return Ok(self.header()?.map(Item::Header)),
                State::Body { .. } => return Ok(self.body()?.map(Item::Tag)),
                State::Tag => {
                    if !self.tag()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Bytes received that are not part of an item yet. At the end of a file more than 4 mean that it is cut.
    pub fn buffered(&self) -> usize {
        let body = match &self.state {
            State::Body { body, .. } => TAG_OVERHEAD + body.len(),
            State::Header | State::Tag => 0,
        };
        self.buffer.len() + body
    }

    fn header(&mut self) -> Result<Option<Header>, Error> {
        let Some(&[s0, s1, s2, version, flags, o0, o1, o2, o3]) =
            self.buffer.first_chunk::<{ HEADER_BYTES as usize }>()
        else {
            return Ok(None);
        };
        if [s0, s1, s2] != *b"FLV" {
            return Err(Error::Signature([s0, s1, s2]));
        }
        if version != 1 {
            return Err(Error::Version(version));
        }
        let size = u32::from_be_bytes([o0, o1, o2, o3]);
        if !(u32::from(HEADER_BYTES)..=HEADER_BYTES_MAX).contains(&size) {
            return Err(Error::HeaderSize(size));
        }
        if self.buffer.len() < size as usize {
            return Ok(None);
        }
        self.buffer.advance(size as usize);
        self.state = State::Tag;
        Ok(Some(Header { has_audio: flags & HAS_AUDIO != 0, has_video: flags & HAS_VIDEO != 0 }))
    }

    /// Goes on to the body of the next tag; false when the tag's header is not complete yet.
    fn tag(&mut self) -> Result<bool, Error> {
        let Some(&[_, _, _, _, tag_type, l0, l1, l2, t0, t1, t2, extended, _, _, _]) =
            self.buffer.first_chunk::<TAG_OVERHEAD>()
        else {
            return Ok(false);
        };
        let kind = TagKind::from_type_id(tag_type).ok_or(Error::TagType(tag_type))?;
        let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let max = self.body_bytes_max.unwrap_or(BODY_BYTES_MAX);
        if len > max {
            return Err(Error::TagTooLong { len, max });
        }
        if self.charge.as_ref().is_some_and(|charge| !charge.fits(len)) {
            return Err(Error::Memory(len));
        }
        let timestamp = u32::from_be_bytes([extended, t0, t1, t2]);
        self.buffer.advance(TAG_OVERHEAD);
        self.state = State::Body { kind, timestamp, len, body: Vec::new() };
        Ok(true)
    }

    fn body(&mut self) -> Result<Option<Tag>, Error> {
        let State::Body { kind, timestamp, len, body } = &mut self.state else { return Ok(None) };
        let now = self.buffer.len().min(*len - body.len());
        if body.capacity() - body.len() < now {
            // Doubling, so that the copies stay linear, and never beyond the length.
            let room = now.max(body.len()).min(*len - body.len());
            let grown = body.len() + room - body.capacity();
            if let Some(charge) = &mut self.charge {
                charge.grow(grown).map_err(|_| Error::Memory(grown))?;
            }
            body.try_reserve_exact(room).map_err(|_| Error::Memory(grown))?;
        }
        body.extend_from_slice(&self.buffer[..now]);
        if body.len() < *len {
            self.buffer.clear();
            return Ok(None);
        }
        let tag = Tag { kind: *kind, timestamp: *timestamp, body: std::mem::take(body).into() };
        self.buffer.advance(now);
        self.state = State::Tag;
        if let Some(charge) = &mut self.charge {
            charge.shrink(charge.bytes());
        }
        Ok(Some(tag))
    }
}

#[cfg(test)]
mod tests;
