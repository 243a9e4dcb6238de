//! HLS in Chromium: hls.js, shaka, video.js, and what the browser plays by itself.

use weir_testkit::{
    Weir,
    camera::Camera,
    players::{PlayerPage, WebPlayer},
};

use crate::{COLOURS_MIN, TIMEOUT};

/// Different pictures that are seen when a player has begun to play: about two seconds.
const PICTURES: usize = 20;

fn start(config: &str) -> Weir {
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(config).start()
}

/// Requires that the picture moves in each player, one after the other.
async fn every_player_plays(url: &str) {
    let mut page: Option<PlayerPage> = None;
    for player in WebPlayer::HLS {
        let page = match &mut page {
            Some(page) => {
                page.play(player, url).await;
                page
            }
            None => page.insert(PlayerPage::open(player, url).await),
        };
        page.wait_pictures(PICTURES, TIMEOUT).await;
        let video = page.page().video().await;
        assert!(video.colours >= COLOURS_MIN, "{player:?}: the picture is blank: {video:?}");
        assert!(video.sound > 0, "{player:?} is silent: {video:?}");
        assert_eq!(page.errors().await, [""; 0], "{player:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ts_is_played() {
    let weir = start("hls: { segment: 1s, window: 6 }\n");
    let _camera = Camera::start(&weir.rtmp_url("live/a")).await;
    every_player_plays(&weir.http_url("live/a.m3u8")).await;
}
