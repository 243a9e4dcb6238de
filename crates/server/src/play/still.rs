//! The newest key frame of a stream, as a file of one picture.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;
use weir_clients::{counts::Refused, held::Held, quota, roster::Activity};
use weir_edge::{NoStream, Protocol};
use weir_hls::{Container, Event, Lengths, Segmenter};
use weir_hub::{Batch, Item, Reader, Registry, Start, Status};
use weir_intake::WakeSignal;
use weir_media::{Content, Frame, StreamKey, Timestamp, Track};

use super::{Refusal, Request, Resolved, Resource, live};

/// What is taken from the log at a time, and held until it has been looked at.
const BATCH_BYTES: usize = 256 * 1024;

/// How long the end of a picture is waited for: it shows when the next one comes, since an encoder may send a picture
/// in several messages. Slide shows have one picture a second.
const END_WAIT: Duration = Duration::from_secs(1);

/// The track whose picture it is.
const TRACK: Track = Track::Video(0);

/// The newest key frame. Whoever gets it is no viewer: it has one picture of the stream, as one has who looks at the
/// list of streams, and a console that asks for one each second is not a new viewer each second. A full server gives
/// none, and its bytes count as sent.
pub struct Still;

/// A fragmented MP4 of one picture, or why there is none in a stream that is there.
pub type Picture = Result<Bytes, NoPicture>;

/// Why there is no picture in a stream that is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPicture {
    /// It has sound only.
    #[error("the stream has no pictures")]
    None,
    /// MP4 cannot carry them.
    #[error("the stream's pictures cannot be shown: {0}")]
    Unfit(String),
}

impl Resource for Still {
    type Opened = Picture;
    type Session = ();

    const PROTOCOL: Protocol = Protocol::Live;

    fn note(&self, request: &Request<'_>, key: &StreamKey) {
        request.presence.note(|doing| {
            doing.asks = Some((Activity::Play, key.clone()));
            doing.fetches = true;
        });
    }

    fn look(&mut self, resolved: &Resolved<'_>) -> Result<(), Refusal> {
        live::look(resolved)
    }

    async fn open(
        &mut self,
        resolved: &Resolved<'_>,
        is_let_in: bool,
    ) -> Result<Picture, NoStream> {
        let (registry, key) = (&resolved.node.streams.registry, resolved.key);
        let picture = live::open_before(resolved, is_let_in, newest(registry, key)).await;
        picture.map_err(|why| match registry.status(key) {
            Some(Status::Live) if matches!(why, NoStream::Missing(_)) => {
                NoStream::Unavailable(format!("{key} is live, but no key frame has come yet"))
            }
            _ => why,
        })?
    }

    fn admit(
        &mut self,
        resolved: &Resolved<'_>,
        picture: &Picture,
        _: Option<Held>,
    ) -> Result<(), quota::Refusal> {
        resolved.request.presence.note(|doing| doing.asks = None);
        if picture.is_err() {
            Refused::NotFound.count();
        }
        Ok(())
    }
}

/// The newest picture that decoding can start at, once there is one.
pub async fn newest(registry: &Registry, key: &StreamKey) -> Result<Picture, NoStream> {
    let signal = Arc::<WakeSignal>::default();
    let mut reader = registry.subscribe(key, Start::NewestGroup, Arc::clone(&signal) as _);
    let (mut batch, mut making) = (Batch::default(), Making::default());
    loop {
        let status = reader.read_some(&mut batch, BATCH_BYTES);
        if batch.skipped > 0 {
            making = Making::default();
        }
        let is_whole = batch.items.drain(..).any(|item| making.take(&item));
        // What has stopped brings nothing more of it.
        let has_stopped = !batch.has_more && matches!(status, Status::Lingering | Status::Ended);
        if making.has_begun() && (is_whole || has_stopped) {
            return Ok(making.picture());
        }
        if !batch.has_more && reader.is_started() && has_no_pictures(&reader, &making) {
            return Ok(Err(NoPicture::None));
        }
        if status == Status::Ended {
            return Err(NoStream::Missing(format!("{key} has ended")));
        }
        if batch.has_more {
            continue;
        }
        if making.has_begun() {
            if timeout(END_WAIT, signal.rang()).await.is_err() {
                return Ok(making.picture());
            }
        } else {
            signal.rang().await;
        }
    }
}

/// Whether there is sound, and neither a picture nor a sign that there will be one.
fn has_no_pictures(reader: &Reader, making: &Making) -> bool {
    let tracks = reader.tracks();
    tracks.audio && !tracks.video && !making.has_config
}

/// A picture in the making.
struct Making {
    segmenter: Segmenter,
    /// Whether pictures are announced.
    has_config: bool,
    /// When the picture is decoded and shown, once it has begun.
    times: Option<(Timestamp, Timestamp)>,
}

impl Default for Making {
    fn default() -> Self {
        // One picture is shorter than any target.
        let lengths = Lengths::new(Duration::from_secs(1));
        let segmenter = Segmenter::new(Container::Mp4, lengths);
        Self { segmenter, has_config: false, times: None }
    }
}

impl Making {
    fn has_begun(&self) -> bool {
        self.times.is_some()
    }

    /// Takes what the log has next; true when the picture has all that it will have.
    fn take(&mut self, Item { frame, group }: &Item) -> bool {
        if !self.has_begun()
            && let Some(init) = group
        {
            init.frames().for_each(|known| self.configure(known));
        }
        if frame.track != TRACK || frame.stray {
            return false;
        }
        if !frame.is_picture() {
            if !self.has_begun() {
                self.configure(frame);
            }
            return false;
        }
        let times = (frame.dts, frame.pts());
        match self.times {
            None if !frame.is_key() => return false,
            Some(known) if known != times => return true,
            None | Some(_) => self.times = Some(times),
        }
        self.segmenter.push(&at_zero(frame), Duration::ZERO);
        false
    }

    fn configure(&mut self, frame: &Frame) {
        if frame.track == TRACK && matches!(frame.content, Content::VideoConfig(_)) {
            self.has_config = true;
            self.segmenter.push(&at_zero(frame), Duration::ZERO);
        }
    }

    /// The file.
    fn picture(mut self) -> Picture {
        let mut file = Vec::new();
        for event in self.segmenter.finish() {
            match event {
                Event::Init(init) => file.extend_from_slice(&init),
                Event::Segment(segment) => file.extend_from_slice(&segment.data),
                Event::Begin { .. } | Event::Part { .. } => {}
            }
        }
        if !file.is_empty() {
            return Ok(file.into());
        }
        let left_out = self.segmenter.left_out().unwrap_or_default();
        let unfit = left_out.pictures.map(|why| why.to_string());
        let damage = self.segmenter.dropped().map(|dropped| dropped.last.to_string());
        Err(NoPicture::Unfit(unfit.or(damage).unwrap_or_else(|| "it is empty".to_owned())))
    }
}

/// The same frame at the beginning of a file of its own.
fn at_zero(frame: &Frame) -> Frame {
    let content = match frame.content {
        Content::Video { codec, key, .. } => Content::Video { codec, key, composition: 0 },
        other => other,
    };
    Frame { dts: Timestamp::from_millis(0), epoch: 0, content, ..frame.clone() }
}
