//! Peers that break the rules, and the limits that hold them. Each case ends its session with an error that says why.

use proptest::prelude::*;

use super::*;

fn assert_dead(harness: &mut Harness) {
    assert_eq!(harness.input(b"more"), Err(Error::Ended));
    assert_eq!(harness.session.poll_timeout(), None);
}

#[test]
fn a_handshake_that_stops_somewhere_times_out() {
    for sent in [0, 1, 1536, 1537, 3072] {
        let mut harness = Harness::new();
        harness.input(&[&[3][..], &[0; 3072]].concat()[..sent]).unwrap();
        assert_eq!(harness.session.poll_timeout(), Some(harness.after(10)), "after {sent} bytes");
        assert_eq!(harness.session.handle_timeout(harness.after(9)), Ok(()));
        let error = harness.session.handle_timeout(harness.after(10)).unwrap_err();
        assert_eq!(error, Error::HandshakeTimeout(Duration::from_secs(10)));
        assert_dead(&mut harness);
    }
}

#[test]
fn one_byte_a_second_does_not_extend_the_handshake() {
    let mut harness = Harness::new();
    for second in 0..10 {
        let now = harness.after(second);
        harness.session.handle_timeout(now).unwrap();
        harness.session.handle_input(&[3], now).unwrap();
    }
    assert!(harness.session.handle_timeout(harness.after(10)).is_err());
}

#[test]
fn who_only_connects_is_let_go() {
    for state in [Harness::greeted, Harness::connected, Harness::with_stream] {
        let mut harness = state();
        let error = harness.session.handle_timeout(harness.after(30)).unwrap_err();
        assert_eq!(error, Error::IdleTimeout(Duration::from_secs(30)));
        assert_dead(&mut harness);
    }
}

#[test]
fn no_timeout_runs_while_something_goes_on() {
    let mut asked = Harness::with_stream();
    asked.command(1, &publish("cam")).unwrap();
    for mut harness in [asked, Harness::publishing(), Harness::playing()] {
        assert_eq!(harness.session.poll_timeout(), None);
        let now = harness.after(20);
        let mut out = BytesMut::new();
        let close = Command::new("closeStream", 0.0, vec![]).encode();
        chunk::encode_message(&mut out, 4, 0, type_id::COMMAND, 1, &close, 128);
        harness.session.handle_input(&out, now).unwrap();
        assert_eq!(harness.session.poll_timeout(), Some(harness.after(50)), "idle from here on");
    }
}

#[test]
fn random_bytes_fail_at_the_first() {
    let mut harness = Harness::new();
    assert_eq!(harness.input(b"GET / HTTP/1.1\r\n\r\n"), Err(Error::HandshakeVersion(b'G')));
    assert_dead(&mut harness);
}

#[test]
fn commands_before_connect() {
    for command in [publish("cam"), play("cam"), Command::new("createStream", 1.0, vec![])] {
        let name = command.name.clone();
        let mut harness = Harness::greeted();
        assert_eq!(harness.command(1, &command), Err(Error::NotConnected(name)));
        assert_dead(&mut harness);
    }
}

#[test]
fn a_second_connect() {
    let mut harness = Harness::connected();
    let again = connect(&[("tcUrl", "rtmp://host/other")]);
    assert_eq!(harness.command(0, &again), Err(Error::AlreadyConnected));
}

#[test]
fn a_stream_in_use_is_not_used_for_something_else() {
    let failed = "onStatus#0 NetStream.Publish.Failed on 1";
    let not_played = "onStatus#0 NetStream.Play.Failed on 1";
    for (mut harness, command, answer) in [
        (Harness::publishing(), publish("other"), failed),
        (Harness::playing(), publish("cam"), failed),
        (Harness::publishing(), play("cam"), not_played),
    ] {
        harness.command(1, &command).unwrap();
        assert_eq!((harness.answers(), harness.events()), (vec![answer.to_owned()], vec![]));
        let goes_on = harness.session.streams.is(1, Activity::Publishing)
            || harness.session.streams.is(1, Activity::Playing);
        assert!(goes_on, "what it is used for goes on");
    }
}

#[test]
fn message_streams_that_nobody_created_are_limited_too() {
    for command in [publish("cam"), play("cam")] {
        let mut harness = Harness::connected();
        let ids = 7..7 + MESSAGE_STREAMS_MAX as u32;
        ids.for_each(|id| harness.command(id, &command).unwrap());
        assert_eq!(harness.command(u32::MAX, &command), Err(Error::MessageStreams));
    }
}

#[test]
fn publish_and_play_need_a_name() {
    for name in ["publish", "play", "play2"] {
        let error = Harness::with_stream().command(1, &Command::new(name, 1.0, vec![]));
        assert!(
            matches!(error, Err(Error::Command { missing: "the stream name", .. })),
            "{error:?}"
        );
    }
}

