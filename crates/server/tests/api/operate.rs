//! The configuration, its reload, and the end.

use std::fs;

use weir_testkit::Weir;

use crate::{ADMIN, call, read, server};

fn write(weir: &Weir, change: impl Fn(&str) -> String) {
    let path = weir.dir().join("weir.yaml");
    let text = fs::read_to_string(&path).expect("the configuration");
    fs::write(path, change(&text)).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_shown_without_its_secrets() {
    let weir = server().start();
    let answer = read(&weir, "config").await;
    assert_eq!(answer["config"]["hls"]["enabled"], false);
    let text = answer.to_string();
    assert!(!text.contains(ADMIN) && text.contains("***"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_says_what_it_changed_or_why_it_did_not() {
    let weir = server().start();
    let reload = || call(weir.api(), "POST", "api/v1/reload", ADMIN);
    write(&weir, |text| format!("{text}limits: {{ egress: 100Mbps }}\n"));
    // The server may have seen the file before we ask.
    let answer = reload().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.json()["changes"].is_array(), "{answer:?}");
    assert_eq!(read(&weir, "config").await["config"]["limits"]["egress"], "100Mbps");

    write(&weir, |text| text.replace("100Mbps", "\"a lot\""));
    let answer = reload().await;
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(answer.text.contains("egress"), "{answer:?}");

    write(&weir, |text| text.replace("\"a lot\"", "200Mbps") + "workers: 3\n");
    let answer = reload().await;
    assert_eq!(
        (answer.status, &answer.json()["keys"]),
        (409, &serde_json::json!(["workers"])),
        "{answer:?}"
    );
    let last = read(&weir, "reload").await;
    assert_eq!(last["reload"]["success"], false, "{last}");
    assert!(
        last["reload"]["error"].as_str().is_some_and(|error| error.contains("workers")),
        "{last}"
    );
    assert_eq!(
        read(&weir, "config").await["config"]["limits"]["egress"],
        "100Mbps",
        "nothing was changed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_make_no_sense_are_refused_in_a_sentence() {
    let weir = server().start();
    let cases = [
        ("GET", "api/v1/streams?count=many", 400, 400),
        ("GET", "api/v1/streams?start=-1", 400, 400),
        ("GET", "api/v1/clients?count=10001", 400, 400),
        ("GET", "api/v1/clients?scope=world", 400, 400),
        ("GET", "api/v1/streams/none", 404, 2048),
        ("GET", "api/v1/clients/007", 404, 2049),
        ("GET", "api/v1/vhosts/none", 404, 2014),
        ("GET", "api/v1/none", 404, 404),
        ("PUT", "api/v1/streams", 405, 405),
        ("GET", "api/v1/drain", 405, 405),
    ];
    for (method, path, status, code) in cases {
        let answer = call(weir.api(), method, path, ADMIN).await;
        let json = answer.json();
        assert_eq!(
            (answer.status, json["code"].as_u64()),
            (status, Some(code)),
            "{method} {path}: {answer:?}"
        );
        assert!(json["error"].as_str().is_some_and(|error| error.len() > 10), "{answer:?}");
    }
}
