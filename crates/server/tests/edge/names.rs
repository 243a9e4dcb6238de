//! What other servers call a stream when they pull it.

use weir_flv::amf0::{Object, Value};
use weir_testkit::{
    Weir, http,
    peer::{Caller, Numbered, Publisher, Viewer},
};

use crate::{NO_HLS, cluster};

const SECRET: &str = "open-sesame";

/// A connection to `app`, with this `tcUrl`.
async fn connected(weir: &Weir, app: &str, tc_url: &str) -> Caller {
    let mut caller = Caller::greet(weir.rtmp()).await;
    let mut properties = Object::new();
    properties.push("app", app);
    properties.push("tcUrl", tc_url);
    caller.call(0, "connect", Value::from(properties), vec![]).await;
    caller.result().await;
    caller
}

/// What `play` of `name` is told on such a connection.
async fn play(weir: &Weir, app: &str, tc_path: &str, name: &str) -> String {
    let tc_url = format!("rtmp://{}/{tc_path}", weir.rtmp());
    let mut caller = connected(weir, app, &tc_url).await;
    let stream = caller.create_stream().await;
    let code = caller.play(stream, name).await;
    if code == "NetStream.Play.Start" {
        assert_eq!(caller.media().await.0, stream);
    }
    code
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_pull_get_the_stream_that_they_mean() {
    let cluster = cluster();
    let config = format!(
        "{NO_HLS}play: {{ wait: 0s }}\nauth: {{ play: [{{ secret: {{ values: [{SECRET}] }} }}] }}\n"
    );
    let origin = cluster.origin(1, &config);
    let edge = cluster.edge(&["127.0.0.1"], "", &config);
    let mut publisher = Publisher::start(&origin.rtmp_url("live/cam"), Numbered::new(25)).await;
    publisher.pictures(25).await;
    let right = format!("cam?secret={SECRET}");
    let flv = format!("cam.flv?secret={SECRET}");
    // An app, the path of tcUrl, the name that is played.
    let asked = [
        // node-media-server: the whole URL in tcUrl.
        ("live", "live/cam", &right),
        ("live", "live/cam?x=1", &right),
        // SRS, whose first viewer came over HTTP.
        ("live", "live", &flv),
        ("live", "live/cam.flv", &flv),
    ];
    for weir in [&edge, &origin] {
        for (app, tc_path, name) in asked {
            let code = play(weir, app, tc_path, name).await;
            assert_eq!(code, "NetStream.Play.Start", "{app} {tc_path} {name}");
            let (name, _) = name.split_once('?').expect("a secret");
            let code = play(weir, app, tc_path, name).await;
            assert_eq!(code, "NetStream.Play.Failed", "{app} {tc_path} {name} without the secret");
        }
        // An app of that name is another one.
        let code = play(weir, "live/cam", "live/cam", &right).await;
        assert_eq!(code, "NetStream.Play.StreamNotFound");
        let path = format!("live/cam.flv?secret={SECRET}");
        let mut viewer = Viewer::http_flv(weir.http(), &path).await;
        let newest = publisher.pictures(25).await;
        viewer.until_picture(newest).await;
        assert_eq!(http::get(weir.http(), "live/cam.ts.flv").await.status, 403);
    }
    // One stream by whatever name: nobody takes its place, and its viewers see one publisher.
    let url = origin.rtmp_url("live/cam.flv");
    let again = Publisher::try_start(&url, Numbered::default());
    let live = async {
        loop {
            publisher.pictures(1).await;
            tokio::time::sleep(crate::PICTURE).await;
        }
    };
    let refused = tokio::select! {
        refused = again => refused.expect_err("the stream has a publisher"),
        () = live => unreachable!("it publishes on"),
    };
    assert_eq!(refused.code, "NetStream.Publish.BadName");
}
