//! Where finished files are uploaded to.

use std::{fmt, path::PathBuf};

use serde_json::json;

use super::{
    host::{HostPort, parse_host},
    kind::{Json, Maybe, Secrets, Text, section},
    scalar::{Bytes, File, Secret, SecretOrNone, Switch, Whole},
    value::Problem,
};

/// What S3 takes as a part of an upload that is not the last one.
const PART_MIN: u64 = 5 << 20;
/// More would be slower than one: they share the line, and the disk.
const AT_ONCE_MAX: u64 = 32;

/// Bytes of a prefix: keys have 1024 in all.
const PREFIX_MAX: usize = 512;

section! {
    /// Where finished files are uploaded to: a bucket of a storage that speaks S3.
    Upload / UploadKeys {
        /// The bucket, and what keys begin with there: `s3://bucket/prefix`. Without it nothing is uploaded.
        url: Option<Bucket> = None, BucketOrNone;
        /// The server, with its scheme: `http://minio:9000`. Without it, that of Amazon for the region.
        endpoint: Option<Endpoint> = None, EndpointOrNone;
        /// The region, which is part of each signature.
        region: String = "us-east-1".to_owned(), Region;
        /// The access key.
        access_key: Option<Secret> = None, SecretOrNone;
        /// The secret key.
        secret_key: Option<Secret> = None, SecretOrNone;
        /// A file with both, as the AWS tools have it, of which the section `default` counts.
        credentials: Option<PathBuf> = None, Maybe<File>;
        /// The PEM file with the CA certificates of the server; without it, those of the system.
        ca: Option<PathBuf> = None, Maybe<File>;
        /// Whether recordings are uploaded.
        recordings: bool = true, Switch;
        /// Whether segments of HLS are, and after them the playlists that list them.
        hls: bool = false, Switch;
        /// Whether recordings stay here when they have been uploaded.
        keep_local: bool = true, Switch;
        /// Larger files are uploaded in parts of this size.
        part: u64 = 8 << 20, Bytes<PART_MIN>;
        /// Files that are uploaded at the same time; each holds one part in memory.
        at_once: usize = 4, Whole<usize, 1, AT_ONCE_MAX>;
    }
}

impl Upload {
    /// Where requests go.
    pub fn server(&self) -> Endpoint {
        self.endpoint.clone().unwrap_or_else(|| {
            let host = format!("s3.{}.amazonaws.com", self.region);
            Endpoint { is_tls: true, host: HostPort { host, port: 443 } }
        })
    }
}

/// A bucket, and what keys begin with there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Without slashes at its ends; it may be empty.
    pub prefix: String,
}

impl Bucket {
    /// The key of a file that has this path.
    pub fn key(&self, path: &str) -> String {
        if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.key_in_bucket())
    }
}

impl Bucket {
    fn key_in_bucket(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}{slash}{}", self.name, self.prefix)
    }
}

/// `s3://bucket/prefix`, or nothing.
pub struct BucketOrNone;

impl Text for BucketOrNone {
    type Value = Option<Bucket>;

    fn parse(text: &str) -> Result<Self::Value, Problem> {
        const FIX: &str = "write s3://BUCKET or s3://BUCKET/PREFIX";
        if text.is_empty() {
            return Ok(None);
        }
        let not_one = || Problem::new(format!("`{text}` is not a bucket"), FIX);
        let rest = text.strip_prefix("s3://").ok_or_else(not_one)?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_common = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        // Amazon's rules, and those of its first years.
        if name.len() < 3 || name.len() > 255 || !name.chars().all(is_common) {
            return Err(not_one());
        }
        let prefix = prefix.trim_end_matches('/');
        let is_bad = |level: &str| matches!(level, "" | "." | "..");
        if prefix.len() > PREFIX_MAX || (!prefix.is_empty() && prefix.split('/').any(is_bad)) {
            return Err(Problem::new(format!("`{prefix}` cannot begin a key"), FIX));
        }
        Ok(Some(Bucket { name: name.to_owned(), prefix: prefix.to_owned() }))
    }

