//! What those say who ask for a stream.

use std::{net::IpAddr, sync::Arc, time::Duration};

use weir_config::Secret;

use weir_upstream::Hops;

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

impl Ask {
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
