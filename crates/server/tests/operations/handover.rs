//! An upgrade on one machine, without a balancer: `weir serve --replace` takes the listeners over.

use std::{
    io::{BufRead as _, BufReader, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::time::timeout;
use weir_testkit::{
    Weir,
    cluster::{Cluster, Ports},
    eventually, http,
    peer::Publisher,
    process::Process,
    raw::Raw,
    roaming::{Roaming, RoamingEncoder},
};

use crate::{
    BINARY, DRAIN, DRAIN_MAX, GAP_MAX, GROUP, NO_HLS, PICTURE, SOON, assert_no_gap, assert_smooth,
    assert_taken, come, edge, encoders, go_on, origin::watch_hls, report, source,
};

const VIEWERS: usize = 90;

/// What it takes to be replaced.
const HANDOVER: &str = "handover: { socket: weir.sock }\n";

/// Lets a new process take over from `weir`, and waits until the old one has ended, in good order; how long it took
/// for that.
fn replace(weir: &mut Weir) -> Duration {
    tokio::task::block_in_place(|| {
        let start = Instant::now();
        let mut old: Process = weir.replace();
        old.wait_success(DRAIN_MAX);
        start.elapsed()
    })
}

/// Encoders of all streams and viewers, at one server.
async fn begin(weir: &Weir) -> (Roaming, Vec<RoamingEncoder>) {
    let encoders = encoders(|_| weir.rtmp(), true).await;
    let mut roaming = Roaming::new();
    come(&mut roaming, VIEWERS, [weir.rtmp(), weir.http()], Duration::from_secs(2));
    go_on(&roaming, &encoders, 20).await;
    (roaming, encoders)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_is_replaced_and_refuses_nobody() {
    let cluster = Cluster::new(BINARY);
    let origin = cluster.origin(1, NO_HLS);
    let (address, ports) = ([origin.rtmp().to_string()], Ports::free());
    let config = format!("{DRAIN}{HANDOVER}");
    let mut edge = edge(&cluster, &address, "", &config, &ports).start();
    let (mut roaming, encoders) = begin(&edge).await;
    for turn in 1..=2 {
        // Some come just then.
        let now = [edge.rtmp(), edge.http()];
        come(&mut roaming, VIEWERS / 3, now, Duration::from_millis(500));
        let time = replace(&mut edge);
        go_on(&roaming, &encoders, 20).await;
        eprintln!("turn {turn}: the old edge ended {:.1} s later", time.as_secs_f64());
    }
    report("an edge replaced twice", &roaming, &encoders);
    assert_smooth(&roaming);
    assert_no_gap(&roaming);
    assert_taken(&encoders);
    roaming.assert_all("one move each time", |journey| journey.moves() <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_is_replaced_and_disconnects_nobody_at_the_edges() {
    let cluster = Cluster::new(BINARY);
    let config = format!("hls: {{ segment: 1s }}\n{DRAIN}{HANDOVER}");
    let mut origin = cluster.origin(1, &config);
    let (address, ports) = ([origin.rtmp().to_string()], Ports::free());
    let edge = edge(&cluster, &address, "", DRAIN, &ports).start();
    let (there, encoders) = begin(&edge).await;
    // Some are at the origin itself.
    let mut here = Roaming::new();
    come(&mut here, VIEWERS / 3, [origin.rtmp(), origin.http()], Duration::from_secs(1));
    go_on(&here, &encoders, 20).await;
    let hls = watch_hls(&origin).await;
    hls.grows(2).await;

    let time = replace(&mut origin);
    go_on(&there, &encoders, 20).await;
    go_on(&here, &encoders, 20).await;
    hls.grows(3).await;

    eprintln!("the old origin ended {:.1} s later", time.as_secs_f64());
    report("an origin replaced: viewers at the edge", &there, &encoders);
    report("an origin replaced: viewers at the origin", &here, &[]);
    eprintln!("{}", hls.assert_alive());
    for roaming in [&there, &here] {
        assert_smooth(roaming);
        assert_no_gap(roaming);
    }
    there.assert_all("nobody at the edge is disconnected", |journey| journey.moves() == 0);
    here.assert_all("one move", |journey| journey.moves() <= 1);
    let stayed = encoders.iter().all(|encoder| encoder.voyage().departures.is_empty());
    assert!(stayed, "no encoder at the edge is disconnected");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_forwards_is_replaced_and_viewers_at_the_target_go_on() {
    let cluster = Cluster::new(BINARY);
    let target = cluster.origin(2, NO_HLS);
    let forward = format!("forward: [{{ streams: '*', to: '{}' }}]\n", target.rtmp());
    let mut origin = cluster.origin(1, &format!("{NO_HLS}{DRAIN}{HANDOVER}{forward}"));
    let encoders = encoders(|_| origin.rtmp(), true).await;
    let mut roaming = Roaming::new();
    come(&mut roaming, VIEWERS / 3, [target.rtmp(), target.http()], Duration::from_secs(1));
    go_on(&roaming, &encoders, 20).await;
    replace(&mut origin);
    go_on(&roaming, &encoders, 20).await;
    report("an origin that forwards replaced: viewers at the target", &roaming, &encoders);
    assert_smooth(&roaming);
    assert_taken(&encoders);
    roaming.assert_all("nobody at the target is disconnected", |journey| journey.moves() == 0);
    // A connection to the target begins with the next group.
    let longest = GAP_MAX + PICTURE * u32::try_from(GROUP).unwrap_or_default();
    roaming.assert_all("no gap is longer", |journey| journey.longest_gap <= longest);
}

/// How far a new process comes before it dies.
#[derive(Clone, Copy, Debug)]
enum Point {
    Connected,
    HasListeners,
    IsReady,
    MayAccept,
    Served,
    TookOver,
}

/// Plays a new process up to `point`, and dies.
fn die_at(point: Point, socket: &Path) {
    let mut stream = UnixStream::connect(socket).expect("the old process is there");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let mut say = |words: &str, hears: bool| {
        writeln!(stream, "{words}").expect("heard");
        let mut line = String::new();
        if hears {
            // Listeners that come with a line are closed with it.
            BufReader::new(&stream).read_line(&mut line).expect("an answer");
        }
        line.trim_end().to_owned()
    };
    let steps = [
        ("weir handover 2", "[", Point::HasListeners),
        ("ready", "go", Point::MayAccept),
        ("served", "bye", Point::TookOver),
    ];
    for (words, expected, then) in steps {
        match (point, then) {
            (Point::Connected, Point::HasListeners) => return,
            (Point::IsReady, Point::MayAccept) | (Point::Served, Point::TookOver) => {
                say(words, false);
                return;
            }
            _ => {}
        }
        let heard = say(words, true);
        assert!(heard.starts_with(expected), "{words}: {heard}");
        if point as u8 == then as u8 {
            return;
        }
    }
}

/// Plays a new process that hangs once it may accept: it has all listeners, and does nothing with them.
fn hang(socket: &Path) -> (UnixStream, Vec<OwnedFd>) {
    let mut stream = UnixStream::connect(socket).expect("the old process is there");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(b"weir handover 2\n").expect("heard");
    let mut listeners = Vec::new();
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 4096];
        let mut into = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&stream, &mut into, &mut beside, RecvFlags::CMSG_CLOEXEC);
        let received = received.expect("an answer").bytes;
        assert!(received > 0, "the listeners are handed over");
        line.extend_from_slice(&bytes[..received]);
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(sockets) = message {
                listeners.extend(sockets);
            }
        }
    }
    stream.write_all(b"ready\n").expect("heard");
    let mut go = [0; 3];
    stream.read_exact(&mut go).expect("an answer");
    assert_eq!(&go, b"go\n");
    assert_eq!(listeners.len(), 3, "RTMP, HTTP and the API");
    (stream, listeners)
}

/// Requires that `weir` serves at all its ports: soon, and for good.
async fn assert_serves(weir: &Weir, what: &str) {
    let serves = async || {
        for _ in 0..10 {
            let greeted = timeout(SOON, Raw::rtmp(weir.rtmp())).await;
            assert!(greeted.is_ok(), "{what}: RTMP is not served");
            for (address, path) in [(weir.http(), "player"), (weir.api(), "healthz")] {
                let answer = timeout(SOON, http::get(address, path)).await;
                assert_eq!(answer.expect(what).status, 200, "{what}: {path}");
            }
        }
    };
    serves().await;
    eventually("the process to be ready", SOON, async || {
        (http::get(weir.api(), "readyz").await.status == 200).then_some(())
    })
    .await;
    serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_dies_at_any_point_leaves_the_old_one_serving() {
    let mut weir = Weir::builder(BINARY).config(&format!("{NO_HLS}{DRAIN}{HANDOVER}")).start();
    // Somebody who stays: the old one has to drain once it is replaced.
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source()).await;
    publisher.pictures(1).await;
    let socket = weir.dir().join("weir.sock");
    for point in [
        Point::Connected,
        Point::HasListeners,
        Point::IsReady,
        Point::MayAccept,
        Point::Served,
        Point::TookOver,
    ] {
        tokio::task::block_in_place(|| die_at(point, &socket));
        assert_serves(&weir, &format!("{point:?}")).await;
    }
    // And it can be replaced as ever.
    replace(&mut weir);
    assert_serves(&weir, "replaced").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_is_killed_leaves_somebody_serving() {
    let mut weir = Weir::builder(BINARY).config(&format!("{NO_HLS}{DRAIN}{HANDOVER}")).start();
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source()).await;
    publisher.pictures(1).await;
    // What a new process says one after the other, on its way to the listeners and after that.
    for words in ["listeners taken over", "ready to take over", "session ended"] {
        let mut next = weir.begin_replacement();
        tokio::task::block_in_place(|| {
            let reached = next.stderr().find(SOON, |line| line.contains(words).then_some(()));
            assert!(reached.is_some(), "{words}");
            next.kill();
        });
        assert_serves(&weir, words).await;
    }
    let mut next = weir.begin_replacement();
    tokio::task::block_in_place(|| {
        let listens = |line: &str| line.starts_with("listening api").then_some(());
        assert!(next.stdout().find(SOON, listens).is_some());
        next.kill();
    });
    assert_serves(&weir, "killed while the old one drains").await;
    replace(&mut weir);
    assert_serves(&weir, "replaced").await;
    // A chain: the process that was replaced first may still be there.
    replace(&mut weir);
    assert_serves(&weir, "replaced again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_hangs_once_it_may_accept_is_given_up() {
    let mut weir = Weir::builder(BINARY).config(&format!("{NO_HLS}{DRAIN}{HANDOVER}")).start();
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source()).await;
    publisher.pictures(1).await;
    let socket = weir.dir().join("weir.sock");
    let (mut stream, listeners) = tokio::task::block_in_place(|| hang(&socket));
    // Those who come meanwhile wait in the queue, which both processes have, and are let in by the old one.
    assert_serves(&weir, "the new one hangs").await;
    // Should it awake, it finds that the old one goes on.
    let heard = tokio::task::block_in_place(|| stream.read(&mut [0]));
    assert_eq!(heard.expect("closed"), 0, "nothing is said to it any more");
    // Another one can come, though the listeners are open there too.
    replace(&mut weir);
    assert_serves(&weir, "replaced").await;
    drop(listeners);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_drains_can_be_replaced() {
    let config = format!("{NO_HLS}drain: {{ notice: 5s, timeout: 20s }}\n{HANDOVER}");
    for during_notice in [true, false] {
        let mut weir =
            Weir::builder(BINARY).config(&config).at(Cluster::ip(1), &Ports::free()).start();
        let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source()).await;
        publisher.pictures(1).await;
        weir.terminate();
        let (words, log) =
            (if during_notice { "drain began" } else { "no new clients" }, weir.log());
        let began = tokio::task::block_in_place(|| {
            log.find(SOON, |line| line.contains(words).then_some(()))
        });
        assert!(began.is_some(), "{words}");
        let mut old = tokio::task::block_in_place(|| weir.replace());
        assert_serves(&weir, words).await;
        tokio::task::block_in_place(|| old.wait_success(SOON));
        assert_serves(&weir, "alone").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_moves_to_the_port_of_streams_and_back() {
    let ports = Ports::free();
    let at = |port: u16| format!("\"127.0.0.1:{port}\"");
    let config = |api: u16| {
        format!(
            "{NO_HLS}{DRAIN}{HANDOVER}rtmp: {{ listen: [{}] }}\nhttp: {{ listen: [{}] }}\napi: {{ listen: [{}] }}\n",
            at(ports.rtmp),
            at(ports.http),
            at(api)
        )
    };
    let mut weir = Weir::builder(BINARY).config(&config(ports.api)).start();
    // The last one has the port of streams for its API alone.
    for (turn, (http, api)) in [
        (ports.http, ports.http),
        (ports.http, ports.api),
        (ports.http, ports.http),
        (ports.api, ports.http),
    ]
    .into_iter()
    .enumerate()
    {
        let text = config(api);
        weir.write_config(&match http == ports.http {
            true => text,
            false => text.replacen(&at(ports.http), &at(http), 1),
        });
        replace(&mut weir);
        assert_eq!((weir.http().port(), weir.api().port()), (http, api), "turn {turn}");
        assert_serves(&weir, &format!("turn {turn}")).await;
    }
}
