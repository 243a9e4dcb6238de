//! `?scope=cluster`: the same call at every node of `api.peers`, and one answer of all of them.
//!
//! Peers are asked for their own answer, so that a question does not go round. A node whose answer says that it is this
//! process, or one that has answered already under another address, counts once.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Display,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, future::join_all, stream};
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt as _, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use weir_config::HostPort;
use weir_edge::Name;
use weir_tls::client::{Spoken, Trust};

use super::{
    answer::{COUNT_MAX, Failure, Peer, Scope},
    foreign::{Fields, Items, fields, is_too_deep, number},
    gate::{self, Room},
    state::Api,
};
use crate::http::HEAD_BYTES_MAX;

/// How long one peer may take, from the look-up of its name to the end of its answer. Whoever asks wants to know what
/// the others say, the more so when one of them hangs.
const PEER_TIMEOUT: Duration = Duration::from_secs(2);

/// Peers that are asked for one call at the same time.
const AT_ONCE: usize = 32;

/// Peers that are asked at all: a slip in a name must not make us ask a whole network.
const PEERS_MAX: usize = 256;

/// Bytes of a peer's answer: ten thousand clients take some 5 MB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Bytes of a peer's name, and of its reason to refuse: those of this API are shorter.
const NAME_BYTES_MAX: usize = 512;

/// An answer in JSON, as a text that has been made already, and has its room.
pub struct Text(gate::Text);

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        let (bytes, held) = self.0.into_parts();
        let mut answer = ([(CONTENT_TYPE, "application/json")], bytes).into_response();
        answer.extensions_mut().insert(Arc::new(held));
        answer
    }
}

/// The answer of a list, of which a part is wanted: `own` gives this node's part from one item on, and how many.
///
/// # Errors
/// When the answer cannot be written, or there is no room for it.
pub async fn paged<T: Serialize>(
    api: &Api,
    scope: Scope,
    (path, list): (&str, &str),
    (start, count): (usize, usize),
    own: impl Fn(usize, usize) -> Result<T, Failure>,
) -> Result<Text, Failure> {
    if scope == Scope::Node {
        return text(api, &own(start, count)?);
    }
    let most = start.saturating_add(count).min(COUNT_MAX);
    // What `own` borrows need not be `Send`: it is done before anybody is waited for.
    let mine = text(api, &own(0, most)?)?;
    let query = format!("{path}?start=0&count={most}");
    let said = ask_all(api, &query).await;
    merge(api, list, &mine, said, (start, count))
}

/// The answer of a list that is wanted as a whole.
///
/// # Errors
/// When the answer cannot be written, or there is no room for it.
pub async fn merged<T: Serialize>(
    api: &Api,
    scope: Scope,
    (path, list): (&str, &str),
    own: T,
) -> Result<Text, Failure> {
    let mine = text(api, &own)?;
    drop(own);
    match scope {
        Scope::Node => Ok(mine),
        Scope::Cluster => merge(api, list, &mine, ask_all(api, path).await, (0, usize::MAX)),
    }
}

/// The answer of what cannot be merged: this node's, and in `nodes` that of each.
///
/// # Errors
/// When the answer cannot be written, or there is no room for it.
pub async fn side_by_side<T: Serialize>(
    api: &Api,
    scope: Scope,
    path: &str,
    own: T,
) -> Result<Text, Failure> {
    let mine = text(api, &own)?;
    drop(own);
    if scope == Scope::Node {
        return Ok(mine);
    }
    let (parts, peers) = sort_out(api, ask_all(api, path).await);
    let mine = mine.0.bytes();
    let data = |bytes| {
        let data = fields(bytes).unwrap_or_default().get("data").copied();
        data.filter(|data| !is_too_deep(data.get()))
    };
    let mut nodes: Vec<_> =
        data(mine).map(|data| Part { node: api.identity.node(), data }).into_iter().collect();
    for (node, said) in &parts {
        nodes.extend(data(said.bytes()).map(|data| Part { node: node.clone(), data }));
    }
    let added = [("nodes", Piece::Nodes(nodes)), ("peers", Piece::Peers(peers))];
    written(api, &whole(mine, added)?)
}

