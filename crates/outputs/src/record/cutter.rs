//! A stream's frames to files: where one ends and the next begins, and at which time each frame is in its file.

use std::{collections::BTreeMap, mem, time::Duration};

use bytes::Bytes;
use weir_config::{RecordContainer, Split};
use weir_hub::Item;
use weir_media::{AudioCodec, Content, Frame, Init, Timestamp, Track, VideoCodec};

use super::file::File;

/// How much of a file is held until it begins, by the stream's own time: by then all tracks have shown what they are
/// coded with, and which of them comes first.
const OPENING: Duration = Duration::from_secs(1);

/// The same in bytes.
const OPENING_BYTES: usize = 8 * 1024 * 1024;

/// What is held beside the bytes of a frame.
const FRAME_COST: usize = 128;

/// What is to be done with files.
#[derive(Debug)]
pub enum Op {
    /// A file begins.
    Begin(RecordContainer),
    /// This is next in it: whole tags, fragments or packets.
    Data(Bytes),
    /// It ends, and plays so long.
    End(Duration),
}

/// Makes files of the frames of one stream.
pub struct Cutter {
    container: RecordContainer,
    split: Split,
    state: State,
    /// The next file begins with the next group, whatever this one has room for.
    must_split: bool,
    /// What could not be carried, until somebody asks.
    left_out: Option<String>,
    out: Vec<Bytes>,
}

enum State {
    /// Before a group.
    Nothing,
    /// A file is going to begin with these.
    Opening { frames: Vec<Frame>, bytes: usize, first: Timestamp },
    /// A file is open.
    Open(Open),
    /// The container has room for nothing of this stream, of these codecs.
    Unfit(BTreeMap<Track, Codec>),
}

struct Open {
    file: File,
    /// The stream's time at which the file begins.
    base: Timestamp,
    newest: Timestamp,
    bytes: u64,
    epoch: u32,
    codecs: BTreeMap<Track, Codec>,
    /// Frames are left out until the next group.
    is_skipping: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Video(VideoCodec),
    Audio(AudioCodec),
}

fn codec_of(frame: &Frame) -> Option<Codec> {
    match frame.content {
        Content::VideoConfig(codec) | Content::Video { codec, .. } => Some(Codec::Video(codec)),
        Content::AudioConfig(codec) | Content::Audio(codec) => Some(Codec::Audio(codec)),
        _ => None,
    }
}

fn shifted(frame: &Frame, base: Timestamp) -> Frame {
    let dts = Timestamp::from_millis(frame.dts.as_millis().saturating_sub(base.as_millis()).max(0));
    Frame { dts, ..frame.clone() }
}

impl Cutter {
    /// Files of this container, each as long as `split` says.
    pub fn new(container: RecordContainer, split: Split) -> Self {
        Self {
            container,
            split,
            state: State::Nothing,
            must_split: false,
            left_out: None,
            out: Vec::new(),
        }
    }

    /// What is in force from the next group on; `moves`: the next file is elsewhere.
    pub fn reconfigure(&mut self, container: RecordContainer, split: Split, moves: bool) {
        self.must_split |= moves || container != self.container;
        (self.container, self.split) = (container, split);
    }

