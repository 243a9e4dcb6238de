use proptest::prelude::*;

use weir_media::{Budget, Use};

use super::*;
use crate::{Error, message::type_id};

fn message(csid: u32, timestamp: u32, payload: &[u8]) -> Message {
    let payload = Bytes::copy_from_slice(payload);
    Message { csid, timestamp, type_id: type_id::VIDEO, stream_id: 1, payload }
}

/// Reads `bytes` in pieces of `piece` bytes.
fn read_all(reader: &mut Reader, bytes: &[u8], piece: usize) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::new();
    for mut input in bytes.chunks(piece) {
        while let Some(message) = reader.read(&mut input)? {
            messages.push(message);
        }
        assert!(input.is_empty(), "a reader that wants more must have taken everything");
    }
    Ok(messages)
}

fn read(bytes: &[u8]) -> Result<Vec<Message>, Error> {
    read_all(&mut Reader::new(), bytes, bytes.len().max(1))
}

/// A chunk header of type 0 on a one-byte chunk stream id.
fn fmt0(csid: u8, timestamp: [u8; 3], length: u32, type_id: u8) -> Vec<u8> {
    let [_, a, b, c] = length.to_be_bytes();
    let [t0, t1, t2] = timestamp;
    vec![csid, t0, t1, t2, a, b, c, type_id, 1, 0, 0, 0]
}

#[test]
fn the_wire_form_of_a_message() {
    let mut out = BytesMut::new();
    encode_message(&mut out, CSID_VIDEO, 0x01_0203, type_id::VIDEO, 1, b"abcde", 2);
    let header = [6, 1, 2, 3, 0, 0, 5, 9, 1, 0, 0, 0];
    assert_eq!(out, [&header[..], b"ab\xc6cd\xc6e"].concat());
    assert_eq!(out.len(), encoded_len(CSID_VIDEO, 0x01_0203, 5, 2));
}

#[test]
fn the_extended_timestamp_is_on_every_chunk() {
    let mut out = BytesMut::new();
    encode_message(&mut out, CSID_AUDIO, 0xff_ffff, type_id::AUDIO, 1, b"abcd", 2);
    let header = [7, 0xff, 0xff, 0xff, 0, 0, 4, 8, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff];
    assert_eq!(out, [&header[..], b"ab\xc7\x00\xff\xff\xffcd"].concat());
    assert_eq!(out.len(), encoded_len(CSID_AUDIO, 0xff_ffff, 4, 2));
    let bytes = [&set_chunk_size(2)[..], &out[..]].concat();
    assert_eq!(read(&bytes).unwrap()[0].timestamp, 0xff_ffff);
}

#[test]
fn an_empty_message_is_a_message() {
    assert_eq!(read(&fmt0(6, [0, 0, 9], 0, 9)).unwrap(), [message(6, 9, b"")]);
}

#[test]
fn all_chunk_stream_ids() {
    for (basic, csid) in [
        (vec![2], 2),
        (vec![63], 63),
        (vec![0, 0], 64),
        (vec![0, 255], 319),
        (vec![1, 0, 0], 64),
        (vec![1, 0, 1], 320),
        (vec![1, 255, 255], 65_599),
    ] {
        let bytes = [&basic[..], &[0, 0, 5, 0, 0, 2, 9, 1, 0, 0, 0, b'h', b'i']].concat();
        assert_eq!(read(&bytes).unwrap(), [message(csid, 5, b"hi")], "basic header {basic:?}");
    }
}

