//! Certificates and private keys in PEM, as files have them (RFC 7468).

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};

/// Longest PEM file that need be read: a bundle of all authorities that browsers know has 250 KB.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why the bytes of a file are not what they should be. Its words continue "FILE is invalid: ".
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// There is no certificate in it.
    #[error("it has no certificate; it must be PEM")]
    NoCertificate,
    /// There is no private key in it.
    #[error("it has no private key; it must be PEM, and not encrypted")]
    NoKey,
    /// It begins like PEM and does not go on so.
    #[error("{0}")]
    Pem(pem::Error),
}

/// All certificates in `file`, in their order: a server's own comes first, then those that lead to an authority.
///
/// # Errors
/// When there is none, or something is cut off.
pub fn certificates(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, Invalid> {
    let all = CertificateDer::pem_slice_iter(file).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(Invalid::Pem)?;
    if all.is_empty() { Err(Invalid::NoCertificate) } else { Ok(all) }
}

/// The first private key in `file`: PKCS #8, PKCS #1 or SEC 1.
///
/// # Errors
/// When there is none, or it is cut off.
pub fn private_key(file: &[u8]) -> Result<PrivateKeyDer<'static>, Invalid> {
    PrivateKeyDer::from_pem_slice(file).map_err(|why| match why {
        pem::Error::NoItemsFound => Invalid::NoKey,
        why => Invalid::Pem(why),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_and_its_key_may_be_in_one_file() {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("made");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let file = format!("{key}\n{certificate}\n{certificate}");
        assert_eq!(certificates(file.as_bytes()).expect("two").len(), 2);
        assert_eq!(private_key(file.as_bytes()).expect("a key"), made.signing_key.into());
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let why = |error: Invalid| error.to_string();
        assert!(why(certificates(b"").expect_err("empty")).starts_with("it has no certificate"));
        assert!(why(private_key(b"nothing").expect_err("none")).starts_with("it has no private"));
        let cut = b"-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(why(certificates(cut).expect_err("cut")).contains("section end"));
    }
}
