//! Forwarding: to nginx-rtmp, to another Weir over RTMPS, to targets that are dead, slow, gone for a while, or this
//! server itself; and what is seen of a target.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
};
use weir_flv::Tag;
use weir_media::{Content, Track};
use weir_rtmp::server::{self, Event, PublishRefusal};
use weir_testkit::{
    Weir,
    camera::publish_in_time,
    certificates::{Authority, put},
    cluster::{Cluster, Ports},
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    http,
    nginx::Nginx,
    packets::{Extent, Form, Recording, continuation, frame_of, read, tags_of},
    peer::{Encoder, Numbered, Viewer},
};

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(30);

const PICTURE: Duration = Duration::from_millis(40);

const NO_HLS: &str = "hls: { enabled: false }\npublish: { linger: 0s }\n";

fn weir(config: &str) -> Weir {
    Weir::builder(BINARY).config(&format!("{NO_HLS}{config}")).start()
}

/// One that forwards all that is in `live` to `target`.
fn forwarding(target: &str, more: &str) -> Weir {
    weir(&format!("forward: [{{ streams: live/*, to: '{target}'{more} }}]\n"))
}

async fn encoder(weir: &Weir, stream: &str) -> Encoder {
    Encoder::start(&weir.rtmp_url(stream), Numbered::new(12), PICTURE).await
}

/// What the API says of the targets of `stream`.
async fn forwards(weir: &Weir, stream: &str) -> Vec<Value> {
    let path = format!("api/v1/streams/{}", stream.replace('/', "%2F"));
    let text = http::get(weir.api(), &path).await.text().await;
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    answer["stream"]["forwards"].as_array().cloned().unwrap_or_default()
}

/// Waits until the only target of `stream` is in `state`.
async fn until(weir: &Weir, stream: &str, state: &str) -> Value {
    eventually(&format!("{stream}: {state}"), SOON, async || {
        forwards(weir, stream).await.into_iter().find(|it| it["state"] == state)
    })
    .await
}

