//! Chromium, in a page of another https origin.

use std::{process::Command, time::Duration};

use weir_testkit::{
    camera::Camera,
    players::{PlayerPage, WebPlayer},
};

use crate::{NAMES, Rig, said};

/// For a browser to start and to play, on the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(45);

/// A blank picture has one colour, a test picture many.
const COLOURS_MIN: u64 = 20;

/// The hash of the key of the certificate in `NAME.pem`, as Chromium wants it.
fn hash(rig: &Rig, name: &str) -> String {
    let script = format!(
        "openssl x509 -in {name}.pem -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary \
         | openssl base64"
    );
    said(Command::new("sh").args(["-c", &script]).current_dir(rig.dir.path()), true)
        .trim()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn flv_hls_and_websocket_are_played_in_a_page_of_another_https_origin() {
    let rig = Rig::start("hls: { segment: 1s }\n");
    rig.authority.certify(rig.dir.path(), "page", &NAMES);
    let trusted = ["server", "page"].map(|name| hash(&rig, name));
    let _camera = Camera::start(&rig.weir.rtmp_url("live/a")).await;
    let wss = rig.https_url("live/a.flv").replace("https://", "wss://");
    for (player, url) in [
        (WebPlayer::MpegtsJs, rig.https_url("live/a.flv")),
        (WebPlayer::MpegtsJs, wss),
        (WebPlayer::HlsJs, rig.https_url("live/a.m3u8")),
    ] {
        let page = PlayerPage::open_https(player, &url, rig.dir.path(), &trusted).await;
        let video = page.page().wait_playing(2.0, TIMEOUT).await;
        assert!(video.colours >= COLOURS_MIN, "{url}: the picture is blank: {video:?}");
        assert_eq!(video.error, None, "{url}");
    }
}
