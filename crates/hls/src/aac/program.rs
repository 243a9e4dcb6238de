//! The program config element (ISO/IEC 14496-3, 4.4.1.1): which channels an access unit has, where no number says it.

use super::{
    bits::{BitWriter, Bits},
    element::ELEMENT_PROGRAM,
};

/// A program config element.
pub(super) struct Program {
    /// Its fields as they came: value and width.
    fields: Vec<(u32, usize)>,
    front: Vec<Speakers>,
    side: Vec<Speakers>,
    back: Vec<Speakers>,
    low: u32,
    coupled: u32,
}

/// Where a channel element's sound goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speakers {
    One,
    Two,
}

use Speakers::{One, Two};

/// Takes fields and keeps them.
struct Copier<'a, 'b> {
    bits: &'a mut Bits<'b>,
    fields: Vec<(u32, usize)>,
}

impl Copier<'_, '_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let value = self.bits.take(count)?;
        self.fields.push((value, count));
        Some(value)
    }

    /// A field that is there if a bit says so.
    fn take_if(&mut self, count: usize) -> Option<()> {
        if self.take(1)? == 1 {
            self.take(count)?;
        }
        Some(())
    }

    /// `count` channel elements.
    fn speakers(&mut self, count: u32) -> Option<Vec<Speakers>> {
        let mut speakers = Vec::new();
        for _ in 0..count {
            speakers.push(if self.take(1)? == 1 { Two } else { One });
            self.take(4)?;
        }
        Some(speakers)
    }
}

impl Program {
    /// Nothing when the record ends early. The comment, which is last, is not needed.
    pub fn read(bits: &mut Bits<'_>) -> Option<Self> {
        let mut copier = Copier { bits, fields: Vec::new() };
        copier.take(4 + 2 + 4)?; // element_instance_tag, object_type, sampling_frequency_index
        let [front, side, back] = [copier.take(4)?, copier.take(4)?, copier.take(4)?];
        let [low, data, coupled] = [copier.take(2)?, copier.take(3)?, copier.take(4)?];
        copier.take_if(4)?; // mono_mixdown_element_number
        copier.take_if(4)?; // stereo_mixdown_element_number
        copier.take_if(3)?; // matrix_mixdown_idx, pseudo_surround_enable
        let front = copier.speakers(front)?;
        let side = copier.speakers(side)?;
        let back = copier.speakers(back)?;
        for _ in 0..low + data {
            copier.take(4)?;
        }
        for _ in 0..coupled {
            copier.take(5)?;
        }
        Some(Self { fields: copier.fields, front, side, back, low, coupled })
    }

    /// The elements of a channel configuration (14496-3, table 1.19) that has no number in ADTS: 11 (6.1) and 12 (7.1).
    /// Those of 13 and 14 have loudspeakers above, of which a program says nothing that players read.
    pub fn of_configuration(number: u8, object_type: u8, rate_index: u8) -> Option<Self> {
        let back = match number {
            11 => (0, 1),
            12 => (1, 2),
            _ => return None,
        };
        let mut fields = vec![(0, 4), (u32::from(object_type - 1), 2), (u32::from(rate_index), 4)];
        // Elements in front, at the sides and behind; for low frequencies, data and coupling; no mixdown.
        fields.extend([(2, 4), (1, 4), (1, 4), (1, 2), (0, 3), (0, 4), (0, 3)]);
        // Single or pair, and its tag: tags are counted for singles and for pairs.
        for (is_pair, tag) in [(0, 0), (1, 0), (1, 1), back] {
            fields.extend([(is_pair, 1), (tag, 4)]);
        }
        fields.push((0, 4));
        let (front, side) = (vec![One, Two], vec![Two]);
        let back = vec![if back.0 == 0 { One } else { Two }];
        Some(Self { fields, front, side, back, low: 1, coupled: 0 })
    }

    /// The number for the same elements in the same order (14496-3, table 1.19), if there is one: players that do not
    /// read programs know those.
    pub fn channel_configuration(&self) -> Option<u8> {
        let around = match (&self.side[..], &self.back[..]) {
            (speakers, []) | ([], speakers) => speakers,
            _ => return None,
        };
        match (&self.front[..], around, self.low) {
            _ if self.coupled > 0 => None,
            ([One], [], 0) => Some(1),
            ([Two], [], 0) => Some(2),
            ([One, Two], [], 0) => Some(3),
            ([One, Two], [One], 0) => Some(4),
            ([One, Two], [Two], 0) => Some(5),
            ([One, Two], [Two], 1) => Some(6),
            ([One, Two, Two], [Two], 1) => Some(7),
            _ => None,
        }
    }

    /// As the first element of an access unit, without a comment, in whole bytes.
    pub fn element(&self) -> Vec<u8> {
        let mut writer = BitWriter::default();
        writer.put(u32::from(ELEMENT_PROGRAM), 3);
        for (value, count) in &self.fields {
            writer.put(*value, *count);
        }
        let mut element = writer.into_bytes();
        element.push(0);
        element
    }
}
