//! CPU time and memory of other processes, from the scheduler's own books.

use std::{fs, path::Path, time::Duration};

/// How the names of Weir's threads begin that send to viewers.
const SHARD: &str = "weir-shard-";

/// CPU time spent so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// By all threads of the watched processes, in nanoseconds.
    pub process_nanos: u64,
    /// Of that, by those that send to viewers, where the process is Weir.
    pub shard_nanos: u64,
    /// By the kernel's softirq threads, which do part of the network's work in nobody's name, in nanoseconds.
    pub softirq_nanos: u64,
}

impl Reading {
    /// What has been spent since `before`.
    pub fn since(self, before: Self) -> Spent {
        let seconds =
            |now: u64, before: u64| Duration::from_nanos(now.saturating_sub(before)).as_secs_f64();
        Spent {
            process: seconds(self.process_nanos, before.process_nanos),
            shards: seconds(self.shard_nanos, before.shard_nanos),
            softirq: seconds(self.softirq_nanos, before.softirq_nanos),
        }
    }
}

/// CPU seconds between two readings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Of the watched processes.
    pub process: f64,
    /// Of that, of the threads that send to viewers.
    pub shards: f64,
    /// Of the kernel's softirq threads.
    pub softirq: f64,
}

/// What is watched.
#[derive(Clone, Debug)]
pub struct Watch {
    pids: Vec<u32>,
    softirq_pids: Vec<u32>,
}

impl Watch {
    /// Watches `pids` and the kernel's softirq threads.
    pub fn new(pids: &[u32]) -> Self {
        Self { pids: pids.to_vec(), softirq_pids: softirq_threads() }
    }

    /// Whether any process is watched.
    pub fn is_any(&self) -> bool {
        !self.pids.is_empty()
    }

    /// CPU time until now. A process that has gone counts as zero.
    pub fn read(&self) -> Reading {
        let nanos = |pids: &[u32], is_meant: fn(&Path) -> bool| {
            pids.iter().map(|pid| nanos(*pid, is_meant)).sum()
        };
        Reading {
            process_nanos: nanos(&self.pids, |_| true),
            shard_nanos: nanos(&self.pids, is_shard),
            softirq_nanos: nanos(&self.softirq_pids, |_| true),
        }
    }

    /// Resident memory now, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.pids.iter().map(|pid| rss_kib(*pid)).sum()
    }
}

/// CPU time of those threads of a process that are meant.
fn nanos(pid: u32, is_meant: fn(&Path) -> bool) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    tasks
        .flatten()
        .filter(|task| is_meant(&task.path()))
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|schedstat| schedstat.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

fn is_shard(task: &Path) -> bool {
    fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with(SHARD))
}

fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or_default()
}

fn softirq_threads() -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.starts_with("ksoftirqd/")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let watch = Watch::new(&[std::process::id()]);
        let before = watch.read();
        let mut sum = 0u64;
        for n in 0..5_000_000u64 {
            sum = std::hint::black_box(sum.wrapping_add(n));
        }
        let spent = watch.read().since(before);
        assert!(spent.process > 0.0 && spent.shards.abs() < f64::EPSILON, "{sum}: {spent:?}");
        assert!(watch.rss_kib() > 0);
    }

    #[test]
    fn threads_that_send_to_viewers_are_told_by_their_names() {
        let watch = Watch::new(&[std::process::id()]);
        let shard = std::thread::Builder::new().name(format!("{SHARD}0"));
        let work = move || {
            let (before, mut sum) = (watch.read(), 0u64);
            for n in 0..5_000_000u64 {
                sum = std::hint::black_box(sum.wrapping_add(n));
            }
            (sum, watch.read().since(before))
        };
        let (sum, spent) = shard.spawn(work).unwrap().join().unwrap();
        assert!(spent.shards > 0.0 && spent.shards <= spent.process, "{sum}: {spent:?}");
    }
}
