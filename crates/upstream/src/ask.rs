//! What those say who ask for a stream.

use std::{net::IpAddr, sync::Arc, time::Duration};

use weir_config::Secret;
use weir_flv::amf0;

use crate::hops::Hops;

/// What a request for a stream says beside its name.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The parameters of its URL, with the `?`; empty if there are none.
    pub params: String,
    /// The edges it has come through.
    pub hops: Hops,
    /// The address of whoever asks.
    pub peer: Option<IpAddr>,
    /// How long the one who asks wants to wait for the stream to begin; as long as we like, if it does not say.
    pub wait: Option<Duration>,
    /// Whether its viewers have had what there is, and wait for somebody else to publish the stream.
    pub next: bool,
    /// The secret by which an edge shows that it is one of ours.
    pub token: Option<Secret>,
    /// The URL that it has connected to over RTMP, without the stream, as it says; empty over HTTP.
    pub tc_url: Arc<str>,
    /// The page that its player is in, as it says; empty if it does not.
    pub page_url: Arc<str>,
}

/// The longest URL of a page that is passed on: browsers cut those of `Referer` at 4096 bytes, and send sites that are
/// not their own the host alone.
const PAGE_BYTES_MAX: usize = 2048;

impl Ask {
    /// The field of the command object of `connect` with the page that the player is in.
    pub const PAGE_FIELD: &'static str = "pageUrl";

    /// The same as an HTTP header field.
    pub const PAGE_HEADER: &'static str = "referer";

    /// The field of the command object of `connect` that holds [`Ask::wait`] in milliseconds.
    pub const WAIT_FIELD: &'static str = "weirWait";

    /// The same as an HTTP header field.
    pub const WAIT_HEADER: &'static str = "weir-wait";

    /// The field of the command object of `connect` that is `true` for [`Ask::next`].
    pub const NEXT_FIELD: &'static str = "weirNext";

    /// The HTTP header field that is there for [`Ask::next`].
    pub const NEXT_HEADER: &'static str = "weir-next";

    /// The field of the command object of `connect` with the secret of an edge. It is in no URL, which others log.
    pub const TOKEN_FIELD: &'static str = "weirToken";

    /// The same as an HTTP header field.
    pub const TOKEN_HEADER: &'static str = "weir-token";

    /// The secret of an edge in such a field: none if that is empty.
    pub fn token_of(text: &str) -> Option<Secret> {
        (!text.is_empty()).then(|| Secret::new(text))
    }

    /// The page that its player is in, where other servers can be told of it: URLs are ASCII, and no longer.
    pub fn page(&self) -> Arc<str> {
        let is_url = self.page_url.len() <= PAGE_BYTES_MAX
            && self.page_url.bytes().all(|byte| byte.is_ascii_graphic());
        if is_url { Arc::clone(&self.page_url) } else { Arc::default() }
    }

    /// How long the one who asks is let wait where `usual` is what viewers may wait.
    pub fn wait_at_most(&self, usual: Duration) -> Duration {
        self.wait.map_or(usual, |wait| wait.min(usual))
    }

    /// The part that HTTP header fields hold.
    pub fn of_fields(params: String, hops: &str, wait: &str, next: &str) -> Self {
        let wait = wait.parse().ok().map(Duration::from_millis);
        let next = !next.is_empty();
        Self { params, hops: Hops::parse(hops), wait, next, ..Self::default() }
    }
}

/// What a question for a stream says beside its name: other servers than Weir do not read it.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The nodes that the question has come through, this one included.
    pub hops: &'a Hops,
    /// How long the server may hold it until the stream begins.
    pub wait: Duration,
    /// As [`Ask::next`].
    pub next: bool,
}

impl Asking<'_> {
    /// The same as fields of the command object of `connect`.
    pub fn fields(&self) -> amf0::Object {
        let wait = u32::try_from(self.wait.as_millis()).unwrap_or(u32::MAX);
        let mut fields = amf0::Object::new();
        fields.push(Hops::FIELD, self.hops.to_string());
        fields.push(Ask::WAIT_FIELD, wait);
        if self.next {
            fields.push(Ask::NEXT_FIELD, true);
        }
        fields
    }

    /// The same as HTTP header fields.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let wait = u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX);
        let mut headers =
            vec![(Hops::HEADER, self.hops.to_string()), (Ask::WAIT_HEADER, wait.to_string())];
        if self.next {
            headers.push((Ask::NEXT_HEADER, "1".to_owned()));
        }
        headers
    }
}
