//! What every socket of a stream needs, ours to origins too.

use std::{cell::RefCell, io};

use socket2::SockRef;
use tokio::net::TcpStream;

/// Bytes that the kernel takes from us before they are sent. With the default a viewer that has stopped reading is
/// noticed only after megabytes; what is in flight does not count, so long paths are not slowed down. Less than one
/// flush of a merged write (350 ms of 3 Mb/s) would cut each of them in two: 16 KiB cost half as much CPU again at 350
/// ms.
const NOTSENT_LOWAT: u32 = 128 * 1024;

/// The same while a socket is sent what is not copied for it: all such sockets share the pages. With 128 KiB, a segment
/// is waited for several times, and costs twice as much.
const NOTSENT_LOWAT_SHARED: u32 = 512 * 1024;

/// Bytes read at a time: more than comes between two looks at a publisher of 2 Mb/s that nobody watches.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    /// Where every read of this thread goes: its bytes are handed to the session before anything is awaited. A buffer
    /// for each connection would be memory that is cold at each read.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Lends the thread's buffer for one read.
pub fn with_scratch<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| read(scratch))
}

/// Sets what every connection needs, ours to origins too.
pub fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    set_unsent(socket, false)
}

/// Sets how much the kernel takes from us before it is sent, which is more while it `is_shared` with other sockets.
pub fn set_unsent(socket: &TcpStream, is_shared: bool) -> io::Result<()> {
    let bytes = if is_shared { NOTSENT_LOWAT_SHARED } else { NOTSENT_LOWAT };
    #[cfg(target_os = "linux")]
    SockRef::from(socket).set_tcp_notsent_lowat(bytes)?;
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, bytes);
    Ok(())
}
