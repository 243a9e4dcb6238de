//! What is measured.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{
    duties::{self, BackEnd, Disk, Duty},
    programs::Programs,
    server::{HlsFrom, Kind, LOAD_CPU, Load, RecordBy, SERVER_CPU, Server, TlsBy, behind, pinned},
};
use crate::Result;

/// Cases that are compared with each other.
pub struct Suite {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it measures, for the table.
    pub what: &'static str,
    /// Its cases; ratios are formed with the case called `base` in each.
    pub cases: fn() -> Vec<Case>,
}

/// One line of a table.
pub struct Case {
    /// Its name in the table.
    pub name: String,
    /// What serves.
    pub server: Kind,
    /// What it has to serve.
    pub load: Traffic,
    /// The case whose CPU per GB this one's is divided by.
    pub base: Option<String>,
    /// Whether it is the other build of Weir (`--beside`) that serves.
    pub beside: bool,
}

/// What a server has to serve.
pub enum Traffic {
    /// Viewers of streams.
    Play { protocol: Protocol, bit_rate: u64, streams: usize, args: Vec<String> },
    /// Publishers without viewers.
    Publish { count: usize, bit_rate: u64 },
    /// HTTP clients on kept-alive connections that ask for one thing again and again.
    Request { what: Object, count: usize },
    /// Viewers over RTMP beside so many HTTP clients that ask for the playlist every other second.
    Poll { count: usize },
    /// Viewers over RTMP, while the server has something else to do.
    Beside(Duty),
    /// Many small audiences; with one large one beside them, or not.
    Mixed { large: bool },
    /// Viewers over RTMP beside consoles that show one of their pages, in turn with none.
    Watched { consoles: usize, page: &'static str },
    /// Streams without viewers, and consoles that show one of their pages, in turn with none.
    Consoles { streams: usize, consoles: usize, page: &'static str },
}

/// What HTTP clients ask for.
#[derive(Clone, Copy)]
pub enum Object {
    /// The playlist of a stream of 2 Mb/s.
    Playlist,
    /// Its newest segment.
    Segment,
}

/// How viewers play.
#[derive(Clone, Copy)]
pub enum Protocol {
    /// RTMP.
    Rtmp,
    /// HTTP-FLV.
    Flv,
}

/// All suites.
pub const SUITES: &[Suite] = &[
    Suite { name: "fanout", what: "500 viewers of 1 Mb/s, one shard", cases: fanout },
    Suite { name: "crowd", what: "4,000 viewers of 200 kb/s, one shard", cases: crowd },
    Suite {
        name: "memory",
        what: "5,000 viewers of 200 kb/s; 1,000 that stop reading beside 500 of 1 Mb/s",
        cases: memory,
    },
    Suite { name: "join", what: "5,000 viewers within 2 s, beside 500, at 200 kb/s", cases: join },
    Suite { name: "ingest", what: "300 publishers of 500 kb/s, no viewers", cases: ingest },
    Suite {
        name: "record",
        what: "300 publishers of 500 kb/s that are all recorded; nginx-rtmp has `record all`",
        cases: record,
    },
    Suite {
        name: "duties",
        what: "500 RTMP viewers of 1 Mb/s beside 20 publishers of 2 Mb/s that are recorded to disks that are well, \
               hang, and have 10 MB; and beside 50 newcomers a second whom back ends are asked about that answer at \
               once, take 10 s, are down, and answer with 1 GB",
        cases: duties,
    },
    Suite {
        name: "shards",
        what: "4,000 viewers of 200 kb/s on one and on two shards; both CPUs are shared with the load",
        cases: shards,
    },
    Suite {
        name: "streams",
        what: "200 streams of 20 viewers, alone and beside one stream of 3,000; 100 kb/s, two shards, flush 100ms",
        cases: streams,
    },
    Suite {
        name: "edge",
        what: "200 viewers of 1 Mb/s at the origin, at an edge, and at the last of three edges in a row",
        cases: edge,
    },
    Suite {
        name: "hls",
        what: "100 kept-alive connections that ask for a playlist or a segment of 2 Mb/s, answer by answer; \
               nginx serves the origin's files",
        cases: hls,
    },
    Suite {
        name: "polls",
        what: "500 RTMP viewers of 1 Mb/s, alone and beside 10,000 connections that ask for the playlist every 2 s",
        cases: polls,
    },
    Suite {
        name: "console",
        what: "2,000 RTMP viewers of 20 streams of 200 kb/s, in turn alone and beside 5 consoles; then what a console \
               costs with 1,000 streams of 20 kb/s that nobody plays, in percents of a core. *Fan-out* is what the \
               threads take that send to viewers; the process has it, and the API, which the consoles ask",
        cases: console,
    },
    Suite {
        name: "tls",
        what: "500 viewers of 1 Mb/s over TLS, by Weir and by nginx before Weir, and without; 2,000 of 200 kb/s for \
               their memory. TLS_AES_128_GCM_SHA256; nginx and Weir share CPU 0",
        cases: tls,
    },
    Suite {
        name: "tls-hls",
        what: "100 kept-alive connections that ask for a playlist or a segment of 2 Mb/s over TLS, answer by answer; \
               nginx serves the origin's files. TLS_AES_128_GCM_SHA256",
        cases: tls_hls,
    },
];

const MEGABIT: u64 = 1_000_000;

/// Of streams that nobody plays: reading them is not what is measured.
const IDLE_BIT_RATE: u64 = 20_000;

fn weir(flush: &'static str) -> Kind {
    Kind::Weir { flush, shards: 1, cpus: SERVER_CPU }
}

fn play(protocol: Protocol, bit_rate: u64, args: &str) -> Traffic {
    Traffic::Play {
        protocol,
        bit_rate,
        streams: 1,
        args: args.split_whitespace().map(str::to_owned).collect(),
    }
}

fn case(name: &str, server: Kind, load: Traffic, base: Option<&'static str>) -> Case {
    Case { name: name.to_owned(), server, load, base: base.map(str::to_owned), beside: false }
}

fn fanout() -> Vec<Case> {
    let mut cases = Vec::new();
    let viewers = |protocol| play(protocol, MEGABIT, "--count 500 --warmup 2");
    let flushes: [(&'static str, u64, &'static str); 3] = [
        ("0ms", 0, "floor, each frame"),
        ("video", 33, "floor, 33 ms"),
        ("350ms", 350, "floor, 350 ms"),
    ];
    for (flush, flush_ms, floor) in flushes {
        let bare = Kind::Floor { bit_rate: MEGABIT, flush_ms };
        cases.push(case(floor, bare, viewers(Protocol::Flv), None));
        cases.push(case(
            &format!("Weir RTMP, {flush}"),
            weir(flush),
            viewers(Protocol::Rtmp),
            Some(floor),
        ));
        cases.push(case(
            &format!("Weir HTTP-FLV, {flush}"),
            weir(flush),
            viewers(Protocol::Flv),
            Some(floor),
        ));
    }
    cases.push(case("nginx-rtmp", Kind::Nginx, viewers(Protocol::Rtmp), Some("floor, each frame")));
    cases
}

fn crowd() -> Vec<Case> {
    let viewers =
        |protocol| play(protocol, MEGABIT / 5, "--count 4000 --ramp 3 --warmup 2 --sample 40");
    let bare = Kind::Floor { bit_rate: MEGABIT / 5, flush_ms: 33 };
    vec![
        case("floor, 33 ms", bare, viewers(Protocol::Flv), None),
        case("Weir RTMP, video", weir("video"), viewers(Protocol::Rtmp), Some("floor, 33 ms")),
        case("Weir HTTP-FLV, video", weir("video"), viewers(Protocol::Flv), Some("floor, 33 ms")),
        case("nginx-rtmp", Kind::Nginx, viewers(Protocol::Rtmp), Some("floor, 33 ms")),
    ]
}

fn memory() -> Vec<Case> {
    let many = |protocol| play(protocol, MEGABIT / 5, "--count 5000 --ramp 5 --warmup 1");
    let with = |stalled: usize| {
        let args = format!("--count 500 --stalled {stalled} --warmup 8");
        play(Protocol::Rtmp, MEGABIT, &args)
    };
    vec![
        case("Weir RTMP, 5,000", weir("350ms"), many(Protocol::Rtmp), None),
        case("Weir HTTP-FLV, 5,000", weir("350ms"), many(Protocol::Flv), None),
        case("nginx-rtmp, 5,000", Kind::Nginx, many(Protocol::Rtmp), None),
        case("Weir RTMP, none stalled", weir("video"), with(0), None),
        case("Weir RTMP, 1,000 stalled", weir("video"), with(1000), None),
    ]
}

fn join() -> Vec<Case> {
    let calm = || play(Protocol::Rtmp, MEGABIT / 5, "--count 500 --warmup 2");
    let storm = |protocol| {
        play(protocol, MEGABIT / 5, "--count 500 --warmup 2 --storm 5000 --storm-ramp 2")
    };
    vec![
        case("Weir RTMP, calm", weir("video"), calm(), None),
        case("Weir RTMP, storm", weir("video"), storm(Protocol::Rtmp), None),
        case("Weir HTTP-FLV, storm", weir("video"), storm(Protocol::Flv), None),
    ]
}

fn ingest() -> Vec<Case> {
    let publishers = || Traffic::Publish { count: 300, bit_rate: MEGABIT / 2 };
    vec![
        case("nginx-rtmp", Kind::Nginx, publishers(), None),
        case("Weir", weir("video"), publishers(), Some("nginx-rtmp")),
    ]
}

fn record() -> Vec<Case> {
    let publishers = || Traffic::Publish { count: 300, bit_rate: MEGABIT / 2 };
    let by = |by| Kind::Recording { by };
    let base = "nginx-rtmp, record all";
    vec![
        case(base, by(RecordBy::Nginx), publishers(), None),
        case("Weir, FLV", by(RecordBy::Weir("flv")), publishers(), Some(base)),
        case("Weir, fragmented MP4", by(RecordBy::Weir("mp4")), publishers(), Some(base)),
        case("Weir, nothing recorded", weir("video"), publishers(), Some(base)),
    ]
}

fn duties() -> Vec<Case> {
    let beside = |name, duty, base| case(name, Kind::Duty(duty), Traffic::Beside(duty), base);
    // Newcomers cost something themselves.
    let (base, asked) = ("alone", "newcomers, nobody is asked");
    vec![
        beside(base, Duty::Nothing, None),
        beside("recording, the disk is well", Duty::Record(Disk::Well), Some(base)),
        beside("recording, the disk hangs", Duty::Record(Disk::Hangs), Some(base)),
        beside("recording, the disk is full", Duty::Record(Disk::Full), Some(base)),
        beside(asked, Duty::Refuse, Some(base)),
        beside("hooks, answered at once", Duty::Ask(BackEnd::Well), Some(asked)),
        beside("hooks, answered after 10 s", Duty::Ask(BackEnd::Slow), Some(asked)),
        beside("hooks, the back end is down", Duty::Ask(BackEnd::Down), Some(asked)),
        beside("hooks, 1 GB for an answer", Duty::Ask(BackEnd::Huge), Some(asked)),
    ]
}

fn shards() -> Vec<Case> {
    let viewers =
        || play(Protocol::Rtmp, MEGABIT / 5, "--count 4000 --ramp 3 --warmup 2 --sample 40");
    let on = |shards| Kind::Weir { flush: "video", shards, cpus: "0,1" };
    vec![
        case("one shard", on(1), viewers(), None),
        case("two shards", on(2), viewers(), Some("one shard")),
    ]
}

fn streams() -> Vec<Case> {
    let server = || Kind::Weir { flush: "100ms", shards: 2, cpus: "0,1" };
    vec![
        case("200 x 20 alone", server(), Traffic::Mixed { large: false }, None),
        case("200 x 20 beside 1 x 3,000", server(), Traffic::Mixed { large: true }, None),
    ]
}

fn edge() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, edges) in [("origin", 0), ("one edge", 1), ("three edges", 3)] {
        for (protocol, how) in [(Protocol::Rtmp, "RTMP"), (Protocol::Flv, "HTTP-FLV")] {
            // Both ways play at the end of the chain; the edges pull by RTMP.
            let viewers = play(protocol, MEGABIT, "--count 200 --warmup 2");
            let base = if edges == 0 { None } else { Some("origin, RTMP") };
            cases.push(case(&format!("{name}, {how}"), Kind::Chain { edges }, viewers, base));
        }
    }
    cases
}