/// Section 5.3.1.2.4: a type 3 after a type 0 repeats its timestamp as a delta; FFmpeg relies on it.
#[test]
fn timestamps_add_up_over_the_chunk_types() {
    let mut bytes = fmt0(4, [0, 0, 20], 1, 9);
    bytes.push(b'a');
    bytes.extend_from_slice(&[0xc4, b'b']); // 40
    bytes.extend_from_slice(&[0x84, 0, 0, 5, b'c']); // 45
    bytes.extend_from_slice(&[0xc4, b'd']); // 50
    bytes.extend_from_slice(&[0x44, 0, 0, 1, 0, 0, 2, 8, b'e', b'f']); // 51, of another length and type
    let messages = read(&bytes).unwrap();
    let seen: Vec<_> = messages.iter().map(|m| (m.timestamp, &m.payload[..], m.type_id)).collect();
    let expected: [(u32, &[u8], u8); 5] =
        [(20, b"a", 9), (40, b"b", 9), (45, b"c", 9), (50, b"d", 9), (51, b"ef", 8)];
    assert_eq!(seen, expected);
    assert!(messages.iter().all(|m| m.stream_id == 1));
}

#[test]
fn timestamps_wrap() {
    let mut bytes = fmt0(4, [0xff; 3], 1, 9);
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xf0, b'a', 0x84, 0, 0, 0x20, b'b']);
    let times: Vec<_> = read(&bytes).unwrap().iter().map(|m| m.timestamp).collect();
    assert_eq!(times, [0xffff_fff0, 0x10]);
}

#[test]
fn an_extended_delta() {
    let mut bytes = fmt0(4, [0, 0, 1], 1, 9);
    bytes.extend_from_slice(&[b'a', 0x84, 0xff, 0xff, 0xff, 1, 0, 0, 0, b'b']);
    bytes.extend_from_slice(&[0xc4, 1, 0, 0, 0, b'c']);
    let times: Vec<_> = read(&bytes).unwrap().iter().map(|m| m.timestamp).collect();
    assert_eq!(times, [1, 0x0100_0001, 0x0200_0001]);
}

/// A message of `length` bytes of `x`, at timestamp 0x01020304, whose continuation chunks have no extended timestamp.
fn without_extended_continuation(length: usize) -> Vec<u8> {
    let mut bytes = fmt0(4, [0xff; 3], length as u32, 9);
    bytes.extend_from_slice(&[1, 2, 3, 4]);
    for (n, chunk) in vec![b'x'; length].chunks(CHUNK_SIZE_DEFAULT).enumerate() {
        if n > 0 {
            bytes.push(0xc4);
        }
        bytes.extend_from_slice(chunk);
    }
    bytes
}

/// Some encoders leave the extended timestamp out of continuation chunks. The last chunk may then be shorter than the
/// four bytes that the reader compares, and what it looked at beyond belongs to the next header.
#[test]
fn continuation_chunks_without_an_extended_timestamp() {
    for tail in [1, 2, 3, 4, 5, 128, 130] {
        let length = CHUNK_SIZE_DEFAULT + tail;
        let mut bytes = without_extended_continuation(length);
        bytes.extend_from_slice(&[&fmt0(5, [0, 0, 7], 3, 9)[..], b"end"].concat());
        for piece in [1, 3, bytes.len()] {
            let messages = read_all(&mut Reader::new(), &bytes, piece).unwrap();
            let expected = [message(4, 0x0102_0304, &vec![b'x'; length]), message(5, 7, b"end")];
            assert_eq!(messages, expected, "tail {tail}, pieces of {piece}");
        }
    }
}

/// Peers that repeat the absolute time where a delta is due.
#[test]
fn continuation_chunks_with_the_absolute_extended_timestamp() {
    let mut bytes = fmt0(4, [0, 0, 1], 0, 9);
    bytes.extend_from_slice(&[0x44, 0xff, 0xff, 0xff, 0, 0, 129, 9, 1, 0, 0, 0]);
    bytes.extend_from_slice(&[b'x'; 128]);
    bytes.extend_from_slice(&[0xc4, 1, 0, 0, 1, b'x']);
    assert_eq!(read(&bytes).unwrap()[1], message(4, 0x0100_0001, &[b'x'; 129]));
}

