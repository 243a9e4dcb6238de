//! Which playlists a stream has: the multivariant playlist (RFC 8216bis, 4.4.6), and what it says of each.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt::{self, Write as _},
    time::Duration,
};

use weir_mp4::{Form, SampleEntry};

use crate::quoted::quoted;

/// Segments whose rates are remembered: ten minutes of the usual ones.
const RATES_MAX: usize = 300;

/// What stands before each variant.
const STREAM_INF: &str = "#EXT-X-STREAM-INF";

/// Attributes of a variant and quoted text need no more than this.
const VERSION: u32 = 6;

/// What is measured of a playlist's segments.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    newest: VecDeque<Measured>,
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    bytes: u64,
    duration: Duration,
    pictures: u32,
}

impl Rates {
    /// Takes a complete segment: its bytes, its length, and how many pictures it has.
    pub fn push(&mut self, bytes: usize, duration: Duration, pictures: u32) {
        if duration.is_zero() {
            return;
        }
        if self.newest.len() == RATES_MAX {
            self.newest.pop_front();
        }
        self.newest.push_back(Measured { bytes: bytes as u64, duration, pictures });
    }

    /// BANDWIDTH: the largest bit rate of one segment, in bits a second. Segments of less than half the longest do not
    /// count, as the RFC has it: the rate of a short one says nothing.
    pub fn peak(&self) -> u64 {
        let longest = self.newest.iter().map(|one| one.duration).max().unwrap_or_default();
        let counts = |one: &&Measured| one.duration * 2 >= longest;
        self.newest
            .iter()
            .filter(counts)
            .map(|one| rate(one.bytes, one.duration))
            .max()
            .unwrap_or(0)
    }

    /// AVERAGE-BANDWIDTH: the bit rate of all of them.
    pub fn average(&self) -> u64 {
        rate(self.newest.iter().map(|one| one.bytes).sum(), self.duration())
    }

    /// FRAME-RATE, in pictures in 1000 seconds; nothing without pictures.
    pub fn frame_rate(&self) -> Option<u64> {
        let pictures: u64 = self.newest.iter().map(|one| u64::from(one.pictures)).sum();
        let millis =
            u64::try_from(self.duration().as_millis()).ok().filter(|millis| *millis > 0)?;
        (pictures > 0).then(|| (pictures.saturating_mul(1_000_000) + millis / 2) / millis)
    }

    fn duration(&self) -> Duration {
        self.newest.iter().map(|one| one.duration).sum()
    }
}

/// Bits a second, rounded up.
fn rate(bytes: u64, duration: Duration) -> u64 {
    let micros = duration.as_micros().max(1);
    let bits = u128::from(bytes) * 8 * 1_000_000;
    u64::try_from(bits.div_ceil(micros)).unwrap_or(u64::MAX)
}

/// One playlist that a player may choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Where it is, percent-encoded.
    pub uri: String,
    /// BANDWIDTH, in bits a second. With an audio group, that of its sound included.
    pub bandwidth: u64,
    /// AVERAGE-BANDWIDTH, if it is known.
    pub average: Option<u64>,
    /// CODECS, each once. With an audio group, that of its sound included.
    pub codecs: BTreeSet<String>,
    /// RESOLUTION, in pixels.
    pub resolution: Option<(u16, u16)>,
    /// FRAME-RATE, in pictures in 1000 seconds.
    pub frame_rate: Option<u64>,
    /// The group that its sound is to be chosen from; none if the sound is in its own segments.
    pub audio: Option<String>,
}

impl Variant {
    /// A playlist of tracks that are coded like this, of which this was measured.
    pub fn of<'a>(
        uri: impl Into<String>,
        tracks: impl IntoIterator<Item = &'a SampleEntry>,
        rates: &Rates,
    ) -> Self {
        let mut variant = Self {
            uri: uri.into(),
            bandwidth: rates.peak(),
            average: Some(rates.average()).filter(|average| *average > 0),
            ..Self::default()
        };
        for entry in tracks {
            variant.codecs.insert(entry.codecs().to_owned());
            if let Form::Video { width, height } = entry.form() {
                variant.resolution = Some((width, height)).filter(|size| *size != (0, 0));
                variant.frame_rate = rates.frame_rate();
            }
        }
        variant
    }
}

