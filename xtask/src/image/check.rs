//! The image, run as Kubernetes runs it: its files read-only, a volume at `/data`, user 65532, no capability.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    Image, build, copy, empty, layout, read, remove_file, settings::Settings, sizes, units,
    unpacked::Unpacked, work, write,
};
use crate::{
    Result,
    command::{create_dir, output, root, run},
};

/// From the start of the container's program until it answers `/healthz`.
const HEALTHY_MAX: Duration = Duration::from_millis(200);

/// Starts measured. The best counts: what else the machine does makes others longer, and none shorter.
const STARTS: usize = 5;

/// For what takes no second on an idle machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Until it has ended after SIGTERM: more than the defaults of `drain.notice` and `drain.timeout` together.
const EXIT_TIMEOUT: Duration = Duration::from_secs(75);

/// What a program that sleeps for ever does not end in.
const SLEEPS: Duration = Duration::from_millis(500);

const POLL: Duration = Duration::from_millis(20);

/// The user of the image.
const USER: u32 = 65532;

/// A name that only the container's `/etc/hosts` knows: the program must look it up without any library.
const NAME: &str = "weir.test";

const CONFIG: &str = "\
rtmp: { listen: [\"127.0.0.1:0\"] }
http: { listen: [\"127.0.0.1:0\"] }
api:  { listen: [\"127.0.0.1:0\"] }
hls:  { segment: 1s }
";

/// Runs `$3...` in the folder `$1` with `$2` as `/data`, and with what every runtime adds. Capabilities are left for
/// changing the root and the user, and go with that.
const CONTAINER: &str = r#"
set -e
root=$1 data=$2
shift 2
mount --bind "$root" "$root"
mount --bind "$data" "$root/data"
mount --bind /proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,bind,ro "$root/dev"
mount -o remount,bind,ro,nosuid,nodev "$root"
exec setpriv --inh-caps=-all,+sys_chroot,+setuid,+setgid setpriv --no-new-privs --bounding-set=-all \
    chroot --userspec=65532:65532 --groups= "$root" "$@"
"#;

/// Builds the image and holds it against what was promised.
pub fn check() -> Result {
    let Image { archive, bytes, program } = build()?;
    println!("{}: {bytes} bytes", archive.display());
    let program = fs::metadata(&program).map_err(|error| format!("no program: {error}"))?.len();
    sizes::check(program, bytes)?;
    let work = work().join("check");
    let unpacked = Unpacked::new(&archive, &work)?;
    layout::check(&unpacked.index)?;
    let confinement = Confinement::find();
    let said = Settings::of_dockerfile(&read(&root().join("Dockerfile"))?)?;
    let is = Settings::of_image(&unpacked.config);
    if said != is {
        return Err(format!("the Dockerfile says {said:?}, the image {is:?}"));
    }
    units::check(&unpacked.root.join("weir"), &work)?;
    unpacked.check_files(USER, confinement.is_container())?;
    let container = Container::new(confinement, unpacked.root, &work)?;
    container.check_start()?;
    container.check_paths()?;
    container.check_life()
}

/// How far the program can be confined here.
#[derive(Clone, Copy)]
enum Confinement {
    /// As in a container.
    Container,
    /// Not at all: we may neither mount nor become another user.
    None,
}

impl Confinement {
    fn find() -> Self {
        if output(Command::new("unshare").args(["--mount", "mount", "--bind", "/", "/"])).is_some()
        {
            return Self::Container;
        }
        println!(
            "NOT CHECKED, for want of rights to mount (run it as root): read-only root, user {USER}, no capabilities, \
             owners of the files, look-up of names. The program is run as it is."
        );
        Self::None
    }

    fn is_container(self) -> bool {
        matches!(self, Self::Container)
    }
}

/// The unpacked image with a volume.
struct Container {
    confinement: Confinement,
    root: PathBuf,
    /// What is mounted at `/data`.
    data: PathBuf,
    log: PathBuf,
}

/// A program in it.
struct Server {
    process: Child,
    /// Kept open, because whoever prints must not fail.
    _stdout: BufReader<ChildStdout>,
    rtmp: SocketAddr,
    http: SocketAddr,
    healthy: Duration,
}

impl Container {
    fn new(confinement: Confinement, root: PathBuf, work: &Path) -> Result<Self> {
        let data = work.join("data");
        empty(&data)?;
        write(&data.join("weir.yaml"), CONFIG)?;
        copy(
            &crate::command::root().join("crates/server/assets/demo.flv"),
            &data.join("demo.flv"),
        )?;
        // What a runtime adds to the files of the image.
        create_dir(&root.join("dev"))?;
        create_dir(&root.join("proc"))?;
        write(&root.join("etc/hosts"), &format!("127.0.0.1 {NAME}\n"))?;
        let root = std::path::absolute(root).map_err(|error| error.to_string())?;
        let data = std::path::absolute(data).map_err(|error| error.to_string())?;
        if confinement.is_container() {
            chown(&data, Some(USER), Some(USER)).map_err(|error| format!("chown: {error}"))?;
            let anybody = fs::Permissions::from_mode(0o755);
            fs::set_permissions(&root, anybody).map_err(|error| format!("chmod: {error}"))?;
        }
        let log = work.join("weir.log");
        remove_file(&log)?;
        Ok(Self { confinement, root, data, log })
    }

    /// The program of the image with these arguments, in which `/data` stands for the volume.
    fn command(&self, args: &[&str]) -> Result<Command> {
        self.called("/weir", args)
    }

    /// The same by another path of it.
    fn called(&self, path: &str, args: &[&str]) -> Result<Command> {
        let log = fs::File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(|error| format!("cannot write {}: {error}", self.log.display()))?;
        let mut command = match self.confinement {
            Confinement::Container => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "--propagation", "private", "sh", "-c", CONTAINER, "sh"]);
                command.arg(&self.root).arg(&self.data).arg(path).args(args);
                // Nothing of ours is needed in there.
                command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
                // Process 1 is the machine's here.
                command.env("WEIR_PID_FILE", "/data/weir.pid");
                command
            }
            Confinement::None => {
                let mut command = Command::new(self.root.join("weir"));
                command.arg0(path).env("WEIR_PID_FILE", self.data.join("weir.pid"));
                let data = format!("{}/", self.data.display());
                command.args(args.iter().map(|arg| arg.replace("/data/", &data)));
                // So that `./data` is the volume.
                command.current_dir(self.data.parent().unwrap_or(&self.data));
                command
            }
        };
        command.stdin(Stdio::null()).stderr(log);
        Ok(command)
    }

    fn start(&self) -> Result<Server> {
        let mut command = self.command(&["serve", "--config", "/data/weir.yaml"])?;
        let begin = Instant::now();
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start the container: {error}"))?;
        match self.until_healthy(&mut process, begin) {
            Ok((stdout, [rtmp, http], healthy)) => {
                Ok(Server { process, _stdout: stdout, rtmp, http, healthy })
            }
            Err(error) => {
                end(&mut process);
                Err(format!("{error}; it wrote:\n{}", read(&self.log).unwrap_or_default()))
            }
        }
    }

    fn until_healthy(
        &self,
        process: &mut Child,
        begin: Instant,
    ) -> Result<(BufReader<ChildStdout>, [SocketAddr; 2], Duration)> {
        let stdout = process.stdout.take().ok_or("the server has no standard output")?;
        let mut stdout = BufReader::new(stdout);
        let [rtmp, http, api] = listeners(&mut stdout)?;
        let (status, body) = get(api, "/healthz")?;
        let healthy = begin.elapsed();
        if status != 200 {
            return Err(format!("/healthz answers {status}: {}", String::from_utf8_lossy(&body)));
        }
        Ok((stdout, [rtmp, http], healthy))
    }

    /// How soon it is healthy.
    fn check_start(&self) -> Result {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let mut server = self.start()?;
            times.push(server.healthy);
            end(&mut server.process);
        }
        times.sort();
        let (best, median) = (times[0], times[STARTS / 2]);
        println!(
            "start to 200 of /healthz: best {best:.1?}, median {median:.1?} of {STARTS}; budget {HEALTHY_MAX:?}, \
             for which the best counts"
        );
        if best > HEALTHY_MAX {
            Err(format!("healthy only {best:?} after the start"))
        } else {
            Ok(())
        }
    }

    /// It answers at the paths of SRS's image as manifests and hooks for SRS expect, and nothing in it is a shell.
    fn check_paths(&self) -> Result {
        const SCRIPT: &str = "if [[ ! -f /data/index.html ]]; then\n  cp -R ./objs/nginx/html/* /data\nfi &&\n\
                              sleep infinity\n";
        let said = |path: &str, args: &[&str]| -> Result<(bool, String)> {
            let output = self.called(path, args)?.stderr(Stdio::piped()).output();
            let output = output.map_err(|error| format!("{path}: {error}"))?;
            let text = [output.stdout, output.stderr].concat();
            Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        };
        for (path, args, is_fine, words) in [
            ("/usr/local/srs/objs/srs", &["-v"][..], true, layout::VERSION),
            ("/usr/local/srs/objs/srs", &["-h"], true, "usage: srs -c FILE"),
            ("/usr/local/srs/etc/init.d/srs", &["frob"], false, "usage: srs {stop"),
            ("/bin/sh", &["-c", "id"], false, "this image has no shell"),
            ("/bin/sh", &[], false, "this image has no shell"),
        ] {
            let (is_done, text) = said(path, args)?;
            if is_done != is_fine || !text.contains(words) {
                return Err(format!("{path} {args:?} should say {words:?}: {text}"));
            }
        }
        // The container that SRS's documentation has beside the server.
        let mut copying = self.called("/bin/sh", &["-c", SCRIPT])?;
        let mut copying = copying.spawn().map_err(|error| format!("/bin/sh: {error}"))?;
        thread::sleep(SLEEPS);
        let slept = copying.try_wait().map_err(|error| error.to_string())?;
        if let Some(status) = slept {
            return Err(format!("the script srs-cp-files should sleep: {status}"));
        }
        let result = terminate(&mut copying);
        end(&mut copying);
        result?;
        let mut server = self.start()?;
        let grace = said("/usr/local/srs/etc/init.d/srs", &["grace"]);
        let exit =
            grace.and_then(|(is_done, text)| match is_done && text.contains("told process") {
                true => until_ended(&mut server.process, "SIGQUIT by init.d/srs grace"),
                false => Err(format!("init.d/srs grace: {text}")),
            });
        end(&mut server.process);
        exit?;
        println!("SRS's paths: objs/srs, etc/init.d/srs and the script of srs-cp-files; no shell");
        Ok(())
    }

    /// Confined, it takes a stream in, serves HLS of it from its volume, and ends when asked to.
    fn check_life(&self) -> Result {
        let mut server = self.start()?;
        let result = self.check_running(&server);
        let exit = if result.is_ok() { terminate(&mut server.process) } else { Ok(()) };
        end(&mut server.process);
        let log = || format!("; it wrote:\n{}", read(&self.log).unwrap_or_default());
        result.and(exit).map_err(|error| error + &log())
    }

    fn check_running(&self, server: &Server) -> Result {
        let host = match self.confinement {
            Confinement::Container => {
                check_confined(server.process.id())?;
                NAME
            }
            Confinement::None => "127.0.0.1",
        };
        let url = format!("rtmp://{host}:{}/live/a", server.rtmp.port());
        let mut publisher = self.command(&["publish", "/data/demo.flv", &url, "--loop"])?;
        let mut publisher =
            publisher.spawn().map_err(|error| format!("cannot publish: {error}"))?;
        let result = self.check_hls(server.http);
        end(&mut publisher);
        result
    }

    fn check_hls(&self, http: SocketAddr) -> Result {
        let deadline = Instant::now() + TIMEOUT;
        let playlist = loop {
            let (status, body) = get(http, "/live/a.m3u8")?;
            let text = String::from_utf8_lossy(&body).into_owned();
            if status == 200 {
                break text;
            }
            if Instant::now() > deadline {
                return Err(format!("no HLS: {status} {text}"));
            }
            thread::sleep(POLL);
        };
        let segment = playlist.lines().find(|line| line.ends_with(".ts"));
        let segment = segment.ok_or_else(|| format!("no segment in {playlist}"))?;
        let (status, served) = get(http, &format!("/live/{segment}"))?;
        let file = self.data.join("hls/live").join(segment);
        let written = read_when_written(&file, deadline)?;
        if status != 200 || served != written || served.is_empty() {
            return Err(format!(
                "{segment}: {status} and {} bytes, but {} on disk",
                served.len(),
                written.len()
            ));
        }
        println!(
            "HLS: {segment}, {} bytes, is served as it was written to /data/hls",
            served.len()
        );
        Ok(())
    }
}

