//! HLS files: `GET /app/stream.m3u8` and `GET /app/stream-<sequence>-<nonce>.ts`.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    net::IpAddr,
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, UNIX_EPOCH},
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderValue, StatusCode, header,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE},
};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use tracing::warn;
use weir_clients::{
    client,
    counts::Refused,
    descriptors,
    quota::{self, Guess, Meter, SESSION, Search, WATCHING, Who},
    roster::Activity,
};
use weir_config::Vhost;
use weir_edge::{Ask, Edge, HlsKind, HlsObject, NoStream, NotServed, Protocol};
use weir_hls::{Held, Rendition, SegmentName, Window};
use weir_hub::Status;
use weir_media::{Budget, Charge, StreamKey, Use};
use weir_outputs::hls::{Files, Found, State};
use weir_rtmp::url::params;

use super::{
    answer::{ANY_ORIGIN, no_room, not_found, plain, retry_after},
    conditional::{self, Conditions, Wanted},
    serve::Peer,
};
use crate::{
    auth::{self, Denied},
    memory,
    node::Node,
    play::{self, Playing, Refusal, Request, Resolved, Resource},
};

/// With a playlist. A cache may answer for us for a moment: half the shortest segment, so that it never costs a viewer
/// a segment.
const PLAYLIST_HEADERS: [(&str, &str); 2] =
    [("content-type", "application/vnd.apple.mpegurl"), ("cache-control", "public, max-age=1")];

/// With a segment. Its name is never used twice.
const SEGMENT_HEADERS: [(&str, &str); 2] =
    [("content-type", "video/mp2t"), ("cache-control", "public, max-age=86400, immutable")];

/// Who asks.
pub struct Asker {
    /// The address.
    pub ip: IpAddr,
    /// The beginning of the `User-Agent`.
    pub agent: String,
    /// What it has already, and which part it wants.
    pub conditions: Conditions,
    /// The connection that it asks on.
    pub peer: Peer,
}

/// Answers with the playlist. A viewer that comes before the publisher, or before the first segment, waits for it. Who
/// gets it is a viewer from then on, unless it `only_looks`.
///
/// # Errors
/// Why it does not get it.
pub async fn playlist(
    node: &Arc<Node>,
    request: &Request<'_>,
    only_looks: bool,
    asker: &Asker,
) -> Result<Response, Refusal> {
    let mut playlist = Playlist { asker, only_looks };
    let Playing { opened: answer, session, .. } =
        play::request(node, request, &mut playlist).await?;
    Ok(match session {
        None if answer.status() != StatusCode::OK => answer,
        None => in_part(answer, None, asker).await,
        Some(watched) => counted(node, in_part(answer, None, asker).await, watched),
    })
}

/// The playlist of a stream, with the name by which its viewer tells itself apart.
struct Playlist<'a> {
    asker: &'a Asker,
    only_looks: bool,
}

impl Resource for Playlist<'_> {
    /// What is answered, whatever that is; only who gets the playlist becomes a viewer.
    type Opened = Response;
    /// What the viewer is sent is to be counted, if it is remembered; none for one that is no viewer.
    type Session = Option<Option<Meter>>;

    const PROTOCOL: Protocol = Protocol::Hls;

    fn note(&self, _: &Request<'_>, _: &StreamKey) {
        // Whether it waits is known with the next step.
    }

    fn look(&mut self, resolved: &Resolved<'_>) -> Result<(), Refusal> {
        let (key, session) = (resolved.key, session(resolved.request));
        let who = who(resolved, &session, self.asker);
        let looked = resolved.node.clients.quotas.look_for_hls(who, Instant::now());
        // Who watches does not wait.
        asks(self.asker, Some(key).filter(|_| looked != Ok(true)));
        looked.map(drop).map_err(|full| Refusal::NoStream { key: key.clone(), why: full.into() })
    }

    async fn open(
        &mut self,
        resolved: &Resolved<'_>,
        is_let_in: bool,
    ) -> Result<Response, NoStream> {
        let Resolved { node, key, vhost, request, .. } = resolved;
        Ok(match &node.edge {
            Some(edge) => {
                relayed(edge, key, HlsKind::Playlist, vhost, request.ask, !is_let_in).await
            }
            None if !vhost.hls.enabled => not_found(&format!("HLS is disabled for {key}")),
            None => own_playlist(node, key, vhost, request.ask).await,
        })
    }

    fn admit(
        &mut self,
        resolved: &Resolved<'_>,
        answer: &Response,
    ) -> Result<Option<Option<Meter>>, quota::Refusal> {
        if answer.status() != StatusCode::OK {
            return Ok(None);
        }
        asks(self.asker, None);
        let (quotas, now) = (&resolved.node.clients.quotas, Instant::now());
        quotas.guesses.gave_playlist(resolved.key, self.asker.ip, now);
        if self.only_looks {
            return Ok(None);
        }
        let session = session(resolved.request);
        let patience = WATCHING.max(resolved.vhost.hls.segment.saturating_mul(3));
        let who = who(resolved, &session, self.asker);
        quotas.watch_hls(who, patience, client::next_id, now).map(Some)
    }
}