fn hls() -> Vec<Case> {
    let from = |from| Kind::Hls { from };
    let mut cases = Vec::new();
    for (what, object, base) in [
        ("playlist", Object::Playlist, "nginx, playlist"),
        ("segment", Object::Segment, "nginx, segment"),
    ] {
        let traffic = || Traffic::Request { what: object, count: 100 };
        cases.push(case(base, from(HlsFrom::Nginx), traffic(), None));
        for (name, server) in [("origin", HlsFrom::Origin), ("edge", HlsFrom::Edge)] {
            cases.push(case(&format!("{name}, {what}"), from(server), traffic(), Some(base)));
        }
    }
    cases
}

fn polls() -> Vec<Case> {
    let origin = || Kind::Hls { from: HlsFrom::Origin };
    vec![
        case("alone", origin(), Traffic::Poll { count: 0 }, None),
        case("beside 10,000", origin(), Traffic::Poll { count: 10_000 }, Some("alone")),
    ]
}

fn console() -> Vec<Case> {
    let mut cases = Vec::new();
    for page in ["wall", "stream", "cluster"] {
        let watched = Traffic::Watched { consoles: 5, page };
        cases.push(case(&format!("2,000 viewers, {page}"), Kind::WithApi, watched, None));
    }
    for page in ["wall", "stream", "cluster"] {
        let idle = Traffic::Consoles { streams: 1000, consoles: 5, page };
        cases.push(case(&format!("1,000 streams, {page}"), Kind::WithApi, idle, None));
    }
    cases
}