/// What one node says, as it says it.
#[derive(Serialize)]
struct Part<'a> {
    node: String,
    data: &'a RawValue,
}

/// An answer in its envelope.
fn text<T: Serialize>(api: &Api, own: &T) -> Result<Text, Failure> {
    written(api, &api.identity.wrap(own))
}

fn written<T: Serialize>(api: &Api, value: &T) -> Result<Text, Failure> {
    let mut text = api.gate.room().text();
    match serde_json::to_writer(&mut text, value) {
        Ok(()) => Ok(Text(text)),
        // It is written to memory: there was no room.
        Err(error) if error.is_io() => Err(gate::no_room()),
        Err(error) => Err(unwritable(error)),
    }
}

fn unwritable(error: impl Display) -> Failure {
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error)
}

/// An answer of this node, of which some members are others.
type Whole<'a> = BTreeMap<Cow<'a, str>, Piece<'a>>;

/// One member of an answer. Nothing is made of it before it is written.
#[derive(Serialize)]
#[serde(untagged)]
enum Piece<'a> {
    Same(&'a RawValue),
    Number(u64),
    Peers(Vec<Peer>),
    Nodes(Vec<Part<'a>>),
    Items(Items<'a>),
}

fn whole<'a, const N: usize>(
    mine: &'a [u8],
    added: [(&'a str, Piece<'a>); N],
) -> Result<Whole<'a>, Failure> {
    let mine: Fields<'_> = serde_json::from_slice(mine).map_err(unwritable)?;
    let mut whole: Whole<'_> =
        mine.0.into_iter().map(|(name, value)| (name, Piece::Same(value))).collect();
    whole.extend(added.map(|(name, piece)| (Cow::Borrowed(name), piece)));
    Ok(whole)
}

fn merge(
    api: &Api,
    list: &str,
    mine: &Text,
    said: Vec<Asked>,
    (start, count): (usize, usize),
) -> Result<Text, Failure> {
    let (parts, peers) = sort_out(api, said);
    let mine = mine.0.bytes();
    let own = std::iter::once((api.identity.node(), mine));
    let others = parts.iter().map(|(node, said)| (node.clone(), said.bytes()));
    let parts: Vec<_> = own.chain(others).collect();
    let total = |bytes| number(fields(bytes).unwrap_or_default().get("total"));
    let total = parts.iter().filter_map(|(_, bytes)| total(bytes)).fold(0, u64::saturating_add);
    let items = Piece::Items(Items { parts, list, start, count });
    let mut whole = whole(mine, [(list, items), ("peers", Piece::Peers(peers))])?;
    if whole.contains_key("total") {
        whole.insert("total".into(), Piece::Number(total));
    }
    written(api, &whole)
}

/// A peer, or a name that stands for none.
enum Asked {
    Said(SocketAddr, Result<Answered, String>),
    Unknown { name: String, error: String },
}

/// What a peer answered.
struct Answered {
    server: String,
    service: String,
    text: gate::Text,
}

/// The answers of other nodes, each with its name, and what became of each peer; this node is the first of them.
fn sort_out(api: &Api, said: Vec<Asked>) -> (Vec<(String, gate::Text)>, Vec<Peer>) {
    let own = Peer { node: api.identity.node(), address: String::new(), ok: true, error: None };
    let mut seen = HashSet::from([api.identity.service.clone()]);
    let (mut parts, mut peers) = (Vec::new(), vec![own]);
    for asked in said {
        let (address, error) = match asked {
            Asked::Said(address, Ok(Answered { server, service, text })) => {
                let node = format!("{server}/{service}");
                if seen.insert(service) {
                    peers.push(Peer {
                        node: node.clone(),
                        address: address.to_string(),
                        ok: true,
                        error: None,
                    });
                    parts.push((node, text));
                }
                continue;
            }
            Asked::Said(address, Err(error)) => (address.to_string(), error),
            Asked::Unknown { name, error } => (name, error),
        };
        peers.push(Peer { node: address.clone(), address, ok: false, error: Some(error) });
    }
    (parts, peers)
}

