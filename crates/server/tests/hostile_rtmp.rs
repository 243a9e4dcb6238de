//! RTMP peers that break the rules or do nothing. Each loses its own connection, with a reason in the log, while a
//! stream beside it plays on without a lost packet.

use std::time::Duration;

use weir_flv::{Tag, TagKind, amf0::Value};
use weir_rtmp::message::{Control, type_id};
use weir_testkit::{
    Weir,
    peer::{Caller, Numbered, Publisher, Viewer, Witness},
    raw::Raw,
};

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(20);

/// How long the server waits for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long the server waits for a `publish` or `play`.
const IDLE: Duration = Duration::from_secs(30);

/// A server with this configuration.
fn server(config: &str) -> Weir {
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(config).start()
}

/// Runs `attack` on a server, and a stream that must not notice it.
async fn beside_a_stream(config: &str, attack: impl AsyncFnOnce(&Weir)) {
    let weir = server(config);
    let mut witness = Witness::start(&weir).await;
    witness.during(attack(&weir)).await;
    witness.finish().await;
}

/// Requires that the session of `peer` ended by `side`, for a reason in which `reason` occurs.
async fn assert_ended(weir: &Weir, peer: std::net::SocketAddr, side: &str, reason: &str) {
    assert_ended_within(weir, peer, side, reason, SOON).await;
}

async fn assert_ended_within(
    weir: &Weir,
    peer: std::net::SocketAddr,
    side: &str,
    reason: &str,
    within: Duration,
) {
    let (by, because) = weir.session_end(peer, within).await;
    assert!(
        by == side && because.contains(reason),
        "the log says that the session ended by {by:?} because {because:?}, and not by {side:?} because {reason:?}"
    );
}

/// Bytes without a meaning, the same in each run.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        // Xorshift: Marsaglia, 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

#[tokio::test]
async fn random_bytes_instead_of_a_handshake() {
    beside_a_stream("", async |weir| {
        let mut raw = Raw::connect(weir.rtmp()).await;
        raw.send(&noise(7, 64 * 1024)).await;
        assert_ended(weir, raw.local(), "peer", "handshake version").await;
        raw.expect_close(SOON).await;
    })
    .await;
}

#[tokio::test]
async fn random_bytes_after_the_handshake() {
    beside_a_stream("", async |weir| {
        for seed in 1..30 {
            let mut raw = Raw::rtmp(weir.rtmp()).await;
            raw.send(&noise(seed, 256 * 1024)).await;
            assert_ended(weir, raw.local(), "peer", "").await;
            raw.expect_close(SOON).await;
        }
    })
    .await;
}

/// Media with a body of noise: the session is fine, what it carries is not.
#[tokio::test]
async fn random_bytes_as_media() {
    beside_a_stream("", async |weir| {
        let mut caller = Caller::connect(weir.rtmp(), "live").await;
        let stream = caller.create_stream().await;
        assert_eq!(caller.publish(stream, "noise").await, "NetStream.Publish.Start");
        for (seed, kind) in (1..).zip([type_id::AUDIO, type_id::VIDEO, type_id::DATA].repeat(200)) {
            caller.send(stream, kind, 0, &noise(seed, 100)).await;
        }
        // Sound of AAC without its packet type, more of it at once than any encoder has.
        for _ in 0..3000 {
            caller.send(stream, type_id::AUDIO, 0, &[0xaf]).await;
        }
        assert_ended(weir, caller.local(), "peer", "200 unreadable messages per second").await;
    })
    .await;
}

/// Everything that is let go after ten seconds, all at once so that the test waits for them only once.
#[tokio::test]
async fn handshakes_that_stop_or_take_too_long() {
    beside_a_stream("", async |weir| {
        let stops = [0, 1, 1536, 3072].map(async |count| {
            let mut raw = Raw::connect(weir.rtmp()).await;
            let hello = [&[3][..], &[0; 3072]].concat();
            assert!(raw.send(&hello[..count]).await);
            assert_ended_within(
                weir,
                raw.local(),
                "policy",
                "the handshake took longer",
                HANDSHAKE + SOON,
            )
            .await;
            raw.expect_close(SOON).await;
        });
        let trickle = async {
            let mut raw = Raw::connect(weir.rtmp()).await;
            let sent = raw.trickle(&[3; 1000], Duration::from_secs(1)).await;
            assert!((8..20).contains(&sent), "a byte a second kept it open for {sent} seconds");
            assert_ended(weir, raw.local(), "policy", "the handshake took longer").await;
        };
        let [a, b, c, d] = stops;
        tokio::join!(a, b, c, d, trickle);
    })
    .await;
}