/// The second message shares the first one's time: a delta of 4.6 hours cannot be meant.
#[test]
fn a_type_3_after_an_extended_type_0_keeps_the_time() {
    let mut bytes = fmt0(4, [0xff; 3], 1, 9);
    bytes.extend_from_slice(&[1, 2, 3, 4, b'a', 0xc4, 1, 2, 3, 4, b'b']);
    let messages = read(&bytes).unwrap();
    assert_eq!(messages, [message(4, 0x0102_0304, b"a"), message(4, 0x0102_0304, b"b")]);
}

#[test]
fn librtmp_pings_begin_with_type_1() {
    let bytes = [0x42, 0, 0, 0, 0, 0, 6, 4, 0, 7, 0, 0, 0, 1];
    let messages = read(&bytes).unwrap();
    assert_eq!((messages[0].type_id, messages[0].stream_id), (type_id::USER_CONTROL, 0));
}

#[test]
fn a_chunk_stream_cannot_begin_without_a_header() {
    assert_eq!(read(&[0xc4, 1]), Err(Error::ChunkWithoutHeader { csid: 4, fmt: 3 }));
    assert_eq!(read(&[0x84, 1]), Err(Error::ChunkWithoutHeader { csid: 4, fmt: 2 }));
}

#[test]
fn a_message_is_not_cut_off_by_another_one() {
    for fmt in [0, 1, 2] {
        let mut bytes = fmt0(4, [0; 3], 200, 9);
        bytes.extend_from_slice(&[0; 128]);
        bytes.push(fmt << 6 | 4);
        assert_eq!(read(&bytes), Err(Error::ChunkInsideMessage { csid: 4, fmt }));
    }
}

#[test]
fn interleaved_messages() {
    let mut bytes = fmt0(6, [0, 0, 1], 130, 9);
    bytes.extend_from_slice(&[b'v'; 128]);
    bytes.extend_from_slice(&[&fmt0(7, [0, 0, 2], 3, 9)[..], b"aud"].concat());
    bytes.extend_from_slice(b"\xc6vv");
    assert_eq!(read(&bytes).unwrap(), [message(7, 2, b"aud"), message(6, 1, &[b'v'; 130])]);
}

#[test]
fn abort_drops_the_partial_message() {
    let mut reader = Reader::new();
    let mut bytes = fmt0(6, [0, 0, 1], 130, 9);
    bytes.extend_from_slice(&[b'v'; 128]);
    bytes.extend_from_slice(&[&fmt0(2, [0; 3], 4, type_id::ABORT)[..], &[0, 0, 0, 6]].concat());
    bytes.extend_from_slice(&[&fmt0(6, [0, 0, 3], 2, 9)[..], b"ok"].concat());
    assert_eq!(read_all(&mut reader, &bytes, 7).unwrap(), [message(6, 3, b"ok")]);
    assert!(reader.heap_bytes() < 1024, "the dropped bytes are freed");
}

fn set_chunk_size(size: u32) -> Vec<u8> {
    [&fmt0(2, [0; 3], 4, type_id::SET_CHUNK_SIZE)[..], &size.to_be_bytes()].concat()
}

#[test]
fn chunk_sizes_from_1_to_the_maximum() {
    for size in [1, 2, 127, 65_536, 0x7fff_ffff] {
        let mut out = BytesMut::from(&set_chunk_size(size)[..]);
        encode_message(&mut out, 6, 5, type_id::VIDEO, 1, &[b'x'; 300], size as usize);
        assert_eq!(read(&out).unwrap(), [message(6, 5, &[b'x'; 300])], "chunk size {size}");
    }
    for size in [0, 0x8000_0000, u32::MAX] {
        assert_eq!(read(&set_chunk_size(size)), Err(Error::ChunkSize(size)));
    }
}

#[test]
fn a_short_set_chunk_size_or_abort_is_ignored() {
    for type_id in [type_id::SET_CHUNK_SIZE, type_id::ABORT] {
        for length in 0..4 {
            let mut bytes = fmt0(2, [0; 3], length, type_id).to_vec();
            bytes.resize(bytes.len() + length as usize, 1);
            let mut out = BytesMut::from(&bytes[..]);
            encode_message(&mut out, 6, 5, type_id::VIDEO, 1, &[b'x'; 300], CHUNK_SIZE_DEFAULT);
            assert_eq!(read(&out).unwrap(), [message(6, 5, &[b'x'; 300])], "{length} bytes");
        }
    }
}

