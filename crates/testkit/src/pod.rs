//! Containers of a pod as processes: what its template says of commands, files and variables holds, in the files of the
//! image.
//!
//! Each container has a mount and a process namespace of its own, and the pod's network. As in a cluster it is process
//! 1 for itself, and runs as the user that the image says.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{config_map::ConfigMap, manifests, netns::Host, nginx, process::Process};

/// Until what a container begins with is there.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes the container's view of the files, from `$1` on, and becomes its program. The program is no static one here:
/// the system's libraries are lent to it.
const ENTER: &str = r#"
set -e
root=$1 binary=$2
shift 2
for dir in lib lib64 usr/lib; do
    mkdir -p "$root/$dir"
    mount --bind "/$dir" "$root/$dir"
done
mkdir -p "$root/proc" "$root/dev" "$root/tmp"
: > "$root/weir"
mount --bind "$binary" "$root/weir"
mount -t proc proc "$root/proc"
: > "$root/dev/null"
mount --bind /dev/null "$root/dev/null"
while [ "$1" != -- ]; do
    mkdir -p "$root/$2"
    mount --bind "$1" "$root/$2"
    if [ "$3" = true ]; then mount -o remount,bind,ro "$root/$2"; fi
    shift 3
done
shift
exec unshare "$@"
"#;

/// The same for nginx, which has the files of this machine.
const ENTER_NGINX: &str = r#"
set -e
mount --bind "$1" "$2"
mount -o remount,bind,ro "$2"
exec "$3" -p "$4" -c nginx.conf -e stderr
"#;

/// What the image `nginx` does with the folder that it serves.
fn nginx_conf(folder: &str) -> String {
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nevents {{ }}\n\
         http {{ access_log off; types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}\n\
         server {{ listen 80; root {folder}; }} }}\n"
    )
}

/// What an image says of its containers.
#[derive(Clone, Debug)]
pub struct Image {
    /// The program at `/weir`.
    pub binary: PathBuf,
    /// The files beside it.
    pub files: PathBuf,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    workdir: String,
    user: String,
}

impl Image {
    /// Weir's, as its `Dockerfile` says.
    ///
    /// # Panics
    /// If that cannot be read.
    pub fn of_weir(binary: impl Into<PathBuf>) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text = fs::read_to_string(root.join("Dockerfile")).expect("there is a Dockerfile");
        let (_, last) = text.rsplit_once("\nFROM ").expect("a stage");
        let said = |word: &str| {
            last.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).unwrap_or("")
        };
        let list = |word: &str| serde_json::from_str(said(word)).unwrap_or_default();
        Self {
            binary: binary.into(),
            files: root.join("deploy/image"),
            entrypoint: list("ENTRYPOINT"),
            cmd: list("CMD"),
            workdir: said("WORKDIR").to_owned(),
            user: said("USER").to_owned(),
        }
    }
}

/// A running pod. Dropping it ends its containers.
#[derive(Debug)]
pub struct Pod {
    containers: Vec<Container>,
    maps: BTreeMap<String, ConfigMap>,
    _folders: Vec<TempDir>,
}

/// One of its containers.
#[derive(Debug)]
pub struct Container {
    /// What the template calls it.
    pub name: String,
    process: Process,
    spec: Value,
    workdir: String,
    ids: Option<(String, String)>,
}

/// Where a pod runs, and whom it knows.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The host whose network it has; without one, the test's.
    pub host: Option<&'a Host>,
    /// The names of services, and where they lead.
    pub services: &'a [(String, IpAddr)],
}

