//! One viewer on a delivery shard: a socket and a cursor.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use weir_clients::{
    client::Client,
    counts::COUNTS,
    end::{End, Kind},
    roster::{Farewell, GROUP_WAIT, RECONNECT_WAIT, RECONNECT_WORDS},
};
use weir_hub::{Group, Tracks};
use weir_rtmp::server;
use weir_tls::handshake::FIRST_BYTE;

use super::{channel::View, format::Format, socket::Socket, turns::Waits, websocket};

/// Buffers gathered into one `writev` while a viewer catches up; the kernel takes up to 1024, more than this gains
/// nothing.
const GATHER_MAX: usize = 32;

/// Bytes offered to the kernel at a time while a viewer catches up, so that one large group does not hold the shard up.
const QUANTUM: usize = 512 * 1024;

/// Protocol answers that wait for one viewer to read. More are asked for only by a peer that never reads.
const ANSWERS_MAX: usize = 16;

/// What a viewer of HTTP may send after its request. It has nothing to say; some clients send a stray line end.
const HTTP_INPUT_MAX: usize = 1024;

/// Reads of a viewer's socket in one turn; a peer that sends faster waits for its next turn.
const READS_MAX: usize = 8;

/// What a viewer speaks.
pub enum Protocol {
    /// HTTP: a file was asked for once, and nothing more is said. `received` counts what is said all the same.
    Http {
        /// Bytes received after the request.
        received: usize,
    },
    /// WebSocket: pings may come, and the end.
    WebSocket(Box<websocket::Reader>),
    /// RTMP: acknowledgements, pings and commands keep coming.
    Rtmp(Box<server::Session>),
}

impl Protocol {
    /// WebSocket, right after its handshake.
    pub fn web_socket() -> Self {
        Self::WebSocket(Box::default())
    }
}

/// One viewer.
pub struct Viewer {
    pub(super) socket: Socket,
    pub(super) protocol: Protocol,
    pub(super) client: Client,
    /// Where it is in its shard's list of the channel's viewers.
    pub(super) index: usize,
    /// The shard's number of the channel.
    pub(super) channel: usize,
    /// Whether the poller also watches for writability.
    pub(super) armed: bool,
    /// Whether it goes on once the others have had their turn.
    pub(super) waits: Waits,
    position: Position,
    /// Bytes to send before the entry at `place`: whole pieces, except that the first may be begun.
    rest: VecDeque<Bytes>,
    /// Protocol answers that went into `rest` since it was last empty.
    answers: usize,
    /// Last time the socket took bytes while the viewer was behind.
    progress: Instant,
    /// Set once it was asked to leave.
    leaving: Option<Leaving>,
}

/// When a viewer goes that was asked to leave.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    /// With the first group that begins after this.
    from: Instant,
    /// At this moment, if no group has begun.
    by: Instant,
    /// It is an edge, which must not take this for the end of the stream.
    is_node: bool,
}

/// Where a viewer is in its channel's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// Starts at the first group at or after this entry. `first` until it has had its start.
    Seeking { from: u64, first: bool },
    /// Everything before this entry is sent or in `rest`.
    At(u64),
    /// The stream has ended and the ending is in `rest` or sent.
    Ending,
}

/// How far an attempt to write got.
#[derive(Debug)]
pub enum Progress {
    /// Everything there is has been taken by the kernel.
    AtTip,
    /// The socket is full: wait until it is writable.
    Full,
    /// The quantum is used up: go on after the others.
    More,
    /// Everything, the ending included, has been sent.
    Done,
}

/// What a viewer's input amounts to.
pub enum Input {
    /// Nothing that changes its delivery.
    Nothing,
    /// There may be more to read: its turn is over.
    More,
    /// An RTMP command that the control side must answer. What follows it waits in the session.
    Command(server::Event),
}

impl Viewer {
    /// A viewer that gets `head`, then its start.
    pub(super) fn new(
        socket: Socket,
        protocol: Protocol,
        client: Client,
        head: Bytes,
        from: u64,
        now: Instant,
    ) -> Self {
        let rest = if head.is_empty() { VecDeque::new() } else { VecDeque::from([head]) };
        Self {
            socket,
            protocol,
            client,
            index: 0,
            channel: 0,
            armed: false,
            waits: Waits::default(),
            position: Position::Seeking { from, first: true },
            rest,
            answers: 0,
            progress: now,
            leaving: None,
        }
    }