#[test]
fn a_chunk_stream_costs_memory_and_they_are_limited() {
    let mut bytes = Vec::new();
    for csid in 64..=65_000_u16 {
        let [high, low] = (csid - 64).to_be_bytes();
        bytes.extend_from_slice(&[1, low, high, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0]);
        bytes.extend_from_slice(&[0; 128]);
    }
    let mut reader = Reader::new();
    assert_eq!(
        read_all(&mut reader, &bytes, 4096),
        Err(Error::ChunkStreams { max: CHUNK_STREAMS_MAX })
    );
    assert!(reader.heap_bytes() < 32 * 1024, "{} bytes", reader.heap_bytes());
}

#[test]
fn an_announced_length_allocates_nothing() {
    let mut reader = Reader::new();
    let bytes = [&fmt0(6, [0; 3], 0xff_ffff, 9)[..], &[0; 100]].concat();
    assert_eq!(read_all(&mut reader, &bytes, 10), Ok(vec![]));
    assert!(reader.heap_bytes() < 1024, "{} bytes for 100 received", reader.heap_bytes());
}

#[test]
fn the_largest_message_ends_up_in_a_buffer_of_its_size() {
    let mut reader = Reader::new();
    let payload = vec![7; MESSAGE_BYTES_MAX];
    let mut out = BytesMut::from(&set_chunk_size(60_000)[..]);
    encode_message(&mut out, 6, 0, type_id::VIDEO, 1, &payload, 60_000);
    let messages = read_all(&mut reader, &out, 16_384).unwrap();
    assert_eq!(messages[0].payload.len(), MESSAGE_BYTES_MAX);
    assert!(reader.heap_bytes() < 1024, "the message's buffer left with it");
}

#[test]
fn partial_messages_are_limited_together() {
    // Each message lacks its last byte, which would come in a second chunk.
    let mut bytes = set_chunk_size(0xff_fffe);
    let mut reader = Reader::new();
    for csid in 3..5 {
        bytes.extend_from_slice(&fmt0(csid, [0; 3], 0xff_ffff, 9));
        bytes.resize(bytes.len() + 0xff_fffe, 0);
    }
    assert_eq!(
        read_all(&mut reader, &bytes, 65_536),
        Err(Error::PartialBytes { max: PARTIAL_BYTES_MAX })
    );
}

#[test]
fn who_does_not_publish_holds_64_kib_in_all() {
    // Each message lacks its last byte.
    let begun = |csid: u8| {
        let (mut bytes, length) = (fmt0(csid, [0; 3], 32_000, type_id::COMMAND), 31_999);
        bytes.resize(bytes.len() + length, 0);
        bytes
    };
    let mut reader = Reader::new();
    reader.expect_commands();
    let bytes = [set_chunk_size(31_999), begun(3), begun(4)].concat();
    assert_eq!(read_all(&mut reader, &bytes, 65_536), Ok(vec![]));
    assert!((63_998..=64_000).contains(&reader.partial_bytes()), "{}", reader.partial_bytes());
    let error = Error::PartialBytes { max: IDLE_PARTIAL_BYTES_MAX };
    assert_eq!(read_all(&mut reader, &begun(5), 65_536), Err(error));
}

