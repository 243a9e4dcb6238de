//! Streams that move: their owner dies, their encoder returns through another edge, their origin is replaced, one
//! origin becomes three. What it costs their viewers is measured.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use weir_testkit::{
    Weir,
    cluster::{Cluster, Ports},
    crowd::{Crowd, Protocol},
    dns::Dns,
    eventually, http,
    netns::{Host, alone},
    peer::{Encoder, Numbered, Publisher},
    relay::Relay,
};

use crate::{BINARY, NO_HLS, SOON, cluster, encoder, live_streams, until_live};

/// The name of all origins.
const NAME: &str = "origins.test";

/// For media at everybody again after the owner of a stream among several has gone, or after a stream has moved. All of
/// it is one connect that nobody answers (1 s), and questions that are answered at once.
const MOVE_MAX: Duration = Duration::from_secs(2);

/// From an origin that can be reached to media at every viewer: a connect that nobody answers (1 s), and half a second
/// for a machine that has other things to do.
const BACK_MAX: Duration = Duration::from_millis(1500);

/// How long an origin may be silent in these tests.
const DEAD_AFTER: Duration = Duration::from_secs(2);

const PROTOCOLS: [&str; 2] = ["rtmp", "flv"];

const STREAMS: [&str; 6] = ["live/a", "live/b", "live/c", "live/d", "live/e", "live/f"];

/// Three origins on hosts of their own, three edges, and streams that come through the first edge and are watched at
/// all of them.
struct Three {
    hosts: Vec<Host>,
    origins: Vec<Weir>,
    encoders: Vec<Encoder>,
    crowd: Crowd,
    edges: Vec<Weir>,
}

impl Three {
    /// With these keys at the edges, and those that there are by default.
    async fn begin(keys: &str) -> Self {
        let hosts: Vec<_> = (1..=3).map(Host::new).collect();
        let ports = Ports::fixed(1935, 8080, 1985);
        let start = |host: &Host| {
            Weir::builder(BINARY).config(NO_HLS).at(host.ip(), &ports).on(host).start()
        };
        let origins: Vec<_> = hosts.iter().map(start).collect();
        let addresses: Vec<_> = origins.iter().map(|origin| origin.rtmp().to_string()).collect();
        let cluster = cluster();
        let edge = |protocol: &str| {
            let keys = format!("{keys}protocol: {protocol}");
            cluster.edge_to(&addresses, ports.http, &keys, NO_HLS).start()
        };
        // The second and the third see the streams only as the origins have them.
        let edges: Vec<_> = ["rtmp", "rtmp", "flv"].into_iter().map(edge).collect();
        let (mut encoders, mut crowd) = (Vec::new(), Crowd::new());
        for stream in STREAMS {
            encoders.push(encoder(&edges[0], stream).await);
            edges.iter().for_each(|edge| crowd.join(edge, stream, 2, Duration::ZERO));
        }
        // Longer than a connection must last to be a good one.
        crowd.until_picture(150, SOON).await;
        Self { hosts, origins, encoders, crowd, edges }
    }

    /// The number of an origin that has streams.
    async fn owner(&self) -> usize {
        for (number, origin) in self.origins.iter().enumerate() {
            if !live_streams(origin).await.is_empty() {
                return number;
            }
        }
        panic!("no origin has a stream")
    }

    async fn assert_moved(&self, since: Instant, bound: Duration) {
        let what = "media from the other origins";
        self.crowd.until(what, SOON, |seen| seen.resumed.is_some()).await;
        let newest = self.encoders.iter().map(Encoder::next_number).max().unwrap_or_default();
        self.crowd.until_picture(newest + 50, SOON).await;
        self.crowd.assert_undisturbed();
        self.encoders.iter().for_each(Encoder::assert_connected);
        let gap = self.crowd.longest_gap();
        eprintln!("the longest gap: {gap:?}, all moved after {:?}", since.elapsed());
        assert!(gap <= bound, "somebody saw nothing new for {gap:?}, more than {bound:?}");
        assert_eq!(self.edges.len(), 3);
    }
}

