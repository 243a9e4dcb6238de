//! Which tracks FLV viewers are told of.
//!
//! Players of FLV wait for every track that the header, the metadata or a configuration names, and never start if one
//! of them is silent. So a channel of FLV has nothing of a track that is silent. Before its first frame come metadata,
//! since edges and recorders know of the stream what that says, and its configuration.

use std::sync::Arc;

use weir_hub::{SILENT, Tracks};
use weir_media::{Content, Frame, Init, InitSlot, Timestamp, Track};

use super::package::Package;

/// The tracks of a channel at the place that it was read up to.
#[derive(Debug, Default)]
pub struct Flow {
    /// Those that viewers who start here are told of.
    tracks: Tracks,
    /// When sound and pictures came last.
    newest: [Option<Timestamp>; 2],
}

impl Flow {
    /// At a place where the stream has `tracks`.
    pub fn new(tracks: Tracks) -> Self {
        Self { tracks, ..Self::default() }
    }

    /// Those that viewers who start here are told of.
    pub fn tracks(&self) -> Tracks {
        self.tracks
    }

    /// A group begins at `dts`. Returns what those are told of who start with it.
    pub fn begin_group(&mut self, first: &Frame) -> Tracks {
        let dts = first.dts;
        let flows = |newest: Option<Timestamp>| {
            newest.is_some_and(|newest| dts.saturating_since(newest) <= SILENT)
        };
        if self.newest == [None; 2] {
            // Nothing was read before: what the hub says came shortly before this place.
            let Tracks { audio, video } = self.tracks;
            self.newest = [audio, video].map(|flows| flows.then_some(dts));
        }
        let [audio, video] = self.newest.map(flows);
        self.tracks = Tracks { audio, video };
        let begins = |kind| frame_kind(first) == Some(kind);
        Tracks {
            audio: self.tracks.audio || begins(Kind::Audio),
            video: self.tracks.video || begins(Kind::Video),
        }
    }

    /// Adds `frame` to `package`, if viewers get it: players of FLV stop at a stray. `latest` is what the stream's
    /// publisher has announced by now.
    pub fn push(
        &mut self,
        frame: &Frame,
        package: &mut Package,
        latest: impl FnOnce() -> Arc<Init>,
    ) {
        if frame.stray {
            return;
        }
        let Some(kind) = frame_kind(frame) else {
            return self.push_uncoded(frame, package);
        };
        self.newest[kind as usize] = Some(frame.dts);
        if !self.tracks.have(frame.track) {
            match kind {
                Kind::Audio => self.tracks.audio = true,
                Kind::Video => self.tracks.video = true,
            }
            let init = latest();
            if let Some(metadata) = init.get(InitSlot::Metadata) {
                package.push_metadata(metadata, frame.dts, self.tracks);
            }
            let own = init.frames().filter(|known| is_alike(known.track, frame.track));
            own.for_each(|known| package.push_at(known, frame.dts));
        }
        package.push(frame);
    }

    /// What is of a silent track comes with its first frame or not at all; metadata tells of what flows.
    fn push_uncoded(&self, frame: &Frame, package: &mut Package) {
        if frame.content == Content::Metadata {
            package.push_metadata(frame, frame.dts, self.tracks);
        } else if self.tracks.have(frame.track) {
            package.push(frame);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Audio = 0,
    Video = 1,
}

/// The kind of a picture or of sound.
fn frame_kind(frame: &Frame) -> Option<Kind> {
    match frame.content {
        Content::Audio(_) => Some(Kind::Audio),
        Content::Video { .. } => Some(Kind::Video),
        _ => None,
    }
}

fn is_alike(one: Track, other: Track) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
}

#[cfg(test)]
mod tests;
