//! The program with configurations of SRS and nginx: each does what its file is for.

mod kubernetes;
mod listed;
mod samples;

use std::{fs, path::Path, process::Command, time::Duration};

use weir_testkit::{
    Weir, eventually, http,
    peer::{Encoder, Numbered, Viewer},
};

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(30);

const PICTURE: Duration = Duration::from_millis(40);

const ORIGIN: &str = "\
listen 1935;
max_connections 1000;
daemon off;
srs_log_tank console;
http_api { enabled on; listen 1985; }
http_server { enabled on; listen 8080; dir ./objs/nginx/html; }
vhost __defaultVhost__ {
    hls { enabled on; hls_fragment 1; hls_window 10; }
    http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }
}
";

fn weir(conf: &str) -> Weir {
    Weir::builder(BINARY).exactly(conf).start()
}

async fn encoder(weir: &Weir, stream: &str) -> Encoder {
    Encoder::start(&weir.rtmp_url(stream), Numbered::new(12), PICTURE).await
}

/// The file below `dir` whose name ends with `end`, once there is one.
async fn file(dir: &Path, end: &str) -> std::path::PathBuf {
    eventually(&format!("a file {end}"), SOON, async || find(dir, end)).await
}

fn find(dir: &Path, end: &str) -> Option<std::path::PathBuf> {
    let mut entries: Vec<_> =
        fs::read_dir(dir).ok()?.filter_map(Result::ok).map(|entry| entry.path()).collect();
    entries.sort();
    entries.into_iter().find_map(|path| match path.is_dir() {
        true => find(&path, end),
        false => path.to_string_lossy().ends_with(end).then_some(path),
    })
}

