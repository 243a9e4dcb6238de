//! What comes out can be decoded without a complaint, whatever happens to the stream.

use std::{fs, net::SocketAddr, time::Duration};

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
