use std::sync::Arc;

use mio::{Events, Interest, Poll, Token};
use weir_clients::{end::Side, permits::Permits};
use weir_hub::Status;
use weir_media::Timestamp;
use weir_rtmp::message::{Command, Control, UserControl, type_id};

use super::*;
use crate::{
    channel::Opening,
    format::Container,
    framing::Framing,
    package::Package,
    testing::{
        RTMP, SOON, client, init, names, narrow_sockets, picture, playing, read, said, sockets,
        tags,
    },
};

const TRACKS: Tracks = Tracks { audio: true, video: true };

/// Much more than the socket buffers of [`narrow_sockets`] hold.
const LARGE: usize = 200_000;

/// A viewer, its peer, and the window of the log that it reads.
struct Rig {
    viewer: Viewer,
    peer: std::net::TcpStream,
    /// Bytes that the peer has read.
    read: u64,
    poll: Poll,
    format: Format,
    view: View,
    now: Instant,
}

impl Rig {
    /// A viewer that has not had anything yet.
    fn new(format: Format, sockets: (std::net::TcpStream, std::net::TcpStream)) -> Self {
        let ((near, peer), now) = (sockets, Instant::now());
        let protocol = match format {
            Format::Rtmp { .. } => Protocol::Rtmp(playing(now)),
            Format::File(_, Framing::WebSocket) => Protocol::web_socket(),
            Format::File(..) => Protocol::Http { received: 0 },
        };
        let socket = super::Socket::new(near, None);
        let client = client(&Permits::new(1), &Arc::default());
        let mut viewer = Viewer::new(socket, protocol, client, Bytes::new(), 0, now);
        let poll = Poll::new().expect("a poller");
        let registered =
            poll.registry().register(viewer.socket.below(), Token(0), Interest::WRITABLE);
        registered.expect("a socket to watch");
        let view = View { status: Some(Status::Live), ..View::default() };
        Self { viewer, peer, read: 0, poll, format, view, now }
    }

    /// A viewer that has had a key frame at 0.
    fn started(format: Format, sockets: (std::net::TcpStream, std::net::TcpStream)) -> Self {
        let mut rig = Self::new(format, sockets);
        rig.group(0, 0);
        rig.play();
        rig
    }

    /// A viewer that is at the tip, but for the rest of a large picture at 40, because its peer does not read.
    fn stalled(format: Format) -> Self {
        let mut rig = Self::started(format, narrow_sockets());
        let (seq, entry) = rig.append(false, 40, LARGE);
        let sent = rig.viewer.send(seq, &entry, rig.now);
        assert!(matches!(sent, Ok(Progress::Full)), "{sent:?}");
        rig
    }

    /// The next entry: a picture of so many bytes. Returns its sequence number and its bytes.
    fn append(&mut self, key: bool, at: i64, bytes: usize) -> (u64, Bytes) {
        let mut package = Package::new(self.format, 0, 0);
        package.push(&picture(key, at, bytes));
        let (seq, entry) = (self.view.end(), package.finish());
        self.view.entries.push_back(entry.clone());
        self.view.times.push_back(self.now);
        (seq, entry)
    }

    /// The next entry, which begins a group.
    fn group(&mut self, at: i64, bytes: usize) {
        let (seq, _) = self.append(true, at, bytes);
        let start = Opening {
            offset: 0,
            dts: Timestamp::from_millis(at),
            init: init(),
            tracks: TRACKS,
            file: None,
        };
        self.view.newest = Some(Group { seq, start });
    }

    /// The log forgets everything before `seq`.
    fn forget(&mut self, seq: u64) {
        while self.view.first < seq {
            self.view.entries.pop_front().expect("an entry to forget");
            self.view.times.pop_front();
            self.view.first += 1;
        }
    }

    fn catch_up(&mut self) -> Progress {
        self.viewer.catch_up(&self.view, self.format, TRACKS, self.now).expect("a peer")
    }

    fn end(&mut self) {
        self.viewer.end(&self.view, self.format, TRACKS);
    }

    /// Catches up, as a shard does, with a peer that reads; what the peer gets, by the names of the tags.
    fn play(&mut self) -> Vec<String> {
        names(&tags(self.format, &self.play_bytes()))
    }

    fn play_bytes(&mut self) -> Vec<u8> {
        let (mut bytes, mut events) = (Vec::new(), Events::with_capacity(1));
        loop {
            let progress = self.catch_up();
            let sent = usize::try_from(self.viewer.client.sent - self.read).expect("a few bytes");
            bytes.extend(read(&mut self.peer, sent));
            self.read = self.viewer.client.sent;
            match progress {
                Progress::AtTip | Progress::Done => return bytes,
                Progress::More => {}
                Progress::Full => {
                    let (poll, socket) = (&mut self.poll, self.viewer.socket.below());
                    let watched = poll.registry().reregister(socket, Token(0), Interest::WRITABLE);
                    watched.expect("a socket to watch");
                    poll.poll(&mut events, Some(SOON)).expect("a poller");
                    assert!(!events.is_empty(), "not writable although its peer has read all");
                }
            }
        }
    }

