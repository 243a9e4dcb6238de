//! Hosts in network namespaces, for links that are cut and hosts that say nothing.
//!
//! A namespace here is held by a process, not by a name: it goes with its process, however the test ends, and it cannot
//! collide with anything on the machine.

use std::{
    env,
    ffi::OsString,
    net::Ipv4Addr,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Set for the test that runs in a network of its own.
const INSIDE: &str = "WEIR_TEST_NETWORK";

/// With this in the environment, machines without network namespaces pass the tests that need them.
const SKIP: &str = "WEIR_SKIP_NETNS";

/// Until a process has made its namespace.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The link layer address of nobody.
const NOBODY: &str = "02:00:00:00:00:99";

/// Whether the test `name`, such as `module::test`, is in a network of its own and is to go on. If it is not, it is run
/// there, in another process, with this result; then the caller has nothing left to do.
///
/// # Panics
/// If the test fails there, or if this machine lets nobody make network namespaces and `WEIR_SKIP_NETNS` is not set.
pub fn alone(name: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        run("ip", &["link", "set", "lo", "up"]);
        return true;
    }
    let Some(options) = unshare_options() else {
        let needed = "this test needs network namespaces: unshare, nsenter and ip, and the right to use them";
        assert!(env::var_os(SKIP).is_some(), "{needed}; with {SKIP}=1 it is left out");
        eprintln!("NOT RUN: {name}: {needed}");
        return false;
    };
    let test = env::current_exe().expect("a test knows its program");
    let output = Command::new("unshare")
        .args(options)
        .arg(test)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("unshare: {error}"));
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{name} failed in its own network, or is not the name of this test:\n{said}{errors}"
    );
    false
}