fn tls() -> Vec<Case> {
    let mut cases = Vec::new();
    let live = |by| Kind::Tls { by, hls: false };
    for (protocol, how, secure, base) in [
        (Protocol::Rtmp, "RTMP", "RTMPS", "RTMPS, nginx + Weir"),
        (Protocol::Flv, "HTTP-FLV", "HTTPS-FLV", "HTTPS-FLV, nginx + Weir"),
    ] {
        let viewers = || play(protocol, MEGABIT, "--count 500 --ramp 2 --warmup 2");
        cases.push(case(base, live(TlsBy::Nginx), viewers(), None));
        cases.push(case(&format!("{secure}, Weir"), live(TlsBy::Weir), viewers(), Some(base)));
        cases.push(case(&format!("{how}, Weir"), live(TlsBy::Nobody), viewers(), Some(base)));
        let many = || play(protocol, MEGABIT / 5, "--count 2000 --ramp 8 --warmup 2");
        for (by, how) in [(TlsBy::Weir, secure), (TlsBy::Nobody, how)] {
            cases.push(case(&format!("{how}, Weir, 2,000"), live(by), many(), None));
        }
    }
    cases
}

fn tls_hls() -> Vec<Case> {
    let from = |by| Kind::Tls { by, hls: true };
    let mut cases = Vec::new();
    for (what, object, base) in [
        ("playlist", Object::Playlist, "nginx https, playlist"),
        ("segment", Object::Segment, "nginx https, segment"),
    ] {
        let traffic = || Traffic::Request { what: object, count: 100 };
        cases.push(case(base, from(TlsBy::Nginx), traffic(), None));
        for (name, by) in [("https", TlsBy::Weir), ("http", TlsBy::Nobody)] {
            cases.push(case(&format!("Weir {name}, {what}"), from(by), traffic(), Some(base)));
        }
    }
    cases
}

