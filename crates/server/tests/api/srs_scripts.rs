//! Scripts and pages that were written for SRS, and pages of others that are up to something.

use std::process::Command;

use serde_json::Value;
use weir_testkit::{
    Weir, http,
    peer::{Encoder, Numbered, Viewer},
};

use crate::{ADMIN, Answer, fields::FRAME, server, until};

const PASSWORD: &str = "admin:pass:word";

/// A call with these fields.
async fn call(weir: &Weir, method: &str, path: &str, fields: &str) -> Answer {
    let head = format!(
        "{method} /api/v1/{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 0\r\n{fields}\r\n",
        weir.api()
    );
    let mut response = http::request(weir.api(), head.as_bytes()).await;
    let text = response.text().await;
    Answer { status: response.status, headers: std::mem::take(&mut response.headers), text }
}

/// What curl says, and the status.
fn curl(weir: &Weir, who: &str, arguments: &[&str], path: &str) -> (String, String) {
    let at = if who.is_empty() { String::new() } else { format!("{who}@") };
    let url = format!("http://{at}{}/api/v1/{path}", weir.api());
    let said = Command::new("curl")
        .args(["-s", "--noproxy", "*", "-w", "\n%{http_code}"])
        .args(arguments)
        .arg(url)
        .output()
        .expect("curl runs");
    let text = String::from_utf8(said.stdout).expect("text");
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (body.to_owned(), status.to_owned())
}