/// What is in a file, once there is one: a segment is served from memory before it is in a file.
fn read_when_written(file: &Path, deadline: Instant) -> Result<Vec<u8>> {
    loop {
        match fs::read(file) {
            Ok(written) => return Ok(written),
            Err(error) if Instant::now() > deadline => {
                return Err(format!("{}: {error}", file.display()));
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}

/// Requires that the process has no rights, and that nothing can be written but `/data`: not even by us, through its
/// eyes.
fn check_confined(pid: u32) -> Result {
    let status = read(Path::new(&format!("/proc/{pid}/status")))?;
    let ids = [USER; 4].map(|id| id.to_string()).join("\t");
    for (name, expected) in [
        ("Uid", ids.as_str()),
        ("Gid", ids.as_str()),
        ("Groups", ""),
        ("NoNewPrivs", "1"),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
    ] {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let value = line.ok_or_else(|| format!("no {name} in\n{status}"))?.trim();
        if value != expected {
            return Err(format!(
                "{name} of the container's process is {value:?}, not {expected:?}"
            ));
        }
    }
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    for place in ["", "etc", "dev"] {
        match fs::write(root.join(place).join("probe"), "") {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
            result => return Err(format!("writing into /{place} of the container: {result:?}")),
        }
    }
    println!(
        "confined: user {USER}, no capabilities, no new privileges; writing outside /data: read-only file system"
    );
    Ok(())
}

/// Where it takes RTMP, HTTP and the API.
fn listeners(stdout: &mut impl io::BufRead) -> Result<[SocketAddr; 3]> {
    let mut addresses = [None; 3];
    for line in stdout.lines() {
        let line = line.map_err(|error| error.to_string())?;
        for (name, address) in ["rtmp", "http", "api"].into_iter().zip(&mut addresses) {
            let text = line.strip_prefix("listening ").and_then(|line| line.strip_prefix(name));
            *address = text.and_then(|text| text.trim().parse().ok()).or(*address);
        }
        if let [Some(rtmp), Some(http), Some(api)] = addresses {
            return Ok([rtmp, http, api]);
        }
    }
    Err("it ended before it listened".to_owned())
}

/// The status and the body.
fn get(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>)> {
    let failed = |error: io::Error| format!("GET {path}: {error}");
    let mut socket = TcpStream::connect(address).map_err(failed)?;
    socket.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
    let head = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    socket.write_all(head.as_bytes()).map_err(failed)?;
    let mut response = Vec::new();
    socket.read_to_end(&mut response).map_err(failed)?;
    parse(&response).ok_or_else(|| format!("GET {path}: {:?}", String::from_utf8_lossy(&response)))
}

fn parse(response: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&response[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, response[end + 4..].to_vec()))
}

/// Asks it to stop, and requires that it ends well.
fn terminate(process: &mut Child) -> Result {
    run(Command::new("kill").args(["-TERM", &process.id().to_string()]))?;
    until_ended(process, "SIGTERM")
}

/// Requires that it ends well, now that it was asked to.
fn until_ended(process: &mut Child, how: &str) -> Result {
    let begin = Instant::now();
    while begin.elapsed() < EXIT_TIMEOUT {
        if let Some(status) = process.try_wait().map_err(|error| error.to_string())? {
            println!("{how}: {status} after {:.1?}", begin.elapsed());
            return if status.success() { Ok(()) } else { Err(format!("on {how}: {status}")) };
        }
        thread::sleep(POLL);
    }
    Err(format!("it still runs {EXIT_TIMEOUT:?} after {how}"))
}

/// Ends it at once.
fn end(process: &mut Child) {
    // Fails only for a process that has ended already.
    let _ = process.kill();
    let _ = process.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read() {
        let response = b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nbody\r\n\r\n";
        assert_eq!(parse(response), Some((404, b"body\r\n\r\n".to_vec())));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n"), None);
    }

    #[test]
    fn listeners_are_read_in_any_order() {
        let text = "Weir\nlistening api 127.0.0.1:3\nlistening rtmp 127.0.0.1:1\nlistening http 127.0.0.1:2\n";
        assert_eq!(
            listeners(&mut text.as_bytes()).unwrap().map(|address| address.port()),
            [1, 2, 3]
        );
        assert!(listeners(&mut "listening rtmp 127.0.0.1:1\n".as_bytes()).is_err());
    }
}
