//! Origins that do what a test tells them to, on loopback.

mod http;
mod rtmp;

use std::{net::SocketAddr, sync::atomic::Ordering};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use weir_config::{ForwardQuery, Settings};
use weir_flv::{Tag, TagKind, file, metadata};
use weir_intake::Allowance;
use weir_media::{Budget, DEFAULT_VHOST, StreamKey};
use weir_upstream::{Broken, Lost, NOTHING, WORDS_MAX, words};

use super::*;
use crate::{Hops, NodeId, query::forwarded};

/// Longer than any step takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// For tests in which something does not happen: what has to happen before still does within it.
const SHORT: Duration = Duration::from_secs(1);

pub fn origin(rtmp: SocketAddr, http: SocketAddr, host: &str) -> Origin {
    Origin::plain((rtmp, http), host)
}

/// The name of the origins here.
const HOST: &str = "origin.example";

/// Room for everything.
pub fn allowance() -> Allowance {
    Allowance { budget: Budget::unlimited(), message_bytes: usize::MAX }
}

fn request(key: &StreamKey) -> Request {
    let hops = Hops::default().and(&NodeId::random().expect("random bytes"));
    Request {
        key: key.clone(),
        params: forwarded("?token=1", &ForwardQuery::All),
        page_url: std::sync::Arc::default(),
        settings: Settings::default(),
        hops,
        wait: Duration::ZERO,
        next: false,
        memory: allowance(),
    }
}

fn cam() -> StreamKey {
    StreamKey::new(DEFAULT_VHOST, "live", "cam").expect("a key")
}

fn tag(kind: TagKind, timestamp: u32, body: &'static [u8]) -> Tag {
    Tag { kind, timestamp, body: body.into() }
}

fn picture(timestamp: u32) -> Tag {
    tag(TagKind::Video, timestamp, b"\x17\x01\x00\x00\x00picture")
}

/// An FLV file.
fn flv(tags: &[Tag]) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    tags.iter().for_each(|tag| file::write_tag(&mut out, tag.kind, tag.timestamp, &tag.body));
    [&file::Header { has_audio: true, has_video: true }.encode()[..], &out].concat()
}

fn missing(failure: &Failure) -> &str {
    match failure {
        Failure::Missing(words) => words,
        other => panic!("expected a missing stream: {other:?}"),
    }
}

fn unreachable(failure: &Failure) -> &str {
    match failure {
        Failure::Unreachable(words) => words,
        other => panic!("expected an origin that does not work: {other:?}"),
    }
}

fn refused(failure: &Failure) -> (&str, &str) {
    match failure {
        Failure::Refused { code, description } => (code, description),
        other => panic!("expected a no: {other:?}"),
    }
}

#[test]
fn words_of_an_origin_are_short_and_on_one_line() {
    assert_eq!(words("a\nb\x1b[1m"), "a b [1m");
    assert_eq!(words(&"\u{20ac}".repeat(100_000)).chars().count(), WORDS_MAX);
}

/// A connection that the origin ended, which says nothing of the origin.
fn closed(why: &str) -> Lost {
    Lost { why: why.to_owned(), is_failure: false }
}

/// A connection that was lost because the origin does not work.
fn failure(why: &str) -> Lost {
    Lost { why: why.to_owned(), is_failure: true }
}
