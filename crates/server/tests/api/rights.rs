//! Who may do what: every call of the OpenAPI document, so that a new one is in this table too.

use serde_json::Value;
use weir_testkit::{Weir, eventually};

use crate::{ADMIN, READ, SOON, call, server};

/// Every call: its method and its path, with an id that nobody has.
async fn calls(weir: &Weir, token: &str) -> Vec<(String, String)> {
    let document = call(weir.api(), "GET", "api/v1/openapi.json", token).await;
    assert_eq!(document.status, 200, "{document:?}");
    let document = document.json();
    let paths = document["paths"].as_object().expect("paths");
    let calls = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("an item").keys();
        methods.map(move |method| (method.to_uppercase(), path.replace("{id}", "nobody")))
    });
    let mut calls: Vec<_> = calls.collect();
    calls.push(("GET".to_owned(), "/api/v1/openapi.json".to_owned()));
    calls
}

fn assert_says_nothing(text: &str) {
    let answer: Value = serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"));
    let fields: Vec<_> = answer.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["code", "error"], "{text}");
    assert!(
        !text.contains(env!("CARGO_PKG_VERSION")) && !text.to_lowercase().contains("weir"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_token_no_call_does_or_says_anything() {
    let mut weir = server().start();
    let calls = calls(&weir, READ).await;
    let admin: Vec<_> = calls.iter().filter(|(method, _)| method != "GET").collect();
    assert!(calls.len() >= 37 && admin.len() == 6, "{calls:?}");
    for (method, path) in &calls {
        let is_admin = method != "GET";
        for (token, status) in [("", 401), ("wrong", 401), (READ, if is_admin { 403 } else { 0 })] {
            if status == 0 {
                continue;
            }
            let answer = call(weir.api(), method, path, token).await;
            assert_eq!(answer.status, status, "{method} {path} with {token:?}: {answer:?}");
            let challenge = answer.header("www-authenticate");
            assert_eq!(challenge, (status == 401).then_some("Bearer"), "{method} {path}");
            assert_eq!(answer.header("server"), None, "{method} {path}");
            assert_says_nothing(&answer.text);
        }
    }
    // What does not exist is not told from what does.
    assert_eq!(call(weir.api(), "GET", "api/v1/nothing", "").await.status, 401);
    assert_eq!(call(weir.api(), "GET", "api/v1/nothing", READ).await.status, 404);
    for (token, status) in [("", 401), ("wrong", 401), (READ, 200), (ADMIN, 200)] {
        assert_eq!(call(weir.api(), "GET", "metrics", token).await.status, status, "{token:?}");
    }
    for probe in ["healthz", "startupz", "readyz"] {
        assert_eq!(call(weir.api(), "GET", probe, "").await.status, 200, "{probe}");
    }
    // The last: with rights the calls are made, and the server drains.
    for (method, path) in calls.iter().filter(|(_, path)| !path.ends_with("/drain")) {
        let answer = call(weir.api(), method, path, ADMIN).await;
        let expected = match &**path {
            "/api/v1/raw" => 403,
            "/api/v1/tests/redirects" => 301,
            path if path.contains("nobody") => 404,
            _ => 200,
        };
        assert_eq!(answer.status, expected, "{method} {path}: {answer:?}");
    }
    assert_eq!(call(weir.api(), "POST", "api/v1/drain", ADMIN).await.status, 202);
    assert!(weir.wait_exit(crate::SOON).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_administrator_lets_nobody_change_anything() {
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).start();
    let calls = calls(&weir, "").await;
    for (method, path) in calls.iter().filter(|(method, _)| method != "GET") {
        for token in ["", "x"] {
            let answer = call(weir.api(), method, path, token).await;
            assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
            assert!(answer.text.contains("api.admin_tokens"), "{answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_without_a_token_sees_the_pictures_of_what_it_may_play() {
    let config = format!(
        "api: {{ admin_tokens: [{ADMIN}] }}\nauth: {{ play: [secret: {{ values: [right] }}] }}\n"
    );
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).demo().config(&config).start();
    let still = "api/v1/streams/live%2Fdemo/still";
    let get = async |query: &str, token: &str| {
        call(weir.api(), "GET", &format!("{still}{query}"), token).await
    };
    eventually("a picture", SOON, async || (get("", ADMIN).await.status == 200).then_some(()))
        .await;
    for (query, status, words) in [
        ("", 403, "the parameter `secret` is missing"),
        ("?secret=wrong", 403, "the secret is not valid"),
        ("?secret=right", 200, ""),
    ] {
        let answer = get(query, "").await;
        assert_eq!(answer.status, status, "{query}");
        assert!(answer.text.contains(words), "{query}: {}", answer.text);
    }
    // It was no viewer, and is none that waits.
    let clients = call(weir.api(), "GET", "api/v1/streams/live%2Fdemo/clients", "").await.json();
    let kinds: Vec<_> = clients["clients"].as_array().into_iter().flatten().collect();
    assert!(kinds.iter().all(|client| client["publish"] == true), "{clients}");
}
