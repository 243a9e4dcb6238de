//! CPU time and memory of other processes, from the scheduler's own books.

use std::fs;

/// CPU time spent so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// By all threads of the watched processes, in nanoseconds.
    pub process_nanos: u64,
    /// By the kernel's softirq threads, which do part of the network's work in nobody's name, in nanoseconds.
    pub softirq_nanos: u64,
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
        Reading {
            process_nanos: self.pids.iter().map(|pid| process_nanos(*pid)).sum(),
            softirq_nanos: self.softirq_pids.iter().map(|pid| process_nanos(*pid)).sum(),
        }
    }

    /// Resident memory now, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.pids.iter().map(|pid| rss_kib(*pid)).sum()
    }
}

fn process_nanos(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|schedstat| schedstat.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
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
        assert!(watch.read().process_nanos > before.process_nanos, "{sum}");
        assert!(watch.rss_kib() > 0);
    }
}
