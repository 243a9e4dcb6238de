//! What RTMP viewers may ask for while they play.

use weir_flv::{Tag, TagKind, amf0::Value};
use weir_rtmp::message::Command;
use weir_testkit::{
    Weir,
    peer::{self, Caller, Numbered, Piece, Publisher, Said},
};

use crate::{assert_ended, server};

/// Pictures in a group.
const GROUP: u64 = 10;

/// A viewer that says what it wants.
struct Viewer {
    caller: Caller,
    stream: u32,
    /// The newest picture.
    picture: Option<u64>,
    /// The newest packet of sound.
    sound: Option<u64>,
    /// The time of the newest message.
    time: u32,
}

/// A message of the stream, as a viewer takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    kind: TagKind,
    piece: Piece,
}

impl Seen {
    fn is_sound(self) -> bool {
        matches!(self.piece, Piece::Sound { .. })
    }

    fn is_picture(self) -> bool {
        matches!(self.piece, Piece::Picture { .. })
    }
}

impl Viewer {
    /// Plays `live/a` on a new message stream of a new connection.
    async fn start(weir: &Weir) -> Self {
        let mut caller = Caller::connect(weir.rtmp(), "live").await;
        let stream = caller.create_stream().await;
        assert_eq!(caller.play(stream, "a").await, "NetStream.Play.Start");
        Self { caller, stream, picture: None, sound: None, time: 0 }
    }

    async fn call(&mut self, name: &str, arguments: Vec<Value>) {
        self.caller.call(self.stream, name, Value::Null, arguments).await;
    }

    /// The next message of the stream.
    async fn next(&mut self) -> Seen {
        let (stream, tag) = self.caller.media().await;
        self.take(stream, &tag)
    }

    /// Takes a message, which is of this stream, not earlier than the one before it, and not a second time.
    fn take(&mut self, stream: u32, tag: &Tag) -> Seen {
        assert_eq!(stream, self.stream, "the message stream");
        // Script data has no time of its own.
        if tag.kind != TagKind::Script {
            let time = std::mem::replace(&mut self.time, tag.timestamp);
            assert!(
                tag.timestamp >= time,
                "time runs backwards from {time} to {} ms",
                tag.timestamp
            );
        }
        let piece = match Piece::of(tag) {
            Ok(piece) => piece,
            Err(error) => panic!("a message that was not published: {error}"),
        };
        match piece {
            Piece::Picture { number, .. } => {
                let newest = self.picture.replace(number);
                assert!(newest < Some(number), "after picture {newest:?} comes {number}");
            }
            Piece::Sound { number } => {
                let newest = self.sound.replace(number);
                assert!(newest < Some(number), "after sound {newest:?} comes {number}");
            }
            _ => {}
        }
        Seen { kind: tag.kind, piece }
    }

    /// All messages up to picture `number`.
    async fn until_picture(&mut self, number: u64) -> Vec<Seen> {
        let mut seen = Vec::new();
        while self.picture < Some(number) {
            seen.push(self.next().await);
        }
        seen
    }

    /// All messages up to the sound of picture `number`.
    async fn until_sound(&mut self, number: u64) -> Vec<Seen> {
        let mut seen = Vec::new();
        while self.sound < Some(number) {
            seen.push(self.next().await);
        }
        seen
    }

    /// The server's next command for which `wanted` holds. What it sends before that must be right, as always.
    async fn command(&mut self, wanted: impl Fn(&Command) -> bool) -> Command {
        loop {
            match self.caller.next().await.expect("the server answers") {
                Said::Command(_, command) if wanted(&command) => return command,
                Said::Media(stream, tag) => {
                    self.take(stream, &tag);
                }
                _ => {}
            }
        }
    }

    /// The code of the server's next status.
    async fn status(&mut self) -> String {
        let status = self.command(|command| command.name == "onStatus").await;
        status.info("code").unwrap_or_default().to_owned()
    }