impl Pod {
    /// Starts the containers of the template of `owner`, a Deployment among `objects`. All images but `nginx` are
    /// `image`.
    ///
    /// # Panics
    /// If the template has something that is not known here, or a container cannot be started.
    #[track_caller]
    pub fn start(objects: &[Value], owner: &str, image: &Image, place: Place<'_>) -> Self {
        let spec = &manifests::find(objects, "Deployment", owner)["spec"]["template"]["spec"];
        let (mut volumes, mut maps, mut folders) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for volume in spec["volumes"].as_array().into_iter().flatten() {
            let name = text(&volume["name"]).to_owned();
            let folder = tempfile::tempdir().expect("a temporary folder can be made");
            // As the kubelet makes them: for whoever the containers run as.
            open(folder.path(), 0o777);
            if let Some(map) = volume["configMap"]["name"].as_str() {
                let data = &manifests::find(objects, "ConfigMap", map)["data"];
                let files: Vec<_> = data.as_object().expect("files").iter().collect();
                let [(file, contents)] = files[..] else { panic!("{map}: not one file") };
                let mounted = ConfigMap::mount(folder.path(), file, text(contents));
                maps.insert(map.to_owned(), mounted);
            } else {
                assert!(volume["emptyDir"].is_object(), "no such volume here: {volume}");
            }
            volumes.insert(name, folder.path().to_owned());
            folders.push(folder);
        }
        let mut containers = Vec::new();
        for spec in spec["containers"].as_array().expect("containers") {
            let folder = tempfile::tempdir().expect("a temporary folder can be made");
            let mounts = mounts(spec, &volumes);
            let container = match text(&spec["image"]) {
                "nginx" => Container::nginx(spec, folder.path(), &mounts, place),
                _ => Container::start(spec, folder.path(), &mounts, image, place),
            };
            containers.push(container);
            folders.push(folder);
        }
        Self { containers, maps, _folders: folders }
    }

    /// One of its containers by its name.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn container(&mut self, name: &str) -> &mut Container {
        let found = self.containers.iter_mut().find(|container| container.name == name);
        found.unwrap_or_else(|| panic!("there is no container {name}"))
    }

    /// The names of its containers.
    pub fn names(&self) -> Vec<&str> {
        self.containers.iter().map(|container| &*container.name).collect()
    }

    /// Gives the file of a ConfigMap another text, as the kubelet does.
    ///
    /// # Panics
    /// If it is not mounted.
    #[track_caller]
    pub fn swap(&mut self, map: &str, text: &str) {
        self.maps.get_mut(map).expect("a ConfigMap of a volume").swap(text);
    }
}

/// The folders of this machine, where they are in the container, and whether they are only read there.
type Mounts = Vec<(PathBuf, String, bool)>;

#[track_caller]
fn mounts(spec: &Value, volumes: &BTreeMap<String, PathBuf>) -> Mounts {
    let all = spec["volumeMounts"].as_array().into_iter().flatten();
    all.map(|mount| {
        let from = volumes.get(text(&mount["name"])).expect("a mount of a volume").clone();
        let read_only = mount["readOnly"].as_bool().unwrap_or_default();
        (from, text(&mount["mountPath"]).to_owned(), read_only)
    })
    .collect()
}

impl Container {
    #[track_caller]
    fn start(spec: &Value, root: &Path, mounts: &Mounts, image: &Image, place: Place<'_>) -> Self {
        let name = text(&spec["name"]).to_owned();
        let copied = Command::new("cp").arg("-a").arg(image.files.join(".")).arg(root).status();
        assert!(copied.is_ok_and(|status| status.success()), "the files of the image");
        open(root, 0o755);
        let names = place.services.iter().map(|(name, ip)| format!("{ip} {name}\n"));
        fs::write(root.join("etc/hosts"), names.collect::<String>()).expect("written");
        // There is a name server in each cluster, and no name here that it is asked for.
        fs::write(root.join("etc/resolv.conf"), "nameserver 127.0.0.1\n").expect("written");
        let ids = image.user.split_once(':').map(|(user, group)| (user.into(), group.into()));
        let ids: Option<(String, String)> = ids.filter(|_| may_be_anybody());
        let mut command = within(place, &["--pid", "--fork", "--kill-child"]);
        command.args(["sh", "-c", ENTER, "sh"]).arg(root).arg(&image.binary);
        for (from, to, read_only) in mounts {
            command.arg(from).arg(to).arg(read_only.to_string());
        }
        command.arg("--").arg("--root").arg(root).args(["--wd", &image.workdir]);
        if let Some((user, group)) = &ids {
            command.args(["--setgid", group, "--setuid", user]);
        }
        command.arg("--").args(words(spec, image));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        for variable in spec["env"].as_array().into_iter().flatten() {
            command.env(text(&variable["name"]), text(&variable["value"]));
        }
        let process = Process::start(&name, &mut command);
        Self { name, process, spec: spec.clone(), workdir: image.workdir.clone(), ids }
    }