impl Case {
    /// The case, and after it, if Weir is measured in it, `twin` with the other build; the one's base is the other.
    pub fn with_twin((case, twin): (Self, Self)) -> Vec<Self> {
        if !case.server.is_weir() {
            return vec![case];
        }
        let (name, base) = (format!("{}, beside", case.name), Some(case.name.clone()));
        vec![case, Self { name, base, beside: true, ..twin }]
    }

    /// Whether everything that it needs is installed.
    pub fn can_run(&self, programs: &Programs) -> bool {
        let needs_nginx = matches!(
            self.server,
            Kind::Nginx
                | Kind::Recording { by: RecordBy::Nginx }
                | Kind::Hls { from: HlsFrom::Nginx }
                | Kind::Tls { by: TlsBy::Nginx, .. }
        );
        !needs_nginx || programs.nginx.is_some()
    }
}

impl Traffic {
    /// Makes the traffic and gives what was measured.
    pub fn run(&self, server: &Server, programs: &Programs, seconds: u32) -> Result<Value> {
        match self {
            Self::Play { protocol, bit_rate, streams, args } => {
                let _publishers = publish(server, programs, "s{}", *streams, *bit_rate)?;
                let url = url(server, *protocol, "s{}");
                let mut command = viewers(server, programs, &url, seconds);
                command.args(["--streams", &streams.to_string()]).args(args);
                measure(&mut command)
            }
            Self::Publish { count, bit_rate } => {
                let mut command = pinned(LOAD_CPU, &programs.load);
                command.args([
                    "publish",
                    &format!("{}/s{{}}", server.publish.as_deref().unwrap_or_default()),
                ]);
                command.args(["--count", &count.to_string(), "--bit-rate", &bit_rate.to_string()]);
                command.args(["--seconds", &seconds.to_string()]).args(server.watch());
                // A new publish is read more often than one that goes on unwatched.
                command.args(["--settle", "11"]);
                measure(&mut command)
            }
            Self::Request { what, count } => {
                let _publisher = publish(server, programs, "s{}", 1, 2 * MEGABIT)?;
                let mut command = requests(server, pinned(LOAD_CPU, &programs.load), seconds);
                command.args(["--count", &count.to_string()]).args(server.watch());
                if matches!(what, Object::Segment) {
                    command.arg("--newest");
                }
                measure(&mut command)
            }
            Self::Poll { count } => poll(server, programs, seconds, *count),
            Self::Beside(duty) => beside(server, programs, seconds, *duty),
            Self::Mixed { large } => mixed(server, programs, seconds, *large),
            Self::Watched { consoles, page } => watched(server, programs, seconds, &|seconds| {
                let mut command = self::consoles(server, programs, *consoles, page);
                command.args(["--seconds", &seconds.to_string()]);
                command
            }),
            Self::Consoles { streams, consoles, page } => {
                let _publishers = publish(server, programs, "s{}", *streams, IDLE_BIT_RATE)?;
                let mut command = self::consoles(server, programs, *consoles, page);
                command.args(["--rounds", "3", "--seconds", &(seconds * 2).to_string()]);
                measure(command.args(server.watch()))
            }
        }
    }
}