/// The value of the series `name` in `/metrics`.
async fn metric(weir: &Weir, name: &str) -> Option<f64> {
    let page = http::get(weir.api(), "metrics").await.text().await;
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// A target that does what a test says.
struct Scripted {
    listener: TcpListener,
}

/// A connection to it.
struct Taken {
    socket: TcpStream,
    session: server::Session,
}

impl Scripted {
    /// One that takes little in beyond what it reads.
    fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(64 * 1024).expect("a small buffer");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        Self { listener: socket.listen(16).expect("it listens") }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    /// The next connection, at the first event that `is_it`.
    async fn until(&self, is_it: impl Fn(&Event) -> bool) -> Taken {
        let (socket, _) = self.listener.accept().await.expect("a connection");
        let session = server::Session::new(server::Config::default(), [1; 1536], Instant::now());
        let mut taken = Taken { socket, session };
        taken.until(is_it).await;
        taken
    }

    /// The next publish, accepted.
    async fn publish(&self) -> Taken {
        let mut taken = self.until(|event| matches!(event, Event::Publish { .. })).await;
        taken.session.accept_publish(1);
        taken.write().await;
        taken
    }
}

impl Taken {
    async fn write(&mut self) {
        while let Some(out) = self.session.poll_output() {
            self.socket.write_all(&out).await.expect("it is read");
        }
    }

    async fn until(&mut self, is_it: impl Fn(&Event) -> bool) -> Event {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            self.write().await;
            match self.session.poll_event() {
                Some(event) if is_it(&event) => return event,
                Some(_) => {}
                None => {
                    let count = self.socket.read(&mut buffer).await.expect("it writes");
                    assert!(count > 0, "it has closed");
                    self.session.handle_input(&buffer[..count], Instant::now()).expect("RTMP");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_has_the_packets_that_were_published() {
    let nginx = Nginx::start("");
    let weir = forwarding(&nginx.rtmp().to_string(), "");
    let (publish, url) = (weir.rtmp_url("live/a"), nginx.rtmp_url("a"));
    let check = move || {
        let source = Fixture::AvcBFramesAac.file();
        let publisher = Ffmpeg::System.publish_with(&["-stream_loop", "-1"], &source, &publish);
        let recording = Recording::start(Ffmpeg::System, &url, Form::Carried);
        let source = read(Ffmpeg::System, &source.display().to_string(), Form::Carried, SOON);
        assert!(recording.wait_packets(200, 2 * SOON), "{url} does not play");
        let mut played = recording.stop();
        // The file is published again and again; where it begins anew is no run of its packets.
        played.streams.iter_mut().for_each(|stream| stream.packets.truncate(50));
        let run = continuation(&source, &played, Extent::Run, Duration::from_millis(1));
        run.unwrap_or_else(|difference| panic!("{url}: {difference}"));
        publisher
    };
    let played = tokio::task::spawn_blocking(check).await;
    let _publisher = played.expect("what was published is played");
    let sends = until(&weir, "live/a", "sending").await;
    assert_eq!(sends["skips"], 0, "{sends}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_of_classic_rtmp_gets_no_hevc_and_that_is_said() {
    let nginx = Nginx::start("");
    let weir = forwarding(&nginx.rtmp().to_string(), "");
    let source = Fixture::HevcAac.file();
    let _published = Fixture::HevcAac.ffmpeg().publish_with(
        &["-stream_loop", "-1"],
        &source,
        &weir.rtmp_url("live/a"),
    );
    let partly = until(&weir, "live/a", "partly").await;
    assert_eq!(partly["error"], "the target does not take HEVC");
    let line =
        weir.wait_log(|line| line["message"] == "forward without a part of the stream", SOON);
    assert_eq!(line["reason"], partly["error"]);
    eventually("its sound arrives", SOON, async || {
        forwards(&weir, "live/a")
            .await
            .iter()
            .any(|it| it["bytes"].as_u64() > Some(10_000))
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_over_rtmps_and_ends_there_as_it_does_here() {
    let (dir, ca) = (tempfile::tempdir().expect("a folder"), Authority::new("ours"));
    let (cert, key) = ca.issue(&["localhost"]).write(dir.path(), "target");
    let authority = put(dir.path(), "ca.pem", &ca.pem());
    let tls = format!("{{ cert: {}, key: {} }}", cert.display(), key.display());
    let target =
        weir(&format!("rtmp: {{ tls: {{ listen: '127.0.0.1:0', certificates: [{tls}] }} }}\n"));
    let port = target.listens("rtmps").port();
    let url = format!("rtmps://localhost:{port}/copy/{{app}}_{{stream}}?token=abc");
    let origin = forwarding(&url, &format!(", ca: {}", authority.display()));
    let published = encoder(&origin, "live/a").await;
    let mut viewer = Viewer::rtmp(&target.rtmp_url("copy/live_a")).await;
    viewer.next().await.expect("it is forwarded");
    // Every packet from there on: the viewer counts them.
    viewer.until_picture(published.next_number()).await;
    let status = &forwards(&origin, "live/a").await[0];
    assert_eq!(status["target"], format!("rtmps://localhost:{port}/***"));
    assert_eq!((&status["state"], &status["error"]), (&"sending".into(), &Value::Null));
    drop(published);
    target.wait_session_end(
        |line| line["stream"] == "/copy/live_a" && line["role"] == "publish",
        SOON,
    );
    eventually("nothing is forwarded any more", SOON, async || {
        (metric(&origin, "weir_forwards{state=\"sending\"}").await == Some(0.0)).then_some(())
    })
    .await;
    // Who is not trusted is not sent anything.
    let stranger = forwarding(&url, "");
    let _published = encoder(&stranger, "live/b").await;
    let waits = until(&stranger, "live/b", "waiting").await;
    assert!(waits["error"].as_str().is_some_and(|why| why.contains("forward.ca")), "{waits}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_never_reads_is_let_go_and_disturbs_nobody() {
    let (stuck, good) = (Scripted::new(), weir(""));
    let to = format!("[rtmp://{}/x/y, '{}']", stuck.address(), good.rtmp());
    let origin = weir(&format!("forward: [{{ streams: live/a, to: {to} }}]\n"));
    let source = Numbered::new(12).with_picture_bytes(60_000);
    let published = Encoder::start(&origin.rtmp_url("live/a"), source, PICTURE).await;
    let _first = stuck.publish().await;
    let (mut here, mut there) = (
        Viewer::rtmp(&origin.rtmp_url("live/a")).await,
        Viewer::rtmp(&good.rtmp_url("live/a")).await,
    );
    // It comes back after it was let go, and gets no further.
    let again = async {
        let mut again = std::pin::pin!(stuck.publish());
        loop {
            tokio::select! {
                taken = &mut again => return taken,
                tag = here.next() => drop(tag.expect("viewers go on")),
                tag = there.next() => drop(tag.expect("another target goes on")),
            }
        }
    };
    let _second = tokio::time::timeout(2 * SOON, again).await.expect("it is tried again");
    let stuck = forwards(&origin, "live/a")
        .await
        .into_iter()
        .find(|it| it["bytes"] != 0 && it["error"] != Value::Null);
    let error = stuck.expect("a target with an error")["error"].to_string();
    assert!(error.contains("took no data"), "{error}");
    // Nothing is missing: neither of these may skip.
    here.until_picture(published.next_number()).await;
    there.until_picture(published.next_number()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_back_has_the_stream_again() {
    let ports = Ports::free();
    let mut target = Weir::builder(BINARY).at(Cluster::ip(7), &ports).config(NO_HLS).start();
    let origin = forwarding(&target.rtmp().to_string(), "");
    let _published = encoder(&origin, "live/a").await;
    until(&origin, "live/a", "sending").await;
    target.kill();
    let waits = until(&origin, "live/a", "waiting").await;
    assert!(waits["error"].is_string(), "{waits}");
    target.restart();
    let back = Instant::now();
    let mut viewer = Viewer::rtmp(&target.rtmp_url("live/a")).await;
    viewer.next().await.expect("the last group comes again");
    println!("media {:?} after the target's return", back.elapsed());
    let sends = until(&origin, "live/a", "sending").await;
    assert!(sends["bytes"].as_u64() > Some(0), "{sends}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_does_not_go_in_circles() {
    let ports = Ports::free();
    let address = SocketAddr::new(Cluster::ip(8), ports.rtmp);
    let config = format!("{NO_HLS}forward: [{{ to: 'rtmp://{address}/{{app}}/x{{stream}}' }}]\n");
    let origin = Weir::builder(BINARY).at(Cluster::ip(8), &ports).config(&config).start();
    let _published = encoder(&origin, "live/a").await;
    let refused = until(&origin, "live/a", "refused").await;
    assert!(refused["error"].as_str().is_some_and(|why| why.contains("a loop")), "{refused}");
    assert_eq!(origin.sessions("publish", "/live/xa").began, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_of_a_target_is_seen_nowhere() {
    const SECRETS: [&str; 3] = ["s3cr3t-app", "s3cr3t-key", "s3cr3t-token"];
    let target = Scripted::new();
    let url = format!("rtmp://{}/s3cr3t-app/s3cr3t-key?t=s3cr3t-token", target.address());
    let config = format!("forward: [{{ streams: live/*, to: '{url}' }}]\n");
    let origin = weir(&config);
    let _published = encoder(&origin, "live/a").await;
    let mut seen = String::new();
    let is_publish = |event: &Event| matches!(event, Event::Publish { .. });
    // It repeats what it was told.
    let mut taken = target.until(is_publish).await;
    taken.session.reject_publish(1, PublishRefusal::BadName, &format!("no: {url}"));
    taken.write().await;
    let refused = until(&origin, "live/a", "refused").await;
    assert!(refused["error"].as_str().is_some_and(|why| why.contains("not shown")), "{refused}");
    let mut taken = target.publish().await;
    taken.until(|event| matches!(event, Event::Media { .. })).await;
    for path in ["api/v1/streams", "api/v1/config", "api/v1/clients", "metrics"] {
        seen += &http::get(origin.api(), path).await.text().await;
    }
    taken.session.end_publish(1, PublishRefusal::Failed, "s3cr3t-key ends");
    taken.write().await;
    until(&origin, "live/a", "refused").await;
    seen += &forwards(&origin, "live/a").await[0].to_string();
    // A reload says what is different, and a configuration that is wrong where.
    let dir = tempfile::tempdir().expect("a folder");
    for (name, to) in [("good", url.clone()), ("bad", url.replace("?t", "/{t}?t"))] {
        let text = format!("forward: [{{ streams: live/*, to: '{to}' }}]\n");
        let file = put(dir.path(), &format!("{name}.yaml"), &text);
        let output = Command::new(BINARY).args(["check", "--config"]).arg(file).output();
        let output = output.expect("weir runs");
        assert_eq!(output.status.success(), name == "good", "{output:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(name == "bad" || said.contains("streams live/* to rtmp://127.0.0.1:"), "{said}");
        seen += &said;
    }
    origin.log().all().iter().for_each(|line| seen.push_str(&format!("{line}\n")));
    assert!(seen.contains(&format!("rtmp://{}/***", target.address())), "{seen}");
    for secret in SECRETS {
        let line = seen.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

/// What a target has recorded of a stream that has ended, by track.
async fn recorded(target: &Weir) -> BTreeMap<Track, Vec<Vec<u8>>> {
    let file = target.dir().join("r/__defaultVhost__/live/a.flv");
    eventually("it is recorded there", SOON, async || file.exists().then_some(())).await;
    by_track(&tags_of(&file))
}

fn by_track(tags: &[Tag]) -> BTreeMap<Track, Vec<Vec<u8>>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for frame in tags.iter().map(frame_of) {
        if matches!(frame.content, Content::Video { .. } | Content::Audio(_)) {
            all.entry(frame.track).or_default().push(frame.payload.to_vec());
        }
    }
    all
}

const RECORD: &str = "record: { dir: r, streams: '*', path: '{vhost}/{app}/{stream}' }\n";

#[tokio::test(flavor = "multi_thread")]
async fn all_tracks_go_on_to_a_target_that_takes_them_and_the_first_to_another() {
    let (target, nginx) = (weir(RECORD), Nginx::start(""));
    let to = format!("['{}', '{}']", target.rtmp(), nginx.rtmp());
    let origin = weir(&format!("forward: [{{ streams: live/*, to: {to} }}]\n"));
    let tags = tags_of(&Fixture::Ladder.file());
    let url = origin.rtmp_url("live/a");
    let published = tokio::spawn({
        let tags = tags.clone();
        async move { publish_in_time(&url, &tags).await }
    });
    let partly = until(&origin, "live/a", "partly").await;
    assert!(partly["error"].as_str().is_some_and(|why| why.contains("track")), "{partly}");
    published.await.expect("it is published");
    let (published, recorded) = (by_track(&tags), recorded(&target).await);
    assert_eq!(recorded.keys().collect::<Vec<_>>(), published.keys().collect::<Vec<_>>());
    for (track, all) in published {
        let there = &recorded[&track];
        assert!(there.len() > 100 && all.ends_with(there), "{track:?}: {} packets", there.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_sends_all_that_was_published() {
    let target = weir(RECORD);
    let to = format!("forward: [{{ streams: live/*, to: '{}' }}]\n", target.rtmp());
    let mut origin = weir(&format!("{to}drain: {{ notice: 0s, timeout: 20s }}\n"));
    let published = encoder(&origin, "live/a").await;
    let mut viewer = Viewer::rtmp(&target.rtmp_url("live/a")).await;
    viewer.until_picture(published.next_number()).await;
    let (reached, mut here) =
        (published.next_number(), Viewer::rtmp(&origin.rtmp_url("live/a")).await);
    here.next().await.expect("it plays");
    origin.terminate();
    assert!(tokio::task::block_in_place(|| origin.wait_exit(SOON)).success());
    // Until the target says that the stream is over: its viewer has had each picture that the origin took.
    while viewer.next().await.is_some() {}
    let last = viewer.numbers().newest_picture().unwrap_or_default();
    assert!(last >= reached, "{last} of {reached} that were published before");
    // Encoders are let go before a key frame, and not in the midst of a group.
    assert_eq!((last + 1) % 12, 0, "{last}");
    assert!(!recorded(&target).await.is_empty());
    drop(published);
}
