//! WebSocket (RFC 6455), as far as one side needs it that only sends: headers of messages, and what a viewer may say.

use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};

/// Opcodes (section 5.2).
pub const BINARY: u8 = 2;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Why a connection is closed (section 7.4.1).
pub const NORMAL: u16 = 1000;
/// The server goes.
pub const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
/// It may not go on.
pub const POLICY: u16 = 1008;

/// Most bytes of what a control frame carries (section 5.5).
const CONTROL_MAX: usize = 125;

/// Longest header of a frame from a client: two bytes, eight of length, four of the mask.
const HEADER_MAX: usize = 14;

/// What a viewer may say within [`INPUT_PERIOD`], headers included: it has nothing to say but pings, and some pages
/// send a sign of life each second.
const INPUT_MAX: usize = 16 * 1024;
const INPUT_PERIOD: Duration = Duration::from_secs(60);

/// The header of a whole message from a server, and how many of its bytes count.
pub fn header(opcode: u8, len: usize) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    bytes[0] = 0x80 | opcode;
    let length = (len as u64).to_be_bytes();
    let count = match len {
        0..=125 => {
            bytes[1] = length[7];
            2
        }
        126..=0xFFFF => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&length[6..]);
            4
        }
        _ => {
            bytes[1] = 127;
            bytes[2..].copy_from_slice(&length);
            10
        }
    };
    (bytes, count)
}

/// A whole message with little in it.
fn message(opcode: u8, payload: &[u8]) -> Bytes {
    let (header, count) = header(opcode, payload.len());
    let mut out = BytesMut::with_capacity(count + payload.len());
    out.put_slice(&header[..count]);
    out.put_slice(payload);
    out.freeze()
}

/// A closing message. `why` is for people, and cut where there is no room for more of it.
pub fn close(code: u16, why: &str) -> Bytes {
    let room = CONTROL_MAX - 2;
    let why = &why.as_bytes()[..why.floor_char_boundary(room)];
    message(CLOSE, &[&code.to_be_bytes(), why].concat())
}

/// What a viewer has said that is of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A ping, and the pong to send for it.
    Ping(Bytes),
    /// It closes; the closing message to send for that.
    Close(Bytes),
    /// It does not keep to the protocol, or says too much: why, and the closing message to send.
    Wrong(&'static str, Bytes),
}

/// Reads what a viewer says. It holds one control frame at most.
#[derive(Debug)]
pub struct Reader {
    header: [u8; HEADER_MAX],
    header_len: usize,
    /// The frame whose payload comes.
    frame: Option<Frame>,
    /// The payload of a control frame so far, unmasked.
    control: [u8; CONTROL_MAX],
    control_len: usize,
    /// Whether a message has begun that more frames belong to.
    is_in_message: bool,
    /// Bytes read in the present period, and when that began.
    read: usize,
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    mask: [u8; 4],
    /// Bytes that have come, and those still to come.
    at: u64,
    left: u64,
}

impl Frame {
    fn is_control(&self) -> bool {
        self.opcode & 8 != 0
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            header: [0; HEADER_MAX],
            header_len: 0,
            frame: None,
            control: [0; CONTROL_MAX],
            control_len: 0,
            is_in_message: false,
            read: 0,
            since: None,
        }
    }
}

impl Reader {
    /// The next thing of interest in `bytes`, which are read up to there; none when all of them are read. After
    /// [`Said::Close`] and [`Said::Wrong`] there is nothing more to read.
    pub fn read(&mut self, bytes: &mut &[u8], now: Instant) -> Option<Said> {
        while !bytes.is_empty() {
            let before = bytes.len();
            let said = self.step(bytes);
            if !self.may_say(before - bytes.len(), now) {
                return Some(wrong(POLICY, "too much input"));
            }
            if said.is_some() {
                return said;
            }
        }
        None
    }

    /// Whether the viewer may say so many bytes more.
    fn may_say(&mut self, bytes: usize, now: Instant) -> bool {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= INPUT_PERIOD;
        if self.since.is_none_or(is_over) {
            (self.since, self.read) = (Some(now), 0);
        }
        self.read = self.read.saturating_add(bytes);
        self.read <= INPUT_MAX
    }