/// Everything that is let go after half a minute, all at once.
#[tokio::test]
async fn who_neither_publishes_nor_plays_is_let_go() {
    const REASON: &str = "no publish or play within 30s";
    beside_a_stream("", async |weir| {
        let greeted = async {
            let raw = Raw::rtmp(weir.rtmp()).await;
            assert_ended_within(weir, raw.local(), "policy", REASON, IDLE + SOON).await;
        };
        let connected = async {
            let caller = Caller::connect(weir.rtmp(), "live").await;
            assert_ended_within(weir, caller.local(), "policy", REASON, IDLE + SOON).await;
        };
        let with_a_stream = async {
            let mut caller = Caller::connect(weir.rtmp(), "live").await;
            caller.create_stream().await;
            assert_ended_within(weir, caller.local(), "policy", REASON, IDLE + SOON).await;
        };
        let trickling = async {
            let mut raw = Raw::rtmp(weir.rtmp()).await;
            let sent = raw
                .trickle(
                    &[3, 0, 0, 0, 0, 0, 100, 20, 0, 0, 0, 0].repeat(100),
                    Duration::from_secs(1),
                )
                .await;
            assert!(sent < 50, "a byte a second kept it open for {sent} seconds");
            assert_ended(weir, raw.local(), "policy", REASON).await;
        };
        tokio::join!(greeted, connected, with_a_stream, trickling);
    })
    .await;
}

#[tokio::test]
async fn a_publisher_that_sends_a_byte_a_second() {
    beside_a_stream("publish: { idle_timeout: 2s }", async |weir| {
        let mut raw = publishing(weir, "slow").await.into_raw();
        let message = [4, 0, 0, 0, 0, 1, 0, type_id::VIDEO, 1, 0, 0, 0].to_vec();
        let sent = raw.trickle(&[message, vec![0x27; 256]].concat(), Duration::from_secs(1)).await;
        assert!(sent < 20, "a byte a second kept it open for {sent} seconds");
        assert_ended(weir, raw.local(), "policy", "publish.idle_timeout").await;
    })
    .await;
}

/// A connection that publishes `live/name`, on message stream 1.
async fn publishing(weir: &Weir, name: &str) -> Caller {
    let mut caller = Caller::connect(weir.rtmp(), "live").await;
    assert_eq!(caller.create_stream().await, 1);
    assert_eq!(caller.publish(1, name).await, "NetStream.Publish.Start");
    caller
}

/// The header of a message of the largest size, on message stream 1.
const HUGE: [u8; 12] = [4, 0, 0, 0, 0xff, 0xff, 0xff, type_id::VIDEO, 1, 0, 0, 0];

#[tokio::test]
async fn a_message_of_16_mb_from_somebody_who_does_not_publish() {
    beside_a_stream("", async |weir| {
        let mut caller = Caller::connect(weir.rtmp(), "live").await;
        caller.send_bytes(&HUGE).await;
        assert_ended(weir, caller.local(), "peer", "message of 16777215 bytes").await;
    })
    .await;
}

#[tokio::test]
async fn messages_of_16_mb_that_are_announced_and_never_sent() {
    const PUBLISHERS: usize = 20;
    const GROWTH_MAX: u64 = 8 << 20;
    beside_a_stream("publish: { idle_timeout: 2s }", async |weir| {
        let before = weir.rss_bytes();
        let mut publishers = Vec::new();
        for number in 0..PUBLISHERS {
            let mut caller = publishing(weir, &number.to_string()).await;
            assert!(caller.send_bytes(&[&HUGE[..], &[0; 100]].concat()).await);
            publishers.push(caller);
        }
        for caller in publishers {
            assert_ended(weir, caller.local(), "policy", "publish.idle_timeout").await;
        }
        let grown = weir.rss_bytes().saturating_sub(before);
        assert!(
            grown < GROWTH_MAX,
            "{PUBLISHERS} announcements of 16 MB took {grown} bytes: is memory taken before the data is there?"
        );
    })
    .await;
}

