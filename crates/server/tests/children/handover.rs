//! Programs while another process takes the listeners over.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use weir_testkit::{
    Weir, eventually, ffmpeg::Ffmpeg, fixture::Fixture, process::Process, raw::Raw,
};

use super::{SMALL, SOON, children, clip, server, streams};

/// How long both processes may run a program for one stream: from the first connection of its publisher to the new
/// one until the old one has ended its own, which has `children.stop` for that.
const TWICE_MAX: Duration = Duration::from_secs(3);

/// A program, which has started another one.
fn config(marker: u32, clip: &str) -> String {
    format!(
        "drain: {{ notice: 0s, timeout: 20s }}\nhandover: {{ socket: weir.sock }}\nchildren: {{ stop: 2s }}\n\
         exec: [{{ streams: live/a, run: [sh, -c, 'sleep {marker} & exec sleep {marker}'] }}]\n\
         transcode: [{{ streams: live/a, name: sd, args: {SMALL} }}]\n\
         ingest: [{{ stream: live/x, from: '{clip}' }}]\n"
    )
}

/// The processes with `marker` in their arguments, each with its parent.
fn marked(marker: &str) -> BTreeSet<(u32, u32)> {
    let processes = fs::read_dir("/proc").expect("a system with it").flatten();
    let numbers = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter_map(|pid| {
            let said = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            let has = said.split('\0').any(|word| word.contains(marker));
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (_, rest) = stat.rsplit_once(") ")?;
            let mut fields = rest.split(' ');
            let is_zombie = fields.next()? == "Z";
            let parent = fields.next()?.parse().ok()?;
            (has && !is_zombie).then_some((pid, parent))
        })
        .collect()
}

/// FFmpeg publishes for as long as this is held, and again when it is let go.
struct Publisher {
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Publisher {
    fn start(url: String) -> Self {
        let ends = Arc::<AtomicBool>::default();
        let told = Arc::clone(&ends);
        let publish = move || {
            let source = Fixture::AvcAac.file();
            while !told.load(Ordering::Acquire) {
                let mut command = Ffmpeg::System.command();
                command.args(["-re", "-stream_loop", "-1", "-i"]).arg(&source);
                command.args(["-c", "copy", "-f", "flv", &url]);
                let mut ffmpeg = Process::start("ffmpeg", &mut command);
                while !ffmpeg.has_ended() && !told.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        };
        Self { ends, thread: Some(std::thread::spawn(publish)) }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A test that fails has other words for it.
            let _ = thread.join();
        }
    }
}

/// How often programs are looked for, and for how long at a time there was more than one of `parents` that had one.
struct Watch {
    ends: Arc<AtomicBool>,
    longest: Arc<Mutex<Duration>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    fn begin(marker: String, old: u32) -> Self {
        let (ends, longest) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Duration>>::default());
        let (told, found) = (Arc::clone(&ends), Arc::clone(&longest));
        let thread = std::thread::spawn(move || {
            let mut since = None::<Instant>;
            while !told.load(Ordering::Acquire) {
                let all = marked(&marker);
                let of_old = all.iter().any(|(_, parent)| *parent == old);
                let own: BTreeSet<_> = all.iter().map(|(pid, _)| *pid).collect();
                // What a program has started has that program for a parent.
                let of_new = all.iter().any(|(_, parent)| *parent != old && !own.contains(parent));
                since = (of_old && of_new).then(|| since.unwrap_or_else(Instant::now));
                let so_far = since.map(|since| since.elapsed()).unwrap_or_default();
                let mut longest = found.lock().expect("nobody panics here");
                *longest = longest.max(so_far);
                drop(longest);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { ends, longest, thread: Some(thread) }
    }

    fn end(mut self) -> Duration {
        self.ends.store(true, Ordering::Release);
        self.thread.take().expect("it runs").join().expect("it does not panic");
        *self.longest.lock().expect("nobody panics here")
    }
}

/// Waits until everything runs that is to run.
async fn until_all_run(weir: &Weir, marker: &str) {
    eventually("all programs and their streams", SOON, async || {
        let all = children(weir).await;
        let runs = all.iter().filter(|child| child["state"] == "running").count();
        let streams = streams(weir).await;
        let has_streams = streams == ["/live/a", "/live/a_sd", "/live/x"];
        (runs == 3 && all.len() == 3 && has_streams && marked(marker).len() == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_end_with_the_process_that_is_replaced_and_run_once_in_the_new_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = clip(dir.path()).display().to_string();
    // Seconds that no other test sleeps.
    let number = 7_000_000 + std::process::id();
    let marker = number.to_string();
    let mut weir = server(&config(number, &file)).start();
    let _publisher = Publisher::start(weir.rtmp_url("live/a"));
    until_all_run(&weir, &marker).await;
    let before = marked(&marker);
    let ffmpegs = marked(&file);
    assert_eq!((before.len(), ffmpegs.len()), (2, 1));

    let watches = [&marker, &file].map(|it| Watch::begin(it.clone(), weir.pid()));
    let old_pid = weir.pid();
    let replaced = Instant::now();
    let old = tokio::task::block_in_place(|| {
        let mut old: Process = weir.replace();
        old.wait_success(SOON);
        old.pid()
    });
    let ended = replaced.elapsed();
    assert_eq!(old, old_pid);
    // The process has gone, and all that it had started with it, now.
    let (left, ffmpeg) = (marked(&marker), marked(&file));
    let gone = |all: &BTreeSet<(u32, u32)>, now: &BTreeSet<(u32, u32)>| {
        all.iter().all(|(pid, _)| !now.iter().any(|(other, _)| other == pid))
    };
    assert!(
        gone(&before, &left) && gone(&ffmpegs, &ffmpeg),
        "{before:?} {left:?} {ffmpegs:?} {ffmpeg:?}"
    );
    until_all_run(&weir, &marker).await;
    let twice = watches.map(Watch::end);
    eprintln!("the old process ended after {ended:?}; exec and ingest ran twice for {twice:?}");
    assert!(twice.iter().all(|it| *it < TWICE_MAX), "{twice:?}");
    assert_eq!(marked(&file).len(), 1, "one FFmpeg brings the file in");
    for (_, parent) in marked(&file) {
        assert_eq!(parent, weir.pid());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_run_again_in_a_process_whose_successor_has_died() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = clip(dir.path()).display().to_string();
    let number = 8_000_000 + std::process::id();
    let marker = number.to_string();
    let weir = server(&config(number, &file)).start();
    let _publisher = Publisher::start(weir.rtmp_url("live/a"));
    until_all_run(&weir, &marker).await;
    // Who stays keeps the old process from ending at once.
    let _viewer = Raw::rtmp(weir.rtmp()).await;
    let mut next = weir.begin_replacement();
    let old_says = |words: &'static str| {
        let lines = weir.log().all();
        lines.iter().any(|line| line.contains(words))
    };
    eventually("it is replaced", SOON, async || {
        old_says("another process has taken over the listeners").then_some(())
    })
    .await;
    next.kill();
    eventually("it serves again", SOON, async || old_says("serving again").then_some(())).await;
    until_all_run(&weir, &marker).await;
    assert!(marked(&file).iter().all(|(_, parent)| *parent == weir.pid()));
}
