//! What Weir's end-to-end tests are made of: the server as a process, scripted peers, real encoders, players and
//! browsers, and the comparison of what went in with what came out.
//!
//! | module | what it is |
//! |---|---|
//! | [`server`] | the `weir` binary in a folder and on ports of its own, with its log |
//! | [`cluster`] | origins and edges that find each other, on ports that outlive them |
//! | [`config_map`] | a file that is swapped as the kubelet swaps those of a ConfigMap |
//! | [`crowd`] | hundreds of viewers that must not be disturbed |
//! | [`roaming`] | viewers and encoders that connect anew whenever they are let go |
//! | [`haproxy`] | a load balancer that asks whether servers are ready |
//! | [`manifests`], [`pod`] | objects of Kubernetes, and their containers as processes |
//! | [`moto`] | a storage that speaks S3 and checks signatures |
//! | [`dns`] | a name server with the names that a test gives it |
//! | [`hanging`] | a folder of which every use blocks for good |
//! | [`certificates`] | authorities, and certificates that they sign |
//! | [`tls_front`] | TLS before a server that has none |
//! | [`relay`] | a TCP relay that cuts, holds and counts connections |
//! | [`netns`] | hosts in network namespaces, whose links can be cut |
//! | [`nginx`] | nginx-rtmp |
//! | [`web`] | nginx as the server of HLS files |
//! | [`impostor`] | servers that accept connections and are no origins |
//! | [`peer`] | scripted RTMP publishers and viewers, HTTP-FLV viewers, streams of numbered frames |
//! | [`raw`] | connections that send whatever bytes a test likes |
//! | [`http`] | HTTP requests as bytes, and their responses |
//! | [`hls`], [`hls_rules`] | playlists, and whether successive versions of one keep the rules |
//! | [`hls_client`] | a client of low-latency HLS that takes everything |
//! | [`ffmpeg`], [`fixture`] | both FFmpegs, and the files that they publish |
//! | [`packets`] | the packets of a file or stream, and whether they are the continuation of others |
//! | [`backend`] | a back end that is told what clients do |
//! | [`browser`], [`players`] | headless Chromium, and the players of HTTP-FLV and HLS in it |
//! | [`own_page`] | a page of Weir's own in it, which must not complain |
//! | [`firefox`] | headless Firefox |
//! | [`camera`] | an encoder in real time, whose pictures say when they were taken |
//! | [`tls`] | both ends of TLS, and a tunnel through it for peers without it |
//! | [`pulse`] | how well the machine keeps time |
//! | [`process`] | any other program, ended when the test is over |
//!
//! All of this is test code: what a test cannot go on without panics, with a message that says what to look at.

pub mod backend;
pub mod browser;
pub mod camera;
pub mod certificates;
pub mod cluster;
pub mod config_map;
pub mod crowd;
pub mod dns;
pub mod ffmpeg;
pub mod firefox;
pub mod fixture;
pub mod hanging;
pub mod haproxy;
pub mod hls;
pub mod hls_client;
pub mod hls_rules;
pub mod http;
pub mod http2;
pub mod impostor;
pub mod manifests;
pub mod moto;
pub mod netns;
pub mod nginx;
pub mod own_page;
pub mod packets;
mod patience;
pub mod peer;
pub mod players;
pub mod pod;
mod ports;
pub mod process;
pub mod pulse;
pub mod raw;
pub mod relay;
pub mod roaming;
pub mod server;
pub mod tls;
pub mod tls_front;
pub mod web;

pub use server::Weir;

use std::{path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep};

/// Between two looks at something that says nothing by itself.
const POLL: Duration = Duration::from_millis(20);

/// What `look` returns once it is not `None`: for what can only be asked again and again.
///
/// # Panics
/// If that has not happened after `timeout`; `what` says what was waited for.
pub async fn eventually<T>(
    what: &str,
    timeout: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {timeout:?}");
        sleep(POLL).await;
    }
}

/// Where tools and fixtures are kept between test runs: `target/` at the top of the repository, whichever build folder
/// cargo uses.
fn kept() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target"))
}