    #[track_caller]
    fn nginx(spec: &Value, folder: &Path, mounts: &Mounts, place: Place<'_>) -> Self {
        let [(from, to, true)] = &mounts[..] else { panic!("nginx serves one folder") };
        fs::write(folder.join("nginx.conf"), nginx_conf(to)).expect("written");
        let mut command = within(place, &[]);
        command.args(["sh", "-c", ENTER_NGINX, "sh"]).arg(from).arg(to);
        command.arg(nginx::command().get_program()).arg(folder);
        let process = Process::start("nginx", &mut command);
        let name = text(&spec["name"]).to_owned();
        Self { name, process, spec: spec.clone(), workdir: "/".to_owned(), ids: None }
    }

    /// What it has written: its log.
    pub fn log(&self) -> &crate::process::Lines {
        self.process.stderr()
    }

    /// Runs its `preStop` hook in it, as the kubelet does before it asks it to stop: whether that went well, and what
    /// it said.
    ///
    /// # Panics
    /// If it has none.
    #[track_caller]
    pub fn pre_stop(&self) -> (bool, String) {
        let hook = &self.spec["lifecycle"]["preStop"]["exec"]["command"];
        let hook = hook.as_array().expect("a preStop hook").iter().map(text);
        let pid = self.pid();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid.to_string(), "--mount", "--pid"]);
        command.arg(format!("--root=/proc/{pid}/root")).arg(format!("--wdns={}", self.workdir));
        if let Some((user, group)) = &self.ids {
            command.args(["--setgid", group, "--setuid", user]);
        }
        let output = command.arg("--").args(hook).output().expect("nsenter runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Asks it to stop.
    ///
    /// # Panics
    /// If it does not run.
    #[track_caller]
    pub fn terminate(&self) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{} has ended", self.name);
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// If it still runs after `timeout`.
    #[track_caller]
    pub fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        self.process.wait(timeout)
    }

    /// The number that its process 1 has outside.
    #[track_caller]
    fn pid(&self) -> u32 {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let children = child_of(self.process.pid());
            // nginx has no namespace of processes.
            match children.or_else(|| (self.name == "nginx").then(|| self.process.pid())) {
                Some(pid) => return pid,
                None => assert!(Instant::now() < deadline, "{} does not run", self.name),
            }
        }
    }
}

/// The command and its arguments: those of the template, else those of the image.
fn words(spec: &Value, image: &Image) -> Vec<String> {
    let list = |name: &str| -> Option<Vec<String>> {
        spec[name].as_array().map(|all| all.iter().map(|word| text(word).to_owned()).collect())
    };
    let (command, args) = (list("command"), list("args"));
    let usual = || if command.is_none() { image.cmd.clone() } else { Vec::new() };
    let args = args.unwrap_or_else(usual);
    [command.unwrap_or_else(|| image.entrypoint.clone()), args].concat()
}

/// A command in the network of `place`, with its own view of the files.
fn within(place: Place<'_>, options: &[&str]) -> Command {
    let mut words = place.host.map(Host::enter).unwrap_or_default();
    words.extend(["unshare", "--mount", "--propagation", "private"].map(Into::into));
    words.extend(options.iter().map(Into::into));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// Whether there are other users than root here: there are none for somebody who plays root.
fn may_be_anybody() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().nth(2).and_then(|count| count.parse().ok()).unwrap_or(0) > 1_u64
}

fn child_of(pid: u32) -> Option<u32> {
    let parent = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok())
    };
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(|child| parent(*child) == Some(pid))
}

fn open(folder: &Path, mode: u32) {
    let mode = fs::Permissions::from_mode(mode);
    fs::set_permissions(folder, mode).expect("a folder of ours");
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
