//! The tags of an FLV file, once through.

use std::{
    fmt,
    io::{self, Read},
};

use weir_flv::{Tag, file};
use weir_intake::Allowance;
use weir_media::{Content, Timestamp};

/// Bytes read from the file at a time.
const READ_BYTES: usize = 16 * 1024;

/// How long the last frame of a repeated file is taken to last if it is the only one, in milliseconds.
const FRAME: u32 = 40;

/// The longest pause between two rounds of a repeated file, in milliseconds: a hole in front of its last frame is not
/// made twice.
const STEP_MAX: u32 = 1000;

/// The tags of a file, with their timestamps moved by an offset.
pub struct Tags {
    input: Box<dyn Read + Send>,
    reader: file::Reader,
    offset: u32,
    audio: Option<Span>,
    video: Option<Span>,
}

/// Why there are no more tags.
#[derive(Debug)]
pub enum Unreadable {
    /// The file cannot be read.
    Read(io::Error),
    /// It is no FLV.
    Format(weir_flv::Error),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "it cannot be read: {error}"),
            Self::Format(error) => write!(f, "it is not FLV: {error}"),
        }
    }
}

/// The timestamps of the sound or of the pictures.
#[derive(Clone, Copy)]
struct Span {
    first: u32,
    last: u32,
    /// The distance of the last two that differ.
    step: u32,
}

impl Tags {
    /// Those of `input`, `offset` milliseconds later than it says.
    pub fn new(input: Box<dyn Read + Send>, offset: u32) -> Self {
        Self { input, reader: file::Reader::new(), offset, audio: None, video: None }
    }

    /// The same, for a file that may make us hold no more than `memory` says.
    #[must_use]
    pub fn limited(mut self, memory: &Allowance) -> Self {
        self.reader.limit_to(&memory.budget, memory.message_bytes);
        self
    }

    /// The next one. It may wait for the disk.
    ///
    /// # Errors
    /// When the file cannot be read, or is no FLV.
    pub fn read(&mut self) -> Result<Option<Tag>, Unreadable> {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.reader.poll().map_err(Unreadable::Format)? {
                Some(file::Item::Tag(tag)) => return Ok(Some(self.place(tag))),
                Some(file::Item::Header(_)) => {}
                None => match self.input.read(&mut buffer).map_err(Unreadable::Read)? {
                    // A file that is cut off in the middle of a tag has been read as far as it goes.
                    0 => return Ok(None),
                    n => self.reader.push(&buffer[..n]),
                },
            }
        }
    }

    fn place(&mut self, mut tag: Tag) -> Tag {
        tag.timestamp = tag.timestamp.wrapping_add(self.offset);
        // The times of configuration records, of metadata and of broken tags say nothing.
        match weir_flv::to_frame(&tag, Timestamp::ZERO, 0).map(|frame| frame.content) {
            Ok(Content::Audio(_)) => Span::extend(&mut self.audio, tag.timestamp),
            Ok(Content::Video { .. }) => Span::extend(&mut self.video, tag.timestamp),
            _ => {}
        }
        tag
    }

    /// The offset of the next round: so late that neither sound nor pictures overlap with this one.
    pub fn end(&self) -> u32 {
        let lengths = [self.audio, self.video].into_iter().flatten().map(Span::length);
        self.offset.wrapping_add(lengths.max().unwrap_or(FRAME))
    }
}

impl Span {
    fn extend(span: &mut Option<Self>, at: u32) {
        let known = span.get_or_insert(Self { first: at, last: at, step: FRAME });
        let step = at.wrapping_sub(known.last);
        if step != 0 {
            (known.last, known.step) = (at, step.min(STEP_MAX));
        }
    }

    /// With the last frame's own duration.
    fn length(self) -> u32 {
        self.last.wrapping_sub(self.first).wrapping_add(self.step)
    }
}
