//! What comes out can be decoded without a complaint, whatever happens to the stream.

use std::{fs, net::SocketAddr, time::Duration};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tokio::sync::watch;
use weir_flv::Tag;
use weir_testkit::{
    Weir,
    camera::publish_in_time,
    cluster::{Cluster, Ports},
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls_client::Client,
    http,
    packets::{Extent, Form, continuation, read, tags_of},
};

use crate::{TIMEOUT, decode, file_of, start};

/// The beginning of a fixture.
fn beginning(fixture: Fixture, millis: u32) -> Vec<Tag> {
    let mut tags = tags_of(&fixture.file());
    tags.retain(|tag| tag.timestamp < millis);
    tags
}

/// Two fixtures as one stream.
fn one_after_the_other(first: Fixture, second: Fixture, millis: u32) -> Vec<Tag> {
    let mut tags = beginning(first, millis);
    let later = |tag: Tag| Tag { timestamp: tag.timestamp + millis, ..tag };
    tags.extend(beginning(second, millis).into_iter().map(later));
    tags
}

/// Follows `live/a` until it has `segments` more than now.
async fn follow(client: &mut Client, address: SocketAddr, segments: usize) {
    let count = |client: &Client| client.runs.iter().map(|run| run.segments).sum::<usize>();
    let most = count(client) + segments;
    client.follow(address, |client| count(client) >= most).await;
}

/// Requires that each init segment with its segments can be decoded.
#[track_caller]
fn check(client: &Client, runs: usize) {
    let maps: Vec<_> = client.runs.iter().map(|run| (&run.map, run.segments)).collect();
    assert_eq!(maps.len(), runs, "{maps:?}");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (number, run) in client.runs.iter().enumerate() {
        let file = file_of(run, &folder, &format!("{number}.mp4"));
        decode(&file).unwrap_or_else(|wrong| panic!("{maps:?}: {number}: {wrong}"));
    }
}

/// An encoder that comes back, that changes its codec, and an origin that is started again: each time what comes next
/// has its own init segment, if it needs another one, the numbers go on, and nothing of it is damaged.
#[tokio::test(flavor = "multi_thread")]
async fn encoders_codecs_and_origins_change_and_everything_can_be_decoded() {
    let (dir, ports) =
        (tempfile::tempdir().expect("a temporary folder can be made"), Ports::free());
    let config = format!(
        "hls: {{ dir: \"{}\", segment: 1s, part: 200ms, window: 20 }}\nplay: {{ wait: 30s }}\n",
        dir.path().display()
    );
    let mut weir = Weir::builder(env!("CARGO_BIN_EXE_weir"))
        .config(&config)
        .at(Cluster::ip(1), &ports)
        .start();
    let (url, address) = (weir.rtmp_url("live/a"), weir.http());
    let mut client = Client::new("live/a.m3u8");

    let sent = beginning(Fixture::AvcBFramesAac, 2500);
    for _ in 0..2 {
        tokio::join!(publish_in_time(&url, &sent), follow(&mut client, address, 2));
    }
    let sent = one_after_the_other(Fixture::AvcAac, Fixture::Vp9Opus, 3000);
    tokio::join!(publish_in_time(&url, &sent), follow(&mut client, address, 5));
    let before = client.playlist.next_sequence();

    weir.terminate();
    tokio::task::block_in_place(|| weir.wait_exit(TIMEOUT));
    tokio::task::block_in_place(|| weir.restart());
    client.forget();
    let sent = beginning(Fixture::HevcAac, 3500);
    tokio::join!(publish_in_time(&url, &sent), follow(&mut client, address, 3));
    assert!(client.playlist.next_sequence() > before, "{before}: {:?}", client.playlist);
    tokio::task::block_in_place(|| check(&client, 4));
}

/// Files are for others: their folder goes while a client plays, and it misses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_folder_of_the_files_goes() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = dir.path().join("hls");
    let weir = start(&format!(
        "publish: {{ linger: 0s }}\nplay: {{ wait: 30s }}\n\
         hls: {{ dir: \"{}\", segment: 1s, part: 200ms, window: 20 }}\n",
        folder.display()
    ));
    let fixture = Fixture::AvcBFramesAac;
    let (url, address) = (weir.rtmp_url("live/a"), weir.http());
    let (say, mut said) = watch::channel(false);
    let lose = async {
        // Two segments are in files.
        said.wait_for(|is_time| *is_time).await.expect("the client goes on");
        let file = dir.path().join("file");
        fs::write(&file, b"no folder").expect("a file");
        // In one step, because files are being written into the folder all the time.
        renameat_with(CWD, &file, CWD, &folder, RenameFlags::EXCHANGE)
            .expect("the file and the folder change places");
    };
    let mut client = Client::new("live/a.m3u8");
    let play = async {
        follow(&mut client, address, 3).await;
        say.send(true).expect("somebody listens");
        client.follow(address, |_| false).await;
    };
    let tags = tags_of(&fixture.file());
    tokio::join!(publish_in_time(&url, &tags), play, lose);
    let unwritable = eventually("files cannot be written", TIMEOUT, async || {
        let text = http::get(weir.api(), "/metrics").await.text().await;
        let line = text.lines().find(|line| line.starts_with("weir_hls_write_errors_total"))?;
        (!line.ends_with(" 0")).then(|| line.to_owned())
    });
    unwritable.await;
    tokio::task::block_in_place(|| {
        check(&client, 1);
        let files = tempfile::tempdir().expect("a temporary folder can be made");
        let played = file_of(&client.runs[0], &files, "played.mp4");
        let [source, played] = [&fixture.file(), &played]
            .map(|file| read(Ffmpeg::Nine, &file.display().to_string(), Form::Carried, TIMEOUT));
        let result = continuation(&source, &played, Extent::ToEnd, Duration::ZERO);
        result.unwrap_or_else(|difference| panic!("{difference}"));
    });
}
