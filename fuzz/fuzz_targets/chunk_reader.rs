//! Chunks in pieces of any size give the same messages as all at once, in bounded memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_rtmp::chunk::{CHUNK_STREAMS_MAX, Message, PARTIAL_BYTES_MAX, Reader};

/// What a chunk stream may cost beside its unfinished message.
const STREAM_OVERHEAD: usize = 256;

/// The messages of `input`, given to the reader `piece` bytes at a time; `None` at its end if it was refused.
fn read(input: &[u8], piece: usize) -> Vec<Option<Message>> {
    let (mut reader, mut messages) = (Reader::new(), Vec::new());
    for mut bytes in input.chunks(piece) {
        loop {
            match reader.read(&mut bytes) {
                Ok(Some(message)) => messages.push(Some(message)),
                Ok(None) => break,
                Err(_) => {
                    messages.push(None);
                    return messages;
                }
            }
        }
        assert!(bytes.is_empty(), "the reader wants no more, but left {} bytes", bytes.len());
    }
    let most =
        2 * PARTIAL_BYTES_MAX.min(input.len()) + CHUNK_STREAMS_MAX * STREAM_OVERHEAD + 64 * 1024;
    assert!(
        reader.heap_bytes() <= most,
        "{} bytes held for {} of input",
        reader.heap_bytes(),
        input.len()
    );
    messages
}

fuzz_target!(|data: &[u8]| {
    let Some((piece, input)) = data.split_first() else { return };
    let whole = read(input, input.len().max(1));
    let pieces = read(input, usize::from(*piece) + 1);
    assert_eq!(whole, pieces);
});