    fn show(value: &Self::Value, _: Secrets) -> Json {
        value.as_ref().map_or_else(|| "".into(), |bucket| bucket.to_string().into())
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(|s3://[A-Za-z0-9._-]{3,255}(/.*)?)$" })
    }
}

/// A server of HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Whether it is spoken over TLS.
    pub is_tls: bool,
    /// Where it is.
    pub host: HostPort,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, port) = if self.is_tls { ("https", 443) } else { ("http", 80) };
        let shown = self.host.to_string();
        let suffix = format!(":{port}");
        let shown = shown.strip_suffix(&suffix).unwrap_or(&shown);
        write!(f, "{scheme}://{shown}")
    }
}

/// The URL of a server, or nothing.
pub struct EndpointOrNone;

impl Text for EndpointOrNone {
    type Value = Option<Endpoint>;

    fn parse(text: &str) -> Result<Self::Value, Problem> {
        if text.is_empty() {
            return Ok(None);
        }
        let (is_tls, host) = match text.split_once("://") {
            Some((scheme, host)) if scheme.eq_ignore_ascii_case("http") => (false, host),
            Some((scheme, host)) if scheme.eq_ignore_ascii_case("https") => (true, host),
            _ => {
                let fix = "write http:// or https:// and the host, such as https://minio:9000";
                return Err(Problem::new(format!("`{text}` has no scheme"), fix));
            }
        };
        let default = if is_tls { 443 } else { 80 };
        let (host, port) = parse_host(host.trim_end_matches('/'), default)?;
        let host = HostPort { host: host.to_string(), port: port.unwrap_or(default) };
        Ok(Some(Endpoint { is_tls, host }))
    }

    fn show(value: &Self::Value, _: Secrets) -> Json {
        value.as_ref().map_or_else(|| "".into(), |endpoint| endpoint.to_string().into())
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(|[Hh][Tt][Tt][Pp][Ss]?://.+)$" })
    }
}

/// The name of a region.
pub struct Region;

impl Text for Region {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        let is_common = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if text.is_empty() || text.len() > 64 || !text.chars().all(is_common) {
            let what = format!("`{text}` is not a region");
            return Err(Problem::new(what, "write its name, such as eu-central-1"));
        }
        Ok(text.to_owned())
    }

    fn show(value: &String, _: Secrets) -> Json {
        value.clone().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_and_servers_are_read_as_they_are_shown() {
        let bucket = |text: &str| BucketOrNone::parse(text).map(|it| it.expect("one"));
        for (text, key) in [("s3://archive", "live/a.flv"), ("s3://archive/a/b", "a/b/live/a.flv")]
        {
            let bucket = bucket(text).expect("a bucket");
            assert_eq!(bucket.to_string(), text);
            assert_eq!(bucket.key("live/a.flv"), key);
        }
        assert_eq!(bucket("s3://archive/a/").expect("one").prefix, "a");
        for bad in ["archive", "s3://", "s3://a", "s3://a b c", "s3://abc//d", "s3://abc/../d"] {
            assert!(bucket(bad).is_err(), "{bad}");
        }
        for (text, shown) in [
            ("http://minio:9000", "http://minio:9000"),
            ("https://s3.example.com/", "https://s3.example.com"),
            ("https://[fd00::1]:444", "https://[fd00::1]:444"),
        ] {
            let endpoint = EndpointOrNone::parse(text).expect("a server").expect("one");
            assert_eq!(endpoint.to_string(), shown);
        }
        assert!(EndpointOrNone::parse("minio:9000").is_err());
        let upload = Upload { region: "eu-central-1".to_owned(), ..Upload::default() };
        assert_eq!(upload.server().to_string(), "https://s3.eu-central-1.amazonaws.com");
    }
}