fn poll(server: &Server, programs: &Programs, seconds: u32, count: usize) -> Result<Value> {
    let _publisher = publish(server, programs, "s{}", 1, MEGABIT)?;
    // They come first, and stay longer than the viewers.
    let beside = (count > 0).then(|| {
        // The viewers measure how late they are served, on the CPU that both have.
        let mut command = requests(server, behind(LOAD_CPU, &programs.load), seconds + 1);
        command.args(["--count", &count.to_string(), "--every", "2", "--ramp", "5"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    });
    let beside = beside.transpose().map_err(|error| format!("cannot start clients: {error}"))?;
    let mut command = viewers(server, programs, &url(server, Protocol::Rtmp, "s{}"), seconds);
    command.args("--count 500 --warmup 6".split(' '));
    let mut measured = measure(&mut command)?;
    if let Some(child) = beside {
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let polls: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("the clients printed no JSON: {error}"))?;
        measured["polls"] = polls;
    }
    Ok(measured)
}

/// How often viewers are measured alone, and beside consoles: the machine is shared, and drifts.
const ROUNDS: usize = 3;

/// Viewers, some of whom measure how late they are served, alone and beside `consoles` that stay open for so many
/// seconds.
fn watched(
    server: &Server,
    programs: &Programs,
    seconds: u32,
    consoles: &dyn Fn(u32) -> Command,
) -> Result<Value> {
    let _publishers = publish(server, programs, "s{}", 20, MEGABIT / 5)?;
    let url = url(server, Protocol::Rtmp, "s{}");
    // Most of them stay for all rounds.
    let mut most = viewers(server, programs, &url, 3600);
    most.args("--streams 20 --count 1900 --ramp 3 --sample 0".split(' '));
    let most = most.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _most = most.map(Load).map_err(|error| format!("cannot start viewers: {error}"))?;
    let some = || {
        let mut command = viewers(server, programs, &url, seconds);
        command.args("--streams 20 --count 100 --ramp 1 --warmup 3 --sample 100".split(' '));
        measure(&mut command)
    };
    let round = |_| {
        let alone = some()?;
        // Ramp and warm-up of the viewers, and the measurement.
        let open = consoles(seconds + 3).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let open = open.map_err(|error| format!("cannot start consoles: {error}"))?;
        let beside = some();
        let output = open.wait_with_output().map_err(|error| error.to_string())?;
        let consoles: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("the consoles printed no JSON: {error}"))?;
        Ok(json!({ "alone": alone, "beside": beside?, "consoles": consoles }))
    };
    let rounds: Vec<Value> = (0..ROUNDS).map(round).collect::<Result<_>>()?;
    Ok(json!({ "rounds": rounds }))
}