/// An alternative of the sound: EXT-X-MEDIA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AudioRendition {
    /// The group that variants name.
    pub group: String,
    /// For people.
    pub name: String,
    /// RFC 5646, if it is known.
    pub language: Option<String>,
    /// Where its playlist is, percent-encoded; none if it is in the variants' own segments.
    pub uri: Option<String>,
    /// Whether players take it when nobody chooses. One of a group is.
    pub is_default: bool,
    /// How many channels it has, if that is known.
    pub channels: Option<u16>,
}

/// A multivariant playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Multivariant {
    /// What players choose from; they begin with the first one.
    pub variants: Vec<Variant>,
    /// Alternatives of the sound.
    pub audio: Vec<AudioRendition>,
    /// Whether every segment begins with a key frame.
    pub independent: bool,
}

impl Multivariant {
    /// Whether this text is a multivariant playlist: no other one has variants.
    pub fn is(text: &str) -> bool {
        text.lines().any(|line| line.starts_with(STREAM_INF))
    }

    /// The playlist as text.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(200 * (1 + self.variants.len() + self.audio.len()));
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "#EXTM3U\n#EXT-X-VERSION:{VERSION}")?;
        if self.independent {
            writeln!(out, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        }
        self.audio.iter().try_for_each(|rendition| rendition.write(out))?;
        self.variants.iter().try_for_each(|variant| variant.write(out))
    }
}

