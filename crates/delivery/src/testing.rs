//! What the tests of playing share: frames, a stream to publish them on, readers of every format, sockets that fill up
//! soon.

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use socket2::{Domain, SockRef, Socket, Type};
use weir_clients::{
    client::Client,
    permits::Permits,
    roster::{Activity, Roster},
};
use weir_flv::{Tag, TagKind, file};
use weir_hub::{Budget, Conflict, Flush, Limits, PublishSettings, Publisher, Registry, Wake};
use weir_media::{AudioCodec, Content, Frame, Init, StreamKey, Timestamp, Track, VideoCodec};
use weir_rtmp::{
    chunk::{self, Message},
    client,
    message::{Control, type_id},
    server,
    url::RtmpUrl,
};

use super::format::Format;

/// Until something that must happen has happened.
pub const SOON: Duration = Duration::from_secs(10);

pub const RTMP: Format = Format::Rtmp { chunk_size: 100 };
pub const FORMATS: [Format; 3] = [RTMP, Format::FLV, Format::FLV_CHUNKED];

fn frame(track: Track, content: Content, at: i64, body: Bytes) -> Frame {
    Frame {
        track,
        dts: Timestamp::from_millis(at),
        epoch: 0,
        content,
        stray: false,
        payload: body.clone(),
        body,
    }
}

/// A picture at `at` milliseconds whose body says so, `bytes` long if that fits.
pub fn picture(key: bool, at: i64, bytes: usize) -> Frame {
    let mut body = format!("{}{at};", if key { "key" } else { "delta" }).into_bytes();
    body.resize(body.len().max(bytes), b'x');
    let content = Content::Video { codec: VideoCodec::Avc, key, composition: 0 };
    frame(Track::Video(0), content, at, body.into())
}

pub fn sound(at: i64) -> Frame {
    frame(Track::Audio(0), Content::Audio(AudioCodec::Aac), at, format!("sound{at};").into())
}

pub fn metadata() -> Frame {
    frame(Track::Data, Content::Metadata, 0, Bytes::from_static(b"metadata"))
}

pub fn video_config() -> Frame {
    let content = Content::VideoConfig(VideoCodec::Avc);
    frame(Track::Video(0), content, 0, Bytes::from_static(b"avcC"))
}

pub fn audio_config() -> Frame {
    let content = Content::AudioConfig(AudioCodec::Aac);
    frame(Track::Audio(0), content, 0, Bytes::from_static(b"asc"))
}

/// Metadata and both configurations.
pub fn init() -> Arc<Init> {
    let mut init = Init::default();
    for frame in [metadata(), video_config(), audio_config()] {
        init.update(&frame);
    }
    Arc::new(init)
}

/// The body of a tag up to its filling.
pub fn name(tag: &Tag) -> String {
    let body = tag.body.split(|&byte| byte == b'x').next().unwrap_or_default();
    String::from_utf8_lossy(body).into_owned()
}

pub fn names(tags: &[Tag]) -> Vec<String> {
    tags.iter().map(name).collect()
}

/// The tags of `bytes`, which a reader of `format` must understand from its first to its last byte. FLV may begin with
/// a file header, and need not.
pub fn tags(format: Format, bytes: &[u8]) -> Vec<Tag> {
    match format {
        Format::Rtmp { chunk_size } => {
            messages(chunk_size, bytes).into_iter().map(tag_of).collect()
        }
        Format::FLV => flv_tags(bytes),
        Format::FLV_CHUNKED => flv_tags(&dechunked(bytes).concat()),
        Format::File(..) => panic!("{format:?} has no tags that are read here"),
    }
}

/// The messages of `bytes`, for a reader that has been told of the chunk size.
pub fn messages(chunk_size: u32, bytes: &[u8]) -> Vec<Message> {
    let (type_id, body) = Control::SetChunkSize(chunk_size).encode();
    let mut input = BytesMut::new();
    let default = chunk::CHUNK_SIZE_DEFAULT;
    chunk::encode_message(&mut input, chunk::CSID_CONTROL, 0, type_id, 0, &body, default);
    input.extend_from_slice(bytes);
    let (mut reader, mut input) = (chunk::Reader::new(), &input[..]);
    std::iter::from_fn(|| reader.read(&mut input).expect("chunks that the reader takes")).collect()
}

/// An audio, video or data message as a tag.
pub fn tag_of(message: Message) -> Tag {
    let kind = TagKind::from_type_id(message.type_id).expect("a media message");
    Tag { kind, timestamp: message.timestamp, body: message.payload }
}

fn flv_tags(bytes: &[u8]) -> Vec<Tag> {
    let mut reader = file::Reader::new();
    if !bytes.starts_with(b"FLV") {
        reader.push(&file::Header { has_audio: true, has_video: true }.encode());
    }
    reader.push(bytes);
    let items = std::iter::from_fn(|| reader.poll().expect("an FLV file"));
    let tags = items.filter_map(|item| match item {
        file::Item::Tag(tag) => Some(tag),
        file::Item::Header(_) => None,
    });
    let tags = tags.collect();
    assert_eq!(reader.buffered(), 4, "all but the size of the last tag is read");
    tags
}

