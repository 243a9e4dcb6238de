//! Messages to tags.

use bytes::Bytes;
use weir_flv::{Tag, TagKind};

pub use crate::limits::AGGREGATE_TAGS_MAX;
use crate::{
    Error,
    chunk::Message,
    message::{amf0_body, type_id},
};

/// The tag header inside an aggregate message: type 1, length 3, timestamp 3 + 1, stream id 3.
const TAG_HEADER_BYTES: usize = 11;

/// The length field behind each tag.
const BACK_POINTER_BYTES: usize = 4;

/// What of a message of media nothing can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeftOut {
    /// It has no body. Encoders send such messages to keep a connection alive, and while they are muted.
    #[error("an empty message")]
    Empty,
    /// A tag inside an aggregate message is longer than the message, and where the next one begins is unknown.
    #[error("a tag of {length} bytes in an aggregate message that has {left} left")]
    CutAggregate {
        /// The tag's length.
        length: usize,
        /// What is left of the message.
        left: usize,
    },
}

/// Hands the tags of an audio, video, data or aggregate message to `take`, and what is left out of it.
///
/// # Errors
/// If an aggregate has too many tags.
pub(crate) fn tags(
    message: Message,
    mut take: impl FnMut(Result<Tag, LeftOut>),
) -> Result<(), Error> {
    if message.type_id == type_id::AGGREGATE {
        return split_aggregate(&message, take);
    }
    let kind = match message.type_id {
        type_id::AUDIO => TagKind::Audio,
        type_id::VIDEO => TagKind::Video,
        _ => TagKind::Script,
    };
    let body = amf0_body(message.type_id, message.payload);
    match body.is_empty() {
        true => take(Err(LeftOut::Empty)),
        false => take(Ok(Tag { kind, timestamp: message.timestamp, body })),
    }
    Ok(())
}

/// Splits an aggregate message (specification, section 7.1.6). Its own timestamp is that of its first tag on the
/// stream's timeline.
fn split_aggregate(
    message: &Message,
    mut take: impl FnMut(Result<Tag, LeftOut>),
) -> Result<(), Error> {
    let mut rest = message.payload.clone();
    let (mut offset, mut tags) = (None, 0);
    while let Some(header) = rest.first_chunk::<TAG_HEADER_BYTES>() {
        let [type_id, l0, l1, l2, t0, t1, t2, t3, ..] = *header;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let timestamp = u32::from_be_bytes([t3, t0, t1, t2]);
        let offset = *offset.get_or_insert(message.timestamp.wrapping_sub(timestamp));
        let left = rest.len() - TAG_HEADER_BYTES;
        if length > left {
            take(Err(LeftOut::CutAggregate { length, left }));
            return Ok(());
        }
        tags += 1;
        if tags > AGGREGATE_TAGS_MAX {
            return Err(Error::AggregateTags);
        }
        // A copy: a slice would keep the whole message, which may be mostly padding, for as long as a log keeps the
        // tag.
        let body = Bytes::copy_from_slice(&rest[TAG_HEADER_BYTES..TAG_HEADER_BYTES + length]);
        // The last back pointer is left out by some senders.
        let end = (TAG_HEADER_BYTES + length + BACK_POINTER_BYTES).min(rest.len());
        rest = rest.slice(end..);
        match TagKind::from_type_id(type_id) {
            Some(_) if body.is_empty() => take(Err(LeftOut::Empty)),
            Some(kind) => {
                take(Ok(Tag { kind, timestamp: timestamp.wrapping_add(offset), body }));
            }
            None => {}
        }
    }
    Ok(())
}

/// Whether a message is audio or video, alone or in an aggregate.
pub(crate) fn is_audio_or_video(message: &Message) -> bool {
    matches!(message.type_id, type_id::AUDIO | type_id::VIDEO | type_id::AGGREGATE)
}