#[test]
fn a_name_that_is_no_name_is_told_before_the_end() {
    for (command, code) in [
        (publish(""), "NetStream.Publish.BadName"),
        (publish(&"x".repeat(10 * 1024)), "NetStream.Publish.BadName"),
        (play(""), "NetStream.Play.StreamNotFound"),
    ] {
        let mut harness = Harness::with_stream();
        assert!(matches!(harness.command(1, &command), Err(Error::Url { .. })));
        assert_eq!(harness.answers(), [format!("onStatus#0 {code} on 1")]);
        assert_dead(&mut harness);
    }
}

/// Whether it may be used is for the caller to decide: here it must only arrive as it is.
#[test]
fn a_name_that_would_leave_the_directory_is_reported_as_it_is() {
    for name in ["..", "a\0b"] {
        let mut harness = Harness::with_stream();
        harness.command(1, &publish(name)).unwrap();
        let events = harness.events();
        assert!(
            matches!(&events[0], Event::Publish { url, .. } if url.stream == name),
            "{events:?}"
        );
    }
}

#[test]
fn a_long_tc_url() {
    let url = format!("rtmp://host/{}", "x".repeat(10 * 1024));
    let error = Harness::greeted().command(0, &connect(&[("tcUrl", &url)])).unwrap_err();
    assert!(error.to_string().contains("too long") && error.to_string().len() < 300, "{error}");
}

#[test]
fn message_streams_are_limited() {
    let mut harness = Harness::connected();
    for _ in 0..MESSAGE_STREAMS_MAX {
        harness.command(0, &Command::new("createStream", 2.0, vec![])).unwrap();
    }
    let error = harness.command(0, &Command::new("createStream", 2.0, vec![]));
    assert_eq!(error, Err(Error::MessageStreams));
}

#[test]
fn only_a_publisher_may_announce_large_messages() {
    let large = [4, 0, 0, 0, 0xff, 0xff, 0xff, type_id::VIDEO, 1, 0, 0, 0];
    for state in [Harness::greeted, Harness::connected, Harness::with_stream, Harness::playing] {
        let error = state().input(&large).unwrap_err();
        let expected = Error::MessageTooLong {
            type_id: type_id::VIDEO,
            length: MESSAGE_BYTES_MAX,
            max: crate::message::COMMAND_BYTES_MAX,
        };
        assert_eq!(error, expected);
    }
    let mut harness = Harness::publishing();
    harness.input(&large).unwrap();
    assert!(harness.session.heap_bytes() < 2048, "{} bytes", harness.session.heap_bytes());
}

#[test]
fn chunk_streams_are_limited() {
    let mut harness = Harness::connected();
    let bytes: Vec<u8> = (64..65_000_u16)
        .flat_map(|csid| {
            let [high, low] = (csid - 64).to_be_bytes();
            [1, low, high, 0, 0, 0, 0, 0, 1, type_id::VIDEO, 9, 0, 0, 0, 0]
        })
        .collect();
    assert_eq!(
        harness.input(&bytes),
        Err(Error::ChunkStreams { max: chunk::IDLE_CHUNK_STREAMS_MAX })
    );
    assert!(harness.session.heap_bytes() < 8 * 1024, "{} bytes", harness.session.heap_bytes());
}

#[test]
fn chunk_size_zero() {
    let error = Harness::connected().control(Control::SetChunkSize(0));
    assert_eq!(error, Err(Error::ChunkSize(0)));
}

#[test]
fn window_zero_wants_no_acknowledgements_and_window_one_is_not_endless() {
    let mut harness = Harness::publishing();
    harness.control(Control::WindowAckSize(0)).unwrap();
    harness.message(type_id::VIDEO, 1, 0, &[0; 5000]).unwrap();
    assert!(harness.answers().is_empty());
    harness.control(Control::WindowAckSize(1)).unwrap();
    harness.message(type_id::VIDEO, 1, 0, &[0; 5000]).unwrap();
    assert_eq!(harness.answers().len(), 2, "one for each call with input");
}

#[test]
fn hostile_amf0() {
    let bodies = [
        [&b"\x02\x00\x07connect\x00\0\0\0\0\0\0\0\0"[..], &b"\x03\x00\x01x".repeat(15_000)]
            .concat(),
        b"\x02\x00\x07connect\x0a\xff\xff\xff\xff".to_vec(),
        b"\x02\x00\x07\xff\xfe\xfd\xfc\xfb\xfa\xf9\x11".to_vec(),
        b"\x02\xff\xff".to_vec(),
    ];
    for body in bodies {
        let error = Harness::greeted().message(type_id::COMMAND, 0, 0, &body).unwrap_err();
        assert!(matches!(error, Error::Amf { .. }), "{error}");
    }
    // 20,000 levels are more than a command may have bytes for; the length is refused before anything is parsed.
    let deep = b"\x03\x00\x01x".repeat(20_000);
    let error = Harness::greeted().message(type_id::COMMAND, 0, 0, &deep).unwrap_err();
    assert!(matches!(error, Error::MessageTooLong { .. }), "{error}");
}

