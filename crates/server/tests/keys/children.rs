//! Programs for streams, changed under live ones.

use serde_json::Value;
use weir_testkit::{Weir, eventually, http};

use crate::{SOON, encoder, reload, server};

const NO_HLS: &str = "hls: { enabled: false }\n";

const SLEEPS: &str = "{ run: [env, --ignore-signal=TERM, sleep, 1000] }";

async fn children(weir: &Weir) -> Vec<Value> {
    let text = http::get(weir.api(), "api/v1/children").await.text().await;
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    answer["children"].as_array().expect("a list").clone()
}

async fn kinds(weir: &Weir) -> Vec<String> {
    let all = children(weir).await;
    let said = |child: &Value, field: &str| child[field].as_str().unwrap_or_default().to_owned();
    all.iter().map(|child| format!("{} {}", said(child, "url"), said(child, "kind"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
pub async fn programs() {
    let mut weir = server().config(&format!("{NO_HLS}vhosts: {{ a.org: {{}} }}\n")).start();
    let _published = encoder(&weir, "live/a").await;
    let _of_vhost = encoder(&weir, "live/b?vhost=a.org").await;
    let config = format!(
        "{NO_HLS}exec: [{SLEEPS}]\ningest: [{{ stream: live/c, from: x, program: 'false' }}]\n\
         vhosts: {{ a.org: {{ exec: [], transcode: [{{ name: x, program: 'false' }}] }} }}\n"
    );
    reload(&mut weir, &config).await;
    assert_eq!(kinds(&weir).await, ["/live/a exec", "/live/c ingest", "a.org/live/b transcode"]);
    let config = format!(
        "{NO_HLS}transcode: [{{ name: y, program: 'false' }}]\n\
         vhosts: {{ a.org: {{ exec: [{SLEEPS}], transcode: [] }} }}\n"
    );
    reload(&mut weir, &config).await;
    assert_eq!(kinds(&weir).await, ["/live/a transcode", "a.org/live/b exec"]);
    reload(&mut weir, &format!("{NO_HLS}vhosts: {{ a.org: {{}} }}\n")).await;
    assert!(kinds(&weir).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
pub async fn limits() {
    let with =
        |limits: &str, exec: &str| format!("{NO_HLS}children: {{ {limits} }}\nexec: [{exec}]\n");
    let mut weir = server().config(&with("max: 0", SLEEPS)).start();
    let _published = encoder(&weir, "live/a").await;
    let state = async |weir: &Weir, state: &str| {
        eventually(state, SOON, async || {
            children(weir).await.into_iter().find(|child| child["state"] == state)
        })
        .await
    };
    state(&weir, "waiting").await;
    reload(&mut weir, &with("max: 1, stop: 1m", SLEEPS)).await;
    let pid = state(&weir, "running").await["pid"].as_u64().expect("it runs");
    // It does not end by itself: the shorter time holds for whoever is ended from now on.
    reload(&mut weir, &with("max: 1, stop: 100ms", SLEEPS)).await;
    reload(&mut weir, &with("max: 1, stop: 100ms", "")).await;
    eventually("it is killed", SOON, async || {
        (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    })
    .await;
}