    /// Waits until the server has done what it was told.
    async fn settle(&mut self) {
        self.caller.call(0, "getStreamLength", Value::Null, vec!["a".into()]).await;
        self.command(|command| command.name == "_result").await;
    }

    /// Requires that no media has come since the last answer.
    async fn assert_silence(&mut self) {
        self.caller.call(0, "getStreamLength", Value::Null, vec!["a".into()]).await;
        loop {
            match self.caller.next().await.expect("the server answers") {
                Said::Command(_, command) if command.name == "_result" => return,
                Said::Media(_, tag) => panic!("media that nobody wants: {tag:?}"),
                _ => {}
            }
        }
    }
}

/// A stream of groups of ten pictures.
struct Source {
    publisher: Publisher,
    observer: peer::Viewer,
}

impl Source {
    /// Publishes one group and a half.
    async fn start(weir: &Weir) -> Self {
        let url = weir.rtmp_url("live/a");
        let mut publisher = Publisher::start(&url, Numbered::new(GROUP)).await;
        publisher.pictures(1).await;
        let mut source = Self { publisher, observer: peer::Viewer::rtmp(&url).await };
        source.pictures(14).await;
        source
    }

    /// Publishes so many pictures more, and waits until they are there to be played; the number of the last one.
    async fn pictures(&mut self, count: u64) -> u64 {
        let newest = self.publisher.pictures(count).await;
        self.observer.until_picture(newest).await;
        newest
    }
}

/// The numbers of the pictures in `seen`, which all must be there.
fn pictures(seen: &[Seen]) -> Vec<u64> {
    let number = |seen: &Seen| match seen.piece {
        Piece::Picture { number, .. } => Some(number),
        _ => None,
    };
    seen.iter().filter_map(number).collect()
}

/// What `viewer` sees while the publisher goes on beyond its next key frame, picture 20. Only then more is published:
/// who waits for the next group takes the newest one when several begin at once.
async fn after_next_key(viewer: &mut Viewer, source: &mut Source) -> Vec<Seen> {
    let newest = source.pictures(6).await;
    viewer.until_picture(newest).await
}

fn first_picture(seen: &[Seen]) -> Option<Piece> {
    seen.iter().find(|seen| seen.is_picture()).map(|seen| seen.piece)
}

#[tokio::test]
async fn pause_stops_the_media_and_unpause_goes_on_with_a_key_frame() {
    let weir = server("");
    let mut source = Source::start(&weir).await;
    let mut viewer = Viewer::start(&weir).await;
    viewer.until_picture(14).await;
    viewer.call("pause", vec![true.into(), 0.0.into()]).await;
    assert_eq!(viewer.status().await, "NetStream.Pause.Notify");
    viewer.settle().await;
    source.pictures(20).await;
    viewer.assert_silence().await;
    viewer.call("pause", vec![false.into(), 0.0.into()]).await;
    assert_eq!(viewer.status().await, "NetStream.Unpause.Notify");
    let newest = source.pictures(10).await;
    let seen = viewer.until_picture(newest).await;
    assert_eq!(first_picture(&seen), Some(Piece::Picture { number: 30, key: true }), "{seen:?}");
    assert_eq!(seen[0].kind, TagKind::Script, "metadata and configuration come first: {seen:?}");
    assert_eq!(pictures(&seen), (30..=newest).collect::<Vec<_>>());
}

/// A pause that is over before the next key frame must not play the group a second time.
#[tokio::test]
async fn a_short_pause_repeats_nothing() {
    let weir = server("");
    let mut source = Source::start(&weir).await;
    let mut viewer = Viewer::start(&weir).await;
    viewer.until_picture(14).await;
    for paused in [true, false] {
        viewer.call("pause", vec![paused.into(), 0.0.into()]).await;
        viewer.status().await;
    }
    let seen = after_next_key(&mut viewer, &mut source).await;
    assert_eq!(first_picture(&seen), Some(Piece::Picture { number: 20, key: true }), "{seen:?}");
}