impl AudioRendition {
    fn write(&self, out: &mut String) -> fmt::Result {
        let (group, name) = (quoted(&self.group), quoted(&self.name));
        write!(out, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID={group},NAME={name}")?;
        if let Some(language) = &self.language {
            write!(out, ",LANGUAGE={}", quoted(language))?;
        }
        let default = if self.is_default { "YES" } else { "NO" };
        write!(out, ",DEFAULT={default},AUTOSELECT=YES")?;
        if let Some(channels) = self.channels {
            write!(out, ",CHANNELS=\"{channels}\"")?;
        }
        if let Some(uri) = &self.uri {
            write!(out, ",URI={}", quoted(uri))?;
        }
        writeln!(out)
    }
}

impl Variant {
    fn write(&self, out: &mut String) -> fmt::Result {
        write!(out, "{STREAM_INF}:BANDWIDTH={}", self.bandwidth.max(1))?;
        if let Some(average) = self.average {
            write!(out, ",AVERAGE-BANDWIDTH={average}")?;
        }
        if !self.codecs.is_empty() {
            let codecs: Vec<_> = self.codecs.iter().map(String::as_str).collect();
            write!(out, ",CODECS={}", quoted(&codecs.join(",")))?;
        }
        if let Some((width, height)) = self.resolution {
            write!(out, ",RESOLUTION={width}x{height}")?;
        }
        if let Some(rate) = self.frame_rate {
            write!(out, ",FRAME-RATE={}.{:03}", rate / 1000, rate % 1000)?;
        }
        if let Some(audio) = &self.audio {
            write!(out, ",AUDIO={}", quoted(audio))?;
        }
        writeln!(out, "\n{}", self.uri)
    }
}

#[cfg(test)]
mod tests {
    use quick_m3u8::{
        HlsLine, Reader,
        config::ParsingOptionsBuilder,
        tag::{KnownTag, hls},
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rates_are_those_of_the_segments() {
        let mut rates = Rates::default();
        assert_eq!((rates.peak(), rates.average(), rates.frame_rate()), (0, 0, None));
        rates.push(250_000, 2 * SECOND, 60);
        rates.push(500_000, 2 * SECOND, 60);
        rates.push(500_000, SECOND / 10, 3);
        rates.push(500_000, Duration::ZERO, 3);
        assert_eq!(rates.peak(), 2_000_000, "the short one does not count");
        assert_eq!(rates.average(), 1_250_000 * 8 * 10 / 41 + 1);
        assert_eq!(rates.frame_rate(), Some(30_000));
        for _ in 0..RATES_MAX {
            rates.push(125_000, SECOND, 25);
        }
        assert_eq!(
            (rates.peak(), rates.average()),
            (1_000_000, 1_000_000),
            "the old ones are forgotten"
        );
        let mut film = Rates::default();
        film.push(1, Duration::from_millis(1001), 24);
        assert_eq!(film.frame_rate(), Some(23_976));
    }

    #[test]
    fn a_ladder_with_alternative_sound_is_rendered() {
        let avc = [1, 0x64, 0, 31, 0xFF, 0xE1, 0, 4, 0x67, 0x64, 0, 31, 1, 0, 1, 0x68];
        let video = SampleEntry::video(weir_media::VideoCodec::Avc, &avc, &[]).unwrap();
        let audio = SampleEntry::audio(weir_media::AudioCodec::Aac, &[0x12, 0x10], &[]).unwrap();
        let mut rates = Rates::default();
        rates.push(250_000, 2 * SECOND, 50);
        let large = Variant {
            resolution: Some((1280, 720)),
            audio: Some("aac".into()),
            ..Variant::of("v0.m3u8", [&video, &audio], &rates)
        };
        let small =
            Variant { uri: "v1.m3u8".into(), bandwidth: 400_000, average: None, ..large.clone() };
        let sound = |name: &str, uri: Option<&str>| AudioRendition {
            group: "aac".into(),
            name: name.into(),
            language: uri.map(|_| "de".into()),
            uri: uri.map(str::to_owned),
            is_default: uri.is_none(),
            channels: Some(2),
        };
        let playlist = Multivariant {
            variants: vec![large, small],
            audio: vec![sound("English", None), sound("\"Deutsch\"\n#EXT", Some("a1.m3u8"))],
            independent: true,
        };
        let text = playlist.render();
        assert_eq!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aac\",NAME=\"English\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\"\n\
             #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aac\",NAME=\"Deutsch#EXT\",LANGUAGE=\"de\",DEFAULT=NO,\
             AUTOSELECT=YES,CHANNELS=\"2\",URI=\"a1.m3u8\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=1000000,AVERAGE-BANDWIDTH=1000000,CODECS=\"avc1.64001f,mp4a.40.2\",\
             RESOLUTION=1280x720,FRAME-RATE=25.000,AUDIO=\"aac\"\nv0.m3u8\n\
             #EXT-X-STREAM-INF:BANDWIDTH=400000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,\
             FRAME-RATE=25.000,AUDIO=\"aac\"\nv1.m3u8\n"
        );
        let options = ParsingOptionsBuilder::new().with_parsing_for_all_tags().build();
        let mut reader = Reader::from_str(&text, options);
        let (mut variants, mut sounds) = (Vec::new(), 0);
        while let Some(line) = reader.read_line().unwrap() {
            match line {
                HlsLine::KnownTag(KnownTag::Hls(hls::Tag::StreamInf(variant))) => {
                    variants.push((variant.bandwidth(), variant.codecs().map(str::to_owned)));
                }
                HlsLine::KnownTag(KnownTag::Hls(hls::Tag::Media(_))) => sounds += 1,
                HlsLine::UnknownTag(tag) => panic!("{tag:?}"),
                _ => {}
            }
        }
        let codecs = Some("avc1.64001f,mp4a.40.2".to_owned());
        assert_eq!(variants, [(1_000_000, codecs.clone()), (400_000, codecs)]);
        assert_eq!(sounds, 2);
    }
}
