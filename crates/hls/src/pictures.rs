//! The video track: what its pictures are coded with, and whether that can be carried.

use weir_media::VideoCodec;

use crate::{
    error::{Damage, Unsupported},
    tracks::{VideoFormat, check_video},
    turns::{Turn, Turns},
};

/// What is known of a video track.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    turns: Turns<VideoCodec>,
    /// What the newest configurations say, one for each codec: pictures may go back to the one before.
    avc: Option<VideoFormat>,
    hevc: Option<VideoFormat>,
}

impl Pictures {
    /// What segments carry; none while there are no pictures, none that can be carried, or no configuration of them.
    pub fn carried(&self) -> Option<&VideoFormat> {
        match self.turns.codec()? {
            VideoCodec::Avc => self.avc.as_ref(),
            VideoCodec::Hevc => self.hevc.as_ref(),
            _ => None,
        }
    }

    /// Why the pictures cannot be carried.
    pub fn left_out(&self) -> Option<Unsupported> {
        check_video(self.turns.codec()?).err()
    }

    /// Takes a configuration; says whether what is carried may be another thing now.
    pub fn configure(&mut self, codec: VideoCodec, record: &[u8]) -> Result<bool, Damage> {
        let known = match codec {
            VideoCodec::Avc => &mut self.avc,
            VideoCodec::Hevc => &mut self.hevc,
            _ => {
                self.turns.announce(codec);
                return Ok(false);
            }
        };
        if known.as_ref().is_none_or(|known| !known.is(codec, record)) {
            *known = Some(VideoFormat::parse(codec, record)?);
        }
        self.turns.announce(codec);
        Ok(self.turns.codec() == Some(codec))
    }

    /// Takes note of a picture; says whether what is carried may be another thing now.
    pub fn picture(&mut self, codec: VideoCodec) -> Result<bool, Damage> {
        match self.turns.frame(codec, check_video(codec).is_ok()) {
            Turn::Refused => Err(Damage::ForeignVideo(codec)),
            Turn::Taken => Ok(true),
            Turn::None => Ok(false),
        }
    }
}
