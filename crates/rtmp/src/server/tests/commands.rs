//! What is answered, in which order, and what is reported.

use super::*;
use crate::url::StreamUrl;

fn url(app: &str, stream: &str, params: &str) -> StreamUrl {
    StreamUrl {
        vhost: "host".to_owned(),
        app: app.to_owned(),
        stream: stream.to_owned(),
        params: params.to_owned(),
    }
}

#[test]
fn connect_is_answered_with_window_bandwidth_chunk_size_and_result() {
    let mut harness = Harness::greeted();
    let mut command = connect(&[
        ("app", "live"),
        ("tcUrl", "rtmp://host/live"),
        ("pageUrl", "http://page"),
        ("flashVer", "FMLE/3.0"),
    ]);
    if let Value::Object(object) = &mut command.object {
        object.push("objectEncoding", 3.0);
    }
    harness.command(0, &command).unwrap();
    let messages = harness.messages();
    let words: Vec<_> = messages.iter().map(describe).collect();
    assert_eq!(
        words,
        [
            "WindowAckSize(2500000)",
            "SetPeerBandwidth { size: 2500000, limit: Dynamic }",
            "_result#1 NetConnection.Connect.Success on 0"
        ]
    );
    assert_eq!(harness.reader.chunk_size(), 60_000, "Set Chunk Size came before the result");

    let result = Command::decode(&messages[2].payload).unwrap();
    let properties = result.object.as_object().unwrap();
    assert_eq!(properties.get("fmsVer").unwrap().as_str(), Some("FMS/3,5,3,888"));
    let info = result.arguments[0].as_object().unwrap();
    assert_eq!(info.get("objectEncoding").unwrap().as_number(), Some(3.0));
    let data = info.get("data").unwrap().as_object().unwrap();
    assert_eq!(data.get("srs_server").unwrap().as_str(), Some("weir"));
    assert!(info.get("capsEx").is_none(), "the client announced nothing of Enhanced RTMP");

    let Some(Event::Connected(info)) = harness.session.poll_event() else { panic!("no event") };
    assert_eq!((info.app.as_str(), info.page_url.as_str()), ("live", "http://page"));
    assert_eq!((info.flash_ver.as_str(), &info.enhanced), ("FMLE/3.0", &None));
}

#[test]
fn enhanced_capabilities_are_answered_in_kind() {
    let mut harness = Harness::greeted();
    let mut map = Object::new();
    map.push("hvc1", 7.0);
    let mut command = connect(&[("tcUrl", "rtmp://host/live")]);
    let Value::Object(object) = &mut command.object else { panic!("connect has an object") };
    object.push("fourCcList", vec![Value::from("av01"), Value::from("hvc1")]);
    object.push("videoFourCcInfoMap", map);
    object.push("capsEx", 255.0);
    harness.command(0, &command).unwrap();

    let Some(Event::Connected(info)) = harness.session.poll_event() else { panic!("no event") };
    let enhanced = info.enhanced.unwrap();
    assert_eq!(enhanced.four_cc_list, ["av01", "hvc1"]);
    assert_eq!(enhanced.video_four_cc_info_map, [("hvc1".to_owned(), 7)]);
    assert!(enhanced.reconnects());

    let result = Command::decode(&harness.messages()[2].payload).unwrap();
    for object in [&result.object, &result.arguments[0]] {
        let object = object.as_object().unwrap();
        assert_eq!(object.get("fourCcList"), Some(&vec![Value::from("*")].into()));
        let map = object.get("videoFourCcInfoMap").unwrap().as_object().unwrap();
        assert_eq!(map.get("*").unwrap().as_number(), Some(4.0));
        assert_eq!(object.get("audioFourCcInfoMap"), None, "it announced none");
        assert_eq!(object.get("capsEx").unwrap().as_number(), Some(15.0), "what we know of it");
    }
}

