//! The console in Firefox: one start of it for all that could be otherwise there.

use serde_json::json;
use weir_testkit::{firefox::Firefox, peer::Publisher};

use crate::{READ, closed};

/// Enters a token into the question for it.
async fn enter(page: &Firefox, token: &str) {
    page.until("return Boolean(document.querySelector('dialog[open] #token'))").await;
    page.eval(&format!(
        "document.querySelector('#token').value = {}; document.querySelector('dialog form').requestSubmit();",
        json!(token)
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firefox_shows_the_wall_in_chinese_and_in_the_dark() {
    let config = format!("api: {{ read_tokens: [{READ}] }}\npublish: {{ linger: 0s }}\n");
    let weir = closed().demo().config(&config).start();
    let page = Firefox::open(&weir, "console/", "zh-CN", true).await;
    page.until("return Boolean(document.querySelector('main.door'))").await;
    // Sign-in, and its refusal, in the words of the reader.
    page.eval("document.querySelector('main.door button').click()").await;
    enter(&page, "wrong").await;
    let refusal = page.until("return document.querySelector('dialog .fault')?.textContent").await;
    assert!(refusal.as_str().is_some_and(|text| text.contains("令牌")), "{refusal}");
    enter(&page, READ).await;
    page.until("return Boolean(document.querySelector('.tile'))").await;
    assert_eq!(page.eval("return document.documentElement.lang").await, "zh-CN");
    let text = page.eval("return document.body.innerText").await.to_string();
    assert!(text.contains("集群") && !text.contains("Cluster"), "{text}");
    // The demo has a picture.
    page.until(
        "const canvas = document.querySelector('.tile canvas.shown'); if (!canvas) return false;
         const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
         return new Set(new Uint32Array(data.buffer)).size > 20;",
    )
    .await;
    // Dark, as the system has it; and light, as the reader then wants it.
    let brightness = "const [r, g, b] = getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g);
         return Math.max(r, g, b);";
    let dark = page.eval(brightness).await.as_u64();
    assert!(dark.is_some_and(|most| most < 80), "{dark:?}");
    page.eval("document.querySelectorAll('.tools button')[1].click()").await;
    let bright = page.eval(brightness).await.as_u64();
    assert!(bright.is_some_and(|most| most > 180), "{bright:?}");
    // Streams come and go.
    let publisher = Publisher::silent(&weir.rtmp_url("live/later")).await;
    page.until("return document.querySelectorAll('.tile').length === 2").await;
    drop(publisher);
    page.until("return document.querySelectorAll('.tile').length === 1").await;
    // What has happened is said in Chinese, the reason too.
    page.eval("location.hash = '#/events'").await;
    page.until("return document.querySelector('.events')?.innerText.includes('对方关闭了连接')")
        .await;
    page.assert_clean(&["401"]).await;
}
