//! Requests to a storage that speaks S3: objects that are put, whole or in parts.
//!
//! Buckets are part of the path (`/bucket/key`), which every such storage understands. Bodies are at most a part long
//! and in memory, so that a request that failed can be sent again.

use std::{
    fmt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};
use weir_clients::descriptors;
use weir_config::{Bucket, Endpoint};
use weir_tls::client::Spoken;
use weir_upstream::{PeerTls, Secure, connect_to_name};

use crate::sign::{self, Credentials, Signed};

/// For a connection, over all addresses of a name.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// For a request without its body: storages put the parts of a large file together while one waits.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// What a body is sent with at least, else the request has failed.
const BYTES_PER_SECOND_MIN: u64 = 32 * 1024;

/// Of an answer; those to our requests are a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Characters that are repeated of what a storage says.
const WORDS_MAX: usize = 200;

type Sender = http1::SendRequest<Full<Bytes>>;

/// A bucket of a storage, and who may write to it.
pub struct Server {
    endpoint: Endpoint,
    tls: Option<PeerTls>,
    bucket: Bucket,
    region: String,
    by: Credentials,
    /// Connections that are not in use.
    idle: Mutex<Vec<Sender>>,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Payload {
    data: Bytes,
    digest: String,
}

impl Payload {
    /// Computes the digest, which takes some milliseconds for each megabyte.
    pub fn new(data: Vec<u8>) -> Self {
        Self { digest: sign::digest_of(&data), data: data.into() }
    }
}

/// Why there is no success. What is repeated of a storage's words has no key in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no answer.
    Silent(String),
    /// It says no.
    Refused {
        /// With this status.
        status: StatusCode,
        /// S3's name for the reason, if it says one.
        code: String,
        /// And its words.
        message: String,
    },
    /// What it says is not S3.
    Garbled(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(why) => write!(f, "no answer: {why}"),
            Self::Refused { status, code, message } => {
                write!(f, "refused with {}", status.as_u16())?;
                let words = [code, message].into_iter().filter(|words| !words.is_empty());
                words.into_iter().try_for_each(|words| write!(f, ": {words}"))
            }
            Self::Garbled(what) => write!(f, "not an answer of S3: {what}"),
        }
    }
}

impl Failure {
    /// Whether it is about the one object: others may be taken.
    pub fn is_of_object(&self) -> bool {
        // What concerns all: keys, rights, the bucket, and what passes.
        const OF_ALL: [StatusCode; 5] = [
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::NOT_FOUND,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        let Self::Refused { status, .. } = self else { return false };
        self.is_no_upload() || (status.is_client_error() && !OF_ALL.contains(status))
    }

    /// Whether an upload in parts is not known any more.
    pub fn is_no_upload(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "NoSuchUpload")
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

/// The bucket and the server, for people.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.bucket, self.endpoint)
    }
}

struct Answer {
    etag: Option<String>,
    text: String,
}

impl Server {
    /// Takes in another file of authorities. It blocks.
    pub fn look(&self, ca: Option<&Path>) {
        if let Some(tls) = &self.tls {
            tls.look(ca, Vec::new());
        }
    }

    /// The bucket `bucket` at `endpoint`.
    pub fn new(
        endpoint: Endpoint,
        tls: Option<PeerTls>,
        bucket: Bucket,
        region: String,
        by: Credentials,
    ) -> Self {
        Self { endpoint, tls, bucket, region, by, idle: Mutex::default() }
    }

    /// Puts an object at `path` below the prefix.
    ///
    /// # Errors
    /// When it is not there afterwards, as far as that is known.
    pub async fn put(&self, path: &str, kind: &str, payload: &Payload) -> Result<(), Failure> {
        self.send(Method::PUT, path, "", Some(kind), payload).await.map(drop)
    }