#[test]
fn an_encoder_publishes() {
    let mut harness = Harness::connected();
    for (name, transaction) in [("releaseStream", 2.0), ("FCPublish", 3.0), ("createStream", 4.0)] {
        harness.command(0, &Command::new(name, transaction, vec!["cam".into()])).unwrap();
    }
    assert_eq!(harness.answers(), ["_result#2  on 0", "_result#3  on 0", "_result#4 1 on 0"]);
    harness.command(1, &publish("cam?token=x")).unwrap();
    let expected = Event::Publish {
        stream_id: 1,
        url: url("live", "cam", "?token=x"),
        kind: "live".to_owned(),
    };
    assert_eq!(harness.events(), [expected]);
    assert!(harness.answers().is_empty(), "the answer waits for the decision");
    harness.session.accept_publish(1);
    assert_eq!(
        harness.answers(),
        ["onFCPublish#0 NetStream.Publish.Start on 1", "onStatus#0 NetStream.Publish.Start on 1"]
    );

    harness.command(0, &Command::new("FCUnpublish", 6.0, vec!["other".into()])).unwrap();
    assert!(harness.events().is_empty(), "another name than that of the publish");
    harness.answers();
    harness.command(0, &Command::new("FCUnpublish", 6.0, vec!["cam?token=x".into()])).unwrap();
    assert_eq!(harness.events(), [Event::EndPublish { stream_id: 1 }]);
    assert_eq!(
        harness.answers(),
        [
            "onFCUnpublish#0 NetStream.Unpublish.Success on 1",
            "onStatus#0 NetStream.Unpublish.Success on 1",
            "_result#6  on 0"
        ]
    );
    harness.command(0, &Command::new("deleteStream", 7.0, vec![1.0.into()])).unwrap();
    assert!(harness.events().is_empty(), "its end was reported already");
}

#[test]
fn a_player_plays() {
    let mut harness = Harness::with_stream();
    harness.command(1, &play("cam")).unwrap();
    let expected = Event::Play {
        stream_id: 1,
        url: url("live", "cam", ""),
        start: -2.0,
        duration: -1.0,
        reset: true,
    };
    assert_eq!(harness.events(), [expected]);
    harness.session.accept_play(1);
    assert_eq!(
        harness.answers(),
        [
            "User(StreamBegin(1))",
            "onStatus#0 NetStream.Play.Reset on 1",
            "onStatus#0 NetStream.Play.Start on 1",
            "data |RtmpSampleAccess on 1"
        ]
    );
    harness.session.send_media(1, TagKind::Video, 40, b"picture");
    assert_eq!(harness.answers(), ["type 9 at 40 on 1"]);
    harness.session.end_play(1);
    assert_eq!(
        harness.answers(),
        [
            "onStatus#0 NetStream.Play.UnpublishNotify on 1",
            "User(StreamEof(1))",
            "onStatus#0 NetStream.Play.Stop on 1"
        ]
    );
    harness.session.send_media(1, TagKind::Video, 80, b"late");
    harness.session.end_play(1);
    assert!(harness.answers().is_empty());
}

#[test]
fn refusals_name_their_reason_and_leave_the_connection() {
    let mut harness = Harness::with_stream();
    for (refusal, code) in [
        (PublishRefusal::BadName, "BadName"),
        (PublishRefusal::Denied, "Denied"),
        (PublishRefusal::Failed, "Failed"),
    ] {
        harness.command(1, &publish("cam")).unwrap();
        harness.session.reject_publish(1, refusal, "because");
        assert_eq!(harness.answers(), [format!("onStatus#0 NetStream.Publish.{code} on 1")]);
    }
    for (refusal, code) in
        [(PlayRefusal::StreamNotFound, "StreamNotFound"), (PlayRefusal::Failed, "Failed")]
    {
        harness.command(1, &play("cam")).unwrap();
        harness.session.reject_play(1, refusal, "because");
        assert_eq!(harness.answers(), [format!("onStatus#0 NetStream.Play.{code} on 1")]);
    }
    assert!(harness.session.poll_timeout().is_some(), "the idle time runs again");
}

