//! moto, as a storage that speaks S3: it checks signatures, and keeps what it is given in memory.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use bytes::Bytes;
use tokio::net::TcpStream;

use crate::{eventually, http, kept, ports::Ports, process::Process};

/// Until it listens: it is written in Python, and loads some hundred files.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running moto. Dropping it ends it, and what it has been given is gone.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    _process: Process,
}

/// The keys of somebody who may do everything with S3.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The access key.
    pub access: String,
    /// The secret key.
    pub secret: String,
}

impl Moto {
    /// Starts it at the port for HTTP of `ports`; it lets everybody do everything.
    ///
    /// # Panics
    /// If it is not installed, or does not listen.
    pub async fn start(ports: &Ports) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.http));
        let mut command = Command::new(kept().join("tools/moto/bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &ports.http.to_string()]);
        let process = Process::start("moto", &mut command);
        let listens = async || TcpStream::connect(address).await.ok();
        eventually("moto listens", START_TIMEOUT, listens).await;
        Self { address, _process: process }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn make_bucket(&self, name: &str) {
        let status = self.call("PUT", name, "", "").await.0;
        assert_eq!(status, 200, "the bucket {name}");
    }

    /// Makes a user. From now on, until [`open`](Self::open), only that one's requests are let in.
    ///
    /// # Panics
    /// If that does not work.
    pub async fn require_keys(&self) -> Keys {
        let fields = asking("iam") + "Content-Type: application/x-www-form-urlencoded\r\n";
        let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C\
                      %22Action%22%3A%22s3%3A*%22%2C%22Resource%22%3A%22*%22%7D%5D%7D";
        let mut last = String::new();
        for action in [
            "Action=CreateUser",
            &format!("Action=PutUserPolicy&PolicyName=p&PolicyDocument={policy}"),
            "Action=CreateAccessKey",
        ] {
            let body = format!("{action}&UserName=weir&Version=2010-05-08");
            let (status, text) = self.call("POST", "", &fields, &body).await;
            assert_eq!(status, 200, "{action}: {text:?}");
            last = String::from_utf8_lossy(&text).into_owned();
        }
        let within = |name: &str| {
            let (_, rest) = last.split_once(&format!("<{name}>")).expect(name);
            rest.split('<').next().unwrap_or_default().to_owned()
        };
        self.let_in("0").await;
        Keys { access: within("AccessKeyId"), secret: within("SecretAccessKey") }
    }

    /// Lets everybody do everything.
    pub async fn open(&self) {
        self.let_in("inf").await;
    }

    async fn let_in(&self, requests: &str) {
        let fields = "Content-Type: text/plain\r\n";
        let status = self.call("POST", "moto-api/reset-auth", fields, requests).await.0;
        assert_eq!(status, 200, "moto says how many are let in");
    }

    /// The object at `path` (bucket and key), if it is there and everybody is let in.
    pub async fn object(&self, path: &str) -> Option<Bytes> {
        let mut response = self.get(path).await;
        let body = response.bytes().await;
        (response.status == 200).then_some(body)
    }

    /// What it answers to `GET path` while everybody is let in.
    pub async fn get(&self, path: &str) -> http::Response {
        // Without an owner of the objects it shows them to nobody.
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}\r\n",
            self.address,
            asking("s3")
        );
        http::request(self.address, request.as_bytes()).await
    }

    async fn call(&self, method: &str, path: &str, fields: &str, body: &str) -> (u16, Bytes) {
        let request = format!(
            "{method} /{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut response = http::request(self.address, request.as_bytes()).await;
        (response.status, response.bytes().await)
    }
}

/// By this it knows which service is asked. Nobody looks at the signature while everybody is let in.
fn asking(service: &str) -> String {
    format!(
        "Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=x\r\n"
    )
}