#[tokio::test]
async fn sixty_five_thousand_chunk_streams() {
    beside_a_stream("", async |weir| {
        let mut caller = Caller::connect(weir.rtmp(), "live").await;
        // Each begins a video message of one byte with the three-byte form of the chunk stream id.
        let begin = |csid: u16| {
            let [high, low] = csid.to_be_bytes();
            [1, low, high, 0, 0, 0, 0, 0, 1, type_id::VIDEO, 9, 0, 0, 0, 0]
        };
        caller.send_bytes(&(0..65_000).flat_map(begin).collect::<Vec<u8>>()).await;
        assert_ended(weir, caller.local(), "peer", "more than 16 chunk streams").await;
    })
    .await;
}

#[tokio::test]
async fn chunk_size_0() {
    beside_a_stream("", async |weir| {
        let mut caller = Caller::connect(weir.rtmp(), "live").await;
        caller.control(Control::SetChunkSize(0)).await;
        assert_ended(weir, caller.local(), "peer", "chunk size 0").await;
    })
    .await;
}

/// It asks for no acknowledgements, as far as anybody knows.
#[tokio::test]
async fn a_window_of_0_is_tolerated() {
    beside_a_stream("", async |weir| {
        let mut caller = publishing(weir, "window").await;
        caller.control(Control::WindowAckSize(0)).await;
        let mut source = Numbered::default();
        send(&mut caller, source.init()).await;
        send(&mut caller, source.next_tags()).await;

        let mut player = Caller::connect(weir.rtmp(), "live").await;
        player.create_stream().await;
        player.control(Control::WindowAckSize(0)).await;
        assert_eq!(player.play(1, "window").await, "NetStream.Play.Start");
        let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/window")).await;
        viewer.until_picture(0).await;
        send(&mut caller, (0..50).flat_map(|_| source.next_tags())).await;
        viewer.until_picture(50).await;
        assert_eq!(player.media().await.1.kind, TagKind::Script, "metadata comes first");
    })
    .await;
}

/// Sends messages on message stream 1.
async fn send(caller: &mut Caller, tags: impl IntoIterator<Item = Tag>) {
    for tag in tags {
        caller.send(1, tag.kind.type_id(), tag.timestamp, &tag.body).await;
    }
}

/// A string value of AMF0.
fn amf_string(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("tests write short strings");
    [&[2][..], &length.to_be_bytes(), text].concat()
}

/// Bodies that AMF0 cannot have, or that cost more to read than to send, and the words that name what is wrong.
fn hostile_values() -> [(&'static str, Vec<u8>, &'static str); 4] {
    // An object whose only property has an empty name and such an object as its value.
    let nested = b"\x03\x00\x00".repeat(20_000);
    [
        ("20,000 objects inside each other", nested, "nest"),
        ("a strict array of 2^32 - 1 values", b"\x0a\xff\xff\xff\xff\x05\x05".to_vec(), "AMF0"),
        (
            "an ECMA array of 2^32 - 1 properties",
            b"\x08\xff\xff\xff\xff\0\x01a\x05".to_vec(),
            "AMF0",
        ),
        ("a string of 4 GiB", b"\x0c\xff\xff\xff\xffa".to_vec(), "AMF0"),
    ]
}

#[tokio::test]
async fn hostile_amf0_in_commands() {
    const GROWTH_MAX: u64 = 16 << 20;
    beside_a_stream("", async |weir| {
        let before = weir.rss_bytes();
        for (what, value, reason) in hostile_values() {
            let mut caller = Caller::greet(weir.rtmp()).await;
            let body = [amf_string(b"connect"), b"\0\0\0\0\0\0\0\0\0".to_vec(), value].concat();
            caller.send(0, type_id::COMMAND, 0, &body).await;
            assert_ended(weir, caller.local(), "peer", reason).await;
            let grown = weir.rss_bytes().saturating_sub(before);
            assert!(grown < GROWTH_MAX, "{what} took {grown} bytes");
        }
    })
    .await;
}

