//! TLS to origins: whom to trust, as `edge.tls` says.

use weir_clients::counts::COUNTS;
use weir_config::{Edge, Fault};
use weir_tls::client::Named;
use weir_upstream::{PeerTls, Peers, Trusted};

/// Origins, as servers that are connected to.
static ORIGINS: Peers = Peers {
    named: Named { ca: "edge.tls.ca", pin: "edge.tls.pin" },
    called: "origins",
    failed: |reason| COUNTS.origin_tls_failed(reason),
};

/// Nobody is trusted yet.
pub const fn origin_tls() -> PeerTls {
    PeerTls::new(&ORIGINS)
}

/// Reads what `settings` name, to put it in force later; none if they need no TLS.
///
/// # Errors
/// When the file cannot be read, or is not what it should be, or there is nobody to trust.
pub fn read(settings: &Edge) -> Result<Option<Trusted>, Fault> {
    if !settings.has_tls() {
        return Ok(None);
    }
    let pins = settings.tls.pin.iter().map(|pin| pin.0).collect();
    Trusted::read(settings.tls.ca.as_deref(), pins, &ORIGINS).map(Some)
}

#[cfg(test)]
mod tests;
