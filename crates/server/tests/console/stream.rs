//! A stream: its player, its viewers, and what ends.

use weir_testkit::{own_page::OwnPage, peer::Player};

use crate::{ADMIN, open};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_plays_and_a_viewer_is_ended() {
    let weir = open().demo().start();
    let mut player = Player::rtmp(&weir.rtmp_url("live/demo")).await;
    assert!(player.next().await.is_some(), "it plays");
    let page = OwnPage::open(&weir, "console/").await;
    page.click("a.tile").await;
    page.until("return document.querySelectorAll('tr[data-client]').length === 1").await;
    // It takes everything as it comes.
    page.until("return document.querySelector('tr[data-client]').innerText.includes('0.0 s')")
        .await;
    page.until("return document.querySelectorAll('.plot canvas').length === 4").await;
    page.until(&format!(
        "return document.body.innerText.includes({:?})",
        weir.rtmp_url("live/demo")
    ))
    .await;
    page.click(".address button[title='QR code']").await;
    page.until_there("dialog[open] svg.qr").await;
    page.click("dialog[open] button").await;
    page.click("tr[data-client] button").await;
    page.enter_token(ADMIN).await;
    player.until_end().await;
    page.until("return document.querySelectorAll('tr[data-client]').length === 0").await;
    page.until("return /Ended by an operator/.test(document.querySelector('.events').innerText)")
        .await;
    page.click(".call button").await;
    let video = page.wait_playing(1.0, crate::SOON).await;
    assert!(video.colours > 20, "{video:?}");
    page.until("return document.querySelectorAll('tr[data-client]').length === 1").await;
    page.assert_clean(&[]).await;
}