/// The data of each HTTP/1.1 chunk, to the last byte; the chunk of length 0, which ends the body, is not among them.
pub fn dechunked(mut bytes: &[u8]) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let line = bytes.windows(2).position(|two| two == b"\r\n").expect("a whole size line");
        let size = std::str::from_utf8(&bytes[..line]).expect("a size in ASCII");
        let size = usize::from_str_radix(size, 16).expect("a size in hexadecimal digits");
        let (data, rest) = bytes[line + 2..].split_at(size);
        bytes = rest.strip_prefix(b"\r\n").expect("a line end behind the data");
        if size == 0 {
            assert!(bytes.is_empty(), "{} bytes behind the last chunk", bytes.len());
        } else {
            chunks.push(Bytes::copy_from_slice(data));
        }
    }
    chunks
}

pub fn key() -> StreamKey {
    StreamKey::new("example.com", "live", "one").expect("a good key")
}

pub const LIMITS: Limits = Limits { bytes: 8 << 20, window: Duration::from_secs(2) };

/// A registry without anybody who cares for lingers: tests call [`Registry::expire`].
pub fn registry() -> Registry {
    Registry::new(Budget::unlimited(), None, None)
}

/// Hears nothing.
pub struct Deaf;

impl Wake for Deaf {
    fn wake(&self) {}
}

/// A publisher whose stream ends as soon as it has gone and somebody looks.
pub fn publish(registry: &Registry, flush: Flush, now: Instant) -> Publisher {
    let settings = PublishSettings {
        linger: Duration::ZERO,
        conflict: Conflict::Takeover,
        flush,
        limits: LIMITS,
        replaced: Arc::new(Deaf),
    };
    registry.publish(&key(), settings, now).expect("nobody else publishes")
}

/// Publishes metadata and both configurations, so that viewers are not held back once there are a picture and sound.
pub fn begin(publisher: &mut Publisher, now: Instant) {
    for frame in [metadata(), video_config(), audio_config()] {
        publisher.push(frame, now).expect("the only publisher");
    }
}

/// Somebody who holds the only permit of `permits`, which is free again when the client is gone.
pub fn client(permits: &Permits, roster: &Arc<Roster>) -> Client {
    let permit = permits.take().expect("a free permit");
    let client = Client::new(([127, 0, 0, 1], 1).into(), "test", permit, roster);
    client.presence.turns_to(Activity::Play, Some(&key()));
    client
}

/// A connected pair: the server's end, non-blocking, and the peer's, blocking for at most [`SOON`].
pub fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let peer = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    accepted(&listener, peer)
}

/// The same with buffers of some kilobytes, so that a peer that does not read is noticed soon.
pub fn narrow_sockets() -> (TcpStream, TcpStream) {
    const SMALLEST: usize = 4096;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Before it connects, because the window scale is settled then.
    socket.set_recv_buffer_size(SMALLEST).expect("a small buffer");
    socket.connect(&listener.local_addr().expect("an address").into()).expect("connected");
    let (near, far) = accepted(&listener, socket.into());
    SockRef::from(&near).set_send_buffer_size(SMALLEST).expect("a small buffer");
    (near, far)
}

fn accepted(listener: &TcpListener, peer: TcpStream) -> (TcpStream, TcpStream) {
    let (near, _) = listener.accept().expect("somebody connects");
    near.set_nonblocking(true).expect("a mode");
    near.set_nodelay(true).expect("an option");
    peer.set_read_timeout(Some(SOON)).expect("a timeout");
    (near, peer)
}

/// Reads `count` bytes.
pub fn read(peer: &mut TcpStream, count: usize) -> Bytes {
    let mut bytes = vec![0; count];
    peer.read_exact(&mut bytes).expect("as many bytes as were sent");
    bytes.into()
}

/// A server session whose client plays on message stream 1, with our chunk size of [`RTMP`], and everything between
/// them said.
pub fn playing(now: Instant) -> Box<server::Session> {
    let Format::Rtmp { chunk_size } = RTMP else { unreachable!("RTMP is RTMP") };
    let config = server::Config { chunk_size, ..server::Config::default() };
    let mut session = Box::new(server::Session::new(config, [7; 1536], now));
    let url = RtmpUrl::parse("rtmp://example.com/live/one").expect("a good URL");
    let mut client = client::Session::new_play(client::Config::new(url), [9; 1536], now);
    loop {
        let mut quiet = true;
        while let Some(bytes) = client.poll_output() {
            session.handle_input(&bytes, now).expect("the client keeps to the protocol");
            quiet = false;
        }
        while let Some(event) = session.poll_event() {
            if let server::Event::Play { stream_id, .. } = event {
                session.accept_play(stream_id);
            }
        }
        while let Some(bytes) = session.poll_output() {
            client.handle_input(&bytes, now).expect("the server keeps to the protocol");
            quiet = false;
        }
        if quiet {
            assert_eq!(client.poll_event(), Some(client::Event::Accepted));
            return session;
        }
    }
}

/// What a client sends: one message in chunks of the size that `playing` has left it with.
pub fn said(type_id: u8, stream_id: u32, body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    let csid = if type_id == type_id::COMMAND { chunk::CSID_COMMAND } else { chunk::CSID_CONTROL };
    chunk::encode_message(&mut out, csid, 0, type_id, stream_id, body, 60_000);
    out.freeze()
}
