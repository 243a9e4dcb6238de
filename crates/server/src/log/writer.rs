//! Lines on their way to stderr. Whoever logs puts a line into a bounded buffer; one thread writes. Whatever became of
//! whoever reads our stderr, nobody else waits for it.
//!
//! ```text
//! any thread ── push ──► waiting (bounded) ── swapped out ──► weir-log: write(2)
//!                 └─ no room: the line is lost, and counted
//! ```

use std::{
    cell::RefCell,
    io::{self, ErrorKind, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;
use weir_clients::counts::COUNTS;

/// Bytes of lines that wait to be written, and once more those that are being written: some 1,500 lines, which a disk
/// or a pipe that pauses for a moment catches up with, and little beside the streams.
pub const WAITING_BYTES_MAX: usize = 512 * 1024;

/// A buffer that a burst has made larger than this is given back.
const KEPT_BYTES: usize = 32 * 1024;

/// How long the last lines may take when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often the thread looks for what there is to say of the lines that were left out.
const LOOK: Duration = Duration::from_secs(1);

/// How long a stderr that takes nothing, and does not block, is left alone.
const REST: Duration = Duration::from_millis(20);

thread_local! {
    /// What the writing thread itself logs: it goes to stderr at once, and not into the buffer, which may be full.
    static OWN: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Where lines are put. Clones share one buffer.
#[derive(Clone, Debug)]
pub struct Writer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// Everything has been written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines that there was no room for after those that wait.
    lost: u64,
    /// The process ends: what there is to say is said now.
    is_ending: bool,
    /// What ends has been said.
    has_ended: bool,
}

/// What the writing thread has to say of the log itself. It logs that like anybody else.
pub trait Remarks: Send + 'static {
    /// So many lines are missing here.
    fn lost(&mut self, lines: u64);

    /// It is time to look for what else there is; the process `is_ending`, or goes on.
    fn look(&mut self, is_ending: bool);
}

impl Writer {
    /// A buffer, and the thread that writes it to `sink`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(sink: impl Write + Send + 'static, remarks: impl Remarks) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let run = {
            let shared = Arc::clone(&shared);
            let outlet = Outlet { sink, lost: 0, is_within_line: false };
            move || shared.write_on(outlet, remarks)
        };
        thread::Builder::new().name("weir-log".to_owned()).spawn(run)?;
        Ok(Self(shared))
    }

    /// Has `line`, which ends with a line feed, written. Never waits for whoever reads it.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.0.lock();
        if state.waiting.len() + line.len() > WAITING_BYTES_MAX {
            state.lost += 1;
            drop(state);
            COUNTS.log_lines_lost.increase();
            return;
        }
        let was_empty = state.waiting.is_empty();
        let (held, room) = (state.waiting.len(), state.waiting.capacity());
        if held + line.len() > room {
            // Not what a vector takes by itself, which is up to twice the bound.
            let room = (2 * room).max(held + line.len()).min(WAITING_BYTES_MAX);
            state.waiting.reserve_exact(room - held);
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        if was_empty {
            self.0.filled.notify_one();
        }
    }

    /// Waits until everything has been written that was put here before, but not long. Called when the process ends.
    pub fn finish(&self) {
        let deadline = Instant::now() + LAST_WORDS;
        let mut state = self.0.lock();
        state.is_ending = true;
        state.has_ended = false;
        self.0.filled.notify_one();
        while !state.has_ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.emptied.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_on(&self, mut outlet: Outlet<impl Write>, mut remarks: impl Remarks) {
        let mut batch = Vec::new();
        let mut next_look = Instant::now() + LOOK;
        loop {
            let mut state = self.lock();
            let left = next_look.saturating_duration_since(Instant::now());
            if state.waiting.is_empty() && state.lost == 0 && !state.is_ending && !left.is_zero() {
                let waited = self.filled.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            std::mem::swap(&mut state.waiting, &mut batch);
            let (lost, is_ending) = (std::mem::take(&mut state.lost), state.is_ending);
            drop(state);
            outlet.write(&batch);
            batch.clear();
            if batch.capacity() > KEPT_BYTES {
                batch = Vec::new();
            }
            outlet.lost += lost;
            outlet.tell_of_lost(&mut remarks);
            if is_ending || next_look <= Instant::now() {
                next_look = Instant::now() + LOOK;
                outlet.write(&logged(|| remarks.look(is_ending)));
            }
            let mut state = self.lock();
            if is_ending && state.waiting.is_empty() {
                (state.is_ending, state.has_ended) = (false, true);
                self.emptied.notify_all();
            }
        }
    }
}

/// What `say` logs on this thread, which nothing is left out of.
pub fn logged(say: impl FnOnce()) -> Vec<u8> {
    OWN.set(Some(Vec::new()));
    say();
    OWN.take().unwrap_or_default()
}

/// Whether what is logged here is about the log.
pub fn is_own() -> bool {
    OWN.with_borrow(Option::is_some)
}

/// Where the lines go in the end.
struct Outlet<W> {
    sink: W,
    /// Lines that are missing since it was last said how many.
    lost: u64,
    /// The last line was cut off.
    is_within_line: bool,
}

impl<W: Write> Outlet<W> {
    /// Writes `lines`, however long that takes. What cannot be written, because nobody reads any more or the disk is
    /// full, is lost; the next lines are tried again.
    fn write(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let written = if self.begin_line() { self.write_all(lines) } else { Err(lines.len()) };
        if let Err(rest) = written {
            let (done, missing) = lines.split_at(lines.len() - rest);
            self.is_within_line |= done.last().is_some_and(|&byte| byte != b'\n');
            let missing = missing.iter().filter(|&&byte| byte == b'\n').count() as u64;
            COUNTS.log_lines_lost.add(missing);
            self.lost += missing;
        }
    }

    /// Ends a line that was cut off.
    fn begin_line(&mut self) -> bool {
        if self.is_within_line {
            self.is_within_line = self.write_all(b"\n").is_err();
        }
        !self.is_within_line
    }

    /// Writes all of `bytes`, or fails with how many are left.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.sink.write(rest) {
                Ok(0) => return Err(rest.len()),
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody who shares our stderr has made it non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(REST),
                Err(_) => return Err(rest.len()),
            }
        }
        Ok(())
    }

    fn tell_of_lost(&mut self, remarks: &mut impl Remarks) {
        if self.lost == 0 {
            return;
        }
        let line = logged(|| remarks.lost(self.lost));
        if !self.begin_line() {
            return;
        }
        match self.write_all(&line) {
            Ok(()) => self.lost = 0,
            Err(rest) => self.is_within_line |= rest < line.len(),
        }
    }
}

