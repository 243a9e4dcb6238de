//! `?scope=cluster`: the same call at every node of `api.peers`, and one answer of all of them.
//!
//! Peers are asked for their own answer, so that a question does not go round. A node whose answer says that it is this
//! process, or one that has answered already under another address, counts once.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Json, body::Body};
use futures_util::{StreamExt as _, future::join_all, stream};
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONNECTION, HOST},
};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use utoipa::ToSchema;

use super::{
    Api,
    answer::{COUNT_MAX, Failure, Scope},
    tls::{Tls, Trust},
};
use crate::{
    config::{self, OriginName},
    edge::Name,
};

/// How long one peer may take, from the look-up of its name to the end of its answer. Whoever asks wants to know what
/// the others say, the more so when one of them hangs.
const PEER_TIMEOUT: Duration = Duration::from_secs(2);

/// Peers that are asked at the same time.
const AT_ONCE: usize = 32;

/// Peers that are asked at all: a slip in a name must not make us ask a whole network.
const PEERS_MAX: usize = 256;

/// Bytes of a peer's answer: ten thousand clients take some 5 MB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A node that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Peer {
    /// Its name, the same as in the items that are its; its address where it did not answer.
    node: String,
    /// Where it was asked; empty for the node that answers.
    address: String,
    /// Whether its part is in the answer.
    ok: bool,
    /// Why not.
    #[schema(required)]
    error: Option<String>,
}

/// What one node says.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Node {
    /// Its name.
    node: String,
    /// The same as `data` of its own answer.
    #[schema(value_type = Object)]
    data: Value,
}

/// Names of peers that have been looked up.
#[derive(Debug)]
pub struct Peers {
    names: Mutex<HashMap<String, Name>>,
    turns: Semaphore,
}

/// Answers of whole clusters that are gathered at a time: each may be as large as all peers together may say.
const GATHERINGS: usize = 4;

impl Default for Peers {
    fn default() -> Self {
        Self { names: Mutex::default(), turns: Semaphore::new(GATHERINGS) }
    }
}