/// By what the viewer tells itself apart, if it does.
fn session<'a>(request: &Request<'a>) -> Cow<'a, str> {
    params::value(&request.ask.params, SESSION).unwrap_or_default()
}

/// What tells this viewer apart.
fn who<'a>(resolved: &'a Resolved<'_>, session: &'a str, asker: &'a Asker) -> Who<'a> {
    let (key, is_node) = (resolved.key, resolved.is_node());
    Who { key, ip: asker.ip, agent: &asker.agent, session, is_node }
}

/// Tells others what the connection is used for: it fetches files for viewers of HLS, and waits for `stream`.
fn asks(asker: &Asker, stream: Option<&StreamKey>) {
    asker.peer.presence.note(|doing| {
        doing.fetches = true;
        doing.asks = stream.map(|stream| (Activity::Play, stream.clone()));
    });
}

/// The playlist of a stream that is published here, or was.
async fn own_playlist(node: &Arc<Node>, key: &StreamKey, vhost: &Vhost, ask: &Ask) -> Response {
    // What an edge gets goes to many viewers, and none is to have the parameters of another.
    let params = Some(&ask.params)
        .filter(|_| auth::wants_parameters(&vhost.auth) && ask.hops.is_empty())
        .map_or("", String::as_str);
    let left = match node.hls.window(key) {
        Some(_) => Ok(None),
        None => left_playlist(node, key, vhost).await,
    };
    if let Ok(Some(text)) = left {
        return match memory::output(node.streams.registry.budget(), with_params(&text, params)) {
            Ok(text) => (PLAYLIST_HEADERS, [ANY_ORIGIN], text).into_response(),
            Err(spent) => no_room(&spent.to_string()),
        };
    }
    match settled(node, key, ask.wait_at_most(vhost.play.wait)).await {
        State::Unsupported(reason) => {
            return not_found(&format!(
                "{key} is not available as HLS: {reason}. RTMP and HTTP-FLV carry it."
            ));
        }
        State::Failing(reason) => {
            return not_now(&format!("there is no HLS of {key} at the moment: {reason}"));
        }
        State::Starting | State::Playable | State::Partly(_) => {}
    }
    if let Some(listing) = node.hls.window(key).and_then(|window| window.playlist(Rendition::MAIN))
    {
        let can_be_guessed = |file: &Arc<str>| {
            SegmentName::parse(file).is_some_and(|(_, name)| name.nonce.is_none())
        };
        if params.is_empty() || !listing.files.iter().any(can_be_guessed) {
            return (PLAYLIST_HEADERS, [ANY_ORIGIN], Body::from(listing.text.clone()))
                .into_response();
        }
        let text = with_params(&String::from_utf8_lossy(&listing.text), params);
        return match memory::output(node.streams.registry.budget(), text) {
            Ok(text) => (PLAYLIST_HEADERS, [ANY_ORIGIN], text).into_response(),
            Err(spent) => no_room(&spent.to_string()),
        };
    }
    if node.streams.registry.status(key) == Some(Status::Live) {
        return not_now(&format!("{key} is live, but its first HLS segment is not complete yet"));
    }
    let error = left.err().unwrap_or_else(|| io::ErrorKind::NotFound.into());
    no_file(key, &error, || {
        Refused::NotFound.count();
        format!("nobody publishes {key}")
    })
}

