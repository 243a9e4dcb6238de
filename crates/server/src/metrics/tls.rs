//! Series of TLS: handshakes, and the certificates in force.

use std::fmt;

use weir_clients::counts::COUNTS;

use super::page::Page;
use crate::tls::Tls;

/// Certificates that have a series of their own. More are a mistake, and must not fill whoever collects.
const CERTIFICATES_MAX: usize = 64;

/// Writes them all. Without TLS there are no certificates, and nothing is said of handshakes.
pub fn write(page: &mut Page<'_>, tls: &Tls) -> fmt::Result {
    let files = tls.files();
    if files.is_empty() {
        return Ok(());
    }
    let certificates = tls.certificates();
    let named: Vec<_> = certificates
        .iter()
        .take(CERTIFICATES_MAX)
        .map(|it| (it.section, it.path.display().to_string(), it.facts.not_after as f64))
        .collect();
    page.gauges(
        "weir_tls_certificate_expires_timestamp_seconds",
        "When each certificate in force ends.",
        named.iter().map(|(section, file, ends)| {
            (vec![("section", *section), ("file", file.as_str())], *ends)
        }),
    )?;
    page.gauges(
        "weir_tls_files_current",
        "Whether the files of a section could be loaded when last looked at; if 0, earlier ones are in force.",
        files.iter().map(|(section, is_current)| {
            (vec![("section", *section)], f64::from(u8::from(*is_current)))
        }),
    )?;
    page.gauge(
        "weir_tls_handshakes_under_way",
        "TLS handshakes that are under way.",
        tls.handshakes().under_way() as f64,
    )?;
    page.counter(
        "weir_tls_handshakes",
        "TLS handshakes of clients that were completed, except at the API.",
        COUNTS.tls_handshakes.get() as f64,
    )?;
    page.counters(
        "weir_tls_handshakes_failed",
        "TLS handshakes of clients that failed, except at the API.",
        COUNTS.all_tls_failed().map(|(reason, count)| (vec![("reason", reason)], count as f64)),
    )
}
