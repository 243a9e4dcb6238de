//! Callbacks and the tokens of edges, with real processes: what a back end hears of clients of every protocol, what it
//! decides about them, and who is let in where it does not.

mod contract;
mod decisions;
mod edges;
mod forwarding;
mod heartbeat;

use std::time::Duration;

use weir_testkit::{
    Weir,
    backend::{Backend, Reply},
    eventually, http,
    peer::{Encoder, Numbered, PICTURE_MILLIS, Viewer},
};

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(20);

/// The pace of a stream in real time.
const PICTURE: Duration = Duration::from_millis(PICTURE_MILLIS as u64);

/// Segments that come soon, in files.
const HLS: &str = "hls: { segment: 500ms, dir: hls }\n";

/// What the log must never have in it.
const KEY: &str = "k3yOfTheBackEnd";
const TOKEN: &str = "t0kenOfTheEdge";

/// A server that logs all it has to say.
fn start(config: &str) -> Weir {
    Weir::builder(BINARY).config(config).env("WEIR_LOG", "trace").start()
}

/// An encoder in real time, with a key frame twice a second.
async fn encoder(weir: &Weir, stream: &str) -> Encoder {
    Encoder::start(&weir.rtmp_url(stream), Numbered::new(12), PICTURE).await
}

/// What a viewer of each protocol is told.
async fn answers(weir: &Weir, stream: &str, params: &str) -> [String; 3] {
    let rtmp = match Viewer::try_rtmp(&weir.rtmp_url(&format!("{stream}{params}"))).await {
        Ok(_) => "200".to_owned(),
        Err(refused) => refused.code,
    };
    let flv = http::get(weir.http(), &format!("{stream}.flv{params}")).await.status;
    let hls = http::get(weir.http(), &format!("{stream}.m3u8{params}")).await.status;
    [rtmp, flv.to_string(), hls.to_string()]
}

async fn until_playlist(weir: &Weir, path: &str) {
    eventually(&format!("{path} of {}", weir.http()), SOON, async || {
        (http::get(weir.http(), path).await.status == 200).then_some(())
    })
    .await;
}

/// Accepts all but those who show `bad`.
fn refuse_bad(back_end: &Backend) {
    back_end.answers(|call| {
        let code = i32::from(call.said("param").contains("bad"));
        Reply::Text(200, format!("{{\"code\":{code}}}"))
    });
}

fn assert_never_logged(weir: &Weir, secret: &str) {
    let found = weir.log().all().into_iter().find(|line| line.contains(secret));
    assert_eq!(found, None, "the log has {secret}");
}
