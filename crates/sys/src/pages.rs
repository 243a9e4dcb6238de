//! Memory that the system sends from without copying it.
//!
//! `vmsplice` has a pipe refer to pages of the process, and `splice` hands them on to a socket. Nothing says when the
//! system has done with them. So what is here is written once, before anybody sees it, and never again; and what is
//! let go of is unmapped as a whole: pages that a socket still refers to stay as they are until it has sent them.

use std::{
    io,
    os::fd::AsFd,
    ptr::{self, NonNull},
    slice,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Where no two pieces share a page, on any machine.
const ALIGNMENT: usize = 64 * 1024;

/// What a huge page of the system is, and what all memory is in multiples of. Where it has none of these, or will not
/// give them, each page costs a little more.
pub const HUGE_PAGE: usize = 2 << 20;

/// Some memory that pieces are put into, one after the other, until it is full.
#[derive(Debug)]
pub struct Arena {
    start: NonNull<u8>,
    len: usize,
    used: AtomicUsize,
}

// SAFETY: the memory is the arena's alone, at the same place for as long as it lives. It is written only by `put`, to
// stretches that `used` gives to one caller each, and read only by whoever has the piece that was made after that.
unsafe impl Send for Arena {}
// SAFETY: as above: `put` may be called by several threads at a time.
unsafe impl Sync for Arena {}

/// Bytes in an [`Arena`], which are never written again.
#[derive(Clone, Debug)]
pub struct Piece {
    arena: Arc<Arena>,
    start: usize,
    len: usize,
}

impl Arena {
    /// Memory for `bytes`, rounded up to whole huge pages.
    ///
    /// # Errors
    /// When the system has no more.
    pub fn new(bytes: usize) -> io::Result<Arc<Self>> {
        let len = Self::len_for(bytes);
        // One page more, so that there is a place in it where huge pages can begin.
        let both = len.and_then(|len| Some((len, len.checked_add(HUGE_PAGE)?)));
        let (len, mapped) = both.ok_or(io::ErrorKind::OutOfMemory)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at a place of the system's choice touches no memory that there is.
        let all = unsafe { libc::mmap(ptr::null_mut(), mapped, protection, flags, -1, 0) };
        if all == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let before = all.addr().next_multiple_of(HUGE_PAGE) - all.addr();
        let after = mapped - before - len;
        let start = all.cast::<u8>().wrapping_add(before);
        // SAFETY: both stretches are whole pages of the mapping made above, and nobody knows of them. What remains is
        // `len` bytes from `start`. Both calls may fail without harm: then there is more mapped than is used.
        unsafe {
            if before > 0 {
                libc::munmap(all, before);
            }
            if after > 0 {
                libc::munmap(start.wrapping_add(len).cast(), after);
            }
        }
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        let arena = Arc::new(Self { start, len, used: AtomicUsize::new(0) });
        #[cfg(target_os = "linux")]
        // SAFETY: this is about memory that is the arena's, and changes nothing in it.
        unsafe {
            libc::madvise(arena.start.as_ptr().cast(), len, libc::MADV_HUGEPAGE);
        }
        Ok(arena)
    }

    /// Bytes of memory that one for so many bytes takes, once it is full.
    pub fn len_for(bytes: usize) -> Option<usize> {
        bytes.max(1).checked_next_multiple_of(HUGE_PAGE)
    }

    /// Whether so many bytes can be put into it, as long as nobody else does.
    pub fn has_room(&self, bytes: usize) -> bool {
        let room = bytes.max(1).checked_next_multiple_of(ALIGNMENT);
        let used = self.used.load(Ordering::Relaxed);
        room.is_some_and(|room| room <= self.len - used)
    }

    /// A copy of `data` in it, if there is room.
    pub fn put(self: &Arc<Self>, data: &[u8]) -> Option<Piece> {
        let room = data.len().max(1).checked_next_multiple_of(ALIGNMENT)?;
        let next = |used: usize| used.checked_add(room).filter(|end| *end <= self.len);
        let start = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        // SAFETY: `start + data.len()` is within the mapping, since `used` never exceeds `len`. The stretch is this
        // call's alone, since `used` has moved beyond it and never moves back, and no piece of it exists yet.
        unsafe {
            let to = self.start.as_ptr().add(start);
            ptr::copy_nonoverlapping(data.as_ptr(), to, data.len());
        }
        Some(Piece { arena: Arc::clone(self), start, len: data.len() })
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped and not unmapped, and no piece of it is left: each holds the arena.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.len);
        }
    }
}