#[test]
fn an_answer_after_the_client_gave_up_is_ignored() {
    let mut harness = Harness::with_stream();
    harness.command(1, &publish("cam")).unwrap();
    harness.command(1, &Command::new("closeStream", 0.0, vec![])).unwrap();
    assert_eq!(harness.events()[1..], [Event::EndPublish { stream_id: 1 }]);
    harness.session.accept_publish(1);
    harness.session.reject_publish(1, PublishRefusal::Failed, "late");
    harness.command(1, &play("cam")).unwrap();
    harness.command(0, &Command::new("deleteStream", 0.0, vec![1.0.into()])).unwrap();
    assert_eq!(harness.events()[1..], [Event::EndPlay { stream_id: 1 }]);
    harness.session.accept_play(1);
    harness.session.reject_play(1, PlayRefusal::Failed, "late");
    assert!(harness.answers().is_empty());
}

#[test]
fn play_on_a_playing_stream_switches() {
    let mut harness = Harness::playing();
    let mut options = Object::new();
    options.push("streamName", "other");
    harness.command(1, &Command::new("play2", 0.0, vec![options.into()])).unwrap();
    let events = harness.events();
    assert_eq!(events[0], Event::EndPlay { stream_id: 1 });
    assert!(matches!(&events[1], Event::Play { url, .. } if url.stream == "other"), "{events:?}");
}

#[test]
fn the_controls_of_a_player() {
    let mut harness = Harness::playing();
    harness.command(1, &Command::new("pause", 0.0, vec![true.into(), 1500.0.into()])).unwrap();
    assert_eq!(harness.answers(), ["User(StreamEof(1))", "onStatus#0 NetStream.Pause.Notify on 1"]);
    harness.command(1, &Command::new("pauseRaw", 0.0, vec![false.into(), 1500.0.into()])).unwrap();
    assert_eq!(
        harness.answers(),
        ["User(StreamBegin(1))", "onStatus#0 NetStream.Unpause.Notify on 1"]
    );
    harness.command(1, &Command::new("receiveAudio", 0.0, vec![false.into()])).unwrap();
    harness.command(1, &Command::new("receiveVideo", 0.0, vec![true.into()])).unwrap();
    harness
        .control(Control::User(UserControl::SetBufferLength { stream_id: 1, millis: 3000 }))
        .unwrap();
    assert!(harness.answers().is_empty());
    harness.command(1, &Command::new("seek", 0.0, vec![5000.0.into()])).unwrap();
    assert_eq!(harness.answers(), ["onStatus#0 NetStream.Seek.Notify on 1"]);
    assert_eq!(
        harness.events(),
        [
            Event::Pause { stream_id: 1, paused: true, at_millis: 1500.0 },
            Event::Pause { stream_id: 1, paused: false, at_millis: 1500.0 },
            Event::ReceiveAudio { stream_id: 1, enabled: false },
            Event::ReceiveVideo { stream_id: 1, enabled: true },
            Event::BufferLength { stream_id: 1, millis: 3000 },
        ]
    );
}

#[test]
fn controls_without_a_play_do_nothing() {
    let mut harness = Harness::with_stream();
    for name in ["pause", "seek", "receiveAudio", "receiveVideo", "closeStream"] {
        harness.command(1, &Command::new(name, 0.0, vec![true.into()])).unwrap();
        harness.command(7, &Command::new(name, 0.0, vec![true.into()])).unwrap();
    }
    harness
        .control(Control::User(UserControl::SetBufferLength { stream_id: 9, millis: 1 }))
        .unwrap();
    assert!(harness.events().is_empty() && harness.answers().is_empty());
}

#[test]
fn calls_that_only_want_an_answer() {
    let mut harness = Harness::connected();
    for (name, expected) in [
        ("_checkbw", vec!["_result#9  on 0"]),
        ("getStreamLength", vec!["_result#9 0 on 0"]),
        ("whatEncodersMakeUp", vec!["_result#9  on 0"]),
        ("_result", vec![]),
        ("_error", vec![]),
        ("onStatus", vec![]),
    ] {
        harness.command(0, &Command::new(name, 9.0, vec!["cam".into()])).unwrap();
        assert_eq!(harness.answers(), expected, "{name}");
    }
    harness.command(0, &Command::new("noAnswerWanted", 0.0, vec![])).unwrap();
    assert!(harness.answers().is_empty());
}

