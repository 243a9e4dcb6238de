use std::path::Path;

use tokio::time::timeout;
use weir_hub::{Budget, Conflict, Flush, Limits, PublishSettings, Wake};
use weir_media::{AudioCodec, Content, DEFAULT_VHOST, Frame, Timestamp, Track, VideoCodec};

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// A stream lasts so long, in milliseconds: two segments, and a rest.
const LENGTH: i64 = 5000;

const AVCC: [u8; 16] = [1, 0x64, 0, 31, 0xFF, 0xE1, 0, 4, 0x67, 0x64, 0, 31, 1, 0, 1, 0x68];
const ASC: [u8; 2] = [0x11, 0x90];

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

/// An origin with one stream.
struct Origin {
    registry: Registry,
    output: Arc<HlsOutput>,
    key: StreamKey,
}

fn config(dir: &str) -> Config {
    Config::parse(&format!("hls: {{ dir: {dir:?} }}\n"), "a test").expect("a good configuration")
}

fn frame(track: Track, dts: i64, content: Content, payload: &[u8]) -> Frame {
    let payload = Bytes::copy_from_slice(payload);
    let (dts, body) = (Timestamp::from_millis(dts), payload.clone());
    Frame { track, dts, epoch: 0, content, stray: false, body, payload }
}

/// What a publisher sends: a key frame each second.
fn frames() -> Vec<Frame> {
    let (video, audio) = (Track::Video(0), Track::Audio(0));
    let mut frames = vec![
        frame(video, 0, Content::VideoConfig(VideoCodec::Avc), &AVCC),
        frame(audio, 0, Content::AudioConfig(AudioCodec::Aac), &ASC),
    ];
    for dts in (0..LENGTH).step_by(40) {
        let key = dts % 1000 == 0;
        let picture = Content::Video { codec: VideoCodec::Avc, key, composition: 0 };
        let slice = if key { 0x65 } else { 0x41 };
        frames.push(frame(video, dts, picture, &[0, 0, 0, 2, slice, 0x80]));
        frames.push(frame(audio, dts, Content::Audio(AudioCodec::Aac), &[0x21, 0x10, 4]));
    }
    frames
}

impl Origin {
    fn new(dir: &str) -> Self {
        let registry = Registry::new(Budget::unlimited(), None, None);
        let output = HlsOutput::new(registry.clone(), &Settings::new(config(dir)), &Arc::default());
        let key = StreamKey::new(DEFAULT_VHOST, "live", "a").expect("a good key");
        Self { registry, output, key }
    }

    /// All of a stream is published, and it ends.
    fn publish(&self) {
        let settings = PublishSettings {
            linger: Duration::ZERO,
            conflict: Conflict::Takeover,
            flush: Flush::Video,
            limits: Limits { bytes: 1 << 20, window: SOON },
            replaced: Arc::new(Nobody),
        };
        let now = Instant::now().into_std();
        let mut publisher = self.registry.publish(&self.key, settings, now).expect("its stream");
        Arc::clone(&self.output).follow(&self.key);
        for frame in frames() {
            publisher.push(frame, now).expect("it is the publisher");
        }
        publisher.leave(now);
        self.registry.expire(now);
    }

    /// Nothing runs for the stream.
    async fn rests(&self) {
        let mut following = self.output.following.subscribe();
        let rests = following.wait_for(|tasks| *tasks == 0);
        timeout(SOON, rests).await.expect("all is in files").expect("the output is there");
    }

    /// What is left of the stream has stayed for long enough.
    fn expire(&self) {
        let mut streams = self.output.lock();
        let work = &mut streams.all.get_mut(&self.key).expect("it is followed").work;
        let Work::Resting(rested) = work else { panic!("it rests") };
        rested.until = Instant::now();
    }

    fn text(&self) -> String {
        let window = self.output.window(&self.key).expect("it is followed");
        let listing = window.playlist(Rendition::MAIN).expect("a playlist");
        String::from_utf8(listing.text.to_vec()).expect("text")
    }
}

fn segments(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

#[tokio::test]
async fn a_stream_that_has_ended_has_no_task_and_goes_on_when_it_is_published_again() {
    let origin = Origin::new("");
    origin.publish();
    origin.rests().await;
    assert_eq!(origin.output.followers(), 1);
    assert_eq!(origin.output.state(&origin.key), Some(State::Playable));
    assert_eq!(origin.registry.status(&origin.key), None, "nobody reads it");
    let (window, before) = (origin.output.window(&origin.key), origin.text());
    assert!(before.ends_with("#EXT-X-ENDLIST\n") && segments(&before).len() == 3, "{before}");
    assert_eq!(timeout(SOON, origin.output.settled(&origin.key)).await, Ok(State::Playable));

    origin.publish();
    origin.rests().await;
    let after = origin.text();
    assert!(segments(&after).starts_with(&segments(&before)), "{before}{after}");
    assert_eq!((segments(&after).len(), after.matches("#EXT-X-DISCONTINUITY\n").count()), (6, 2));
    let (is, was) = (origin.output.window(&origin.key).expect("its window"), window);
    assert!(was.is_some_and(|was| Arc::ptr_eq(&is, &was)), "who waits there sees what is new");
}

#[tokio::test]
async fn the_files_of_a_stream_that_has_ended_move_and_go() {
    let [one, two] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [one, two] = [one.path(), two.path()];
    let path = |dir: &Path| dir.to_str().expect("text").to_owned();
    let is_there = |dir: &Path| dir.join("live/a.m3u8").is_file();
    let origin = Origin::new(&path(one));
    origin.publish();
    origin.rests().await;
    assert!(is_there(one));

    origin.output.reconfigure(&config(&path(two)));
    origin.rests().await;
    assert!(is_there(two));
    let key = &origin.key;
    let found =
        origin.output.files(&config(&path(two)).hls, key).expect("a folder").segments().await;
    assert_eq!(found.len(), 3);

    // Nobody has come back for long.
    origin.expire();
    assert_eq!(origin.output.dispose_due(Instant::now()), None);
    origin.rests().await;
    assert_eq!((origin.output.followers(), is_there(two)), (0, false));
    assert_eq!(origin.output.state(key), None);
}

#[tokio::test]
async fn what_has_ended_is_left_to_the_next_process() {
    let dir = tempfile::tempdir().expect("a folder");
    let origin = Origin::new(dir.path().to_str().expect("text"));
    origin.publish();
    origin.rests().await;
    origin.output.leave_open();
    assert_eq!(origin.output.followers(), 0);
    timeout(SOON, origin.output.finish()).await.expect("nothing is left to write");
    assert!(dir.path().join("live/a.m3u8").is_file());
}

#[test]
fn what_is_left_of_a_stream_that_has_ended_is_small() {
    // A thousand of them wait to be disposed of where many streams come and go.
    let (followed, rested) = (size_of::<Followed>(), size_of::<Rested>());
    assert!(followed <= 24 && rested <= 600, "{followed}, {rested} bytes");
}