#[tokio::test]
async fn a_viewer_that_has_paused_is_told_of_the_end() {
    let weir = server("publish: { linger: 0s }");
    let source = Source::start(&weir).await;
    let mut viewer = Viewer::start(&weir).await;
    viewer.until_picture(14).await;
    viewer.call("pause", vec![true.into(), 0.0.into()]).await;
    assert_eq!(viewer.status().await, "NetStream.Pause.Notify");
    source.publisher.stop().await;
    assert_eq!(viewer.status().await, "NetStream.Play.UnpublishNotify");
}

#[tokio::test]
async fn receive_audio_switches_the_sound_off_and_on() {
    let weir = server("");
    let mut source = Source::start(&weir).await;
    let mut viewer = Viewer::start(&weir).await;
    viewer.until_picture(14).await;
    viewer.call("receiveAudio", vec![false.into()]).await;
    viewer.settle().await;
    let mut seen = after_next_key(&mut viewer, &mut source).await;
    let newest = source.pictures(25).await;
    seen.extend(viewer.until_picture(newest).await);
    assert!(!seen.iter().any(|seen| seen.is_sound()), "{seen:?}");
    assert_eq!(pictures(&seen), (20..=newest).collect::<Vec<_>>());
    viewer.call("receiveAudio", vec![true.into()]).await;
    viewer.settle().await;
    let newest = source.pictures(5).await;
    source.pictures(1).await;
    let seen = viewer.until_sound(newest).await;
    assert_eq!(seen.iter().filter(|seen| seen.is_sound()).count(), 5, "{seen:?}");
}

#[tokio::test]
async fn receive_video_switches_the_pictures_off_and_on_at_a_key_frame() {
    let weir = server("");
    let mut source = Source::start(&weir).await;
    let mut viewer = Viewer::start(&weir).await;
    viewer.until_picture(14).await;
    viewer.call("receiveVideo", vec![false.into()]).await;
    viewer.settle().await;
    let newest = source.pictures(20).await;
    source.pictures(1).await;
    let seen = viewer.until_sound(newest).await;
    assert!(!seen.iter().any(|seen| seen.is_picture()), "{seen:?}");
    // Picture 35 is out: the group that began at 30 is not joined in its middle.
    viewer.call("receiveVideo", vec![true.into()]).await;
    viewer.settle().await;
    let newest = source.pictures(10).await;
    let seen = viewer.until_picture(newest).await;
    assert_eq!(first_picture(&seen), Some(Piece::Picture { number: 40, key: true }), "{seen:?}");
}

