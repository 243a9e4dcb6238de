//! The audio track: what its sound is coded with, and whether that can be carried.

use weir_media::{AudioCodec, TURN_FRAMES, Turn, Turns};

use crate::{
    aac::Likeness,
    error::{BadAudio, Damage, Unsupported},
    tracks::{AudioFormat, check_audio},
};

/// Access units in a row, none of them like those of the configuration before, after which one is believed that cannot
/// be carried.
const UNLIKE_UNITS: u32 = 3;

/// What is known of an audio track.
#[derive(Debug, Default)]
pub(crate) struct Sound {
    turns: Turns<AudioCodec>,
    /// What segments carry; none while there is no sound or none that can be carried.
    carried: Option<AudioFormat>,
    /// The AAC configuration that counts.
    aac: Option<Result<AudioFormat, Unsupported>>,
    doubt: Option<Doubt>,
}

/// An AAC configuration that cannot be carried came to a track that could be: one of the two is wrong, and packets do
/// not name theirs.
#[derive(Debug)]
struct Doubt {
    why: Unsupported,
    like: u32,
    unlike: u32,
}

impl Sound {
    /// What segments carry.
    pub fn carried(&self) -> Option<&AudioFormat> {
        self.carried.as_ref()
    }

    /// Why the sound cannot be carried.
    pub fn left_out(&self) -> Option<Unsupported> {
        match self.turns.codec()? {
            AudioCodec::Aac => self.aac.as_ref()?.as_ref().err().copied(),
            codec => check_audio(codec).err(),
        }
    }

    /// Takes a configuration; says whether what is carried is another thing now.
    pub fn configure(&mut self, codec: AudioCodec, record: &[u8]) -> Result<bool, Damage> {
        if codec != AudioCodec::Aac {
            self.turns.announce(codec);
            return Ok(false);
        }
        let parsed = match AudioFormat::parse_aac(record) {
            Ok(format) => Ok(format),
            Err(BadAudio::Unsupported(why)) => Err(why),
            Err(BadAudio::Damaged(damage)) => return Err(damage),
        };
        self.turns.announce(codec);
        self.doubt = None;
        match (parsed, &self.aac) {
            (Err(why), Some(Ok(_))) => {
                self.doubt = Some(Doubt { why, like: 0, unlike: 0 });
                return Ok(false);
            }
            (parsed, _) => self.aac = Some(parsed),
        }
        // Before the first packet it is known already what segments will have.
        Ok(self.turns.codec() == Some(codec) && self.carry(self.carried_aac()))
    }

    /// Takes a packet; says whether what is carried is another thing now.
    pub fn packet(&mut self, codec: AudioCodec, packet: &[u8]) -> Result<bool, Damage> {
        match self.turns.frame(codec, is_sure(codec, packet)) {
            Turn::Refused => Err(Damage::ForeignAudio(codec)),
            Turn::Taken if codec == AudioCodec::Aac => Ok(self.carry(self.carried_aac())),
            Turn::Taken => Ok(self.carry(AudioFormat::from_packet(codec, packet))),
            Turn::None if self.doubt.is_some() && codec == AudioCodec::Aac => self.resolve(packet),
            Turn::None => Ok(false),
        }
    }

    /// What `packet` says about the configuration that is in doubt.
    fn resolve(&mut self, packet: &[u8]) -> Result<bool, Damage> {
        let (Some(doubt), Some(AudioFormat::Aac { adts, .. })) = (&mut self.doubt, &self.carried)
        else {
            return Ok(false);
        };
        match adts.likeness(packet) {
            Likeness::Like => (doubt.like, doubt.unlike) = (doubt.like + 1, 0),
            Likeness::Unlike => (doubt.like, doubt.unlike) = (0, doubt.unlike + 1),
            Likeness::Unknown => return Ok(false),
        }
        if doubt.like >= TURN_FRAMES {
            self.doubt = None;
        } else if doubt.unlike >= UNLIKE_UNITS {
            self.aac = Some(Err(doubt.why));
            self.doubt = None;
            return Ok(self.carry(None));
        } else if doubt.unlike > 0 {
            return Err(Damage::ForeignAudio(AudioCodec::Aac));
        }
        Ok(false)
    }

