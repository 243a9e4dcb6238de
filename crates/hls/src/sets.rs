//! Parameter sets: from decoder configuration records, and from the stream itself.

use weir_media::VideoCodec;

use crate::nal::{
    Framing, Kind, SPS, Survey, begins_with_start_code, complete, each_nal, kind, put,
};

/// Longest configuration record that is taken, and most that is kept of parameter sets and of what waits for its
/// picture. Real ones are below 1 KB; parameter sets are repeated at every key frame, so longer ones would multiply
/// what their sender pays for.
pub(crate) const CONFIG_BYTES_MAX: usize = 16 * 1024;

/// What a record that says nothing of lengths means: all encoders use four bytes.
const LENGTH_BYTES: usize = 4;

/// NAL units with start codes that a decoder must have seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sets {
    /// VPS, SPS, PPS.
    lists: [Vec<u8>; 3],
    /// What else a record has: SEI messages that hold for the whole stream (HDR mastering data).
    others: Vec<u8>,
}

impl Sets {
    /// Those of each kind, as bits.
    fn kinds(&self) -> u8 {
        self.lists.iter().zip(0..).map(|(list, which)| u8::from(!list.is_empty()) << which).sum()
    }

    /// Whether a decoder can begin with them.
    pub fn are_complete(&self, codec: VideoCodec) -> bool {
        self.kinds() & complete(codec) == complete(codec)
    }

    /// The sequence parameter sets.
    pub fn sequence(&self) -> &[u8] {
        &self.lists[SPS]
    }

    /// Appends all of them.
    pub fn write(&self, out: &mut Vec<u8>) {
        for list in self.lists.iter().chain([&self.others]) {
            out.extend_from_slice(list);
        }
    }

    fn add(&mut self, codec: VideoCodec, nal: &[u8]) {
        match kind(codec, nal[0]) {
            Kind::ParameterSet(which) => put(nal, &mut self.lists[which]),
            _ => put(nal, &mut self.others),
        }
    }

    /// Takes the parameter sets of a message, in place of those of the same kinds. Which of several a partial message
    /// replaces is not known, so that one with a picture must have all kinds. `more`: kinds of which the messages right
    /// before had some, as bits.
    pub fn learn(&mut self, codec: VideoCodec, survey: Survey, unit: &[u8], more: u8) {
        let has_all = survey.sets & complete(codec) == complete(codec);
        if survey.sets == 0 || survey.has_picture && !has_all {
            return;
        }
        let mut lists = self.lists.clone();
        for (list, which) in lists.iter_mut().zip(0..) {
            if survey.sets >> which & 1 == 1 && (has_all || more >> which & 1 == 0) {
                list.clear();
            }
        }
        let read = each_nal(unit, survey.framing, |nal| {
            if let Kind::ParameterSet(which) = kind(codec, nal[0]) {
                put(nal, &mut lists[which]);
            }
        });
        if read.is_ok() && lists.iter().map(Vec::len).sum::<usize>() <= CONFIG_BYTES_MAX {
            self.lists = lists;
        }
    }
}

/// A decoder configuration record, as far as it can be read.
#[derive(Debug)]
pub(crate) struct Record {
    /// Profile and level, without bits that are reserved.
    pub head: Vec<u8>,
    /// Bytes of the length before each NAL unit: 1, 2 or 4.
    pub length_bytes: usize,
    pub sets: Sets,
    /// Whether it is whole and has all that a decoder needs. Otherwise that must be in the stream.
    pub is_whole: bool,
}

impl Record {
    pub fn read(codec: VideoCodec, record: &[u8]) -> Self {
        let mut read = Self {
            head: Vec::new(),
            length_bytes: LENGTH_BYTES,
            sets: Sets::default(),
            is_whole: false,
        };
        let is_read = if begins_with_start_code(record) {
            // Some encoders send the parameter sets as they are in files.
            let sets = &mut read.sets;
            each_nal(record, Framing::StartCodes, |nal| sets.add(codec, nal)).ok()
        } else if codec == VideoCodec::Hevc {
            read.hvcc(record)
        } else {
            read.avcc(record)
        };
        read.is_whole = is_read.is_some() && read.sets.are_complete(codec);
        read
    }

    /// AVCDecoderConfigurationRecord, 14496-15, 5.3.3.1. What follows the picture parameter sets is not needed. Some
    /// encoders write the version as 0.
    fn avcc(&mut self, record: &[u8]) -> Option<()> {
        let mut reader = Reader(record);
        let [_version, profile, compatibility, level, lengths] = *reader.take(5)?.first_chunk()?;
        self.head = vec![profile, compatibility & 0xFC, level];
        self.length_bytes = length_bytes(lengths)?;
        let sequences = reader.take(1)?[0] & 0x1F;
        reader.nal_units(usize::from(sequences), |nal| self.sets.add(VideoCodec::Avc, nal))?;
        let pictures = reader.take(1)?[0];
        reader.nal_units(usize::from(pictures), |nal| self.sets.add(VideoCodec::Avc, nal))
    }

    /// HEVCDecoderConfigurationRecord, 14496-15, 8.3.3.1. All arrays are kept.
    fn hvcc(&mut self, record: &[u8]) -> Option<()> {
        let mut reader = Reader(record);
        let head = reader.take(22)?;
        self.head = [&head[1..6], &head[12..13]].concat();
        self.length_bytes = length_bytes(head[21])?;
        for _ in 0..reader.take(1)?[0] {
            reader.take(1)?;
            let count = reader.u16()?;
            reader.nal_units(count, |nal| self.sets.add(VideoCodec::Hevc, nal))?;
        }
        Some(())
    }
}

/// `lengthSizeMinusOne`, the low two bits; three bytes are not allowed.
fn length_bytes(byte: u8) -> Option<usize> {
    match byte & 3 {
        2 => None,
        minus_one => Some(usize::from(minus_one) + 1),
    }
}

/// Takes a configuration record apart; nothing when it is too short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<usize> {
        let bytes = self.take(2)?;
        Some(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    }

    /// `count` NAL units, each after its length in two bytes.
    fn nal_units(&mut self, count: usize, mut each: impl FnMut(&[u8])) -> Option<()> {
        for _ in 0..count {
            let len = self.u16()?;
            let nal = self.take(len)?;
            if !nal.is_empty() {
                each(nal);
            }
        }
        Some(())
    }
}

/// NAL units that came in messages without a picture: they belong to the next one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ahead {
    /// With start codes.
    pub units: Vec<u8>,
    /// The parameter sets among them, as bits.
    pub sets: u8,
}

impl Ahead {
    /// Takes those of a message; says how many bytes there would be if those are too many.
    pub fn take(&mut self, codec: VideoCodec, survey: Survey, unit: &[u8]) -> Result<(), usize> {
        // A start code may be shorter in the message than here.
        let len = self.units.len() + unit.len() * 2;
        if len > CONFIG_BYTES_MAX {
            return Err(len);
        }
        let taken = each_nal(unit, survey.framing, |nal| match kind(codec, nal[0]) {
            Kind::Delimiter | Kind::Trailer => {}
            _ => put(nal, &mut self.units),
        });
        // It was looked through before.
        self.sets |= taken.map_or(0, |()| survey.sets);
        Ok(())
    }

    pub fn clear(&mut self) {
        self.units.clear();
        self.sets = 0;
    }
}
