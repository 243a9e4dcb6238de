//! Upgrades and changes under load: servers that are restarted, replaced and configured anew, and nobody who notices.
//!
//! Each test ends with its figures on standard error, for `docs` and for comparison; what must hold is asserted.

mod handover;
mod origin;
mod reload;
mod rolling;
mod signals;
mod srs_paths;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use weir_testkit::{
    Weir,
    cluster::{Cluster, Ports},
    eventually,
    peer::Numbered,
    roaming::{Departure, Kind, Roaming, RoamingEncoder, ViewerReport},
    server::Builder,
};

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(30);

/// HLS is another matter where it is not the matter.
const NO_HLS: &str = "hls: { enabled: false }\n";

/// How servers stop in these tests.
const DRAIN: &str = "drain: { notice: 2s, timeout: 20s }\n";
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// "Well inside" the timeout: this part of it.
const DRAIN_MAX: Duration = Duration::from_secs(14);

/// The longest that anybody may see nothing new.
const GAP_MAX: Duration = Duration::from_secs(1);

/// Ten pictures a second, and a key frame each second: small, and good enough to measure gaps against a second.
const PICTURE: Duration = Duration::from_millis(100);
const GROUP: u64 = 10;

/// The streams of all these tests, an encoder for each.
const STREAMS: [&str; 3] = ["live/a", "live/b", "live/c"];

/// The source of a stream in real time.
fn source() -> Numbered {
    let millis = u32::try_from(PICTURE.as_millis()).unwrap_or_default();
    Numbered::new(GROUP).with_picture_millis(millis).without_sound()
}

/// An encoder in real time, which comes again when it is let go.
fn encoder(address: SocketAddr, stream: &str, reconnects: bool) -> RoamingEncoder {
    RoamingEncoder::start(address, stream, source(), PICTURE, reconnects)
}

/// An encoder for each stream, `at` this address by the number of the stream. The first one follows reconnect requests
/// if any does. They begin one after the other, so that their groups do not begin at the same time.
async fn encoders(at: impl Fn(usize) -> SocketAddr, reconnects: bool) -> Vec<RoamingEncoder> {
    let mut encoders = Vec::new();
    for (number, stream) in STREAMS.iter().enumerate() {
        let encoder = encoder(at(number), stream, reconnects && number == 0);
        eventually("the first pictures of a stream", SOON, async || {
            (encoder.voyage().next >= GROUP / 3).then_some(())
        })
        .await;
        encoders.push(encoder);
    }
    encoders
}

/// An edge on ports that stay its own, in front of these origins, addresses with a port.
fn edge(cluster: &Cluster, origins: &[String], keys: &str, config: &str, ports: &Ports) -> Builder {
    let edge = cluster.edge_to(origins, cluster.ports.http, keys, &format!("{NO_HLS}{config}"));
    edge.at(Cluster::ip(1), ports)
}

/// Two viewers over HTTP-FLV for each over RTMP, of whom every second one follows reconnect requests.
fn kinds() -> impl Iterator<Item = Kind> {
    use Kind::{HttpFlv, Reconnecting, Rtmp};
    [HttpFlv, Rtmp, HttpFlv, HttpFlv, Reconnecting, HttpFlv].into_iter().cycle()
}

/// Lets `count` viewers of all streams come within this time; `rtmp` and `http` is where they go.
fn come(roaming: &mut Roaming, count: usize, [rtmp, http]: [SocketAddr; 2], within: Duration) {
    for (number, kind) in (0..count).zip(kinds()) {
        let address = if kind == Kind::HttpFlv { http } else { rtmp };
        // Each kind has each stream.
        let stream = STREAMS[number / 6 % STREAMS.len()];
        let part = number as f64 / count as f64;
        roaming.viewer(kind, address, stream, within.mul_f64(part));
    }
}

/// Waits until everybody has something that is newer than what any encoder has sent until now, and `more` pictures.
async fn go_on(roaming: &Roaming, encoders: &[RoamingEncoder], more: u64) {
    let newest = encoders.iter().map(|encoder| encoder.voyage().next).max().unwrap_or_default();
    roaming.until_picture(newest + more, SOON).await;
}

/// What a process took to let everybody go.
struct Drained {
    from: Instant,
    to: Instant,
}

impl Drained {
    fn time(&self) -> Duration {
        self.to - self.from
    }
}

/// Asks `weir` to stop, and requires that it does by itself, in good order and well within its time.
fn drain(weir: &mut Weir) -> Drained {
    let from = Instant::now();
    weir.terminate();
    let status = tokio::task::block_in_place(|| weir.wait_exit(DRAIN_TIMEOUT * 2));
    let drained = Drained { from, to: Instant::now() };
    assert!(status.success(), "it ended with {status}:\n{}", weir.log());
    let cut = weir.log().all().into_iter().find(|line| line.contains("drain.timeout reached"));
    assert_eq!(cut, None, "everybody is let go before the end");
    let time = drained.time();
    assert!(time <= DRAIN_MAX, "it took {time:?} to stop:\n{}", weir.log());
    drained
}

/// Requires that nobody was ever refused, kept waiting or cut off, and that nobody got anything wrong.
#[track_caller]
fn assert_smooth(roaming: &Roaming) {
    roaming.assert_all("no join is refused", |journey| journey.refused.is_empty());
    roaming.assert_all("no join hangs", |journey| journey.hung == 0);
    roaming.assert_all("nobody is cut off", |journey| journey.cuts().next().is_none());
    roaming.assert_all("nothing is wrong", |journey| journey.fault.is_none());
    roaming.assert_all("nobody misses more than a group", |it| it.missed_at_once <= GROUP);
}

/// Requires that nobody was without something new for more than a second.
#[track_caller]
fn assert_no_gap(roaming: &Roaming) {
    roaming.assert_all("no gap is longer than a second", |it| it.longest_gap <= GAP_MAX);
}

/// Requires that encoders were taken at once whenever they came, and lost a group at most with each move.
#[track_caller]
fn assert_taken(encoders: &[RoamingEncoder]) {
    for encoder in encoders {
        let voyage = encoder.voyage();
        assert!(voyage.refused.is_empty() && voyage.hung == 0, "an encoder: {voyage:?}");
        let moves = voyage.departures.len() as u64;
        assert!(voyage.unsent <= GROUP * moves, "more than a group was lost: {voyage:?}");
    }
}

/// Prints what it all came to.
fn report(title: &str, roaming: &Roaming, encoders: &[RoamingEncoder]) {
    eprintln!("--- {title}\n{}", roaming.summary());
    for encoder in encoders {
        let it = encoder.voyage();
        let away = it.longest_away.as_millis();
        let ways: Vec<_> = it.departures.iter().map(|(_, departure)| departure).collect();
        eprintln!(
            "encoder: moves {}, refused {}, longest away {away} ms, pictures unsent {}; {ways:?}",
            it.departures.len(),
            it.refused.len(),
            it.unsent
        );
    }
}

/// Whether it left because it was let go or asked to.
fn is_let_go((_, departure): &(Instant, Departure)) -> bool {
    !matches!(departure, Departure::Cut(_))
}

/// How long nothing new came after `since`.
fn frozen_since(journey: &ViewerReport, since: Instant) -> Duration {
    let pauses = journey.pauses.iter().filter(|(end, _)| *end > since);
    pauses.map(|(end, gap)| (*gap).min(*end - since)).max().unwrap_or_default()
}
