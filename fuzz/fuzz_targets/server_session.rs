//! Any bytes behind a valid handshake: the session answers or ends, in bounded memory.
#![no_main]

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use weir_flv::TagKind;
use weir_rtmp::{
    Error,
    handshake::PACKET_BYTES,
    server::{Config, Event, PlayRefusal, PublishRefusal, Session},
};

/// C0, C1 and C2 of the simple handshake.
const HANDSHAKE: [u8; 1 + 2 * PACKET_BYTES] = {
    let mut bytes = [0; 1 + 2 * PACKET_BYTES];
    bytes[0] = 3;
    bytes
};

/// What a session may hold for each byte of input, and without any.
const BYTES_PER_BYTE: usize = 16;
const BYTES_AT_REST: usize = 256 * 1024;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Answers everything that the session reports as a server would. Every bit of `choices` says yes or no to one request.
fn answer(session: &mut Session, choices: &mut u8) {
    while let Some(event) = session.poll_event() {
        let yes = *choices & 1 == 0;
        match event {
            Event::Publish { stream_id, .. } if yes => session.accept_publish(stream_id),
            Event::Publish { stream_id, .. } => {
                session.reject_publish(stream_id, PublishRefusal::BadName, "no");
            }
            Event::Play { stream_id, .. } if yes => {
                session.accept_play(stream_id);
                session.send_media(stream_id, TagKind::Video, 0, &[0x17; 200]);
            }
            Event::Play { stream_id, .. } => {
                session.reject_play(stream_id, PlayRefusal::StreamNotFound, "no");
            }
            Event::Pause { stream_id, .. } => session.end_play(stream_id),
            _ => continue,
        }
        *choices = choices.rotate_right(1);
    }
}

fn converse(
    session: &mut Session,
    input: &[u8],
    piece: usize,
    mut choices: u8,
) -> Result<(), Error> {
    let mut now = *START;
    session.handle_input(&HANDSHAKE, now)?;
    for bytes in input.chunks(piece) {
        now += Duration::from_millis(1);
        session.handle_input(bytes, now)?;
        answer(session, &mut choices);
        while session.poll_output().is_some() {}
        let most = BYTES_AT_REST + BYTES_PER_BYTE * input.len();
        assert!(
            session.heap_bytes() <= most,
            "{} bytes held for {}",
            session.heap_bytes(),
            input.len()
        );
    }
    if let Some(deadline) = session.poll_timeout() {
        session.handle_timeout(deadline)?;
        panic!("the deadline passed, and the session goes on");
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let [piece, choices, input @ ..] = data else { return };
    let mut session = Session::new(Config::default(), [7; PACKET_BYTES], *START);
    if converse(&mut session, input, usize::from(*piece) * 8 + 1, *choices).is_err() {
        answer(&mut session, &mut 0);
        while session.poll_output().is_some() {}
        let again = session.handle_input(b"more", *START);
        assert!(again.is_err(), "a session that has failed takes input");
        assert_eq!(session.poll_timeout(), None, "a session that has failed wants to be woken");
    }
});
