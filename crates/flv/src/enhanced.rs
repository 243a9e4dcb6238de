//! What the audio and video headers of Enhanced RTMP v2 have in common: `ModEx` prefixes and multitrack.

use weir_media::FourCc;

pub use crate::limits::MOD_EX_MAX;
use crate::{Error, cursor::Cursor};

/// Packet type `ModEx`, of audio and video alike.
pub(crate) const MOD_EX: u8 = 7;

/// `AudioPacketModExType` and `VideoPacketModExType`: nanoseconds to add to the timestamp, UI24.
const TIMESTAMP_OFFSET_NANO: u8 = 0;

/// `AvMultitrackType`: one track in this message, without a size.
const ONE_TRACK: u8 = 0;
/// `AvMultitrackType`: several tracks of one codec, each with its size.
const MANY_TRACKS: u8 = 1;
/// `AvMultitrackType`: several tracks, each with its codec and size.
const MANY_TRACKS_MANY_CODECS: u8 = 2;

/// Reads the `ModEx` prefixes that `packet_type` announces; returns the packet type behind them and the timestamp's
/// nanoseconds.
pub(crate) fn skip_mod_ex(cursor: &mut Cursor<'_>, packet_type: u8) -> Result<(u8, u32), Error> {
    let (mut packet_type, mut nanos) = (packet_type, 0);
    for _ in 0..MOD_EX_MAX {
        if packet_type != MOD_EX {
            return Ok((packet_type, nanos));
        }
        let data = mod_ex_data(cursor)?;
        let types = cursor.u8("ModEx type")?;
        if let (TIMESTAMP_OFFSET_NANO, Some(&[a, b, c])) = (types >> 4, data.first_chunk()) {
            nanos = u32::from_be_bytes([0, a, b, c]);
        }
        packet_type = types & 0x0f;
    }
    if packet_type == MOD_EX { Err(Error::ModExCount) } else { Ok((packet_type, nanos)) }
}

/// The size is written less one in a byte; a full byte means that it follows, less one, in two.
fn mod_ex_data<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Error> {
    let size = match cursor.u8("ModEx size")? {
        u8::MAX => usize::from(cursor.u16("ModEx size")?) + 1,
        size => usize::from(size) + 1,
    };
    cursor.take("ModEx data", size)
}

/// The first track of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirstTrack {
    pub(crate) packet_type: u8,
    pub(crate) four_cc: FourCc,
    pub(crate) id: u8,
}

impl FirstTrack {
    /// Reads the header of an ordinary message, whose single track has the id 0.
    pub(crate) fn single(cursor: &mut Cursor<'_>, packet_type: u8) -> Result<Self, Error> {
        Ok(Self { packet_type, four_cc: cursor.four_cc("FourCC")?, id: 0 })
    }

    /// Reads a multitrack header up to the first track's data and lets the message end where that ends.
    ///
    /// `None` if this is a kind of multitrack that the specification does not define (yet). `multitrack` is the packet
    /// type that may not occur again.
    pub(crate) fn of_multitrack(
        cursor: &mut Cursor<'_>,
        multitrack: u8,
    ) -> Result<Option<Self>, Error> {
        let types = cursor.u8("multitrack type")?;
        let (multitrack_type, packet_type) = (types >> 4, types & 0x0f);
        let known = matches!(multitrack_type, ONE_TRACK | MANY_TRACKS | MANY_TRACKS_MANY_CODECS);
        if !known || packet_type == multitrack || packet_type == MOD_EX {
            return Ok(None);
        }
        // Whether the FourCC is once for all tracks or once for each, it precedes the first one.
        let four_cc = cursor.four_cc("track FourCC")?;
        let id = cursor.u8("track id")?;
        if multitrack_type != ONE_TRACK {
            let size = cursor.u24("track size")?;
            cursor.limit("track data", usize::try_from(size).unwrap_or(usize::MAX))?;
        }
        Ok(Some(Self { packet_type, four_cc, id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mod_ex_gives_the_nanoseconds_and_the_inner_type() {
        // Size 3, 500,000 ns, TimestampOffsetNano, CodedFrames.
        let mut cursor = Cursor::new(&[2, 0x07, 0xa1, 0x20, 0x01, b'x']);
        assert_eq!(skip_mod_ex(&mut cursor, MOD_EX), Ok((1, 500_000)));
        assert_eq!(cursor.rest(), b"x");
    }

    #[test]
    fn mod_ex_of_an_unknown_kind_and_a_long_size_is_skipped() {
        let mut body = vec![0xff, 0x01, 0x2b];
        body.extend([0xaa; 300]);
        body.extend([0xf3, b'x']);
        let mut cursor = Cursor::new(&body);
        assert_eq!(skip_mod_ex(&mut cursor, MOD_EX), Ok((3, 0)));
        assert_eq!(cursor.rest(), b"x");
    }

    #[test]
    fn mod_ex_prefixes_are_counted() {
        let chain = |n: usize| [[0, 0, 0x07]].repeat(n).concat();
        let mut body = chain(MOD_EX_MAX - 1);
        body.extend([0, 0, 0x01]);
        assert_eq!(skip_mod_ex(&mut Cursor::new(&body), MOD_EX), Ok((1, 0)));
        let body = chain(MOD_EX_MAX + 1);
        assert_eq!(skip_mod_ex(&mut Cursor::new(&body), MOD_EX), Err(Error::ModExCount));
    }

    #[test]
    fn a_cut_mod_ex_names_its_field() {
        let error = |body: &[u8]| skip_mod_ex(&mut Cursor::new(body), MOD_EX).unwrap_err();
        let cut = |field, needed, left| Error::Truncated { field, needed, left };
        assert_eq!(error(&[]), cut("ModEx size", 1, 0));
        assert_eq!(error(&[0xff, 1]), cut("ModEx size", 2, 1));
        assert_eq!(error(&[0xff, 0xff, 0xff, 1]), cut("ModEx data", 65_536, 1));
        assert_eq!(error(&[0, 0]), cut("ModEx type", 1, 0));
    }

    #[test]
    fn a_track_ends_where_its_size_says() {
        let mut cursor = Cursor::new(b"\x11hvc1\x05\x00\x00\x02abcd");
        let track = FirstTrack::of_multitrack(&mut cursor, 6).unwrap().unwrap();
        assert_eq!(track, FirstTrack { packet_type: 1, four_cc: FourCc(*b"hvc1"), id: 5 });
        assert_eq!((cursor.rest(), cursor.remaining()), (&b"ab"[..], 9..11));
    }

    #[test]
    fn a_track_larger_than_the_message_is_an_error() {
        let mut cursor = Cursor::new(b"\x21av01\x05\xff\xff\xffabcd");
        let error = Error::Truncated { field: "track data", needed: 0xff_ffff, left: 4 };
        assert_eq!(FirstTrack::of_multitrack(&mut cursor, 6), Err(error));
    }

    #[test]
    fn undefined_kinds_of_multitrack_are_not_read() {
        for types in [0x31, 0x06, 0x17] {
            assert_eq!(FirstTrack::of_multitrack(&mut Cursor::new(&[types]), 6), Ok(None));
        }
    }
}
