//! What publishers send becomes tags.

use super::*;

fn tags(harness: &mut Harness) -> Vec<Tag> {
    let tag = |event| match event {
        Event::Media { stream_id: 1, tag } => tag,
        other => panic!("{other:?}"),
    };
    harness.events().into_iter().map(tag).collect()
}

fn tag(kind: TagKind, timestamp: u32, body: &'static [u8]) -> Tag {
    Tag { kind, timestamp, body: Bytes::from_static(body) }
}

#[test]
fn audio_video_and_data() {
    let mut harness = Harness::publishing();
    harness.message(type_id::AUDIO, 1, 1, b"a").unwrap();
    harness.message(type_id::VIDEO, 1, 0xffff_ffff, b"v").unwrap();
    harness.message(type_id::DATA, 1, 3, b"\x02\x00\x0d@setDataFrame").unwrap();
    harness.message(type_id::DATA_AMF3, 1, 4, b"\x00\x02\x00\x01x").unwrap();
    let expected = [
        tag(TagKind::Audio, 1, b"a"),
        tag(TagKind::Video, 0xffff_ffff, b"v"),
        tag(TagKind::Script, 3, b"\x02\x00\x0d@setDataFrame"),
        tag(TagKind::Script, 4, b"\x02\x00\x01x"),
    ];
    assert_eq!(tags(&mut harness), expected);
}

#[test]
fn empty_messages_are_left_out() {
    let mut harness = Harness::publishing();
    for type_id in [type_id::AUDIO, type_id::VIDEO, type_id::DATA, type_id::AGGREGATE] {
        harness.message(type_id, 1, 0, b"").unwrap();
    }
    assert!(harness.events().is_empty());
}

/// One tag of an aggregate, with its back pointer.
fn part(type_id: u8, timestamp: u32, body: &[u8]) -> Vec<u8> {
    let [_, l0, l1, l2] = (body.len() as u32).to_be_bytes();
    let [t3, t0, t1, t2] = timestamp.to_be_bytes();
    let back = (body.len() as u32 + 11).to_be_bytes();
    [&[type_id, l0, l1, l2, t0, t1, t2, t3, 0, 0, 0][..], body, &back].concat()
}

#[test]
fn aggregates_are_split_and_moved_to_the_messages_time() {
    let mut harness = Harness::publishing();
    let parts = [
        part(type_id::AUDIO, 0x0200_0000, b"a"),
        part(type_id::VIDEO, 0x0200_0014, b"vv"),
        part(type_id::SET_CHUNK_SIZE, 0, &[0; 4]),
        part(type_id::DATA, 0x0200_0028, b"d"),
    ]
    .concat();
    let expected = [
        tag(TagKind::Audio, 1000, b"a"),
        tag(TagKind::Video, 1020, b"vv"),
        tag(TagKind::Script, 1040, b"d"),
    ];
    for left_out in [0, 4] {
        let parts = &parts[..parts.len() - left_out];
        harness.message(type_id::AGGREGATE, 1, 1000, parts).unwrap();
        assert_eq!(
            tags(&mut harness),
            expected,
            "{left_out} bytes of the last back pointer left out"
        );
    }
}

#[test]
fn an_aggregate_cannot_reach_beyond_its_end() {
    let mut harness = Harness::publishing();
    let mut body = part(type_id::VIDEO, 0, b"abc");
    body[3] = 200;
    let error = harness.message(type_id::AGGREGATE, 1, 0, &body).unwrap_err();
    assert_eq!(error, Error::Aggregate { length: 200, left: 7 });
}

#[test]
fn what_comes_after_the_end_is_dropped() {
    let mut harness = Harness::publishing();
    harness.command(1, &Command::new("closeStream", 0.0, vec![])).unwrap();
    harness.events();
    harness.message(type_id::VIDEO, 1, 0, b"late").unwrap();
    harness.command(0, &Command::new("deleteStream", 0.0, vec![1.0.into()])).unwrap();
    harness.message(type_id::VIDEO, 1, 0, b"later").unwrap();
    harness.message(type_id::VIDEO, 99, 0, b"unknown stream").unwrap();
    assert!(harness.events().is_empty());
}

#[test]
fn media_needs_an_accepted_publish() {
    let asked = || {
        let mut harness = Harness::with_stream();
        harness.command(1, &publish("cam")).unwrap();
        harness
    };
    let states: [fn() -> Harness; 3] = [Harness::with_stream, Harness::playing, asked];
    let early = Err(Error::MediaBeforePublish { stream_id: 1 });
    for state in states {
        for type_id in [type_id::AUDIO, type_id::VIDEO, type_id::AGGREGATE] {
            assert_eq!(state().message(type_id, 1, 0, b"x"), early);
        }
    }
    assert_eq!(asked().message(type_id::DATA, 1, 0, b"x"), early);
}

#[test]
fn script_data_of_players_is_not_for_us() {
    for mut harness in [Harness::with_stream(), Harness::playing()] {
        harness.message(type_id::DATA, 1, 0, b"x").unwrap();
        assert!(harness.events().is_empty());
    }
}

#[test]
fn a_message_of_the_largest_size() {
    let mut harness = Harness::publishing();
    harness.message(type_id::VIDEO, 1, 0, &vec![9; MESSAGE_BYTES_MAX]).unwrap();
    assert_eq!(tags(&mut harness)[0].body.len(), MESSAGE_BYTES_MAX);
}
