//! How programs end with the server.

use weir_testkit::eventually;

use super::{SOON, children, clip, encoder, server, until_gone, until_runs};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_leaves_no_program_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = clip(dir.path());
    let config = format!(
        "exec: [{{ run: [env, --ignore-signal=TERM, sleep, 1000] }}]\n\
         ingest: [{{ stream: live/x, from: '{}' }}]\n",
        file.display()
    );
    let mut weir = server(&config).start();
    let _published = encoder(&weir, "live/a").await;
    let pids = [until_runs(&weir, "/live/a").await, until_runs(&weir, "/live/x").await];
    // It is the program itself by now, and not what has started it.
    let line = std::fs::read_to_string(format!("/proc/{}/cmdline", pids[0])).expect("it runs");
    eventually("it has become the program", SOON, async || {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", pids[0])).ok()?;
        (name.trim() == "sleep").then_some(())
    })
    .await;
    assert!(!line.is_empty());
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", pids[0]));
    let environment = environment.expect("it runs");
    assert!(environment.contains("PATH=") && !environment.contains("WEIR_API__ADMIN_TOKENS"));
    tokio::task::block_in_place(|| weir.kill());
    for pid in pids {
        until_gone(pid).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_its_programs_first() {
    let config = "drain: { notice: 0s, timeout: 20s }\nexec: [{ run: [sleep, 1000] }]\n";
    let mut weir = server(config).start();
    let published = encoder(&weir, "live/a").await;
    let pid = until_runs(&weir, "/live/a").await;
    assert_eq!(children(&weir).await.len(), 1);
    weir.terminate();
    let status = tokio::task::block_in_place(|| weir.wait_exit(SOON));
    assert!(status.success(), "{status}");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    let said = |words: &str| weir.log().all().iter().any(|line| line.contains(words));
    assert!(said("child ended") && !said("it is started again"));
    drop(published);
}
