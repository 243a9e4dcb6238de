use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const BOTH: Header = Header { has_audio: true, has_video: true };

fn tag(kind: TagKind, timestamp: u32, body: &[u8]) -> Tag {
    Tag { kind, timestamp, body: Bytes::copy_from_slice(body) }
}

fn written(header: Header, tags: &[Tag]) -> BytesMut {
    let mut out = BytesMut::from(&header.encode()[..]);
    for tag in tags {
        write_tag(&mut out, tag.kind, tag.timestamp, &tag.body);
    }
    out
}

/// All items in `bytes`, up to the first error.
fn items(bytes: &[u8]) -> Result<Vec<Item>, Error> {
    let mut reader = Reader::new();
    reader.push(bytes);
    std::iter::from_fn(|| reader.poll().transpose()).collect()
}

#[test]
fn the_header_has_its_bytes() {
    let header = |has_audio, has_video| Header { has_audio, has_video }.encode();
    assert_eq!(&header(true, true), b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00");
    assert_eq!(header(true, false)[4], 4);
    assert_eq!(header(false, true)[4], 1);
    assert_eq!(header(false, false)[4], 0);
}

#[test]
fn a_tag_has_its_bytes() {
    let mut out = BytesMut::new();
    write_tag(&mut out, TagKind::Video, 0x0102_0304, b"abc");
    assert_eq!(
        &out[..],
        b"\x09\x00\x00\x03\x02\x03\x04\x01\x00\x00\x00abc\x00\x00\x00\x0e",
        "the highest byte of the timestamp comes last"
    );
    assert_eq!(out.len(), TAG_OVERHEAD + 3);
}

#[test]
fn timestamps_keep_all_their_bits() {
    let times = [0, 1, 0xff_ffff, 0x100_0000, 0x7fff_ffff, 0x8000_0000, u32::MAX];
    let tags = times.map(|time| tag(TagKind::Audio, time, b"x"));
    let read = items(&written(BOTH, &tags)).unwrap();
    let read: Vec<_> = read
        .iter()
        .filter_map(|item| match item {
            Item::Tag(tag) => Some(tag.timestamp),
            Item::Header(_) => None,
        })
        .collect();
    assert_eq!(read, times);
}

#[test]
fn bodies_end_at_24_bits() {
    assert!(tag_header(TagKind::Video, 0, BODY_BYTES_MAX).is_some());
    assert_eq!(tag_header(TagKind::Video, 0, BODY_BYTES_MAX + 1), None);
    let mut out = BytesMut::new();
    write_tag(&mut out, TagKind::Video, 0, &vec![0; BODY_BYTES_MAX + 1]);
    assert!(out.is_empty(), "nothing that would break the framing");
    assert_eq!(previous_tag_size(BODY_BYTES_MAX), 0x0100_000au32.to_be_bytes());
}

#[test]
fn a_tag_is_there_with_the_last_byte_of_its_body() {
    let file = written(BOTH, &[tag(TagKind::Script, 5, b"meta")]);
    let mut reader = Reader::new();
    reader.push(&file[..file.len() - 5]);
    assert_eq!(reader.poll(), Ok(Some(Item::Header(BOTH))));
    assert_eq!(reader.poll(), Ok(None));
    reader.push(&file[file.len() - 5..][..1]);
    assert_eq!(reader.poll(), Ok(Some(Item::Tag(tag(TagKind::Script, 5, b"meta")))));
    assert_eq!((reader.poll(), reader.buffered()), (Ok(None), 0));
}

#[test]
fn empty_tags_are_tags() {
    let tags = [tag(TagKind::Video, 0, b""), tag(TagKind::Audio, 1, b"")];
    assert_eq!(items(&written(BOTH, &tags)).unwrap().len(), 3);
}

#[test]
fn a_longer_header_is_skipped() {
    let mut file = b"FLV\x01\x01\x00\x00\x00\x0bxx".to_vec();
    file.extend(&written(BOTH, &[tag(TagKind::Video, 3, b"v")])[9..]);
    let video = Header { has_audio: false, has_video: true };
    let tag = tag(TagKind::Video, 3, b"v");
    assert_eq!(items(&file), Ok(vec![Item::Header(video), Item::Tag(tag)]));
}

#[test]
fn a_wrong_size_of_the_tag_before_is_not_looked_at() {
    let mut file = written(BOTH, &[tag(TagKind::Video, 0, b"a"), tag(TagKind::Video, 1, b"b")]);
    let first_size = 13 + 11 + 1;
    file[first_size..first_size + 4].fill(0xee);
    assert_eq!(items(&file).unwrap().len(), 3);
}

#[test]
fn what_is_no_flv_file_is_refused() {
    assert_eq!(items(b"HTTP/1.1 404"), Err(Error::Signature(*b"HTT")));
    assert_eq!(items(b"FLV\x02\x05\x00\x00\x00\x09"), Err(Error::Version(2)));
    assert_eq!(items(b"FLV\x01\x05\x00\x00\x00\x08"), Err(Error::HeaderSize(8)));
    assert_eq!(items(b"FLV\x01\x05\xff\xff\xff\xff"), Err(Error::HeaderSize(u32::MAX)));
    let error = Error::Signature(*b"\x00HT").to_string();
    assert_eq!(error, r#"an FLV file starts with "FLV", not "\x00HT""#);
}

#[test]
fn unknown_and_encrypted_tags_are_refused() {
    for tag_type in [0, 10, 15, 0x29] {
        let mut file = written(BOTH, &[tag(TagKind::Video, 0, b"a")]);
        file[13] = tag_type;
        assert_eq!(items(&file), Err(Error::TagType(tag_type)));
    }
}

#[test]
fn an_announced_length_reserves_nothing() {
    let mut reader = Reader::new();
    reader.push(&BOTH.encode());
    reader.push(&[9, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
    assert_eq!(reader.poll(), Ok(Some(Item::Header(BOTH))));
    assert_eq!(reader.poll(), Ok(None));
    assert!(reader.buffer.capacity() < 1024, "{} bytes reserved", reader.buffer.capacity());
}

fn any_tag() -> impl Strategy<Value = Tag> {
    let kind = prop::sample::select(vec![TagKind::Audio, TagKind::Video, TagKind::Script]);
    (kind, any::<u32>(), prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(kind, timestamp, body)| tag(kind, timestamp, &body))
}

proptest! {
    #[test]
    fn what_is_written_is_read_again_however_it_is_split(
        tags in prop::collection::vec(any_tag(), 0..8),
        sizes in prop::collection::vec(1usize..200, 1..20),
        (has_audio, has_video) in any::<(bool, bool)>(),
    ) {
        let header = Header { has_audio, has_video };
        let file = written(header, &tags);
        let (mut reader, mut items, mut rest) = (Reader::new(), Vec::new(), &file[..]);
        for size in sizes.iter().cycle() {
            let (piece, next) = rest.split_at(rest.len().min(*size));
            reader.push(piece);
            while let Some(item) = reader.poll().unwrap() {
                items.push(item);
            }
            rest = next;
            if rest.is_empty() {
                break;
            }
        }
        let expected: Vec<_> =
            [Item::Header(header)].into_iter().chain(tags.into_iter().map(Item::Tag)).collect();
        prop_assert_eq!(items, expected);
        prop_assert_eq!(reader.buffered(), 4);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let file = [&BOTH.encode()[..], &bytes].concat();
        let _ = items(&file);
        let _ = items(&bytes);
    }
}

#[test]
fn a_tag_that_announces_too_much_is_refused_at_its_header() {
    let mut reader = Reader::new();
    reader.limit_to(&Budget::new(64 << 20), 1 << 20);
    let header = Header { has_audio: true, has_video: true };
    reader.push(&header.encode());
    assert_eq!(reader.poll(), Ok(Some(Item::Header(header))));
    reader.push(&tag_header(TagKind::Video, 0, BODY_BYTES_MAX).expect("the longest tag"));
    assert_eq!(reader.poll(), Err(Error::TagTooLong { len: BODY_BYTES_MAX, max: 1 << 20 }));
}

#[test]
fn an_unfinished_tag_counts_until_it_is_whole_and_is_held_exactly() {
    let budget = Budget::new(64 << 20);
    let mut reader = Reader::new();
    reader.limit_to(&budget, BODY_BYTES_MAX);
    reader.push(&Header { has_audio: true, has_video: true }.encode()[..9]);
    reader.poll().expect("a header");
    let mut tag = BytesMut::from(&[0; 4][..]);
    write_tag(&mut tag, TagKind::Video, 0, &vec![7; 300_000]);
    for piece in tag[..299_000].chunks(64 * 1024) {
        assert_eq!(budget.used() == 0, reader.buffered() == 0);
        reader.push(piece);
        assert_eq!(reader.poll(), Ok(None));
    }
    assert!((299_000..=300_000).contains(&budget.used()), "{}", budget.used());
    reader.push(&tag[299_000..]);
    let Ok(Some(Item::Tag(whole))) = reader.poll() else { panic!("a tag") };
    assert_eq!((whole.body.len(), budget.used()), (300_000, 0));
    assert!(whole.body.is_unique(), "it is no part of what the reader holds");
}
