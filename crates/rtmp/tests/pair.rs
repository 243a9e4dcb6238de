//! A client session against a server session, over a byte stream that splits, coalesces and stalls, on a clock that
//! the test steps.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

use std::time::{Duration, Instant};

use bytes::BytesMut;
use proptest::prelude::*;
use weir_flv::{Tag, TagKind};
use weir_rtmp::{
    Error, client, handshake,
    server::{self, PlayRefusal, PublishRefusal},
    url::RtmpUrl,
};

const URL: &str = "rtmp://host/live/eu/cam?token=x";

/// How the network treats bytes.
#[derive(Clone, Debug)]
struct Network {
    /// How many bytes arrive together; used in turn, again and again.
    pieces: Vec<usize>,
    /// How long each piece takes.
    delay: Duration,
}

impl Default for Network {
    fn default() -> Self {
        Self { pieces: vec![usize::MAX], delay: Duration::from_millis(1) }
    }
}

/// Two ends and what is on its way between them.
struct Pair {
    now: Instant,
    network: Network,
    turn: usize,
    client: client::Session,
    server: server::Session,
    to_server: BytesMut,
    to_client: BytesMut,
    client_events: Vec<client::Event>,
    server_events: Vec<server::Event>,
}

impl Pair {
    fn new(network: Network, client: impl FnOnce(Instant) -> client::Session) -> Self {
        let now = Instant::now();
        Self {
            now,
            network,
            turn: 0,
            client: client(now),
            server: server::Session::new(server::Config::default(), [1; 1536], now),
            to_server: BytesMut::new(),
            to_client: BytesMut::new(),
            client_events: Vec::new(),
            server_events: Vec::new(),
        }
    }

    fn publisher(network: Network, kind: handshake::Kind) -> Self {
        Self::new(network, |now| client::Session::new_publish(config(kind), [2; 1536], now))
    }

    fn player(network: Network) -> Self {
        let kind = handshake::Kind::Simple;
        Self::new(network, |now| client::Session::new_play(config(kind), [2; 1536], now))
    }

    /// A publisher that was accepted.
    fn publishing(network: Network, kind: handshake::Kind) -> Self {
        let mut pair = Self::publisher(network, kind);
        pair.run().unwrap();
        pair.server.accept_publish(1);
        pair.run().unwrap();
        assert_eq!(pair.client_events.pop(), Some(client::Event::Accepted));
        pair
    }

    /// A player that was accepted.
    fn playing(network: Network) -> Self {
        let mut pair = Self::player(network);
        pair.run().unwrap();
        pair.server.accept_play(1);
        pair.run().unwrap();
        assert_eq!(pair.client_events.pop(), Some(client::Event::Accepted));
        pair
    }

    /// Moves bytes until there are none left.
    fn run(&mut self) -> Result<(), Error> {
        while self.step()? {}
        Ok(())
    }

    /// Moves one piece each way; returns whether there was any.
    fn step(&mut self) -> Result<bool, Error> {
        self.to_server.extend(std::iter::from_fn(|| self.client.poll_output()).flatten());
        self.to_client.extend(std::iter::from_fn(|| self.server.poll_output()).flatten());
        if self.to_server.is_empty() && self.to_client.is_empty() {
            return Ok(false);
        }
        self.now += self.network.delay;
        let piece = self.piece();
        let input = self.to_server.split_to(piece.min(self.to_server.len()));
        self.server.handle_input(&input, self.now)?;
        let piece = self.piece();
        let input = self.to_client.split_to(piece.min(self.to_client.len()));
        self.client.handle_input(&input, self.now)?;
        self.server.handle_timeout(self.now)?;
        self.client.handle_timeout(self.now)?;
        self.client_events.extend(std::iter::from_fn(|| self.client.poll_event()));
        self.server_events.extend(std::iter::from_fn(|| self.server.poll_event()));
        Ok(true)
    }

    fn piece(&mut self) -> usize {
        self.turn += 1;
        self.network.pieces[self.turn % self.network.pieces.len()]
    }
}

fn config(kind: handshake::Kind) -> client::Config {
    let url: RtmpUrl = URL.parse().unwrap();
    client::Config { handshake: kind, ..client::Config::new(url) }
}

fn tag(kind: TagKind, timestamp: u32, body: Vec<u8>) -> Tag {
    Tag { kind, timestamp, body: body.into() }
}

fn published(events: &[server::Event]) -> Vec<Tag> {
    let tag = |event: &server::Event| match event {
        server::Event::Media { tag, .. } => Some(tag.clone()),
        _ => None,
    };
    events.iter().filter_map(tag).collect()
}

