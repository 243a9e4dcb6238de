//! Frames to segments, whatever the container.

use std::time::Duration;

use weir_media::{Budget, Frame};
use weir_mp4::SampleEntry;

use crate::{
    Container, Dropped, Event, Lead, Lengths, Segment, cmaf::CmafSegmenter, cuts::Cuts,
    error::LeftOut, whole::WholeSegmenter,
};

/// Turns the frames of one stream into segments.
///
/// Where it cuts:
/// - A stream with video is cut at the first key frame that is at least the target length after the segment's start,
///   and a GOP that is longer makes a longer segment. Whether there is video is known from a configuration record of it
///   or a picture. If pictures stop coming for two target lengths, audio is cut on its own.
/// - A stream without video is cut at the first audio packet past the target length.
/// - A stream whose own time is slow is cut after three target lengths of the wall clock, where it may be.
/// - [`SEGMENT_BYTES_MAX`](crate::SEGMENT_BYTES_MAX) and [`Lengths::longest`] cut anywhere. The next segment then
///   continues in the middle of the GOP, without a discontinuity, and ends with that: players that come from the one
///   before go on, one that starts there waits for a key frame.
/// - One that is led ([`Segmenter::follow`]) cuts where the leader does: at its own key frame of the same time, and
///   without one in the middle of its GOP.
///
/// What begins: the first segment starts at the first key frame, audio before it is dropped. Audio that was first alone
/// does not get in the way of the video that follows it. Audio that turns up during the first segment of a run joins it
/// (in fragmented MP4: before its first part is cut); later, or with another configuration, it starts with the next key
/// frame. Its configuration alone is no track, and neither is audio of which nothing came during a segment: players
/// wait for a track that a segment names.
///
/// What interrupts: another video configuration, lost frames ([`Segmenter::skipped`]) and a hole in the timeline end
/// the segment at once, and everything up to the next key frame is dropped. Another audio configuration ends it at the
/// next key frame; so does a new [`epoch`](Frame::epoch) in MPEG-TS, which ends it at once in fragmented MP4. The
/// segment after each of them has [`discontinuity`](Segment::discontinuity) set.
///
/// What is one picture: messages of the same times, of which the first alone has the picture's beginning.
///
/// Parts end where the next frame would make them longer than the part target, or with their segment; no part is longer
/// unless a single frame is. Where frames come regularly, parts that are not their segment's last have 85 % of it.
///
/// What is left out: a track whose codec cannot be carried ([`Segmenter::left_out`]), while the other one goes on; and
/// damaged frames ([`Segmenter::dropped`]). Only track 0 of each kind is carried.
pub struct Segmenter {
    by: By,
}

/// The rules are the same; what a segment can have, and when that is known, is not.
enum By {
    Whole(Box<WholeSegmenter>),
    Cmaf(Box<CmafSegmenter>),
}

impl Segmenter {
    /// A segmenter that has seen nothing.
    pub fn new(container: Container, lengths: Lengths) -> Self {
        let by = match container {
            Container::Ts => By::Whole(Box::new(WholeSegmenter::new(lengths))),
            Container::Mp4 => By::Cmaf(Box::new(CmafSegmenter::new(lengths))),
        };
        Self { by }
    }

    /// What its segments are written in.
    pub fn container(&self) -> Container {
        match self.by {
            By::Whole(_) => Container::Ts,
            By::Cmaf(_) => Container::Mp4,
        }
    }

    /// What is held counts against `budget` from now on, what was handed out included
    /// ([`Use::HlsWindow`](weir_media::Use::HlsWindow)). Where it has no room, a segment is cut early or given up, up
    /// to the next key frame.
    pub fn limit_to(&mut self, budget: &Budget) {
        match &mut self.by {
            By::Whole(segmenter) => segmenter.limit_to(budget),
            By::Cmaf(segmenter) => segmenter.limit_to(budget),
        }
    }

    /// Aims at segments of another length, the one in the making included.
    pub fn set_target(&mut self, target: Duration) {
        self.cuts().lengths.target = target;
    }

    /// No segment is longer than this from now on.
    pub fn set_longest(&mut self, longest: Duration) {
        self.cuts().lengths.longest = longest;
    }

    /// Ends its segments where another segmenter of the same stream does, which is there now; none to end them by its
    /// own. To be said before each frame.
    pub fn follow(&mut self, lead: Option<Lead>) {
        self.cuts().follow(lead);
    }

    /// Where it is, for others that are to follow; none while it has no segment in the making.
    pub fn lead(&self) -> Option<Lead> {
        match &self.by {
            By::Whole(segmenter) => segmenter.lead(),
            By::Cmaf(segmenter) => segmenter.lead(),
        }
    }

    /// Takes the stream's next frame. `wall` is the time since the Unix epoch at which it arrived.
    pub fn push(&mut self, frame: &Frame, wall: Duration) -> Vec<Event> {
        match &mut self.by {
            By::Whole(segmenter) => events(segmenter.push(frame, wall)),
            By::Cmaf(segmenter) => segmenter.push(frame, wall),
        }
    }

    /// The reader lost frames: the segment ends here, and the next begins at a key frame, with a discontinuity.
    pub fn skipped(&mut self) -> Vec<Event> {
        match &mut self.by {
            By::Whole(segmenter) => events(segmenter.finish()),
            By::Cmaf(segmenter) => segmenter.finish(),
        }
    }

    /// The stream ended: its last segment, which may be shorter than the others. What it lacks is known now.
    pub fn finish(&mut self) -> Vec<Event> {
        self.cuts().settle();
        self.skipped()
    }

    /// PART-TARGET, once the first part is there: as many whole frames as fit into what was asked for, by the distance
    /// of the stream's first two; at least one. It never changes.
    pub fn part_target(&self) -> Option<Duration> {
        match &self.by {
            By::Whole(_) => None,
            By::Cmaf(segmenter) => segmenter.part_target(),
        }
    }

    /// How the tracks of the newest segment are coded, for CODECS and RESOLUTION.
    pub fn entries(&self) -> Vec<SampleEntry> {
        match &self.by {
            By::Whole(segmenter) => segmenter.entries(),
            By::Cmaf(segmenter) => segmenter.entries().to_vec(),
        }
    }

    /// Which tracks cannot be carried; none as long as there is not enough of the stream to say.
    pub fn left_out(&self) -> Option<LeftOut> {
        match &self.by {
            By::Whole(segmenter) => segmenter.left_out(),
            By::Cmaf(segmenter) => segmenter.left_out(),
        }
    }

    /// Frames that were left out because they are damaged, or of another codec than their track, if there were any.
    pub fn dropped(&self) -> Option<Dropped> {
        match &self.by {
            By::Whole(segmenter) => segmenter.dropped(),
            By::Cmaf(segmenter) => segmenter.dropped(),
        }
    }

    fn cuts(&mut self) -> &mut Cuts {
        match &mut self.by {
            By::Whole(segmenter) => &mut segmenter.cuts,
            By::Cmaf(segmenter) => &mut segmenter.cuts,
        }
    }
}

/// A segment that was made whole begins when it is complete.
fn events(whole: Option<Segment>) -> Vec<Event> {
    let Some(segment) = whole else { return Vec::new() };
    let Segment { discontinuity, program_date_time, .. } = segment;
    vec![Event::Begin { discontinuity, program_date_time }, Event::Segment(segment)]
}

#[cfg(test)]
mod tests;