    /// Begins an upload in parts; its name.
    ///
    /// # Errors
    /// When there is none.
    pub async fn begin(&self, path: &str, kind: &str) -> Result<String, Failure> {
        let nothing = Payload::new(Vec::new());
        let answer = self.send(Method::POST, path, "uploads=", Some(kind), &nothing).await?;
        let id = element(&answer.text, "UploadId");
        id.ok_or_else(|| Failure::Garbled("an upload without an UploadId".to_owned()))
    }

    /// Sends the part `number`, from 1, of the upload `id`; its entity tag.
    ///
    /// # Errors
    /// When it is not there afterwards, as far as that is known.
    pub async fn put_part(
        &self,
        path: &str,
        id: &str,
        number: usize,
        payload: &Payload,
    ) -> Result<String, Failure> {
        let query = format!("partNumber={number}&uploadId={}", sign::encoded(id, false));
        let answer = self.send(Method::PUT, path, &query, None, payload).await?;
        answer.etag.ok_or_else(|| Failure::Garbled("a part without an ETag".to_owned()))
    }

    /// Makes an object of the parts of the upload `id` with these entity tags.
    ///
    /// # Errors
    /// When it is not there afterwards, as far as that is known.
    pub async fn complete(&self, path: &str, id: &str, tags: &[String]) -> Result<(), Failure> {
        let part = |(index, tag): (usize, &String)| {
            let (number, tag) = (index + 1, tag.replace('&', "&amp;").replace('<', "&lt;"));
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
        };
        let parts: String = tags.iter().enumerate().map(part).collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let query = format!("uploadId={}", sign::encoded(id, false));
        let body = Payload::new(body.into_bytes());
        let answer = self.send(Method::POST, path, &query, None, &body).await?;
        // It may have begun to answer before it knew that it cannot.
        match element(&answer.text, "Code").filter(|_| answer.text.contains("<Error>")) {
            Some(_) => Err(self.refused(StatusCode::OK, &answer.text)),
            None => Ok(()),
        }
    }

    /// Gives the upload `id` up: parts cost until somebody does.
    ///
    /// # Errors
    /// When it is still there, as far as that is known.
    pub async fn abort(&self, path: &str, id: &str) -> Result<(), Failure> {
        let query = format!("uploadId={}", sign::encoded(id, false));
        self.send(Method::DELETE, path, &query, None, &Payload::new(Vec::new())).await.map(drop)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &str,
        kind: Option<&str>,
        payload: &Payload,
    ) -> Result<Answer, Failure> {
        let request = self.request(&method, path, query, kind, payload)?;
        let time =
            ANSWER_MAX + Duration::from_secs(payload.data.len() as u64 / BYTES_PER_SECOND_MIN);
        let late = |_| Err(Failure::Silent(format!("not within {time:?}")));
        timeout(time, self.exchange(request)).await.unwrap_or_else(late)
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        kind: Option<&str>,
        payload: &Payload,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let key = sign::encoded(&self.bucket.key(path), true);
        let path = format!("/{}/{key}", self.bucket.name);
        let shown = self.endpoint.to_string();
        let host = shown.split_once("://").map_or(&*shown, |(_, host)| host);
        let signed =
            Signed { method: method.as_str(), host, path: &path, query, body: &payload.digest };
        let headers = sign::headers(&signed, &self.by, &self.region, SystemTime::now());
        let separator = if query.is_empty() { "" } else { "?" };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{path}{separator}{query}"))
            .header(header::HOST, host);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let unfit = |_| Failure::Garbled("the keys have characters that no header has".to_owned());
        request.body(Full::new(payload.data.clone())).map_err(unfit)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        // A storage may close an idle connection in the very moment it is used again.
        loop {
            let idle = self.lock().pop();
            let Some(mut sender) = idle else { break };
            if sender.ready().await.is_ok()
                && let Ok(response) = sender.send_request(request.clone()).await
            {
                return self.answer(response, sender).await;
            }
        }
        let mut sender = self.connect().await.map_err(Failure::Silent)?;
        let sent = sender.send_request(request).await;
        let response = sent.map_err(|error| match error.is_parse() {
            true => Failure::Garbled(error.to_string()),
            false => Failure::Silent(error.to_string()),
        })?;
        self.answer(response, sender).await
    }

