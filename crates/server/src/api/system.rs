//! What the system says of itself and of this process: `/proc`. Where there is none, every figure is 0.

use std::{fs, time::Instant};

use serde::Serialize;

/// Ticks of `/proc` in a second: `USER_HZ`, which Linux has fixed at this for all programs.
const TICKS: f64 = 100.0;

/// Bytes of a sector in `/proc/diskstats`, whatever the disk has.
const SECTOR_BYTES: u64 = 512;

/// What the system was busy with between two looks.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Of all cores, the part that was busy, 0 to 1.
    pub cpu: f64,
    /// Of one core, the part that this process used; more than 1 on several cores.
    pub own_cpu: f64,
    /// Bytes a second that were read from disks, in KB.
    pub disk_read: u64,
    /// Bytes a second that were written to disks, in KB.
    pub disk_write: u64,
    /// The part of the time in which the busiest disk was busy, 0 to 1.
    pub disk_busy: f64,
    before: Option<Counters>,
}

/// Counters that only grow.
#[derive(Clone, Debug)]
pub struct Counters {
    at: Instant,
    cpu_busy: u64,
    cpu_total: u64,
    own_ticks: u64,
    read_sectors: u64,
    written_sectors: u64,
    busy_millis: u64,
}

impl Load {
    /// Takes in what the counters say now.
    pub fn advance(&mut self, now: Counters) {
        if let Some(before) = &self.before {
            let seconds = now.at.saturating_duration_since(before.at).as_secs_f64().max(0.001);
            let grown = |now: u64, before: u64| now.saturating_sub(before) as f64;
            let total = grown(now.cpu_total, before.cpu_total).max(1.0);
            let kilobytes =
                |sectors: f64| (sectors * SECTOR_BYTES as f64 / 1024.0 / seconds) as u64;
            self.cpu = grown(now.cpu_busy, before.cpu_busy) / total;
            self.own_cpu = grown(now.own_ticks, before.own_ticks) / TICKS / seconds;
            self.disk_read = kilobytes(grown(now.read_sectors, before.read_sectors));
            self.disk_write = kilobytes(grown(now.written_sectors, before.written_sectors));
            self.disk_busy =
                (grown(now.busy_millis, before.busy_millis) / 1000.0 / seconds).min(1.0);
        }
        self.before = Some(now);
    }
}

/// What the counters say now.
pub fn load() -> Counters {
    let stat = read("/proc/stat");
    let cpu = numbers(stat.lines().next().unwrap_or_default());
    // user, nice, system, idle, iowait, irq, softirq, steal: what guests use is in the first two already.
    let cpu = &cpu[..cpu.len().min(8)];
    let cpu_total = cpu.iter().sum();
    let idle = cpu.iter().skip(3).take(2).sum::<u64>();
    let disks = disks(&read("/proc/diskstats"));
    Counters {
        at: Instant::now(),
        cpu_busy: u64::saturating_sub(cpu_total, idle),
        cpu_total,
        own_ticks: own_ticks(&read("/proc/self/stat")),
        read_sectors: disks.iter().map(|disk| disk[0]).sum(),
        written_sectors: disks.iter().map(|disk| disk[1]).sum(),
        busy_millis: disks.iter().map(|disk| disk[2]).max().unwrap_or(0),
    }
}

