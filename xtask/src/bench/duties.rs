//! What an origin does beside serving its viewers, and what can be wrong with those that it needs for that.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Result,
    command::{create_dir, output, target_dir},
};

/// Where the server's figures are.
const METRICS_PORT: u16 = 21_985;
/// Where its back end is.
const BACK_END_PORT: u16 = 21_986;

/// How long it may take until something is as bad as it is to be.
const BAD_MAX: Duration = Duration::from_secs(60);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A back end that is slow answers after this time, which is twice the time that it has.
const SLOW: Duration = Duration::from_secs(10);

/// A back end that talks sends this much.
const HUGE: usize = 1 << 30;

/// The vhost whose viewers the back end is asked about. None of those that are measured is among them.
pub const ASKED: &str = "asked";

/// What the server has to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Serve its viewers.
    Nothing,
    /// Tell newcomers that there is nothing for them.
    Refuse,
    /// Record all streams to such a disk.
    Record(Disk),
    /// Ask such a back end about newcomers.
    Ask(BackEnd),
}

/// A disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// It takes what it is given.
    Well,
    /// No call comes back: a FUSE that nobody answers lies over the folder.
    Hangs,
    /// It has 10 MB.
    Full,
}

/// A back end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BackEnd {
    /// It refuses nobody, at once.
    Well,
    /// It takes 10 s.
    Slow,
    /// Nobody listens.
    Down,
    /// It answers with a gigabyte.
    Huge,
}

impl Duty {
    /// The configuration of the server, but for its ports. Files of the last case are not this one's.
    pub fn config(self) -> Result<String> {
        let _ = fs::remove_dir_all(files());
        create_dir(&files())?;
        let own = match self {
            Self::Nothing => String::new(),
            Self::Refuse => format!("vhosts: {{ {ASKED}: {{ play: {{ wait: 0s }} }} }}\n"),
            // A disk that hangs is noticed at the next file.
            Self::Record(_) => format!(
                "record: {{ dir: {}, streams: '*', path: '{{stream}}-{{number}}', split: {{ duration: 1s }} }}\n",
                files().display()
            ),
            // What they ask for is not there, so that those who are let in cost nothing more.
            Self::Ask(_) => format!(
                "vhosts: {{ {ASKED}: {{ play: {{ wait: 0s }}, \
                 hooks: {{ on_play: \"http://127.0.0.1:{BACK_END_PORT}/\" }} }} }}\n"
            ),
        };
        let metrics = format!("metrics: {{ listen: [\"127.0.0.1:{METRICS_PORT}\"] }}\n");
        Ok(format!("hls: {{ enabled: false }}\n{metrics}{own}"))
    }

    /// What has to be there before the server is given anything. A back end runs on `cpus`.
    pub fn begin(self, cpus: &'static str) -> Result<Trouble> {
        let mut trouble = Trouble::default();
        match self {
            Self::Record(Disk::Full) => {
                let mut mount = Command::new("mount");
                mount.args(["-t", "tmpfs", "-o", "size=10m", "weir-bench"]).arg(files());
                output(&mut mount).ok_or("cannot mount a file system: this needs root")?;
                trouble.mounted = true;
            }
            Self::Ask(back_end) => {
                let manner: Option<Manner> = match back_end {
                    BackEnd::Well => Some(accept),
                    BackEnd::Slow => Some(accept_late),
                    BackEnd::Huge => Some(talk),
                    BackEnd::Down => None,
                };
                trouble.back_end =
                    manner.map(|manner| Listening::begin(manner, cpus)).transpose()?;
            }
            Self::Nothing | Self::Refuse | Self::Record(_) => {}
        }
        Ok(trouble)
    }

    /// Has things become as bad as they are to be, once the server has its streams, and newcomers if it asks of them.
    pub fn worsen(self, trouble: &mut Trouble) -> Result {
        if self == Self::Record(Disk::Hangs) {
            until("recordings", || value("weir_recording_files_total") > 0.0)?;
            trouble.hang()?;
        }
        until("trouble of the kind that is to be measured beside", || self.is_so())
    }

    /// What shows that it was so, for the table. An error if it was not.
    pub fn shown(self) -> Result<Value> {
        if !self.is_so() {
            return Err("what was to be measured beside has ended".to_owned());
        }
        Ok(match self {
            Self::Nothing => json!({}),
            Self::Refuse => json!({ "refused": refused() }),
            Self::Record(_) => json!({
                "MB recorded": (value("weir_recording_bytes_total") / 1e6).round(),
                "errors": value("weir_recording_errors_total"),
                "groups left out": value("weir_recording_groups_dropped_total"),
            }),
            Self::Ask(_) => json!({
                "accepted": hooks("accepted"),
                "without an answer": hooks("failed"),
                "waiting": value("weir_hook_waiting"),
            }),
        })
    }