    /// Why it is to leave, if it has not been told yet.
    pub(super) fn farewell(&self) -> Option<Farewell> {
        let farewell = self.client.presence.farewell()?;
        (farewell == Farewell::Kicked || self.leaving.is_none()).then_some(farewell)
    }

    /// It is to leave: by itself if it can, else at the end of a group.
    pub(super) fn prepare_to_leave(&mut self, now: Instant) {
        let mut from = now;
        if let Protocol::Rtmp(session) = &mut self.protocol
            && session.request_reconnect(RECONNECT_WORDS)
        {
            self.rest.extend(session.poll_output());
            from += RECONNECT_WAIT;
        }
        let is_node = self.client.presence.doing().is_node;
        self.leaving = Some(Leaving { from, by: from + GROUP_WAIT, is_node });
    }

    /// Whether it was asked to leave.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether it goes with the next group.
    pub(super) fn may_leave(&self, now: Instant) -> bool {
        self.leaving.is_some_and(|leaving| leaving.from <= now) && !self.is_ending()
    }

    /// Whether it has to go now.
    pub(super) fn must_leave(&self, now: Instant) -> bool {
        self.leaving.is_some_and(|leaving| leaving.by <= now)
    }

    /// What it has not been sent before the newest group comes, then the ending, and no more. One that is within that
    /// group already waits for the next one.
    pub(super) fn end_before_group(&mut self, view: &View, format: Format) {
        let Some(Group { seq: group, start }) = &view.newest else { return };
        match self.position {
            Position::At(seq) if seq > *group => return,
            Position::At(seq) => {
                self.rest.extend((seq..*group).filter_map(|seq| view.get(seq).cloned()));
                self.rest.extend(view.get(*group).map(|entry| entry.slice(..start.offset)));
                self.rest.retain(|piece| !piece.is_empty());
            }
            Position::Seeking { .. } | Position::Ending => {}
        }
        self.push_ending(format);
    }

    /// Whether it has had everything before entry `seq`, so that this entry can be sent to it as it is.
    pub(super) fn is_at(&self, seq: u64) -> bool {
        self.position == Position::At(seq) && self.rest.is_empty() && !self.socket.is_full()
    }

    /// Whether it waits for a group to start at.
    pub(super) fn is_seeking(&self) -> bool {
        matches!(self.position, Position::Seeking { .. })
    }

    /// Whether its stream has ended.
    pub(super) fn is_ending(&self) -> bool {
        self.position == Position::Ending
    }

    /// The age of the oldest bytes that its socket has not taken, zero without any; none for who waits for a start, or
    /// has had the end.
    pub(super) fn behind(&self, view: &View, now: Instant) -> Option<Duration> {
        let Position::At(seq) = self.position else { return None };
        // What is begun is in `rest`, and was the entry before.
        let oldest = if self.has_rest() { seq.checked_sub(1)? } else { seq };
        match oldest >= view.end() {
            true => Some(Duration::ZERO),
            false => Some(now.saturating_duration_since(view.time(oldest.max(view.first))?)),
        }
    }