/// The system, as SRS's `summaries` describes it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[allow(non_snake_case, reason = "SRS's names")]
pub struct System {
    /// The part of all cores' time that is used, 0 to 1 (not a percentage; the name is SRS's).
    pub cpu_percent: f64,
    /// Read from disks, in KiB a second.
    pub disk_read_KBps: u64,
    /// Written to disks, in KiB a second.
    pub disk_write_KBps: u64,
    /// The part of the time for which the busiest disk is busy, 0 to 1.
    pub disk_busy_percent: f64,
    /// Memory of the machine, in KiB.
    pub mem_ram_kbyte: u64,
    /// The part of the memory that is not available to programs, 0 to 1.
    pub mem_ram_percent: f64,
    /// Swap space of the machine, in KiB.
    pub mem_swap_kbyte: u64,
    /// The part of the swap space that is used, 0 to 1.
    pub mem_swap_percent: f64,
    /// CPU cores that this process may use.
    pub cpus: usize,
    /// CPU cores of the machine that are online.
    pub cpus_online: usize,
    /// Seconds since the machine was started.
    pub uptime: f64,
    /// Seconds for which cores have been idle since then, added up over all cores; the spelling is SRS's.
    pub ilde_time: f64,
    /// The system's load average over one minute.
    pub load_1m: f64,
    /// The system's load average over five minutes.
    pub load_5m: f64,
    /// The system's load average over fifteen minutes.
    pub load_15m: f64,
    /// When the network figures (`net_*`) were read, in milliseconds since 1970-01-01 UTC.
    pub net_sample_time: u64,
    /// Bytes received by all network interfaces except the loopback, since they are up.
    pub net_recv_bytes: u64,
    /// Bytes sent by all network interfaces except the loopback, since they are up.
    pub net_send_bytes: u64,
    /// Bytes received by the loopback interface.
    pub net_recvi_bytes: u64,
    /// Bytes sent by the loopback interface.
    pub net_sendi_bytes: u64,
    /// When this server's figures (`srs_*`) were read, in milliseconds since 1970-01-01 UTC.
    pub srs_sample_time: u64,
    /// Bytes received from clients of this server since its start.
    pub srs_recv_bytes: u64,
    /// Bytes sent to viewers of this server since its start.
    pub srs_send_bytes: u64,
    /// TCP sockets in use on the machine, those in TIME_WAIT included.
    pub conn_sys: u64,
    /// TCP sockets in use on the machine, those in TIME_WAIT left out.
    pub conn_sys_et: u64,
    /// TCP sockets in TIME_WAIT on the machine.
    pub conn_sys_tw: u64,
    /// UDP sockets in use on the machine.
    pub conn_sys_udp: u64,
    /// Connections to the RTMP and HTTP ports of this server.
    pub conn_srs: usize,
}

/// Figures of the server for [`System`].
#[derive(Clone, Copy, Debug)]
pub struct Own {
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// Bytes that its clients have sent.
    pub received: u64,
    /// Bytes that its viewers were sent.
    pub sent: u64,
    /// Its clients.
    pub clients: usize,
}

/// What the system says now.
pub fn system(load: &Load, own: Own) -> System {
    let memory = read("/proc/meminfo");
    let memory = |name| labelled(&memory, name);
    let part = |whole: u64, free: u64| match whole {
        0 => 0.0,
        whole => 1.0 - free as f64 / whole as f64,
    };
    let uptime = floats(&read("/proc/uptime"));
    let average = floats(&read("/proc/loadavg"));
    let at = |list: &[f64], n: usize| list.get(n).copied().unwrap_or(0.0);
    let net = network(&read("/proc/net/dev"));
    let sockets = read("/proc/net/sockstat") + &read("/proc/net/sockstat6");
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let online = read("/proc/stat").lines().filter(|line| is_core(line)).count();
    let (ram, swap) = (memory("MemTotal:"), memory("SwapTotal:"));
    let connected = sockets_of(&sockets, "TCP", "inuse");
    let waiting = sockets_of(&sockets, "TCP:", "tw");
    System {
        cpu_percent: load.cpu,
        disk_read_KBps: load.disk_read,
        disk_write_KBps: load.disk_write,
        disk_busy_percent: load.disk_busy,
        mem_ram_kbyte: ram,
        mem_ram_percent: part(ram, memory("MemAvailable:")),
        mem_swap_kbyte: swap,
        mem_swap_percent: part(swap, memory("SwapFree:")),
        cpus,
        cpus_online: online.max(1),
        uptime: at(&uptime, 0),
        ilde_time: at(&uptime, 1),
        load_1m: at(&average, 0),
        load_5m: at(&average, 1),
        load_15m: at(&average, 2),
        net_sample_time: own.now_ms,
        net_recv_bytes: net[0],
        net_send_bytes: net[1],
        net_recvi_bytes: net[2],
        net_sendi_bytes: net[3],
        srs_sample_time: own.now_ms,
        srs_recv_bytes: own.received,
        srs_send_bytes: own.sent,
        conn_sys: connected + waiting,
        conn_sys_et: connected,
        conn_sys_tw: waiting,
        conn_sys_udp: sockets_of(&sockets, "UDP", "inuse"),
        conn_srs: own.clients,
    }
}

/// Memory that this process holds, in KB.
pub fn own_memory() -> u64 {
    labelled(&read("/proc/self/status"), "VmRSS:")
}

/// CPU cores that this process may use.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The process that started this one.
pub fn parent() -> u64 {
    labelled(&read("/proc/self/status"), "PPid:")
}

