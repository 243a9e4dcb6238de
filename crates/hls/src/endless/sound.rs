//! The sound of a stream alone: packets of MP3, or AAC in ADTS, one after the other.

use std::{mem, time::Duration};

use weir_media::{AudioCodec, Content, Frame, Timestamp};

use super::piece::{Ended, Out, Start};
use crate::{Unsupported, sound::Sound, tracks::AudioFormat};

/// Distance of the places at which somebody can start. Every packet would do; who starts at the newest of these is as
/// far behind at most.
const GROUP: Duration = Duration::from_secs(1);

/// The file.
pub struct SoundFile {
    codec: AudioCodec,
    sound: Sound,
    data: Vec<u8>,
    /// When the newest place begins at which somebody can start, and whether that is in `data`.
    group: Option<Timestamp>,
    has_start: bool,
}

impl SoundFile {
    pub fn new(codec: AudioCodec) -> Self {
        Self { codec, sound: Sound::default(), data: Vec::new(), group: None, has_start: false }
    }

    pub fn push(&mut self, frame: &Frame, out: &mut Out) {
        let taken = match frame.content {
            Content::AudioConfig(codec) => self.sound.configure(codec, &frame.payload),
            Content::Audio(codec) => self.sound.packet(codec, &frame.payload),
            _ => return,
        };
        let unsupported = self.sound.left_out();
        if let Some(why) = unsupported {
            return self.end(Ended::Unsupported(why), out);
        }
        let Content::Audio(codec) = frame.content else { return };
        if taken.is_err() {
            return;
        }
        let before = self.data.len();
        let data = &mut self.data;
        match self.sound.carried() {
            Some(AudioFormat::Aac { adts, .. }) if self.codec == AudioCodec::Aac => {
                if adts.frame(&frame.payload, data).is_err() {
                    data.truncate(before);
                    return;
                }
            }
            Some(AudioFormat::Mp3 { .. }) if self.codec == AudioCodec::Mp3 => {
                data.extend_from_slice(&frame.payload);
            }
            Some(_) => return self.end(Ended::Unsupported(Unsupported::Audio(codec)), out),
            None => return,
        }
        let packet = self.data.split_off(before);
        self.begin(frame.dts, out);
        self.data.extend_from_slice(&packet);
    }

    /// Begins a place to start at, if it is time for that.
    fn begin(&mut self, now: Timestamp, out: &mut Out) {
        let is_due =
            self.group.is_none_or(|group| now < group || now.saturating_since(group) >= GROUP);
        if is_due {
            self.flush(out);
            (self.group, self.has_start) = (Some(now), true);
        }
    }

    pub fn flush(&mut self, out: &mut Out) {
        if !self.data.is_empty() {
            let start = mem::take(&mut self.has_start).then(Start::default);
            out.push(mem::take(&mut self.data), start);
        }
    }

    fn end(&mut self, why: Ended, out: &mut Out) {
        self.flush(out);
        out.ended = Some(why);
    }
}
