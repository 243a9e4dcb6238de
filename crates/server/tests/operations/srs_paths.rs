//! The program by the names that SRS's image has it under: links to it, as in our image.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;
use weir_testkit::{
    eventually,
    peer::{Numbered, Publisher},
};

use crate::{BINARY, SOON};

/// A folder as `/usr/local/srs` of the image, with HLS's volume mounted.
fn home() -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (folder, link) in
        [("objs", "objs/srs"), ("etc/init.d", "etc/init.d/srs"), ("bin", "bin/sh")]
    {
        fs::create_dir_all(dir.path().join(folder)).expect("created");
        symlink(BINARY, dir.path().join(link)).expect("linked");
    }
    fs::create_dir_all(dir.path().join("objs/nginx/html")).expect("created");
    dir
}

fn command(home: &Path, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(home.join(program));
    command.args(args).current_dir(home).env("WEIR_PID_FILE", "objs/srs.pid");
    for service in ["RTMP", "HTTP", "API"] {
        command.env(format!("WEIR_{service}__LISTEN"), "127.0.0.1:0");
    }
    command.env("WEIR_DRAIN__NOTICE", "0s").env("WEIR_HLS__SEGMENT", "1s");
    command
}

fn run(home: &Path, program: &str, args: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = command(home, program, args).output().expect("it runs");
    let said = [stdout, stderr].concat();
    (status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// A server that was called as SRS, and its port for RTMP.
struct Srs(Child, u16);

impl Drop for Srs {
    fn drop(&mut self) {
        // It has ended already in a test that succeeds.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(home: &Path, args: &[&str]) -> Srs {
    let mut command = command(home, "objs/srs", args);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let stdout = BufReader::new(child.stdout.take().expect("an output"));
    let port = stdout.lines().map_while(Result::ok).find_map(|line| {
        line.strip_prefix("listening rtmp ")?.trim().rsplit_once(':')?.1.parse().ok()
    });
    Srs(child, port.expect("it listens"))
}

#[tokio::test(flavor = "multi_thread")]
async fn as_srs_it_serves_writes_hls_where_srs_does_and_leaves_gracefully() {
    let home = home();
    let mut srs = start(home.path(), &[]);
    let url = format!("rtmp://127.0.0.1:{}/live/livestream", srs.1);
    let mut publisher = Publisher::start(&url, Numbered::new(25)).await;
    publisher.pictures(100).await;
    let playlist = home.path().join("objs/nginx/html/live/livestream.m3u8");
    eventually("the playlist is where nginx serves it", SOON, async || {
        playlist.is_file().then_some(())
    })
    .await;
    assert!(run(home.path(), "etc/init.d/srs", &["status"]).0);
    assert!(run(home.path(), "etc/init.d/srs", &["reload"]).0);
    drop(publisher);
    let (is_told, said) = run(home.path(), "etc/init.d/srs", &["grace"]);
    assert!(is_told && said.contains(&format!("told process {}", srs.0.id())), "{said}");
    let ended = eventually("it ends", SOON, async || srs.0.try_wait().expect("our child")).await;
    assert!(ended.success());
    assert!(!run(home.path(), "etc/init.d/srs", &["status"]).0);
    assert!(run(home.path(), "etc/init.d/srs", &["grace"]).0, "as SRS's script");
}

#[test]
fn the_pid_file_of_another_program_is_nobodys() {
    let home = home();
    let mut other = Command::new("sleep").arg("60").spawn().expect("sleep runs");
    fs::write(home.path().join("objs/srs.pid"), other.id().to_string()).expect("written");
    run(home.path(), "etc/init.d/srs", &["stop"]);
    assert_eq!(other.try_wait().expect("our child"), None, "it was not told anything");
    other.kill().expect("killed");
    other.wait().expect("our child");
}

#[test]
fn a_configuration_that_nobody_names_is_srs_s() {
    let home = home();
    fs::create_dir(home.path().join("conf")).expect("created");
    fs::write(home.path().join("conf/srs.conf"), "play: { wait: nonsense }\n").expect("written");
    let (is_fine, said) = run(home.path(), "objs/srs", &["-t"]);
    assert!(!is_fine && said.contains("conf/srs.conf"), "{said}");
    fs::write(home.path().join("other.yaml"), "play: { wait: 1s }\n").expect("written");
    let (is_fine, said) = run(home.path(), "objs/srs", &["-t", "-c", "other.yaml"]);
    assert!(is_fine && said.contains("other.yaml: ok"), "{said}");
}

#[test]
fn there_is_no_shell() {
    let home = home();
    for args in [&[][..], &["-c", "id"], &["-c", "sleep infinity"], &["-i"]] {
        let (is_done, said) = run(home.path(), "bin/sh", args);
        assert!(!is_done && said.contains("this image has no shell"), "{args:?}: {said}");
    }
}
