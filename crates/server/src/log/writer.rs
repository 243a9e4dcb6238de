//! Lines on their way to stderr, or to a file. Whoever logs puts a line into a bounded buffer; one thread writes, and
//! opens the file. Whatever became of whoever reads our stderr, or of the disk, nobody else waits for it.
//!
//! ```text
//! any thread ── push ──► waiting (bounded) ── swapped out ──► weir-log: open(2), write(2)
//!                 └─ no room: the line is lost, and counted
//! ```

use std::{
    borrow::Cow,
    cell::RefCell,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;
use weir_clients::counts::COUNTS;

use super::file::LogFile;

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
    /// What is to be done with the file once what waits is written.
    order: Option<Order>,
    /// The process ends: what there is to say is said now.
    is_ending: bool,
    /// What ends has been said.
    has_ended: bool,
}

/// Where lines are to go.
#[derive(Debug)]
enum Order {
    /// Into this file.
    To(PathBuf),
    /// Into the file that is at the path now: the one that was there has been moved away.
    Reopen,
}

/// What the writing thread has to say of the log itself. It logs that like anybody else.
pub trait Remarks: Send + 'static {
    /// So many lines are missing here.
    fn lost(&mut self, lines: u64);

    /// The file could not be opened, or has been opened again.
    fn opened(&mut self, path: &Path, opened: &io::Result<()>);

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
            let outlet = Outlet { sink, file: None, lost: 0, is_within_line: false };
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

    /// Has what is logged from now on written to the file at `path`. Until it can be opened, lines go where they went.
    pub fn write_to(&self, path: PathBuf) {
        self.order(Order::To(path));
    }

    /// Has the file opened again, by its path.
    pub fn reopen(&self) {
        self.order(Order::Reopen);
    }

    fn order(&self, order: Order) {
        let mut state = self.0.lock();
        // Whatever was asked for before, the file of the latest path is opened.
        state.order = match (state.order.take(), order) {
            (Some(Order::To(path)), Order::Reopen) => Some(Order::To(path)),
            (_, order) => Some(order),
        };
        drop(state);
        self.0.filled.notify_one();
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
            let is_idle = state.waiting.is_empty() && state.lost == 0 && state.order.is_none();
            if is_idle && !state.is_ending && !left.is_zero() {
                let waited = self.filled.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            std::mem::swap(&mut state.waiting, &mut batch);
            let (lost, is_ending) = (std::mem::take(&mut state.lost), state.is_ending);
            let order = state.order.take();
            drop(state);
            outlet.write(&batch);
            if let Some(order) = order {
                outlet.open(order, &mut remarks);
            }
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
    /// Where they go instead.
    file: Option<LogFile>,
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
        let plain = if self.file.is_some() { without_colours(lines) } else { Cow::Borrowed(lines) };
        let lines = &*plain;
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
            let written = match &mut self.file {
                Some(file) => file.write(rest),
                None => self.sink.write(rest),
            };
            match written {
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

    /// Opens the file. Where that fails, lines go where they went.
    fn open(&mut self, order: Order, remarks: &mut impl Remarks) {
        let (opened, path) = match order {
            Order::To(path) => {
                let opened = LogFile::open(&path).map(|file| self.file = Some(file));
                (opened, path)
            }
            Order::Reopen => {
                let Some(file) = &mut self.file else { return };
                (file.reopen(), file.path().to_owned())
            }
        };
        if opened.is_ok() {
            // It begins with a line of its own.
            self.is_within_line = false;
        }
        let line = logged(|| remarks.opened(&path, &opened));
        self.write(&line);
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

/// `lines` without what colours them on a terminal (ECMA-48, 8.3.117: SGR).
fn without_colours(lines: &[u8]) -> Cow<'_, [u8]> {
    const BEGIN: &[u8] = b"\x1b[";
    if !lines.windows(BEGIN.len()).any(|two| two == BEGIN) {
        return Cow::Borrowed(lines);
    }
    let mut plain = Vec::with_capacity(lines.len());
    let mut rest = lines;
    while let Some(&byte) = rest.first() {
        let colour = rest.strip_prefix(BEGIN).and_then(|after| {
            let count = after.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b';')).count();
            after[count..].strip_prefix(b"m")
        });
        rest = colour.unwrap_or_else(|| {
            plain.push(byte);
            &rest[1..]
        });
    }
    Cow::Owned(plain)
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

        fn opened(&mut self, _path: &Path, _opened: &io::Result<()>) {}

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

    #[test]
    fn lines_go_to_a_file_that_may_be_moved_away_and_to_stderr_where_there_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
        let rig = Rig::new();
        rig.writer.push(b"to stderr\n");
        rig.writer.write_to(dir.path().join("none/log"));
        rig.writer.push(b"still to stderr\n");
        rig.permits.send(Ok(usize::MAX)).expect("the thread runs");
        rig.writer.write_to(path.clone());
        rig.writer.finish();
        rig.writer.push(b"to the \x1b[1;32mfile\x1b[0m, \x1b[not a colour\n");
        rig.writer.finish();
        std::fs::rename(&path, &moved).expect("moved");
        rig.writer.push(b"to the old one\n");
        rig.writer.finish();
        rig.writer.reopen();
        rig.writer.finish();
        rig.writer.push(b"to the new one\n");
        assert_eq!(rig.rest(), "to stderr\nstill to stderr\n");
        let read = |path| std::fs::read_to_string(path).expect("a file");
        assert_eq!(read(&moved), "to the file, \x1b[not a colour\nto the old one\n");
        assert_eq!(read(&path), "to the new one\n");
    }
}