fn played(events: &[client::Event]) -> Vec<Tag> {
    let tag = |event: &client::Event| match event {
        client::Event::Media(tag) => Some(tag.clone()),
        _ => None,
    };
    events.iter().filter_map(tag).collect()
}

#[test]
fn a_publisher_from_start_to_end() {
    for kind in [handshake::Kind::Simple, handshake::Kind::Digest] {
        let mut pair = Pair::publishing(Network::default(), kind);
        let server::Event::Connected(info) = &pair.server_events[0] else {
            panic!("not connected")
        };
        assert_eq!((info.app.as_str(), info.tc_url.as_str()), ("live/eu", "rtmp://host/live/eu"));
        assert!(info.enhanced.is_some());
        let server::Event::Publish { stream_id: 1, url, .. } = &pair.server_events[1] else {
            panic!("no publish: {:?}", pair.server_events);
        };
        let url = [&url.vhost, &url.app, &url.stream, &url.params].map(String::as_str);
        assert_eq!(url, ["host", "live/eu", "cam", "?token=x"]);

        let sent = tag(TagKind::Video, 0x0100_0000, vec![0x17; 150_000]);
        pair.client.send_media(sent.kind, sent.timestamp, &sent.body);
        pair.run().unwrap();
        assert_eq!(published(&pair.server_events), [sent]);

        pair.client.stop();
        pair.run().unwrap();
        assert_eq!(pair.server_events.last(), Some(&server::Event::EndPublish { stream_id: 1 }));
        assert!(pair.client_events.is_empty(), "{:?}", pair.client_events);
        assert_eq!(pair.client.poll_timeout(), None);
    }
}

#[test]
fn a_player_from_start_to_end() {
    let mut pair = Pair::playing(Network::default());
    assert!(
        matches!(pair.server_events[1], server::Event::BufferLength { stream_id: 1, millis: 1000 }),
        "{:?}",
        pair.server_events
    );
    let tags = [
        tag(TagKind::Script, 0, b"\x02\x00\x0aonMetaData\x05".to_vec()),
        tag(TagKind::Audio, 10, vec![0xaf; 300]),
        tag(TagKind::Video, 20, vec![0x27; 100_000]),
    ];
    for tag in &tags {
        pair.server.send_media(1, tag.kind, tag.timestamp, &tag.body);
    }
    pair.run().unwrap();
    assert_eq!(played(&pair.client_events), tags, "and no status of the play among them");
    pair.client_events.clear();
    pair.server.end_play(1);
    pair.run().unwrap();
    let code = "NetStream.Play.UnpublishNotify".to_owned();
    let description = "The stream is no longer published.".to_owned();
    assert_eq!(pair.client_events, [client::Event::Ended { code, description }]);
}

#[test]
fn a_player_that_leaves() {
    let mut pair = Pair::playing(Network::default());
    pair.client.stop();
    pair.run().unwrap();
    assert_eq!(pair.server_events.last(), Some(&server::Event::EndPlay { stream_id: 1 }));
}

#[test]
fn refusals_reach_the_client_with_their_reason() {
    let mut pair = Pair::publisher(Network::default(), handshake::Kind::Simple);
    pair.run().unwrap();
    pair.server.reject_publish(1, PublishRefusal::BadName, "somebody else publishes it");
    pair.run().unwrap();
    let refused = client::Event::Refused {
        code: "NetStream.Publish.BadName".to_owned(),
        description: "somebody else publishes it".to_owned(),
    };
    assert_eq!(pair.client_events, [refused]);

    let mut pair = Pair::player(Network::default());
    pair.run().unwrap();
    pair.server.reject_play(1, PlayRefusal::StreamNotFound, "nobody publishes it");
    pair.run().unwrap();
    let refused = client::Event::Refused {
        code: "NetStream.Play.StreamNotFound".to_owned(),
        description: "nobody publishes it".to_owned(),
    };
    assert_eq!(pair.client_events, [refused]);
    pair.server.send_media(1, TagKind::Video, 0, b"not for a refused player");
    assert_eq!(pair.server.poll_output(), None);
}

#[test]
fn nothing_is_sent_before_it_is_accepted() {
    let mut pair = Pair::publisher(Network::default(), handshake::Kind::Simple);
    pair.run().unwrap();
    pair.client.send_media(TagKind::Video, 0, b"early");
    assert_eq!(pair.client.poll_output(), None);
    assert_eq!(pair.client.stream_id(), None);
    pair.server.send_media(1, TagKind::Video, 0, b"it publishes, it does not play");
    assert_eq!(pair.server.poll_output(), None);
}