    fn is_so(self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Refuse => refused() > 0.0,
            Self::Record(Disk::Well) => value("weir_recording_files_total") > 0.0,
            Self::Record(Disk::Hangs) => !is_writable(),
            Self::Record(Disk::Full) => value("weir_recording_errors_total") > 0.0,
            Self::Ask(BackEnd::Well) => hooks("accepted") > 0.0,
            Self::Ask(_) => hooks("failed") > 0.0,
        }
    }
}

/// What is to be undone.
#[derive(Default)]
pub struct Trouble {
    mounted: bool,
    hanging: Option<Child>,
    back_end: Option<Listening>,
}

impl Trouble {
    /// A file system at which nobody answers: a shell holds its other end until it is ended.
    fn hang(&mut self) -> Result {
        const SCRIPT: &str = "exec 3<>/dev/fuse && mount -i -t fuse \
             -o fd=3,rootmode=40000,user_id=0,group_id=0 weir-hanging \"$0\" && echo over && read line";
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT]).arg(files()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = shell.spawn().map_err(|error| format!("cannot start sh: {error}"))?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("a shell without an output")?;
        let read = BufReader::new(out).read_line(&mut line);
        self.hanging = Some(child);
        if read.is_err() || line.trim() != "over" {
            return Err("cannot mount a FUSE: this needs root and /dev/fuse".to_owned());
        }
        self.mounted = true;
        Ok(())
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("--lazy").arg(files()).status();
        }
        // Whoever waits in there gets an error now.
        if let Some(mut shell) = self.hanging.take() {
            let _ = shell.kill();
            let _ = shell.wait();
        }
        self.back_end = None;
    }
}

/// Where recordings go.
fn files() -> PathBuf {
    target_dir().join("bench").join("recordings")
}

fn until(what: &str, is_so: impl Fn() -> bool) -> Result {
    let start = Instant::now();
    while start.elapsed() < BAD_MAX {
        if is_so() {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
    Err(format!("no {what} within {} s", BAD_MAX.as_secs()))
}

fn hooks(result: &str) -> f64 {
    value(&format!("weir_hook_events_total{{hook=\"on_play\",result=\"{result}\"}}"))
}

/// Requests for what is not there.
fn refused() -> f64 {
    value("weir_refusals_total{reason=\"not_found\"}")
}

/// Whether recordings can be written, as far as the server has noticed.
fn is_writable() -> bool {
    let page = metrics().unwrap_or_default();
    let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
    let mut lines = page.lines().filter(|line| line.starts_with("weir_record_writable{"));
    lines.all(|line| value(line) != Some(0.0))
}

/// The value of this series of the server; 0 without.
fn value(series: &str) -> f64 {
    let page = metrics().unwrap_or_default();
    let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse::<f64>().ok();
    page.lines().find_map(value).unwrap_or_default()
}

fn metrics() -> io::Result<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", METRICS_PORT))?;
    socket.set_read_timeout(Some(BAD_MAX))?;
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    socket.read_to_string(&mut page)?;
    Ok(page)
}

type Manner = fn(&mut TcpStream) -> io::Result<()>;

/// A back end that listens until it is dropped.
struct Listening(Arc<AtomicBool>);

impl Listening {
    fn begin(manner: Manner, cpus: &'static str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", BACK_END_PORT))
            .map_err(|error| format!("cannot listen on port {BACK_END_PORT}: {error}"))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        thread::spawn(move || {
            stay_on(cpus);
            for socket in listener.incoming().map_while(io::Result::ok) {
                if over.load(Ordering::Acquire) {
                    return;
                }
                // Its connection may end as it likes.
                thread::spawn(move || drop(converse(socket, manner)));
            }
        });
        Ok(Self(is_over))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
        // It looks up.
        let _ = TcpStream::connect(("127.0.0.1", BACK_END_PORT));
    }
}

/// This thread, and those that it starts, run on `cpus`.
fn stay_on(cpus: &str) {
    let thread = fs::read_link("/proc/thread-self").ok();
    let Some(id) = thread.as_ref().and_then(|path| path.file_name()) else { return };
    output(Command::new("taskset").args(["-c", "-p", cpus]).arg(id));
}

fn converse(mut socket: TcpStream, manner: Manner) -> io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    loop {
        let (mut length, mut line) = (0, String::new());
        while reader.read_line(&mut line)? > 0 && line != "\r\n" {
            let field = line
                .split_once(':')
                .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            length = field.map_or(Ok(length), |(_, value)| value.trim().parse()).unwrap_or(0);
            line.clear();
        }
        if line.is_empty() {
            return Ok(());
        }
        io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
        manner(&mut socket)?;
    }
}

fn accept(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0")
}

fn accept_late(socket: &mut TcpStream) -> io::Result<()> {
    thread::sleep(SLOW);
    accept(socket)
}

fn talk(socket: &mut TcpStream) -> io::Result<()> {
    const PIECE: usize = 1 << 16;
    write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n")?;
    for _ in 0..HUGE / PIECE {
        socket.write_all(&[b' '; PIECE])?;
    }
    Ok(())
}
