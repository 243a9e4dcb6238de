//! The TLS of ports for encoders and viewers.

use std::{fmt::Display, path::Path};

use weir_config::{Fault, PortTls, TlsVersion, file};
use weir_tls::{
    pem::{self, FILE_BYTES_MAX},
    server::{self, Identity, MinVersion},
};

use super::certificate::{Certificate, Made};

/// What was made from one state of the files and keys. Two from the same are equal.
#[derive(Debug)]
pub struct Ported {
    /// What it was made from.
    files: Vec<Vec<u8>>,
    min_version: TlsVersion,
    http2: bool,
    config: Made,
    certificates: Vec<Certificate>,
}

impl PartialEq for Ported {
    fn eq(&self, other: &Self) -> bool {
        let keys = |it: &Self| (it.min_version, it.http2);
        let same = self.files == other.files && self.certificates == other.certificates;
        keys(self) == keys(other) && same
    }
}

impl Ported {
    /// Reads the files of `port`.
    ///
    /// # Errors
    /// When one cannot be read, or is not what it should be.
    pub fn read(port: &PortTls<'_>) -> Result<Self, Fault> {
        let section = port.section;
        let (mut files, mut identities, mut certificates) = (Vec::new(), Vec::new(), Vec::new());
        for (number, own) in port.certificates.iter().enumerate() {
            let at = |key: &str| format!("{section}.certificates[{number}].{key}");
            let cert = read(&at("cert"), &own.cert, CERT)?;
            let key = read(&at("key"), &own.key, KEY)?;
            let chain =
                pem::certificates(&cert).map_err(|why| wrong(&at("cert"), &own.cert, why, CERT))?;
            let private =
                pem::private_key(&key).map_err(|why| wrong(&at("key"), &own.key, why, KEY))?;
            let identity = Identity::new(chain, private).map_err(|why| {
                let why = format!("{why} (with the certificate in {})", own.cert.display());
                wrong(&at("key"), &own.key, why, KEY)
            })?;
            let facts = identity.facts().clone();
            certificates.push(Certificate { section, path: own.cert.clone(), facts });
            identities.push(identity);
            files.extend([cert, key]);
        }
        let verifier = match port.client_ca {
            None => None,
            Some(path) => {
                let at = format!("{section}.client_ca");
                let file = read(&at, path, CA)?;
                let all = pem::certificates(&file).map_err(|why| wrong(&at, path, why, CA))?;
                let verifier =
                    server::verifier(&all, false).map_err(|why| wrong(&at, path, why, CA))?;
                files.push(file);
                Some(verifier)
            }
        };
        let min_version = match port.min_version {
            TlsVersion::Tls12 => MinVersion::Tls12,
            TlsVersion::Tls13 => MinVersion::Tls13,
        };
        let alpn: &[&[u8]] = match section {
            "http.tls" if port.http2 => &[b"h2", b"http/1.1"],
            "http.tls" => &[b"http/1.1"],
            // Encoders name no protocol, or one that is nobody's.
            _ => &[],
        };
        let config = server::config(&identities, verifier, min_version, alpn)
            .map_err(|why| Fault::new(section, why.to_string(), CERT))?;
        let (min_version, http2) = (port.min_version, port.http2);
        Ok(Self { files, min_version, http2, config, certificates })
    }

    /// What rustls is told.
    pub fn config(&self) -> Made {
        Made::clone(&self.config)
    }

    /// Its certificates.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }
}

const CERT: &str = "use a PEM file with a certificate, readable by this user";
const KEY: &str =
    "use the PEM file with the private key of that certificate, readable by this user";
const CA: &str = "use a PEM file with CA certificates, readable by this user";

fn read(key: &str, path: &Path, fix: &str) -> Result<Vec<u8>, Fault> {
    file::read(path, FILE_BYTES_MAX)
        .map_err(|why| Fault::new(key, format!("{} cannot be read: {why}", path.display()), fix))
}

fn wrong(key: &str, path: &Path, why: impl Display, fix: &str) -> Fault {
    Fault::new(key, format!("{} is invalid: {why}", path.display()), fix)
}
