//! What SRS answers of the system and of its process beside `summaries`: what `/proc` says, in SRS's names.

use std::{fs, time::SystemTime};

use axum::{Json, extract::State};
use serde::Serialize;

#[cfg(test)]
use super::answer::ReadFailures;
use super::{
    answer::Answer,
    clock::millis,
    state::Api,
    system::{labelled, numbers, read},
};

/// An answer whose content is in `data`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Data<T> {
    data: T,
}

impl<T> Data<T> {
    /// This content.
    pub const fn new(data: T) -> Self {
        Self { data }
    }
}

/// Declares what a call answers: figures beside `ok` and the time at which they were read.
macro_rules! figures {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default, PartialEq, Serialize)]
        #[cfg_attr(test, derive(utoipa::ToSchema))]
        #[allow(non_snake_case, reason = "SRS's names")]
        pub struct $name {
            /// Whether the system says anything.
            ok: bool,
            /// When it was asked, in milliseconds since 1970-01-01 UTC.
            sample_time: u64,
            $($field: $type,)*
        }
    };
}

figures! {
    /// What this process has used since its start, as in getrusage(2). What Linux does not count is 0.
    Rusage {
        ru_utime: u64, ru_stime: u64, ru_maxrss: u64, ru_ixrss: u64, ru_idrss: u64, ru_isrss: u64, ru_minflt: u64,
        ru_majflt: u64, ru_nswap: u64, ru_inblock: u64, ru_oublock: u64, ru_msgsnd: u64, ru_msgrcv: u64,
        ru_nsignals: u64, ru_nvcsw: u64, ru_nivcsw: u64,
    }
}

figures! {
    /// This process, as in `/proc/self/stat`. Addresses within it are 0: they are nobody's business.
    SelfProcStat {
        percent: f64, pid: i64, comm: String, state: String, ppid: i64, pgrp: i64, session: i64, tty_nr: i64,
        tpgid: i64, flags: i64, minflt: i64, cminflt: i64, majflt: i64, cmajflt: i64, utime: i64, stime: i64,
        cutime: i64, cstime: i64, priority: i64, nice: i64, num_threads: i64, itrealvalue: i64, starttime: i64,
        vsize: i64, rss: i64, rsslim: i64, startcode: i64, endcode: i64, startstack: i64, kstkesp: i64, kstkeip: i64,
        signal: i64, blocked: i64, sigignore: i64, sigcatch: i64, wchan: i64, nswap: i64, cnswap: i64,
        exit_signal: i64, processor: i64, rt_priority: i64, policy: i64, delayacct_blkio_ticks: i64, guest_time: i64,
        cguest_time: i64,
    }
}

figures! {
    /// The processors of the system together, as in `/proc/stat`: hundredths of seconds since its start.
    SystemProcStat {
        percent: f64, user: u64, nice: u64, sys: u64, idle: u64, iowait: u64, irq: u64, softirq: u64, steal: u64,
        guest: u64,
    }
}

figures! {
    /// The memory of the system, in KiB, and the parts of it that are used, 0 to 1.
    MemInfo {
        percent_ram: f64, percent_swap: f64, MemActive: u64, RealInUse: u64, NotInUse: u64, MemTotal: u64,
        MemFree: u64, Buffers: u64, Cached: u64, SwapTotal: u64, SwapFree: u64,
    }
}

fn now() -> u64 {
    millis(SystemTime::now())
}

/// What this process has used, as in getrusage(2).
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/rusages", tag = "server",
    responses((status = 200, body = inline(Answer<Data<Rusage>>)), ReadFailures)))]
