//! Whom a command trusts, by what stands on its line.

use std::{fmt::Display, io, path::Path};

use rustls::pki_types::CertificateDer;
use weir_config::{Pin, file};
use weir_tls::{
    client::{Named, Trust, Whom},
    pem::{self, FILE_BYTES_MAX},
};

use crate::tls::OWN;

/// What the options are called.
const NAMED: Named = Named { ca: "--ca", pin: "--pin" };

/// Trust in servers with a certificate for their name that an authority in the file at `ca` has signed, and with one of
/// the `pins`; without either, in those that the system trusts.
///
/// # Errors
/// When the file cannot be read, or has no certificate, or there is nobody to trust.
pub fn in_servers(ca: Option<&Path>, pins: &[Pin]) -> io::Result<Trust> {
    let authorities = ca.map(|ca| certificates("--ca", ca)).transpose()?;
    let whom = Whom { authorities, pins: pins.iter().map(|pin| pin.0).collect() };
    Trust::new(whom, NAMED).map_err(|why| match ca {
        Some(ca) => wrong("--ca", ca, &why),
        None => io::Error::other(format!("{why}; name some with --ca")),
    })
}

/// Trust in the one node whose certificate is in the file at `cert`.
///
/// # Errors
/// When the file cannot be read, or has none.
pub fn in_certificate(cert: &Path) -> io::Result<Trust> {
    let own = certificates(OWN.ca, cert)?.swap_remove(0);
    Trust::in_certificate(&own, OWN).map_err(|why| wrong(OWN.ca, cert, &why))
}

fn certificates(what: &str, path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let file = file::read(path, FILE_BYTES_MAX).map_err(|why| wrong(what, path, &why))?;
    pem::certificates(&file).map_err(|why| wrong(what, path, &why))
}

fn wrong(what: &str, path: &Path, why: &dyn Display) -> io::Error {
    io::Error::other(format!("{what} {}: {why}", path.display()))
}