/// Metadata is not needed to play: what cannot be read is passed on or left out, and the pictures come.
#[tokio::test]
async fn hostile_amf0_in_metadata_is_tolerated() {
    beside_a_stream("", async |weir| {
        let foreign = ("a string that is not UTF-8", amf_string(b"\xff\xfe\xc3\x28"), "");
        for (number, (what, value, _)) in (0..).zip(hostile_values().into_iter().chain([foreign])) {
            let name = format!("metadata-{number}");
            let mut caller = publishing(weir, &name).await;
            let mut source = Numbered::default();
            let body = [amf_string(b"@setDataFrame"), amf_string(b"onMetaData"), value].concat();
            caller.send(1, type_id::DATA, 0, &body).await;
            send(&mut caller, source.init()).await;
            caller.send(1, type_id::DATA, 0, &body).await;
            send(&mut caller, source.next_tags()).await;
            for mut viewer in [
                Viewer::rtmp(&weir.rtmp_url(&format!("live/{name}"))).await,
                Viewer::http_flv(weir.http(), &format!("live/{name}.flv")).await,
            ] {
                viewer.until_picture(0).await;
                println!("{what}: {:?}", viewer.numbers());
            }
        }
    })
    .await;
}

#[tokio::test]
async fn commands_before_connect() {
    beside_a_stream("", async |weir| {
        for command in ["publish", "play", "createStream", "deleteStream"] {
            let mut caller = Caller::greet(weir.rtmp()).await;
            caller.call(1, command, Value::Null, vec!["a".into()]).await;
            assert_ended(
                weir,
                caller.local(),
                "peer",
                &format!("command {command:?} before connect"),
            )
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn stream_names_that_are_none() {
    let long = "x".repeat(10 * 1024);
    let names = [
        ("live", "..", "forbidden component"),
        ("live", "a\0b", "forbidden character"),
        ("live", "a\\b", "forbidden character"),
        ("live", &long, "too long"),
        ("live/../../etc", "passwd", "forbidden component"),
        ("live", "../../etc/passwd", "forbidden component"),
    ];
    beside_a_stream("", async |weir| {
        for (app, name, reason) in names {
            let mut caller = Caller::connect(weir.rtmp(), app).await;
            let stream = caller.create_stream().await;
            assert_eq!(
                caller.publish(stream, name).await,
                "NetStream.Publish.BadName",
                "{app} {name:.20}"
            );
            assert_ended(weir, caller.local(), "peer", reason).await;
            let mut caller = Caller::connect(weir.rtmp(), app).await;
            let stream = caller.create_stream().await;
            let code = caller.play(stream, name).await;
            assert!(
                ["NetStream.Play.Failed", "NetStream.Play.StreamNotFound"].contains(&code.as_str()),
                "{app} {name:.20}: {code}"
            );
            assert_ended(weir, caller.local(), "peer", reason).await;
        }
    })
    .await;
}

/// Where an encoder that has run for hours or weeks is when it reconnects.
#[tokio::test]
async fn published_timestamps_across_the_24_and_the_32_bit_limit() {
    beside_a_stream("", async |weir| {
        for start in [0x00ff_ffff - 1000, u32::MAX - 1000] {
            let name = format!("live/from-{start}");
            let mut publisher =
                Publisher::start(&weir.rtmp_url(&name), Numbered::default().starting_at(start))
                    .await;
            publisher.pictures(1).await;
            let mut viewers = [
                Viewer::rtmp(&weir.rtmp_url(&name)).await,
                Viewer::http_flv(weir.http(), &format!("{name}.flv")).await,
            ];
            for viewer in &mut viewers {
                viewer.until_picture(0).await;
            }
            publisher.pictures(100).await;
            for viewer in &mut viewers {
                let mut pictures = Vec::new();
                while pictures.len() < 100 {
                    let tag = viewer.next().await.expect("the stream goes on");
                    if tag.kind == TagKind::Video && tag.body[1] == 1 {
                        pictures.push(tag.timestamp);
                    }
                }
                let steps: Vec<_> = pictures.windows(2).map(|pair| pair[1] - pair[0]).collect();
                assert_eq!(steps, [40; 99], "published from {start}");
            }
        }
    })
    .await;
}

/// The server moves every stream to the beginning of its timeline, so what viewers get crosses the limit only after
/// hours. Here the pictures are nine seconds apart, which is not taken for a jump.
#[tokio::test]
async fn played_timestamps_across_the_24_bit_limit() {
    const STEP: u32 = 9_000;
    const PICTURES: u32 = 0x00ff_ffff / STEP + 50;
    beside_a_stream("hls: { enabled: false }", async |weir| {
        let name = "live/hours";
        let mut publisher = Publisher::start(&weir.rtmp_url(name), Numbered::default()).await;
        publisher.pictures(1).await;
        let mut viewers = [
            Viewer::rtmp(&weir.rtmp_url(name)).await,
            Viewer::http_flv(weir.http(), &format!("{name}.flv")).await,
        ];
        let mut source = publisher.source();
        let mut timestamp = 0;
        for _ in 0..PICTURES {
            timestamp += STEP;
            for tag in source.next_tags() {
                publisher.send(&Tag { timestamp, ..tag }).await;
            }
        }
        for viewer in &mut viewers {
            let mut last = 0;
            while viewer.numbers().newest_picture() != Some(PICTURES.into()) {
                last = viewer.next().await.expect("the stream goes on").timestamp;
            }
            assert_eq!(last, timestamp, "the last picture's time");
        }
    })
    .await;
}

#[tokio::test]
async fn viewers_that_never_read() {
    const GROWTH_MAX: u64 = 48 << 20;
    let config =
        "play: { stall_timeout: 1s }\nlimits: { stream_memory: 4MiB }\nhls: { enabled: false }";
    beside_a_stream(config, async |weir| {
        let url = weir.rtmp_url("live/large");
        let mut publisher =
            Publisher::start(&url, Numbered::default().with_picture_bytes(50_000)).await;
        publisher.pictures(1).await;
        let mut good = Viewer::rtmp(&url).await;
        let mut ends = Vec::new();
        for wants_audio in [true, false] {
            let mut dead = Caller::on(Raw::narrow(weir.rtmp()).await.greet().await);
            dead.connect_to("live").await;
            dead.create_stream().await;
            assert_eq!(dead.play(1, "large").await, "NetStream.Play.Start");
            if !wants_audio {
                dead.call(1, "receiveAudio", Value::Null, vec![false.into()]).await;
            }
            ends.push(dead);
        }
        let before = weir.rss_bytes();
        let mut most = before;
        let ended = async {
            for dead in &ends {
                assert_ended(weir, dead.local(), "policy", "took no data for 1s").await;
            }
        };
        let publishing = async {
            loop {
                let number = publisher.pictures(5).await;
                good.until_picture(number).await;
                most = most.max(weir.rss_bytes());
            }
        };
        tokio::select! {
            () = publishing => {}
            () = ended => {}
        }
        let sent = good.numbers().newest_picture().unwrap_or_default() * 50_000;
        assert!(sent > GROWTH_MAX, "only {sent} bytes were sent: that proves nothing about memory");
        assert!(
            most - before < GROWTH_MAX,
            "{} bytes more than before, while {sent} were sent",
            most - before
        );
    })
    .await;
}

/// Calls whose answers nobody reads: they are too many before the answers that wait are. The other end is a unit test
/// of the viewer.
#[tokio::test]
async fn a_viewer_that_asks_and_never_reads() {
    const GROWTH_MAX: u64 = 16 << 20;
    beside_a_stream("", async |weir| {
        let mut viewer = Caller::on(Raw::narrow(weir.rtmp()).await.greet().await);
        viewer.connect_to("live").await;
        viewer.create_stream().await;
        assert_eq!(viewer.play(1, "witness").await, "NetStream.Play.Start");
        let (before, local) = (weir.rss_bytes(), viewer.local());
        let asking = async {
            loop {
                viewer.call(0, "makeUp", Value::Null, vec![]).await;
            }
        };
        tokio::select! {
            () = asking => {}
            () = assert_ended(weir, local, "peer", "more than 10 commands per second") => {}
        }
        let grown = weir.rss_bytes().saturating_sub(before);
        assert!(grown < GROWTH_MAX, "answers that nobody reads took {grown} bytes");
    })
    .await;
}