impl<'w> MakeWriter<'w> for Writer {
    type Writer = &'w Self;

    fn make_writer(&'w self) -> &'w Self {
        self
    }
}

/// Each call is one line: that is how `tracing_subscriber::fmt` writes.
impl Write for &Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let is_own = OWN.with_borrow_mut(|own| match own {
            Some(own) => {
                own.extend_from_slice(line);
                true
            }
            None => false,
        });
        if !is_own {
            self.push(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A stderr that takes what it is told to take; a closed channel of permits is a stderr that takes everything.
    struct Pipe {
        permits: Receiver<io::Result<usize>>,
        is_stuck: Sender<()>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.is_stuck.send(());
            let count = self.permits.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            let _ = self.taken.send(bytes[..count].to_vec());
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Says `lost N`, in a line of its own.
    struct Say(Option<Writer>, Receiver<Writer>);

    impl Remarks for Say {
        fn lost(&mut self, lines: u64) {
            let writer = self.0.get_or_insert_with(|| self.1.recv().expect("the writer"));
            let _ = (&*writer).write_all(format!("lost {lines}\n").as_bytes());
        }

        fn look(&mut self, _is_ending: bool) {}
    }

    struct Rig {
        writer: Writer,
        permits: SyncSender<io::Result<usize>>,
        is_stuck: Receiver<()>,
        taken: Receiver<Vec<u8>>,
    }

    impl Rig {
        fn new() -> Self {
            let (permits, from_permits) = sync_channel(64);
            let (to_stuck, is_stuck) = channel();
            let (to_taken, taken) = channel();
            let (to_say, from_say) = channel();
            let pipe = Pipe { permits: from_permits, is_stuck: to_stuck, taken: to_taken };
            let writer = Writer::start(pipe, Say(None, from_say)).expect("a thread");
            to_say.send(writer.clone()).expect("the thread runs");
            Self { writer, permits, is_stuck, taken }
        }

        /// All that is taken from now on, until the writer is done.
        fn rest(self) -> String {
            drop(self.permits);
            self.writer.finish();
            let taken: Vec<u8> = self.taken.try_iter().flatten().collect();
            String::from_utf8(taken).expect("text")
        }
    }

    #[test]
    fn lines_are_written_in_their_order() {
        let rig = Rig::new();
        rig.writer.push(b"one\n");
        rig.writer.push(b"two\n");
        assert_eq!(rig.rest(), "one\ntwo\n");
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_and_no_time_and_bounded_memory() {
        let rig = Rig::new();
        rig.writer.push(b"first\n");
        rig.is_stuck.recv_timeout(SOON).expect("it is written");
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        let began = Instant::now();
        for _ in 0..10_000 {
            rig.writer.push(&line);
        }
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        let (held, room, lost) = {
            let state = rig.writer.0.lock();
            (state.waiting.len(), state.waiting.capacity(), state.lost)
        };
        assert!(held <= WAITING_BYTES_MAX && room <= WAITING_BYTES_MAX, "{held} {room}");
        let kept = (WAITING_BYTES_MAX / line.len()) as u64;
        assert_eq!(lost, 10_000 - kept);
        let text = rig.rest();
        assert!(text.starts_with("first\nxx"), "{}", &text[..20]);
        assert_eq!(text.lines().count() as u64, 1 + kept + 1);
        assert!(text.ends_with(&format!("lost {lost}\n")), "what is missing is said where it is");
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_that_stalls() {
        let rig = Rig::new();
        rig.writer.push(b"last words\n");
        let began = Instant::now();
        rig.writer.finish();
        let took = began.elapsed();
        assert!(took >= LAST_WORDS && took < LAST_WORDS + SOON, "{took:?}");
    }

    #[test]
    fn a_full_disk_and_a_closed_pipe_cost_the_lines_of_that_time_only() {
        let rig = Rig::new();
        for kind in [ErrorKind::StorageFull, ErrorKind::BrokenPipe] {
            rig.writer.push(b"gone\n");
            rig.is_stuck.recv_timeout(SOON).expect("it is written");
            rig.permits.send(Err(kind.into())).expect("the thread runs");
            // What is missing cannot be said either.
            rig.is_stuck.recv_timeout(SOON).expect("it is said");
            rig.permits.send(Err(kind.into())).expect("the thread runs");
        }
        rig.writer.push(b"torn and gone\n");
        rig.is_stuck.recv_timeout(SOON).expect("it is written");
        for permit in
            [Ok(4), Err(ErrorKind::StorageFull.into()), Err(ErrorKind::StorageFull.into())]
        {
            rig.permits.send(permit).expect("the thread runs");
        }
        for _ in 0..2 {
            rig.is_stuck.recv_timeout(SOON).expect("it is tried again");
        }
        rig.writer.push(b"here\n");
        assert_eq!(rig.rest(), "torn\nhere\nlost 3\n");
    }
}
