//! How the pages look to everybody: with a thousand streams, on a phone, in the dark, in Chinese, and to who cannot see
//! them.

use std::{fs, path::Path};

use serde_json::Value;
use weir_testkit::{own_page::OwnPage, peer::Publisher};

use crate::open;

/// Streams of a large server.
const MANY: usize = 1000;

/// What axe-core calls bad enough.
const SERIOUS: [&str; 2] = ["serious", "critical"];

/// Looks at the page, and leaves what it finds.
const LOOK: &str = "
    window.found = null;
    const told = (node) => node.html + ' ' + node.failureSummary;
    axe.run().then((found) => {
        window.found = found.violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map(told) }));
    });";

fn axe() -> String {
    let tools =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/players/node_modules");
    let file = tools.join("axe-core/axe.min.js");
    fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("install axe-core with `cargo xtask test tools`: {}: {error}", file.display())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_can_use_every_page() {
    let weir = open().demo().start();
    let page = OwnPage::open(&weir, "console/").await;
    page.until_there(".tile").await;
    let id = page.eval("return document.querySelector('a.tile').getAttribute('href')").await;
    let id = id.as_str().expect("a link").to_owned();
    let axe = axe();
    for is_dark in [false, true] {
        page.dark(is_dark).await;
        for (path, there) in [
            ("#/live", ".tile"),
            (id.as_str(), ".facts"),
            ("#/cluster", ".node"),
            ("#/events", ".events li"),
            ("#/config", ".keys"),
        ] {
            page.goto(&weir.api_url(&format!("console/{path}"))).await;
            page.until_there(there).await;
            page.eval(&axe).await;
            page.eval(LOOK).await;
            let found = page.until("return window.found && { all: window.found }").await;
            let bad: Vec<&Value> = found["all"]
                .as_array()
                .expect("a list")
                .iter()
                .filter(|it| SERIOUS.iter().any(|impact| it["impact"] == *impact))
                .collect();
            assert!(bad.is_empty(), "{path} (dark: {is_dark}): {bad:#?}");
        }
    }
    page.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_shows_everything_in_its_width_and_in_chinese() {
    let weir = open().demo().start();
    let page = OwnPage::open(&weir, "console/?lang=zh").await;
    page.size(390, 844, true).await;
    page.until_there(".tile").await;
    let id = page.eval("return document.querySelector('a.tile').getAttribute('href')").await;
    let id = id.as_str().expect("a link").to_owned();
    for path in ["#/live", id.as_str(), "#/cluster", "#/events", "#/config"] {
        page.eval(&format!("location.hash = {path:?}")).await;
        page.until("return document.querySelector('main h1')?.textContent").await;
        page.until("return document.documentElement.scrollWidth <= 390").await;
    }
    let text = page.text().await;
    assert!(text.contains("配置") && !text.contains("Configuration"), "{text}");
    assert_eq!(page.eval("return document.documentElement.lang").await, "zh-CN");
    page.click(".tools button").await;
    page.until("return document.documentElement.lang === 'en' && document.body.innerText.includes('Config')").await;
    page.dark(true).await;
    let dark =
        page.eval("return getComputedStyle(document.body.parentElement).backgroundColor").await;
    page.dark(false).await;
    assert_ne!(
        dark,
        page.eval("return getComputedStyle(document.body.parentElement).backgroundColor").await
    );
    page.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_streams_are_few_elements_and_the_search_finds_one() {
    // They send nothing, and that takes longer than usual.
    let config = "limits: { connections: 3000 }\npublish: { idle_timeout: 10m }\n";
    let weir = open().config(config).start();
    let mut publishers = Vec::new();
    for number in 0..MANY {
        publishers
            .push(Publisher::silent(&weir.rtmp_url(&format!("live/stream-{number:04}"))).await);
    }
    let page = OwnPage::open(&weir, "console/").await;
    page.until("return document.querySelector('.totals b')?.textContent === '1,000'").await;
    let tiles = page
        .eval("return document.querySelectorAll('.tile').length")
        .await
        .as_u64()
        .expect("a number");
    assert!((4..100).contains(&tiles), "{tiles}");
    page.eval("window.scrollTo(0, document.documentElement.scrollHeight)").await;
    page.until("return document.querySelector('.wall').innerText.includes('stream-0999')").await;
    let search = "const field = document.querySelector('#search'); field.value = '0500';";
    page.eval(&format!("{search} field.dispatchEvent(new Event('input'))")).await;
    page.until("return document.querySelectorAll('.tile').length === 1").await;
    page.assert_clean(&[]).await;
}