/// How this machine lets us have a network of our own: as root, or as nobody who plays root.
fn unshare_options() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    ways.into_iter().find(|way| {
        let tried =
            Command::new("unshare").args(*way).args(["ip", "link", "set", "lo", "up"]).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

/// A host with an address of its own, at the other end of a cable from the test. Dropping it removes it.
#[derive(Debug)]
pub struct Host {
    /// Waits for its input to end, which it does with the test at the latest.
    holder: Child,
    number: u8,
}

impl Host {
    /// Host `number` of the test's network, which the test must be in [`alone`].
    ///
    /// # Panics
    /// If the system does not let us.
    pub fn new(number: u8) -> Self {
        assert!(env::var_os(INSIDE).is_some(), "hosts belong into the test's own network");
        let piped =
            |command: &mut Command| command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let holder = piped(Command::new("unshare").args(["--net", "cat"]));
        let host =
            Self { holder: holder.unwrap_or_else(|error| panic!("unshare: {error}")), number };
        host.wait_namespace();
        let (pid, link) = (host.holder.id().to_string(), host.link());
        run("ip", &["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &pid]);
        run("ip", &["addr", "add", &format!("{}/24", host.our_ip()), "dev", &link]);
        run("ip", &["link", "set", &link, "up"]);
        host.run(&["ip", "addr", "add", &format!("{}/24", host.ip()), "dev", "eth0"]);
        for device in ["lo", "eth0"] {
            host.run(&["ip", "link", "set", device, "up"]);
        }
        host.wait_link();
        host
    }

    /// Its address.
    pub fn ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 66, self.number, 2)
    }

    /// An address beside it that nobody has, and that does not even say so.
    pub fn silent_ip(&self) -> Ipv4Addr {
        let ip = Ipv4Addr::new(10, 66, self.number, 9);
        self.lead_nowhere(ip);
        ip
    }

    /// Pulls its cable out: nothing comes or goes, and nobody is told.
    pub fn cut(&self) {
        self.run(&["ip", "link", "set", "eth0", "down"]);
    }

    /// Puts its cable in again.
    pub fn mend(&self) {
        self.run(&["ip", "link", "set", "eth0", "up"]);
        self.wait_link();
    }

    /// What we send to it from now on goes nowhere, as through a firewall that drops. What it sends still comes.
    pub fn blackhole(&self) {
        self.lead_nowhere(self.ip());
    }

    /// It is reached again.
    pub fn reach(&self) {
        run("ip", &["neigh", "del", &self.ip().to_string(), "dev", &self.link()]);
    }

    /// The words before a command that run it on this host, with the process id that it would have without.
    pub(crate) fn enter(&self) -> Vec<OsString> {
        let net = format!("--net=/proc/{}/ns/net", self.holder.id());
        ["nsenter".to_owned(), net, "--".to_owned()].map(OsString::from).into()
    }

    fn lead_nowhere(&self, ip: Ipv4Addr) {
        let (ip, link) = (ip.to_string(), self.link());
        run("ip", &["neigh", "replace", &ip, "lladdr", NOBODY, "dev", &link, "nud", "permanent"]);
    }

    /// Until both ends of its cable carry. The kernel notices up to a second after they were set up, and forgets what
    /// is sent until then.
    fn wait_link(&self) {
        let enter: Vec<_> = self.enter().into_iter().chain(["ip".into()]).collect();
        for (words, device) in [(vec!["ip".into()], self.link()), (enter, "eth0".to_owned())] {
            let deadline = Instant::now() + START_TIMEOUT;
            let carries = || {
                let mut command = Command::new(&words[0]);
                let shown = command.args(&words[1..]).args(["link", "show", "dev", &device]);
                let output = shown.output().unwrap_or_else(|error| panic!("ip: {error}"));
                String::from_utf8_lossy(&output.stdout).contains("state UP")
            };
            while !carries() {
                assert!(Instant::now() < deadline, "the cable of {device} carries nothing");
            }
        }
    }

    fn run(&self, command: &[&str]) {
        let net = format!("--net=/proc/{}/ns/net", self.holder.id());
        run("nsenter", &[&[&net, "--"], command].concat());
    }

    fn link(&self) -> String {
        format!("host{}", self.number)
    }

    /// The address that it sees the test under.
    pub fn our_ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 66, self.number, 1)
    }

    /// Until its process has left our namespace; a link would be made in ours.
    fn wait_namespace(&self) {
        let net = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let deadline = Instant::now() + START_TIMEOUT;
        while net(&self.holder.id().to_string()) == net("self") {
            assert!(Instant::now() < deadline, "unshare makes no namespace");
            std::thread::yield_now();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The kernel removes the namespace, and with it both ends of the link, with its last process.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[track_caller]
fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output();
    let Output { status, stderr, .. } = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{program} {}: {stderr}", words.join(" "));
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::*;
    use crate::process::Process;

    /// Long enough for an answer over a cable without length; connections into nowhere take longer.
    const ANSWER: Duration = Duration::from_millis(500);

    #[test]
    fn hosts_are_reached_cut_off_and_reached_again() {
        if !alone("netns::tests::hosts_are_reached_cut_off_and_reached_again") {
            return;
        }
        let (host, other) = (Host::new(1), Host::new(2));
        // Nobody listens there, and only a host that is reached says so.
        let reached = |ip: Ipv4Addr| {
            let address = SocketAddr::from((ip, 9));
            let error = TcpStream::connect_timeout(&address, ANSWER).expect_err("nobody listens");
            error.kind() == std::io::ErrorKind::ConnectionRefused
        };
        assert!(reached(host.ip()) && reached(other.ip()));
        assert!(!reached(host.silent_ip()));
        host.cut();
        assert!(!reached(host.ip()) && reached(other.ip()));
        host.mend();
        assert!(reached(host.ip()));
        host.blackhole();
        assert!(!reached(host.ip()));
        host.reach();
        while !reached(host.ip()) {}

        let mut words = host.enter().into_iter();
        let mut command = Command::new(words.next().unwrap());
        let mut process = Process::start("ip", command.args(words).args(["ip", "addr"]));
        process.wait_success(START_TIMEOUT);
        assert!(process.stdout().to_string().contains(&host.ip().to_string()));
        assert!(TcpListener::bind((host.ip(), 0)).is_err(), "its address is not ours");
    }
}