    /// The peer says something, and the viewer hears it.
    fn hear(&mut self, bytes: &[u8]) -> Result<Input, End> {
        use std::io::Write as _;
        self.peer.write_all(bytes).expect("a viewer that listens");
        let mut scratch = [0; 2048];
        let mut one = [0];
        while self.viewer.socket.below().peek(&mut one).is_err() {
            std::thread::yield_now();
        }
        self.viewer.receive(&mut scratch, self.now)
    }
}

const STARTED: [&str; 3] = ["metadata", "avcC", "asc"];

#[test]
fn who_is_ended_at_once_is_told_why_behind_the_message_that_is_begun() {
    let mut rig = Rig::new(Format::File(Container::Flv, Framing::WebSocket), narrow_sockets());
    rig.group(0, 0);
    rig.play_bytes();
    let (seq, large) = rig.append(false, 40, LARGE);
    let sent = rig.viewer.send(seq, &large, rig.now);
    assert!(matches!(sent, Ok(Progress::Full)), "{sent:?}");
    // What would come after that message.
    rig.append(false, 80, 10);
    rig.viewer.end_at_once("because");
    let bytes = rig.play_bytes();
    let close = websocket::close(websocket::POLICY, "because");
    let (message, end) = bytes.split_at(bytes.len() - close.len());
    assert_eq!(end, close);
    assert!(message == large, "whole, and nothing behind it");
}

#[test]
fn a_new_viewer_gets_its_opening_and_the_newest_group() {
    for format in [RTMP, Format::FLV, Format::FLV_CHUNKED] {
        let mut rig = Rig::new(format, sockets());
        rig.append(false, 0, 0);
        assert!(rig.play().is_empty(), "{format:?}: no group to start at");
        assert!(rig.viewer.is_seeking());
        rig.group(40, 0);
        rig.append(false, 80, 0);
        assert_eq!(rig.play()[..], [&STARTED[..], &["key40;", "delta80;"]].concat());
        assert!(rig.viewer.is_at(3), "{format:?}");
    }
}

#[test]
fn a_start_inside_an_entry_leaves_out_what_is_before_it() {
    let mut rig = Rig::new(Format::FLV, sockets());
    let mut package = Package::new(Format::FLV, 0, 0);
    package.push(&picture(false, 0, 0));
    let offset = package.cut();
    package.push(&picture(true, 40, 0));
    rig.view.entries.push_back(package.finish());
    rig.view.times.push_back(rig.now);
    let start = Opening {
        offset,
        dts: Timestamp::from_millis(40),
        init: init(),
        tracks: TRACKS,
        file: None,
    };
    rig.view.newest = Some(Group { seq: 0, start });
    assert_eq!(rig.play()[..], [&STARTED[..], &["key40;"]].concat());
}

#[test]
fn who_wants_the_next_group_waits_for_it() {
    let mut rig = Rig::new(Format::FLV, sockets());
    rig.viewer.position = Position::Seeking { from: 1, first: true };
    rig.group(0, 0);
    assert!(rig.play().is_empty());
    rig.group(40, 0);
    assert_eq!(rig.play()[3..], ["key40;"]);
}

#[test]
fn at_the_tip_an_entry_is_one_send_and_leaves_nothing_behind() {
    let mut rig = Rig::started(RTMP, sockets());
    let (seq, entry) = rig.append(false, 40, 1000);
    assert!(rig.viewer.is_at(seq));
    assert!(matches!(rig.viewer.send(seq, &entry, rig.now), Ok(Progress::AtTip)));
    assert!(rig.viewer.is_at(seq + 1) && !rig.viewer.has_rest());
    assert_eq!(rig.viewer.rest.capacity(), 0, "a viewer at the tip holds no memory");
    assert_eq!(read(&mut rig.peer, entry.len()), entry);
}

#[test]
fn a_viewer_that_was_full_goes_on_where_it_was() {
    for format in [RTMP, Format::FLV, Format::FLV_CHUNKED] {
        let mut rig = Rig::stalled(format);
        assert!(matches!(rig.catch_up(), Progress::Full));
        assert!(!rig.viewer.is_at(2), "{format:?}: the entry is begun, not sent");
        rig.append(false, 80, LARGE);
        rig.append(false, 120, 10);
        assert_eq!(rig.play(), ["delta40;", "delta80;", "delta120;"], "{format:?}");
        assert_eq!((rig.viewer.is_at(4), rig.viewer.client.skips), (true, 0));
        assert_eq!(rig.viewer.rest.capacity(), 0);
    }
}

