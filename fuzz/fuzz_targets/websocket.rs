//! Whatever a viewer says over WebSocket is heard the same in pieces of any size, and is answered with whole frames.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;

// The file alone: it knows nothing of the crate that it is in, which links TLS, tokio and a poller.
#[allow(dead_code, reason = "what it sends is another matter")]
#[path = "../../crates/delivery/src/websocket.rs"]
mod websocket;

use websocket::{Reader, Said};

/// What an answer may have: a header of two bytes, and 125 behind it (RFC 6455 section 5.5).
const ANSWER_MAX: usize = 127;

/// What is heard of `input`, given to the reader `piece` bytes at a time, up to the end that it calls for.
fn read(input: &[u8], piece: usize, now: Instant) -> Vec<Said> {
    let (mut reader, mut all) = (Reader::default(), Vec::new());
    for mut bytes in input.chunks(piece) {
        while let Some(said) = reader.read(&mut bytes, now) {
            let is_last = !matches!(said, Said::Ping(_));
            all.push(said);
            if is_last {
                return all;
            }
        }
        assert!(bytes.is_empty(), "nothing of interest, and {} bytes unread", bytes.len());
    }
    all
}

fn check(said: &Said) {
    let (opcode, answer) = match said {
        Said::Ping(answer) => (10, answer),
        Said::Close(answer) | Said::Wrong(_, answer) => (8, answer),
    };
    assert!(answer.len() <= ANSWER_MAX, "{} bytes", answer.len());
    assert_eq!(answer[0], 0x80 | opcode, "a whole frame");
    assert_eq!(usize::from(answer[1]), answer.len() - 2, "no mask, and its length");
}

fuzz_target!(|data: &[u8]| {
    let Some((piece, input)) = data.split_first() else { return };
    let now = Instant::now();
    let whole = read(input, input.len().max(1), now);
    let pieces = read(input, usize::from(*piece) + 1, now + Duration::from_secs(1));
    assert_eq!(whole, pieces);
    whole.iter().for_each(check);
});
