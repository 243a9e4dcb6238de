//! Signing in, refusals, and what a token allows.

use weir_testkit::{http, own_page::OwnPage};

use crate::{ADMIN, READ, closed};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_looks_without_a_token_and_a_reader_changes_nothing() {
    let mut weir = closed().demo().start();
    let page = OwnPage::open(&weir, "console/").await;
    page.until_there("main.door").await;
    assert!(!page.text().await.contains("demo"));
    page.click("main.door button").await;
    page.enter_token("wrong").await;
    page.until(
        "return document.querySelector('dialog .fault').textContent.includes('does not accept')",
    )
    .await;
    page.enter_token(READ).await;
    page.until_there(".tile").await;
    // In memory only: neither in the address nor in the storage.
    let kept = page
        .eval("return location.href + JSON.stringify({...sessionStorage, ...localStorage})")
        .await;
    assert!(!kept.to_string().contains(READ), "{kept}");
    page.click("a.tile").await;
    page.click("main button.danger").await;
    page.until_there("dialog[open] #token").await;
    page.enter_token(READ).await;
    page.until("return !document.querySelector('dialog[open]')").await;
    page.until_there(".facts").await;
    page.click("main button.danger").await;
    page.enter_token(ADMIN).await;
    page.until("return !document.querySelector('dialog[open] #token')").await;
    // The token is not known any more from one moment to the next.
    weir.configure("api: { admin_tokens: [other], read_tokens: [another] }\n");
    weir.hang_up();
    page.until_there("main.door").await;
    // Who is ended may be the tile that moved.
    page.assert_clean(&["401", "403", "ERR_INCOMPLETE_CHUNKED_ENCODING"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_may_run_its_own_scripts_only_and_nobody_may_frame_it() {
    let weir = closed().start();
    let first = http::get(weir.api(), "").await;
    assert_eq!((first.status, first.header("location")), (307, Some("/console/")));
    let answer = http::get(weir.api(), "console/").await;
    let policy = answer.header("content-security-policy").unwrap_or_default().to_owned();
    assert_eq!(answer.status, 200);
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    let media = format!("http://127.0.0.1:{}", weir.http().port());
    assert!(policy.contains(&media) && !policy.contains("unsafe"), "{policy}");
    for path in ["console/main.js", "console/style.css", "console/vendor/hls.min.js"] {
        let answer = http::get(weir.api(), path).await;
        assert_eq!(
            (answer.status, answer.header("content-encoding")),
            (200, Some("gzip")),
            "{path}"
        );
    }
    assert_eq!(http::get(weir.api(), "console/none.js").await.status, 404);
}