#[test]
fn a_full_socket_takes_an_entry_later_as_a_whole() {
    let mut rig = Rig::stalled(Format::FLV);
    while !matches!(rig.catch_up(), Progress::Full) {}
    let held: usize = rig.viewer.rest.iter().map(Bytes::len).sum();
    let (seq, entry) = rig.append(false, 80, 10);
    assert!(matches!(rig.viewer.send(seq, &entry, rig.now), Ok(Progress::Full)));
    let holds: usize = rig.viewer.rest.iter().map(Bytes::len).sum();
    assert_eq!(holds, held + entry.len());
}

#[test]
fn a_viewer_that_falls_out_of_the_window_skips_at_a_clean_boundary() {
    for format in [RTMP, Format::FLV, Format::FLV_CHUNKED] {
        let mut rig = Rig::stalled(format);
        rig.append(false, 80, LARGE);
        rig.group(120, 0);
        rig.append(false, 160, 0);
        rig.forget(3);
        // The picture that is begun is finished; then the configurations, without metadata, and the newest group.
        let expected = ["delta40;", "avcC", "asc", "key120;", "delta160;"];
        assert_eq!(rig.play(), expected, "{format:?}");
        assert_eq!(rig.viewer.client.skips, 1, "{format:?}");
    }
}

#[test]
fn a_viewer_that_skips_while_there_is_no_group_waits_for_one() {
    let mut rig = Rig::stalled(Format::FLV);
    rig.append(false, 80, 0);
    rig.append(false, 120, 0);
    rig.forget(3);
    rig.view.newest = None;
    assert_eq!(rig.play(), ["delta40;"]);
    assert!(rig.viewer.is_seeking());
    rig.group(160, 0);
    assert_eq!(rig.play(), ["avcC", "asc", "key160;"]);
    assert_eq!(rig.viewer.client.skips, 1);
}

#[test]
fn a_large_window_is_sent_in_quanta() {
    let mut rig = Rig::started(Format::FLV, sockets());
    let count = 3 * QUANTUM / LARGE;
    for at in 1..=count {
        rig.append(false, at as i64, LARGE);
    }
    match rig.catch_up() {
        Progress::More => assert!(rig.viewer.client.sent - rig.read < 2 * QUANTUM as u64),
        Progress::Full => {}
        other => panic!("{other:?} with {count} entries of {LARGE} bytes to send"),
    }
    assert_eq!(rig.play().len(), count);
}

#[test]
fn the_end_comes_after_everything_that_was_published() {
    let mut rig = Rig::stalled(Format::FLV_CHUNKED);
    for at in 2..40 {
        rig.append(false, 40 * at, 0);
    }
    rig.end();
    assert!(rig.viewer.is_ending());
    let bytes = rig.play_bytes();
    assert!(bytes.ends_with(b"\r\n0\r\n\r\n"));
    assert_eq!(tags(rig.format, &bytes).len(), 39);
    assert!(matches!(rig.catch_up(), Progress::Done));
}

#[test]
fn the_end_of_a_viewer_out_of_the_window_begins_with_a_group_too() {
    let mut rig = Rig::stalled(Format::FLV);
    rig.append(false, 80, 0);
    rig.append(false, 120, 0);
    rig.group(160, 0);
    rig.forget(3);
    rig.end();
    assert_eq!(rig.play(), ["delta40;", "avcC", "asc", "key160;"]);
}

#[test]
fn a_viewer_that_never_started_gets_the_ending_alone() {
    let mut rig = Rig::new(Format::FLV_CHUNKED, sockets());
    rig.end();
    assert_eq!(rig.play_bytes(), b"0\r\n\r\n");
}

#[test]
fn a_stall_counts_from_the_last_byte_that_was_taken() {
    let mut rig = Rig::stalled(Format::FLV);
    let begin = rig.now;
    assert_eq!(rig.viewer.stalled_since(), None, "whether it is armed is for the shard to say");
    rig.viewer.armed = true;
    while !matches!(rig.catch_up(), Progress::Full) {}
    rig.now += SOON;
    let before = rig.viewer.client.sent;
    assert!(matches!(rig.catch_up(), Progress::Full));
    assert_eq!(rig.viewer.client.sent, before, "the socket was full");
    assert_eq!(rig.viewer.stalled_since(), Some(begin));
    rig.play();
    assert_eq!(rig.viewer.stalled_since(), Some(rig.now));
}

#[test]
fn a_viewer_of_http_may_send_a_line_end_but_not_much() {
    let mut rig = Rig::started(Format::FLV_CHUNKED, sockets());
    assert!(matches!(rig.hear(b"\r\n"), Ok(Input::Nothing)));
    let end = rig.hear(&[b'x'; HTTP_INPUT_MAX]).err().expect("an end");
    assert_eq!((end.side, &*end.reason), (Side::Peer, "sent data after its request"));
}

