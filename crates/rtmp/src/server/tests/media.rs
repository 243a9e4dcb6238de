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
fn empty_messages_are_left_out_and_counted() {
    let mut harness = Harness::publishing();
    for type_id in [type_id::AUDIO, type_id::VIDEO, type_id::DATA, type_id::AGGREGATE] {
        harness.message(type_id, 1, 0, b"").unwrap();
    }
    let left_out = Event::LeftOut { stream_id: 1, count: 3, why: LeftOut::Empty };
    assert_eq!(harness.events(), [left_out], "an aggregate of no tags has nothing in it");
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
    let mut cut = part(type_id::VIDEO, 20, b"abc");
    cut[3] = 200;
    let body = [part(type_id::AUDIO, 10, b"a"), cut].concat();
    harness.message(type_id::AGGREGATE, 1, 10, &body).unwrap();
    let why = LeftOut::CutAggregate { length: 200, left: 7 };
    let expected = [
        Event::Media { stream_id: 1, tag: tag(TagKind::Audio, 10, b"a") },
        Event::LeftOut { stream_id: 1, count: 1, why },
    ];
    assert_eq!(harness.events(), expected, "and what is before it is there");
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
fn what_comes_before_the_answer_to_publish_follows_it() {
    let mut harness = Harness::with_stream();
    harness.message(type_id::VIDEO, 1, 1, b"before publish").unwrap();
    harness.command(1, &publish("cam")).unwrap();
    let asked = harness.events();
    assert!(matches!(asked[..], [Event::Publish { .. }]), "{asked:?}");
    for stream_id in [1, 0, 5] {
        harness.message(type_id::AUDIO, stream_id, 2, b"a").unwrap();
        harness.message(type_id::DATA, stream_id, 3, b"d").unwrap();
        harness.message(type_id::VIDEO, stream_id, 4, b"").unwrap();
    }
    assert!(harness.events().is_empty(), "nothing is used before the answer");
    harness.session.accept_publish(1);
    harness.message(type_id::VIDEO, 1, 5, b"after").unwrap();
    let media = |tag| Event::Media { stream_id: 1, tag };
    let mut expected = vec![media(tag(TagKind::Video, 1, b"before publish"))];
    for _ in 0..3 {
        expected.push(media(tag(TagKind::Audio, 2, b"a")));
        expected.push(media(tag(TagKind::Script, 3, b"d")));
        expected.push(Event::LeftOut { stream_id: 1, count: 1, why: LeftOut::Empty });
    }
    expected.push(media(tag(TagKind::Video, 5, b"after")));
    assert_eq!(harness.events(), expected);
    assert!(harness.session.held.is_none());
}

#[test]
fn of_a_publish_that_is_refused_or_given_up_nothing_is_kept() {
    let refuse = |harness: &mut Harness| {
        harness.session.reject_publish(1, PublishRefusal::BadName, "no");
    };
    let give_up = |harness: &mut Harness| {
        harness.command(1, &Command::new("closeStream", 0.0, vec![])).unwrap();
    };
    for end in [refuse as fn(&mut Harness), give_up] {
        let mut harness = Harness::with_stream();
        harness.command(1, &publish("cam")).unwrap();
        harness.message(type_id::VIDEO, 1, 0, b"x").unwrap();
        end(&mut harness);
        harness.message(type_id::VIDEO, 1, 0, b"late").unwrap();
        assert!(harness.session.held.is_none());
        harness.events();
        harness.command(1, &publish("other")).unwrap();
        harness.session.accept_publish(1);
        let events = harness.events();
        assert!(matches!(events[..], [Event::Publish { .. }]), "{events:?}");
    }
}

#[test]
fn who_is_refused_a_second_stream_does_not_get_it_into_the_first() {
    let mut harness = Harness::publishing();
    harness.command(0, &Command::new("createStream", 6.0, vec![])).unwrap();
    harness.command(2, &publish("another")).unwrap();
    harness.message(type_id::VIDEO, 2, 0, b"another").unwrap();
    harness.session.reject_publish(2, PublishRefusal::Failed, "one stream per connection");
    harness.message(type_id::VIDEO, 2, 0, b"another").unwrap();
    harness.events();
    harness.message(type_id::VIDEO, 1, 0, b"cam").unwrap();
    assert_eq!(tags(&mut harness), [tag(TagKind::Video, 0, b"cam")]);
}

#[test]
fn media_of_a_publisher_on_any_message_stream_is_its_own() {
    let mut harness = Harness::publishing();
    harness.command(0, &Command::new("createStream", 6.0, vec![])).unwrap();
    for stream_id in [0, 2, 5, u32::MAX] {
        harness.message(type_id::VIDEO, stream_id, 7, b"v").unwrap();
        harness.message(type_id::DATA, stream_id, 7, b"d").unwrap();
        let expected = [tag(TagKind::Video, 7, b"v"), tag(TagKind::Script, 7, b"d")];
        assert_eq!(tags(&mut harness), expected, "on message stream {stream_id}");
    }
}

/// Such a chunk has no message stream: it is 0.
#[test]
fn a_chunk_stream_that_begins_with_a_header_of_type_1() {
    let mut harness = Harness::publishing();
    harness.input(&[0x40 | 9, 0, 0, 40, 0, 0, 1, type_id::VIDEO, b'v']).unwrap();
    harness.input(&[0x80 | 9, 0, 0, 40, b'w']).unwrap();
    let expected = [tag(TagKind::Video, 40, b"v"), tag(TagKind::Video, 80, b"w")];
    assert_eq!(tags(&mut harness), expected);
}

#[test]
fn what_is_held_is_bounded_and_given_back() {
    let budget = weir_media::Budget::new(64 << 20);
    let mut harness = Harness::with_stream();
    harness.session.limit_to(&budget, MESSAGE_BYTES_MAX);
    harness.command(1, &publish("cam")).unwrap();
    assert!(!harness.session.is_full());
    // A key frame that is longer than what is held: its beginning is read, and the rest waits for the answer.
    let mut key_frame = BytesMut::new();
    chunk::encode_message(&mut key_frame, 4, 0, type_id::VIDEO, 1, &vec![9; 3 << 20], 128);
    let mut rest = key_frame.freeze();
    while !harness.session.is_full() {
        harness.input(&rest.split_to(READ_BYTES)).unwrap();
    }
    assert!(budget.used() < 2 * (HELD_ENOUGH + READ_BYTES), "{} bytes", budget.used());
    harness.session.accept_publish(1);
    assert!(!harness.session.is_full());
    harness.input(&rest).unwrap();
    assert_eq!(harness.events().len(), 2, "the publish and its frame");
    assert_eq!(budget.used(), 0);

    // Many small ones, from somebody who is read on all the same.
    let mut harness = Harness::with_stream();
    harness.session.limit_to(&budget, MESSAGE_BYTES_MAX);
    harness.command(1, &publish("cam")).unwrap();
    let error = (0..HELD_BYTES_MAX).find_map(|_| harness.message(8, 1, 0, b"a").err());
    assert_eq!(error, Some(Error::HeldMedia));
    assert_eq!(budget.used(), 0);

    // Others have used the budget up: what comes waits in the network.
    let mut others = weir_media::Charge::new(&budget, weir_media::Use::Commands);
    others.add(16 << 20);
    let mut harness = Harness::with_stream();
    harness.session.limit_to(&budget, MESSAGE_BYTES_MAX);
    harness.command(1, &publish("cam")).unwrap();
    harness.message(8, 1, 0, b"a").unwrap();
    assert!(harness.session.is_full());
}

/// What a connection reads at a time.
const READ_BYTES: usize = 64 * 1024;

#[test]
fn media_without_a_publish_is_an_error_once_it_is_much() {
    for type_id in [type_id::AUDIO, type_id::VIDEO, type_id::AGGREGATE] {
        let error = Harness::playing().message(type_id, 1, 0, b"x");
        assert_eq!(error, Err(Error::MediaWithoutPublish { stream_id: 1 }));
    }
    for stream_id in [1, 0, 5] {
        let mut harness = Harness::with_stream();
        let send = |_| harness.message(type_id::VIDEO, stream_id, 0, &[0; 1000]).err();
        let error = (0..100).find_map(send);
        assert_eq!(error, Some(Error::MediaWithoutPublish { stream_id }));
    }
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
