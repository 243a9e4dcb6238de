//! What is known of one publisher's stream: its tracks, what late readers need, where groups start.

use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_media::{
    AudioCodec, Budget, Charge, Content, Frame, Init, InitSlot, Timestamp, Track, Use, VideoCodec,
};

use crate::{Log, sync::Arc};

/// How long a new stream is watched for its second kind of track before viewers start, unless its metadata says that
/// there is none. Encoders send both within the first frames; SRS guesses from the first packet and loses audio.
const PROBE: Duration = Duration::from_secs(1);

/// A track of which nothing came for this long is no track of the stream until it comes again, whatever was announced:
/// players that are told of it wait for it and never start.
pub const SILENT: Duration = Duration::from_secs(1);

/// Distance of the places at which a reader can start in a stream without pictures, where every packet would do.
const SOUND_GROUP: Duration = Duration::from_secs(1);

/// A stream whose last picture is older than this is treated as sound only, so that it stays joinable and bounded; and
/// a video track that has been gone for as long no longer says where groups start.
const PICTURE_GONE: Duration = Duration::from_secs(10);

/// Bytes that the heap needs for a frame's body beside it: its reference count, and rounding for two allocations.
const BODY_OVERHEAD: usize = 64;

/// Which kinds of track a stream has, or a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracks {
    /// There is sound.
    pub audio: bool,
    /// There are pictures.
    pub video: bool,
}

impl Tracks {
    /// Those of either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { audio: self.audio || other.audio, video: self.video || other.video }
    }

    /// Whether frames of `track` are of these; script data always is.
    pub fn have(self, track: Track) -> bool {
        match track {
            Track::Audio(_) => self.audio,
            Track::Video(_) => self.video,
            Track::Data => true,
        }
    }
}

/// What is known of the present publisher's stream.
pub(crate) struct Session {
    budget: Budget,
    init: Arc<Init>,
    /// What was there: pictures and sound, not their configurations.
    pub(crate) seen: Tracks,
    /// What there are configurations of.
    announced: Tracks,
    /// What the pictures are coded with, as they came last.
    pub(crate) video: Option<VideoCodec>,
    /// What the sound is coded with, as it came last.
    pub(crate) audio: Option<AudioCodec>,
    expected: Option<Tracks>,
    first_media: Option<Instant>,
    /// Readers may start: it is known which tracks there are.
    pub(crate) ready: bool,
    /// The video track whose key frames start groups: the first that had one.
    lead: Option<Track>,
    /// The newest picture of `lead`; until there is one, the first coded frame since pictures were announced.
    last_picture: Option<Timestamp>,
    last_sound: Option<Timestamp>,
    last_group: Option<Timestamp>,
    /// How long the last whole group was.
    pub(crate) group_length: Option<Duration>,
    /// The newest key frame of `lead`.
    last_key: Option<Timestamp>,
}

