use bytes::BytesMut;
use proptest::prelude::*;
use weir_flv::amf0::{Object, Value};

use super::*;
use crate::{
    chunk::{self, Message, Reader},
    message::{UserControl, type_id},
};

/// A server that says what it is told, to a session.
struct Harness {
    session: Session,
    start: Instant,
    /// The time: a test moves it.
    now: Instant,
    reader: Reader,
}

impl Harness {
    /// Behind the handshake; `connect` is sent and not answered.
    fn connecting(purpose: Purpose) -> Self {
        Self::connecting_with(purpose, Config::new("rtmp://host/live/cam?k=v".parse().unwrap()))
    }

    fn connecting_with(purpose: Purpose, config: Config) -> Self {
        let start = Instant::now();
        let session = Session::new(purpose, config, [5; 1536], start);
        let mut harness = Self { session, start, now: start, reader: Reader::new() };
        harness.session.poll_output();
        harness.input(&[&[3][..], &[0; 3072]].concat()).unwrap();
        let output = harness.session.poll_output().unwrap();
        harness.reader.read(&mut &output[1536..]).unwrap();
        harness
    }

    /// With `createStream` sent and not answered.
    fn connected(purpose: Purpose) -> Self {
        Self::connecting(purpose).connect()
    }

    fn connect(mut self) -> Self {
        self.answer("_result", 1.0, "status", "NetConnection.Connect.Success").unwrap();
        self.sent();
        self
    }

    /// With `publish` or `play` sent on message stream 7 and not answered.
    fn asking(purpose: Purpose) -> Self {
        Self::connected(purpose).ask()
    }

    fn ask(mut self) -> Self {
        self.command(0, &Command::new("_result", 4.0, vec![7.0.into()])).unwrap();
        self.sent();
        self
    }

    /// Accepted.
    fn active(purpose: Purpose) -> Self {
        Self::asking(purpose).accept()
    }

    fn accept(mut self) -> Self {
        let code = match self.session.purpose {
            Purpose::Publish => "NetStream.Publish.Start",
            Purpose::Play | Purpose::Ask => "NetStream.Play.Start",
        };
        self.answer("onStatus", 0.0, "status", code).unwrap();
        assert_eq!(self.events(), [Event::Accepted]);
        self
    }

    fn input(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.session.handle_input(bytes, self.now)
    }

    fn message(&mut self, type_id: u8, stream_id: u32, body: &[u8]) -> Result<(), Error> {
        let mut out = BytesMut::new();
        chunk::encode_message(&mut out, 4, 0, type_id, stream_id, body, 128);
        self.input(&out)
    }

    fn command(&mut self, stream_id: u32, command: &Command) -> Result<(), Error> {
        self.message(type_id::COMMAND, stream_id, &command.encode())
    }

    /// An answer or a status with an information object.
    fn answer(
        &mut self,
        name: &str,
        transaction: f64,
        level: &str,
        code: &str,
    ) -> Result<(), Error> {
        let mut command = Command::status(level, code, "words");
        command.name = name.to_owned();
        command.transaction = transaction;
        self.command(7, &command)
    }

    fn messages(&mut self) -> Vec<Message> {
        let output = self.session.poll_output().unwrap_or_default();
        let mut rest = &output[..];
        std::iter::from_fn(|| self.reader.read(&mut rest).unwrap()).collect()
    }

    /// The names of the commands sent, with transaction and message stream; control messages in words.
    fn sent(&mut self) -> Vec<String> {
        let words = |message: Message| match Control::decode(message.type_id, &message.payload) {
            Some(control) => format!("{control:?}"),
            None => {
                let command = Command::decode(&message.payload).unwrap();
                let Command { name, transaction, .. } = command;
                format!("{name}#{transaction} on {}", message.stream_id)
            }
        };
        self.messages().into_iter().map(words).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }
}

fn refused(code: &str) -> [Event; 1] {
    [Event::Refused { code: code.to_owned(), description: "words".to_owned() }]
}

fn ended(code: &str) -> [Event; 1] {
    [Event::Ended { code: code.to_owned(), description: "words".to_owned() }]
}

#[test]
fn connect_says_who_and_where() {
    let start = Instant::now();
    let mut config = Config::new("rtmp://host:1936/live/cam".parse().unwrap());
    config.connect_extra.push("hops", "a,b");
    let mut session = Session::new_publish(config, [5; 1536], start);
    session.poll_output();
    session.handle_input(&[&[3][..], &[0; 3072]].concat(), start).unwrap();
    let output = session.poll_output().unwrap();
    let message = Reader::new().read(&mut &output[1536..]).unwrap().unwrap();
    let connect = Command::decode(&message.payload).unwrap();
    assert_eq!((connect.name.as_str(), connect.transaction), ("connect", 1.0));
    let object = connect.object.as_object().unwrap();
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    assert_eq!(text("tcUrl"), Some("rtmp://host:1936/live"));
    assert_eq!((text("app"), text("hops")), (Some("live"), Some("a,b")));
    assert_eq!(object.get("fourCcList"), Some(&vec![Value::from("*")].into()));
    assert_eq!(object.get("capsEx"), Some(&Value::Number(14.0)));
}

