//! Peers that want to be held as much as they can, and what the process holds then: a small `limits.memory`, a stream
//! that must not notice it, and the system's own figures.

use std::{fs, os::unix::fs::PermissionsExt as _, pin::pin, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    time::{interval, timeout},
};
use weir_flv::{Tag, TagKind, amf0::Value};
use weir_rtmp::message::type_id;
use weir_testkit::{
    Weir, eventually, http,
    peer::{Caller, Numbered, Publisher, Witness},
    raw::Raw,
};

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(30);

/// A small server.
const SMALL: &str = "limits: { memory: 64MiB, stream_memory: 16MiB }\nhls: { enabled: false }\n";

/// What it may take beside `limits.memory`: the code that is used for the first time, and what the allocator rounds.
const BESIDE: u64 = 24 << 20;

const LIMIT: u64 = 64 << 20;

/// How often the memory is looked at meanwhile.
const SAMPLE: Duration = Duration::from_millis(20);

fn small() -> Weir {
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(SMALL).start()
}

/// What `attack` adds to the memory of a small server at the most, with a stream beside it that must not notice it.
async fn growth(weir: &Weir, attack: impl AsyncFnOnce(&Weir)) -> u64 {
    let mut witness = Witness::start(weir).await;
    let before = weir.rss_bytes();
    let mut most = before;
    let attacked = async {
        let (mut attack, mut ticks) = (pin!(attack(weir)), interval(SAMPLE));
        loop {
            tokio::select! {
                () = &mut attack => return,
                _ = ticks.tick() => most = most.max(weir.rss_bytes()),
            }
        }
    };
    witness.during(attacked).await;
    most = most.max(weir.rss_bytes());
    witness.finish().await;
    println!("grown by {} KiB from {} KiB", (most - before) >> 10, before >> 10);
    most - before
}

/// A Set Chunk Size to so much that every message is one chunk.
const LARGE_CHUNKS: [u8; 16] = [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff];