/// Killed with its host: what is sent there is swallowed, and nobody says so.
#[tokio::test(flavor = "multi_thread")]
async fn the_owner_among_three_is_killed() {
    if !alone("moves::the_owner_among_three_is_killed") {
        return;
    }
    let mut three = Three::begin("").await;
    let owner = three.owner().await;
    three.crowd.mark();
    let since = Instant::now();
    three.hosts[owner].blackhole();
    three.origins[owner].kill();
    three.assert_moved(since, MOVE_MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_among_three_freezes() {
    if !alone("moves::the_owner_among_three_freezes") {
        return;
    }
    let three = Three::begin("dead_after: 2s, ").await;
    let owner = three.owner().await;
    three.crowd.mark();
    let since = Instant::now();
    three.origins[owner].freeze();
    three.assert_moved(since, DEAD_AFTER + MOVE_MAX).await;
    three.origins[owner].thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_among_three_is_cut_off() {
    if !alone("moves::the_owner_among_three_is_cut_off") {
        return;
    }
    let three = Three::begin("dead_after: 2s, ").await;
    let owner = three.owner().await;
    three.crowd.mark();
    let since = Instant::now();
    three.hosts[owner].cut();
    three.assert_moved(since, DEAD_AFTER + MOVE_MAX).await;
}

/// An origin that goes while its host swallows what is sent to it, as a node does that has lost a pod, and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_connect_that_nobody_answers_holds_nobody_up() {
    if !alone("moves::a_connect_that_nobody_answers_holds_nobody_up") {
        return;
    }
    let host = Host::new(1);
    let ports = Ports::fixed(1935, 8080, 1985);
    let mut origin = Weir::builder(BINARY).config(NO_HLS).at(host.ip(), &ports).on(&host).start();
    let cluster = cluster();
    let address = [origin.rtmp().to_string()];
    let edges = PROTOCOLS.map(|protocol| {
        // `edge.dead_after` as it is by default: a connect has a time of its own.
        cluster.edge_to(&address, ports.http, &format!("protocol: {protocol}"), NO_HLS).start()
    });
    let encoder = encoder(&edges[0], "live/a").await;
    let mut crowd = Crowd::new();
    edges.iter().for_each(|edge| crowd.join(edge, "live/a", 4, Duration::ZERO));
    crowd.until_picture(150, SOON).await;
    for _ in 0..2 {
        host.blackhole();
        origin.kill();
        // Connects are on their way that go nowhere.
        tokio::time::sleep(Duration::from_millis(3200)).await;
        origin.restart();
        crowd.mark();
        host.reach();
        let since = Instant::now();
        crowd.until("media again", SOON, |seen| seen.resumed.is_some()).await;
        let back = crowd.slowest_since(since);
        eprintln!("media after {back:?}");
        assert!(back <= BACK_MAX, "the last viewer had media {back:?} after the origin was there");
        crowd.until_picture(encoder.next_number() + 25, SOON).await;
        crowd.assert_undisturbed();
        encoder.assert_connected();
    }
}

/// The name stands for another address from one moment to the next, and the old one swallows everything.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_is_replaced_by_one_at_another_address() {
    if !alone("moves::an_origin_is_replaced_by_one_at_another_address") {
        return;
    }
    let hosts: Vec<_> = (1..=2).map(Host::new).collect();
    let ports = Ports::fixed(1935, 8080, 1985);
    let start =
        |host: &Host| Weir::builder(BINARY).config(NO_HLS).at(host.ip(), &ports).on(host).start();
    let mut old = start(&hosts[0]);
    let (cluster, dns) = (cluster(), Dns::start().await);
    dns.set(NAME, vec![hosts[0].ip().into()]);
    let edges = PROTOCOLS.map(|protocol| {
        let keys = format!("protocol: {protocol}, resolvers: [\"{}\"]", dns.address());
        cluster.edge_to(&[format!("{NAME}:1935")], ports.http, &keys, NO_HLS).start()
    });
    let encoder = encoder(&edges[0], "live/a").await;
    let mut crowd = Crowd::new();
    edges.iter().for_each(|edge| crowd.join(edge, "live/a", 4, Duration::ZERO));
    crowd.until_picture(150, SOON).await;
    hosts[0].blackhole();
    old.kill();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let _new = start(&hosts[1]);
    crowd.mark();
    dns.set(NAME, vec![hosts[1].ip().into()]);
    let since = Instant::now();
    crowd.until("media from the new one", SOON, |seen| seen.resumed.is_some()).await;
    let back = crowd.slowest_since(since);
    eprintln!("media after {back:?}");
    // A name that is asked for every second, and what every return may take.
    let bound = Duration::from_secs(1) + BACK_MAX;
    assert!(back <= bound, "the last viewer had media {back:?} after the name had led there");
    crowd.assert_undisturbed();
    encoder.assert_connected();
}

/// Waits until the API of `weir` says that `stream` has no publisher.
async fn until_left(weir: &Weir, stream: &str) {
    let url = format!("/{stream}");
    eventually("its encoder has left", SOON, async || {
        (!live_streams(weir).await.contains(&url)).then_some(())
    })
    .await;
}

/// While a stream lingers at the edge that its encoder has left, the encoder returns through another edge.
#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_returns_through_another_edge() {
    for protocol in PROTOCOLS {
        let cluster = cluster();
        let _origin = cluster.origin(1, "hls: { segment: 1s }\n");
        let keys = format!("protocol: {protocol}");
        let edges = [(); 2].map(|()| cluster.edge(&["127.0.0.1"], &keys, ""));
        let mut publisher =
            Publisher::start(&edges[0].rtmp_url("live/a"), Numbered::default()).await;
        publisher.pictures(60).await;
        for turn in 1..5 {
            let (left, to) = (&edges[(turn + 1) % 2], &edges[turn % 2]);
            // Some stay, others come only when it is over.
            let mut stayers = Crowd::new();
            if turn > 2 {
                stayers.join(left, "live/a", 4, Duration::ZERO);
                let newest = publisher.pictures(30).await;
                stayers.until_picture(newest, SOON).await;
            }
            let source = publisher.source();
            if turn % 2 == 0 {
                drop(publisher);
            } else {
                publisher.stop().await;
            }
            until_left(left, "live/a").await;
            let url = to.rtmp_url("live/a");
            let next = source.next_number();
            let returned = Encoder::start(&url, source, crate::PICTURE).await;
            let since = Instant::now();
            let mut newcomers = Crowd::new();
            newcomers.join(left, "live/a", 4, Duration::ZERO);
            newcomers.until_picture(next + 1, SOON).await;
            let first = since.elapsed();
            newcomers.until_picture(next + 60, SOON).await;
            newcomers.assert_undisturbed();
            stayers.until_picture(next + 60, SOON).await;
            stayers.assert_undisturbed();
            eprintln!("{protocol}, turn {turn}: pictures of the returned encoder after {first:?}");
            assert!(first <= MOVE_MAX, "what the encoder sends was seen after {first:?}");
            let playlist = http::get(left.http(), "live/a.m3u8").await;
            assert_eq!(playlist.status, 200, "HLS of it at the edge that it left");
            let next = returned.next_number() + 10;
            drop(returned);
            until_left(to, "live/a").await;
            let mut source = Numbered::default();
            source.skip_to(next + 100);
            publisher = Publisher::start(&url, source).await;
            publisher.pictures(30).await;
        }
    }
}