#[tokio::test]
async fn a_viewer_may_delete_its_stream_and_play_on_another() {
    let weir = server("");
    let mut source = Source::start(&weir).await;
    let mut viewer = Viewer::start(&weir).await;
    viewer.until_picture(14).await;
    viewer.caller.call(0, "deleteStream", Value::Null, vec![viewer.stream.into()]).await;
    let stream = viewer.caller.create_stream().await;
    assert_ne!(stream, viewer.stream, "ids are not used again");
    source.pictures(10).await;
    viewer.assert_silence().await;
    assert_eq!(viewer.caller.play(stream, "a").await, "NetStream.Play.Start");
    viewer.stream = stream;
    let mut seen = viewer.until_picture(24).await;
    let newest = source.pictures(10).await;
    seen.extend(viewer.until_picture(newest).await);
    assert_eq!(first_picture(&seen), Some(Piece::Picture { number: 20, key: true }), "{seen:?}");
    assert_eq!(pictures(&seen), (20..=newest).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_viewer_may_close_its_stream_and_play_on_it_again() {
    let weir = server("");
    let mut source = Source::start(&weir).await;
    let mut viewer = Viewer::start(&weir).await;
    viewer.until_picture(14).await;
    for round in 2..5 {
        viewer.call("closeStream", vec![]).await;
        viewer.settle().await;
        source.pictures(GROUP).await;
        viewer.assert_silence().await;
        assert_eq!(viewer.caller.play(viewer.stream, "a").await, "NetStream.Play.Start");
        let seen = viewer.until_picture(round * GROUP + 4).await;
        assert_eq!(
            first_picture(&seen),
            Some(Piece::Picture { number: round * GROUP, key: true }),
            "{seen:?}"
        );
    }
}

/// The bytes that most viewers share are for message stream 1.
#[tokio::test]
async fn a_viewer_may_play_on_its_second_message_stream() {
    let weir = server("");
    let mut source = Source::start(&weir).await;
    let mut caller = Caller::connect(weir.rtmp(), "live").await;
    assert_eq!((caller.create_stream().await, caller.create_stream().await), (1, 2));
    assert_eq!(caller.play(2, "a").await, "NetStream.Play.Start");
    let mut viewer = Viewer { caller, stream: 2, picture: None, sound: None, time: 0 };
    let mut seen = viewer.until_picture(14).await;
    let newest = source.pictures(20).await;
    seen.extend(viewer.until_picture(newest).await);
    assert_eq!(first_picture(&seen), Some(Piece::Picture { number: 10, key: true }), "{seen:?}");
    assert_eq!(pictures(&seen), (10..=newest).collect::<Vec<_>>());
}

/// `play` on a stream that plays already is how Flash Player switches to another one.
#[tokio::test]
async fn a_viewer_may_switch_to_another_stream() {
    let weir = server("");
    let mut source = Source::start(&weir).await;
    let mut other = Publisher::start(&weir.rtmp_url("live/b"), Numbered::new(GROUP)).await;
    other.pictures(35).await;
    let mut viewer = Viewer::start(&weir).await;
    viewer.until_picture(14).await;
    assert_eq!(viewer.caller.play(viewer.stream, "b").await, "NetStream.Play.Start");
    source.pictures(10).await;
    let seen = viewer.until_picture(34).await;
    assert_eq!(pictures(&seen), (30..=34).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_second_play_on_the_connection_is_refused_and_the_first_goes_on() {
    let weir = server("");
    let mut source = Source::start(&weir).await;
    let mut viewer = Viewer::start(&weir).await;
    viewer.until_picture(14).await;
    let second = viewer.caller.create_stream().await;
    for (name, code) in [("play", "NetStream.Play.Failed"), ("publish", "NetStream.Publish.Failed")]
    {
        viewer.caller.call(second, name, Value::Null, vec!["a".into()]).await;
        assert_eq!(viewer.status().await, code);
    }
    let mut seen = after_next_key(&mut viewer, &mut source).await;
    let newest = source.pictures(30).await;
    seen.extend(viewer.until_picture(newest).await);
    assert_eq!(pictures(&seen), (20..=newest).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_viewer_makes_up_is_answered_and_disturbs_nothing() {
    let weir = server("");
    let mut source = Source::start(&weir).await;
    let mut viewer = Viewer::start(&weir).await;
    viewer.until_picture(14).await;
    for name in ["_checkbw", "getStreamLength", "madeUp"] {
        viewer.caller.call(0, name, Value::Null, vec!["a".into()]).await;
        viewer.command(|command| command.name == "_result").await;
    }
    viewer.call("seek", vec![0.0.into()]).await;
    assert_eq!(viewer.status().await, "NetStream.Seek.Notify");
    let newest = source.pictures(20).await;
    let seen = viewer.until_picture(newest).await;
    assert_eq!(pictures(&seen), (15..=newest).collect::<Vec<_>>(), "nothing was lost or repeated");
}

/// Media from somebody who plays is a mistake that is not overlooked.
#[tokio::test]
async fn a_viewer_that_sends_media_is_cut() {
    let weir = server("");
    let _source = Source::start(&weir).await;
    let mut viewer = Viewer::start(&weir).await;
    viewer.until_picture(14).await;
    viewer.caller.send(viewer.stream, TagKind::Video.type_id(), 0, b"\x27\x01\0\0\0").await;
    assert_ended(
        &weir,
        viewer.caller.local(),
        "peer",
        "media on message stream 1 without a publish",
    )
    .await;
}