/// The playlist that an earlier process left, or one that this one replaces writes.
async fn left_playlist(node: &Node, key: &StreamKey, vhost: &Vhost) -> io::Result<Option<String>> {
    match node.hls.files(&vhost.hls.dir, key) {
        Some(files) => files.read_playlist().await,
        None => Ok(None),
    }
}

/// 503 for what may be there in a moment.
fn not_now(reason: &str) -> Response {
    Refused::Unavailable.count();
    (retry_after(), plain(StatusCode::SERVICE_UNAVAILABLE, reason)).into_response()
}

/// Answers with a segment.
///
/// # Errors
/// Why the viewer does not get it.
pub async fn segment(
    node: &Arc<Node>,
    request: &Request<'_>,
    name: SegmentName,
    asker: &Asker,
) -> Result<Response, Refusal> {
    let mut segment = SegmentFile { asker, name, meter: None, guess: None };
    let playing = play::request(node, request, &mut segment).await;
    let missing = match &playing {
        Ok(Playing { key, opened, .. }) if opened.status() == StatusCode::NOT_FOUND => Some(key),
        Err(Refusal::NoStream { key, why: NoStream::Missing(_) }) => Some(key),
        _ => None,
    };
    match (segment.guess, missing) {
        (None, Some(key)) => return Err(Refusal::guesses(key)),
        (Some(guess), None) => node.clients.quotas.guesses.forgive(guess),
        _ => {}
    }
    Ok(counted(node, playing?.opened, segment.meter))
}

/// A segment, for one who has, or should have, its playlist.
struct SegmentFile<'a> {
    asker: &'a Asker,
    name: SegmentName,
    /// What is sent is to be counted here, if the viewer is known.
    meter: Option<Meter>,
    /// To be forgiven if the segment is there. None for one who has asked in vain so often that it is looked for here
    /// only.
    guess: Option<Guess>,
}

impl Resource for SegmentFile<'_> {
    /// What is answered, whatever that is.
    type Opened = Response;
    type Session = ();

    const PROTOCOL: Protocol = Protocol::Hls;

    fn note(&self, _: &Request<'_>, _: &StreamKey) {
        asks(self.asker, None);
    }

    fn authorize(&self, resolved: &Resolved<'_>) -> Result<(), Denied> {
        let Resolved { node, key, vhost, request, .. } = resolved;
        match self.name.nonce {
            Some(_) => node.auth.check_segment(&vhost.auth, request.ip),
            None => play::authorize(node, key, vhost, request.url, request.ip),
        }
    }

    fn look(&mut self, resolved: &Resolved<'_>) -> Result<(), Refusal> {
        let Resolved { node, key, .. } = resolved;
        let now = Instant::now();
        let fetched = node.clients.quotas.fetch_hls(who(resolved, "", self.asker), now);
        self.meter =
            fetched.map_err(|why| Refusal::NoStream { key: (*key).clone(), why: why.into() })?;
        self.guess = match node.clients.quotas.guesses.ask(key, self.asker.ip, now) {
            Some(Search::Anywhere(guess)) => Some(guess),
            Some(Search::Here) => None,
            None => return Err(Refusal::Guesses { key: (*key).clone() }),
        };
        // An edge asks nobody for one who guesses.
        match &node.edge {
            Some(edge) if self.guess.is_none() && held(edge, key, self.name).is_none() => {
                Err(Refusal::Guesses { key: (*key).clone() })
            }
            _ => Ok(()),
        }
    }

    /// Who knows a name that cannot be guessed has been let in before.
    fn is_asked_for(&self) -> bool {
        self.name.nonce.is_none()
    }

    async fn open(
        &mut self,
        resolved: &Resolved<'_>,
        is_let_in: bool,
    ) -> Result<Response, NoStream> {
        let Resolved { node, key, vhost, request, .. } = resolved;
        let (name, kind) = (self.name, HlsKind::Segment(self.name));
        let Some(edge) = &node.edge else {
            return Ok(own_segment(node, key, vhost, name, self.asker).await);
        };
        let whole = match self.guess {
            Some(_) => relayed(edge, key, kind, vhost, request.ask, !is_let_in).await,
            None => match held(edge, key, name) {
                Some(body) => served(kind, body),
                None => not_found(&format!("{key} has no segment {} here", name.sequence)),
            },
        };
        Ok(in_part(whole, Some(name), self.asker).await)
    }

    fn admit(&mut self, _: &Resolved<'_>, _: &Response) -> Result<(), quota::Refusal> {
        Ok(())
    }
}

