use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use bytes::Bytes;
use weir_clients::{
    permits::Permits,
    roster::{Activity, Roster},
};
use weir_flv::file;
use weir_hub::{Flush, Publisher, Registry};
use weir_media::Frame;
use weir_rtmp::{
    chunk,
    message::{Command, Control, type_id},
    server,
};

use super::*;
use crate::{
    channel::Channels,
    format::Format,
    shards::Shards,
    testing::{
        LIMITS, RTMP, SOON, begin, client, dechunked, key, name, narrow_sockets, picture, playing,
        publish, read, registry, said, sockets, sound, tag_of,
    },
};

/// Much more than the socket buffers of [`narrow_sockets`] hold.
const LARGE: usize = 200_000;

const TERMS: Terms =
    Terms { start: Start::NewestGroup, flush: Flush::Video, stall: Duration::from_secs(30) };

/// One shard, one stream with a group in it, and permits for two viewers.
struct Rig {
    shards: Shards,
    returned: mpsc::Receiver<Returned>,
    registry: Registry,
    channels: Arc<Channels>,
    publisher: Option<Publisher>,
    permits: Permits,
    roster: Arc<Roster>,
    terms: Terms,
}

const PERMITS: usize = 2;

impl Rig {
    fn new(flush: Flush) -> Self {
        let (registry, now) = (registry(), Instant::now());
        let (returns, returned) = mpsc::channel(4);
        let mut rig = Self {
            shards: Shards::start(1, &returns, &Arc::default(), || {}).expect("a thread"),
            returned,
            publisher: Some(publish(&registry, flush, now)),
            channels: Channels::new(registry.clone()),
            registry,
            permits: Permits::new(PERMITS),
            roster: Arc::default(),
            terms: TERMS,
        };
        begin(rig.publisher.as_mut().expect("a publisher"), now);
        rig.push([sound(0), picture(true, 0, 0)]);
        rig
    }

    fn push(&mut self, frames: impl IntoIterator<Item = Frame>) {
        let publisher = self.publisher.as_mut().expect("a publisher");
        for frame in frames {
            publisher.push(frame, Instant::now()).expect("the only publisher");
        }
    }

    /// The publisher leaves, and does not come back.
    fn end(&mut self) {
        self.publisher = None;
        self.registry.expire(Instant::now());
    }

    /// Hands a viewer to the shard, which has taken it in when this returns; its peer.
    async fn deliver(&mut self, format: Format, sockets: (TcpStream, TcpStream)) -> TcpStream {
        let channel = self.channels.open(&key(), format, LIMITS).await;
        let protocol = match format {
            Format::Rtmp { .. } => Protocol::Rtmp(playing(Instant::now())),
            Format::File(..) => Protocol::Http { received: 0 },
        };
        let (near, mut peer) = sockets;
        self.shards.deliver(Arrival {
            socket: near,
            tls: None,
            channel,
            terms: self.terms,
            head: Bytes::from_static(b"head"),
            protocol,
            client: client(&self.permits, &self.roster),
        });
        assert_eq!(&*read(&mut peer, 4), b"head");
        peer
    }

    /// The same, and the peer has had its start.
    async fn join(&mut self, format: Format, sockets: (TcpStream, TcpStream)) -> Peer {
        let mut peer = Peer::new(format, self.deliver(format, sockets).await);
        peer.expect(["metadata", "avcC", "asc", "key0;"]);
        peer
    }

    /// Waits until all viewers are gone.
    async fn all_gone(&self) {
        let gone = async {
            loop {
                let left = self.roster.left();
                if self.roster.count() == 0 {
                    return;
                }
                left.await;
            }
        };
        tokio::time::timeout(SOON, gone).await.expect("viewers that go");
        assert_eq!(self.shards.viewers(), [0]);
    }
}

/// A peer that reads what it is sent.
struct Peer {
    socket: TcpStream,
    input: Input,
    tags: VecDeque<weir_flv::Tag>,
}