    fn carried_aac(&self) -> Option<AudioFormat> {
        self.aac.as_ref()?.as_ref().ok().cloned()
    }

    fn carry(&mut self, format: Option<AudioFormat>) -> bool {
        let changed = self.carried != format;
        self.carried = format;
        changed
    }
}

/// Whether a track may begin with `packet`, without a configuration and others like it.
fn is_sure(codec: AudioCodec, packet: &[u8]) -> bool {
    match codec {
        // The sync word (ISO/IEC 11172-3, 2.4.1.3): the codec's number alone is half a byte of anything.
        AudioCodec::Mp3 => matches!(packet, [0xFF, second, ..] if second & 0xE0 == 0xE0),
        codec => check_audio(codec).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LC: &[u8] = &[0x11, 0x90];
    /// Object type 42.
    const XHE: &[u8] = &[0xF9, 0x46, 0x40];
    const PAIR: &[u8] = &[0x21, 0x10];

    fn stereo() -> Sound {
        let mut sound = Sound::default();
        assert_eq!(sound.configure(AudioCodec::Aac, LC), Ok(true));
        assert_eq!(sound.packet(AudioCodec::Aac, PAIR), Ok(false));
        sound
    }

    #[test]
    fn a_foreign_configuration_counts_when_packets_agree_with_it() {
        let mut sound = stereo();
        assert_eq!(sound.configure(AudioCodec::Aac, XHE), Ok(false));
        for _ in 0..20 {
            assert_eq!(sound.packet(AudioCodec::Aac, PAIR), Ok(false), "they are what they were");
        }
        assert_eq!(sound.configure(AudioCodec::Aac, XHE), Ok(false));
        let foreign = Err(Damage::ForeignAudio(AudioCodec::Aac));
        let packets = [(); 3].map(|()| sound.packet(AudioCodec::Aac, &[0x07, 0x10]));
        assert_eq!(packets, [foreign, foreign, Ok(true)]);
        assert_eq!(sound.left_out(), Some(Unsupported::AacObjectType(42)));
        assert_eq!(
            sound.configure(AudioCodec::Aac, LC),
            Ok(true),
            "a good one is believed at once"
        );
        assert_eq!((sound.left_out(), sound.carried().is_some()), (None, true));
    }

    #[test]
    fn aac_comes_back_without_a_new_configuration() {
        let mut sound = stereo();
        let mp3 = &[0xFF, 0xFB, 0x90, 0];
        let turned = (0..TURN_FRAMES).filter(|_| sound.packet(AudioCodec::Mp3, mp3) == Ok(true));
        assert_eq!(turned.count(), 1);
        assert_eq!(sound.carried(), Some(&AudioFormat::Mp3 { low_rate: false }));
        let back = (0..TURN_FRAMES).filter(|_| sound.packet(AudioCodec::Aac, PAIR) == Ok(true));
        assert_eq!(back.count(), 1);
        assert!(matches!(sound.carried(), Some(AudioFormat::Aac { .. })));
    }

    #[test]
    fn what_cannot_be_carried_is_left_out_when_it_is_sure() {
        let mut sound = Sound::default();
        let pcma = AudioCodec::Legacy(7);
        for _ in 1..TURN_FRAMES {
            assert_eq!(sound.packet(pcma, &[0xD5; 160]), Err(Damage::ForeignAudio(pcma)));
            assert_eq!(sound.left_out(), None);
        }
        assert_eq!(sound.packet(pcma, &[0xD5; 160]), Ok(false));
        assert_eq!(sound.left_out(), Some(Unsupported::Audio(pcma)));
        assert_eq!(sound.configure(AudioCodec::Aac, LC), Ok(false));
        assert_eq!(sound.packet(AudioCodec::Aac, PAIR), Ok(true), "it was announced");
    }
}