#[test]
fn unfinished_messages_count_and_are_given_back() {
    let budget = Budget::new(64 << 20);
    let mut reader = Reader::new();
    reader.charge(&budget);
    reader.expect_media(MESSAGE_BYTES_MAX);
    let begin = [set_chunk_size(0xff_ffff), fmt0(6, [0; 3], 100_000, 9)].concat();
    assert_eq!(read_all(&mut reader, &[&begin[..], &[0; 60_000]].concat(), 65_536), Ok(vec![]));
    assert!((60_000..=100_000).contains(&budget.used()), "{}", budget.used());
    assert_eq!(budget.used_for(Use::Messages), budget.used());
    let whole = read_all(&mut reader, &[0; 40_000], 65_536).expect("a message");
    assert_eq!((whole.len(), budget.used(), reader.partial_bytes()), (1, 0, 0));
    let again = [&fmt0(6, [0; 3], 50_000, 9)[..], &[0; 40_000]].concat();
    read_all(&mut reader, &again, 65_536).expect("another one");
    drop(reader);
    assert_eq!(budget.used(), 0, "with the connection its messages go");
}

#[test]
fn a_message_that_has_no_room_is_refused_at_its_header() {
    let budget = Budget::new(64 << 20);
    let mut reader = Reader::new();
    reader.charge(&budget);
    reader.expect_media(MESSAGE_BYTES_MAX);
    let error = Error::Memory { bytes: MESSAGE_BYTES_MAX };
    assert_eq!(read_all(&mut reader, &fmt0(6, [0; 3], 0xff_ffff, 9), 12), Err(error));
    assert_eq!(budget.used(), 0);
}

#[test]
fn script_data_of_16_mb_is_none() {
    let mut reader = Reader::new();
    let error = Error::MessageTooLong { type_id: 18, length: 0xff_ffff, max: 1 << 20 };
    assert_eq!(read_all(&mut reader, &fmt0(6, [0; 3], 0xff_ffff, 18), 12), Err(error));
}

#[test]
fn a_lower_limit_for_messages() {
    let mut reader = Reader::new();
    reader.expect_media(10);
    let error = Error::MessageTooLong { type_id: 9, length: 11, max: 10 };
    assert_eq!(read_all(&mut reader, &fmt0(6, [0; 3], 11, 9), 5), Err(error));
}

#[test]
#[should_panic(expected = "chunk stream id 1")]
fn a_chunk_stream_id_that_marks_a_longer_header_is_a_bug() {
    encode_message(&mut BytesMut::new(), 1, 0, 9, 1, b"", 128);
}

/// Writes messages as chunks the way the most sparing peer may: any header type that can express the message.
#[derive(Default)]
struct SparingWriter {
    /// The last message of each chunk stream.
    last: Vec<Message>,
}

impl SparingWriter {
    /// The chunks of one message.
    fn chunks(&mut self, message: &Message, chunk_size: usize) -> Vec<Vec<u8>> {
        let csid = message.csid;
        let last = self.last.iter().position(|last| last.csid == csid);
        let last = last.map(|at| self.last.swap_remove(at));
        let (fmt, field) = header_type(last.as_ref(), message);
        let mut header = basic_header(fmt, csid);
        header.extend_from_slice(&field.min(0xff_ffff).to_be_bytes()[1..]);
        if fmt < 2 {
            header.extend_from_slice(&(message.payload.len() as u32).to_be_bytes()[1..]);
            header.push(message.type_id);
        }
        if fmt == 0 {
            header.extend_from_slice(&message.stream_id.to_le_bytes());
        }
        let extended = if field >= 0xff_ffff { field.to_be_bytes().to_vec() } else { vec![] };
        self.last.push(message.clone());
        let mut payload = message.payload.chunks(chunk_size);
        let first = payload.next().unwrap_or_default();
        let mut chunks = vec![[&header, &extended, first].concat()];
        let continuation = basic_header(3, csid);
        chunks.extend(payload.map(|data| [&continuation, &extended, data].concat()));
        chunks
    }
}

fn header_type(last: Option<&Message>, message: &Message) -> (u8, u32) {
    let Some(last) = last.filter(|last| last.stream_id == message.stream_id) else {
        return (0, message.timestamp);
    };
    let delta = message.timestamp.wrapping_sub(last.timestamp);
    let same = last.payload.len() == message.payload.len() && last.type_id == message.type_id;
    (if same { 2 } else { 1 }, delta)
}

