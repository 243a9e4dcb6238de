use bytes::BytesMut;
use weir_flv::{
    Tag,
    amf0::{self, Object, Value},
};

use super::*;
use crate::{
    chunk::{self, MESSAGE_BYTES_MAX, Message, Reader},
    message::{Command, Control, UserControl, type_id},
};

mod commands;
mod hostile;
mod media;
mod questions;

/// A client that says what it is told, to a session.
struct Harness {
    session: Session,
    start: Instant,
    reader: Reader,
}

impl Harness {
    /// In front of the handshake.
    fn new() -> Self {
        let start = Instant::now();
        let mut config = Config::default();
        config.connect_reply.push("srs_server", "weir");
        Self { session: Session::new(config, [5; 1536], start), start, reader: Reader::new() }
    }

    /// Behind the handshake.
    fn greeted() -> Self {
        let mut harness = Self::new();
        harness.input(&[&[3][..], &[0; 3072]].concat()).unwrap();
        assert_eq!(harness.session.poll_output().unwrap().len(), 3073);
        harness
    }

    /// Connected as `rtmp://host/live`.
    fn connected() -> Self {
        let mut harness = Self::greeted();
        harness.command(0, &connect(&[("app", "live"), ("tcUrl", "rtmp://host/live")])).unwrap();
        assert!(matches!(harness.session.poll_event(), Some(Event::Connected(_))));
        harness.answers();
        harness
    }

    /// With message stream 1.
    fn with_stream() -> Self {
        let mut harness = Self::connected();
        harness.command(0, &Command::new("createStream", 4.0, vec![])).unwrap();
        harness.answers();
        harness
    }

    /// Publishing `cam` on message stream 1.
    fn publishing() -> Self {
        let mut harness = Self::with_stream();
        harness.command(1, &publish("cam")).unwrap();
        assert!(matches!(harness.session.poll_event(), Some(Event::Publish { .. })));
        harness.session.accept_publish(1);
        harness.answers();
        harness
    }

    /// Playing `cam` on message stream 1.
    fn playing() -> Self {
        let mut harness = Self::with_stream();
        harness.command(1, &play("cam")).unwrap();
        assert!(matches!(harness.session.poll_event(), Some(Event::Play { .. })));
        harness.session.accept_play(1);
        harness.answers();
        harness
    }

    fn input(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.session.handle_input(bytes, self.start)
    }

    fn message(
        &mut self,
        type_id: u8,
        stream_id: u32,
        timestamp: u32,
        body: &[u8],
    ) -> Result<(), Error> {
        let mut out = BytesMut::new();
        chunk::encode_message(&mut out, 4, timestamp, type_id, stream_id, body, 128);
        self.input(&out)
    }

    fn command(&mut self, stream_id: u32, command: &Command) -> Result<(), Error> {
        self.message(type_id::COMMAND, stream_id, 0, &command.encode())
    }

    fn control(&mut self, control: Control) -> Result<(), Error> {
        let (type_id, body) = control.encode();
        self.message(type_id, 0, 0, &body)
    }

    /// The messages that the session has sent since the last call.
    fn messages(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(output) = self.session.poll_output() {
            let mut rest = &output[..];
            while let Some(message) = self.reader.read(&mut rest).unwrap() {
                messages.push(message);
            }
        }
        messages
    }

    /// The same in words: commands with the code of their status, control messages, script data by its name.
    fn answers(&mut self) -> Vec<String> {
        self.messages().iter().map(describe).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    fn after(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }
}

fn describe(message: &Message) -> String {
    if let Some(control) = Control::decode(message.type_id, &message.payload) {
        return format!("{control:?}");
    }
    match message.type_id {
        type_id::COMMAND => {
            let command = Command::decode(&message.payload).unwrap();
            let detail = command.info("code").map(str::to_owned);
            let detail = detail.or_else(|| command.number(0).map(|n| n.to_string()));
            let detail = detail.unwrap_or_default();
            format!("{}#{} {detail} on {}", command.name, command.transaction, message.stream_id)
        }
        type_id::DATA => {
            let values = amf0::decode_all(&message.payload).unwrap();
            format!("data {} on {}", values[0].as_str().unwrap(), message.stream_id)
        }
        type_id => format!("type {type_id} at {} on {}", message.timestamp, message.stream_id),
    }
}

fn connect(properties: &[(&str, &str)]) -> Command {
    let mut command = Command::new("connect", 1.0, vec![]);
    let mut object = Object::new();
    properties.iter().for_each(|(name, value)| object.push(*name, *value));
    command.object = object.into();
    command
}

fn publish(name: &str) -> Command {
    Command::new("publish", 5.0, vec![name.into(), "live".into()])
}

fn play(name: &str) -> Command {
    Command::new("play", 5.0, vec![name.into(), Value::Number(-2.0)])
}
