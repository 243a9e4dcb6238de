//! FLV files: the same tags whatever the pieces, frames that are slices of their tags, and the way back to bytes.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use weir_flv::{
    Tag, TagKind,
    file::{Header, Item, Reader, write_tag},
    metadata::Metadata,
    to_frame,
};
use weir_media::Timestamp;

/// The items of a file in pieces of `piece` bytes, and whether it was read to its end.
fn read(input: &[u8], piece: usize) -> (Vec<Item>, bool) {
    let (mut reader, mut items) = (Reader::new(), Vec::new());
    for bytes in input.chunks(piece) {
        reader.push(bytes);
        loop {
            match reader.poll() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(_) => return (items, false),
            }
        }
    }
    (items, true)
}

fn classify(tag: &Tag) {
    if let Ok(frame) = to_frame(tag, Timestamp::from_millis(tag.timestamp.into()), 0) {
        assert!(frame.body.len() <= tag.body.len());
        assert!(frame.payload.len() <= frame.body.len());
    }
    if tag.kind == TagKind::Script {
        let _ = Metadata::parse(&tag.body);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((piece, input)) = data.split_first() else { return };
    let (items, _) = read(input, input.len().max(1));
    assert_eq!(items, read(input, usize::from(*piece) + 1).0);

    let tags: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Item::Tag(tag) => Some(tag),
            Item::Header(_) => None,
        })
        .collect();
    let mut written = BytesMut::from(&Header { has_audio: true, has_video: true }.encode()[..]);
    for tag in &tags {
        classify(tag);
        write_tag(&mut written, tag.kind, tag.timestamp, &tag.body);
    }
    let (again, complete) = read(&written, written.len());
    assert!(
        complete
            && again[1..].iter().eq(tags
                .into_iter()
                .cloned()
                .map(Item::Tag)
                .collect::<Vec<_>>()
                .iter())
    );

    // The body of a message may come without a file around it.
    let body = Bytes::copy_from_slice(input);
    for kind in [TagKind::Audio, TagKind::Video, TagKind::Script] {
        classify(&Tag { kind, timestamp: 0, body: body.clone() });
    }
});
