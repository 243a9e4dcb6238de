//! Certificates: authorities, and what they sign for names and addresses, for a time that is over, or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, PublicKeyData as _, date_time_ymd,
};
use ring::digest::{SHA256, digest};

/// Who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate in PEM.
    pub pem: String,
    /// Its private key in PEM (PKCS #8).
    pub key: String,
    /// The certificate's SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// The SHA-256 of its public key, in hexadecimal digits.
    pub key_sha256: String,
}

impl Authority {
    /// An authority that calls itself `name`.
    ///
    /// # Panics
    /// If there are no random bytes.
    pub fn new(name: &str) -> Self {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let authority = CertifiedIssuer::self_signed(params, key());
        Self(authority.expect("an authority can sign itself"))
    }

    /// Its own certificate in PEM: what others trust it by.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate of a server with these names and addresses.
    ///
    /// # Panics
    /// If one of them is no name.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        self.sign(&params(names))
    }

    /// A certificate that was good from the first day of 2020 to the first day of 2021.
    ///
    /// # Panics
    /// If one of the names is none.
    pub fn issue_ended(&self, names: &[&str]) -> Certificate {
        self.sign(&lasting(names, (2020, 2021)))
    }

    /// A certificate that will be good from the first day of 2100.
    ///
    /// # Panics
    /// If one of the names is none.
    pub fn issue_early(&self, names: &[&str]) -> Certificate {
        self.sign(&lasting(names, (2100, 2101)))
    }

    /// A certificate of a client that is called `name`.
    ///
    /// # Panics
    /// If there are no random bytes.
    pub fn issue_to_client(&self, name: &str) -> Certificate {
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        self.sign(&params)
    }

    /// Puts a certificate for `names`, and its key, into `dir`, as `NAME.pem` and `NAME.key`.
    ///
    /// # Panics
    /// As [`issue`](Self::issue) and [`Certificate::write`].
    pub fn certify(&self, dir: &Path, name: &str, names: &[&str]) {
        self.certify_until(dir, name, names, 2099);
    }

    /// The same with a certificate that ends with the year `until`.
    ///
    /// # Panics
    /// As [`certify`](Self::certify).
    pub fn certify_until(&self, dir: &Path, name: &str, names: &[&str], until: i32) {
        let mut params = params(names);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        self.sign(&params).write(dir, name);
    }

    fn sign(&self, params: &CertificateParams) -> Certificate {
        let key = key();
        Certificate::new(&params.signed_by(&key, &self.0).expect("it can be signed"), &key)
    }
}

impl Certificate {
    /// A certificate that nobody else has signed, and that says nothing of being an authority's.
    ///
    /// # Panics
    /// If one of the names is none.
    pub fn self_signed(names: &[&str]) -> Self {
        let key = key();
        Self::new(&params(names).self_signed(&key).expect("it can be signed"), &key)
    }

    /// The same as `openssl req -x509` makes it: the certificate is an authority's, too.
    ///
    /// # Panics
    /// If one of the names is none.
    pub fn self_signed_authority(names: &[&str]) -> Self {
        let key = key();
        let mut params = params(names);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self::new(&params.self_signed(&key).expect("it can be signed"), &key)
    }

    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            pem: certificate.pem(),
            key: key.serialize_pem(),
            sha256: sha256(certificate.der()),
            key_sha256: sha256(&key.subject_public_key_info()),
        }
    }

    /// Puts both into `dir`, as `NAME.pem` and `NAME.key`, in place of what is there: the paths of the two. Each file
    /// is whole at any moment.
    ///
    /// # Panics
    /// If the folder cannot be written to.
    pub fn write(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        (put(dir, &format!("{name}.pem"), &self.pem), put(dir, &format!("{name}.key"), &self.key))
    }
}

/// Puts `text` into the file `name` in `dir`, in place of what is there; the file is whole at any moment.
///
/// # Panics
/// If the folder cannot be written to.
pub fn put(dir: &Path, name: &str, text: &str) -> PathBuf {
    let (path, new) = (dir.join(name), dir.join(format!(".{name}.new")));
    fs::write(&new, text).expect("a folder of the test can be written to");
    fs::rename(&new, &path).expect("a file can be put in place of another");
    path
}

fn key() -> KeyPair {
    KeyPair::generate().expect("there are random bytes")
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).expect("names that a certificate can have")
}

/// From the first day of a year to the first day of another.
fn lasting(names: &[&str], (from, to): (i32, i32)) -> CertificateParams {
    let mut params = params(names);
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    params
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_as_a_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let authority = Authority::new("tests");
        let (first, second) = (authority.issue(&["a.test"]), authority.issue(&["a.test"]));
        assert_ne!(first.sha256, second.sha256);
        first.write(dir.path(), "server");
        let (pem, key) = second.write(dir.path(), "server");
        assert_eq!(fs::read_to_string(pem).expect("there"), second.pem);
        assert_eq!(fs::read_to_string(key).expect("there"), second.key);
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 2);
    }
}