#[test]
fn output_is_bounded_by_input() {
    let mut harness = Harness::connected();
    let (type_id, body) = Control::User(UserControl::PingRequest(1)).encode();
    let mut pings = BytesMut::new();
    for _ in 0..3_000 {
        chunk::encode_message(&mut pings, 2, 0, type_id, 0, &body, 128);
    }
    let error = harness.input(&pings).unwrap_err();
    assert!(matches!(error, Error::TooOften { .. }), "{error:?}");
    let told = 200;
    assert!(harness.session.poll_output().unwrap().len() <= pings.len() + told);
    assert!(harness.session.poll_output().is_none());
}

#[test]
fn an_aggregate_of_empty_tags_is_no_flood_of_events() {
    let tag = |count: usize| [9, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 12].repeat(count);
    let mut harness = Harness::publishing();
    harness.message(type_id::AGGREGATE, 1, 0, &tag(crate::media::AGGREGATE_TAGS_MAX)).unwrap();
    assert_eq!(harness.events().len(), crate::media::AGGREGATE_TAGS_MAX);
    assert!(harness.session.heap_bytes() < 16 * 1024, "{}", harness.session.heap_bytes());
    let error =
        harness.message(type_id::AGGREGATE, 1, 0, &tag(crate::media::AGGREGATE_TAGS_MAX + 1));
    assert_eq!(error, Err(Error::AggregateTags));
}

#[test]
fn who_has_ceased_to_publish_holds_no_more_than_before() {
    let mut harness = Harness::publishing();
    let large = [4, 0, 0, 0, 0xff, 0xff, 0xff, type_id::VIDEO, 1, 0, 0, 0];
    harness.command(1, &Command::new("closeStream", 0.0, vec![])).unwrap();
    let error = harness.input(&large).unwrap_err();
    assert!(matches!(error, Error::MessageTooLong { .. }), "{error}");
}

#[test]
fn a_publisher_learns_why_its_message_is_refused() {
    let mut harness = Harness::publishing();
    harness.answers();
    harness.session.limit_to(&weir_media::Budget::new(64 << 20), 1 << 20);
    harness.session.accept_publish(1);
    let data = [4, 0, 0, 0, 0x20, 0, 0, type_id::DATA, 1, 0, 0, 0];
    assert!(harness.input(&data).is_err());
    let said = harness.session.poll_output().expect("a status");
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("onStatus") && said.contains("at most 1048576"), "{said}");
}

#[test]
fn a_session_that_plays_is_small() {
    let mut harness = Harness::playing();
    harness.session.send_media(1, TagKind::Video, 0, &[0; 50_000]);
    harness
        .control(Control::User(UserControl::SetBufferLength { stream_id: 1, millis: 1 }))
        .unwrap();
    harness.events();
    harness.answers();
    let (heap, size) = (harness.session.heap_bytes(), size_of::<Session>());
    assert!(heap < 1024, "{heap} bytes on the heap");
    assert!(size <= 384, "{size} bytes");
}

#[test]
fn one_byte_at_a_time() {
    let mut bytes = vec![3];
    bytes.resize(3073, 0);
    let mut out = BytesMut::new();
    for (stream_id, command) in [
        (0, connect(&[("tcUrl", "rtmp://host/live")])),
        (0, Command::new("createStream", 2.0, vec![])),
        (1, publish("cam")),
    ] {
        chunk::encode_message(&mut out, 3, 0, type_id::COMMAND, stream_id, &command.encode(), 128);
    }
    bytes.extend_from_slice(&out);
    let mut harness = Harness::new();
    for byte in bytes.chunks(1) {
        harness.input(byte).unwrap();
    }
    let events = harness.events();
    assert!(
        matches!(events[..], [Event::Connected(_), Event::Publish { stream_id: 1, .. }]),
        "{events:?}"
    );
}

/// Whether a client that does `messages` again and again is told and let go, and how many rounds it had.
fn rounds(harness: &mut Harness, messages: &[(u8, u32, Vec<u8>)]) -> (usize, String) {
    for round in 0..10_000 {
        for (type_id, stream_id, body) in messages {
            if let Err(error) = harness.message(*type_id, *stream_id, 0, body) {
                let told = harness.answers().pop().unwrap_or_default();
                assert_eq!(told, "onStatus#0 NetConnection.Call.Failed on 0");
                assert_dead(harness);
                return (round, error.to_string());
            }
            harness.session.accept_publish(1);
            harness.session.accept_play(1);
            harness.events();
        }
        harness.answers();
    }
    panic!("it may go on for ever: {messages:?}");
}