/// A segment that an edge has.
fn held(edge: &Edge, key: &StreamKey, name: SegmentName) -> Option<Bytes> {
    edge.hls().held(&HlsObject { key: key.clone(), kind: HlsKind::Segment(name) })
}

/// The same answer, of which each byte is counted that is sent.
fn counted(node: &Node, mut answer: Response, meter: Option<Meter>) -> Response {
    if !answer.status().is_success() {
        return answer;
    }
    let quotas = Arc::clone(&node.clients.quotas);
    // A body that is counted does not say its length any more.
    if let Some(length) = answer.body().size_hint().exact() {
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    answer.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let sent = frame.data_ref().map_or(0, |data| data.len() as u64);
            quotas.count_sent(sent);
            if let Some(meter) = &meter {
                meter.fetch_add(sent, Relaxed);
            }
            frame
        }))
    })
}

/// A segment of a stream that is published here, or was.
async fn own_segment(
    node: &Arc<Node>,
    key: &StreamKey,
    vhost: &Vhost,
    name: SegmentName,
    asker: &Asker,
) -> Response {
    let missing =
        || format!("{key} has no segment {} with this name, or not any more", name.sequence);
    match node.hls.find(&vhost.hls.dir, key, name) {
        Found::Here(data, window, file) if node.hls.is_spent() => {
            in_pieces(node, data.len(), (window, file), name, asker)
        }
        Found::Here(data, ..) => {
            in_part(served(HlsKind::Segment(name), data), Some(name), asker).await
        }
        Found::InFile(files) => match files.open_segment(name).await {
            Ok((file, length)) => file_in_part(node, (files, file, length), name, asker),
            Err(error) => no_file(key, &error, missing),
        },
        Found::Nowhere => not_found(&missing()),
    }
}

/// What the client wants of a segment in memory, in pieces of which each is a copy: while more is held than should be,
/// nobody keeps what has left the window by reading it slowly. Who takes longer than it is there does not get the rest.
fn in_pieces(
    node: &Node,
    length: usize,
    (window, file): (Arc<Window>, String),
    name: SegmentName,
    asker: &Asker,
) -> Response {
    // What was read in from a folder of an earlier release has no better name either.
    let etag = name_of(name).unwrap_or_else(|| format!("\"{length:x}\""));
    let wanted = asker.conditions.wanted(&etag, length as u64);
    let Some((mut answer, part)) = begun(&wanted, length as u64) else {
        return with_fields(StatusCode::NOT_MODIFIED.into_response(), SEGMENT_HEADERS, &etag);
    };
    if wanted != Wanted::Beyond {
        let budget = node.streams.registry.budget().clone();
        answer.headers_mut().insert(CONTENT_LENGTH, (part.end - part.start).into());
        // Both ends are within the segment.
        let part = part.start as usize..part.end as usize;
        *answer.body_mut() = Body::from_stream(stream::try_unfold(part, move |mut left| {
            let piece = copied(&window, &file, &mut left, &budget);
            std::future::ready(piece.map(|piece| piece.map(|piece| (piece, left))))
        }));
        answer = with_fields(answer, SEGMENT_HEADERS, &etag);
    }
    answer
}

