//! What the tests of requests share: nodes without sockets, their clients, and streams.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use weir_clients::roster::{Activity, RosterEntry};
use weir_config::{Config, Settings};
use weir_edge::Ask;
use weir_hub::{Conflict, Flush, PublishSettings, Publisher};
use weir_intake::{WakeSignal, log_limits};
use weir_media::{AudioCodec, Content, Frame, StreamKey, Timestamp, Track, VideoCodec};
use weir_rtmp::url::{StreamUrl, discover_http};

use crate::node::Node;

/// Until something that must happen has happened.
pub const SOON: Duration = Duration::from_secs(20);

/// Where all clients are.
pub const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A node with this configuration. Nobody listens for it.
pub fn node(config: &str) -> Arc<Node> {
    let config = format!("hls: {{ enabled: false }}\nworkers: 1\n{config}");
    let config = Config::parse(&config, "a test").expect("a good configuration");
    let (node, _) = Node::start(&Settings::new(config), Default::default(), Default::default())
        .expect("started");
    node
}

/// A client of `node` that has just connected.
pub fn client(node: &Node) -> RosterEntry {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    node.clients.roster.enlist(NEXT.fetch_add(1, Ordering::Relaxed), "test", (HOME, 1).into())
}

/// The stream of this name, with parameters or without.
pub fn url(name: &str) -> StreamUrl {
    let (path, params) = name.split_at(name.find('?').unwrap_or(name.len()));
    discover_http(&format!("{path}.flv{params}"), "example.com").expect("a stream").0
}

/// What a client says that asks for `url` itself.
pub fn ask(url: &StreamUrl) -> Ask {
    Ask { params: url.params.clone(), peer: Some(HOME), ..Ask::default() }
}

/// The stream of this name.
pub fn key(node: &Node, name: &str) -> StreamKey {
    node.resolve(&url(name)).expect("a good name").0
}

/// Somebody who publishes `key`, and has sent a picture and sound to start with.
pub fn publish(node: &Node, key: &StreamKey) -> Publisher {
    let settings = PublishSettings {
        linger: Duration::ZERO,
        conflict: Conflict::Reject,
        flush: Flush::Each,
        limits: log_limits(&node.config()),
        replaced: Arc::new(WakeSignal::default()),
    };
    let mut publisher = node
        .streams
        .registry
        .publish(key, settings, Instant::now())
        .expect("nobody else publishes");
    let (picture, sound) = (VideoCodec::Avc, AudioCodec::Aac);
    for (track, content) in [
        (Track::Video(0), Content::VideoConfig(picture)),
        (Track::Audio(0), Content::AudioConfig(sound)),
        (Track::Video(0), Content::Video { codec: picture, key: true, composition: 0 }),
        (Track::Audio(0), Content::Audio(sound)),
    ] {
        let (dts, body) = (Timestamp::ZERO, Bytes::from_static(b"a frame"));
        let (epoch, stray, payload) = (0, false, body.clone());
        let frame = Frame { track, dts, epoch, content, stray, payload, body };
        publisher.push(frame, Instant::now()).expect("the only publisher");
    }
    publisher
}

/// What `client` does, as the roster has it.
pub fn does(client: &RosterEntry) -> (Activity, Option<StreamKey>) {
    let doing = client.doing();
    (doing.activity, doing.stream)
}