/// An encoder comes to an edge that is looking for its stream, which it had pulled.
#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_returns_through_an_edge_that_looks_for_its_stream() {
    let cluster = cluster();
    let mut origin = cluster.origin(1, NO_HLS);
    let edge = cluster.edge(&["127.0.0.1"], "", NO_HLS);
    let first = encoder(&origin, "live/a").await;
    let mut crowd = Crowd::new();
    crowd.join(&edge, "live/a", 4, Duration::ZERO);
    crowd.until_picture(30, SOON).await;
    let mut source = Numbered::default();
    source.skip_to(first.next_number() + 100);
    origin.kill();
    drop(first);
    origin.restart();
    let next = source.next_number();
    let returned = Encoder::start(&edge.rtmp_url("live/a"), source, crate::PICTURE).await;
    // Through several attempts of a pull that would take the stream over.
    crowd.until_picture(next + 100, SOON).await;
    crowd.assert_undisturbed();
    returned.assert_connected();
    assert_eq!(origin.sessions("play", "/live/a").open(), 0, "nobody pulls what is published here");
}

/// Waits until streams are at none but these of the `origins`.
async fn until_only_at(origins: &[&Weir], others: &[&Weir]) {
    eventually("every stream has moved", SOON, async || {
        let (mut here, mut elsewhere) = (0, 0);
        for origin in origins {
            here += live_streams(origin).await.len();
        }
        for origin in others {
            elsewhere += live_streams(origin).await.len();
        }
        (here == STREAMS.len() && elsewhere == 0).then_some(())
    })
    .await;
}