enum Input {
    Rtmp(chunk::Reader),
    Flv(file::Reader),
}

impl Peer {
    fn new(format: Format, socket: TcpStream) -> Self {
        let input = match format {
            Format::FLV => Input::Flv(file::Reader::new()),
            Format::Rtmp { chunk_size } => {
                let (type_id, body) = Control::SetChunkSize(chunk_size).encode();
                let mut reader = chunk::Reader::new();
                let read = reader.read(&mut &*said(type_id, 0, &body));
                assert_eq!(read, Ok(None), "the reader keeps chunk sizes to itself");
                Input::Rtmp(reader)
            }
            Format::File(..) => panic!("its body is looked at as a whole"),
        };
        Self { socket, input, tags: VecDeque::new() }
    }

    /// The next tags are these.
    #[track_caller]
    fn expect<const N: usize>(&mut self, expected: [&str; N]) {
        let seen = std::array::from_fn(|_| self.next().unwrap_or_else(|| "the end".to_owned()));
        assert_eq!(seen, expected.map(str::to_owned));
    }

    fn next(&mut self) -> Option<String> {
        let mut piece = [0; 64 * 1024];
        while self.tags.is_empty() {
            match self.socket.read(&mut piece).expect("something to read in time") {
                0 => return None,
                count => self.take(&piece[..count]),
            }
        }
        self.tags.pop_front().map(|tag| name(&tag))
    }

