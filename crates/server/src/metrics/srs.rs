//! The series of SRS's exporter, so that dashboards that were made for SRS go on working.

use std::fmt;

use weir_clients::{SERVER, counts::COUNTS};
use weir_config::Metrics;
use weir_hooks::Names;

use super::{page::Page, process::System};
use weir_clients::end::{Kind, Side};

/// What SRS's names stand for.
pub struct Figures<'a> {
    /// Who answers, as in the API.
    pub names: &'a Names,
    /// What the operator calls this server: its labels `label` and `tag`.
    pub config: &'a Metrics,
    /// Processors used.
    pub cpus: f64,
    /// Memory held.
    pub resident_bytes: u64,
    /// Bytes sent to viewers.
    pub sent: u64,
    /// Bytes published.
    pub received: u64,
    /// Streams that are being published.
    pub streams: usize,
    /// Clients that are connected.
    pub clients: usize,
}

/// Writes them.
pub fn write(page: &mut Page<'_>, figures: &Figures<'_>) -> fmt::Result {
    let system = System::read();
    let uname = vec![
        ("sysname", &*system.name),
        ("nodename", &*system.host),
        ("release", &*system.release),
        ("version", &*system.version),
        ("machine", std::env::consts::ARCH),
    ];
    page.gauges("srs_node_uname_info", "The system, as in uname.", [(uname, 1.0)])?;
    let pid = std::process::id().to_string();
    let mut build = vec![
        ("server", &*figures.names.server),
        ("service", &*figures.names.service),
        ("pid", &*pid),
        ("build_date", ""),
        ("major", env!("CARGO_PKG_VERSION_MAJOR")),
        ("version", env!("CARGO_PKG_VERSION")),
        ("code", SERVER),
    ];
    // As in SRS: who gives none has none.
    let own = [("label", &*figures.config.label), ("tag", &*figures.config.tag)];
    build.extend(own.into_iter().filter(|(_, value)| !value.is_empty()));
    page.gauges("srs_build_info", "Build information with the labels of SRS.", [(build, 1.0)])?;
    page.gauge("srs_cpu_percent", "CPU usage, in percent of one CPU.", figures.cpus * 100.0)?;
    let kibibytes = (figures.resident_bytes / 1024) as f64;
    page.gauge("srs_memory", "Resident memory of the process in KiB.", kibibytes)?;
    page.counter("srs_send_bytes", "Bytes sent to viewers.", figures.sent as f64)?;
    page.counter("srs_receive_bytes", "Bytes published.", figures.received as f64)?;
    page.gauge("srs_streams", "Streams that are being published.", figures.streams as f64)?;
    page.gauge("srs_clients", "Clients that are connected.", figures.clients as f64)?;
    page.counter_beside_gauge(
        "srs_clients_total",
        "Clients that have connected.",
        COUNTS.clients.get() as f64,
    )?;
    let is_error =
        |kind: Kind| kind == Kind::Protocol || kind == Kind::Stalled || kind.side() == Side::Us;
    let errors = COUNTS.all_ended().filter(|(_, kind, _)| is_error(*kind));
    let errors: u64 = errors.map(|(.., count)| count).sum();
    page.counter("srs_clients_errs", "Sessions that ended with an error.", errors as f64)
}