/// From one origin to three behind the same name, and back, as the guide to Kubernetes says.
#[tokio::test(flavor = "multi_thread")]
async fn one_origin_becomes_three_and_one_again() {
    const DRAIN: &str = "drain: { notice: 1s, timeout: 20s }\n";
    let (cluster, dns) = (cluster(), Dns::start().await);
    let config = format!("{NO_HLS}{DRAIN}");
    let origin = |number: u8| cluster.origin(number, &config);
    let ips = |numbers: &[u8]| -> Vec<IpAddr> { numbers.iter().map(|n| Cluster::ip(*n)).collect() };
    let mut one = origin(1);
    dns.set(NAME, ips(&[1]));
    let edges = PROTOCOLS.map(|protocol| {
        let keys = format!("protocol: {protocol}, resolvers: [\"{}\"]", dns.address());
        cluster.edge(&[NAME], &keys, NO_HLS)
    });
    let (mut encoders, mut crowd) = (Vec::new(), Crowd::new());
    for (number, stream) in STREAMS.into_iter().enumerate() {
        encoders.push(encoder(&edges[number % 2], stream).await);
        edges.iter().for_each(|edge| crowd.join(edge, stream, 2, Duration::ZERO));
    }
    crowd.until_picture(150, SOON).await;
    crowd.mark();

    let three = [2, 3, 4].map(origin);
    dns.set(NAME, ips(&[1, 2, 3, 4]));
    // Newcomers, before and after the edges have heard of it.
    crowd.join(&edges[0], STREAMS[0], 2, Duration::from_secs(1));
    dns.asked(dns.questions() + 8).await;
    one.terminate();
    until_only_at(&three.each_ref(), &[]).await;
    one.wait_exit(SOON);
    dns.set(NAME, ips(&[2, 3, 4]));
    let newest = |encoders: &[Encoder]| encoders.iter().map(Encoder::next_number).max();
    crowd.until_picture(newest(&encoders).unwrap_or_default() + 100, SOON).await;
    let up = crowd.longest_gap();

    crowd.mark();
    one.restart();
    dns.set(NAME, ips(&[1, 2, 3, 4]));
    dns.asked(dns.questions() + 8).await;
    three.iter().for_each(Weir::terminate);
    until_only_at(&[&one], &[]).await;
    dns.set(NAME, ips(&[1]));
    crowd.until_picture(newest(&encoders).unwrap_or_default() + 100, SOON).await;
    let down = crowd.longest_gap();
    eprintln!("the longest gap on the way up: {up:?}, on the way down: {down:?}");
    crowd.assert_undisturbed();
    encoders.iter().for_each(Encoder::assert_connected);
    assert!(up <= MOVE_MAX && down <= MOVE_MAX, "gaps of {up:?} on the way up, {down:?} down");
}