#[test]
fn a_client_that_cycles_through_commands_is_told_and_let_go() {
    let call = |name: &str| (type_id::COMMAND, 1, Command::new(name, 0.0, vec![]).encode());
    let on_1 = |command: Command| (type_id::COMMAND, 1, command.encode());
    for cycle in [
        vec![on_1(publish("cam")), call("closeStream")],
        vec![on_1(play("cam")), call("closeStream")],
        vec![call("releaseStream"), call("FCPublish"), call("FCUnpublish")],
        vec![on_1(play("cam")), call("pause"), call("seek"), call("closeStream")],
        vec![call("_result")],
        vec![call("made up")],
    ] {
        let mut harness = Harness::with_stream();
        let (count, why) = rounds(&mut harness, &cycle);
        assert_eq!(why, "more than 10 commands per second", "{cycle:?}");
        assert!(count * cycle.len() <= COMMANDS_BURST as usize, "{count} {cycle:?}");
    }
}

#[test]
fn a_client_that_sends_anything_else_without_end_is_told_and_let_go() {
    let control = |control: Control| {
        let (type_id, body) = control.encode();
        (type_id, 0, body)
    };
    for message in [
        control(Control::User(UserControl::PingRequest(1))),
        control(Control::User(UserControl::PingResponse(1))),
        control(Control::User(UserControl::SetBufferLength { stream_id: 1, millis: 1 })),
        control(Control::WindowAckSize(1_000_000)),
        control(Control::Abort(9)),
        control(Control::SetChunkSize(128)),
        (type_id::DATA, 1, vec![2, 0, 1, b'x']),
        (type_id::DATA_AMF3, 1, vec![0, 2, 0, 1, b'x']),
        (19, 1, vec![0]),
    ] {
        for state in [Harness::with_stream, Harness::playing, Harness::publishing] {
            let mut harness = state();
            let (count, why) = rounds(&mut harness, std::slice::from_ref(&message));
            assert_eq!(why, "more than 200 control and data messages per second", "{message:?}");
            assert!(count <= NOTICES_BURST as usize, "{count}");
        }
    }
}

/// 700 MB a second over loopback are 280 acknowledgements of 2.5 MB.
#[test]
fn acknowledgements_come_as_often_as_media() {
    let mut harness = Harness::playing();
    for received in 0..10 * NOTICES_BURST {
        harness.control(Control::Acknowledgement(received)).expect("served");
    }
}

/// What an encoder and a player say in their first second, ten times over, and timed metadata for each picture.
#[test]
fn who_does_ten_times_what_real_peers_do_is_served() {
    let mut harness = Harness::connected();
    for _ in 0..10 {
        for name in ["releaseStream", "FCPublish", "_checkbw", "getStreamLength", "FCUnpublish"] {
            harness.command(0, &Command::new(name, 0.0, vec![])).expect("served");
        }
    }
    let mut harness = Harness::publishing();
    for picture in 0..36_000_u64 {
        let now = harness.start + Duration::from_micros(picture * 16_667);
        let mut out = BytesMut::new();
        chunk::encode_message(&mut out, 5, 0, type_id::DATA, 1, &[2, 0, 1, b'x'], 128);
        chunk::encode_message(&mut out, 4, 0, type_id::VIDEO, 1, &[0x17, 1, 0, 0, 0], 128);
        harness.session.handle_input(&out, now).expect("served");
        harness.events();
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_survived(
        state in 0..4_usize, bytes in prop::collection::vec(any::<u8>(), 0..2000), piece in 1..300_usize,
    ) {
        let states = [Harness::greeted, Harness::connected, Harness::publishing, Harness::playing];
        let mut harness = states[state]();
        for piece in bytes.chunks(piece) {
            if harness.input(piece).is_err() {
                break;
            }
        }
        let _ = (harness.events(), harness.session.poll_output());
    }

    /// Well-formed messages of every type with any content.
    #[test]
    fn whatever_messages_come_are_survived(
        state in 0..4_usize,
        messages in prop::collection::vec(
            (0..24_u8, 0..3_u32, any::<u32>(), prop::collection::vec(any::<u8>(), 0..80)), 0..20,
        ),
    ) {
        let states = [Harness::greeted, Harness::connected, Harness::publishing, Harness::playing];
        let mut harness = states[state]();
        for (type_id, stream_id, timestamp, body) in messages {
            // A change of the chunk size would make the rest of the input garbage.
            if type_id != type_id::SET_CHUNK_SIZE
                && harness.message(type_id, stream_id, timestamp, &body).is_err()
            {
                break;
            }
        }
        let _ = (harness.events(), harness.session.poll_output());
    }
}
