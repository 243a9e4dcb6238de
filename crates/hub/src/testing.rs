//! What the tests of this crate share: frames, a waker that counts, and a registry with a clock of its own.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use weir_media::{AudioCodec, Content, Frame, StreamKey, Timestamp, Track, VideoCodec};

use crate::{
    Batch, Budget, Conflict, Demand, Flush, Item, Limits, PublishSettings, Publisher, Reader,
    Refused, Registry, Start, Tracks, Wake,
};

pub(crate) const VIDEO: Track = Track::Video(0);
pub(crate) const AUDIO: Track = Track::Audio(0);

pub(crate) const SOUND_ONLY: Tracks = Tracks { audio: true, video: false };
pub(crate) const PICTURES_ONLY: Tracks = Tracks { audio: false, video: true };
pub(crate) const BOTH: Tracks = Tracks { audio: true, video: true };

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A frame that says `at` milliseconds; its body names it.
pub(crate) fn frame(track: Track, content: Content, at: i64, body: &str) -> Frame {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let dts = Timestamp::from_millis(at);
    Frame { track, dts, epoch: 0, content, stray: false, payload: body.clone(), body }
}

pub(crate) fn picture(track: Track, key: bool, at: i64) -> Frame {
    let content = Content::Video { codec: VideoCodec::Avc, key, composition: 0 };
    frame(track, content, at, &format!("{}{at}", if key { "key" } else { "delta" }))
}

pub(crate) fn key(at: i64) -> Frame {
    picture(VIDEO, true, at)
}

pub(crate) fn delta(at: i64) -> Frame {
    picture(VIDEO, false, at)
}

pub(crate) fn sound(at: i64) -> Frame {
    frame(AUDIO, Content::Audio(AudioCodec::Aac), at, &format!("sound{at}"))
}

pub(crate) fn metadata(body: &str) -> Frame {
    frame(Track::Data, Content::Metadata, 0, body)
}

pub(crate) fn video_config(body: &str) -> Frame {
    frame(VIDEO, Content::VideoConfig(VideoCodec::Avc), 0, body)
}

pub(crate) fn audio_config(body: &str) -> Frame {
    frame(AUDIO, Content::AudioConfig(AudioCodec::Aac), 0, body)
}

/// Counts how often it was woken.
#[derive(Default)]
pub(crate) struct Bell(AtomicUsize);

impl Bell {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// How often it rang since the last call of this.
    pub(crate) fn rung(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes down what it hears of demand: `+name` and `-name`.
#[derive(Default)]
pub(crate) struct Wants(Mutex<Vec<String>>);

impl Wants {
    /// What was heard since the last call of this.
    pub(crate) fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Demand for Wants {
    fn wanted(&self, key: &StreamKey) {
        self.0.lock().unwrap().push(format!("+{}", key.stream()));
    }

    fn unwanted(&self, key: &StreamKey) {
        self.0.lock().unwrap().push(format!("-{}", key.stream()));
    }
}

/// A registry, and a clock that only a test moves.
pub(crate) struct Rig {
    pub(crate) registry: Registry,
    pub(crate) wants: Arc<Wants>,
    pub(crate) lingering: Arc<Bell>,
    pub(crate) now: Instant,
}

impl Rig {
    pub(crate) const LINGER: Duration = Duration::from_secs(10);
    pub(crate) const WINDOW: Duration = Duration::from_secs(2);

    pub(crate) fn new() -> Self {
        let (wants, lingering) = (Arc::<Wants>::default(), Bell::new());
        let budget = Budget::unlimited();
        let registry =
            Registry::new(budget, Some(Arc::clone(&wants) as _), Some(Arc::clone(&lingering) as _));
        Self { registry, wants, lingering, now: Instant::now() }
    }

    pub(crate) fn name() -> StreamKey {
        StreamKey::new("example.com", "live", "one").unwrap()
    }

    /// Each frame wakes, and a new publisher is always let in.
    pub(crate) fn settings() -> PublishSettings {
        PublishSettings {
            linger: Self::LINGER,
            conflict: Conflict::Takeover,
            flush: Flush::Each,
            limits: Limits { bytes: 1 << 20, window: Self::WINDOW },
            replaced: Bell::new(),
        }
    }

    pub(crate) fn publish(&self) -> Publisher {
        self.publish_with(Self::settings()).unwrap_or_else(|refused| panic!("{refused}"))
    }

    pub(crate) fn publish_with(&self, settings: PublishSettings) -> Result<Publisher, Refused> {
        self.registry.publish(&Self::name(), settings, self.now)
    }

    pub(crate) fn subscribe(&self, start: Start) -> (Reader, Arc<Bell>) {
        let bell = Bell::new();
        (self.registry.subscribe(&Self::name(), start, Arc::clone(&bell) as _), bell)
    }

    /// Pushes frames that arrive when they say, counted from now; the clock ends at the last one.
    pub(crate) fn push(
        &mut self,
        publisher: &mut Publisher,
        frames: impl IntoIterator<Item = Frame>,
    ) {
        let begin = self.now;
        for frame in frames {
            let at = u64::try_from(frame.dts.as_millis()).unwrap_or(0);
            self.now = self.now.max(begin + ms(at));
            publisher.push(frame, self.now).unwrap();
        }
    }
}

/// What a reader has to read, by the frames' bodies.
pub(crate) fn bodies(reader: &mut Reader) -> Vec<String> {
    read(reader).items.iter().map(body).collect()
}

pub(crate) fn read(reader: &mut Reader) -> Batch {
    let mut batch = Batch::default();
    reader.read(&mut batch);
    batch
}

/// An item's body, with what its group's readers must know before.
pub(crate) fn body(item: &Item) -> String {
    let text = |frame: &Frame| String::from_utf8_lossy(&frame.body).into_owned();
    match &item.group {
        Some(init) => {
            let init: Vec<_> = init.frames().map(text).collect();
            format!("[{}]{}", init.join(","), text(&item.frame))
        }
        None => text(&item.frame),
    }
}
