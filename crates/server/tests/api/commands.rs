//! `weir status`, `streams`, `clients`, `kick`, `reload` and `drain`, against a running node.

use std::{net::SocketAddr, process::Command, time::Duration};

use weir_testkit::{
    Weir,
    cluster::Ports,
    peer::{Encoder, Numbered},
    server::field,
};

use crate::{ADMIN, SOON, until};

/// What a command printed, and whether it worked.
struct Said {
    worked: bool,
    out: String,
    err: String,
}

/// Runs `weir` with `words`, and with these variables and no other `WEIR_*`.
async fn weir(words: Vec<String>, variables: Vec<(&'static str, String)>) -> Said {
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WEIR_")) {
            command.env_remove(name);
        }
        let done = command.args(words).envs(variables).output().expect("weir runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { worked: done.status.success(), out: text(&done.stdout), err: text(&done.stderr) }
    };
    tokio::task::spawn_blocking(run).await.expect("it ends")
}

/// The same with `--api` and a token in the environment.
async fn ask(node: &Weir, words: &str, token: &str) -> Said {
    let words = format!("{words} --api {}", node.api());
    let words = words.split(' ').map(str::to_owned).collect();
    let variables = if token.is_empty() { vec![] } else { vec![("WEIR_TOKEN", token.to_owned())] };
    weir(words, variables).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_looks_at_a_node_and_ends_a_publisher() {
    let node = crate::server().start();
    let _encoder =
        Encoder::start(&node.rtmp_url("live/a"), Numbered::new(10), Duration::from_millis(40))
            .await;
    let streams = until(&node, "streams", |answer| answer["total"] == 1).await;
    let publisher = streams["streams"][0]["publish"]["cid"].as_str().expect("a number").to_owned();

    let status = ask(&node, "status", ADMIN).await;
    assert!(status.worked, "{}", status.err);
    for line in
        ["  role     origin\n", "  phase    serving\n", "  ready    yes\n", "  streams  1\n"]
    {
        assert!(status.out.contains(line), "{}", status.out);
    }
    let streams = ask(&node, "streams", ADMIN).await.out;
    let row: Vec<_> = streams.lines().nth(1).expect("a stream").split_whitespace().collect();
    assert_eq!((row[0], row[1]), ("/live/a", "live"), "{streams}");
    let json = ask(&node, "streams --json", ADMIN).await.out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["streams"][0]["url"], "/live/a");
    let clients = ask(&node, "clients", ADMIN).await.out;
    assert!(clients.contains("fmle-publish") && clients.contains("/live/a"), "{clients}");

    let refused = ask(&node, "kick live/a", "").await;
    assert!(
        !refused.worked
            && refused.err.contains("answers 401")
            && refused.err.contains("--token-file")
    );
    let wrong = ask(&node, "kick live/a", "wrong").await;
    assert!(!wrong.worked && !wrong.err.contains("wrong\""), "{}", wrong.err);
    let kicked = ask(&node, "kick live/a", ADMIN).await;
    assert_eq!(
        kicked.out,
        format!("ended the publisher of live/a, client {publisher}\n"),
        "{}",
        kicked.err
    );
    let ended = node.wait_session_end(|line| field(line, "role") == "publish", SOON);
    assert_eq!(field(&ended, "reason"), "ended by an operator");
    let nobody = ask(&node, "kick 999999", ADMIN).await;
    assert!(!nobody.worked && nobody.err.contains("answers 404: no such client"), "{}", nobody.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_says_where_and_with_what_token() {
    let node = crate::server().start();
    let dir = tempfile::tempdir().expect("a folder");
    let file = |text: &str| {
        let path = dir.path().join("weir.yaml");
        std::fs::write(&path, text).expect("it is written");
        path.display().to_string()
    };
    let config = file(&format!("api: {{ listen: '{}', admin_tokens: ['{ADMIN}'] }}\n", node.api()));
    let variables = || vec![("WEIR_CONFIG", config.clone())];
    let reloaded = weir(vec!["reload".to_owned()], variables()).await;
    assert_eq!(reloaded.out, "reloaded: nothing changed\n", "{}", reloaded.err);
    let drained = weir(vec!["drain".to_owned(), "-c".to_owned(), config.clone()], vec![]).await;
    assert!(drained.worked && drained.out.starts_with("draining: "), "{}", drained.err);

    let none =
        weir(vec!["status".to_owned(), "-c".to_owned(), file("api: { listen: [] }\n")], vec![])
            .await;
    assert!(!none.worked && none.err.contains("the node has no API"), "{}", none.err);
    let wrong =
        weir(vec!["status".to_owned(), "-c".to_owned(), file("api: { lisen: 1 }\n")], vec![]).await;
    assert!(!wrong.worked && wrong.err.contains("did you mean `listen`?"), "{}", wrong.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_there_is_said_to_be_so() {
    let ports = Ports::free();
    let free = SocketAddr::from(([127, 0, 0, 1], ports.api));
    let said = weir(vec!["status".to_owned(), "--api".to_owned(), free.to_string()], vec![]).await;
    assert!(!said.worked && said.out.is_empty(), "{}", said.out);
    assert!(said.err.contains(&format!("cannot reach the API at http://{free}: ")), "{}", said.err);
    let version = weir(vec!["version".to_owned()], vec![]).await;
    assert_eq!(version.out, format!("weir {}\n", env!("CARGO_PKG_VERSION")));
    let named =
        weir(vec!["check".to_owned()], vec![("WEIR_CONFIG", "/nowhere.yaml".to_owned())]).await;
    assert!(!named.worked && named.err.contains("/nowhere.yaml"), "{}", named.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_tls_has_to_show_its_certificate() {
    let rig = crate::tls::Rig::start();
    let token = || vec![("WEIR_TOKEN", ADMIN.to_owned())];
    let with_ca = |ca: &str| {
        let address = format!("https://localhost:{}", rig.weir.api().port());
        ["status", "--api", &address, "--ca", &rig.at(ca).display().to_string()]
            .map(str::to_owned)
            .to_vec()
    };
    let good = weir(with_ca("servers.ca"), token()).await;
    assert!(good.worked && good.out.contains("ready    yes"), "{}", good.err);
    let other = weir(with_ca("admins.ca"), token()).await;
    assert!(!other.worked && other.err.contains("TLS failed"), "{}", other.err);

    let file = rig.at("weir.yaml");
    let with_config = |cert: &str| {
        let (cert, key) = (rig.at(&format!("{cert}.pem")), rig.at(&format!("{cert}.key")));
        let tls = format!("tls: {{ cert: '{}', key: '{}' }}", cert.display(), key.display());
        let text =
            format!("api: {{ listen: '{}', admin_tokens: ['{ADMIN}'], {tls} }}\n", rig.weir.api());
        std::fs::write(&file, text).expect("it is written");
        ["reload", "--config", &file.display().to_string()].map(str::to_owned).to_vec()
    };
    let good = weir(with_config("server"), vec![]).await;
    assert!(good.worked, "{}", good.err);
    let other = weir(with_config("stranger"), vec![]).await;
    assert!(!other.worked && other.err.contains("TLS failed"), "{}", other.err);
}