    /// Since when the socket has not taken a byte, if it is behind.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.armed.then_some(self.progress)
    }

    /// Sends `entry`, for a viewer that [`Viewer::is_at`] it. The hot path: one `send`.
    pub(super) fn send(&mut self, seq: u64, entry: &Bytes, now: Instant) -> io::Result<Progress> {
        self.position = Position::At(seq + 1);
        match self.socket.write(entry) {
            Ok(sent) if sent == entry.len() => {
                self.client.sent += sent as u64;
                if !self.socket.is_full() {
                    return Ok(Progress::AtTip);
                }
                self.progress = now;
                Ok(Progress::Full)
            }
            Ok(sent) => {
                self.client.sent += sent as u64;
                self.rest.push_back(entry.slice(sent..));
                self.progress = now;
                Ok(Progress::Full)
            }
            Err(error) if is_full(&error) => {
                self.rest.push_back(entry.clone());
                self.progress = now;
                Ok(Progress::Full)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends what there is, from wherever the viewer is.
    pub(super) fn catch_up(
        &mut self,
        view: &View,
        format: Format,
        tracks: Tracks,
        now: Instant,
    ) -> io::Result<Progress> {
        let mut quantum = QUANTUM;
        loop {
            self.find_place(view, format, tracks);
            let (offered, sent) = match self.gather(view)? {
                Gathered::Nothing if self.position == Position::Ending => {
                    return Ok(Progress::Done);
                }
                Gathered::Nothing => return Ok(Progress::AtTip),
                Gathered::Full => {
                    // What was encrypted before may have gone out, or a part of it.
                    if self.socket.has_moved() {
                        self.progress = now;
                    }
                    return Ok(Progress::Full);
                }
                Gathered::Sent { offered, sent } => (offered, sent),
            };
            self.progress = now;
            self.consume(sent, view);
            if sent < offered || self.socket.is_full() {
                return Ok(Progress::Full);
            }
            quantum = quantum.saturating_sub(sent);
            if quantum == 0 {
                return Ok(Progress::More);
            }
        }
    }

    /// After everything written so far comes the ending, and no more.
    pub(super) fn end(&mut self, view: &View, format: Format, tracks: Tracks) {
        // What is still in the window is delivered first, from a clean start for a viewer that fell out of it.
        self.find_place(view, format, tracks);
        if let Position::At(seq) = self.position {
            self.rest.extend((seq..view.end()).filter_map(|seq| view.get(seq).cloned()));
        }
        self.push_ending(format);
    }

    /// It goes now: of what it has not been sent only the piece that is begun still comes, and `why`, where its
    /// protocol has words for that.
    pub(super) fn end_at_once(&mut self, why: &str) {
        if matches!(self.protocol, Protocol::WebSocket(_)) && !self.is_ending() {
            self.rest.truncate(1);
            self.rest.push_back(websocket::close(websocket::POLICY, why));
            self.position = Position::Ending;
        }
    }

    fn push_ending(&mut self, format: Format) {
        let ending = format.framing().ending(self.leaving.is_some());
        // A body that breaks off is looked for elsewhere by an edge; one that ends is over for its viewers too.
        let breaks_off = self.leaving.is_some_and(|leaving| leaving.is_node);
        if !ending.is_empty() && !breaks_off {
            self.rest.push_back(ending);
        }
        self.position = Position::Ending;
    }

    /// What it has not been sent of things that must be sent whole.
    pub(super) fn take_rest(&mut self) -> VecDeque<Bytes> {
        std::mem::take(&mut self.rest)
    }

    /// Reads what the viewer says. `scratch` is the shard's; nothing of it is kept.
    pub(super) fn receive(&mut self, scratch: &mut [u8], now: Instant) -> Result<Input, End> {
        for _ in 0..READS_MAX {
            let bytes = match self.socket.read(scratch) {
                Ok(0) => return Err(End::closed()),
                Ok(n) => &scratch[..n],
                Err(error) if is_full(&error) => return Ok(Input::Nothing),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            match &mut self.protocol {
                Protocol::Http { received } => {
                    *received += bytes.len();
                    if *received > HTTP_INPUT_MAX {
                        return Err(End::peer("sent data after its request"));
                    }
                }
                Protocol::WebSocket(reader) => {
                    let mut bytes = bytes;
                    while let Some(said) = reader.read(&mut bytes, now) {
                        let (answer, end) = match said {
                            websocket::Said::Ping(pong) => (pong, None),
                            websocket::Said::Close(close) => (close, Some(End::closed())),
                            websocket::Said::Wrong(why, close) => (close, Some(End::peer(why))),
                        };
                        self.rest.push_back(answer);
                        self.answers += 1;
                        if let Some(end) = end {
                            // Nothing comes behind a closing message.
                            self.position = Position::Ending;
                            return Err(end);
                        }
                    }
                }
                Protocol::Rtmp(session) => {
                    let handled = session.handle_input(bytes, now);
                    while let Some(answer) = session.poll_output() {
                        self.rest.push_back(answer);
                        self.answers += 1;
                    }
                    handled.map_err(|error| end_of(&error))?;
                    while let Some(event) = session.poll_event() {
                        if !matches!(event, server::Event::BufferLength { .. }) {
                            return Ok(Input::Command(event));
                        }
                    }
                }
            }
            if self.answers > ANSWERS_MAX {
                return Err(End::peer("sends commands without reading the answers"));
            }
        }
        Ok(Input::More)
    }

    /// Whether there are answers to send.
    pub(super) fn has_rest(&self) -> bool {
        !self.rest.is_empty() || self.socket.is_full()
    }

    /// Moves a viewer without a place, or with one that is gone, to the newest group.
    fn find_place(&mut self, view: &View, format: Format, tracks: Tracks) {
        let (from, first) = match self.position {
            Position::Seeking { from, first } => (from, first),
            // An entry that is begun is in `rest`, so this is always a clean boundary.
            Position::At(seq) if seq < view.first => {
                self.client.skips += 1;
                COUNTS.skips.increase();
                (seq, false)
            }
            Position::At(_) | Position::Ending => return,
        };
        self.position = Position::Seeking { from, first };
        let Some(Group { seq, start }) = view.newest.as_ref().filter(|group| group.seq >= from)
        else {
            return;
        };
        let Some(entry) = view.get(*seq) else { return };
        let opening = if first { start.first(format, tracks) } else { start.again(format, tracks) };
        self.rest.extend([opening, entry.slice(start.offset..)]);
        self.position = Position::At(seq + 1);
    }

    fn gather(&mut self, view: &View) -> io::Result<Gathered> {
        let mut slices = [IoSlice::new(&[]); GATHER_MAX];
        let (mut count, mut offered) = (0, 0);
        let entries = match self.position {
            Position::At(seq) if seq >= view.first => {
                usize::try_from(seq - view.first).unwrap_or(usize::MAX)
            }
            _ => usize::MAX,
        };
        let entries = view.entries.range(entries.min(view.entries.len())..);
        for (slice, piece) in slices.iter_mut().zip(self.rest.iter().chain(entries)) {
            *slice = IoSlice::new(piece);
            count += 1;
            offered += piece.len();
            if offered >= QUANTUM {
                break;
            }
        }
        if offered == 0 {
            self.consume(0, view);
            return match self.socket.flush() {
                Ok(()) => Ok(Gathered::Nothing),
                Err(error) if is_full(&error) => Ok(Gathered::Full),
                Err(error) => Err(error),
            };
        }
        loop {
            match self.socket.write_vectored(&mut slices[..count]) {
                Ok(sent) => {
                    self.client.sent += sent as u64;
                    return Ok(Gathered::Sent { offered, sent });
                }
                Err(error) if is_full(&error) => return Ok(Gathered::Full),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes `sent` bytes off: first of `rest`, then of the log; the rest of an entry that is begun moves to `rest`.
    fn consume(&mut self, mut sent: usize, view: &View) {
        while let Some(piece) = self.rest.front_mut() {
            if piece.len() > sent {
                piece.advance(sent);
                return;
            }
            sent -= piece.len();
            self.rest.pop_front();
        }
        self.answers = 0;
        while sent > 0
            && let Position::At(seq) = self.position
            && let Some(entry) = view.get(seq)
        {
            self.position = Position::At(seq + 1);
            if entry.len() > sent {
                self.rest.push_back(entry.slice(sent..));
                return;
            }
            sent -= entry.len();
        }
        if self.rest.is_empty() && self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
    }
}

enum Gathered {
    Nothing,
    Full,
    Sent { offered: usize, sent: usize },
}

/// The end of a session that cannot go on.
pub fn end_of(error: &weir_rtmp::Error) -> End {
    match error {
        weir_rtmp::Error::HandshakeVersion(FIRST_BYTE) => {
            End::peer("speaks TLS, which this port is not for (rtmp.tls.listen)")
        }
        weir_rtmp::Error::Memory { .. } => End::new(Kind::Limit, error.to_string()),
        _ => End::peer(error.to_string()),
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests;