#[test]
fn commands_in_the_amf3_wrapping() {
    let mut harness = Harness::connected();
    let body = [&[0][..], &Command::new("createStream", 4.0, vec![]).encode()].concat();
    harness.message(type_id::COMMAND_AMF3, 0, 0, &body).unwrap();
    assert_eq!(harness.answers(), ["_result#4 1 on 0"]);
}

#[test]
fn pings_are_answered() {
    let mut harness = Harness::connected();
    harness.control(Control::User(UserControl::PingRequest(77))).unwrap();
    assert_eq!(harness.answers(), ["User(PingResponse(77))"]);
}

#[test]
fn bytes_are_acknowledged_at_half_the_window() {
    let mut harness = Harness::publishing();
    harness.control(Control::WindowAckSize(2000)).unwrap();
    harness.answers();
    harness.message(type_id::VIDEO, 1, 0, &[0; 500]).unwrap();
    assert!(harness.answers().is_empty());
    harness.message(type_id::VIDEO, 1, 0, &[0; 500]).unwrap();
    let answers = harness.answers();
    assert!(answers.len() == 1 && answers[0].starts_with("Acknowledgement("), "{answers:?}");
}

#[test]
fn no_tc_url_means_the_default_vhost() {
    let mut harness = Harness::greeted();
    harness.command(0, &connect(&[("app", "live")])).unwrap();
    harness.command(0, &Command::new("createStream", 2.0, vec![])).unwrap();
    harness.command(1, &play("cam")).unwrap();
    let events = harness.events();
    assert!(
        matches!(&events[1], Event::Play { url, .. } if url.vhost == "__defaultVhost__" && url.app == "live"),
        "{events:?}"
    );
}

#[test]
fn message_streams_count_up_and_come_back() {
    let mut harness = Harness::with_stream();
    for id in 2..=20 {
        harness.command(0, &Command::new("createStream", 2.0, vec![])).unwrap();
        assert_eq!(harness.answers(), [format!("_result#2 {id} on 0")]);
        harness.command(0, &Command::new("deleteStream", 0.0, vec![id.into()])).unwrap();
    }
}

#[test]
fn two_streams_on_one_connection() {
    let mut harness = Harness::publishing();
    harness.command(0, &Command::new("createStream", 6.0, vec![])).unwrap();
    harness.command(2, &play("other")).unwrap();
    harness.session.accept_play(2);
    harness.message(type_id::AUDIO, 1, 0, b"a").unwrap();
    harness.command(0, &Command::new("deleteStream", 0.0, vec![1.0.into()])).unwrap();
    let events = harness.events();
    assert!(matches!(events[0], Event::Play { stream_id: 2, .. }), "{events:?}");
    assert!(matches!(events[1], Event::Media { stream_id: 1, .. }), "{events:?}");
    assert_eq!(events[2], Event::EndPublish { stream_id: 1 });
    assert_eq!(harness.session.poll_timeout(), None, "it still plays");
}

#[test]
fn other_fields_of_connect_are_kept_within_limits() {
    let mut harness = Harness::greeted();
    let mut object = Object::new();
    object.push("app", "live");
    object.push("tcUrl", "rtmp://host/live");
    object.push("weirHops", "a,b");
    object.push("long", "x".repeat(OTHER_BYTES_MAX + 1));
    object.push("nested", Object::new());
    object.push("weirWait", 3000.0);
    (0..100).for_each(|n| object.push(format!("more{n}"), true));
    let mut connect = Command::new("connect", 1.0, vec![]);
    connect.object = object.into();
    harness.command(0, &connect).unwrap();
    let Some(Event::Connected(info)) = harness.session.poll_event() else { panic!("connect") };
    let text = |name: &str| info.other.get(name).and_then(Value::as_str);
    assert_eq!((text("weirHops"), text("app"), text("long")), (Some("a,b"), None, None));
    assert_eq!(info.other.get("weirWait"), Some(&Value::Number(3000.0)));
    assert_eq!(info.other.get("nested"), None);
    assert_eq!(info.other.len(), OTHER_FIELDS_MAX);
}

