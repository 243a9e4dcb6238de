//! The handshake, simple (specification, section 5.2) and with digests.
//!
//! Flash Player 9 and later put an HMAC-SHA256 digest into C1 and expect one in S1 and S2; FFmpeg and FMLE do so too.
//! The server recognises it and answers in kind, else it answers with the simple handshake. Adobe published the
//! simple one only; the digests are as in SRS, nginx-rtmp and FFmpeg, which agree.

mod digest;
mod packet;

use bytes::{BufMut, BytesMut};

use crate::Error;
use digest::{PLAYER_KEY, SERVER_KEY};
pub use packet::{PACKET_BYTES, Random};

/// C0 and S0: plain RTMP.
const VERSION: u8 = 3;

/// In S1 of a handshake with digests: a media server 3.5.1.1. FFmpeg checks the digests of servers from 3.0 on.
const SERVER_VERSION: [u8; 4] = [3, 5, 1, 1];

/// In C1 of a handshake with digests: Flash Player 9.0.124.2, the first version that has them and what librtmp sends.
const CLIENT_VERSION: [u8; 4] = [9, 0, 124, 2];

/// The server's side of a handshake.
#[derive(Debug)]
pub struct Server {
    state: ServerState,
}

#[derive(Debug)]
enum ServerState {
    /// Waiting for C0 and C1.
    Hello { random: Box<Random>, received: Vec<u8> },
    /// Waiting for the rest of C2. Its content is not checked: many clients send an echo of something else.
    Reply { left: usize },
}

impl Server {
    /// A handshake that uses `random` for S1.
    pub fn new(random: Random) -> Self {
        Self { state: ServerState::Hello { random: Box::new(random), received: Vec::new() } }
    }

    /// Takes the handshake's bytes off `input`, appends the answer to `out` when it is due, and returns whether the
    /// handshake is complete.
    ///
    /// # Errors
    /// If the client speaks another version than 3.
    pub fn read(&mut self, input: &mut &[u8], out: &mut BytesMut) -> Result<bool, Error> {
        if let ServerState::Hello { random, received } = &mut self.state {
            let Some(c1) = read_hello(received, input)? else { return Ok(false) };
            put_server_hello(out, &c1, random);
            self.state = ServerState::Reply { left: PACKET_BYTES };
        }
        let ServerState::Reply { left } = &mut self.state else { return Ok(false) };
        Ok(skip(left, input))
    }
}

/// Which handshake a client begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Without digests, as OBS and most encoders do.
    #[default]
    Simple,
    /// With digests, as FFmpeg and Flash Player do.
    Digest,
}

/// The client's side of a handshake.
#[derive(Debug)]
pub struct Client {
    state: ClientState,
}

#[derive(Debug)]
enum ClientState {
    /// Waiting for S0 and S1.
    Hello { c1: Box<Random>, received: Vec<u8> },
    /// Waiting for the rest of S2. Its content is not checked, as in librtmp.
    Reply { left: usize },
}

impl Client {
    /// Begins a handshake: appends C0 and C1, made from `random`, to `out`.
    pub fn new(kind: Kind, random: Random, out: &mut BytesMut) -> Self {
        let mut c1 = random;
        c1[..8].fill(0);
        if kind == Kind::Digest {
            c1[4..8].copy_from_slice(&CLIENT_VERSION);
            digest::sign_hello(&mut c1, digest::Scheme::DigestFirst, &PLAYER_KEY[..30]);
        }
        out.put_u8(VERSION);
        out.put_slice(&c1);
        Self { state: ClientState::Hello { c1: Box::new(c1), received: Vec::new() } }
    }

    /// Takes the handshake's bytes off `input`, appends C2 to `out` when it is due, and returns whether the handshake
    /// is complete.
    ///
    /// # Errors
    /// If the server speaks another version than 3.
    pub fn read(&mut self, input: &mut &[u8], out: &mut BytesMut) -> Result<bool, Error> {
        if let ClientState::Hello { c1, received } = &mut self.state {
            let Some(s1) = read_hello(received, input)? else { return Ok(false) };
            let signed = c1[4..8] == CLIENT_VERSION;
            let s1_digest = digest::find(&s1, &SERVER_KEY[..36]).filter(|_| signed);
            match s1_digest {
                Some((_, digest)) => out.put_slice(&digest::reply(c1, &digest, &PLAYER_KEY)),
                None => out.put_slice(&s1),
            }
            self.state = ClientState::Reply { left: PACKET_BYTES };
        }
        let ClientState::Reply { left } = &mut self.state else { return Ok(false) };
        Ok(skip(left, input))
    }
}

/// Collects version byte and C1 or S1 in `received`; returns the latter when it is complete.
fn read_hello(received: &mut Vec<u8>, input: &mut &[u8]) -> Result<Option<Random>, Error> {
    let (now, later) = input.split_at(input.len().min(1 + PACKET_BYTES - received.len()));
    received.extend_from_slice(now);
    *input = later;
    match **received {
        [VERSION, ref packet @ ..] => Ok(packet.try_into().ok()),
        [version, ..] => Err(Error::HandshakeVersion(version)),
        [] => Ok(None),
    }
}

/// Takes up to `left` bytes off `input`; returns whether nothing is left to take.
fn skip(left: &mut usize, input: &mut &[u8]) -> bool {
    let now = input.len().min(*left);
    *input = &input[now..];
    *left -= now;
    *left == 0
}

/// Appends S0, S1 and S2.
fn put_server_hello(out: &mut BytesMut, c1: &Random, random: &Random) {
    let mut s1 = *random;
    s1[..8].fill(0);
    out.put_u8(VERSION);
    match digest::find(c1, &PLAYER_KEY[..30]) {
        Some((scheme, digest)) => {
            s1[4..8].copy_from_slice(&SERVER_VERSION);
            digest::sign_hello(&mut s1, scheme, &SERVER_KEY[..36]);
            out.put_slice(&s1);
            out.put_slice(&digest::reply(random, &digest, &SERVER_KEY));
        }
        None => {
            out.put_slice(&s1);
            out.put_slice(c1);
        }
    }
}

#[cfg(test)]
mod tests;
