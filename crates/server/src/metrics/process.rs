//! What the system says of this process, from `/proc`. Elsewhere than on Linux there is nothing to read.

use std::{fs, time::Duration};

/// Clock ticks a second in `/proc/PID/stat`: `USER_HZ`, the same on all of Linux's common architectures.
const TICKS_A_SECOND: f64 = 100.0;

/// Figures of this process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// Processor time used, in seconds.
    pub cpu_seconds: f64,
    /// Memory that it holds.
    pub resident_bytes: u64,
    /// Address space.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many may be.
    pub max_fds: u64,
}

/// What the system says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// `Linux`.
    pub name: String,
    /// Of the host.
    pub host: String,
    /// Of the kernel.
    pub release: String,
    /// The kernel's build.
    pub version: String,
}

impl Process {
    /// As it is now. Blocks for as long as the kernel counts.
    pub fn read() -> Option<Self> {
        let mut process = Self::of_stat(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        process.resident_bytes = kibibytes(&status, "VmRSS:")?;
        process.virtual_bytes = kibibytes(&status, "VmSize:")?;
        process.open_fds = open_fds()?;
        process.max_fds = max_fds(&fs::read_to_string("/proc/self/limits").ok()?)?;
        Some(process)
    }

    /// Fields of `/proc/PID/stat`, of which the second one may hold spaces and parentheses.
    fn of_stat(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Counted as in proc(5), where the state, the first one here, is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = field(14)? + field(15)?;
        Some(Self {
            cpu_seconds: ticks as f64 / TICKS_A_SECOND,
            threads: field(20)?,
            ..Self::default()
        })
    }
}

/// Processor time that this process has used.
pub fn cpu_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    Some(Duration::from_secs_f64(Process::of_stat(&stat)?.cpu_seconds))
}

impl System {
    /// As the kernel says.
    pub fn read() -> Self {
        let word = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
            text.trim().to_owned()
        };
        Self {
            name: word("ostype"),
            host: word("hostname"),
            release: word("osrelease"),
            version: word("version"),
        }
    }
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(number * 1024)
}

/// Kernels since 6.2 say the number as the folder's size. With the others it is counted: a process with tens of
/// thousands of viewers takes milliseconds for that.
fn open_fds() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok(),
        known => Some(known),
    }
}

fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_move_the_fields() {
        let stat = "7 (we) ir) S 1 7 7 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 9 0 100 1000 20 0";
        let process = Process::of_stat(stat).unwrap();
        assert_eq!((process.cpu_seconds, process.threads), (3.0, 9));
        assert_eq!(Process::of_stat("7 (weir) S 1"), None);
    }

    #[test]
    fn limits_and_sizes_are_read() {
        assert_eq!(
            max_fds("Max open files            1024                 4096   files\n"),
            Some(1024)
        );
        assert_eq!(kibibytes("VmPeak:\t 9 kB\nVmRSS:\t  512 kB\n", "VmRSS:"), Some(512 * 1024));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_figures() {
        let process = Process::read().unwrap();
        assert!(process.resident_bytes > 0 && process.threads > 0, "{process:?}");
        assert!(process.open_fds > 2 && process.max_fds >= process.open_fds, "{process:?}");
        assert_eq!(System::read().name, "Linux");
    }
}