impl Peers {
    /// What is known of the names, which is the caller's until it puts it back.
    fn take(&self) -> HashMap<String, Name> {
        std::mem::take(&mut *self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, names: HashMap<String, Name>) {
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }
}

/// The answer of a list, of which a part is wanted: `own` gives this node's part from one item on, and how many.
///
/// # Errors
/// When the answer cannot be written.
pub async fn paged<T: Serialize>(
    api: &Api,
    scope: Scope,
    (path, list): (&str, &str),
    (start, count): (usize, usize),
    own: impl Fn(usize, usize) -> T,
) -> Result<Json<Value>, Failure> {
    if scope == Scope::Node {
        return Ok(Json(value(api, &own(start, count))));
    }
    let most = start.saturating_add(count).min(COUNT_MAX);
    // What `own` borrows need not be `Send`: it is done before anybody is waited for.
    let mine = value(api, &own(0, most));
    let query = format!("{path}?start=0&count={most}");
    let mut whole = merge(api, list, mine, ask_all(api, &query).await);
    if let Some(items) = whole[list].as_array_mut() {
        *items = std::mem::take(items).into_iter().skip(start).take(count).collect();
    }
    Ok(Json(whole))
}

/// The answer of a list that is wanted as a whole.
///
/// # Errors
/// When the answer cannot be written.
pub async fn merged<T: Serialize>(
    api: &Api,
    scope: Scope,
    (path, list): (&str, &str),
    own: T,
) -> Result<Json<Value>, Failure> {
    let mine = value(api, &own);
    drop(own);
    Ok(Json(match scope {
        Scope::Node => mine,
        Scope::Cluster => merge(api, list, mine, ask_all(api, path).await),
    }))
}

/// The answer of what cannot be merged: this node's, and in `nodes` that of each.
pub async fn side_by_side<T: Serialize>(
    api: &Api,
    scope: Scope,
    path: &str,
    own: T,
) -> Json<Value> {
    let mut whole = value(api, &own);
    drop(own);
    if scope == Scope::Cluster {
        let (mut nodes, peers) = (
            vec![Node { node: api.identity.node(), data: whole["data"].clone() }],
            ask_all(api, path).await,
        );
        let (parts, peers) = sort_out(api, peers);
        nodes.extend(
            parts.into_iter().map(|(node, mut part)| Node { node, data: part["data"].take() }),
        );
        whole["nodes"] = serde_json::to_value(nodes).unwrap_or_default();
        whole["peers"] = serde_json::to_value(peers).unwrap_or_default();
    }
    Json(whole)
}

/// An answer in its envelope. Nothing that is answered here cannot be written as JSON.
fn value<T: Serialize>(api: &Api, own: &T) -> Value {
    serde_json::to_value(api.identity.wrap(own)).unwrap_or_default()
}

/// What a peer said.
type Said = (SocketAddr, Result<Value, String>);

fn merge(api: &Api, list: &str, mut whole: Value, said: Vec<Asked>) -> Value {
    let (parts, peers) = sort_out(api, said);
    let mut items = take_items(&mut whole, list, &api.identity.node());
    let mut total = whole["total"].as_u64();
    for (node, mut part) in parts {
        items.extend(take_items(&mut part, list, &node));
        total = total.map(|total| total + part["total"].as_u64().unwrap_or(0));
    }
    whole[list] = items.into();
    if let Some(total) = total {
        whole["total"] = total.into();
    }
    whole["peers"] = serde_json::to_value(peers).unwrap_or_default();
    whole
}

fn take_items(part: &mut Value, list: &str, node: &str) -> Vec<Value> {
    let Value::Array(mut items) = part[list].take() else { return Vec::new() };
    for item in items.iter_mut().filter(|item| item.is_object()) {
        item["node"] = node.into();
    }
    items
}

/// A peer, or a name that stands for none.
enum Asked {
    Said(Said),
    Unknown { name: String, error: String },
}

/// The answers of other nodes, each with its name, and what became of each peer; this node is the first of them.
fn sort_out(api: &Api, said: Vec<Asked>) -> (Vec<(String, Value)>, Vec<Peer>) {
    let own = Peer { node: api.identity.node(), address: String::new(), ok: true, error: None };
    let mut seen = HashSet::from([api.identity.service.clone()]);
    let (mut parts, mut peers) = (Vec::new(), vec![own]);
    for asked in said {
        let (address, error) = match asked {
            Asked::Said((address, Ok(part))) => {
                let field = |name: &str| part[name].as_str().unwrap_or_default().to_owned();
                if seen.insert(field("service")) {
                    let node = format!("{}/{}", field("server"), field("service"));
                    peers.push(Peer {
                        node: node.clone(),
                        address: address.to_string(),
                        ok: true,
                        error: None,
                    });
                    parts.push((node, part));
                }
                continue;
            }
            Asked::Said((address, Err(error))) => (address.to_string(), error),
            Asked::Unknown { name, error } => (name, error),
        };
        peers.push(Peer { node: address.clone(), address, ok: false, error: Some(error) });
    }
    (parts, peers)
}

/// Asks every peer for `path`; the answers are in the order of the addresses.
async fn ask_all(api: &Api, path: &str) -> Vec<Asked> {
    // Answers of whole clusters are large: few of them are gathered at a time. It is never closed.
    let _turn = api.peers.turns.acquire().await;
    let config = api.node.config();
    let (addresses, mut asked) = resolve(api, &config).await;
    let token = config.api.peer_token.as_ref().map(|token| token.expose().to_owned());
    let trust = api.tls.trust();
    let questions = addresses.into_iter().map(|address| {
        let (token, trust) = (token.clone(), trust.clone());
        let path = format!("/api/v1/{path}");
        async move {
            let answered =
                timeout(PEER_TIMEOUT, ask(address, &path, token.as_deref(), trust)).await;
            let late = || format!("no answer within {PEER_TIMEOUT:?}");
            (address, answered.unwrap_or_else(|_| Err(late())))
        }
    });
    let mut said: Vec<Said> =
        stream::iter(questions.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
    said.sort_by_key(|(address, _)| *address);
    asked.extend(said.into_iter().map(Asked::Said));
    asked
}

/// The addresses of all peers, and the names that have none.
async fn resolve(api: &Api, config: &config::Config) -> (Vec<SocketAddr>, Vec<Asked>) {
    let (mut addresses, mut unknown) = (Vec::new(), Vec::new());
    // Whoever asks meanwhile looks them up as well.
    let mut names = api.peers.take();
    let looked = config.api.peers.iter().map(|peer| {
        let name = names.remove(&peer.host);
        async move { (peer, look_up(name, peer, &config.edge.resolvers).await) }
    });
    let looked = join_all(looked.collect::<Vec<_>>()).await;
    let mut known = HashMap::new();
    for (peer, (name, found)) in looked {
        known.extend(name.map(|name| (peer.host.clone(), name)));
        match found {
            Ok(found) => {
                addresses.extend(found.into_iter().map(|ip| SocketAddr::new(ip, peer.port)));
            }
            Err(error) => unknown.push(Asked::Unknown { name: peer.to_string(), error }),
        }
    }
    api.peers.put(known);
    addresses.sort();
    addresses.dedup();
    addresses.truncate(PEERS_MAX);
    (addresses, unknown)
}

/// The addresses of `peer`, and what remembers them for the next time.
async fn look_up(
    name: Option<Name>,
    peer: &OriginName,
    servers: &[SocketAddr],
) -> (Option<Name>, Result<Vec<IpAddr>, String>) {
    if let Ok(ip) = peer.host.parse() {
        return (None, Ok(vec![ip]));
    }
    let name = name.map_or_else(|| Name::new(&peer.host, servers, "api.peers"), Ok);
    let mut name = match name {
        Ok(name) => name,
        Err(error) => return (None, Err(error.to_string())),
    };
    // What was known before is good enough where the servers do not answer in time.
    let _ = timeout(PEER_TIMEOUT, name.look_up()).await;
    let addresses = name.addresses();
    let none = || Err("the name has no addresses".to_owned());
    let found = if addresses.is_empty() { none() } else { Ok(addresses) };
    (Some(name), found)
}

/// Asks one peer.
async fn ask(
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
    trust: Option<Arc<Trust>>,
) -> Result<Value, String> {
    let socket =
        TcpStream::connect(address).await.map_err(|error| format!("cannot connect: {error}"))?;
    match trust {
        None => exchange(socket, address, path, token).await,
        Some(trust) => {
            let socket = Tls::connect(&trust, socket, address.ip()).await;
            let socket = socket.map_err(|error: io::Error| format!("no TLS: {error}"))?;
            exchange(socket, address, path, token).await
        }
    }
}

async fn exchange<S>(
    socket: S,
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
) -> Result<Value, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| format!("no HTTP: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(failed)?;
    // Ends with this function.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let mut request =
        Request::get(path).header(HOST, address.to_string()).header(CONNECTION, "close");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| format!("no whole answer: {error}"))?.to_bytes();
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status == StatusCode::OK && answer["service"].is_string() {
        return Ok(answer);
    }
    let words = answer["error"].as_str().unwrap_or("that is no answer of this API");
    let hint = if status == StatusCode::UNAUTHORIZED { " (set api.peer_token)" } else { "" };
    Err(format!("it answers {}: {words}{hint}", status.as_u16()))
}
