//! What the cut rules need from a container. MPEG-TS is one ([`crate::ts`]); fragmented MP4 would be another.

use bytes::Bytes;
use weir_media::Frame;

use crate::{
    error::Damage,
    nal::Survey,
    tracks::{AudioFormat, Tracks, VideoFormat},
};

/// Builds one segment at a time.
///
/// A frame is staged first, which finds damage before anything depends on it: a damaged key frame must not begin a
/// segment. Then the segment it belongs to is begun if need be, and the staged data is written.
pub(crate) trait Container: Send {
    /// Converts the access unit of a picture and holds it, in place of what was held. Returns its bytes.
    fn stage_video(
        &mut self,
        format: &VideoFormat,
        survey: Survey,
        frame: &Frame,
    ) -> Result<usize, Damage>;

    /// The same for the rest of a picture that was written just before.
    fn stage_rest(
        &mut self,
        format: &VideoFormat,
        survey: Survey,
        frame: &Frame,
    ) -> Result<usize, Damage>;

    /// The same for an audio packet.
    fn stage_audio(&mut self, format: &AudioFormat, frame: &Frame) -> Result<usize, Damage>;

    /// Begins a segment. What was in an unfinished one is forgotten.
    fn begin(&mut self, tracks: &Tracks, discontinuity: bool);

    /// Appends what was staged for `frame` to the segment that was begun.
    fn write(&mut self, frame: &Frame);

    /// Appends what was staged by `stage_rest`.
    fn write_rest(&mut self);

    /// Bytes of the segment so far.
    fn len(&self) -> usize;

    /// Memory that is in use.
    fn capacity(&self) -> usize;

    /// How much more memory it takes to write `bytes` of a staged frame; 0 when there is room.
    fn growth(&self, bytes: usize) -> usize;

    /// Ends the segment. `tracks` are those of `begin`; an audio track may have joined them since.
    fn take(&mut self, tracks: &Tracks) -> Bytes;
}
