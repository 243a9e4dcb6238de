//! TLS of the ports for encoders and viewers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde_json::json;

use super::{
    host::Address,
    kind::{
        Element, Form, Json, Kind, Leaf, Many, Maybe, Node, Part, Refusal, Secrets, Section, Text,
        section,
    },
    scalar::{File, Switch},
    value::Problem,
};

section! {
    /// RTMP over TLS.
    RtmpTls / RtmpTlsKeys {
        /// Addresses to listen on, beside `rtmp.listen`; port 0 takes any free port.
        listen: Vec<SocketAddr> = everywhere(1936), Many<Address>;
        /// The certificates, each with its key. The first one is for clients that ask for no name, or for another.
        certificates: Vec<CertificateFiles> = Vec::new(), Many<CertificateFiles>;
        /// The PEM file with CA certificates. With it, every client must present a certificate from them.
        client_ca: Option<PathBuf> = None, Maybe<File>;
        /// The oldest version of TLS that is accepted.
        min_version: TlsVersion = TlsVersion::Tls12, TlsVersion;
    }
}

section! {
    /// HTTP over TLS.
    HttpTls / HttpTlsKeys {
        /// Addresses to listen on, beside `http.listen`; port 0 takes any free port.
        listen: Vec<SocketAddr> = everywhere(8443), Many<Address>;
        /// The certificates, each with its key. The first one is for clients that ask for no name, or for another.
        certificates: Vec<CertificateFiles> = Vec::new(), Many<CertificateFiles>;
        /// The PEM file with CA certificates. With it, every client must present a certificate from them.
        client_ca: Option<PathBuf> = None, Maybe<File>;
        /// The oldest version of TLS that is accepted.
        min_version: TlsVersion = TlsVersion::Tls12, TlsVersion;
        /// Whether HTTP/2 is offered.
        http2: bool = true, Switch;
    }
}

section! {
    /// A certificate with its key. Both are there: a [`Config`](crate::Config) with one alone is refused.
    CertificateFiles / CertificateFilesKeys {
        /// The PEM file with the certificate and the intermediate certificates.
        cert: PathBuf = PathBuf::new(), File;
        /// The PEM file with the certificate's private key.
        key: PathBuf = PathBuf::new(), File;
    }
}

/// What the TLS of the ports of one service consists of, whatever is spoken there.
#[derive(Clone, Copy, Debug)]
pub struct PortTls<'a> {
    /// `rtmp.tls` or `http.tls`.
    pub section: &'static str,
    /// Where it listens.
    pub listen: &'a [SocketAddr],
    /// The certificates.
    pub certificates: &'a [CertificateFiles],
    /// Who must have certified clients.
    pub client_ca: Option<&'a PathBuf>,
    /// The oldest version.
    pub min_version: TlsVersion,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

impl RtmpTls {
    /// What it has in common with other ports.
    pub fn port(&self) -> PortTls<'_> {
        let Self { listen, certificates, client_ca, min_version } = self;
        let (client_ca, min_version) = (client_ca.as_ref(), *min_version);
        PortTls { section: "rtmp.tls", listen, certificates, client_ca, min_version, http2: false }
    }
}

impl HttpTls {
    /// What it has in common with other ports.
    pub fn port(&self) -> PortTls<'_> {
        let Self { listen, certificates, client_ca, min_version, http2 } = self;
        let (client_ca, min_version, http2) = (client_ca.as_ref(), *min_version, *http2);
        PortTls { section: "http.tls", listen, certificates, client_ca, min_version, http2 }
    }
}

/// A version of TLS. Older ones are not spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Text for TlsVersion {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        match text {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            _ => Err(Problem::new(format!("unknown version `{text}`"), "use 1.2 or 1.3")),
        }
    }

    fn show(value: &Self, _: Secrets) -> Json {
        match value {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
        .into()
    }

    fn schema() -> Json {
        // YAML takes the version for a number where it is not in quotes.
        json!({ "enum": ["1.2", "1.3", 1.2, 1.3] })
    }
}

impl Element for CertificateFiles {
    const EXPECTED: &'static str = "a list of certificates with their keys";
    const WRITE: &'static str = "a list: [{ cert: FILE, key: FILE }]";
    const MAY_BE_NUMBER: bool = false;
}

impl Leaf for CertificateFiles {
    type Value = Self;
    const FORM: Form = Form::Map;

    fn read(from: &Node) -> Result<Self, Refusal> {
        Ok(<Part<Self> as Kind>::over(Part::<Self>::read(from)?, &Self::default()))
    }

    fn show(value: &Self, secrets: Secrets) -> Json {
        Section::show(value, secrets)
    }

    fn schema() -> Json {
        let mut schema = <Self as Section>::schema(None);
        schema["type"] = "object".into();
        schema["required"] = json!(["cert", "key"]);
        schema
    }
}

/// Any address of this machine.
pub(crate) fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))]
}