impl Piece {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the stretch was written before the piece was made, is never written again, and stays mapped for as
        // long as the piece holds the arena.
        unsafe { slice::from_raw_parts(self.arena.start.as_ptr().add(self.start), self.len) }
    }

    /// Has the pipe refer to bytes of it: up to `len` from `from` on, without waiting. How many it does.
    ///
    /// # Errors
    /// As `vmsplice` has it; when `from` is beyond the piece.
    #[cfg(target_os = "linux")]
    pub fn to_pipe(&self, pipe: impl AsFd, from: usize, len: usize) -> io::Result<usize> {
        use std::os::fd::AsRawFd as _;

        let rest = self.bytes().get(from..).ok_or(io::ErrorKind::InvalidInput)?;
        let bytes = &rest[..len.min(rest.len())];
        let vector =
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: the descriptor is open for as long as `pipe` is borrowed. The system only reads the bytes; that it
        // may do so after this call, and even after they are unmapped, is what this module is made for.
        let count = unsafe {
            libc::vmsplice(pipe.as_fd().as_raw_fd(), &raw const vector, 1, libc::SPLICE_F_NONBLOCK)
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// There is no such call here.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub fn to_pipe(&self, _pipe: impl AsFd, _from: usize, _len: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn bytes(seed: u8, len: usize) -> Vec<u8> {
        (0..len).map(|at| (at / 251) as u8 ^ (at as u8).wrapping_mul(seed)).collect()
    }

    #[test]
    fn pieces_are_what_was_put_and_do_not_touch_each_other() {
        let arena = Arena::new(3 * ALIGNMENT).expect("memory");
        assert_eq!(Arena::len_for(3 * ALIGNMENT), Some(HUGE_PAGE));
        let lens = [1, ALIGNMENT, ALIGNMENT + 1, 0, 100_000];
        let pieces: Vec<_> = lens
            .iter()
            .zip(1..)
            .map(|(len, seed)| (seed, arena.put(&bytes(seed, *len)).expect("there is room")))
            .collect();
        for ((seed, piece), len) in pieces.iter().zip(lens) {
            assert_eq!(piece.bytes(), bytes(*seed, len), "{len} bytes");
            assert_eq!(piece.bytes().as_ptr().addr() % ALIGNMENT, 0);
        }
        assert!(!arena.has_room(HUGE_PAGE) && arena.put(&vec![0; HUGE_PAGE]).is_none());
        assert!(arena.has_room(9));
        assert!(arena.put(&[1; 9]).is_some());
    }

    #[test]
    fn an_arena_is_as_large_as_what_it_is_for() {
        for len in [HUGE_PAGE, HUGE_PAGE + 1, 5 * HUGE_PAGE] {
            let arena = Arena::new(len).expect("memory");
            let data = bytes(3, len);
            let piece = arena.put(&data).expect("there is room");
            assert!(piece.bytes() == data, "{len} bytes");
            assert_eq!(arena.has_room(1), len % HUGE_PAGE > 0, "{len} bytes");
        }
        assert!(Arena::new(usize::MAX).is_err());
        assert!(Arena::new(usize::MAX - 2 * HUGE_PAGE).is_err());
    }

    #[test]
    fn threads_may_put_pieces_at_the_same_time() {
        let arena = Arena::new(16 * ALIGNMENT).expect("memory");
        let all: Vec<_> = std::thread::scope(|scope| {
            let put = |seed: u8| {
                let arena = &arena;
                move || (0..8).map(|_| arena.put(&bytes(seed, 1000)).expect("room")).collect()
            };
            let threads: Vec<_> = (1..=4).map(|seed| (seed, scope.spawn(put(seed)))).collect();
            let join = |(seed, thread): (u8, std::thread::ScopedJoinHandle<'_, Vec<Piece>>)| {
                (seed, thread.join().expect("it did not panic"))
            };
            threads.into_iter().map(join).collect()
        });
        for (seed, pieces) in all {
            assert!(pieces.iter().all(|piece| piece.bytes() == bytes(seed, 1000)));
        }
    }

    #[test]
    fn what_is_on_its_way_outlives_its_memory() {
        let (mut read, write) = io::pipe().expect("a pipe");
        let data = bytes(7, 32 * 1024);
        let arena = Arena::new(data.len()).expect("memory");
        let piece = arena.put(&data).expect("there is room");
        let count = piece.to_pipe(&write, 1000, usize::MAX).expect("vmsplice");
        assert_eq!(count, data.len() - 1000);
        drop((piece, arena));
        // What is mapped next is likely to be at the same place.
        let others: Vec<_> = (0..8).map(|_| Arena::new(HUGE_PAGE).expect("memory")).collect();
        for other in &others {
            other.put(&vec![0xff; HUGE_PAGE]).expect("there is room");
        }
        let mut got = vec![0; count];
        read.read_exact(&mut got).expect("read");
        assert!(got == data[1000..]);
    }

    #[test]
    fn nothing_is_beyond_the_end_of_a_piece() {
        let (_read, write) = io::pipe().expect("a pipe");
        let arena = Arena::new(1).expect("memory");
        let piece = arena.put(b"some").expect("there is room");
        assert_eq!(piece.to_pipe(&write, 4, 9).ok(), Some(0));
        assert!(piece.to_pipe(&write, 5, 9).is_err());
        assert_eq!(piece.to_pipe(&write, 1, 9).ok(), Some(3));
    }
}
