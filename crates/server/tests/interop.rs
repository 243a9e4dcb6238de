//! Encoders and players that know nothing of us: both FFmpegs, curl, and our own publisher on somebody else's server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use bytes::BytesMut;
use tempfile::TempDir;
use weir_flv::{
    Tag, TagKind,
    file::{Header, write_tag},
};
use weir_testkit::{
    Weir,
    cluster::Ports,
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls::Playlist,
    http,
    packets::{Extent, Form, Recording, assert_continuation, continuation, read, tags_of},
    peer::{Numbered, Numbers, Player, Publisher, Viewer},
    process::Process,
};

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// For the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A stream ends with its publisher, so that nobody who plays to its end waits.
const CONFIG: &str =
    "publish: { linger: 0s }\nplay: { wait: 60s }\nhls: { segment: 1s, window: 20 }\n";

fn start(config: &str) -> Weir {
    Weir::builder(BINARY).config(config).start()
}

/// `weir publish` with these words behind it.
fn weir_publish(words: &[&str]) -> Process {
    Process::start("weir publish", Command::new(BINARY).arg("publish").args(words))
}

/// Every FFmpeg publishes; every FFmpeg plays what each of them publishes, over everything that we serve. FFmpeg's RTMP
/// begins with the digest handshake, on either side, where our own publisher has the simple one.
#[tokio::test(flavor = "multi_thread")]
async fn both_ffmpegs_publish_and_play() {
    let (weir, fixture) = (start(CONFIG), Fixture::AvcBFramesAac);
    let file = fixture.file().display().to_string();
    let streams = Ffmpeg::ALL.map(|ffmpeg| (ffmpeg, format!("live/by-{ffmpeg:?}")));
    let mut publishers = streams
        .clone()
        .map(|(ffmpeg, name)| ffmpeg.publish(Path::new(&file), &weir.rtmp_url(&name)));
    let recordings = streams.clone().map(|(_, name)| {
        let urls = [weir.rtmp_url(&name), weir.http_url(&format!("{name}.flv"))];
        Ffmpeg::ALL.map(|player| {
            urls.clone().map(|url| (url.clone(), Recording::start(player, &url, Form::Carried)))
        })
    });
    tokio::task::spawn_blocking(move || {
        publishers.iter_mut().for_each(|publisher| publisher.wait_success(TIMEOUT));
        for (player, recordings) in
            recordings.into_iter().flat_map(|of| Ffmpeg::ALL.into_iter().zip(of))
        {
            let source = read(player, &file, Form::Carried, TIMEOUT);
            for (url, recording) in recordings {
                let played = recording.finish(TIMEOUT);
                let result = continuation(&source, &played, Extent::ToEnd, Duration::ZERO);
                result.unwrap_or_else(|difference| panic!("{player:?} plays {url}: {difference}"));
            }
        }
    })
    .await
    .expect("the same packets everywhere");
    for (_, name) in streams {
        check_hls(&weir, fixture, &name).await;
    }
}

/// Requires that every FFmpeg gets all packets of the stream over HLS, after it has ended.
async fn check_hls(weir: &Weir, fixture: Fixture, stream: &str) {
    let path = format!("{stream}.m3u8");
    eventually(&format!("the end of {path}"), TIMEOUT, async || {
        let text = http::get(weir.http(), &path).await.text().await;
        Playlist::parse(&text).ended.then_some(())
    })
    .await;
    let form = Form::Elementary(fixture);
    for player in Ffmpeg::ALL {
        let source = read(player, &fixture.file().display().to_string(), form, TIMEOUT);
        let played = read(player, &weir.http_url(&path), form, TIMEOUT);
        // Sound in MPEG-TS has the exact times of its sampling rate when FFmpeg reads it.
        let result = continuation(&source, &played, Extent::ToEnd, Duration::from_millis(1));
        result.unwrap_or_else(|difference| panic!("{player:?} plays {path}: {difference}"));
    }
}

/// A numbered stream that curl reads.
struct Curled {
    weir: Weir,
    publisher: Publisher,
    dir: TempDir,
}