/// The body of a frame that [`Init`] keeps. It counts for as long as anybody holds it: groups share the inits of their
/// starts, and those may be of configurations that have long been replaced.
struct Kept {
    body: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Session {
    /// Nothing is known. What is kept for late readers counts against `budget`.
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            budget,
            init: Arc::default(),
            seen: Tracks::default(),
            announced: Tracks::default(),
            video: None,
            audio: None,
            expected: None,
            first_media: None,
            ready: false,
            lead: None,
            last_picture: None,
            last_sound: None,
            last_group: None,
            group_length: None,
            last_key: None,
        }
    }

    /// The same for the next publisher.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.budget.clone())
    }

    /// Takes the metadata's word for which kinds of track will come. Metadata that names none says nothing.
    pub(crate) fn expect(&mut self, tracks: Tracks) {
        self.expected = (tracks != Tracks::default()).then_some(tracks);
    }

    /// Takes note of `frame`; returns whether readers get it. Pictures before the first key frame cannot be decoded.
    pub(crate) fn admit(&mut self, frame: &Frame, now: Instant) -> bool {
        match frame.content {
            _ if frame.stray => return !frame.is_picture() || self.lead.is_some(),
            Content::Video { codec, .. } => {
                self.seen.video = true;
                if self.video.replace(codec) != Some(codec) {
                    self.note_codec(frame);
                }
            }
            Content::Audio(codec) => {
                self.seen.audio = true;
                self.last_sound = Some(frame.dts);
                if self.audio.replace(codec) != Some(codec) {
                    self.note_codec(frame);
                }
            }
            Content::VideoConfig(codec) => {
                self.announced.video = true;
                self.video = Some(codec);
            }
            Content::AudioConfig(codec) => {
                self.announced.audio = true;
                self.audio = Some(codec);
            }
            _ => {}
        }
        if matches!(frame.content, Content::Video { .. } | Content::Audio(_)) {
            self.first_media.get_or_insert(now);
            self.follow_lead(frame);
        }
        self.ready |= self.is_presentable(now);
        self.remember(frame);
        !frame.is_picture() || self.lead.is_some()
    }

    /// Whether there are pictures, or may be in a moment.
    pub(crate) fn has_pictures(&self) -> bool {
        self.seen.video || self.announced.video
    }

    /// The tracks that somebody gets who begins with the newest group: what was there since a moment before it.
    pub(crate) fn tracks(&self) -> Tracks {
        let flows = |last: Option<Timestamp>| {
            last.is_some_and(|last| {
                self.last_group.is_none_or(|group| group.saturating_since(last) <= SILENT)
            })
        };
        Tracks {
            audio: flows(self.last_sound),
            video: self.lead.is_some() && flows(self.last_picture),
        }
    }

    /// What is known before the first frame.
    pub(crate) fn init(&self) -> Arc<Init> {
        Arc::clone(&self.init)
    }

    fn follow_lead(&mut self, frame: &Frame) {
        if frame.is_key() && (self.lead.is_none() || self.are_pictures_gone(frame.dts)) {
            self.lead = Some(frame.track);
        }
        if self.lead == Some(frame.track) {
            self.last_picture = Some(frame.dts);
        } else if self.has_pictures() {
            self.last_picture.get_or_insert(frame.dts);
        }
    }

    fn remember(&mut self, frame: &Frame) {
        let Some(slot) = frame.init_slot() else { return };
        // Groups share the present state; it is copied only when it really changes.
        if self.init.get(slot).is_none_or(|known| known.body != frame.body)
            && let Some(kept) = self.kept(frame)
        {
            Arc::make_mut(&mut self.init).update(&kept);
        }
    }

    /// Another codec than before has come: its track's configuration is of no use if it is of another one.
    fn note_codec(&mut self, frame: &Frame) {
        let slot = InitSlot::Config(frame.track);
        if self.init.get(slot).is_some_and(|config| !config.configures(frame)) {
            Arc::make_mut(&mut self.init).remove(slot);
        }
    }

    /// `frame` with a body that counts against the budget; none if there is no room for it.
    fn kept(&self, frame: &Frame) -> Option<Frame> {
        let mut charge = Charge::new(&self.budget, Use::Configurations);
        charge.grow(frame.body.len() + BODY_OVERHEAD).ok()?;
        let body = Bytes::from_owner(Kept { body: frame.body.clone(), _charge: charge });
        if frame.payload.is_empty() {
            return Some(Frame { body, ..frame.clone() });
        }
        // The same memory, so that what was a part of the old body is the same part of the new one.
        let at = (frame.payload.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
        let end = at.checked_add(frame.payload.len()).filter(|end| *end <= body.len())?;
        Some(Frame { payload: body.slice(at..end), body, ..frame.clone() })
    }

    fn is_presentable(&self, now: Instant) -> bool {
        let Tracks { audio, video } = self.seen;
        let as_expected = self.expected.is_some_and(|expected| {
            let Tracks { audio: wants_audio, video: wants_video } = expected.or(self.announced);
            (audio || !wants_audio) && (video || !wants_video)
        });
        let probed =
            self.first_media.is_some_and(|first| now.saturating_duration_since(first) >= PROBE);
        (audio || video)
            && self.first_media.is_some()
            && ((audio && video) || as_expected || probed)
    }

    /// Whether a group starts at `frame`, and what is known before it.
    pub(crate) fn group(&mut self, frame: &Frame) -> Option<Arc<Init>> {
        let starts = match frame.content {
            _ if frame.stray => false,
            // The parts of one picture have its time; a reader starts with the first.
            Content::Video { key: true, .. } => {
                self.lead == Some(frame.track)
                    && self.last_key.replace(frame.dts) != Some(frame.dts)
            }
            Content::Audio(_) => self.is_sound_only(frame.dts) && self.is_group_over(frame.dts),
            _ => false,
        };
        starts.then(|| {
            if let Some(before) = self.last_group.replace(frame.dts) {
                self.group_length = Some(frame.dts.saturating_since(before));
            }
            Arc::clone(&self.init)
        })
    }

    /// What keeping `frame` costs, in bytes, with what the allocator adds. A frame that [`Init`] remembers may cost a
    /// copy of all its slots, once groups hold the state before it.
    pub(crate) fn weight(&self, frame: &Frame) -> usize {
        let copied = frame.init_slot().map_or(0, |_| self.init.frames().count());
        frame.body.len()
            + BODY_OVERHEAD
            + Log::<Frame, Arc<Init>>::ENTRY_BYTES
            + copied * size_of::<Frame>()
    }

    fn is_sound_only(&self, now: Timestamp) -> bool {
        match self.last_picture {
            Some(_) => self.are_pictures_gone(now),
            // Pictures that the metadata promises are waited for as long as readers are held back.
            None => self.ready || self.expected.is_none_or(|expected| !expected.video),
        }
    }

    fn are_pictures_gone(&self, now: Timestamp) -> bool {
        // What was only announced is not waited for as long.
        let most = if self.seen.video { PICTURE_GONE } else { SILENT };
        self.last_picture.is_some_and(|picture| now.saturating_since(picture) > most)
    }

    fn is_group_over(&self, now: Timestamp) -> bool {
        self.last_group.is_none_or(|group| now.saturating_since(group) >= SOUND_GROUP)
    }
}

#[cfg(test)]
mod tests;