    fn take(&mut self, mut bytes: &[u8]) {
        match &mut self.input {
            Input::Rtmp(reader) => {
                while let Some(message) = reader.read(&mut bytes).expect("RTMP") {
                    self.tags.push_back(tag_of(message));
                }
            }
            Input::Flv(reader) => {
                reader.push(bytes);
                while let Some(item) = reader.poll().expect("FLV") {
                    if let file::Item::Tag(tag) = item {
                        self.tags.push_back(tag);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn viewers_of_all_formats_get_every_flush() {
    let mut rig = Rig::new(Flush::Video);
    let mut rtmp = rig.join(RTMP, sockets()).await;
    let mut flv = rig.join(Format::FLV, sockets()).await;
    assert_eq!(rig.shards.viewers(), [2]);
    rig.push([sound(20), picture(false, 40, 0)]);
    for peer in [&mut rtmp, &mut flv] {
        peer.expect(["sound20;", "delta40;"]);
    }
    drop((rtmp, flv));
    rig.all_gone().await;
    assert_eq!(rig.registry.demand(&key()), 0, "nobody wants the stream any more");
}

#[tokio::test]
async fn sound_that_waits_for_a_picture_goes_out_without_one() {
    let mut rig = Rig::new(Flush::Video);
    let mut peer = rig.join(Format::FLV, sockets()).await;
    rig.push([sound(20)]);
    peer.expect(["sound20;"]);
}

#[tokio::test]
async fn a_late_viewer_starts_at_the_newest_group_while_others_go_on() {
    let mut rig = Rig::new(Flush::Each);
    let mut early = rig.join(Format::FLV, sockets()).await;
    rig.push([picture(true, 40, 0), picture(false, 80, 0)]);
    early.expect(["key40;", "delta80;"]);
    let mut late = Peer::new(Format::FLV, rig.deliver(Format::FLV, sockets()).await);
    late.expect(["metadata", "avcC", "asc", "key40;", "delta80;"]);
    rig.push([picture(false, 120, 0)]);
    early.expect(["delta120;"]);
    late.expect(["delta120;"]);
}

#[tokio::test]
async fn without_the_gop_a_viewer_starts_at_the_next_one() {
    let mut rig = Rig::new(Flush::Each);
    rig.terms.start = Start::NextGroup;
    let mut peer = Peer::new(Format::FLV, rig.deliver(Format::FLV, sockets()).await);
    rig.push([picture(false, 40, 0), picture(true, 80, 0)]);
    peer.expect(["metadata", "avcC", "asc", "key80;"]);
}

#[tokio::test]
async fn a_viewer_that_does_not_read_holds_nobody_up_and_loses_nothing_within_the_window() {
    let mut rig = Rig::new(Flush::Each);
    let mut slow = rig.join(RTMP, narrow_sockets()).await;
    let mut quick = rig.join(Format::FLV, sockets()).await;
    for at in 1..=5 {
        rig.push([picture(false, 40 * at, LARGE)]);
    }
    let all = ["delta40;", "delta80;", "delta120;", "delta160;", "delta200;"];
    quick.expect(all);
    slow.expect(all);
    rig.push([picture(false, 240, 0)]);
    slow.expect(["delta240;"]);
}

#[tokio::test]
async fn a_viewer_that_never_reads_is_let_go() {
    let mut rig = Rig::new(Flush::Each);
    rig.terms.stall = Duration::from_millis(1);
    let _peer = rig.join(Format::FLV, narrow_sockets()).await;
    rig.push([picture(false, 40, LARGE), picture(false, 80, LARGE)]);
    rig.all_gone().await;
}

#[tokio::test]
async fn the_end_of_the_stream_ends_http_bodies() {
    let mut rig = Rig::new(Flush::Each);
    let mut peer = rig.deliver(Format::FLV_CHUNKED, sockets()).await;
    rig.end();
    let mut body = Vec::new();
    peer.read_to_end(&mut body).expect("the end of the connection");
    assert!(body.ends_with(b"\r\n0\r\n\r\n"));
    assert!(dechunked(&body).concat().ends_with(b"key0;\0\0\0\x10"));
    rig.all_gone().await;
}

#[tokio::test]
async fn the_end_of_the_stream_hands_rtmp_viewers_back_with_nothing_unsent() {
    let mut rig = Rig::new(Flush::Each);
    let mut peer = rig.join(RTMP, narrow_sockets()).await;
    rig.push([picture(false, 40, LARGE)]);
    rig.end();
    peer.expect(["delta40;"]);
    let returned = rig.returned.recv().await.expect("the viewer");
    assert!(matches!(returned.why, Why::StreamEnded));
    assert!(returned.unsent.is_empty());
    assert_eq!((returned.client.skips, rig.shards.viewers()), (0, vec![0]));
}

#[tokio::test]
async fn a_stream_that_has_ended_meanwhile_ends_its_viewer_at_once() {
    let mut rig = Rig::new(Flush::Each);
    let channel = rig.channels.open(&key(), Format::FLV, LIMITS).await;
    rig.end();
    let (near, peer) = sockets();
    rig.shards.deliver(Arrival {
        socket: near,
        tls: None,
        channel,
        terms: TERMS,
        head: Bytes::new(),
        protocol: Protocol::Http { received: 0 },
        client: client(&rig.permits, &rig.roster),
    });
    let mut peer = Peer::new(Format::FLV, peer);
    peer.expect(["metadata", "avcC", "asc", "key0;", "the end"]);
}

#[tokio::test]
async fn a_command_brings_a_viewer_back_with_the_rest_of_what_was_begun() {
    let mut rig = Rig::new(Flush::Each);
    let mut peer = rig.join(RTMP, narrow_sockets()).await;
    rig.push([picture(false, 40, LARGE)]);
    // Once some of it has come, the picture is begun.
    let begun = read(&mut peer.socket, 1);
    let mute = Command::new("receiveAudio", 0.0, vec![false.into()]);
    peer.socket
        .write_all(&said(type_id::COMMAND, 1, &mute.encode()))
        .expect("a shard that listens");
    let returned = rig.returned.recv().await.expect("the viewer");
    let Why::Command(event) = returned.why else { panic!("the stream has not ended") };
    assert_eq!(event, server::Event::ReceiveAudio { stream_id: 1, enabled: false });
    assert_eq!(rig.shards.viewers(), [0]);

    let mut near = returned.socket;
    near.set_nonblocking(false).expect("a mode");
    let rest = returned.unsent;
    assert!(!rest.is_empty(), "the socket was full");
    let writer = std::thread::spawn(move || {
        rest.iter().for_each(|piece| near.write_all(piece).expect("a peer that reads"));
    });
    peer.take(&begun);
    peer.expect(["delta40;", "the end"]);
    writer.join().expect("no panic");
}

#[tokio::test]
async fn viewers_are_spread_by_what_their_streams_weigh() {
    let (returns, _returned) = mpsc::channel(1);
    let mut rig = Rig::new(Flush::Each);
    rig.shards = Shards::start(2, &returns, &Arc::default(), || {}).expect("threads");
    let _peers =
        [rig.deliver(Format::FLV, sockets()).await, rig.deliver(Format::FLV, sockets()).await];
    assert_eq!(rig.shards.viewers(), [1, 1]);
}

#[tokio::test]
async fn shards_that_are_not_needed_any_more_let_their_viewers_go() {
    let mut rig = Rig::new(Flush::Each);
    let mut peer = rig.join(Format::FLV, sockets()).await;
    let (returns, _returned) = mpsc::channel(1);
    rig.shards = Shards::start(1, &returns, &Arc::default(), || {}).expect("a thread");
    peer.expect(["the end"]);
}

#[tokio::test]
async fn what_is_sent_counts_and_loads_follow_the_streams() {
    let quotas = Arc::<Quotas>::default();
    let (returns, _returned) = mpsc::channel(1);
    let mut rig = Rig::new(Flush::Each);
    rig.shards = Shards::start(1, &returns, &quotas, || {}).expect("a thread");
    let mut peer = rig.join(Format::FLV, sockets()).await;
    assert_eq!(rig.shards.loads(), [BIT_RATE_MIN]);
    // Less than the window, so that nothing is skipped.
    rig.push((1..=20).map(|at| picture(false, at * 40, LARGE)));
    (1..=20).for_each(|at| peer.expect([&*format!("delta{};", at * 40)]));
    // Both are told of in turns of the shard that end after these bytes have come.
    let soon = Instant::now() + SOON;
    while quotas.sent() < 20 * LARGE as u64 || rig.shards.loads()[0] < 4_000_000 {
        assert!(Instant::now() < soon, "{} bytes, {:?}", quotas.sent(), rig.shards.loads());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    drop(peer);
    rig.all_gone().await;
    assert_eq!(rig.shards.loads(), [0]);
}

/// A viewer that waited for its socket and then takes more than its turn allows in one go must get another turn: its
/// socket is not full any more, so the poller has nothing to tell.
#[tokio::test]
async fn a_viewer_that_uses_up_its_turn_after_a_wait_goes_on() {
    // Several turns, and more than the buffers of the kernel hold.
    const PICTURES: i64 = 35;
    let mut rig = Rig::new(Flush::Each);
    let mut peer = rig.join(Format::FLV, sockets()).await;
    for round in 0..20 {
        let times = round * PICTURES + 1..=(round + 1) * PICTURES;
        rig.push(times.clone().map(|at| picture(false, at, LARGE)));
        times.for_each(|at| peer.expect([&*format!("delta{at};")]));
    }
}

/// Asks everybody to leave.
fn ask_to_leave(rig: &Rig, farewell: Farewell) {
    rig.roster.list().iter().for_each(|presence| presence.ask_to_leave(farewell));
    rig.shards.look();
}

/// Lets the shard have seen everything that was asked of it.
async fn until_heard(rig: &mut Rig) {
    let (near, mut peer) = sockets();
    let channel = rig.channels.open(&key(), Format::FLV, LIMITS).await;
    rig.shards.deliver(Arrival {
        socket: near,
        tls: None,
        channel,
        terms: TERMS,
        head: Bytes::from_static(b"head"),
        protocol: Protocol::Http { received: 0 },
        client: client(&Permits::new(1), &rig.roster),
    });
    assert_eq!(&*read(&mut peer, 4), b"head");
}

#[tokio::test]
async fn a_viewer_that_is_let_go_gets_its_group_to_the_end_and_nothing_of_the_next() {
    let mut rig = Rig::new(Flush::Each);
    let mut peer = rig.deliver(Format::FLV_CHUNKED, sockets()).await;
    ask_to_leave(&rig, Farewell::Draining);
    until_heard(&mut rig).await;
    rig.push([picture(false, 40, 0), picture(true, 80, 0), picture(false, 120, 0)]);
    let mut body = Vec::new();
    peer.read_to_end(&mut body).expect("the end of the connection");
    assert!(body.ends_with(b"\r\n0\r\n\r\n"), "the body is whole");
    assert!(dechunked(&body).concat().ends_with(b"delta40;\0\0\0\x13"));
    rig.end();
    rig.all_gone().await;
}

#[tokio::test]
async fn an_edge_that_is_let_go_is_not_told_that_the_stream_has_ended() {
    let mut rig = Rig::new(Flush::Each);
    let mut peer = rig.deliver(Format::FLV_CHUNKED, sockets()).await;
    rig.roster.list()[0].note(|doing| doing.is_node = true);
    ask_to_leave(&rig, Farewell::Draining);
    until_heard(&mut rig).await;
    rig.push([picture(false, 40, 0), picture(true, 80, 0)]);
    let mut body = Vec::new();
    peer.read_to_end(&mut body).expect("the end of the connection");
    assert!(body.ends_with(b"delta40;\0\0\0\x13\r\n"), "the body breaks off between two chunks");
}

#[tokio::test]
async fn an_rtmp_viewer_that_is_let_go_comes_back_to_be_told() {
    let mut rig = Rig::new(Flush::Each);
    let mut peer = rig.join(RTMP, sockets()).await;
    ask_to_leave(&rig, Farewell::Draining);
    until_heard(&mut rig).await;
    rig.push([picture(false, 40, 0), picture(true, 80, 0)]);
    peer.expect(["delta40;"]);
    let returned = rig.returned.recv().await.expect("the viewer");
    assert!(matches!(returned.why, Why::Leave(Farewell::Draining)));
    assert!(returned.unsent.is_empty());
}

#[tokio::test]
async fn who_is_kicked_goes_at_once() {
    let mut rig = Rig::new(Flush::Each);
    let mut http = rig.deliver(Format::FLV_CHUNKED, sockets()).await;
    let _rtmp = rig.join(RTMP, sockets()).await;
    ask_to_leave(&rig, Farewell::Kicked);
    let mut body = Vec::new();
    http.read_to_end(&mut body).expect("the end of the connection");
    let returned = rig.returned.recv().await.expect("the viewer");
    assert!(matches!(returned.why, Why::Leave(Farewell::Kicked)));
    assert!(returned.client.presence.does(Activity::Play));
}

#[tokio::test]
async fn who_is_asked_to_leave_on_the_way_to_a_shard_leaves() {
    let mut rig = Rig::new(Flush::Each);
    let channel = rig.channels.open(&key(), Format::FLV_CHUNKED, LIMITS).await;
    let (near, mut peer) = sockets();
    let client = client(&rig.permits, &rig.roster);
    ask_to_leave(&rig, Farewell::Kicked);
    until_heard(&mut rig).await;
    rig.shards.deliver(Arrival {
        socket: near,
        tls: None,
        channel,
        terms: TERMS,
        head: Bytes::new(),
        protocol: Protocol::Http { received: 0 },
        client,
    });
    let mut body = Vec::new();
    peer.read_to_end(&mut body).expect("the end of the connection");
}