pub async fn rusages(State(api): State<Api>) -> Json<Answer<Data<Rusage>>> {
    let stat = self_stat(&read("/proc/self/stat"), 0.0);
    let (status, io) = (read("/proc/self/status"), read("/proc/self/io"));
    // Blocks of 512 bytes, and ticks of hundredths of seconds.
    let blocks = |name| labelled(&io, name) / 512;
    let seconds = |ticks: i64| ticks.unsigned_abs() / 100;
    let switches = switches();
    let data = Rusage {
        ok: stat.ok,
        sample_time: now(),
        ru_utime: seconds(stat.utime),
        ru_stime: seconds(stat.stime),
        ru_maxrss: labelled(&status, "VmHWM:"),
        ru_minflt: stat.minflt.unsigned_abs(),
        ru_majflt: stat.majflt.unsigned_abs(),
        ru_inblock: blocks("read_bytes:"),
        ru_oublock: blocks("write_bytes:"),
        ru_nvcsw: switches[0],
        ru_nivcsw: switches[1],
        ..Rusage::default()
    };
    api.identity.answer(Data { data })
}

/// How often the threads of this process gave up their processor, and how often it was taken from them.
fn switches() -> [u64; 2] {
    let mut sum = [0; 2];
    for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        sum[0] += labelled(&status, "voluntary_ctxt_switches:");
        sum[1] += labelled(&status, "nonvoluntary_ctxt_switches:");
    }
    sum
}

/// This process, as in `/proc/self/stat`.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/self_proc_stats", tag = "server",
    responses((status = 200, body = inline(Answer<Data<SelfProcStat>>)), ReadFailures)))]
pub async fn self_proc_stats(State(api): State<Api>) -> Json<Answer<Data<SelfProcStat>>> {
    let percent = api.samples.load().own_cpu;
    api.identity.answer(Data { data: self_stat(&read("/proc/self/stat"), percent) })
}

/// The name of the program stands in parentheses and may have anything in it.
fn self_stat(stat: &str, percent: f64) -> SelfProcStat {
    let Some((before, rest)) = stat.rsplit_once(')') else { return SelfProcStat::default() };
    let (pid, comm) = before.split_once('(').unwrap_or_default();
    let mut words = rest.split_ascii_whitespace();
    let state = words.next().unwrap_or_default().to_owned();
    // Some are without sign and as large as they can be, which SRS has as -1.
    let mut next = || {
        let word = words.next().unwrap_or_default();
        let unsigned = || word.parse::<u64>().map(u64::cast_signed);
        word.parse().or_else(|_| unsigned()).unwrap_or(0)
    };
    let mut stat = SelfProcStat {
        ok: true,
        sample_time: now(),
        percent,
        pid: pid.trim().parse().unwrap_or(0),
        comm: comm.to_owned(),
        state,
        ..SelfProcStat::default()
    };
    let s = &mut stat;
    for field in [
        &mut s.ppid,
        &mut s.pgrp,
        &mut s.session,
        &mut s.tty_nr,
        &mut s.tpgid,
        &mut s.flags,
        &mut s.minflt,
        &mut s.cminflt,
        &mut s.majflt,
        &mut s.cmajflt,
        &mut s.utime,
        &mut s.stime,
        &mut s.cutime,
        &mut s.cstime,
        &mut s.priority,
        &mut s.nice,
        &mut s.num_threads,
        &mut s.itrealvalue,
        &mut s.starttime,
        &mut s.vsize,
        &mut s.rss,
        &mut s.rsslim,
        &mut s.startcode,
        &mut s.endcode,
        &mut s.startstack,
        &mut s.kstkesp,
        &mut s.kstkeip,
        &mut s.signal,
        &mut s.blocked,
        &mut s.sigignore,
        &mut s.sigcatch,
        &mut s.wchan,
        &mut s.nswap,
        &mut s.cnswap,
        &mut s.exit_signal,
        &mut s.processor,
        &mut s.rt_priority,
        &mut s.policy,
        &mut s.delayacct_blkio_ticks,
        &mut s.guest_time,
        &mut s.cguest_time,
    ] {
        *field = next();
    }
    for address in
        [&mut s.startcode, &mut s.endcode, &mut s.startstack, &mut s.kstkesp, &mut s.kstkeip]
    {
        *address = 0;
    }
    s.wchan = 0;
    stat
}

