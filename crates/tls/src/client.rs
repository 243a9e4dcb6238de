//! Whom a client trusts, and what is said when it does not trust somebody.

use std::{
    env,
    error::Error as StdError,
    fmt,
    fs::File,
    io::{self, ErrorKind, Read as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ring::digest::{SHA256, digest};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, OtherError,
    RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, ring as ring_provider, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use tokio::net::TcpStream;

use crate::{
    pem::{self, FILE_BYTES_MAX},
    stream::Stream,
};

/// Where systems keep the certificates of the authorities that they trust, all in one file.
const SYSTEM_FILES: [&str; 5] = [
    // Debian, Alpine, Arch
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora and its relatives
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    // openSUSE
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The variable that names another such file, as for OpenSSL.
const SYSTEM_VARIABLE: &str = "SSL_CERT_FILE";

/// Names that are repeated of a certificate that is for somebody else.
const NAMES_MAX: usize = 3;

/// What a client announces to speak (RFC 7301).
const HTTP: &[u8] = b"http/1.1";

/// A SHA-256.
pub type Digest = [u8; 32];

/// Which servers are the ones that are meant. What was decided here holds for every connection that is made with it;
/// whoever follows a file makes another one when the file changes.
#[derive(Clone, Debug)]
pub struct Trust {
    silent: Arc<ClientConfig>,
    http: Arc<ClientConfig>,
    /// Whether it is the system that decides.
    is_of_system: bool,
    named: Named,
}

/// How a server shows that it is the one that is meant.
#[derive(Clone, Debug, Default)]
pub struct Whom {
    /// By a certificate for its name that one of these authorities has signed. Without any, and without pins: one of
    /// the system's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// By a certificate that has, or whose public key has, one of these digests; without any, it may be any
    /// certificate. With authorities both must hold; without, nothing else of the certificate is looked at.
    pub pins: Vec<Digest>,
}

/// What settings are called, in what is said to people.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// The file with authorities.
    pub ca: &'static str,
    /// The digests.
    pub pin: &'static str,
}

/// What is spoken over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// What has no name in TLS: RTMP.
    Silent,
    /// HTTP/1.1.
    Http,
}

/// Why nobody can be trusted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// The system trusts nobody.
    #[error(
        "this system has no CA certificates: {SYSTEM_VARIABLE} names none, and there is no file such as {0}",
        SYSTEM_FILES[0]
    )]
    NoneOfSystem,
    /// A certificate that is not an authority's.
    #[error("one of its certificates cannot be used: {0}")]
    NotOne(Error),
}

/// Why there is no TLS with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What kind of a failure it is.
    pub reason: Reason,
    text: String,
}

/// What kind of a failure it is: a closed set, for a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its certificate has ended.
    Expired,
    /// Its certificate has not begun.
    NotYetValid,
    /// Its certificate is for other names.
    WrongName,
    /// Its certificate is signed by nobody who is trusted.
    UnknownCa,
    /// Its certificate is not a pinned one.
    WrongPin,
    /// It does not speak TLS.
    NoTls,
    /// It closed the connection.
    Closed,
    /// It said nothing for too long.
    Timeout,
    /// Anything else.
    Other,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Expired,
        Self::NotYetValid,
        Self::WrongName,
        Self::UnknownCa,
        Self::WrongPin,
        Self::NoTls,
        Self::Closed,
        Self::Timeout,
        Self::Other,
    ];

    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongName => "wrong_name",
            Self::UnknownCa => "unknown_ca",
            Self::WrongPin => "wrong_pin",
            Self::NoTls => "no_tls",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Failed {}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        let kind = match failed.reason {
            Reason::Timeout => ErrorKind::TimedOut,
            Reason::Closed => ErrorKind::UnexpectedEof,
            _ => ErrorKind::InvalidData,
        };
        Self::new(kind, failed)
    }
}

impl Failed {
    /// The handshake with `host` has taken longer than `limit`.
    pub fn late(host: &str, limit: Duration) -> Self {
        let text = format!(
            "no answer to the TLS handshake within {limit:?}: {host} may be frozen, or not speak TLS on this port"
        );
        Self { reason: Reason::Timeout, text }
    }
}