    async fn answer(
        &self,
        response: http::Response<Incoming>,
        sender: Sender,
    ) -> Result<Answer, Failure> {
        let (head, body) = response.into_parts();
        let etag =
            head.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Failure::Silent(error.to_string()))?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        if !sender.is_closed() {
            self.lock().push(sender);
        }
        if head.status.is_success() {
            return Ok(Answer { etag, text });
        }
        Err(self.refused(head.status, &text))
    }

    fn refused(&self, status: StatusCode, text: &str) -> Failure {
        let words = |name| self.words(&element(text, name).unwrap_or_default());
        Failure::Refused { status, code: words("Code"), message: words("Message") }
    }

    /// What is repeated of what a storage says: a line, and no key.
    fn words(&self, text: &str) -> String {
        let Credentials { access_key, secret_key, session } = &self.by;
        let secrets = [Some(access_key), Some(secret_key), session.as_ref()];
        let secrets = secrets.into_iter().flatten().map(|secret| secret.expose());
        let text = secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"));
        text.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect()
    }

    async fn connect(&self) -> Result<Sender, String> {
        let descriptor = descriptors::opened().take().ok_or("out of file descriptors")?;
        let name = &self.endpoint.host;
        let secure = self.tls.as_ref();
        let secure = secure.map(|tls| Secure { tls, host: &name.host, spoken: Spoken::Http });
        let (by, connected) = (Instant::now() + CONNECT_MAX, AtomicBool::new(false));
        let stream = connect_to_name((&name.host, name.port), secure, by, &connected).await;
        let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
        let handshake = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| error.to_string())?;
        // Ends when the sender is gone, or the storage closes. What went wrong is told to the sender.
        tokio::spawn(async move {
            let _ = connection.await;
            drop(descriptor);
        });
        Ok(sender)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sender>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands in the first element `name` of an XML text that has no element of that name within it.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    Some(entities.iter().fold(inner.trim().to_owned(), |text, (from, to)| text.replace(from, to)))
}

#[cfg(test)]
mod tests {
    use weir_config::{HostPort, Secret};

    use super::*;

    #[test]
    fn keys_are_not_repeated() {
        let by = Credentials {
            access_key: Secret::new("AKIDPUBLIC"),
            secret_key: Secret::new("very-secret"),
            session: None,
        };
        let host = HostPort { host: "minio".to_owned(), port: 9000 };
        let bucket = Bucket { name: "archive".to_owned(), prefix: "a".to_owned() };
        let endpoint = Endpoint { is_tls: false, host };
        let server = Server::new(endpoint, None, bucket, "us-east-1".to_owned(), by);
        let text = "<Error><Code>InvalidAccessKeyId</Code><Message>AKIDPUBLIC &amp;\nvery-secret</Message></Error>";
        let failure = server.refused(StatusCode::FORBIDDEN, text);
        assert_eq!(failure.to_string(), "refused with 403: InvalidAccessKeyId: *** &***");
        assert!(!format!("{server:?}").contains("PUBLIC"));
        assert!(!failure.is_of_object(), "no object is taken with these keys");
        let too_long = "<Error><Code>KeyTooLongError</Code></Error>";
        assert!(server.refused(StatusCode::BAD_REQUEST, too_long).is_of_object());
        let unknown =
            server.refused(StatusCode::NOT_FOUND, "<Error><Code>NoSuchUpload</Code></Error>");
        assert!(unknown.is_no_upload() && unknown.is_of_object());
        assert!(!Failure::Silent(String::new()).is_of_object());
        assert_eq!(server.to_string(), "s3://archive/a at http://minio:9000");
        assert_eq!(
            element("<A><UploadId>x&amp;y</UploadId></A>", "UploadId").as_deref(),
            Some("x&y")
        );
        assert_eq!(element("<UploadId>x", "UploadId"), None);
    }
}
