//! The video track: what its pictures are coded with, and whether that can be carried.

use weir_media::{Content, Frame, Turn, Turns, VideoCodec};

use crate::{
    error::{Damage, Unsupported},
    nal::Survey,
    tracks::{VideoFormat, check_video},
};

/// A message with a picture in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picture {
    pub survey: Survey,
    /// Whether decoding can start at it: some encoders mark only the message with the parameter sets.
    pub is_key: bool,
}

/// What is known of a video track.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    turns: Turns<VideoCodec>,
    /// What the newest configurations say, one for each codec: pictures may go back to the one before.
    avc: Option<VideoFormat>,
    hevc: Option<VideoFormat>,
}

impl Pictures {
    /// What segments carry; none while there are no pictures, none that can be carried, or nothing to decode them by.
    pub fn carried(&self) -> Option<&VideoFormat> {
        let codec = self.turns.codec()?;
        let format = match codec {
            VideoCodec::Avc => self.avc.as_ref(),
            VideoCodec::Hevc => self.hevc.as_ref(),
            _ => None,
        };
        format.filter(|format| format.sets.are_complete(codec))
    }

    /// Why the pictures cannot be carried.
    pub fn left_out(&self) -> Option<Unsupported> {
        check_video(self.turns.codec()?).err()
    }

    /// Takes a configuration. What is carried may be another thing now, even if the record lacks something.
    pub fn configure(&mut self, codec: VideoCodec, record: &[u8]) -> Result<(), Damage> {
        let read = match self.known(codec) {
            None => Ok(()),
            Some(Some(known)) => known.update(record),
            Some(unknown) => {
                let (format, read) = VideoFormat::parse(codec, record);
                *unknown = Some(format);
                read
            }
        };
        self.turns.announce(codec);
        read
    }

    /// Takes note of a picture's codec; says whether what is carried may be another thing now.
    pub fn turn(&mut self, codec: VideoCodec) -> Result<bool, Damage> {
        match self.turns.frame(codec, check_video(codec).is_ok()) {
            Turn::Refused => Err(Damage::ForeignVideo(codec)),
            Turn::Taken => Ok(true),
            Turn::None => Ok(false),
        }
    }

    /// Takes a message in the track's codec. Nothing comes of one without a picture: it belongs to the next one.
    pub fn take(&mut self, codec: VideoCodec, frame: &Frame) -> Result<Option<Picture>, Damage> {
        let missing = Damage::NoVideoConfig(codec);
        let known = self.known(codec).ok_or(missing)?;
        let unit = &frame.payload;
        let format = match known {
            Some(format) => format,
            None => {
                // Some encoders send no record at all.
                let mut format = VideoFormat::parse(codec, &[]).0;
                let brings_sets = format.survey(unit)?.sets != 0;
                known.insert(Some(format).filter(|_| brings_sets).ok_or(missing)?)
            }
        };
        let survey = format.survey(unit)?;
        if !survey.has_picture {
            format.keep(survey, unit)?;
            return Ok(None);
        }
        let is_key = frame.is_key() || survey.has_idr;
        if is_key && !format.sets.are_complete(codec) {
            return Err(missing);
        }
        Ok(Some(Picture { survey, is_key }))
    }

    /// The newest picture is done with.
    pub fn clear(&mut self, codec: VideoCodec) {
        if let Some(Some(format)) = self.known(codec) {
            format.ahead.clear();
        }
    }

    fn known(&mut self, codec: VideoCodec) -> Option<&mut Option<VideoFormat>> {
        match codec {
            VideoCodec::Avc => Some(&mut self.avc),
            VideoCodec::Hevc => Some(&mut self.hevc),
            _ => None,
        }
    }
}

/// A key frame that its sender has not marked as one.
pub(crate) fn as_key(frame: &Frame) -> Frame {
    let content = match frame.content {
        Content::Video { codec, composition, .. } => {
            Content::Video { codec, key: true, composition }
        }
        other => other,
    };
    Frame { content, ..frame.clone() }
}
