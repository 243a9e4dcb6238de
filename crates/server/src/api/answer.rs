//! What calls answer with: an envelope around every answer, and refusals with a status, a number and a sentence.

use std::fmt::Display;

use axum::{
    Json,
    extract::{FromRequestParts, Query},
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
    request::Parts,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use weir_hooks::Names;

/// Numbers of refusals. Those that SRS has a number for have that one; the others have the number of their HTTP status.
pub mod code {
    /// There is no such vhost.
    pub const VHOST_NOT_FOUND: u32 = 2014;
    /// There is no such stream, or nobody publishes it.
    pub const STREAM_NOT_FOUND: u32 = 2048;
    /// There is no such client.
    pub const CLIENT_NOT_FOUND: u32 = 2049;
    /// The call needs rights that were not shown.
    pub const AUTH: u32 = 1102;
    /// `raw` is asked for what it does not know.
    pub const RAW: u32 = 1060;
    /// `raw` may not do what it is asked for.
    pub const RAW_DISABLED: u32 = 1061;
}

/// In the extensions of a response: SRS answers this with status 200 and a code.
#[derive(Clone, Copy, Debug)]
pub struct SrsStatus;

/// Who answers: the same for all answers of a process.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The machine or pod.
    pub server: String,
    /// This process, another one after each start.
    pub service: String,
    pid: String,
}

impl Identity {
    /// That of this server.
    pub fn of(names: &Names) -> Self {
        let Names { server, service } = names.clone();
        Self { server, service, pid: std::process::id().to_string() }
    }

    /// The name of this node among its peers.
    pub fn node(&self) -> String {
        format!("{}/{}", self.server, self.service)
    }

    /// `body` in its envelope.
    pub fn answer<T: Serialize>(&self, body: T) -> Json<Answer<T>> {
        Json(self.wrap(body))
    }

    /// The same, to be merged with those of peers.
    pub fn wrap<T: Serialize>(&self, body: T) -> Answer<T> {
        Answer {
            code: 0,
            server: self.server.clone(),
            service: self.service.clone(),
            pid: self.pid.clone(),
            body,
            nodes: None,
            peers: None,
        }
    }
}

/// An answer in its envelope.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Answer<T> {
    /// 0 for success.
    pub code: u32,
    /// An id of the machine or pod that answers.
    pub server: String,
    /// An id of the process that answers, new after each start.
    pub service: String,
    /// Its process id.
    pub pid: String,
    #[serde(flatten)]
    body: T,
    /// With `scope=cluster`, where the answers of nodes cannot be merged: the answer of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<Node>>,
    /// With `scope=cluster`: the nodes that were asked, this one included.
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<Vec<Peer>>,
}

/// A node that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Peer {
    /// The node's name, as `node` in the items that come from it; its address if it did not answer.
    pub node: String,
    /// The address at which it was asked; empty for the node that answers this call.
    pub address: String,
    /// Whether its items are in the answer.
    pub ok: bool,
    /// Why they are not; null if they are.
    #[cfg_attr(test, schema(required))]
    pub error: Option<String>,
}

/// The answer of one node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Node {
    /// The node's name.
    pub node: String,
    /// `data` of its own answer.
    #[cfg_attr(test, schema(value_type = Object))]
    pub data: Value,
}

/// An answer without anything else.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Done {}

/// Why a call did nothing.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    body: Refused,
    is_srs: bool,
}

/// The body of a refusal.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Refused {
    /// An error code for scripts: SRS's where it has one, otherwise the HTTP status.
    pub code: u32,
    /// The reason, as a sentence for people.
    pub error: String,
    /// The configuration keys that it is about; missing if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// What every call may answer instead.
#[cfg(test)]
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "a description for the document")]
pub enum ReadFailures {
    /// A parameter makes no sense.
    #[response(status = 400)]
    Bad(#[to_schema] Refused),
    /// A token is needed to read.
    #[response(status = 401)]
    Unauthorized(#[to_schema] Refused),
}

/// What calls for administrators may answer instead.
#[cfg(test)]
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "a description for the document")]
pub enum AdminFailures {
    /// The request makes no sense.
    #[response(status = 400)]
    Bad(#[to_schema] Refused),
    /// An administrator's token is needed.
    #[response(status = 401)]
    Unauthorized(#[to_schema] Refused),
    /// The rights that were shown are for reading.
    #[response(status = 403)]
    Forbidden(#[to_schema] Refused),
}

/// What calls about one of many may answer instead.
#[cfg(test)]
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "a description for the document")]
pub enum NotFound {
    /// There is no such thing.
    #[response(status = 404)]
    Missing(#[to_schema] Refused),
}

impl Failure {
    /// Any.
    pub fn new(status: StatusCode, error: impl Display) -> Self {
        let code = u32::from(status.as_u16());
        let body = Refused { code, error: error.to_string(), keys: Vec::new() };
        Self { status, body, is_srs: false }
    }

    /// There is no such thing; `code` says of which kind.
    pub fn not_found(code: u32, error: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, error).with_code(code).with_srs_status()
    }

    /// The call makes no sense.
    pub fn bad(error: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// The same with a number of its own.
    pub fn with_code(mut self, code: u32) -> Self {
        self.body.code = code;
        self
    }

    /// The same, which SRS answers with status 200.
    pub fn with_srs_status(mut self) -> Self {
        self.is_srs = true;
        self
    }

    /// The same, about these keys of the configuration.
    pub fn about(mut self, keys: Vec<String>) -> Self {
        self.body.keys = keys;
        self
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, Json(self.body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        if self.is_srs {
            response.extensions_mut().insert(SrsStatus);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// Parameters behind the `?`; wrong ones are refused with a sentence.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(params)| Self(params)).map_err(|why| Failure::bad(why.body_text()))
    }
}

/// Whose answer is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// This node's.
    #[default]
    Node,
    /// That of all nodes of `api.peers` too.
    Cluster,
}

/// For calls that the whole cluster can answer.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub struct Scoped {
    /// Whose answer is wanted: `node` is this node's, `cluster` merges that of all nodes of `api.peers`.
    #[serde(default)]
    #[cfg_attr(test, param(inline))]
    pub scope: Scope,
}

/// How many items of a list are answered where nobody says: as in SRS.
const COUNT: usize = 10;

/// Most items that are answered at once.
pub const COUNT_MAX: usize = 10_000;

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub struct Page {
    /// How many items are left out at the beginning; 0 where it is not said.
    #[cfg_attr(test, param(minimum = 0, maximum = 4_294_967_295_u64))]
    pub start: Option<u32>,
    /// How many items are wanted, 10 where it is not said.
    #[cfg_attr(test, param(minimum = 0, maximum = 10_000))]
    pub count: Option<u32>,
    /// Whose answer is wanted: `node` is this node's, `cluster` merges that of all nodes of `api.peers`.
    #[serde(default)]
    #[cfg_attr(test, param(inline))]
    pub scope: Scope,
}

impl Page {
    /// Where it begins and how much it is.
    ///
    /// # Errors
    /// When it is more than can be answered at once.
    pub fn range(&self) -> Result<(usize, usize), Failure> {
        let count = self.count.map_or(COUNT, |count| count as usize);
        if count > COUNT_MAX {
            let most = format!(
                "count: {count} is too large (maximum {COUNT_MAX}); use start for the next page"
            );
            return Err(Failure::bad(most));
        }
        Ok((self.start.unwrap_or(0) as usize, count))
    }
}
