//! Servers with TLS, and behind it: their certificate and their configurations.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Result, command::run};

/// The ports with TLS.
pub const RTMPS_PORT: u16 = 21_936;
/// See [`RTMPS_PORT`].
pub const HTTPS_PORT: u16 = 21_081;

/// A certificate for the loopback address, and its key.
pub struct Pair {
    /// The file with the certificate, which is also what clients trust.
    pub certificate: PathBuf,
    /// The file with its key: P-256, as most servers have.
    pub key: PathBuf,
}

/// A new certificate in `dir`.
pub fn certificate(dir: &Path) -> Result<Pair> {
    let pair = Pair { certificate: dir.join("tls.pem"), key: dir.join("tls.key") };
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-noenc", "-days", "3", "-subj", "/CN=127.0.0.1"]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(&pair.key).arg("-out").arg(&pair.certificate);
    run(&mut openssl)?;
    Ok(pair)
}

/// A Weir origin at these ports; with TLS at those of this module, if it has a certificate, and with HLS into `files`.
pub fn weir((rtmp, http): (u16, u16), tls: Option<&Pair>, files: Option<&Path>) -> String {
    let tls = |port: u16| {
        tls.map_or_else(String::new, |Pair { certificate, key }| {
            let (cert, key) = (certificate.display(), key.display());
            format!(
                ", tls: {{ listen: [\"127.0.0.1:{port}\"], certificates: [{{ cert: {cert}, key: {key} }}] }}"
            )
        })
    };
    let hls = files
        .map_or_else(|| "enabled: false".to_owned(), |files| format!("dir: {}", files.display()));
    format!(
        "rtmp: {{ listen: [\"127.0.0.1:{rtmp}\"]{} }}\n\
         http: {{ listen: [\"127.0.0.1:{http}\"]{} }}\n\
         api: {{ listen: [] }}\n\
         workers: 1\n\
         play: {{ flush: video }}\n\
         hls: {{ {hls} }}\n",
        tls(RTMPS_PORT),
        tls(HTTPS_PORT),
    )
}

/// nginx as most put it before a server without TLS: each connection is taken over at once, and nothing waits for more.
pub fn nginx_before((rtmp, http): (u16, u16), pair: &Pair) -> String {
    let server = |port: u16, to: u16| {
        format!(
            "server {{ listen 127.0.0.1:{port} ssl; tcp_nodelay on; proxy_pass 127.0.0.1:{to}; {} }}",
            ssl(pair)
        )
    };
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
         {}stream {{\n{}\n{}\n}}\n",
        process("nginx-tls"),
        server(RTMPS_PORT, rtmp),
        server(HTTPS_PORT, http),
    )
}

/// nginx as the HTTPS server of HLS files.
pub fn nginx_of_files(pair: &Pair, files: &Path) -> String {
    format!(
        "{}http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n\
         types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; video/mp4 mp4 m4s; }}\n\
         server {{ listen 127.0.0.1:{HTTPS_PORT} ssl; {} root {}; }} }}\n",
        process("nginx-tls"),
        ssl(pair),
        files.display(),
    )
}

fn process(name: &str) -> String {
    format!(
        "daemon off;\nmaster_process off;\npid {name}.pid;\nworker_rlimit_nofile 20000;\n\
         events {{ worker_connections 16000; }}\n"
    )
}

/// The cipher is the client's choice: it offers one.
fn ssl(Pair { certificate, key }: &Pair) -> String {
    let (certificate, key) = (certificate.display(), key.display());
    format!(
        "ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;"
    )
}