/// The same to one byte less than a command may have: each lacks that byte, which would come in a second chunk.
const ALMOST_A_COMMAND: [u8; 16] = [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// The beginning of a message on chunk stream `csid` of message stream 1, and `sent` bytes of it.
fn begun(csid: u8, type_id: u8, length: u32, sent: usize) -> Vec<u8> {
    let [_, a, b, c] = length.to_be_bytes();
    let mut bytes = vec![csid, 0, 0, 0, a, b, c, type_id, 1, 0, 0, 0];
    bytes.resize(bytes.len() + sent, 0x17);
    bytes
}

async fn publishing(weir: &Weir, name: &str) -> Caller {
    let mut caller = Caller::connect(weir.rtmp(), "live").await;
    assert_eq!(caller.create_stream().await, 1);
    assert_eq!(caller.publish(1, name).await, "NetStream.Publish.Start");
    caller
}

/// 58 chunk streams of 64 KiB on 200 connections, without any right.
async fn fill_chunk_streams(weir: &Weir) -> Vec<Raw> {
    let mut peers = Vec::new();
    for _ in 0..200 {
        let mut raw = Raw::rtmp(weir.rtmp()).await;
        raw.send(&ALMOST_A_COMMAND).await;
        for csid in 3..61 {
            if !raw.send(&begun(csid, type_id::COMMAND, 65_536, 65_535)).await {
                break;
            }
        }
        peers.push(raw);
    }
    peers
}

#[tokio::test]
async fn chunk_streams_before_publish() {
    let weir = small();
    let grown = growth(&weir, async |weir| drop(fill_chunk_streams(weir).await)).await;
    assert!(grown < 16 << 20, "{grown} bytes for peers that do not publish");
}

#[tokio::test]
async fn one_command_of_64_kib_on_each_of_many_connections() {
    let weir = small();
    let grown = growth(&weir, async |weir| {
        let mut peers = Vec::new();
        for _ in 0..400 {
            let mut raw = Raw::rtmp(weir.rtmp()).await;
            raw.send(&[&LARGE_CHUNKS[..], &begun(3, type_id::COMMAND, 65_536, 65_000)].concat())
                .await;
            peers.push(raw);
        }
        // Those who hold much for long make room for somebody who does not.
        let mut honest = publishing(weir, "honest").await;
        honest.send(1, type_id::VIDEO, 0, &[0x17; 100_000]).await;
    })
    .await;
    assert!(grown < LIMIT / 2, "{grown} bytes for peers that do not publish");
}

#[tokio::test]
async fn messages_of_16_mb_that_are_not_finished() {
    let weir = small();
    let grown = growth(&weir, async |weir| {
        let mut peers = Vec::new();
        for number in 0..30 {
            // As many as are let in: beyond that they are told that there is no memory.
            let mut peer = Caller::connect(weir.rtmp(), "live").await;
            peer.create_stream().await;
            if peer.publish(1, &number.to_string()).await != "NetStream.Publish.Start" {
                continue;
            }
            peer.send_bytes(&LARGE_CHUNKS).await;
            // What is too long for its stream, and what is not.
            let length = if number % 2 == 0 { 0xff_ffff } else { 7 << 20 };
            peer.send_bytes(&begun(6, type_id::VIDEO, length, 6 << 20)).await;
            peers.push(peer);
        }
        let (side, reason) = weir.session_end(peers[0].local(), SOON).await;
        assert!(reason.contains("message of 16777215 bytes"), "{side}: {reason}");
        // Half a second of its pictures is larger than what the others leave.
        let url = weir.rtmp_url("live/honest");
        let mut honest =
            Publisher::start(&url, Numbered::default().with_picture_bytes(60_000)).await;
        honest.pictures(20).await;
        honest.stop().await;
    })
    .await;
    assert!(grown < LIMIT + BESIDE, "{grown} bytes of {LIMIT}");
}

#[tokio::test]
async fn large_messages_that_are_finished() {
    let weir = small();
    let grown = growth(&weir, async |weir| {
        let mut peers = Vec::new();
        for number in 0..30 {
            let mut peer = Caller::connect(weir.rtmp(), "live").await;
            peer.create_stream().await;
            if peer.publish(1, &number.to_string()).await != "NetStream.Publish.Start" {
                continue;
            }
            peer.send_bytes(&LARGE_CHUNKS).await;
            peer.send(1, type_id::AUDIO, 0, &[0xaf, 0, 0x12, 0x10]).await;
            peer.send_bytes(&begun(6, type_id::VIDEO, 5 << 20, 5 << 20)).await;
            peers.push(peer);
        }
        let held = async || (memory(weir).await.total() < LIMIT).then_some(());
        eventually("logs hold what they may", SOON, held).await;
    })
    .await;
    assert!(grown < LIMIT + BESIDE, "{grown} bytes of {LIMIT}");
}

/// With a limit of the address space, what does not fit is refused: the process goes on.
#[tokio::test]
async fn an_address_space_that_is_smaller_than_what_peers_want() {
    let dir = tempfile::tempdir().expect("a folder");
    let limited = dir.path().join("weir");
    let binary = env!("CARGO_BIN_EXE_weir");
    let script = format!("#!/bin/sh\nulimit -v 786432\nexec '{binary}' \"$@\"\n");
    fs::write(&limited, script).expect("a script");
    fs::set_permissions(&limited, fs::Permissions::from_mode(0o755)).expect("executable");
    // One arena, so that the address space is what is used and not what each thread reserves.
    let weir = Weir::builder(limited).config(SMALL).env("MALLOC_ARENA_MAX", "1").start();
    growth(&weir, async |weir| {
        let guests = fill_chunk_streams(weir).await;
        for number in 0..30 {
            let mut peer = publishing(weir, &number.to_string()).await;
            peer.send_bytes(&LARGE_CHUNKS).await;
            peer.send_bytes(&begun(6, type_id::VIDEO, 7 << 20, 6 << 20)).await;
        }
        drop(guests);
    })
    .await;
}

/// The head of a request that is as long as may be.
fn long_head(path: &str) -> Vec<u8> {
    let fields: String =
        (0..95).map(|number| format!("X-Field-{number:03}: {}\r\n", "v".repeat(140))).collect();
    format!("GET /{path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

/// A request with parameters that are as long as may be.
fn long_target(path: &str) -> Vec<u8> {
    let params = "p".repeat(7_900);
    format!("GET /{path}?a={params} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// A server whose viewers wait for as long as any test takes.
fn patient() -> Weir {
    let config = "limits: { memory: 64MiB, stream_memory: 16MiB }\nplay: { wait: 60s }\n";
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(config).start()
}

/// Sends each of `requests` on connections of its own, `count` times, and waits until the server has begun with them.
async fn wait_in_crowds(weir: &Weir, requests: &[Vec<u8>], count: usize) -> Vec<Raw> {
    let mut peers = Vec::new();
    for number in 0..count {
        let mut raw = Raw::connect(weir.http()).await;
        raw.send(&requests[number % requests.len()]).await;
        peers.push(raw);
    }
    peers
}

#[tokio::test]
async fn requests_that_wait_for_their_streams() {
    let weir = patient();
    let requests: Vec<_> = ["live/nothing.flv", "live/nothing.m3u8"]
        .into_iter()
        .flat_map(|path| [long_head(path), long_target(path)])
        .collect();
    let grown = growth(&weir, async |weir| {
        let peers = wait_in_crowds(weir, &requests, 1200).await;
        let shown = async || {
            let memory = memory(weir).await;
            (memory.of("requests") > 2e6).then_some(memory)
        };
        let memory = eventually("they are counted", SOON, shown).await;
        assert!(memory.total() <= LIMIT, "{:?}", memory.uses);
        // Somebody who asks for little is answered.
        let page = http::get(weir.http(), "player").await;
        assert_eq!(page.status, 200);
        drop(peers);
        let gone = async || (self::memory(weir).await.of("requests") < 1e5).then_some(());
        eventually("what they took is given back", SOON, gone).await;
    })
    .await;
    assert!(grown < LIMIT / 2 + BESIDE / 2, "{grown} bytes for requests that wait");
}

#[tokio::test]
async fn heads_that_are_not_finished() {
    let weir = patient();
    let mut begun = long_head("live/nothing.m3u8");
    begun.truncate(begun.len() - 2);
    let grown = growth(&weir, async |weir| {
        let peers = wait_in_crowds(weir, &[begun], 1000).await;
        let shown = async || (memory(weir).await.of("requests") > 2e6).then_some(());
        eventually("they are counted", SOON, shown).await;
        drop(peers);
    })
    .await;
    assert!(grown < LIMIT / 3, "{grown} bytes for heads");
}

#[tokio::test]
async fn rtmp_plays_that_wait_for_their_streams() {
    let weir = patient();
    let mut callers = Vec::new();
    for _ in 0..300 {
        let mut caller = Caller::connect(weir.rtmp(), "live").await;
        assert_eq!(caller.create_stream().await, 1);
        let name = format!("nothing?{}", "p".repeat(7_900));
        caller.call(1, "play", Value::Null, vec![name.as_str().into()]).await;
        callers.push(caller);
    }
    let shown = async || {
        let requests = memory(&weir).await.of("requests");
        (requests > 2e6).then_some(requests)
    };
    let requests = eventually("they are counted", SOON, shown).await;
    assert!(requests <= LIMIT as f64 / 4.0, "{requests} bytes");
    let told =
        weir.wait_session_end(|line| line["reason"].to_string().contains("limits.memory"), SOON);
    assert_eq!(told["kind"], "limit", "{told}");
    drop(callers);
    let gone = async || (memory(&weir).await.of("requests") < 1e5).then_some(());
    eventually("what they took is given back", SOON, gone).await;
}

/// The segments that the playlist at `path` lists, once there are so many.
async fn segments(weir: &Weir, path: &str, count: usize) -> Vec<String> {
    eventually("segments are listed", SOON, async || {
        let text = http::get(weir.http(), path).await.text().await;
        let listed: Vec<_> =
            text.lines().filter(|line| line.contains(".ts")).map(str::to_owned).collect();
        (listed.len() >= count).then_some(listed)
    })
    .await
}

/// Clients that ask for a segment and do not read it hold that one segment together, for as long as they are there.
#[tokio::test]
async fn segments_that_are_not_read() {
    const CLIENTS: usize = 400;
    let config = "limits: { memory: 64MiB, stream_memory: 16MiB }\nhls: { dir: '', segment: 1s, window: 3 }\n";
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).config(config).start();
    let source = Numbered::new(5).with_picture_bytes(200_000);
    let mut publisher = Publisher::start(&weir.rtmp_url("live/large"), source).await;
    // Pictures come 40 ms apart: 25 of them are the second after which the next key frame cuts.
    publisher.pictures(80).await;
    let segment = segments(&weir, "live/large.m3u8", 2).await.remove(0);
    let rss = weir.rss_bytes();
    let mut peers = Vec::new();
    for _ in 0..CLIENTS {
        let mut raw = Raw::narrow(weir.http()).await;
        raw.send(format!("GET /live/{segment} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        peers.push(raw.into_inner());
    }
    for peer in &mut peers {
        // The first byte of the answer, and no more.
        timeout(SOON, peer.read_exact(&mut [0])).await.expect("in time").expect("an answer");
    }
    let all = memory(&weir).await;
    assert!(all.of("output") < 1e6, "nobody has a copy: {:?}", all.uses);
    // Its bytes, were each sent a copy, would be two gigabytes.
    let grown = weir.rss_bytes().saturating_sub(rss);
    assert!(grown < BESIDE + LIMIT / 4, "{grown}");
    // The segment leaves the window, and is held by them alone.
    publisher.pictures(400).await;
    let gone = async || {
        let list = http::get(weir.http(), "live/large.m3u8").await.text().await;
        (!list.contains(&segment)).then_some(())
    };
    eventually("it is listed no longer", SOON, gone).await;
    assert!(memory(&weir).await.of("hls_window") <= (LIMIT / 4) as f64 + 1e7, "{:?}", all.uses);
    drop(peers);
    publisher.stop().await;
}

/// More streams than windows have room for: each keeps what it can, and all of them together no more than a quarter.
#[tokio::test(flavor = "multi_thread")]
async fn windows_of_many_streams() {
    const STREAMS: usize = 12;
    /// One second of each: a few hundred kilobytes more with what MPEG-TS adds.
    const SEGMENT: f64 = 25.0 * 20_000.0 * 1.1;
    let config = "limits: { memory: 64MiB, stream_memory: 16MiB }\nhls: { dir: '', segment: 1s }\n";
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).config(config).start();
    // All of them are let in before there is much: while the budget is spent, a new stream is refused.
    let mut publishers = Vec::new();
    for number in 0..STREAMS {
        let source = Numbered::new(25).with_picture_bytes(20_000);
        publishers.push(Publisher::start(&weir.rtmp_url(&format!("live/{number}")), source).await);
    }
    for publisher in &mut publishers {
        publisher.pictures(25 * 8 + 1).await;
    }
    for number in 0..STREAMS {
        let path = format!("live/{number}.m3u8");
        for segment in segments(&weir, &path, 1).await {
            let status = http::get(weir.http(), &format!("live/{segment}")).await.status;
            assert_eq!(status, 200, "what is listed is there: {segment}");
        }
    }
    // Each follows what the others leave it when its next segment comes; the newest one of each stays in any case.
    for publisher in &mut publishers {
        publisher.pictures(25 + 1).await;
    }
    let most = (LIMIT / 4) as f64 + STREAMS as f64 * SEGMENT;
    let within = async || {
        let held = memory(&weir).await.of("hls_window");
        (1e6..=most).contains(&held).then_some(())
    };
    eventually("windows hold a quarter, and a segment of each", SOON, within).await;
    drop(publishers);
}

/// `weir_memory_bytes`, by what it is used for, and what the system says.
struct Memory {
    uses: Vec<(String, f64)>,
    resident: f64,
}

impl Memory {
    fn sum(&self) -> f64 {
        self.uses.iter().map(|(_, bytes)| bytes).sum()
    }

    /// All that counts against `limits.memory`.
    fn total(&self) -> u64 {
        (self.sum() - self.of("base")) as u64
    }

    fn of(&self, what: &str) -> f64 {
        let found = self.uses.iter().find(|(name, _)| name == what);
        found.unwrap_or_else(|| panic!("no weir_memory_bytes of {what}")).1
    }
}

async fn memory(weir: &Weir) -> Memory {
    let text = http::get(weir.api(), "metrics").await.text().await;
    let value = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse().ok());
    let uses = text.lines().filter_map(|line| {
        let what = line.strip_prefix("weir_memory_bytes{what=\"")?.split('"').next()?;
        Some((what.to_owned(), value(line)?))
    });
    let resident = text.lines().find(|line| line.starts_with("process_resident_memory_bytes "));
    Memory { uses: uses.collect(), resident: resident.and_then(value).expect("resident memory") }
}

#[tokio::test]
async fn what_memory_is_used_for_adds_up_to_what_the_process_holds() {
    let config = "limits: { memory: 1GiB }\nhls: { enabled: false }\n";
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).config(config).start();
    let mut publishers = Vec::new();
    for number in 0..12 {
        let source = Numbered::new(10_000).with_picture_bytes(100_000);
        let url = weir.rtmp_url(&format!("live/{number}"));
        let mut publisher = Publisher::start(&url, source).await;
        publisher.pictures(100).await;
        publishers.push(publisher);
    }
    let mut guests = Vec::new();
    for _ in 0..500 {
        let mut raw = Raw::rtmp(weir.rtmp()).await;
        raw.send(&[&LARGE_CHUNKS[..], &begun(3, type_id::COMMAND, 60_000, 50_000)].concat()).await;
        guests.push(raw);
    }
    let all_read = async || {
        let memory = memory(&weir).await;
        let is_here = memory.of("logs") > 12.0 * 9e6 && memory.of("commands") > 500.0 * 49e3;
        is_here.then_some(memory)
    };
    let memory = eventually("everything has been read", SOON, all_read).await;
    println!("{:?}: {} of {}", memory.uses, memory.sum(), memory.resident);
    let part = memory.sum() / memory.resident;
    assert!((0.8..1.2).contains(&part), "{part}: {:?} of {}", memory.uses, memory.resident);
}

#[tokio::test]
async fn memory_goes_back_when_a_crowd_has_left() {
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).config("").start();
    let mut witness = Witness::start(&weir).await;
    let before = weir.rss_bytes();
    let mut guests = Vec::new();
    for _ in 0..800 {
        let mut raw = Raw::rtmp(weir.rtmp()).await;
        raw.send(&[&LARGE_CHUNKS[..], &begun(3, type_id::COMMAND, 60_000, 50_000)].concat()).await;
        guests.push(raw);
    }
    let all = async || (weir.rss_bytes() > before + (800 * 50_000)).then_some(());
    eventually("they are here", SOON, all).await;
    drop(guests);
    witness
        .during(async {
            let back = async || (weir.rss_bytes() < before + (16 << 20)).then_some(());
            eventually("memory goes back though a stream goes on", SOON, back).await;
        })
        .await;
    witness.finish().await;
}

/// What nobody finishes must not outlast its publisher's turn, and a tag that is whole goes through.
#[tokio::test]
async fn a_key_frame_of_megabytes_still_plays() {
    let weir = small();
    let url = weir.rtmp_url("live/large");
    let mut publisher = Publisher::start(&url, Numbered::default()).await;
    publisher.pictures(2).await;
    let body = [&[0x17, 1, 0, 0, 0][..], &vec![0; 3 << 20]].concat();
    publisher.send(&Tag { kind: TagKind::Video, timestamp: 200, body: body.into() }).await;
    let held = async || (memory(&weir).await.of("logs") > 3e6).then_some(());
    eventually("it is in the log", SOON, held).await;
    publisher.stop().await;
}
