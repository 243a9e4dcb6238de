//! Files that are played as streams.

use std::process::Command;

use weir_flv::Tag;
use weir_media::Content;
use weir_testkit::{
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    packets::{frame_of, tags_of},
    peer::{Numbered, Player},
};

use super::{NO_HLS, numbered, server, until_pull, write_flv};

/// The first two seconds of what a real encoder made.
fn clip() -> Vec<Tag> {
    let mut tags = tags_of(&Fixture::AvcBFramesAac.file());
    tags.retain(|tag| tag.timestamp < 2000);
    tags
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_round_on_one_timeline_that_decodes() {
    let dir = tempfile::tempdir().expect("a folder");
    let clip = clip();
    let file = write_flv(dir.path(), "clip.flv", &clip);
    let config = format!(
        "{NO_HLS}pull: [{{ stream: live/x, from: 'file:{}', when: demand }}]\n",
        file.display()
    );
    let here = server(&config).start();
    // It begins with whoever comes first.
    let mut player = Player::http_flv(here.http(), "live/x.flv").await;
    let is_packet =
        |tag: &Tag| matches!(frame_of(tag).content, Content::Video { .. } | Content::Audio(_));
    let round = clip.iter().filter(|tag| is_packet(tag)).count();
    let mut played = Vec::new();
    while played.iter().filter(|tag| is_packet(tag)).count() < 3 * round {
        played.push(player.next().await.expect("it does not end"));
    }
    let packets: Vec<_> = played.iter().filter(|tag| is_packet(tag)).collect();
    let source: Vec<_> = clip.iter().filter(|tag| is_packet(tag)).collect();
    for (at, tag) in packets.iter().enumerate() {
        assert_eq!(tag.body, source[at % round].body, "packet {at}: three times the same");
    }
    for is_picture in [true, false] {
        let of_kind = packets.iter().filter(|tag| frame_of(tag).is_picture() == is_picture);
        let times: Vec<_> = of_kind.map(|tag| tag.timestamp).collect();
        assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
        let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(steps.max().is_some_and(|step| step <= 80), "no hole: {times:?}");
    }
    let copy = write_flv(dir.path(), "played.flv", &played);
    let mut decode = Ffmpeg::System.command();
    decode.args(["-v", "error", "-i"]).arg(&copy).args(["-f", "null", "-"]);
    let decoded = run(&mut decode);
    assert_eq!(decoded, "", "FFmpeg finds nothing wrong");
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_may_come_later_and_be_of_no_use() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("late.flv");
    let config =
        format!("{NO_HLS}pull: [{{ stream: live/x, from: 'file://{}' }}]\n", path.display());
    let here = server(&config).start();
    let waiting = until_pull(&here, "/live/x", "waiting").await;
    assert!(waiting["last_failure"].as_str().is_some_and(|why| why.contains("cannot be opened")));
    std::fs::write(&path, "this is no FLV").expect("written");
    weir_testkit::eventually("the file is no FLV", super::SOON, async || {
        let pulls = super::listed(&here, "pulls").await;
        pulls[0]["last_failure"].as_str().is_some_and(|why| why.contains("not FLV")).then_some(())
    })
    .await;
    write_flv(dir.path(), "late.flv", &numbered(Numbered::new(5), 0));
    until_pull(&here, "/live/x", "flowing").await;
    let mut player = Player::http_flv(here.http(), "live/x.flv").await;
    assert!(player.next().await.is_some());
}
