//! Configurations of SRS that run programs.

use std::fs;

use weir_testkit::{Weir, camera::Camera, eventually, peer::Player};

use super::{BINARY, SOON, clip, size_of, streams};

/// A server with what SRS's samples have before their vhost, and an API.
fn weir(vhost: &str) -> Weir {
    let text = format!(
        "listen 1935;\nmax_connections 1000;\ndaemon off;\nsrs_log_tank console;\n\
         http_api {{ enabled on; listen 1985; }}\nvhost __defaultVhost__ {{\n{vhost}\n}}\n"
    );
    Weir::builder(BINARY).exactly(&text).start()
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_records() {
    let weir = weir(
        "    exec {\n        enabled on;\n        publish ffmpeg -f flv -i [url] -c copy -y ./[stream].flv;\n    }",
    );
    let _camera = Camera::start(&weir.rtmp_url("live/livestream")).await;
    let file = weir.dir().join("livestream.flv");
    eventually("something is recorded", SOON, async || {
        fs::metadata(&file).is_ok_and(|about| about.len() > 50_000).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transcode_makes_another_size() {
    let weir = weir(
        "    transcode {
        enabled     on;
        ffmpeg      ffmpeg;
        engine ff {
            enabled         on;
            vfilter {
            }
            vcodec          libx264;
            vbitrate        100;
            vfps            10;
            vwidth          160;
            vheight         90;
            vthreads        1;
            vprofile        main;
            vpreset         ultrafast;
            vparams {
            }
            acodec          aac;
            abitrate        32;
            asample_rate    44100;
            achannels       1;
            aparams {
            }
            output          rtmp://127.0.0.1:[port]/[app]?vhost=[vhost]/[stream]_[engine];
        }
    }",
    );
    let _camera = Camera::start(&weir.rtmp_url("live/livestream")).await;
    assert_eq!(size_of(&weir.rtmp_url("live/livestream_ff")).await, (160, 90));
    assert_eq!(streams(&weir).await, ["/live/livestream", "/live/livestream_ff"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_plays_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = clip(dir.path());
    let weir = weir(&format!(
        "    ingest livestream {{
        enabled      on;
        input {{
            type    file;
            url     {};
        }}
        ffmpeg      ffmpeg;
        engine {{
            enabled          off;
            output          rtmp://127.0.0.1:[port]/live/livestream?vhost=[vhost];
        }}
    }}",
        file.display()
    ));
    let mut player = Player::rtmp(&weir.rtmp_url("live/livestream")).await;
    for _ in 0..100 {
        assert!(player.next().await.is_some());
    }
}