fn basic_header(fmt: u8, csid: u32) -> Vec<u8> {
    match csid {
        2..64 => vec![fmt << 6 | csid as u8],
        64..320 => vec![fmt << 6, (csid - 64) as u8],
        _ => vec![fmt << 6 | 1, (csid - 64) as u8, ((csid - 64) >> 8) as u8],
    }
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let csid = prop_oneof![2..10_u32, 60..70_u32, 310..330_u32, 65_590..=65_599_u32];
    let timestamp =
        prop_oneof![0..100_u32, 0xff_fff0..0x100_0010_u32, Just(0xffff_ffff_u32), any::<u32>()];
    let kind = prop_oneof![Just(type_id::AUDIO), Just(type_id::VIDEO), Just(type_id::DATA)];
    let payload = prop::collection::vec(any::<u8>(), 0..600);
    let message = (csid, timestamp, kind, 0..3_u32, payload).prop_map(|parts| {
        let (csid, timestamp, type_id, stream_id, payload) = parts;
        Message { csid, timestamp, type_id, stream_id, payload: payload.into() }
    });
    prop::collection::vec(message, 0..20)
}

/// Interleaves the chunks of messages on different chunk streams; `order` decides who is next.
fn interleave(mut queues: Vec<Vec<Vec<u8>>>, order: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut order = order.iter().cycle();
    while queues.iter().any(|queue| !queue.is_empty()) {
        queues.retain(|queue| !queue.is_empty());
        let turn = order.next().unwrap_or(&0) % queues.len();
        out.extend(queues[turn].remove(0));
    }
    out
}

fn by_chunk_stream(messages: &[Message]) -> Vec<Vec<Message>> {
    let mut groups: Vec<Vec<Message>> = Vec::new();
    for message in messages {
        match groups.iter_mut().find(|group| group[0].csid == message.csid) {
            Some(group) => group.push(message.clone()),
            None => groups.push(vec![message.clone()]),
        }
    }
    groups.sort_by_key(|group| group[0].csid);
    groups
}

proptest! {
    #[test]
    fn what_we_encode_is_read(
        messages in messages(), chunk_size in 1..700_usize, piece in 1..1000_usize,
    ) {
        let mut out = BytesMut::from(&set_chunk_size(chunk_size as u32)[..]);
        let mut expected = messages;
        for m in &mut expected {
            m.csid = 2 + m.csid % 250;
            let before = out.len();
            encode_message(&mut out, m.csid as u8, m.timestamp, m.type_id, m.stream_id, &m.payload, chunk_size);
            let len = encoded_len(m.csid as u8, m.timestamp, m.payload.len(), chunk_size);
            prop_assert_eq!(out.len() - before, len);
        }
        let read = read_all(&mut Reader::new(), &out, piece).unwrap();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn interleaved_and_compressed_chunks_are_read(
        messages in messages(), chunk_size in 1..700_u32, piece in 1..1000_usize,
        order in prop::collection::vec(any::<usize>(), 1..50),
    ) {
        let mut writer = SparingWriter::default();
        let groups = by_chunk_stream(&messages);
        let queues = groups.iter().map(|group| {
            group.iter().flat_map(|message| writer.chunks(message, chunk_size as usize)).collect()
        });
        let bytes = [set_chunk_size(chunk_size), interleave(queues.collect(), &order)].concat();
        let read = read_all(&mut Reader::new(), &bytes, piece).unwrap();
        prop_assert_eq!(by_chunk_stream(&read), groups);
    }

    #[test]
    fn random_bytes_never_panic_and_memory_follows_the_input(
        bytes in prop::collection::vec(any::<u8>(), 0..4000), piece in 1..500_usize,
    ) {
        let mut reader = Reader::new();
        let _ = read_all(&mut reader, &bytes, piece);
        prop_assert!(reader.heap_bytes() <= 2 * bytes.len() + 8 * 1024);
    }
}