#[test]
fn a_decision_may_take_its_time_but_not_longer_than_the_client_waits() {
    let mut pair = Pair::publisher(Network::default(), handshake::Kind::Simple);
    let start = pair.now;
    pair.run().unwrap();
    assert_eq!(pair.server.poll_timeout(), None, "the server waits for its own decision");
    assert_eq!(pair.client.poll_timeout(), Some(start + Duration::from_secs(10)));
    let error = pair.client.handle_timeout(start + Duration::from_secs(10)).unwrap_err();
    let limit = Duration::from_secs(10);
    assert_eq!(error, Error::AnswerTimeout { waiting_for: "publish", limit });
    assert_eq!(pair.client.handle_input(b"x", pair.now), Err(Error::Ended));
}

#[test]
fn a_network_too_slow_for_the_handshake() {
    let network = Network { pieces: vec![1], delay: Duration::from_secs(1) };
    let mut pair = Pair::publisher(network, handshake::Kind::Simple);
    let error = pair.run().unwrap_err();
    assert_eq!(error, Error::HandshakeTimeout(Duration::from_secs(10)));
}

/// Windows of 2.5 MB each way: the server's acknowledgements must not disturb the stream.
#[test]
fn many_megabytes_are_acknowledged() {
    let mut pair = Pair::publishing(Network::default(), handshake::Kind::Simple);
    for n in 0..40 {
        pair.client.send_media(TagKind::Video, n * 40, &[0x27; 250_000]);
        pair.run().unwrap();
    }
    assert_eq!(published(&pair.server_events).len(), 40);
}

fn tags() -> impl Strategy<Value = Vec<Tag>> {
    let kind = prop_oneof![Just(TagKind::Audio), Just(TagKind::Video), Just(TagKind::Script)];
    let time = prop_oneof![0..1000_u32, 0xff_fff0..0x100_0010_u32, 0xffff_fff0..=u32::MAX];
    let body = prop_oneof![1..300_usize, 59_990..60_010_usize, 120_000..130_000_usize];
    let tag = (kind, time, body, any::<u8>())
        .prop_map(|(kind, time, len, fill)| tag(kind, time, vec![fill; len]));
    prop::collection::vec(tag, 1..8)
}

fn networks() -> impl Strategy<Value = Network> {
    let piece = prop_oneof![1..20_usize, 100..2000_usize, Just(0), Just(usize::MAX)];
    // At least one piece each way must not be empty, else nothing ever arrives.
    let pieces = prop::collection::vec(piece, 0..6).prop_map(|mut pieces| {
        pieces.extend([1500, 1500]);
        if pieces.len() % 2 == 0 {
            pieces.push(700);
        }
        pieces
    });
    pieces.prop_map(|pieces| Network { pieces, delay: Duration::from_micros(1) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn everything_published_arrives_in_order(network in networks(), tags in tags()) {
        let mut pair = Pair::publishing(network, handshake::Kind::Digest);
        for tag in &tags {
            pair.client.send_media(tag.kind, tag.timestamp, &tag.body);
        }
        pair.client.stop();
        pair.run().unwrap();
        prop_assert!(published(&pair.server_events) == tags);
        prop_assert_eq!(pair.server_events.last(), Some(&server::Event::EndPublish { stream_id: 1 }));
    }

    #[test]
    fn everything_played_arrives_in_order(network in networks(), tags in tags()) {
        let mut pair = Pair::playing(network);
        for tag in &tags {
            pair.server.send_media(1, tag.kind, tag.timestamp, &tag.body);
        }
        pair.server.end_play(1);
        pair.run().unwrap();
        prop_assert!(played(&pair.client_events) == tags);
        let ended = matches!(pair.client_events.last(), Some(client::Event::Ended { .. }));
        prop_assert!(ended, "the end comes behind the last message");
    }
}

/// A player that says whether it follows reconnect requests, while it plays.
fn asked_to_reconnect(reconnects: bool) -> (bool, Vec<client::Event>) {
    let config = client::Config { reconnects, ..config(handshake::Kind::Simple) };
    let mut pair =
        Pair::new(Network::default(), |now| client::Session::new_play(config, [2; 1536], now));
    pair.run().unwrap();
    pair.server.accept_play(1);
    pair.run().unwrap();
    pair.client_events.clear();
    let asked = pair.server.request_reconnect("maintenance");
    pair.run().unwrap();
    (asked, pair.client_events)
}

#[test]
fn only_who_follows_reconnect_requests_is_sent_one() {
    let description = "maintenance".to_owned();
    let event = client::Event::ReconnectRequested { tc_url: None, description };
    assert_eq!(asked_to_reconnect(true), (true, vec![event]), "and it goes on playing");
    assert_eq!(asked_to_reconnect(false), (false, vec![]));
}
