use std::{fs, path::Path};

use rustix::process::{Pid, test_kill_process_group};
use tokio::sync::oneshot;
use weir_config::Config;
use weir_media::DEFAULT_VHOST;

use super::*;
use crate::supervise::{Child, State};

const SOON: Duration = Duration::from_secs(20);

/// What runs `run` of `exec` for `/live/a`, with what `more` says.
fn process(run: &str, more: &str) -> Process {
    let text = format!("exec: [{{ run: {run} }}]\n{more}");
    let config = Config::parse(&text, "a.yaml").unwrap_or_else(|error| panic!("{error}"));
    let job = Job::Exec(config.exec[0].clone());
    let ground = Ground {
        settings: Settings::new(config),
        passes: Arc::default(),
        stopping: watch::Sender::new(Stopping::No),
        port: OnceLock::new(),
        starter: Pool::new("starting programs", 1),
        running: AtomicUsize::new(0),
    };
    let port = || Ok(SocketAddr::from(([127, 0, 0, 1], 1935)));
    assert!(ground.port.set(Box::new(port)).is_ok());
    let key = StreamKey::new(DEFAULT_VHOST, "live", "a").expect("a name");
    Process { ground: Arc::new(ground), job, key }
}

/// How it ends by itself.
async fn end(process: &Process) -> End {
    let (_held, stop) = watch::channel(());
    timeout(SOON, process.run(&mut Stop::of(stop), |_| {})).await.expect("it ends")
}

/// Runs it until it says so, then drops it; the number of its process.
async fn begun_and_dropped(process: Process, begun: impl AsyncFn(u32)) -> u32 {
    let (told, pid) = oneshot::channel();
    let (held, stop) = watch::channel(());
    let task = tokio::spawn(async move {
        process.run(&mut Stop::of(stop), |pid| told.send(pid).expect("it is waited for")).await
    });
    let pid = timeout(SOON, pid).await.expect("soon").expect("it begins");
    begun(pid).await;
    drop(held);
    let end = timeout(SOON, task).await.expect("soon").expect("it ends");
    assert!(matches!(end, End::Stopped), "{end:?}");
    pid
}

fn is_gone(pid: u32) -> bool {
    let group = Pid::from_raw(pid.cast_signed()).expect("a number");
    test_kill_process_group(group).is_err()
}

/// Waits until `name` is in the group of `pid`.
async fn until_in_group(pid: u32, name: &str) {
    let is_in_group = || {
        let all = fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
        let stats = all.filter_map(|it| fs::read_to_string(it.path().join("stat")).ok());
        let mut stats = stats.map(|stat| stat.replace(['(', ')'], ""));
        stats.any(|stat| {
            let words: Vec<_> = stat.split(' ').collect();
            words[1] == name && words[4] == pid.to_string()
        })
    };
    timeout(SOON, async {
        while !is_in_group() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it is there");
}

#[tokio::test]
async fn how_programs_end() {
    let ended = |end: End| match end {
        End::Exited(status) => status.code(),
        other => panic!("{other:?}"),
    };
    assert_eq!(ended(end(&process("['true']", "")).await), Some(0));
    assert_eq!(ended(end(&process("['false']", "")).await), Some(1));
    let flood = process("[seq, 100000]", "");
    assert_eq!(ended(end(&flood).await), Some(0), "what it says is read");
    assert_eq!(flood.ground.running.load(Ordering::Relaxed), 0);
    let missing = end(&process("[no-such-program]", "")).await;
    assert!(matches!(&missing, End::Failed(why) if why.contains("no-such-program")), "{missing:?}");
    let full = process("['true']", "children: { max: 1 }");
    full.ground.running.store(1, Ordering::Relaxed);
    for _ in 0..2 {
        let none = end(&full).await;
        assert!(matches!(&none, End::Failed(why) if why.contains("children.max")), "{none:?}");
    }
    assert_eq!(full.ground.running.load(Ordering::Relaxed), 1, "the place of another one");
}

#[tokio::test]
async fn a_program_has_its_arguments_and_no_secrets_of_ours() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("out");
    let run = format!("[tee, '{}']", file.display());
    assert!(matches!(end(&process(&run, "")).await, End::Exited(status) if status.success()));
    assert_eq!(fs::read(&file).expect("written"), b"", "there is nothing to read");
    let copy = format!("[cp, /proc/self/cmdline, '{}']", file.display());
    assert!(matches!(end(&process(&copy, "")).await, End::Exited(status) if status.success()));
    let copied = fs::read_to_string(&file).expect("written");
    assert_eq!(copied, format!("cp\0/proc/self/cmdline\0{}\0", file.display()));
    let copy = format!("[cp, /proc/self/environ, '{}']", file.display());
    assert!(matches!(end(&process(&copy, "")).await, End::Exited(status) if status.success()));
    let environment = fs::read_to_string(&file).expect("written");
    assert!(environment.contains("PATH=") && !environment.contains("WEIR_"), "{environment}");
}

#[tokio::test]
async fn what_is_dropped_ends_with_all_that_it_has_started() {
    let sleeps = process("[sleep, 1000]", "children: { stop: 1m }");
    let pid = begun_and_dropped(sleeps, async |_| {}).await;
    assert!(is_gone(pid) && !Path::new(&format!("/proc/{pid}")).exists());
    let nested = process("[timeout, --foreground, 1000, sleep, 1000]", "");
    let pid = begun_and_dropped(nested, async |pid| until_in_group(pid, "sleep").await).await;
    assert!(is_gone(pid));
}

#[tokio::test]
async fn what_does_not_end_is_killed() {
    let stubborn = process("[env, --ignore-signal=TERM, sleep, 1000]", "children: { stop: 300ms }");
    let began = Instant::now();
    let pid = begun_and_dropped(stubborn, async |pid| until_in_group(pid, "sleep").await).await;
    assert!(is_gone(pid) && began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_child_comes_again_and_a_hostile_name_is_not_run() {
    let (child, work) = Child::new(process("['false']", ""));
    let task = tokio::spawn(work);
    let waiting = async {
        while !matches!(child.state(), State::Waiting { .. }) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, waiting).await.expect("it has ended, and is started again");
    drop(child);
    timeout(SOON, task).await.expect("soon").expect("nobody holds it");
    let mut hostile = process("[touch, '{stream}']", "");
    hostile.key = StreamKey::new(DEFAULT_VHOST, "live", "--help").expect("a name");
    let refused = end(&hostile).await;
    assert!(matches!(&refused, End::Refused(why) if why.contains("may begin")), "{refused:?}");
}
