use std::fs;

use bytes::{Bytes, BytesMut};
use weir_config::Config;
use weir_flv::{
    TagKind,
    file::{Header, write_tag},
};
use weir_media::Budget;

use super::*;

const AVCC: &[u8] = &[0x17, 0, 0, 0, 0, 1, 100, 0, 31, 0xff, 0xe1, 0, 0];
const KEY: &[u8] = &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65];
const PICTURE: &[u8] = &[0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x41];
const SOUND: &[u8] = &[0xaf, 1, 7];

/// A file of these tags.
fn file(tags: &[(TagKind, u32, &[u8])]) -> tempfile::NamedTempFile {
    let mut bytes = BytesMut::from(&Header { has_audio: true, has_video: true }.encode()[..]);
    for (kind, timestamp, body) in tags {
        write_tag(&mut bytes, *kind, *timestamp, body);
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), &bytes).expect("written");
    file
}

async fn looped(file: &tempfile::NamedTempFile) -> Looped {
    let memory = Allowance::new(&Budget::unlimited(), &Config::default());
    Looped::open(file.path().to_owned(), memory).await.expect("it can be opened")
}

/// Why a file cannot be played.
async fn refused(path: &Path) -> String {
    let memory = Allowance::new(&Budget::unlimited(), &Config::default());
    Looped::open(path.to_owned(), memory).await.err().expect("it cannot be played")
}

async fn some(looped: &mut Looped, count: usize) -> Vec<(u32, Bytes)> {
    let mut some = Vec::new();
    for _ in 0..count {
        let tag = looped.next().await.expect("a tag");
        some.push((tag.timestamp, tag.body));
    }
    some
}

use TagKind::{Audio, Video};

#[tokio::test]
async fn rounds_follow_each_other_without_a_gap_and_begin_with_a_key_frame() {
    let file = file(&[
        (Video, 1000, AVCC),
        (Video, 1000, PICTURE),
        (Video, 1010, KEY),
        (Audio, 1010, SOUND),
        (Video, 1020, PICTURE),
        (Audio, 1030, SOUND),
    ]);
    let mut looped = looped(&file).await;
    let start = Instant::now();
    let played = some(&mut looped, 15).await;
    assert!(start.elapsed() >= Duration::from_millis(70), "in real time: {:?}", start.elapsed());
    let times: Vec<_> = played.iter().map(|(time, _)| *time).collect();
    // Sound is as long as its distance; the pictures of a round end 30 ms after they begin, and so does the sound.
    let length = times[5] - times[0];
    for (round, tags) in played.chunks_exact(5).enumerate() {
        let bodies: Vec<_> = tags.iter().map(|(_, body)| &**body).collect();
        assert_eq!(bodies, [AVCC, KEY, SOUND, PICTURE, SOUND]);
        let times: Vec<_> = tags.iter().map(|(time, _)| time - round as u32 * length).collect();
        assert_eq!(times, [1000, 1010, 1010, 1020, 1030], "round {round}");
    }
    assert_eq!(length, 40);
}

#[tokio::test]
async fn a_file_with_nothing_to_show_is_given_up() {
    for (tags, why) in [
        (&[(Video, 0, AVCC)][..], "it has no media"),
        (&[(Video, 0, PICTURE), (Audio, 0, SOUND)], "it has no key frame"),
    ] {
        assert_eq!(refused(file(tags).path()).await, why);
    }
    let text = tempfile::NamedTempFile::new().expect("a file");
    fs::write(text.path(), "no FLV at all").expect("written");
    let why = refused(text.path()).await;
    assert!(why.contains("it is not FLV"), "{why}");
    let why = refused("/nowhere.flv".as_ref()).await;
    assert!(why.contains("cannot be opened"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn an_odd_clock_stops_nobody() {
    let (mut pace, start) = (Pace::default(), Instant::now());
    for timestamp in [0, 40, 3_600_040, 3_600_080, 60, 100, u32::MAX, 20] {
        pace.wait(timestamp).await;
    }
    assert!(start.elapsed() <= Duration::from_millis(200), "{:?}", start.elapsed());
    // Whoever was held up does not run after it.
    tokio::time::advance(Duration::from_secs(60)).await;
    let late = Instant::now();
    for timestamp in [60, 100, 140] {
        pace.wait(timestamp).await;
    }
    assert!(late.elapsed() >= Duration::from_millis(80), "{:?}", late.elapsed());
}

#[test]
fn codecs_are_those_of_the_first_seconds() {
    use weir_media::{AudioCodec, VideoCodec};

    use crate::slate::Kinds;
    let both = file(&[(Video, 0, AVCC), (Video, 0, KEY), (Audio, 3, SOUND)]);
    let kinds = Kinds::of_file(both.path()).expect("a slate");
    let (avc, aac) = (Some(VideoCodec::Avc), Some(AudioCodec::Aac));
    assert_eq!(kinds, Kinds { video: avc, audio: aac });
    let init = weir_media::Init::default();
    assert_eq!(kinds.stands_in_for(kinds, &init), Ok(()));
    for other in [Kinds { audio: None, ..kinds }, Kinds { video: Some(VideoCodec::Hevc), ..kinds }]
    {
        let why = kinds.stands_in_for(other, &init).expect_err("another");
        assert!(why.starts_with("the file has H.264 and AAC, the stream"), "{why}");
    }
    let silent = file(&[(Video, 0, PICTURE), (Video, 9000, KEY)]);
    assert!(Kinds::of_file(silent.path()).is_err_and(|why| why.contains("no key frame")));
}