/// The processors of the system together, as in `/proc/stat`.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/system_proc_stats", tag = "server",
    responses((status = 200, body = inline(Answer<Data<SystemProcStat>>)), ReadFailures)))]
pub async fn system_proc_stats(State(api): State<Api>) -> Json<Answer<Data<SystemProcStat>>> {
    let stat = read("/proc/stat");
    let ticks = numbers(stat.lines().next().unwrap_or_default());
    let at = |n: usize| ticks.get(n).copied().unwrap_or(0);
    let data = SystemProcStat {
        ok: !ticks.is_empty(),
        sample_time: now(),
        percent: api.samples.load().cpu,
        user: at(0),
        nice: at(1),
        sys: at(2),
        idle: at(3),
        iowait: at(4),
        irq: at(5),
        softirq: at(6),
        steal: at(7),
        guest: at(8),
    };
    api.identity.answer(Data { data })
}

/// The memory of the system, as in `/proc/meminfo`.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/meminfos", tag = "server",
    responses((status = 200, body = inline(Answer<Data<MemInfo>>)), ReadFailures)))]
pub async fn meminfos(State(api): State<Api>) -> Json<Answer<Data<MemInfo>>> {
    api.identity.answer(Data { data: memory(&read("/proc/meminfo")) })
}

fn memory(text: &str) -> MemInfo {
    let of = |name| labelled(text, name);
    let (total, free) = (of("MemTotal:"), of("MemFree:"));
    let (buffers, cached) = (of("Buffers:"), of("Cached:"));
    let (swap, swap_free) = (of("SwapTotal:"), of("SwapFree:"));
    let active = total.saturating_sub(free);
    let in_use = active.saturating_sub(buffers + cached);
    let part = |some: u64, all: u64| some as f64 / all.max(1) as f64;
    MemInfo {
        ok: total > 0,
        sample_time: now(),
        percent_ram: part(in_use, total),
        percent_swap: part(swap.saturating_sub(swap_free), swap),
        MemActive: active,
        RealInUse: in_use,
        NotInUse: total.saturating_sub(in_use),
        MemTotal: total,
        MemFree: free,
        Buffers: buffers,
        Cached: cached,
        SwapTotal: swap,
        SwapFree: swap_free,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_described_without_its_addresses() {
        let numbers: Vec<_> = (4..=52).map(|number| number.to_string()).collect();
        let mut numbers = numbers.join(" ");
        numbers = numbers.replace(" 25 ", " 18446744073709551615 ");
        let stat = self_stat(&format!("7 (a (b) c) S {numbers}\n"), 0.5);
        assert_eq!((stat.pid, &*stat.comm, &*stat.state, stat.ppid), (7, "a (b) c", "S", 4));
        assert_eq!((stat.utime, stat.stime, stat.rss, stat.rsslim), (14, 15, 24, -1));
        assert_eq!((stat.startcode, stat.kstkeip, stat.signal, stat.wchan), (0, 0, 31, 0));
        assert_eq!((stat.exit_signal, stat.cguest_time, stat.percent), (38, 44, 0.5));
        assert_eq!(self_stat("", 0.5), SelfProcStat::default());
    }

    #[test]
    fn memory_is_counted_as_in_srs() {
        let text = "MemTotal: 100 kB\nMemFree: 40 kB\nMemAvailable: 70 kB\nBuffers: 5 kB\nCached: 15 kB\n\
            SwapCached: 9 kB\nSwapTotal: 10 kB\nSwapFree: 5 kB\n";
        let memory = memory(text);
        assert_eq!((memory.MemActive, memory.RealInUse, memory.NotInUse), (60, 40, 60));
        assert_eq!((memory.percent_ram, memory.percent_swap), (0.4, 0.5));
        assert!(memory.ok && !super::memory("").ok);
    }
}