    fn step(&mut self, bytes: &mut &[u8]) -> Option<Said> {
        match self.frame {
            Some(frame) => self.payload(frame, bytes),
            None => self.begin(bytes),
        }
    }

    /// Takes one more byte of a header.
    fn begin(&mut self, bytes: &mut &[u8]) -> Option<Said> {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        self.header[self.header_len] = *first;
        self.header_len += 1;
        let [head, length, ..] = self.header;
        match self.header_len {
            1 => return self.check_head(head),
            2 if length & 0x80 == 0 => {
                return Some(wrong(PROTOCOL_ERROR, "a frame without a mask"));
            }
            2 if head & 8 != 0 && length & 0x7F > 125 => {
                return Some(wrong(PROTOCOL_ERROR, "a control frame that is too long"));
            }
            _ => {}
        }
        let length_bytes = match length & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.header_len < 2 + length_bytes + 4 {
            return None;
        }
        let left = match length_bytes {
            0 => u64::from(length & 0x7F),
            more => {
                self.header[2..2 + more].iter().fold(0, |len, byte| len << 8 | u64::from(*byte))
            }
        };
        let mut mask = [0; 4];
        mask.copy_from_slice(&self.header[2 + length_bytes..2 + length_bytes + 4]);
        (self.header_len, self.control_len) = (0, 0);
        let frame = Frame { opcode: head & 0x0F, mask, at: 0, left };
        self.frame = Some(frame);
        if left == 0 { self.end(frame) } else { None }
    }

    /// Looks at the first byte of a frame.
    fn check_head(&mut self, head: u8) -> Option<Said> {
        let (is_last, opcode) = (head & 0x80 != 0, head & 0x0F);
        if head & 0x70 != 0 {
            return Some(wrong(PROTOCOL_ERROR, "a frame of an extension"));
        }
        match opcode {
            CONTINUATION if !self.is_in_message => {
                return Some(wrong(PROTOCOL_ERROR, "a continuation of nothing"));
            }
            TEXT | BINARY if self.is_in_message => {
                return Some(wrong(PROTOCOL_ERROR, "a message within a message"));
            }
            CONTINUATION | TEXT | BINARY => self.is_in_message = !is_last,
            CLOSE | PING | PONG if is_last => {}
            CLOSE | PING | PONG => {
                return Some(wrong(PROTOCOL_ERROR, "a control frame in pieces"));
            }
            _ => return Some(wrong(PROTOCOL_ERROR, "a frame of an unknown kind")),
        }
        None
    }

    fn payload(&mut self, mut frame: Frame, bytes: &mut &[u8]) -> Option<Said> {
        let left = usize::try_from(frame.left).unwrap_or(usize::MAX);
        let (now, rest) = bytes.split_at(left.min(bytes.len()));
        *bytes = rest;
        if frame.is_control() {
            for (byte, mask) in
                now.iter().zip(frame.mask.iter().cycle().skip(frame.at as usize % 4))
            {
                self.control[self.control_len] = byte ^ mask;
                self.control_len += 1;
            }
        }
        frame.at += now.len() as u64;
        frame.left -= now.len() as u64;
        self.frame = Some(frame);
        if frame.left == 0 { self.end(frame) } else { None }
    }

    /// The frame is whole.
    fn end(&mut self, frame: Frame) -> Option<Said> {
        self.frame = None;
        let payload = &self.control[..self.control_len];
        match frame.opcode {
            PING => Some(Said::Ping(message(PONG, payload))),
            CLOSE => Some(Said::Close(match payload {
                // It is told what it has said.
                [high, low, ..] => close(u16::from_be_bytes([*high, *low]), ""),
                _ => message(CLOSE, &[]),
            })),
            _ => None,
        }
    }
}

fn wrong(code: u16, why: &'static str) -> Said {
    Said::Wrong(why, close(code, why))
}

// With its path, since a fuzz target includes this file from elsewhere.
#[cfg(test)]
#[path = "websocket/tests.rs"]
mod tests;