fn with_password() -> Weir {
    // With a colon in the password, which SRS cannot have.
    Weir::builder(env!("CARGO_BIN_EXE_weir"))
        .config("hls: { enabled: false }\n")
        .env("WEIR_API__ADMIN_TOKENS", ADMIN)
        .env("WEIR_API__BASIC__USERNAME", "admin")
        .env("WEIR_API__BASIC__PASSWORD", "pass:word")
        .start()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_shows_a_user_name_and_a_password() {
    let weir = with_password();
    let _encoder = Encoder::start(&weir.rtmp_url("live/a"), Numbered::new(25), FRAME).await;
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    viewer.until_picture(3).await;
    let blocking = tokio::task::spawn_blocking(move || {
        let (refused, status) = curl(&weir, "", &["-i"], "streams");
        assert_eq!(status, "401", "{refused}");
        let challenges: Vec<_> = refused
            .lines()
            .filter(|line| line.to_lowercase().starts_with("www-authenticate:"))
            .map(|line| line.split(' ').nth(1).unwrap_or_default().trim().to_owned())
            .collect();
        assert_eq!(challenges, ["Basic", "Bearer"], "{refused}");
        assert_eq!(curl(&weir, "admin:wrong", &[], "streams").1, "401");
        let (body, status) = curl(&weir, PASSWORD, &[], "clients/?start=0&count=10");
        assert_eq!(status, "200", "{body}");
        let clients: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(clients["total"], 2, "{clients}");
        let id = clients["clients"].as_array().and_then(|all| {
            all.iter().find(|client| client["type"] == "rtmp-play")?["id"].as_str()
        });
        let path = format!("clients/{}", id.expect("a viewer"));
        let (body, status) = curl(&weir, PASSWORD, &["-X", "DELETE"], &path);
        assert_eq!(status, "200", "{body}");
        let (body, _) = curl(&weir, PASSWORD, &["-X", "DELETE"], &path);
        assert!(body.contains("\"code\":2049"), "{body}");
        weir
    });
    let weir = blocking.await.expect("no panic");
    viewer.until_end().await;
    // Bearer tokens are as good as before.
    let token = format!("Authorization: Bearer {ADMIN}\r\n");
    assert_eq!(call(&weir, "GET", "streams", &token).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_as_scripts() {
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).start();
    let answer = call(&weir, "GET", "versions?callback=app.show_1", "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let json = |text: &str, function: &str| {
        let inner = text.strip_prefix(function).and_then(|rest| rest.strip_prefix('('));
        let inner = inner.and_then(|rest| rest.strip_suffix(')'));
        serde_json::from_str::<Value>(inner.unwrap_or_else(|| panic!("{text}"))).expect("JSON")
    };
    let version = json(&answer.text, "app.show_1");
    assert_eq!(version["data"]["version"], env!("CARGO_PKG_VERSION"));
    // Browsers run no script that comes with another status.
    let missing = call(&weir, "GET", "streams/none?callback=f", "").await;
    assert_eq!((missing.status, &json(&missing.text, "f")["code"]), (200, &2048.into()));
    assert_eq!(call(&weir, "GET", "streams/none", "").await.status, 404);
    assert_eq!(call(&weir, "GET", "streams/none?callback=", "").await.status, 404);
    // A token is nothing that a browser asks its user for: SRS's console shows what it is told instead.
    let refused = call(&weir, "GET", "clients/1?callback=f&method=DELETE", "").await;
    assert_eq!((refused.status, &json(&refused.text, "f")["code"]), (200, &1102.into()));
    assert_eq!(call(&weir, "DELETE", "clients/1", "").await.status, 401);
    for bad in ["f(1)", "a-b", "%3Cscript%3E", "f;g", "%E2%80%A8"] {
        let answer = call(&weir, "GET", &format!("versions?callback={bad}"), "").await;
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

/// The clients, once one of them publishes.
async fn until_published(weir: &Weir, token: &str) -> Value {
    weir_testkit::eventually("a publisher", crate::SOON, async || {
        let list = call(weir, "GET", "clients", token).await.json();
        let is_there = list["clients"]
            .as_array()
            .is_some_and(|all| all.iter().any(|client| client["publish"] == true));
        is_there.then_some(list)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_others_reads_or_changes_anything_with_what_a_browser_remembers() {
    let weir = with_password();
    let _encoder = Encoder::start(&weir.rtmp_url("live/a"), Numbered::new(25), FRAME).await;
    let password = "Authorization: Basic YWRtaW46cGFzczp3b3Jk\r\n";
    let token = format!("Authorization: Bearer {ADMIN}\r\n");
    let list = until_published(&weir, &token).await;
    let id = list["clients"].as_array().expect("a list").iter().find_map(|client| {
        (client["publish"] == true).then(|| client["id"].as_str().unwrap_or_default().to_owned())
    });
    let kick = format!("clients/{}?callback=f&method=DELETE", id.expect("a publisher"));
    let browser = "User-Agent: Mozilla/5.0\r\n";
    for fields in [
        // What a script element sends: the referrer may be held back, and over plain HTTP nothing else says anything.
        browser.to_owned(),
        format!("{browser}Referer: http://evil.example/\r\n"),
        format!("{browser}Sec-Fetch-Site: cross-site\r\n"),
        format!("{browser}Sec-Fetch-Site: same-site\r\n"),
        format!("{browser}Sec-Fetch-Site: none\r\n"),
        "Origin: http://evil.example\r\n".to_owned(),
    ] {
        let with = format!("{fields}{password}");
        let answer = call(&weir, "GET", &kick, &with).await;
        assert_eq!(answer.status, 403, "{fields}: {answer:?}");
        let answer = call(&weir, "GET", "clients?callback=f", &with).await;
        assert_eq!(answer.status, 403, "{fields}: {answer:?}");
        assert!(!answer.text.contains("127.0.0.1"), "{answer:?}");
        if fields.contains("evil") || fields.contains("-site") {
            let answer = call(&weir, "POST", "reload", &with).await;
            assert_eq!(answer.status, 403, "{fields}: {answer:?}");
        }
    }
    let list = call(&weir, "GET", "clients", &token).await.json();
    assert!(
        list["clients"].as_array().is_some_and(|all| all.iter().any(|it| it["publish"] == true))
    );
    // A page of this server, and curl.
    let own = format!("{browser}Referer: http://{}/console\r\n{password}", weir.api());
    assert_eq!(call(&weir, "GET", "clients?callback=f", &own).await.status, 200);
    let answer = call(&weir, "GET", "clients/none?callback=f&method=DELETE", &own).await;
    assert_eq!(answer.text, "f({\"code\":2049,\"error\":\"no such client\"})");
    let kicked = call(&weir, "GET", &kick, password).await;
    assert!(kicked.status == 200 && kicked.text.starts_with("f({\"code\":0"), "{kicked:?}");
    // Without a right it is a call like another.
    let answer = call(&weir, "GET", &kick, "").await;
    assert_eq!((answer.status, answer.text.contains("1102")), (401, true), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_listed_may_read() {
    let config = "api: { web_origins: ['https://console.example', '*'] }\n";
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).config(config).start();
    let browser = "User-Agent: Mozilla/5.0\r\nSec-Fetch-Site: cross-site\r\n";
    let origin = |name: &str| format!("{browser}Origin: https://{name}\r\n");
    for name in ["console.example", "other.example"] {
        let answer = call(&weir, "GET", "versions", &origin(name)).await;
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some(&*format!("https://{name}")), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(call(&weir, "GET", "versions?callback=f", &origin(name)).await.status, 200);
    }
    let ask = format!("{}Access-Control-Request-Method: DELETE\r\n", origin("console.example"));
    let preflight = call(&weir, "OPTIONS", "clients/1", &ask).await;
    assert_eq!(preflight.status, 204, "{preflight:?}");
    assert_eq!(
        preflight.header("access-control-allow-headers"),
        Some("authorization, content-type")
    );
    // What every page may read is not what a password is for.
    let basic = "api: { web_origins: '*', basic: { username: admin, password: 'pass:word' } }\n";
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).config(basic).start();
    let password = "Authorization: Basic YWRtaW46cGFzczp3b3Jk\r\n";
    let fields = format!("{}{password}", origin("other.example"));
    assert_eq!(call(&weir, "GET", "clients?callback=f", &fields).await.status, 401);
    assert_eq!(call(&weir, "GET", "clients?callback=f", password).await.status, 200);
    // Without a list nothing is said to any page.
    let weir = server().start();
    let answer = call(&weir, "GET", "versions", &origin("console.example")).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(call(&weir, "OPTIONS", "clients/1", &ask).await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_is_what_it_is_in_srs() {
    let weir = server().config("api: { raw_reload: true, srs_status: true }\n").start();
    let admin = format!("Authorization: Bearer {ADMIN}\r\n");
    let raw = async |rpc: &str| {
        let answer = call(&weir, "GET", &format!("raw{rpc}"), &admin).await;
        assert_eq!(answer.status, 200, "{rpc}: {answer:?}");
        answer.json()
    };
    let said = raw("?rpc=raw").await;
    assert_eq!(said["code"], 0);
    assert_eq!(said["http_api"]["raw_api"]["allow_reload"], true, "{said}");
    assert_eq!(raw("").await["code"], 1060);
    assert_eq!(raw("?rpc=update").await["code"], 1060);
    assert_eq!(raw("?rpc=reload-fetch").await["data"]["state"], 0);
    assert_eq!(raw("?rpc=reload").await["code"], 0);
    let fetched = raw("?rpc=reload-fetch").await;
    assert_eq!((&fetched["data"]["err"], &fetched["data"]["state"]), (&0.into(), &90.into()));
    let browser = format!("{admin}User-Agent: Mozilla/5.0\r\n");
    assert_eq!(
        call(&weir, "GET", "raw?rpc=reload", &browser).await.status,
        200,
        "a token is meant"
    );
    until(&weir, "reload", |answer| answer["reload"]["succeeded"] == 2).await;

    let closed = server().config("api: { srs_status: true }\n").start();
    let answer = call(&closed, "GET", "raw?rpc=reload", &admin).await;
    assert_eq!((answer.status, &answer.json()["code"]), (200, &1061.into()), "{answer:?}");
    // Where nobody is an administrator, whoever may read may reload, as in SRS; but no page of others.
    let open =
        Weir::builder(env!("CARGO_BIN_EXE_weir")).config("api: { raw_reload: true }\n").start();
    assert_eq!(call(&open, "GET", "raw?rpc=reload", "").await.status, 200);
    let page = "User-Agent: Mozilla/5.0\r\nReferer: http://evil.example/\r\n";
    let answer = call(&open, "GET", "raw?rpc=reload", page).await;
    assert_eq!((answer.status, &answer.json()["code"]), (403, &1061.into()), "{answer:?}");
}