fn reloaded(window: &'static str) -> impl Fn(&serde_json::Value) -> bool {
    move |line| {
        let what = line["what"].as_str().unwrap_or_default();
        line["message"] == "configuration reloaded" && what.contains(window)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_and_its_edge_serve_rtmp_flv_and_hls() {
    let origin = weir(ORIGIN);
    let edge = weir(&format!(
        "listen 1935; http_server {{ enabled on; listen 8080; }}\n\
         vhost __defaultVhost__ {{ cluster {{ mode remote; origin {}; }} http_remux {{ enabled on; }} }}\n",
        origin.rtmp()
    ));
    // What is published at the edge is at the origin, and seen at both.
    let published = encoder(&edge, "live/a").await;
    for server in [&origin, &edge] {
        let mut flv = Viewer::http_flv(server.http(), "live/a.flv").await;
        flv.until_picture(published.next_number() + 5).await;
        let mut rtmp = Viewer::rtmp(&server.rtmp_url("live/a")).await;
        rtmp.until_picture(published.next_number() + 5).await;
    }
    let playlist = file(&origin.dir().join("objs/nginx/html"), "a.m3u8").await;
    assert!(playlist.ends_with("live/a.m3u8"), "{playlist:?}");
    eventually("a playlist", SOON, async || {
        let mut answer = http::get(origin.http(), "live/a.m3u8").await;
        (answer.status == 200 && answer.text().await.contains("#EXTM3U")).then_some(())
    })
    .await;
    published.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_recorded_and_forwarded() {
    let other = weir(ORIGIN);
    let first = weir(&format!(
        "listen 1935;\nvhost __defaultVhost__ {{\n  forward {{ enabled on; destination {}; }}\n  \
         dvr {{ enabled on; dvr_plan session; dvr_path ./dvr/[app]/[stream].[timestamp].flv; }}\n}}\n",
        other.rtmp()
    ));
    let published = encoder(&first, "live/b").await;
    let mut viewer = Viewer::rtmp(&other.rtmp_url("live/b")).await;
    viewer.until_picture(20).await;
    drop(published);
    let recorded = file(&first.dir().join("dvr/live"), ".flv").await;
    let name = recorded.file_name().unwrap_or_default().to_string_lossy().into_owned();
    assert!(name.starts_with("b."), "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn vhosts_that_are_not_there_are_refused() {
    let weir = weir("listen 1935;\nvhost a.org { }\nvhost b.org { enabled off; }\n");
    let url = |vhost: &str| format!("{}?vhost={vhost}", weir.rtmp_url("live/c"));
    let published = Encoder::start(&url("a.org"), Numbered::new(12), PICTURE).await;
    for vhost in ["b.org", "c.org"] {
        let refused = Encoder::try_start(&url(vhost), Numbered::new(12), PICTURE).await;
        assert!(refused.is_err(), "{vhost}");
    }
    published.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_included_file_that_changes_is_read_anew() {
    let mut weir = weir("listen 1935;\nvhost __defaultVhost__ { }\n");
    fs::write(
        weir.dir().join("vhost.conf"),
        "vhost __defaultVhost__ { play { queue_length 7; } }\n",
    )
    .expect("written");
    weir.write_config("listen 1935;\ninclude vhost.conf;\n");
    // Who looks for changes may have begun to do so only now: the signal does not depend on that.
    weir.hang_up();
    weir.wait_log(reloaded("play.window: 30s -> 7s"), SOON);
    fs::write(
        weir.dir().join("vhost.conf"),
        "vhost __defaultVhost__ { play { queue_length 8; } }\n",
    )
    .expect("written");
    weir.wait_log(reloaded("play.window: 7s -> 8s"), SOON);
    // What is wrong changes nothing, and says where.
    fs::write(weir.dir().join("vhost.conf"), "vhost __defaultVhost__ { play { queue 8; } }\n")
        .expect("written");
    weir.hang_up();
    let wrong = |line: &serde_json::Value| {
        line["reason"].as_str().is_some_and(|reason| reason.contains("vhost.conf:1:33"))
    };
    weir.wait_log(wrong, SOON);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_begin_in_the_work_dir_and_those_of_the_configuration_where_it_was_started() {
    let dir = tempfile::tempdir().expect("a folder");
    let work_dir = dir.path().canonicalize().expect("it is there").join("work");
    let conf = |rest: &str| {
        format!(
            "listen 1935; work_dir {}; pid ./objs/srs.pid; http_api {{ enabled on; listen 1985; }}\n{rest}",
            work_dir.display()
        )
    };
    let vhost = "vhost __defaultVhost__ { play { queue_length 7; }\n\
                 hls { enabled on; hls_path ./html; hls_fragment 1; } }\n";
    let missing = dir.path().join("srs.conf");
    fs::write(&missing, conf(vhost)).expect("written");
    for command in ["check", "serve"] {
        let output = Command::new(BINARY).args([command, "-c"]).arg(&missing).output();
        let output = output.expect("weir runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{command}");
        let place =
            format!("srs.conf:1:23: work_dir: cannot enter {}: No such", work_dir.display());
        assert!(told.contains(&place), "{command}: {told}");
    }
    fs::create_dir_all(work_dir.join("objs")).expect("made");
    let mut weir = weir(&conf(vhost));
    let published = encoder(&weir, "live/a").await;
    let playlist = file(&work_dir.join("html"), "a.m3u8").await;
    assert!(playlist.ends_with("live/a.m3u8"), "{playlist:?}");
    let pid = fs::read_to_string(work_dir.join("objs/srs.pid")).expect("a file");
    assert_eq!(pid.trim(), weir.pid().to_string());
    let said = http::get(weir.api(), "api/v1/summaries").await.text().await;
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["data"]["self"]["cwd"], work_dir.display().to_string());
    // A reload finds the file and what it includes where they are.
    fs::write(weir.dir().join("vhost.conf"), vhost.replace('7', "8")).expect("written");
    weir.write_config(&conf("include vhost.conf;\n"));
    weir.hang_up();
    weir.wait_log(reloaded("play.window: 7s -> 8s"), SOON);
    // And is told of changes.
    weir.write_config(&conf(&vhost.replace('7', "9")));
    weir.wait_log(reloaded("play.window: 8s -> 9s"), SOON);
    published.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nginx_conf_is_served_too() {
    let weir = weir(
        "worker_processes 1;\nevents { }\nrtmp { server { listen 1935; application live { live on; record all; \
         record_path ./rec; } } }\nhttp { server { listen 8080; } }\n",
    );
    let published = encoder(&weir, "live/d").await;
    let mut flv = Viewer::http_flv(weir.http(), "live/d.flv").await;
    flv.until_picture(published.next_number() + 5).await;
    drop((published, flv));
    file(&weir.dir().join("rec"), ".flv").await;
}

#[test]
fn what_is_different_is_told_and_converted() {
    let dir = tempfile::tempdir().expect("a folder");
    let (conf, yaml) = (dir.path().join("srs.conf"), dir.path().join("weir.yaml"));
    let text = ORIGIN.replace("vhost __d", "rtc_server { enabled on; listen 8000; }\nvhost __d");
    fs::write(&conf, text).expect("written");
    let run = |words: &[&std::ffi::OsStr]| {
        let output = Command::new(BINARY).args(words).current_dir(dir.path()).output();
        let output = output.expect("weir runs");
        let said = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.success(), said(output.stdout), said(output.stderr))
    };
    let check = |file: &Path| {
        run(&["check".as_ref(), "--text-only".as_ref(), "-c".as_ref(), file.as_ref()])
    };
    let (is_right, shown, told) = check(&conf);
    assert!(is_right && shown.contains("hls      ./objs/nginx/html"), "{shown}{told}");
    assert!(told.contains("srs.conf:7:1: rtc_server: there is no WebRTC"), "{told}");
    let (is_right, _, told) =
        run(&["convert".as_ref(), conf.as_ref(), "-o".as_ref(), yaml.as_ref()]);
    assert!(is_right && told.contains("difference"), "{told}");
    let (is_right, converted, told) = check(&yaml);
    assert!(is_right && !told.contains("rtc"), "{told}");
    let summary = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_owned());
    assert_eq!(summary(&converted), summary(&shown));
    let environment = Command::new(BINARY)
        .args(["check", "--text-only", "-e"])
        .env("SRS_HTTP_SERVER_ENABLED", "on")
        .env("SRS_HTTP_SERVER_LISTEN", "8088")
        .output()
        .expect("weir runs");
    let shown = String::from_utf8_lossy(&environment.stdout).into_owned();
    assert!(environment.status.success() && shown.contains("http     0.0.0.0:8088"), "{shown}");
}