/// The next piece of what is `left` to send of an object; none at the end.
fn copied(
    window: &Window,
    file: &str,
    left: &mut Range<usize>,
    budget: &Budget,
) -> io::Result<Option<Bytes>> {
    if left.start >= left.end {
        return Ok(None);
    }
    let Some(Held::Here(data)) = window.get(file) else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the segment has left the window"));
    };
    let (room, charge) = room(budget);
    let end = left.end.min(left.start + room);
    let piece = data.get(left.start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
    let piece = memory::counted(Bytes::copy_from_slice(piece), charge);
    left.start = end;
    Ok(Some(piece))
}

/// How long the next piece for a client may be, and what counts it.
fn room(budget: &Budget) -> (usize, Charge) {
    let mut charge = Charge::new(budget, Use::Output);
    let room = [READ_BYTES, READ_BYTES_MIN].into_iter().find(|room| charge.grow(*room).is_ok());
    (room.unwrap_or(READ_BYTES_MIN), charge)
}

/// 404 for a file that is not there, and 503 for one that may be.
fn no_file(key: &StreamKey, error: &io::Error, missing: impl FnOnce() -> String) -> Response {
    if error.kind() == io::ErrorKind::NotFound {
        return not_found(&missing());
    }
    warn!(stream = %key, %error, "cannot read an HLS file");
    (retry_after(), plain(StatusCode::SERVICE_UNAVAILABLE, "the file cannot be read at the moment"))
        .into_response()
}

/// What an edge has from its origins.
async fn relayed(
    edge: &Edge,
    key: &StreamKey,
    kind: HlsKind,
    vhost: &Vhost,
    ask: &Ask,
    alone: bool,
) -> Response {
    let object = HlsObject { key: key.clone(), kind };
    let wait = ask.wait_at_most(vhost.play.wait);
    let body = match edge.hls().serve(&object, ask, wait, alone).await {
        Ok(body) => body,
        Err(why) => return not_served(&why),
    };
    let answer = served(kind, body);
    // What an edge gets goes to many viewers, and none is to have the parameters of another.
    if kind != HlsKind::Playlist || ask.params.is_empty() || !ask.hops.is_empty() {
        return answer;
    }
    carrying(answer, &ask.params, edge.hls().budget()).await
}

fn served(kind: HlsKind, body: Bytes) -> Response {
    let headers = match kind {
        HlsKind::Playlist => PLAYLIST_HEADERS,
        HlsKind::Segment(_) => SEGMENT_HEADERS,
    };
    // Has its content-length from the body, for HEAD too.
    (headers, [ANY_ORIGIN], Body::from(body)).into_response()
}

fn not_served(why: &NotServed) -> Response {
    let mut answer = plain(why.status, &why.reason);
    if let Some(time) = why.retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, time.as_secs().into());
    }
    answer
}

/// A playlist in memory [`with_params`]: we may want them with names that can be guessed, or its origin may.
async fn carrying(answer: Response, params: &str, budget: &Budget) -> Response {
    let (head, body) = answer.into_parts();
    // It is in memory, and was found to be text.
    let playlist = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = with_params(&String::from_utf8_lossy(&playlist), params);
    match memory::output(budget, text) {
        Ok(text) => Response::from_parts(head, Body::from(text)),
        Err(spent) => no_room(&spent.to_string()),
    }
}

/// The state after `Starting`, if it comes within `wait`.
async fn settled(node: &Node, key: &StreamKey, wait: Duration) -> State {
    let settled = async {
        let mut state = node.hls.state_soon(key).await;
        // A follower that ends without a word has made no playlist.
        state
            .wait_for(|state| *state != State::Starting)
            .await
            .map_or(State::Starting, |state| state.clone())
    };
    timeout(wait, settled).await.unwrap_or(State::Starting)
}

/// Bytes of a file, or a copy, in memory for each client that fetches it.
const READ_BYTES: usize = 64 * 1024;

/// The same while many clients take their time: as much as there is room for in any case.
const READ_BYTES_MIN: usize = 4 * 1024;

/// A file that is being sent.
struct Sending {
    file: File,
    /// Where the next piece begins, if that is not where the file is read.
    seek: Option<u64>,
    /// Bytes that are left to send.
    left: u64,
    /// What the pieces count against.
    budget: Budget,
}