/// The text of a file of the system; empty if there is none.
pub fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The numbers in `line`.
pub fn numbers(line: &str) -> Vec<u64> {
    line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn floats(text: &str) -> Vec<f64> {
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The number in the line that begins with `label`; 0 without one.
pub fn labelled(text: &str, label: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(label)).unwrap_or_default();
    numbers(line).first().copied().unwrap_or(0)
}

fn is_core(line: &str) -> bool {
    line.strip_prefix("cpu")
        .is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()))
}

/// User and system time. The program's name stands before them in parentheses and may have blanks.
fn own_ticks(stat: &str) -> u64 {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|word| word.parse::<u64>().ok())
        .sum()
}

/// Sectors read and written and busy milliseconds of each whole disk: not of its parts, which are in it.
fn disks(text: &str) -> Vec<[u64; 3]> {
    let mut disks: Vec<(&str, [u64; 3])> = Vec::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let Some(&name) = words.get(2) else { continue };
        let is_part = disks.iter().any(|(disk, _)| name.starts_with(disk) && name != *disk);
        if is_part || name.starts_with("loop") || name.starts_with("ram") || name.starts_with("dm-")
        {
            continue;
        }
        let field = |at: usize| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(0);
        disks.push((name, [field(5), field(9), field(12)]));
    }
    disks.into_iter().map(|(_, figures)| figures).collect()
}

/// Bytes received and sent: by all interfaces but the loopback, and by the loopback.
fn network(text: &str) -> [u64; 4] {
    let mut sum = [0; 4];
    for (name, figures) in text.lines().filter_map(|line| line.split_once(':')) {
        let figures = numbers(figures);
        let at = |n: usize| figures.get(n).copied().unwrap_or(0);
        let offset = if name.trim() == "lo" { 2 } else { 0 };
        sum[offset] += at(0);
        sum[offset + 1] += at(8);
    }
    sum
}

/// The sum of a figure of all lines that begin so, which are those of IPv4 and of IPv6.
fn sockets_of(text: &str, kind: &str, name: &str) -> u64 {
    let lines = text.lines().filter(|line| line.starts_with(kind) && !line.starts_with("UDPLITE"));
    let figure = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip_while(|word| *word != name);
        words.nth(1).and_then(|word| word.parse::<u64>().ok())
    };
    lines.filter_map(figure).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn files_of_the_system_are_read() {
        assert_eq!(own_ticks("7 (a (b) c) S 1 1 1 0 -1 0 0 0 0 0 40 2 0 0"), 42);
        assert_eq!(labelled("MemTotal:  5 kB\nMemFree: 3 kB\n", "MemFree:"), 3);
        let dev = "x |\n    lo: 1 0 0 0 0 0 0 0 2 0\n  eth0: 30 0 0 0 0 0 0 0 40 0\n";
        assert_eq!(network(dev), [30, 40, 1, 2]);
        let sockets = "TCP: inuse 1 orphan 0 tw 5\nTCP6: inuse 2\nUDP: inuse 3\nUDPLITE: inuse 9\n";
        assert_eq!(sockets_of(sockets, "TCP", "inuse"), 3);
        assert_eq!(
            (sockets_of(sockets, "TCP:", "tw"), sockets_of(sockets, "UDP", "inuse")),
            (5, 3)
        );
        let stats = "254 0 vda 9 9 100 9 9 9 50 9 0 700 9\n\
            254 1 vda1 9 9 100 9 9 9 50 9 0 700 9\n7 0 loop0 1 1 1 1 1 1 1 1 1 1";
        assert_eq!(disks(stats), [[100, 50, 700]]);
    }

    #[test]
    fn load_is_what_has_grown() {
        let at = Instant::now();
        let counters = |at, n: u64| Counters {
            at,
            cpu_busy: n * 50,
            cpu_total: n * 200,
            own_ticks: n * 150,
            read_sectors: n * 20,
            written_sectors: n * 4,
            busy_millis: n * 500,
        };
        let mut load = Load::default();
        load.advance(counters(at, 1));
        assert_eq!((load.cpu, load.own_cpu), (0.0, 0.0), "there is nothing to compare with");
        load.advance(counters(at + Duration::from_secs(1), 2));
        assert_eq!(
            (load.cpu, load.own_cpu, load.disk_read, load.disk_write, load.disk_busy),
            (0.25, 1.5, 10, 2, 0.5)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_a_parent() {
        assert!(own_memory() > 100 && parent() > 0);
        let own = Own { now_ms: 1, received: 2, sent: 3, clients: 4 };
        let system = system(&Load::default(), own);
        assert!(system.mem_ram_kbyte > 0 && system.uptime > 0.0, "{system:?}");
    }
}
