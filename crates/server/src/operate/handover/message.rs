//! Lines over a unix socket, some of them with sockets beside them.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, Interest},
    net::UnixStream,
};

/// Listeners of one process: more than any configuration has, and less than the kernel passes on at once (253).
const LISTENERS_MAX: usize = 64;

/// Longest line: the listeners of one process.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// A listener, beside its socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its part of the configuration: `rtmp`, `http` or `api`.
    pub service: String,
    /// Its address.
    pub address: SocketAddr,
}

/// Sends a line with `sockets` beside it.
pub async fn send(stream: &UnixStream, line: &str, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    if sockets.len() > LISTENERS_MAX {
        return Err(invalid("too many listeners to hand over"));
    }
    let line = format!("{line}\n");
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if !sockets.is_empty() {
                beside.push(SendAncillaryMessage::ScmRights(sockets));
            }
            let line = [IoSlice::new(line.as_bytes())];
            Ok(sendmsg(stream, &line, &mut beside, SendFlags::NOSIGNAL)?)
        })
        .await?;
    // A socket's buffer has room for the first line that goes through it.
    if sent == line.len() { Ok(()) } else { Err(invalid("truncated line")) }
}

/// Reads a line without sockets.
pub async fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    while line.len() < LINE_BYTES_MAX {
        match stream.read_u8().await? {
            b'\n' => return String::from_utf8(line).map_err(|_| invalid("not text")),
            byte => line.push(byte),
        }
    }
    Err(invalid("unterminated line"))
}

/// Reads the line that names the listeners, and the sockets beside it.
pub async fn receive(stream: &mut UnixStream) -> io::Result<Vec<(Offer, std::net::TcpListener)>> {
    let (mut line, mut sockets) = (Vec::new(), Vec::<OwnedFd>::new());
    while !line.ends_with(b"\n") {
        let received = stream
            .async_io(Interest::READABLE, || receive_some(stream, &mut line, &mut sockets))
            .await?;
        if received == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(invalid("unterminated line"));
        }
    }
    let offers: Vec<Offer> = serde_json::from_slice(&line)?;
    if offers.len() != sockets.len() {
        let (offers, sockets) = (offers.len(), sockets.len());
        return Err(invalid(format!("it sent {offers} listeners and {sockets} sockets")));
    }
    let listener = |socket| {
        let listener = std::net::TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        io::Result::Ok(listener)
    };
    offers.into_iter().zip(sockets).map(|(offer, socket)| Ok((offer, listener(socket)?))).collect()
}

fn receive_some(
    stream: &UnixStream,
    line: &mut Vec<u8>,
    sockets: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 4096];
    let mut into = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(stream, &mut into, &mut beside, RecvFlags::CMSG_CLOEXEC)?.bytes;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            sockets.extend(received);
        }
    }
    line.extend_from_slice(&bytes[..received]);
    Ok(received)
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