/// The next piece of a file; none at the end of what is to be sent.
fn piece(mut sending: Sending) -> io::Result<Option<(Bytes, Sending)>> {
    if let Some(start) = sending.seek.take() {
        sending.file.seek(SeekFrom::Start(start))?;
    }
    let (room, charge) = room(&sending.budget);
    let most = usize::try_from(sending.left).unwrap_or(room).min(room);
    let mut piece = vec![0; most];
    let read = if most > 0 { sending.file.read(&mut piece)? } else { 0 };
    piece.truncate(read);
    sending.left -= read as u64;
    Ok((read > 0).then(|| (memory::counted(piece.into(), charge), sending)))
}

/// What the client wants of a segment that is a file.
fn file_in_part(
    node: &Node,
    (files, file, length): (Files, File, u64),
    name: SegmentName,
    asker: &Asker,
) -> Response {
    let etag = name_of(name).unwrap_or_else(|| {
        // Of an open file the system knows this without its disk.
        let modified = file.metadata().and_then(|about| about.modified()).ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        format!("\"{length:x}-{:x}\"", since.unwrap_or_default().as_nanos())
    });
    let wanted = asker.conditions.wanted(&etag, length);
    let Some((mut answer, part)) = begun(&wanted, length) else {
        return with_fields(StatusCode::NOT_MODIFIED.into_response(), SEGMENT_HEADERS, &etag);
    };
    if wanted != Wanted::Beyond {
        let Some(place) = descriptors::opened().take() else {
            let reason = "too many segments are being sent";
            return (retry_after(), plain(StatusCode::SERVICE_UNAVAILABLE, reason)).into_response();
        };
        let next = |(sending, files, place): (_, Files, _)| async move {
            let piece = files.read(move || piece(sending)).await?;
            io::Result::Ok(piece.map(|(piece, sending)| (piece, (sending, files, place))))
        };
        let seek = Some(part.start).filter(|start| *start > 0);
        let left = part.end - part.start;
        let budget = node.streams.registry.budget().clone();
        *answer.body_mut() = Body::from_stream(stream::try_unfold(
            (Sending { file, seek, left, budget }, files, place),
            next,
        ));
        answer.headers_mut().insert(CONTENT_LENGTH, left.into());
        answer = with_fields(answer, SEGMENT_HEADERS, &etag);
    }
    answer
}

/// What the client wants of a file that is in memory: of a segment with this name, or of a playlist, which has no
/// parts.
async fn in_part(answer: Response, segment: Option<SegmentName>, asker: &Asker) -> Response {
    if answer.status() != StatusCode::OK {
        return answer;
    }
    let body = answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let length = body.len() as u64;
    let etag = segment.and_then(name_of).unwrap_or_else(|| conditional::etag(&body));
    let (headers, wanted) = match segment {
        Some(_) => (SEGMENT_HEADERS, asker.conditions.wanted(&etag, length)),
        None => (PLAYLIST_HEADERS, asker.conditions.wanted_whole(&etag)),
    };
    let Some((mut answer, part)) = begun(&wanted, length) else {
        return with_fields(StatusCode::NOT_MODIFIED.into_response(), headers, &etag);
    };
    if wanted != Wanted::Beyond {
        // Both ends are within the body.
        *answer.body_mut() = Body::from(body.slice(part.start as usize..part.end as usize));
        answer = with_fields(answer, headers, &etag);
    }
    if segment.is_none() {
        answer.headers_mut().remove(ACCEPT_RANGES);
    }
    answer
}

/// The name of what is in a segment, if its own name is never used twice.
fn name_of(segment: SegmentName) -> Option<String> {
    let file = segment.file("");
    let name = file.trim_start_matches('-').trim_end_matches(".ts");
    segment.nonce.is_some().then(|| format!("\"{name}\""))
}