impl Trust {
    /// Trust in servers that show themselves as `whom` says. Reads the system's file if that is the one to decide.
    ///
    /// # Errors
    /// When there is nobody to trust.
    pub fn new(whom: Whom, named: Named) -> Result<Self, Unusable> {
        let provider = Arc::new(ring_provider::default_provider());
        let Whom { authorities, pins } = whom;
        let is_of_system = authorities.is_none() && pins.is_empty();
        let roots = match authorities {
            Some(authorities) => Some(roots_of(authorities)?),
            None if is_of_system => Some(roots_of_system().ok_or(Unusable::NoneOfSystem)?),
            None => None,
        };
        let authorities = match roots {
            None => None,
            Some(roots) => {
                let provider = Arc::clone(&provider);
                let builder =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
                let not_one = |error| Unusable::NotOne(Error::General(format!("{error}")));
                Some(builder.build().map_err(not_one)?)
            }
        };
        let verifier = Verifier { authorities, pins, provider: Arc::clone(&provider) };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Unusable::NotOne)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        // The certificate is looked at for each connection: one that is resumed would outlive it.
        config.resumption = Resumption::disabled();
        let silent = Arc::new(config.clone());
        config.alpn_protocols = vec![HTTP.to_vec()];
        Ok(Self { silent, http: Arc::new(config), is_of_system, named })
    }

    /// Trust in the one server that has this certificate, and its key, whatever it is called.
    ///
    /// # Errors
    /// Never, as it is; it is [`Trust::new`] that may.
    pub fn in_certificate(
        certificate: &CertificateDer<'_>,
        named: Named,
    ) -> Result<Self, Unusable> {
        let pins = vec![digest_of(certificate)];
        Self::new(Whom { authorities: None, pins }, named)
    }

    /// Does the handshake on `socket` with the server that is called `host`: a name, or an address without brackets.
    /// How long that may take is up to whoever waits.
    ///
    /// # Errors
    /// When it fails, in words for people that say what to do.
    pub async fn connect(
        &self,
        socket: TcpStream,
        host: &str,
        spoken: Spoken,
    ) -> Result<Stream, Failed> {
        let config = match spoken {
            Spoken::Silent => &self.silent,
            Spoken::Http => &self.http,
        };
        let other = |text| Failed { reason: Reason::Other, text };
        let name = host.strip_suffix('.').unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| other(format!("no certificate can be for the name {host}")))?;
        let connection = ClientConnection::new(Arc::clone(config), name)
            .map_err(|error| other(format!("no TLS connection can be made: {error}")))?;
        let done = Stream::handshake(socket, connection).await;
        done.map_err(|error| self.explain(&error, host))
    }

    fn explain(&self, error: &io::Error, host: &str) -> Failed {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let (reason, text) = match inner {
            Some(error) => self.explain_tls(error, host),
            None if has_closed(error.kind()) => (
                Reason::Closed,
                format!(
                    "{host} closed the connection in the TLS handshake: it may not speak TLS on this port"
                ),
            ),
            None => (Reason::Other, format!("the TLS handshake with {host} broke off: {error}")),
        };
        Failed { reason, text }
    }

    fn explain_tls(&self, error: &Error, host: &str) -> (Reason, String) {
        let Named { ca, pin } = self.named;
        match error {
            Error::InvalidCertificate(error) => self.explain_certificate(error, host),
            Error::InvalidMessage(_) => (
                Reason::NoTls,
                format!("{host} does not speak TLS on this port: correct the port or the scheme"),
            ),
            Error::AlertReceived(alert) => (
                Reason::Other,
                format!("{host} refused the TLS handshake ({alert:?}): its log may say why"),
            ),
            Error::NoCertificatesPresented => (
                Reason::UnknownCa,
                format!("{host} showed no certificate, so neither {ca} nor {pin} can hold"),
            ),
            other => (Reason::Other, format!("the TLS handshake with {host} failed: {other}")),
        }
    }

    fn explain_certificate(&self, error: &CertificateError, host: &str) -> (Reason, String) {
        let Named { ca, pin } = self.named;
        match error {
            CertificateError::ExpiredContext { not_after, .. } => {
                let ended = date(*not_after);
                (Reason::Expired, format!("the certificate of {host} ended on {ended}: renew it"))
            }
            CertificateError::Expired => {
                (Reason::Expired, format!("the certificate of {host} has ended: renew it"))
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                Reason::NotYetValid,
                format!(
                    "the certificate of {host} is not valid yet: is the clock of this machine right?"
                ),
            ),
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names = names(presented);
                let text = format!(
                    "the certificate is for {names}, not for {host}: write one of its names, or give it this one"
                );
                (Reason::WrongName, text)
            }
            CertificateError::NotValidForName => {
                (Reason::WrongName, format!("the certificate is not for the name {host}"))
            }
            CertificateError::UnknownIssuer if self.is_of_system => (
                Reason::UnknownCa,
                format!(
                    "the certificate of {host} is signed by no CA that this system knows: set {ca} or {pin}"
                ),
            ),
            CertificateError::UnknownIssuer | CertificateError::BadSignature => (
                Reason::UnknownCa,
                format!("the certificate of {host} is not signed by a CA of {ca}"),
            ),
            CertificateError::Other(OtherError(inner)) => {
                if let Some(NotPinned { is }) = inner.downcast_ref() {
                    let text = format!("the certificate of {host} is not the one of {pin}: {is}");
                    return (Reason::WrongPin, text);
                }
                if format!("{inner:?}") == "CaUsedAsEndEntity" {
                    let text = format!(
                        "the certificate of {host} is a CA's own, as self-signed ones are: set {pin}, without {ca}"
                    );
                    return (Reason::UnknownCa, text);
                }
                (Reason::Other, format!("the certificate of {host} cannot be used: {inner}"))
            }
            other => (Reason::Other, format!("the certificate of {host} cannot be used: {other}")),
        }
    }
}

