use proptest::prelude::*;

use super::*;

/// A frame as clients send it.
fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let (header, count) = header(0, payload.len());
    let mut bytes = header[..count].to_vec();
    bytes[0] = head;
    bytes[1] |= 0x80;
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn read(reader: &mut Reader, mut bytes: &[u8], now: Instant) -> Vec<Said> {
    let mut all = Vec::new();
    while let Some(said) = reader.read(&mut bytes, now) {
        let is_last = !matches!(said, Said::Ping(_));
        all.push(said);
        if is_last {
            break;
        }
    }
    all
}

fn why(bytes: &[u8]) -> Option<&'static str> {
    match read(&mut Reader::default(), bytes, Instant::now()).pop() {
        Some(Said::Wrong(why, _)) => Some(why),
        _ => None,
    }
}

#[test]
fn pings_are_answered_and_messages_are_not() {
    let bytes = [
        frame(0x81, b"hello"),
        frame(0x89, b"are you there"),
        frame(0x02, b"a message"),
        frame(0x89, b""),
        frame(0x80, b" in pieces"),
        frame(0x8A, b"a pong"),
    ];
    let said = read(&mut Reader::default(), &bytes.concat(), Instant::now());
    let pong = |payload: &[u8]| {
        let len = u8::try_from(payload.len()).expect("short");
        Said::Ping([&[0x8A, len], payload].concat().into())
    };
    assert_eq!(said, [pong(b"are you there"), pong(b"")]);
}

#[test]
fn who_closes_is_told_what_it_said() {
    let said = |payload: &[u8]| read(&mut Reader::default(), &frame(0x88, payload), Instant::now());
    assert_eq!(said(b"\x03\xe9bye"), [Said::Close(Bytes::from_static(b"\x88\x02\x03\xe9"))]);
    assert_eq!(said(b""), [Said::Close(Bytes::from_static(b"\x88\x00"))]);
}

#[test]
fn what_the_protocol_forbids_ends_it() {
    assert_eq!(why(&[0x81, 0x05]), Some("a frame without a mask"));
    assert_eq!(why(&[0x09]), Some("a control frame in pieces"));
    assert_eq!(why(&[0x89, 0xFE]), Some("a control frame that is too long"));
    assert_eq!(why(&[0xC1]), Some("a frame of an extension"));
    assert_eq!(why(&[0x83]), Some("a frame of an unknown kind"));
    assert_eq!(why(&[0x80]), Some("a continuation of nothing"));
    assert_eq!(why(&[frame(0x01, b"a"), vec![0x81]].concat()), Some("a message within a message"));
}

#[test]
fn who_says_too_much_is_closed_and_who_says_little_goes_on_for_hours() {
    let chatter = frame(0x82, &[0; INPUT_MAX]);
    assert_eq!(why(&chatter), Some("too much input"));
    let (mut reader, start) = (Reader::default(), Instant::now());
    for second in 0..7200 {
        let now = start + Duration::from_secs(second);
        assert_eq!(read(&mut reader, &frame(0x81, &[b'x'; 100]), now), [], "at {second} s");
    }
}

#[test]
fn a_reason_that_is_too_long_is_cut_between_characters() {
    let close = close(NORMAL, &"ä".repeat(100));
    assert_eq!(close[1], 2 + 122);
    assert!(std::str::from_utf8(&close[4..]).is_ok());
}

proptest! {
    #[test]
    fn any_bytes_are_read_in_any_pieces(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        cut in 0_usize..400,
    ) {
        let now = Instant::now();
        let whole = read(&mut Reader::default(), &bytes, now);
        let (one, other) = bytes.split_at(cut.min(bytes.len()));
        let mut reader = Reader::default();
        let mut pieces = read(&mut reader, one, now);
        if pieces.iter().all(|said| matches!(said, Said::Ping(_))) {
            pieces.extend(read(&mut reader, other, now));
        }
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn pings_come_back_whatever_is_between_them(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..126), 1..20),
        text in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = Vec::new();
        for payload in &payloads {
            bytes.extend(frame(0x81, &text));
            bytes.extend(frame(0x89, payload));
        }
        let said = read(&mut Reader::default(), &bytes, Instant::now());
        let pongs: Vec<_> = payloads.iter().map(|it| Said::Ping(message(PONG, it))).collect();
        prop_assert_eq!(said, pongs);
    }
}
