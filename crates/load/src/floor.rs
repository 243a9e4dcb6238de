//! The bare loop: for each flush, one `send` of the same bytes to each viewer, and nothing else.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use weir_flv::file;

use crate::{cli::Floor, clip::Clip};

/// How often new viewers are looked for.
const ACCEPT_EVERY: Duration = Duration::from_millis(20);

/// Serves until killed.
///
/// # Errors
/// When the address cannot be had.
pub fn run(floor: &Floor) -> io::Result<()> {
    let listener = TcpListener::bind(floor.listen)?;
    listener.set_nonblocking(true)?;
    println!("listening http {}", listener.local_addr()?);
    let flush = Duration::from_millis(floor.flush_ms);
    let (mut viewers, mut newcomers) = (Vec::new(), Vec::new());
    let mut clip = Clip::new(floor.bit_rate);
    let mut pending = BytesMut::new();
    let (start, mut next_accept, mut next_flush) = (Instant::now(), Instant::now(), Instant::now());
    loop {
        let due = start + clip.next_due();
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        if now >= next_accept {
            next_accept = now + ACCEPT_EVERY;
            accept(&listener, &mut newcomers)?;
        }
        let frame = clip.next_frame();
        if crate::clip::is_key(&frame.body) {
            // A viewer starts with a key frame: what is pending is for those who were here before.
            send(&mut viewers, &pending);
            pending.clear();
            welcome(&mut newcomers, &mut viewers);
        }
        file::write_tag(&mut pending, frame.kind, frame.timestamp(), &frame.body);
        if now >= next_flush {
            next_flush = if flush.is_zero() { now } else { (next_flush + flush).max(now) };
            send(&mut viewers, &pending);
            pending.clear();
        }
    }
}

fn accept(listener: &TcpListener, newcomers: &mut Vec<TcpStream>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                newcomers.push(socket);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Answers the viewers that have asked.
fn welcome(newcomers: &mut Vec<TcpStream>, viewers: &mut Vec<TcpStream>) {
    let mut head = BytesMut::from(
        &b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n"[..],
    );
    head.extend_from_slice(&file::Header { has_audio: true, has_video: true }.encode());
    for frame in Clip::configuration() {
        file::write_tag(&mut head, frame.kind, 0, &frame.body);
    }
    for mut socket in std::mem::take(newcomers) {
        let mut request = [0; 1024];
        match socket.read(&mut request) {
            Ok(1..) if socket.write(&head).is_ok_and(|sent| sent == head.len()) => {
                viewers.push(socket);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => newcomers.push(socket),
            Ok(_) | Err(_) => {}
        }
    }
}

/// A viewer that does not take everything at once is dropped: remembering its place would be more than a bare loop.
fn send(viewers: &mut Vec<TcpStream>, bytes: &[u8]) {
    if !bytes.is_empty() {
        viewers.retain_mut(|socket| socket.write(bytes).is_ok_and(|sent| sent == bytes.len()));
    }
}