/// Asks every peer for `path`; the answers are in the order of the addresses.
async fn ask_all(api: &Api, path: &str) -> Vec<Asked> {
    let config = api.node.config();
    let (addresses, mut answers) = resolve(api, &config).await;
    let token = config.api.peer_token.as_ref().map(|token| token.expose().to_owned());
    let question = Question {
        path: format!("/api/v1/{path}"),
        token,
        trust: api.tls.trust(),
        room: api.gate.room().clone(),
    };
    let asked = addresses.into_iter().map(|address| {
        let (question, peers) = (&question, &api.peers);
        async move {
            let Ok(_connection) = peers.connection().await else {
                return Asked::Said(address, Err("the server is shutting down".to_owned()));
            };
            let answered = timeout(PEER_TIMEOUT, question.ask(address)).await;
            let late = || Err(format!("no answer within {PEER_TIMEOUT:?}"));
            Asked::Said(address, answered.unwrap_or_else(|_| late()))
        }
    });
    let mut said: Vec<Asked> =
        stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
    said.sort_by_key(|asked| match asked {
        Asked::Said(address, _) => Some(*address),
        Asked::Unknown { .. } => None,
    });
    answers.extend(said);
    answers
}

/// The addresses of all peers, and the names that have none.
async fn resolve(api: &Api, config: &weir_config::Config) -> (Vec<SocketAddr>, Vec<Asked>) {
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
    peer: &HostPort,
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

/// What every peer is asked.
struct Question {
    path: String,
    token: Option<String>,
    trust: Option<Trust>,
    room: Room,
}

impl Question {
    /// Asks one peer.
    async fn ask(&self, address: SocketAddr) -> Result<Answered, String> {
        let socket = TcpStream::connect(address).await;
        let socket = socket.map_err(|error| format!("cannot connect: {error}"))?;
        match &self.trust {
            None => self.exchange(socket, address).await,
            Some(trust) => {
                let host = address.ip().to_string();
                let stream = trust.connect(socket, &host, Spoken::Http).await;
                let stream = stream.map_err(|error| format!("TLS failed: {error}"))?;
                self.exchange(stream, address).await
            }
        }
    }

    async fn exchange<S>(&self, socket: S, address: SocketAddr) -> Result<Answered, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let failed = |error: hyper::Error| format!("HTTP failed: {error}");
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(failed)?;
        // Ends with this function.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let mut request =
            Request::get(&self.path).header(HOST, address.to_string()).header(CONNECTION, "close");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        let text = self.collect(response.into_body()).await?;
        let envelope: Envelope<'_> = serde_json::from_slice(text.bytes()).unwrap_or_default();
        let is_short = |name: &Cow<'_, str>| name.len() <= NAME_BYTES_MAX;
        if status == StatusCode::OK
            && let Some(service) = envelope.service.filter(is_short)
        {
            let server = envelope.server.filter(is_short).unwrap_or_default().into_owned();
            let service = service.into_owned();
            return Ok(Answered { server, service, text });
        }
        let words = envelope.error.filter(is_short);
        let words = words.unwrap_or("not an answer of the Weir API".into());
        let hint = if status == StatusCode::UNAUTHORIZED { " (set api.peer_token)" } else { "" };
        Err(format!("it answered {}: {words}{hint}", status.as_u16()))
    }

    /// Reads an answer, as far as there is room.
    async fn collect(&self, body: Incoming) -> Result<gate::Text, String> {
        let mut body = Limited::new(body, ANSWER_BYTES_MAX);
        let mut text = self.room.text();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("incomplete answer: {error}"))?;
            let Ok(data) = frame.into_data() else { continue };
            text.write_all(&data)
                .map_err(|_| "no memory left for its answer; request less".to_owned())?;
        }
        Ok(text)
    }
}

/// What counts of an answer's envelope.
#[derive(Default, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    server: Option<Cow<'a, str>>,
    #[serde(borrow)]
    service: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
}
