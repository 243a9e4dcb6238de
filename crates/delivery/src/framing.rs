//! How a file without an end goes over a connection: as it is, in HTTP/1.1 chunks, or in WebSocket messages.

use bytes::{BufMut, Bytes, BytesMut};

use crate::websocket;

/// How bytes are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Not at all: they end with the connection.
    Plain,
    /// In the chunks of HTTP/1.1 (RFC 9112 section 7.1).
    Chunked,
    /// In binary messages of WebSocket (RFC 6455).
    WebSocket,
}

/// HTTP chunk header with a size of fixed width, so that it can be filled in once the size is known.
const CHUNK_HEADER: &[u8; 10] = b"00000000\r\n";
const CRLF: &[u8; 2] = b"\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Room for a WebSocket header of messages of common size; one that turns out otherwise moves the message.
const MESSAGE_HEADER: usize = 4;

/// Most bytes that framing adds to one run of bytes.
pub const FRAMING_OVERHEAD: usize = CHUNK_HEADER.len() + CRLF.len();

impl Framing {
    /// `bytes` in a chunk or a message of their own. No bytes are none: an empty chunk would end a body.
    pub fn frame(self, bytes: Bytes) -> Bytes {
        if self == Self::Plain || bytes.is_empty() {
            return bytes;
        }
        let mut framed = Framed::with_capacity(self, bytes.len() + FRAMING_OVERHEAD);
        framed.open().put_slice(&bytes);
        framed.finish()
    }

    /// What ends a body. `is_leaving`: for one who is to leave, not for the stream's end.
    pub fn ending(self, is_leaving: bool) -> Bytes {
        match self {
            Self::Plain => Bytes::new(),
            Self::Chunked => Bytes::from_static(LAST_CHUNK),
            Self::WebSocket if is_leaving => {
                websocket::close(websocket::GOING_AWAY, "the server is shutting down")
            }
            Self::WebSocket => websocket::close(websocket::NORMAL, "the stream has ended"),
        }
    }
}

/// Bytes in their frames: one contiguous run of them.
pub struct Framed {
    framing: Framing,
    out: BytesMut,
    /// Where the open frame's header is.
    open: Option<usize>,
}

impl Framed {
    /// Nothing yet, with room for so many bytes.
    pub fn with_capacity(framing: Framing, capacity: usize) -> Self {
        Self { framing, out: BytesMut::with_capacity(capacity), open: None }
    }

    /// Where more bytes of the open frame go.
    pub fn open(&mut self) -> &mut BytesMut {
        if self.framing != Framing::Plain && self.open.is_none() {
            self.open = Some(self.out.len());
            match self.framing {
                Framing::WebSocket => self.out.put_bytes(0, MESSAGE_HEADER),
                Framing::Plain | Framing::Chunked => self.out.put_slice(CHUNK_HEADER),
            }
        }
        &mut self.out
    }

    /// Ends the open frame.
    pub fn close(&mut self) {
        let Some(header) = self.open.take() else { return };
        if self.framing == Framing::WebSocket {
            return self.close_message(header);
        }
        let body = header + CHUNK_HEADER.len();
        let size = format!("{:08x}", self.out.len() - body);
        self.out[header..header + size.len()].copy_from_slice(size.as_bytes());
        self.out.put_slice(CRLF);
    }

    /// The length of a message has to be written in as few bytes as it can be (RFC 6455 section 5.2).
    fn close_message(&mut self, header: usize) {
        let body = header + MESSAGE_HEADER;
        let len = self.out.len() - body;
        let (bytes, count) = websocket::header(websocket::BINARY, len);
        if count > MESSAGE_HEADER {
            self.out.put_bytes(0, count - MESSAGE_HEADER);
        }
        if count != MESSAGE_HEADER {
            self.out.copy_within(body..body + len, header + count);
            self.out.truncate(header + count + len);
        }
        self.out[header..header + count].copy_from_slice(&bytes[..count]);
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Memory that the bytes take.
    pub fn capacity(&self) -> usize {
        self.out.capacity()
    }

    /// The bytes.
    pub fn finish(mut self) -> Bytes {
        self.close();
        self.out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payloads of messages, none of them with a longer header than it needs.
    fn messages(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let [first, second, rest @ ..] = bytes {
            assert_eq!(*first, 0x82, "a whole binary message");
            let (len, rest) = match second {
                126 => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
                127 => (u64::from_be_bytes(rest[..8].try_into().expect("eight bytes")), &rest[8..]),
                len => (u64::from(*len), rest),
            };
            let least = [0, 0, 126, 0x1_0000];
            let width = match second {
                126 => 2,
                127 => 3,
                _ => 1,
            };
            assert!(len >= least[width], "{len} in a header of kind {width}");
            let (message, rest) = rest.split_at(usize::try_from(len).expect("it fits"));
            messages.push(message.to_vec());
            bytes = rest;
        }
        messages
    }

    #[test]
    fn messages_of_every_length_come_out_as_they_went_in() {
        let lengths = [1, 125, 126, 127, 4000, 65_535, 65_536, 200_000];
        let mut framed = Framed::with_capacity(Framing::WebSocket, 0);
        for len in lengths {
            let body: Vec<_> = (0..len).map(|at| (at % 251) as u8).collect();
            let (one, other) = body.split_at(len / 2);
            framed.open().put_slice(one);
            framed.open().put_slice(other);
            framed.close();
        }
        let bytes = framed.finish();
        let messages = messages(&bytes);
        assert_eq!(messages.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
        for message in messages {
            assert!(message.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
        }
    }

    #[test]
    fn no_bytes_have_no_frame() {
        for framing in [Framing::Plain, Framing::Chunked, Framing::WebSocket] {
            assert!(framing.frame(Bytes::new()).is_empty(), "{framing:?}");
            assert!(Framed::with_capacity(framing, 0).finish().is_empty(), "{framing:?}");
        }
    }

    #[test]
    fn websocket_says_why_it_ends() {
        let ended = Framing::WebSocket.ending(false);
        assert_eq!(ended[..4], [0x88, 22, 0x03, 0xE8]);
        assert_eq!(&ended[4..], b"the stream has ended");
        assert_eq!(Framing::WebSocket.ending(true)[2..4], [0x03, 0xE9]);
    }
}