#[test]
fn a_publisher_calls_in_the_order_of_fmle() {
    let mut harness = Harness::connecting(Purpose::Publish);
    harness.answer("_result", 1.0, "status", "NetConnection.Connect.Success").unwrap();
    assert_eq!(harness.sent(), ["releaseStream#2 on 0", "FCPublish#3 on 0", "createStream#4 on 0"]);
    assert_eq!(harness.reader.chunk_size(), 60_000);
    harness.answer("_error", 2.0, "error", "NetConnection.Call.Failed").unwrap();
    harness.command(0, &Command::new("onBWDone", 0.0, vec![])).unwrap();
    assert!(harness.events().is_empty(), "servers may not know releaseStream");
    harness.command(0, &Command::new("_result", 4.0, vec![7.0.into()])).unwrap();
    let messages = harness.messages();
    let publish = Command::decode(&messages[0].payload).unwrap();
    assert_eq!((publish.text(0), publish.text(1)), (Some("cam?k=v"), Some("live")));
    assert_eq!((publish.name.as_str(), messages[0].stream_id), ("publish", 7));

    harness.answer("onStatus", 0.0, "status", "NetStream.Publish.Start").unwrap();
    assert_eq!((harness.events(), harness.session.stream_id()), (vec![Event::Accepted], Some(7)));
    harness.session.stop();
    assert_eq!(harness.sent(), ["FCUnpublish#6 on 0", "deleteStream#0 on 0"]);
}

#[test]
fn a_player_calls_in_the_order_of_librtmp() {
    let mut harness = Harness::connected(Purpose::Play);
    harness.command(0, &Command::new("_result", 4.0, vec![7.0.into()])).unwrap();
    assert_eq!(
        harness.sent(),
        ["User(SetBufferLength { stream_id: 7, millis: 1000 })", "play#5 on 7"]
    );
    harness.answer("onStatus", 0.0, "status", "NetStream.Play.Reset").unwrap();
    assert!(harness.events().is_empty(), "the start is still to come");
    harness.answer("onStatus", 0.0, "status", "NetStream.Play.Start").unwrap();
    assert_eq!(harness.events(), [Event::Accepted]);
    harness.session.stop();
    assert_eq!(harness.sent(), ["deleteStream#0 on 0"]);
}

#[test]
fn refusals_at_every_step() {
    let rejected = "NetConnection.Connect.Rejected";
    let mut harness = Harness::connecting(Purpose::Play);
    harness.answer("_error", 1.0, "error", rejected).unwrap();
    assert_eq!(harness.events(), refused(rejected));

    let mut harness = Harness::connecting(Purpose::Play);
    harness.answer("onStatus", 0.0, "error", rejected).unwrap();
    assert_eq!(harness.events(), refused(rejected), "as a status");

    let mut harness = Harness::connected(Purpose::Play);
    harness.answer("_error", 4.0, "error", "NetConnection.Call.Failed").unwrap();
    assert_eq!(harness.events(), refused("NetConnection.Call.Failed"));

    let mut harness = Harness::asking(Purpose::Publish);
    harness.answer("_error", 5.0, "error", "NetStream.Publish.BadName").unwrap();
    assert_eq!(harness.events(), refused("NetStream.Publish.BadName"), "as an answer to the call");

    let mut harness = Harness::connected(Purpose::Publish);
    harness.command(0, &Command::new("close", 0.0, vec![])).unwrap();
    assert!(
        matches!(&harness.events()[..], [Event::Refused { code, .. }] if code == "NetConnection.Connect.Closed")
    );
}

#[test]
fn the_end_of_a_stream_is_reported_once() {
    for code in ["NetStream.Play.UnpublishNotify", "NetStream.Play.Stop", "NetStream.Play.Complete"]
    {
        let mut harness = Harness::active(Purpose::Play);
        for _ in 0..2 {
            harness.answer("onStatus", 0.0, "status", code).unwrap();
        }
        harness.message(type_id::VIDEO, 7, b"late").unwrap();
        assert_eq!(harness.events(), ended(code));
        assert_eq!(harness.session.stream_id(), None);
    }
    let mut harness = Harness::active(Purpose::Publish);
    harness.answer("onStatus", 0.0, "error", "NetStream.Publish.BadName").unwrap();
    assert_eq!(harness.events(), ended("NetStream.Publish.BadName"));
}

