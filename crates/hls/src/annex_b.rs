//! From a message of pictures to an access unit in byte stream format (ISO/IEC 14496-10, annex B).

use weir_media::VideoCodec;

use crate::{
    error::Damage,
    nal::{Kind, Survey, complete, each_nal, kind, put},
    tracks::VideoFormat,
};

/// Access unit delimiters with start code, for any kind of picture. Apple's HLS authoring rules ask for one at each
/// access unit.
const AVC_DELIMITER: [u8; 6] = [0, 0, 0, 1, 0x09, 0xF0];
const HEVC_DELIMITER: [u8; 7] = [0, 0, 0, 1, 0x46, 0x01, 0x50];

/// Appends the access unit to `out` in byte stream format: an access unit delimiter first; then, for a key frame that
/// does not bring its own, the parameter sets of `format`; then what came before the picture in messages of its own;
/// then its NAL units as they are.
///
/// # Errors
/// A NAL unit that is cut short; `out` then has a part of the unit in it.
pub(crate) fn convert(
    format: &VideoFormat,
    survey: Survey,
    unit: &[u8],
    key: bool,
    out: &mut Vec<u8>,
) -> Result<(), Damage> {
    if format.codec == VideoCodec::Hevc {
        out.extend_from_slice(&HEVC_DELIMITER);
    } else {
        out.extend_from_slice(&AVC_DELIMITER);
    }
    let complete = complete(format.codec);
    if key && (survey.sets | format.ahead.sets) & complete != complete {
        format.sets.write(out);
    }
    out.extend_from_slice(&format.ahead.units);
    each_nal(unit, survey.framing, |nal| {
        if kind(format.codec, nal[0]) != Kind::Delimiter {
            put(nal, out);
        }
    })
}

/// Appends the rest of a picture, which came in a message of its own.
///
/// # Errors
/// As [`convert`].
pub(crate) fn convert_rest(
    format: &VideoFormat,
    survey: Survey,
    unit: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Damage> {
    out.extend_from_slice(&format.ahead.units);
    each_nal(unit, survey.framing, |nal| {
        if kind(format.codec, nal[0]) != Kind::Delimiter {
            put(nal, out);
        }
    })
}

#[cfg(test)]
mod tests;