#[test]
fn publish_and_play_on_a_stream_that_was_not_created() {
    for stream_id in [0, 1, 5] {
        let mut harness = Harness::connected();
        harness.command(stream_id, &publish("cam")).unwrap();
        harness.session.accept_publish(stream_id);
        let started = format!("onStatus#0 NetStream.Publish.Start on {stream_id}");
        assert!(harness.answers().contains(&started), "on {stream_id}");
        let mut harness = Harness::connected();
        harness.command(stream_id, &play("cam")).unwrap();
        harness.session.accept_play(stream_id);
        let started = format!("onStatus#0 NetStream.Play.Start on {stream_id}");
        assert!(harness.answers().contains(&started), "on {stream_id}");
        // The ids that are created later are others.
        for _ in 0..6 {
            harness.command(0, &Command::new("createStream", 4.0, vec![])).unwrap();
        }
        assert!(!harness.answers().contains(&format!("_result#4 {stream_id} on 0")));
    }
}

#[test]
fn a_publish_that_is_repeated_is_the_same_one() {
    let started = "onStatus#0 NetStream.Publish.Start on 1".to_owned();
    let mut harness = Harness::with_stream();
    harness.command(1, &publish("cam?token=1")).unwrap();
    harness.command(1, &publish("cam?token=1")).unwrap();
    assert_eq!(harness.events().len(), 1, "it is asked once");
    assert!(harness.answers().is_empty());
    harness.session.accept_publish(1);
    assert!(harness.answers().contains(&started));
    for again in ["cam?token=1", "cam?token=2", "cam"] {
        harness.command(1, &publish(again)).unwrap();
        assert_eq!((harness.events(), harness.answers().contains(&started)), (vec![], true));
    }
    harness.message(type_id::VIDEO, 1, 0, b"v").unwrap();
    assert!(matches!(harness.events()[..], [Event::Media { stream_id: 1, .. }]));
}

#[test]
fn a_publish_that_is_repeated_on_another_message_stream_goes_on_there() {
    for accepted in [false, true] {
        let mut harness = Harness::with_stream();
        harness.command(1, &publish("cam")).unwrap();
        if accepted {
            harness.session.accept_publish(1);
        }
        harness.message(type_id::VIDEO, 1, 0, b"a").unwrap();
        harness.command(0, &Command::new("createStream", 4.0, vec![])).unwrap();
        harness.command(2, &publish("cam")).unwrap();
        harness.command(0, &Command::new("deleteStream", 0.0, vec![1.0.into()])).unwrap();
        harness.message(type_id::VIDEO, 2, 0, b"b").unwrap();
        harness.session.accept_publish(2);
        let events = harness.events();
        let ended = events.iter().position(|event| *event == Event::EndPublish { stream_id: 1 });
        let ended = ended.expect("the first one is over");
        assert!(matches!(events[ended + 1], Event::Publish { stream_id: 2, .. }), "{events:?}");
        let on_2 = |event: &&Event| matches!(event, Event::Media { stream_id: 2, .. });
        assert_eq!(events.iter().filter(on_2).count(), if accepted { 1 } else { 2 });
    }
}

#[test]
fn control_messages_that_are_too_short_are_ignored() {
    let user = |event: u16, rest: usize| {
        (type_id::USER_CONTROL, [&event.to_be_bytes()[..], &[0; 7][..rest]].concat())
    };
    let mut short: Vec<_> = (1..=6).flat_map(|id| [0, 1, 3].map(|n| (id, vec![0; n]))).collect();
    short.push((type_id::SET_PEER_BANDWIDTH, vec![0; 4]));
    short.extend([user(3, 0), user(3, 7), user(6, 0), user(6, 3), user(7, 2), user(0, 1)]);
    for state in [Harness::with_stream, Harness::publishing, Harness::playing] {
        let mut harness = state();
        for (type_id, body) in &short {
            harness.message(*type_id, 0, 0, body).unwrap();
        }
        assert_eq!((harness.events(), harness.answers()), (vec![], vec![]));
    }
}