/// The SHA-256 of `bytes`: of a certificate, or of its public key (SubjectPublicKeyInfo, RFC 5280 section 4.1).
pub fn digest_of(bytes: &[u8]) -> Digest {
    let mut own = Digest::default();
    own.copy_from_slice(digest(&SHA256, bytes).as_ref());
    own
}

fn roots_of(authorities: Vec<CertificateDer<'static>>) -> Result<RootCertStore, Unusable> {
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        roots.add(certificate).map_err(Unusable::NotOne)?;
    }
    Ok(roots)
}

/// Those that the system trusts, as far as they can be read.
fn roots_of_system() -> Option<RootCertStore> {
    let named = env::var_os(SYSTEM_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let files = match named {
        Some(path) => vec![path],
        None => SYSTEM_FILES.map(PathBuf::from).to_vec(),
    };
    files.into_iter().find_map(|path| {
        let mut text = Vec::new();
        File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
        let mut roots = RootCertStore::empty();
        // Some are old, or odd: each that is understood counts.
        roots.add_parsable_certificates(pem::certificates(&text).ok()?);
        (!roots.is_empty()).then_some(roots)
    })
}

fn has_closed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::WriteZero
    )
}

/// `DnsName("a.example")`, as rustls has it, for people.
fn names(presented: &[String]) -> String {
    let plain = |name: &String| {
        let inside = name.split_once('(').map_or(name.as_str(), |(_, inside)| inside);
        inside.trim_end_matches(')').trim_matches('"').to_owned()
    };
    let mut names: Vec<_> = presented.iter().take(NAMES_MAX).map(plain).collect();
    if presented.is_empty() {
        return "no name".to_owned();
    }
    if presented.len() > NAMES_MAX {
        names.push("others".to_owned());
    }
    names.join(", ")
}

/// The day, as people write it, in the calendar that is in use (from days since 1970; eras of 400 years that begin on
/// the first of March, so that the day that a year may have more is its last).
fn date(at: UnixTime) -> String {
    let days = at.as_secs() / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next)
}

#[derive(Debug)]
struct Verifier {
    authorities: Option<Arc<WebPkiServerVerifier>>,
    pins: Vec<Digest>,
    provider: Arc<CryptoProvider>,
}

/// The certificate is not one of those that are pinned.
#[derive(Debug)]
struct NotPinned {
    /// What it is.
    is: String,
}

impl fmt::Display for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not pinned: {}", self.is)
    }
}

impl StdError for NotPinned {}

impl Verifier {
    fn check_pin(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.pins.is_empty() {
            return Ok(());
        }
        let whole = digest_of(certificate);
        let is_pinned = self.pins.contains(&whole)
            || ParsedCertificate::try_from(certificate).is_ok_and(|parsed| {
                self.pins.contains(&digest_of(&parsed.subject_public_key_info()))
            });
        if is_pinned {
            return Ok(());
        }
        let digits: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
        let error = OtherError(Arc::new(NotPinned { is: format!("its SHA-256 is {digits}") }));
        Err(CertificateError::Other(error).into())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(authorities) = &self.authorities {
            authorities.verify_server_cert(end_entity, intermediates, name, ocsp, now)?;
        }
        self.check_pin(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