    /// Whether there is a file, or one is going to begin.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_) | State::Opening { .. })
    }

    /// Whether `frame` is of another run of times than the file, as is all of another publisher.
    pub fn is_of_another_run(&self, frame: &Frame) -> bool {
        let epoch = match &self.state {
            State::Opening { frames, .. } => frames.last().map(|frame| frame.epoch),
            State::Open(open) => Some(open.epoch),
            State::Nothing | State::Unfit(_) => None,
        };
        epoch.is_some_and(|epoch| epoch != frame.epoch)
    }

    /// Whether the container has room for nothing of the stream.
    pub fn is_unfit(&self) -> bool {
        matches!(self.state, State::Unfit(_))
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        match &self.state {
            State::Opening { bytes, .. } => *bytes,
            State::Open(open) => open.file.held(),
            State::Nothing | State::Unfit(_) => 0,
        }
    }

    /// What was found to have no room in the container since the last call.
    pub fn newly_left_out(&mut self) -> Option<String> {
        self.left_out.take()
    }

    /// Takes the next frame of the stream.
    pub fn push(&mut self, Item { frame, group }: &Item, ops: &mut Vec<Op>) {
        if frame.stray {
            return;
        }
        if let Some(init) = group {
            if self.splits_before(frame, init) {
                self.end(ops);
            }
            match &mut self.state {
                State::Nothing => self.open_with(frame, init),
                State::Open(open) if open.is_skipping => {
                    open.is_skipping = false;
                    // Configurations may have come with what is missing.
                    let again = init.frames().filter(|it| it.content != Content::Metadata);
                    let at = frame.dts;
                    again.for_each(|it| {
                        take(open, &Frame { dts: at, ..it.clone() }, false, &mut self.out);
                    });
                }
                _ => {}
            }
        }
        match &mut self.state {
            State::Nothing | State::Unfit(_) => {}
            State::Opening { frames, bytes, first } => {
                *bytes += frame.body.len() + FRAME_COST;
                let is_due =
                    frame.dts.saturating_since(*first) >= OPENING || *bytes > OPENING_BYTES;
                frames.push(frame.clone());
                if is_due {
                    self.begin(ops);
                }
            }
            State::Open(open) if open.is_skipping => {}
            State::Open(open) => {
                if open.epoch != frame.epoch {
                    open.epoch = frame.epoch;
                    open.file.skip(&mut self.out);
                }
                take(open, frame, group.is_some(), &mut self.out);
            }
        }
        self.hand_out(ops);
    }

    /// Whether the file ends before this group.
    fn splits_before(&self, frame: &Frame, init: &Init) -> bool {
        let is_other = |codecs: &BTreeMap<Track, Codec>| {
            let mut all = init.frames().chain([frame]);
            all.any(|it| {
                codec_of(it)
                    .is_some_and(|codec| codecs.get(&it.track).is_some_and(|known| *known != codec))
            })
        };
        match &self.state {
            State::Nothing => false,
            State::Unfit(codecs) => self.must_split || is_other(codecs),
            State::Opening { frames, .. } => {
                let codecs =
                    frames.iter().filter_map(|it| Some((it.track, codec_of(it)?))).collect();
                self.must_split || is_other(&codecs)
            }
            State::Open(open) => {
                let Split { duration, size, .. } = self.split;
                let lasts = frame.dts.saturating_since(open.base);
                self.must_split
                    || !duration.is_zero() && lasts >= duration
                    || size > 0 && open.bytes + open.file.held() as u64 >= size
                    || is_other(&open.codecs)
                    || init.frames().chain([frame]).any(|it| open.file.must_end(it))
            }
        }
    }

    fn open_with(&mut self, frame: &Frame, init: &Init) {
        self.must_split = false;
        let at = frame.dts;
        let frames: Vec<_> = init.frames().map(|it| Frame { dts: at, ..it.clone() }).collect();
        let bytes = frames.iter().map(|it| it.body.len() + FRAME_COST).sum();
        self.state = State::Opening { frames, bytes, first: at };
    }

    /// Begins the file with what is held for it.
    fn begin(&mut self, ops: &mut Vec<Op>) {
        let State::Opening { frames, .. } = mem::replace(&mut self.state, State::Nothing) else {
            return;
        };
        let base = frames.iter().map(|it| it.dts).min().unwrap_or_default();
        let newest = frames.iter().map(|it| it.dts).max().unwrap_or_default();
        let epoch = frames.last().map_or(0, |it| it.epoch);
        let codecs = frames.iter().filter_map(|it| Some((it.track, codec_of(it)?))).collect();
        let frames: Vec<_> = frames.iter().map(|it| shifted(it, base)).collect();
        let (file, left_out) = File::begin(self.container, &frames, &mut self.out);
        self.left_out = left_out.or(self.left_out.take());
        self.state = match file {
            Some(file) => {
                ops.push(Op::Begin(self.container));
                State::Open(Open {
                    file,
                    base,
                    newest,
                    bytes: 0,
                    epoch,
                    codecs,
                    is_skipping: false,
                })
            }
            None => State::Unfit(codecs),
        };
        self.hand_out(ops);
    }

    fn hand_out(&mut self, ops: &mut Vec<Op>) {
        for data in self.out.drain(..) {
            if let State::Open(open) = &mut self.state {
                open.bytes += data.len() as u64;
            }
            ops.push(Op::Data(data));
        }
    }

    /// Frames are missing, or are to be left out, until the next group.
    pub fn skip(&mut self, ops: &mut Vec<Op>) {
        if matches!(self.state, State::Opening { .. }) {
            self.begin(ops);
        }
        if let State::Open(open) = &mut self.state {
            if !mem::replace(&mut open.is_skipping, true) {
                open.file.skip(&mut self.out);
            }
            self.hand_out(ops);
        }
    }

    /// Hands out what is whole.
    pub fn flush(&mut self, ops: &mut Vec<Op>) {
        if let State::Open(open) = &mut self.state {
            open.file.flush(&mut self.out);
            self.hand_out(ops);
        }
    }

    /// Ends the file.
    pub fn end(&mut self, ops: &mut Vec<Op>) {
        if matches!(self.state, State::Opening { .. }) {
            self.begin(ops);
        }
        if let State::Open(open) = mem::replace(&mut self.state, State::Nothing) {
            let lasts = open.newest.saturating_since(open.base);
            open.file.finish(&mut self.out);
            self.hand_out(ops);
            ops.push(Op::End(lasts));
        }
    }

    /// Forgets the file: it is lost. The next one begins with the next group.
    pub fn abandon(&mut self) {
        self.out.clear();
        self.state = State::Nothing;
    }
}

fn take(open: &mut Open, frame: &Frame, starts: bool, out: &mut Vec<Bytes>) {
    if let Some(codec) = codec_of(frame) {
        open.codecs.insert(frame.track, codec);
    }
    open.newest = open.newest.max(frame.dts);
    open.file.push(&shifted(frame, open.base), starts, out);
}