/// Edges that know one address, behind which three origins are by now, each with streams of its own: every connection
/// may reach another one.
#[tokio::test(flavor = "multi_thread")]
async fn one_address_leads_to_three_origins() {
    for protocol in PROTOCOLS {
        let cluster = cluster();
        let config = format!("{NO_HLS}drain: {{ notice: 1s, timeout: 20s }}\n");
        let origin = |number| cluster.origin(number, &config);
        let one = origin(1);
        let relays = [Relay::start(one.rtmp()).await, Relay::start(one.http()).await];
        let edges = [(); 2].map(|()| {
            let address = [relays[0].address().to_string()];
            let keys = format!("protocol: {protocol}");
            cluster.edge_to(&address, relays[1].address().port(), &keys, NO_HLS).start()
        });
        let (mut encoders, mut crowd) = (Vec::new(), Crowd::new());
        for (number, stream) in STREAMS.into_iter().enumerate() {
            encoders.push(encoder(&edges[0], stream).await);
            // One stream has viewers only later.
            if number > 0 {
                crowd.join(&edges[1], stream, 2, Duration::ZERO);
            }
        }
        crowd.until_picture(150, SOON).await;
        crowd.mark();
        let three = [2, 3, 4].map(origin);
        relays[0].lead_to(three.iter().map(Weir::rtmp).collect());
        relays[1].lead_to(three.iter().map(Weir::http).collect());
        one.terminate();
        until_only_at(&three.each_ref(), &[]).await;
        let mut late = Crowd::new();
        late.join(&edges[1], STREAMS[0], 2, Duration::ZERO);
        late.until_picture(0, SOON).await;
        let slowest = late.seen().iter().filter_map(|seen| seen.delay()).max().unwrap_or_default();
        let newest = encoders.iter().map(Encoder::next_number).max().unwrap_or_default();
        crowd.until_picture(newest + 50, SOON).await;
        crowd.assert_undisturbed();
        let gap = crowd.longest_gap();
        eprintln!("{protocol}: the longest gap {gap:?}, a newcomer waited {slowest:?}");
        assert!(gap <= MOVE_MAX, "somebody saw nothing new for {gap:?}");
        assert!(slowest <= MOVE_MAX, "a newcomer waited {slowest:?} for a stream that is there");
    }
}

/// An encoder that publishes to origins directly moves from one to another: the first one keeps its stream for
/// `publish.linger`, and an edge that pulls it from there must not wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lingers_at_one_origin_is_found_at_another() {
    for protocol in PROTOCOLS {
        let cluster = cluster();
        let origins = [1, 2].map(|number| cluster.origin(number, NO_HLS));
        let keys = format!("protocol: {protocol}");
        let edge = cluster.edge(&["127.0.0.1", "127.0.0.2"], &keys, NO_HLS);
        let first = encoder(&origins[0], "live/a").await;
        let mut crowd = Crowd::new();
        crowd.join(&edge, "live/a", 4, Duration::ZERO);
        crowd.until_picture(30, SOON).await;
        crowd.mark();
        let mut source = Numbered::default();
        source.skip_to(first.next_number() + 10);
        drop(first);
        let next = source.next_number();
        let second = Encoder::start(&origins[1].rtmp_url("live/a"), source, crate::PICTURE).await;
        until_live(&origins[1], "live/a").await;
        crowd.viewer(&edge, "live/a", Protocol::Rtmp, Duration::ZERO);
        crowd.until_picture(next + 60, SOON).await;
        crowd.assert_undisturbed();
        let gap = crowd.longest_gap();
        eprintln!("{protocol}: the longest gap {gap:?}");
        assert!(gap <= MOVE_MAX, "somebody saw nothing new for {gap:?}");
        second.assert_connected();
    }
}
