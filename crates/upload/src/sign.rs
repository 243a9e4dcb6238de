//! Signatures of requests, as S3 wants them (AWS Signature Version 4, of which every such storage knows the header form
//! with the digest of the body).

use std::{fmt::Write as _, time::SystemTime};

use ring::{
    digest::{SHA256, digest},
    hmac::{self, HMAC_SHA256},
};
use weir_config::Secret;
use weir_media::date::rfc3339;

/// Who signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The name of the key, which goes along in the clear.
    pub access_key: Secret,
    /// The key.
    pub secret_key: Secret,
    /// What goes along with keys that end soon.
    pub session: Option<Secret>,
}

/// What is signed of a request.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Its method.
    pub method: &'a str,
    /// The host, with its port if that is not the scheme's.
    pub host: &'a str,
    /// The path, encoded by [`encoded`].
    pub path: &'a str,
    /// The query, encoded, with its parameters sorted by their names and an `=` in each.
    pub query: &'a str,
    /// The digest of the body, from [`digest_of`].
    pub body: &'a str,
}

/// A body's SHA-256, in hexadecimal digits.
pub fn digest_of(body: &[u8]) -> String {
    hex(digest(&SHA256, body).as_ref())
}

/// `text` as it stands in a signed URL: everything but letters, digits and `-._~` is percent-encoded, and slashes are
/// unless `keeps_slashes`.
pub fn encoded(text: &str, keeps_slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            b'/' if keeps_slashes => encoded.push('/'),
            _ => {
                // Writing to a string does not fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// The headers that a request has because it is signed; all but `host`, which it has anyway.
pub fn headers(
    request: &Signed<'_>,
    by: &Credentials,
    region: &str,
    now: SystemTime,
) -> Vec<(&'static str, String)> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // 2026-11-28T04:05:06.789Z becomes 20261128T040506Z.
    let text: String = rfc3339(since).chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let time = format!("{}Z", text.split('.').next().unwrap_or_default());
    let date = &time[..8];
    let mut headers =
        vec![("x-amz-content-sha256", request.body.to_owned()), ("x-amz-date", time.clone())];
    if let Some(session) = &by.session {
        headers.push(("x-amz-security-token", session.expose().to_owned()));
    }
    let names: Vec<_> = ["host"].into_iter().chain(headers.iter().map(|(name, _)| *name)).collect();
    let names = names.join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let Signed { method, host, path, query, body } = request;
    let canonical = format!("{method}\n{path}\n{query}\nhost:{host}\n{lines}\n{names}\n{body}");
    let scope = format!("{date}/{region}/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", digest_of(canonical.as_bytes()));
    let key = format!("AWS4{}", by.secret_key.expose());
    let parts = [date, region, "s3", "aws4_request"];
    let key = parts.into_iter().fold(key.into_bytes(), |key, part| mac(&key, part));
    let signature = hex(&mac(&key, &to_sign));
    let credential = format!("{}/{scope}", by.access_key.expose());
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    );
    headers.push(("authorization", value));
    headers
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The example of Amazon's documentation ("GET Bucket Lifecycle", Authenticating Requests: Using the Authorization
    /// Header): its keys are nobody's.
    #[test]
    fn the_documented_example_is_signed_as_documented() {
        let by = Credentials {
            access_key: Secret::new("AKIAIOSFODNN7EXAMPLE"),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session: None,
        };
        let request = Signed {
            method: "GET",
            host: "examplebucket.s3.amazonaws.com",
            path: "/",
            query: "lifecycle=",
            body: &digest_of(b""),
        };
        // 2013-05-24T00:00:00Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let headers = headers(&request, &by, "us-east-1", now);
        let (_, authorization) = headers.last().expect("signed");
        assert_eq!(
            authorization,
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
             Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert!(headers.contains(&("x-amz-date", "20130524T000000Z".to_owned())));
    }

    #[test]
    fn names_are_encoded_as_they_are_signed() {
        assert_eq!(encoded("a/b c~%\u{e4}+", true), "a/b%20c~%25%C3%A4%2B");
        assert_eq!(encoded("a/b", false), "a%2Fb");
    }
}
