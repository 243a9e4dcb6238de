//! A client that says what the test says.

use std::{net::SocketAddr, time::Duration};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use weir_flv::{
    Tag, TagKind,
    amf0::{Object, Value},
};
use weir_rtmp::{
    chunk::{Message, Reader, encode_message},
    message::{Command, Control, type_id},
};

use crate::raw::Raw;

/// Without a byte from the server, when one is waited for.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// The chunk stream of everything a caller sends, in chunks so small that most messages have several.
const CSID: u8 = 3;
const CHUNK_BYTES: usize = 128;

/// An RTMP connection on which a test calls what it likes, in any order.
#[derive(Debug)]
pub struct Caller {
    socket: TcpStream,
    address: SocketAddr,
    local: SocketAddr,
    reader: Reader,
    input: BytesMut,
    transaction: u32,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A command on a message stream.
    Command(u32, Command),
    /// A control message.
    Control(Control),
    /// A message of a stream, on a message stream.
    Media(u32, Tag),
}

impl Caller {
    /// Connects and shakes hands.
    ///
    /// # Panics
    /// If the server does not answer with a handshake.
    pub async fn greet(address: SocketAddr) -> Self {
        Self::on(Raw::rtmp(address).await)
    }

    /// Goes on behind the handshake of `raw`.
    pub fn on(raw: Raw) -> Self {
        let (address, local) = (raw.address(), raw.local());
        let (reader, input) = (Reader::new(), BytesMut::new());
        Self { socket: raw.into_inner(), address, local, reader, input, transaction: 0 }
    }

