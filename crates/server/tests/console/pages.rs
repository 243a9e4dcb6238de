//! The player's page, and the first page of the media's port.

use std::time::Duration;

use weir_testkit::{Weir, http, own_page::OwnPage, peer::Publisher};

use crate::{SOON, open};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_is_quiet_and_leads_to_a_stream() {
    let weir = open().config("play: { wait: 0s }\n").start();
    let page = OwnPage::open_at(&weir, &weir.http_url("")).await;
    page.until_there("form[role=search] input").await;
    let enter = "document.querySelector('input').value = '/live/a b';";
    page.eval(&format!("{enter} document.querySelector('form').requestSubmit()")).await;
    page.until("return location.search === '?stream=live/a%20b'").await;
    page.until("return /not live|Waiting/.test(document.body.innerText)").await;
    page.assert_clean(&["404"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_go_with_the_stream_and_refusals_are_words() {
    let config = "auth: { play: [secret: { values: [right] }] }\nplay: { wait: 0s }\n";
    let weir = open().demo().config(config).start();
    let page =
        OwnPage::open_at(&weir, &weir.http_url("player?stream=live/demo&secret=wrong")).await;
    page.until("return document.body.innerText.includes('may not watch')").await;
    page.goto(&weir.http_url("player?stream=live/demo&secret=right&controls=0")).await;
    let video = page.wait_playing(1.0, SOON).await;
    assert_eq!((video.colours > 20, video.error), (true, None));
    assert_eq!(page.eval("return document.querySelector('video').controls").await, false);
    page.goto(&weir.http_url("player?stream=live/demo&secret=right&autoplay=0")).await;
    page.until_there("button.start:not([hidden])").await;
    page.until("return document.querySelector('video').poster.startsWith('blob:')").await;
    page.click("button.start").await;
    page.wait_playing(1.0, SOON).await;
    page.assert_clean(&["403"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_waits_plays_once_somebody_publishes() {
    let weir = open().config("play: { wait: 0s }\n").start();
    let page = OwnPage::open_at(&weir, &weir.http_url("player?stream=live/later")).await;
    page.until("return document.body.innerText.includes('not live')").await;
    let publisher = Publisher::silent(&weir.rtmp_url("live/later")).await;
    drop(publisher);
    page.assert_clean(&["404"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_frame_the_player_only_where_they_are_named() {
    let ancestors = async |weir: &Weir, path: &str| {
        let answer = http::get(weir.http(), path).await;
        let policy = answer.header("content-security-policy").unwrap_or_default().to_owned();
        policy.split("frame-ancestors ").nth(1).unwrap_or_default().to_owned()
    };
    let mut weir = open().start();
    assert_eq!(ancestors(&weir, "player?stream=live/a").await, "'none'");
    weir.configure("http: { embed: [\"https://a.example\", \"https://b.example\"] }\n");
    weir.hang_up();
    weir.wait_log(
        |line| line.to_string().contains("configuration reloaded"),
        Duration::from_secs(20),
    );
    assert_eq!(
        ancestors(&weir, "player?stream=live/a").await,
        "https://a.example https://b.example"
    );
    assert_eq!(ancestors(&weir, "").await, "'none'");
}