#[test]
fn a_peer_that_closes_ends_the_viewer() {
    let mut rig = Rig::started(Format::FLV_CHUNKED, sockets());
    rig.peer.shutdown(std::net::Shutdown::Write).expect("a connection");
    assert_eq!(rig.hear(b"").err(), Some(End::closed()));
}

#[test]
fn a_peer_that_floods_gives_way_to_others() {
    let mut rig = Rig::started(RTMP, sockets());
    // Messages of a type that no specification has, which need no answer, and not more of them than it may send.
    let flood = said(99, 0, &[0; 100]).repeat(500);
    assert!(matches!(rig.hear(&flood), Ok(Input::More)));
}

#[test]
fn a_ping_is_answered_between_two_entries() {
    let mut rig = Rig::stalled(RTMP);
    let (type_id, body) = Control::User(UserControl::PingRequest(7)).encode();
    assert!(matches!(rig.hear(&said(type_id, 0, &body)), Ok(Input::Nothing)));
    assert!(rig.viewer.has_rest());
    rig.append(false, 80, 0);
    let messages = crate::testing::messages(100, &rig.play_bytes());
    let kinds: Vec<u8> = messages.iter().map(|message| message.type_id).collect();
    assert_eq!(kinds, [type_id::VIDEO, type_id::USER_CONTROL, type_id::VIDEO]);
    assert_eq!(rig.viewer.answers, 0, "they are read");
}

#[test]
fn a_peer_that_asks_and_does_not_read_is_let_go() {
    let mut rig = Rig::stalled(RTMP);
    let (type_id, body) = Control::User(UserControl::PingRequest(7)).encode();
    let end = (0..=ANSWERS_MAX).find_map(|_| rig.hear(&said(type_id, 0, &body)).err());
    assert_eq!(end, Some(End::peer("sends commands without reading the answers")));
}

#[test]
fn what_is_left_of_an_ended_stream_does_not_count_as_answers() {
    let mut rig = Rig::stalled(RTMP);
    for at in 2..100 {
        rig.append(false, 40 * at, 0);
    }
    rig.end();
    let (type_id, body) = Control::Acknowledgement(1).encode();
    assert!(matches!(rig.hear(&said(type_id, 0, &body)), Ok(Input::Nothing)));
    assert_eq!(rig.play().len(), 99);
}

#[test]
fn commands_are_handed_over_one_by_one_and_buffer_lengths_are_not() {
    let mut rig = Rig::started(RTMP, sockets());
    let length = UserControl::SetBufferLength { stream_id: 1, millis: 3000 };
    let (type_id, body) = Control::User(length).encode();
    assert!(matches!(rig.hear(&said(type_id, 0, &body)), Ok(Input::Nothing)));

    // How a Flash player changes the channel: the play that is over, and the next one, in one breath.
    let play = Command::new("play", 0.0, vec!["other".into()]).encode();
    let Ok(Input::Command(first)) = rig.hear(&said(type_id::COMMAND, 1, &play)) else {
        panic!("a command is not handed over");
    };
    assert_eq!(first, server::Event::EndPlay { stream_id: 1 });
    let Protocol::Rtmp(session) = &mut rig.viewer.protocol else { panic!("not RTMP") };
    let next = session.poll_event();
    assert!(matches!(next, Some(server::Event::Play { stream_id: 1, .. })), "{next:?}");
}

#[test]
fn a_peer_that_breaks_the_protocol_ends_itself() {
    let mut rig = Rig::started(RTMP, sockets());
    let end = rig.hear(&said(type_id::SET_CHUNK_SIZE, 0, &[0, 0, 0, 0])).err().expect("an end");
    assert_eq!(end.side, Side::Peer);
    assert!(end.reason.contains("chunk size 0"), "{end}");
}

#[test]
fn who_takes_everything_is_nothing_behind_and_others_as_long_as_their_bytes_wait() {
    let behind = |rig: &Rig, age| rig.viewer.behind(&rig.view, rig.now + age);
    let second = Duration::from_secs(1);
    for format in [RTMP, Format::FLV, Format::FLV_CHUNKED] {
        let rig = Rig::new(format, sockets());
        assert_eq!(behind(&rig, second), None, "it waits for a start");
        let rig = Rig::started(format, sockets());
        assert_eq!(behind(&rig, second), Some(Duration::ZERO), "{format:?}");
        let mut rig = Rig::stalled(format);
        rig.now += second;
        rig.append(false, 80, 100);
        assert_eq!(behind(&rig, second), Some(2 * second), "{format:?}");
    }
}