fn consoles(server: &Server, programs: &Programs, count: usize, page: &str) -> Command {
    // What the pages do with the answers must not delay what is measured.
    let mut command = behind(LOAD_CPU, &programs.load);
    command.args(["console", &server.api, "--page", page, "--count", &count.to_string()]);
    command
}

fn beside(server: &Server, programs: &Programs, seconds: u32, duty: Duty) -> Result<Value> {
    let mut trouble = duty.begin(LOAD_CPU)?;
    let _publisher = publish(server, programs, "s{}", 1, MEGABIT)?;
    let _others = publish(server, programs, "other{}", 20, 2 * MEGABIT)?;
    // They come for as long as anybody measures.
    let newcomers = matches!(duty, Duty::Refuse | Duty::Ask(_)).then(|| {
        let mut command = behind(LOAD_CPU, &programs.load);
        command.args(["play", &format!("{}/none.flv?vhost={}", server.http, duties::ASKED)]);
        command.args("--json --count 6000 --ramp 120 --sample 0".split(' '));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(Load)
    });
    let newcomers = newcomers.transpose();
    let _newcomers = newcomers.map_err(|error| format!("cannot start newcomers: {error}"))?;
    duty.worsen(&mut trouble)?;
    let mut command = viewers(server, programs, &url(server, Protocol::Rtmp, "s{}"), seconds);
    command.args("--count 500 --warmup 2".split(' '));
    let mut measured = measure(&mut command)?;
    measured["duty"] = duty.shown()?;
    Ok(measured)
}

fn mixed(server: &Server, programs: &Programs, seconds: u32, large: bool) -> Result<Value> {
    let _small = publish(server, programs, "s{}", 200, MEGABIT / 10)?;
    let _large = publish(server, programs, "large{}", 1, MEGABIT / 10)?;
    // The large audience comes first and stays longer.
    let beside = large.then(|| {
        let mut command =
            viewers(server, programs, &url(server, Protocol::Flv, "large{}"), seconds + 12);
        command.args(["--count", "3000", "--ramp", "3", "--warmup", "0"]);
        command.stdout(Stdio::null()).spawn()
    });
    let mut command = viewers(server, programs, &url(server, Protocol::Flv, "s{}"), seconds);
    command.args("--streams 200 --count 4000 --ramp 5 --warmup 2 --sample 400".split(' '));
    let measured = measure(&mut command);
    if let Some(Ok(mut child)) = beside {
        let _ = child.kill();
        let _ = child.wait();
    }
    measured
}

fn publish(
    server: &Server,
    programs: &Programs,
    name: &str,
    count: usize,
    bit_rate: u64,
) -> Result<Option<Load>> {
    let Some(base) = &server.publish else { return Ok(None) };
    let url = format!("{base}/{name}");
    let args = [&url, "--count", &count.to_string(), "--bit-rate", &bit_rate.to_string()];
    Load::publish(programs, &args).map(Some)
}

fn url(server: &Server, protocol: Protocol, name: &str) -> String {
    match (protocol, &server.publish) {
        (Protocol::Rtmp, Some(_)) => format!("{}/{name}", server.play),
        _ => format!("{}/{name}.flv", server.http),
    }
}

/// Clients of the stream's playlist.
fn requests(server: &Server, mut command: Command, seconds: u32) -> Command {
    let url = format!("{}/s0.m3u8", server.http);
    command.args(["request", &url, "--json", "--seconds", &seconds.to_string()]);
    trust(&mut command, server);
    command
}

fn viewers(server: &Server, programs: &Programs, url: &str, seconds: u32) -> Command {
    let mut command = pinned(LOAD_CPU, &programs.load);
    command.args(["play", url, "--json", "--seconds", &seconds.to_string()]).args(server.watch());
    trust(&mut command, server);
    command
}

fn trust(command: &mut Command, server: &Server) {
    if let Some(ca) = &server.ca {
        command.arg("--ca").arg(ca);
    }
}

fn measure(command: &mut Command) -> Result<Value> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.map_err(|error| format!("cannot start {command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{command:?} printed no JSON: {error}"))
}
