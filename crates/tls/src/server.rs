//! How a server presents itself: which certificate is shown to whom, and who has to show one.

use std::{collections::HashMap, fmt, sync::Arc};

use rustls::{
    Error, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use crate::x509::{self, Facts};

/// The oldest version that is spoken. There is nothing below 1.2 in rustls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2, with forward secrecy and authenticated encryption only.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// A certificate, with those that lead from it to an authority, and its key.
#[derive(Clone)]
pub struct Identity {
    shown: Arc<CertifiedKey>,
    facts: Facts,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Identity {
    /// The first certificate of `chain`, which `key` belongs to.
    ///
    /// # Errors
    /// When it does not, or is no key that can sign.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        let facts = chain.first().and_then(x509::facts).unwrap_or_default();
        let shown = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        Ok(Self { shown: Arc::new(shown), facts })
    }

    /// What the certificate says of itself.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The certificate itself.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.shown.cert.first()
    }
}

/// Which certificate is shown: the one for the name that the client asks for, `*.example.com` included; to clients that
/// ask for no name, or for one that there is no certificate for, the first of all.
#[derive(Debug)]
struct ByName {
    /// In lower case; `*.` and all.
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
    default: Vec<Arc<CertifiedKey>>,
}

impl ByName {
    fn new(identities: &[Identity]) -> Self {
        let mut names: HashMap<_, Vec<_>> = HashMap::new();
        for identity in identities {
            for name in &identity.facts.names {
                names.entry(name.clone()).or_default().push(Arc::clone(&identity.shown));
            }
        }
        let first = identities.first().into_iter();
        Self { names, default: first.map(|first| Arc::clone(&first.shown)).collect() }
    }

    fn of(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else { return &self.default };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        // A star stands for one label, and the first one only (RFC 9525 section 6.3).
        let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        let found = self.names.get(&name).or_else(|| self.names.get(&wildcard?));
        found.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let all = self.of(hello.server_name());
        // One name may have two kinds of keys, for clients old and new.
        let fits =
            |it: &&Arc<CertifiedKey>| it.key.choose_scheme(hello.signature_schemes()).is_some();
        all.iter().find(fits).or(all.first()).map(Arc::clone)
    }
}

/// Who may connect: whoever shows a certificate that one of `authorities` has signed.
///
/// # Errors
/// When one is no authority's.
pub fn verifier(
    authorities: &[CertificateDer<'static>],
    is_optional: bool,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        roots.add(certificate.clone())?;
    }
    let provider = Arc::new(ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| Error::General(error.to_string()))
}

/// How a server does the handshakes that come in: with one of `identities`, for clients that `verifier` accepts, and
/// with the first of the protocols `alpn` that the client knows too.
///
/// # Errors
/// When rustls refuses that combination.
pub fn config(
    identities: &[Identity],
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    min_version: MinVersion,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, Error> {
    let versions = match min_version {
        MinVersion::Tls12 => &[&TLS13, &TLS12][..],
        MinVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)?;
    let asks = verifier.is_some();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName::new(identities)));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // Sessions that are taken up again cost no signature, and tickets for them no memory here. Where certificates are
    // asked for, each connection shows one: an authority that is taken away is so at once.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if asks {
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = ring::Ticketer::new()?;
    }
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;

    use super::*;

    fn identity(names: &[&str]) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = generate_simple_self_signed(names).expect("made");
        Identity::new(vec![made.cert.der().clone()], made.signing_key.into()).expect("a pair")
    }

    #[test]
    fn the_certificate_is_the_one_for_the_name() {
        let all = [
            identity(&["a.example", "*.b.example"]),
            identity(&["c.example"]),
            identity(&["x.b.example"]),
        ];
        let by_name = ByName::new(&all);
        let shown = |name| by_name.of(name)[0].cert.first().cloned();
        let of = |index: usize| all[index].certificate().cloned();
        for (name, index) in [
            (None, 0),
            (Some("a.example"), 0),
            (Some("C.Example."), 1),
            (Some("y.b.example"), 0),
            (Some("x.b.example"), 2),
            // A star is one label.
            (Some("z.y.b.example"), 0),
            (Some("unknown.example"), 0),
        ] {
            assert_eq!(shown(name), of(index), "{name:?}");
        }
    }

    #[test]
    fn a_key_that_belongs_to_another_certificate_is_refused() {
        let made = |name: &str| generate_simple_self_signed([name.to_owned()]).expect("made");
        let (one, other) = (made("a.example"), made("a.example"));
        let pair = Identity::new(vec![one.cert.der().clone()], other.signing_key.into());
        assert_eq!(
            pair.err(),
            Some(Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch))
        );
    }
}
