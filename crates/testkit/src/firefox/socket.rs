//! As much of a client of WebSocket (RFC 6455) as WebDriver BiDi needs.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufStream},
    net::TcpStream,
    time::timeout,
};

/// For the answer to a command: loading a page is one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

const MASK: [u8; 4] = [1, 2, 3, 4];

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A connection to a browser.
#[derive(Debug)]
pub struct Socket {
    stream: BufStream<TcpStream>,
    last: u64,
    /// What the browser has told unasked.
    pub events: Vec<Value>,
}

impl Socket {
    /// Connects.
    ///
    /// # Panics
    /// If nobody who speaks WebSocket is there.
    pub async fn connect(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).await;
        let stream = stream.unwrap_or_else(|error| panic!("no browser at {address}: {error}"));
        let mut stream = BufStream::new(stream);
        // Any sixteen bytes are a key.
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("the browser reads");
        stream.flush().await.expect("the browser reads");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("the browser answers"));
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 101"), "no WebSocket: {answer}");
        Self { stream, last: 0, events: Vec::new() }
    }

    /// A command, and its result. Events that come before that are kept.
    ///
    /// # Panics
    /// If the browser refuses, or does not answer.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let command = json!({ "id": self.last, "method": method, "params": params }).to_string();
        self.write(TEXT, command.as_bytes()).await;
        loop {
            let said = timeout(ANSWER_TIMEOUT, self.message()).await;
            let said = said.unwrap_or_else(|_| panic!("no answer to {command}"));
            if said["id"] != self.last {
                self.events.push(said);
                continue;
            }
            assert_eq!(said["type"], "success", "{command}: {said}");
            return said["result"].clone();
        }
    }

    /// The next message.
    async fn message(&mut self) -> Value {
        let mut text = Vec::new();
        loop {
            let (is_last, kind, bytes) = self.frame().await;
            match kind {
                PING => self.write(PONG, &bytes).await,
                PONG => {}
                CLOSE => panic!("the browser has ended the session"),
                _ => {
                    text.extend(bytes);
                    if is_last {
                        return serde_json::from_slice(&text).expect("messages are JSON");
                    }
                }
            }
        }
    }

    async fn frame(&mut self) -> (bool, u8, Vec<u8>) {
        const GONE: &str = "the browser is there";
        let (first, second) =
            (self.stream.read_u8().await.expect(GONE), self.stream.read_u8().await.expect(GONE));
        let length = match second & 0x7f {
            126 => u64::from(self.stream.read_u16().await.expect(GONE)),
            127 => self.stream.read_u64().await.expect(GONE),
            short => u64::from(short),
        };
        let mut bytes = vec![0; usize::try_from(length).expect("it fits into memory")];
        self.stream.read_exact(&mut bytes).await.expect(GONE);
        (first & 0x80 != 0, first & 0x0f, bytes)
    }

    /// Clients mask what they send. Nobody is to be kept from guessing, but Firefox takes no zeros.
    async fn write(&mut self, kind: u8, bytes: &[u8]) {
        let mut frame = vec![0x80 | kind];
        match bytes.len() {
            short @ 0..126 => frame.push(0x80 | short as u8),
            medium @ 126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend((medium as u16).to_be_bytes());
            }
            long => {
                frame.push(0x80 | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(bytes.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame).await.expect("the browser reads");
        self.stream.flush().await.expect("the browser reads");
    }
}