impl Curled {
    async fn start() -> Self {
        let weir = start(CONFIG);
        let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(5)).await;
        publisher.pictures(7).await;
        Self { weir, publisher, dir: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// Starts `curl` with these options, and `live/a.flv` as its last URL.
    fn curl(&self, options: &[&str]) -> Process {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--no-buffer"]).args(options);
        command.current_dir(self.dir.path()).arg(self.weir.http_url("live/a.flv"));
        Process::start("curl", &mut command)
    }

    /// Waits until `curl` has written the beginning of `a.flv`, publishes some more, and ends the stream; then `curl`
    /// has to end well.
    async fn finish(&mut self, mut curl: Process) -> Process {
        let file = self.dir.path().join("a.flv");
        eventually("the first bytes in a.flv", TIMEOUT, async || {
            fs::metadata(&file).ok().filter(|file| file.len() > 0)
        })
        .await;
        self.publisher.pictures(13).await;
        let other = Publisher::silent(&self.weir.rtmp_url("live/other")).await;
        std::mem::replace(&mut self.publisher, other).stop().await;
        curl.wait_success(TIMEOUT);
        curl
    }

    /// What `curl` wrote into `file`.
    fn text(&self, file: &str) -> String {
        let path = self.dir.path().join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Requires that `a.flv` is the stream from its newest key frame on, whole and in order.
    #[track_caller]
    fn check_file(&self) {
        let mut numbers = Numbers::default();
        for tag in tags_of(&self.dir.path().join("a.flv")) {
            numbers.take(&tag).unwrap_or_else(|error| panic!("{error}; seen so far: {numbers:?}"));
        }
        assert_eq!((numbers.pictures, numbers.sounds), (Some((5, 19)), Some((5, 19))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_reads_http_flv() {
    let mut curled = Curled::start().await;
    let curl = curled.curl(&["--dump-header", "head", "--output", "a.flv"]);
    curled.finish(curl).await;
    curled.check_file();
    let head = curled.text("head").to_lowercase();
    assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
    for line in [
        "transfer-encoding: chunked",
        "content-type: video/x-flv",
        "cache-control: no-store",
        "access-control-allow-origin: *",
    ] {
        assert!(head.lines().any(|had| had == line), "{line} is missing from\n{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_with_http_1_0_gets_the_bare_file() {
    let mut curled = Curled::start().await;
    let curl = curled.curl(&["--http1.0", "--dump-header", "head", "--output", "a.flv"]);
    curled.finish(curl).await;
    curled.check_file();
    let head = curled.text("head").to_lowercase();
    assert!(head.contains(" 200 ok\r\n"), "{head}");
    assert!(!head.contains("transfer-encoding"), "HTTP/1.0 has no chunks:\n{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_served_a_page_plays() {
    let mut curled = Curled::start().await;
    let page = curled.weir.http_url("player");
    let options = [
        "--compressed",
        "--output",
        "page",
        &page,
        "--write-out",
        "%{num_connects} ",
        "--output",
        "a.flv",
    ];
    let curl = curled.curl(&options);
    let curl = curled.finish(curl).await;
    assert_eq!(
        curl.stdout().all().concat().trim(),
        "1 0",
        "new connections for the page and the stream"
    );
    assert!(curled.text("page").contains("/player/page.js"), "the player's page");
    curled.check_file();
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_asks_for_the_head_only() {
    let mut curled = Curled::start().await;
    let curl = |options: &[&str]| {
        let mut curl = curled.curl(options);
        curl.wait_success(TIMEOUT);
        curl.stdout().to_string().to_lowercase()
    };
    let page = curled.weir.http_url("player");
    // As the first request of a connection, and as a later one.
    for first in [&[][..], &["--output", "page", &page]] {
        let options = [&["--head"][..], first].concat();
        let head = curl(&options);
        assert!(head.starts_with("http/1.1 200 ok"), "{first:?}: {head}");
        assert!(head.contains("content-type: video/x-flv"), "{first:?}: {head}");
        assert!(head.contains("access-control-allow-origin: *"), "{first:?}: {head}");
    }
    let preflight = curl(&["--include", "--request", "OPTIONS"]);
    assert!(preflight.starts_with("http/1.1 204"), "{preflight}");
    assert!(preflight.contains("access-control-allow-methods: get, head, options"), "{preflight}");
    // Looking is not watching: the stream goes on for those that watch.
    let mut viewer = Viewer::http_flv(curled.weir.http(), "live/a.flv").await;
    let newest = curled.publisher.pictures(5).await;
    viewer.until_picture(newest).await;
}

/// Writes `tags` into an FLV file.
fn write_flv(path: &Path, tags: &[Tag]) {
    // The header's word is no use to anybody: it says what FFmpeg says for everything.
    let mut file = BytesMut::from(&Header { has_audio: true, has_video: true }.encode()[..]);
    tags.iter().for_each(|tag| write_tag(&mut file, tag.kind, tag.timestamp, &tag.body));
    fs::write(path, file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// What is published, in real time, and the header that viewers must get for it.
fn headers() -> Vec<(&'static str, Vec<Tag>, Header)> {
    let [both, sound, pictures] = [Fixture::AvcAac, Fixture::AudioOnly, Fixture::VideoOnly]
        .map(|fixture| tags_of(&fixture.file()));
    let bare = |tags: &[Tag]| -> Vec<Tag> {
        tags.iter().filter(|tag| tag.kind != TagKind::Script).cloned().collect()
    };
    // The first 0.7 s have no sound, not even its configuration.
    let late_sound: Vec<_> = both
        .iter()
        .filter(|tag| tag.kind != TagKind::Audio || tag.timestamp > 700)
        .cloned()
        .chain(
            both.iter()
                .filter(|tag| tag.kind == TagKind::Audio)
                .take(1)
                .map(|config| Tag { timestamp: 700, ..config.clone() }),
        )
        .collect();
    let mut late_sound = late_sound;
    late_sound.sort_by_key(|tag| tag.timestamp);
    let header = |has_audio, has_video| Header { has_audio, has_video };
    vec![
        ("both-bare", bare(&both), header(true, true)),
        ("late-sound-bare", bare(&late_sound), header(true, true)),
        ("sound-bare", bare(&sound), header(true, false)),
        ("pictures-bare", bare(&pictures), header(false, true)),
        ("both", both, header(true, true)),
        ("late-sound", late_sound, header(true, true)),
        ("sound", sound, header(true, false)),
        ("pictures", pictures, header(false, true)),
    ]
}

#[tokio::test]
async fn the_header_of_http_flv_tells_the_truth() {
    let (weir, dir) = (start(CONFIG), tempfile::tempdir().expect("a temporary folder can be made"));
    let mut viewers = Vec::new();
    for (name, tags, expected) in headers() {
        let file = dir.path().join(format!("{name}.flv"));
        write_flv(&file, &tags);
        let publisher =
            weir_publish(&[&file.display().to_string(), &weir.rtmp_url(&format!("live/{name}"))]);
        let (http, path) = (weir.http(), format!("live/{name}.flv"));
        let play = async move {
            let mut player = Player::http_flv(http, &path).await;
            let first = player.next().await.expect("a stream");
            (player.flv_header(), first)
        };
        viewers.push((name, tokio::spawn(play), expected, publisher));
    }
    for (name, viewer, expected, _publisher) in viewers {
        let (header, _first) = viewer.await.expect("a viewer that gets the stream's start");
        assert_eq!(header, Some(expected), "{name}");
    }
}

#[test]
fn weir_publish_works_with_another_server() {
    let file = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../flv/testdata/ffmpeg-5.1-h264-bframes-aac.flv"
    ));
    let source = read(Ffmpeg::System, &file.display().to_string(), Form::Carried, TIMEOUT);
    for server in Ffmpeg::ALL {
        let ports = Ports::free();
        let url = format!("rtmp://127.0.0.1:{}/live/a", ports.rtmp);
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let copy: PathBuf = dir.path().join("copy.flv");
        let mut command = server.command();
        command.args(["-listen", "1", "-i", &url, "-c", "copy"]).arg(&copy);
        let mut listening = Process::start("FFmpeg as a server", &mut command);
        // It listens when it is ready; until then there is nobody to connect to.
        let publish = || weir_publish(&[&file.display().to_string(), &url]).wait(TIMEOUT).success();
        let published = (0..100).any(|_| {
            publish() || {
                thread::yield_now();
                false
            }
        });
        assert!(published, "{server:?} as a server does not take what weir publishes");
        listening.wait_success(TIMEOUT);
        let played = read(Ffmpeg::System, &copy.display().to_string(), Form::Carried, TIMEOUT);
        assert_continuation(&source, &played);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weir_publish_says_what_is_wrong() {
    let weir = start("publish: { conflict: reject }\n");
    let (file, url) = (Fixture::AvcAac.file().display().to_string(), weir.rtmp_url("live/a"));
    let _live = Publisher::start(&url, Numbered::default()).await;
    let other = weir.rtmp_url("live/b");
    let ports = Ports::free();
    let nobody = format!("rtmp://127.0.0.1:{}/live/a", ports.rtmp);
    let cases: [(&[&str], &str); 5] = [
        (&["/no/such.flv", &url], "cannot read /no/such.flv"),
        (&[BINARY, &other], "is not an FLV file"),
        (&[&file, "http://127.0.0.1/live/a"], "http"),
        (&[&file, &nobody], "refused"),
        (&[&file, &url], "NetStream.Publish.BadName"),
    ];
    for (words, expected) in cases {
        let mut publisher = weir_publish(words);
        let code = publisher.wait(TIMEOUT).code();
        let said = publisher.stderr().to_string();
        assert_eq!(code, Some(1), "weir publish {words:?}: {said}");
        assert!(said.contains(expected), "weir publish {words:?} says {said:?}, not {expected:?}");
    }
}

/// Two tracks of pictures and two of sound, from one FFmpeg 9 to another.
#[test]
fn ffmpeg_9_plays_the_tracks_that_it_publishes() {
    let weir = start(CONFIG);
    let file = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../flv/testdata/ffmpeg-9-multitrack-h264-aac.flv"
    ));
    let urls = [weir.rtmp_url("live/a"), weir.http_url("live/a.flv")];
    let recordings = urls.clone().map(|url| Recording::start(Ffmpeg::Nine, &url, Form::Carried));
    Ffmpeg::Nine.publish(file, &weir.rtmp_url("live/a")).wait_success(TIMEOUT);
    let source = read(Ffmpeg::Nine, &file.display().to_string(), Form::Carried, TIMEOUT);
    assert_eq!(source.streams.len(), 4, "two tracks of each kind: {source:?}");
    for (url, recording) in urls.into_iter().zip(recordings) {
        let played = recording.finish(TIMEOUT);
        let result = continuation(&source, &played, Extent::ToEnd, Duration::ZERO);
        result.unwrap_or_else(|difference| panic!("{url}: {difference}"));
    }
}