/// An answer without its body, and the part of a file of `length` bytes that it sends; none if it sends nothing because
/// the client has it.
fn begun(wanted: &Wanted, length: u64) -> Option<(Response, Range<u64>)> {
    match wanted {
        Wanted::Nothing => None,
        Wanted::Whole => {
            let answer = ([(ACCEPT_RANGES, "bytes")], Body::empty()).into_response();
            Some((answer, 0..length))
        }
        Wanted::Part(part) => {
            let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            let fields = [(ACCEPT_RANGES, "bytes".to_owned()), (CONTENT_RANGE, range)];
            let answer = (StatusCode::PARTIAL_CONTENT, fields, Body::empty()).into_response();
            Some((answer, part.clone()))
        }
        Wanted::Beyond => {
            let fields = [(CONTENT_RANGE, format!("bytes */{length}"))];
            let reason = format!("the file has {length} bytes");
            let answer = (fields, plain(StatusCode::RANGE_NOT_SATISFIABLE, &reason));
            Some((answer.into_response(), 0..0))
        }
    }
}

/// The same answer with what all answers with, or about, this file say.
fn with_fields(answer: Response, headers: [(&str, &str); 2], etag: &str) -> Response {
    // Scripts of pages from elsewhere may read these.
    let exposed = "Content-Length, Content-Range, ETag";
    let fields = [("etag", etag), ("access-control-expose-headers", exposed)];
    let (status, own) = (answer.status(), answer.headers().clone());
    let mut all = (status, headers, fields, [ANY_ORIGIN], answer.into_body()).into_response();
    all.headers_mut().extend(own);
    all
}

/// Puts the parameters of the viewer who asks behind the names of segments that can be guessed: other servers give such
/// names, and earlier releases did. With them the segment is checked as the playlist was.
fn with_params(playlist: &str, params: &str) -> String {
    let mut text = String::with_capacity(playlist.len());
    for line in playlist.split_inclusive('\n') {
        let uri = line.trim_end();
        let name = percent_decode_str(uri).decode_utf8().unwrap_or_default();
        // What lies elsewhere is not told them.
        let can_be_guessed = SegmentName::parse(&name)
            .is_some_and(|(stream, name)| name.nonce.is_none() && !stream.contains('/'));
        if !uri.starts_with('#') && can_be_guessed {
            text += uri;
            text += params;
            text += &line[uri.len()..];
        } else {
            text += line;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use weir_hls::Form;

    use super::*;

    #[test]
    fn names_that_can_be_guessed_carry_the_viewers_parameters() {
        let text = "#EXTM3U\n#EXTINF:2.000,a-1.ts\na%20b-1.ts\r\na-2-abcdefghijklmnop.ts\n\
                    other.ts\nhttp://elsewhere/a-1.ts\na-3.ts";
        let expected = "#EXTM3U\n#EXTINF:2.000,a-1.ts\na%20b-1.ts?token=x\r\na-2-abcdefghijklmnop.ts\n\
                        other.ts\nhttp://elsewhere/a-1.ts\na-3.ts?token=x";
        assert_eq!(with_params(text, "?token=x"), expected);
        assert_eq!(with_params(text, ""), text);
    }

    #[test]
    fn what_an_edge_relays_looks_like_what_its_origins_say() {
        let segment = HlsKind::Segment(SegmentName { sequence: 7, nonce: None, form: Form::Ts });
        for (kind, content_type, cache) in [
            (HlsKind::Playlist, "application/vnd.apple.mpegurl", "public, max-age=1"),
            (segment, "video/mp2t", "public, max-age=86400, immutable"),
        ] {
            let (parts, body) = served(kind, Bytes::from_static(b"seven")).into_parts();
            let header = |name: &str| parts.headers[name].to_str().expect("text").to_owned();
            assert_eq!(header("content-type"), content_type);
            assert_eq!(header("cache-control"), cache);
            assert_eq!(header("access-control-allow-origin"), "*");
            assert_eq!(body.size_hint().exact(), Some(5), "what content-length is made of");
        }
    }

    #[test]
    fn who_may_ask_again_is_told_when() {
        let why = |status, retry_after| NotServed { status, reason: "why".into(), retry_after };
        let answer = not_served(&why(
            StatusCode::SERVICE_UNAVAILABLE,
            Some(std::time::Duration::from_secs(1)),
        ));
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["retry-after"].as_bytes(), b"1");
        let answer = not_served(&why(StatusCode::NOT_FOUND, None));
        assert!(!answer.headers().contains_key("retry-after"));
    }
}
