//! The system calls that no safe crate offers, behind safe functions: the only `unsafe` of the project.
//!
//! Each is here because a measurement demanded it (`docs/adr/0005-reading-publishers.md`,
//! `docs/adr/0006-giving-memory-back.md`, `docs/adr/0059-segments-from-huge-pages.md`). Where a system has no such
//! call, the functions do nothing or say so.

pub mod pages;

use std::{io, os::fd::AsFd};

/// Sets `SO_RCVLOWAT`: the socket counts as readable only once `bytes` are there (or it has ended).
///
/// # Errors
/// As `setsockopt` has it.
#[cfg(target_os = "linux")]
pub fn set_recv_lowat(socket: impl AsFd, bytes: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;

    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel reads exactly
    // `size_of::<c_int>()` bytes from `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets `SO_RCVLOWAT` where it works for polled sockets, which is Linux.
///
/// # Errors
/// None here.
#[cfg(not(target_os = "linux"))]
pub fn set_recv_lowat(_socket: impl AsFd, _bytes: u32) -> io::Result<()> {
    Ok(())
}

/// Gives memory that the allocator keeps for later back to the system. Takes some milliseconds and the allocator's
/// locks.
pub fn release_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` may be called at any time from any thread; it touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn a_low_water_mark_is_no_reason_not_to_read_what_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut near =
            TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (mut far, _) = listener.accept().expect("a connection");
        set_recv_lowat(&near, 1000).expect("set");
        far.write_all(b"few").expect("written");
        drop(far);
        let mut read = Vec::new();
        near.read_to_end(&mut read).expect("read");
        assert_eq!(read, b"few", "the end of the stream makes it readable");
    }

    #[test]
    fn memory_can_be_given_back_at_any_time() {
        let kept = vec![1u8; 1 << 20];
        drop(vec![2u8; 1 << 20]);
        release_free_memory();
        assert!(kept.iter().all(|byte| *byte == 1));
    }
}
