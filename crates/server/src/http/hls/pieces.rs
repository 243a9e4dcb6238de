//! Files that are sent piece by piece: from a disk, and from memory while that is short.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::Range,
    sync::Arc,
    time::UNIX_EPOCH,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header::CONTENT_LENGTH};
use weir_clients::descriptors;
use weir_hls::{Held, SegmentName, Window};
use weir_media::{Budget, Charge, Use};
use weir_outputs::hls::Files;

use super::{
    body::{About, begun, name_of},
    viewer::Asker,
};
use crate::{
    http::{
        answer::{plain, retry_after},
        conditional::Wanted,
    },
    memory,
    node::Node,
};

/// Bytes of a file, or a copy, in memory for each client that fetches it.
const READ_BYTES: usize = 64 * 1024;

/// The same while many clients take their time: as much as there is room for in any case.
const READ_BYTES_MIN: usize = 4 * 1024;

/// What the client wants of a segment in memory, in pieces of which each is a copy: while more is held than should be,
/// nobody keeps what has left the window by reading it slowly. Who takes longer than it is there does not get the rest.
pub fn in_pieces(
    node: &Node,
    length: usize,
    (window, file): (Arc<Window>, String),
    name: SegmentName,
    asker: &Asker,
) -> Response {
    // What was read in from a folder of an earlier release has no better name either.
    let etag = name_of(name).unwrap_or_else(|| format!("\"{length:x}\""));
    let wanted = asker.conditions.wanted(&etag, length as u64);
    let about = About::object(name, &[]);
    let Some((mut answer, part)) = begun(&wanted, length as u64) else {
        return about.not_modified(&etag);
    };
    if wanted != Wanted::Beyond {
        let budget = node.streams.registry.budget().clone();
        answer.headers_mut().insert(CONTENT_LENGTH, (part.end - part.start).into());
        // Both ends are within the segment.
        let part = part.start as usize..part.end as usize;
        *answer.body_mut() = Body::from_stream(stream::try_unfold(part, move |mut left| {
            let piece = copied(&window, &file, &mut left, &budget);
            std::future::ready(piece.map(|piece| piece.map(|piece| (piece, left))))
        }));
        answer = about.about(answer, &etag);
    }
    answer
}

/// The next piece of what is `left` to send of an object; none at the end.
fn copied(
    window: &Window,
    file: &str,
    left: &mut Range<usize>,
    budget: &Budget,
) -> io::Result<Option<Bytes>> {
    if left.start >= left.end {
        return Ok(None);
    }
    let Some(Held::Here(data)) = window.get(file) else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the segment has left the window"));
    };
    let (room, charge) = room(budget);
    let end = left.end.min(left.start + room);
    let piece = data.get(left.start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
    let piece = memory::counted(Bytes::copy_from_slice(piece), charge);
    left.start = end;
    Ok(Some(piece))
}

/// How long the next piece for a client may be, and what counts it.
fn room(budget: &Budget) -> (usize, Charge) {
    let mut charge = Charge::new(budget, Use::Output);
    let room = [READ_BYTES, READ_BYTES_MIN].into_iter().find(|room| charge.grow(*room).is_ok());
    (room.unwrap_or(READ_BYTES_MIN), charge)
}

/// A file that is being sent.
struct Sending {
    file: File,
    /// Where the next piece begins, if that is not where the file is read.
    seek: Option<u64>,
    /// Bytes that are left to send.
    left: u64,
    /// What the pieces count against.
    budget: Budget,
}

/// The next piece of a file; none at the end of what is to be sent.
fn piece(mut sending: Sending) -> io::Result<Option<(Bytes, Sending)>> {
    if let Some(start) = sending.seek.take() {
        sending.file.seek(SeekFrom::Start(start))?;
    }
    let (room, charge) = room(&sending.budget);
    let most = usize::try_from(sending.left).unwrap_or(room).min(room);
    let mut piece = vec![0; most];
    let read = if most > 0 { sending.file.read(&mut piece)? } else { 0 };
    piece.truncate(read);
    sending.left -= read as u64;
    Ok((read > 0).then(|| (memory::counted(piece.into(), charge), sending)))
}

/// What the client wants of a segment that is a file.
pub fn file_in_part(
    node: &Node,
    (files, file, length): (Files, File, u64),
    name: SegmentName,
    asker: &Asker,
) -> Response {
    let etag = name_of(name).unwrap_or_else(|| {
        // Of an open file the system knows this without its disk.
        let modified = file.metadata().and_then(|about| about.modified()).ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        format!("\"{length:x}-{:x}\"", since.unwrap_or_default().as_nanos())
    });
    let wanted = asker.conditions.wanted(&etag, length);
    let about = About::object(name, &[]);
    let Some((mut answer, part)) = begun(&wanted, length) else {
        return about.not_modified(&etag);
    };
    if wanted != Wanted::Beyond {
        let Some(place) = descriptors::opened().take() else {
            let reason = "too many segments are being sent";
            return (retry_after(), plain(StatusCode::SERVICE_UNAVAILABLE, reason)).into_response();
        };
        let next = |(sending, files, place): (_, Files, _)| async move {
            let piece = files.read(move || piece(sending)).await?;
            io::Result::Ok(piece.map(|(piece, sending)| (piece, (sending, files, place))))
        };
        let seek = Some(part.start).filter(|start| *start > 0);
        let left = part.end - part.start;
        let budget = node.streams.registry.budget().clone();
        *answer.body_mut() = Body::from_stream(stream::try_unfold(
            (Sending { file, seek, left, budget }, files, place),
            next,
        ));
        answer.headers_mut().insert(CONTENT_LENGTH, left.into());
        answer = about.about(answer, &etag);
    }
    answer
}