    /// Shakes hands and connects to `app`.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn connect(address: SocketAddr, app: &str) -> Self {
        let mut caller = Self::greet(address).await;
        caller.connect_to(app).await;
        caller
    }

    /// Connects to `app`.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn connect_to(&mut self, app: &str) {
        let tc_url = format!("rtmp://127.0.0.1/{app}");
        self.call(0, "connect", properties(&[("app", app), ("tcUrl", &tc_url)]), vec![]).await;
        self.result().await;
    }

    /// Connects to `app` as a player on this page.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn connect_from(&mut self, app: &str, page_url: &str) {
        let tc_url = format!("rtmp://127.0.0.1/{app}");
        let fields = [("app", app), ("tcUrl", &*tc_url), ("pageUrl", page_url)];
        self.call(0, "connect", properties(&fields), vec![]).await;
        self.result().await;
    }

    /// Our end of the connection, by which the server's log calls it.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Calls `name` on a message stream.
    pub async fn call(&mut self, stream: u32, name: &str, object: Value, arguments: Vec<Value>) {
        self.transaction += 1;
        let mut command = Command::new(name, self.transaction.into(), arguments);
        command.object = object;
        self.send(stream, type_id::COMMAND, 0, &command.encode()).await;
    }

    /// Sends a control message.
    pub async fn control(&mut self, control: Control) {
        let (type_id, body) = control.encode();
        self.send(0, type_id, 0, &body).await;
    }

    /// Sends any message; one that the server does not take any more is lost.
    pub async fn send(&mut self, stream: u32, type_id: u8, timestamp: u32, body: &[u8]) {
        let mut out = BytesMut::new();
        encode_message(&mut out, CSID, timestamp, type_id, stream, body, CHUNK_BYTES);
        self.send_bytes(&out).await;
    }

    /// Sends any bytes; whether the connection took them.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }

    /// A new message stream.
    ///
    /// # Panics
    /// If the server gives none.
    pub async fn create_stream(&mut self) -> u32 {
        self.call(0, "createStream", Value::Null, vec![]).await;
        let id = self.result().await.number(0);
        id.expect("the result of createStream is a number") as u32
    }

    /// Asks to play `name` on `stream` and waits for the server's yes or no: its status code.
    pub async fn play(&mut self, stream: u32, name: &str) -> String {
        self.call(stream, "play", Value::Null, vec![name.into()]).await;
        match self.status().await {
            code if code == "NetStream.Play.Reset" => self.status().await,
            code => code,
        }
    }

    /// Asks to publish `name` on `stream` and waits for the server's yes or no: its status code.
    pub async fn publish(&mut self, stream: u32, name: &str) -> String {
        self.call(stream, "publish", Value::Null, vec![name.into(), "live".into()]).await;
        self.status().await
    }

    /// The code of the next status; what comes before is lost.
    ///
    /// # Panics
    /// If the server closes the connection before.
    pub async fn status(&mut self) -> String {
        loop {
            match self.next().await {
                Some(Said::Command(_, command)) if command.name == "onStatus" => {
                    return command.info("code").unwrap_or_default().to_owned();
                }
                Some(_) => {}
                None => panic!("the server closed the connection before a status"),
            }
        }
    }

    /// The connection without the protocol.
    pub fn into_raw(self) -> Raw {
        Raw::on(self.socket, self.address, self.local)
    }

    /// The result of the latest call; what comes before is lost.
    ///
    /// # Panics
    /// If the server closes the connection before.
    pub async fn result(&mut self) -> Command {
        loop {
            match self.next().await {
                Some(Said::Command(_, command))
                    if command.name == "_result"
                        && command.transaction == f64::from(self.transaction) =>
                {
                    return command;
                }
                Some(_) => {}
                None => panic!("the server closed the connection before a result"),
            }
        }
    }

    /// The next message of a stream and its message stream; commands and control messages before it are lost.
    ///
    /// # Panics
    /// If the server closes the connection before.
    pub async fn media(&mut self) -> (u32, Tag) {
        loop {
            match self.next().await {
                Some(Said::Media(stream, tag)) => return (stream, tag),
                Some(_) => {}
                None => panic!("the server closed the connection before a message of the stream"),
            }
        }
    }

    /// What the server says next, but for `|RtmpSampleAccess`; `None` when it has closed the connection.
    ///
    /// # Panics
    /// If nothing comes for 20 seconds, or the server breaks the protocol.
    pub async fn next(&mut self) -> Option<Said> {
        loop {
            while let Some(said) = self.buffered() {
                if !is_access(&said) {
                    return Some(said);
                }
            }
            let count = timeout(READ_TIMEOUT, self.socket.read_buf(&mut self.input)).await;
            let count = count.unwrap_or_else(|_| panic!("the server says nothing"));
            // A server that closes with unread input resets the connection.
            if count.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next message of what has been read.
    fn buffered(&mut self) -> Option<Said> {
        let mut left = &self.input[..];
        let message = self.reader.read(&mut left).expect("the server sends chunks");
        let taken = self.input.len() - left.len();
        self.input.advance(taken);
        message.map(said)
    }
}

fn said(message: Message) -> Said {
    let Message { timestamp, type_id, stream_id, payload, .. } = message;
    if let Some(control) = Control::decode(type_id, &payload) {
        return Said::Control(control);
    }
    let kind = match type_id {
        type_id::COMMAND => {
            let command = Command::decode(&payload).expect("the server's commands are AMF0");
            return Said::Command(stream_id, command);
        }
        type_id::AUDIO => TagKind::Audio,
        type_id::VIDEO => TagKind::Video,
        type_id::DATA => TagKind::Script,
        other => panic!("the server sent a message of type {other}"),
    };
    Said::Media(stream_id, Tag { kind, timestamp, body: payload })
}

/// What servers say about a play comes as script data too.
fn is_access(said: &Said) -> bool {
    const NAME: &[u8] = b"\x02\x00\x11|RtmpSampleAccess";
    matches!(said, Said::Media(_, tag) if tag.kind == TagKind::Script && tag.body.starts_with(NAME))
}

/// An object of strings.
fn properties(pairs: &[(&str, &str)]) -> Value {
    let mut object = Object::new();
    pairs.iter().for_each(|(name, value)| object.push(*name, *value));
    object.into()
}