#[test]
fn media_is_for_players() {
    let mut harness = Harness::active(Purpose::Play);
    harness.message(type_id::DATA, 7, b"\x02\x00\x11|RtmpSampleAccess\x01\x01\x01\x01").unwrap();
    harness.message(type_id::DATA, 7, b"\x02\x00\x08onStatus\x03\x00\x00\x09").unwrap();
    harness.message(type_id::DATA, 7, b"\x02\x00\x0aonMetaData\x05").unwrap();
    harness.message(type_id::AUDIO, 7, b"a").unwrap();
    let events = harness.events();
    assert!(
        matches!(&events[..], [Event::Media(script), Event::Media(audio)]
            if script.kind == TagKind::Script && audio.kind == TagKind::Audio),
        "{events:?}"
    );
    for mut harness in [Harness::asking(Purpose::Play), Harness::active(Purpose::Publish)] {
        harness.message(type_id::AUDIO, 7, b"a").unwrap();
        assert!(harness.events().is_empty());
    }
}

#[test]
fn a_bandwidth_limit_is_answered_and_a_ping_too() {
    let mut harness = Harness::active(Purpose::Publish);
    harness.sent();
    harness.message(type_id::SET_PEER_BANDWIDTH, 0, &[0, 1, 0, 0, 2]).unwrap();
    let (type_id, body) = Control::User(UserControl::PingRequest(3)).encode();
    harness.message(type_id, 0, &body).unwrap();
    assert_eq!(harness.sent(), ["WindowAckSize(65536)", "User(PingResponse(3))"]);
}

#[test]
fn a_stream_id_that_is_none() {
    for arguments in [vec![], vec![Value::Null], vec![0.0.into()], vec![f64::NAN.into()]] {
        let mut harness = Harness::connected(Purpose::Publish);
        let error = harness.command(0, &Command::new("_result", 4.0, arguments)).unwrap_err();
        assert!(matches!(error, Error::Command { missing: "the stream id", .. }), "{error}");
    }
}

#[test]
fn the_time_for_an_answer_is_limited() {
    let harnesses = [
        (Harness::connecting(Purpose::Play), "connect"),
        (Harness::connected(Purpose::Play), "createStream"),
        (Harness::asking(Purpose::Play), "play"),
        (Harness::asking(Purpose::Publish), "publish"),
    ];
    for (mut harness, step) in harnesses {
        let end = harness.start + Duration::from_secs(10);
        assert_eq!(harness.session.poll_timeout(), Some(end));
        harness.session.handle_timeout(end - Duration::from_millis(1)).unwrap();
        let error = harness.session.handle_timeout(end).unwrap_err();
        let limit = Duration::from_secs(10);
        assert_eq!(error, Error::AnswerTimeout { waiting_for: step, limit });
        assert_eq!(harness.input(b"x"), Err(Error::Ended));
    }
    assert_eq!(Harness::active(Purpose::Play).session.poll_timeout(), None);
}

#[test]
fn the_answer_may_take_as_long_as_the_server_was_asked_to_wait() {
    let wait = Duration::from_secs(60);
    let config = Config { wait, ..Config::new("rtmp://host/live/cam".parse().unwrap()) };
    let mut harness = Harness::connecting_with(Purpose::Play, config).connect();
    let connected_by = harness.start + Duration::from_secs(10);
    assert_eq!(harness.session.poll_timeout(), Some(connected_by), "no longer to connect");
    harness = harness.ask();
    assert_eq!(harness.session.poll_timeout(), Some(connected_by + wait));
    let error = harness.session.handle_timeout(connected_by + wait).unwrap_err();
    let limit = Duration::from_secs(70);
    assert_eq!(error, Error::AnswerTimeout { waiting_for: "play", limit });
}

mod silence;

proptest! {
    #[test]
    fn whatever_a_server_sends_is_survived(
        state in 0..5_usize, bytes in prop::collection::vec(any::<u8>(), 0..2000), piece in 1..300_usize,
    ) {
        let mut harness = match state {
            0 => Harness::connecting(Purpose::Publish),
            1 => Harness::connected(Purpose::Play),
            2 => Harness::asking(Purpose::Publish),
            3 => Harness::active(Purpose::Publish),
            _ => Harness::active(Purpose::Play),
        };
        for piece in bytes.chunks(piece) {
            if harness.input(piece).is_err() {
                break;
            }
        }
        let _ = (harness.events(), harness.session.poll_output());
    }

    #[test]
    fn whatever_answers_come_are_survived(
        messages in prop::collection::vec((0..6_usize, 0..7_u32, any::<bool>()), 0..30),
    ) {
        const NAMES: [&str; 6] = ["_result", "_error", "onStatus", "close", "onBWDone", "connect"];
        let mut harness = Harness::connecting(Purpose::Play);
        for (name, transaction, object) in messages {
            let argument = if object { Object::new().into() } else { Value::Number(1.0) };
            let command = Command::new(NAMES[name], f64::from(transaction), vec![argument]);
            if harness.command(0, &command).is_err() {
                break;
            }
        }
        let ends = harness.events().into_iter().filter(|event| *event != Event::Accepted).count();
        prop_assert!(ends <= 1, "an end is reported once");
    }
}
