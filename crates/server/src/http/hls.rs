//! HLS files: `GET /app/stream.m3u8` and `GET /app/stream-<sequence>-<nonce>.ts`.

use std::{
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
use tracing::{info, warn};
use weir_clients::{
    client,
    counts::Refused,
    descriptors,
    quota::{Meter, SESSION, Search, WATCHING, Who},
    roster::Activity,
};
use weir_config::Vhost;
use weir_edge::{Ask, Edge, HlsKind, HlsObject, NotServed, Protocol};
use weir_hls::SegmentName;
use weir_hub::Status;
use weir_media::{Budget, Charge, StreamKey, Use};
use weir_outputs::hls::{Files, State};
use weir_rtmp::url::params;

use super::{
    ANY_ORIGIN,
    conditional::{self, Wanted},
    pages::{Asker, no_stream, not_found, plain, refused, retry_after},
    room::no_room,
};
use crate::{auth, memory, node::Node};

/// With a playlist. A cache may answer for us for a moment: half the shortest segment, so that it never costs a viewer
/// a segment.
const PLAYLIST_HEADERS: [(&str, &str); 2] =
    [("content-type", "application/vnd.apple.mpegurl"), ("cache-control", "public, max-age=1")];

/// With a segment. Its name is never used twice.
const SEGMENT_HEADERS: [(&str, &str); 2] =
    [("content-type", "video/mp2t"), ("cache-control", "public, max-age=86400, immutable")];

/// Answers with the playlist. A viewer that comes before the publisher, or before the first segment, waits for it. Who
/// gets it is a viewer from then on, unless it `only_looks`.
pub async fn playlist(
    node: &Arc<Node>,
    key: &StreamKey,
    vhost: &Vhost,
    ask: &Ask,
    only_looks: bool,
    asker: &Asker,
) -> Response {
    if node.edge.is_none() && !vhost.hls.enabled {
        return not_found(&format!("HLS is disabled for {key}"));
    }
    let session = params::value(&ask.params, SESSION).unwrap_or_default();
    let who = who(key, ask, &session, asker);
    match node.clients.quotas.look_for_hls(who, Instant::now()) {
        Ok(watches) => asks(asker, Some(key).filter(|_| !watches)),
        Err(refusal) => {
            asks(asker, Some(key));
            Refused::from(&refusal).count();
            return refused(key, &refusal);
        }
    }
    let answer = match &node.edge {
        Some(edge) => checked(edge, key, HlsKind::Playlist, vhost, ask).await,
        None => own_playlist(node, key, vhost, ask).await,
    };
    if answer.status() != StatusCode::OK {
        return answer;
    }
    asks(asker, None);
    let now = Instant::now();
    node.clients.quotas.guesses.gave_playlist(key, asker.ip, now);
    if only_looks {
        return in_part(answer, None, asker).await;
    }
    let patience = WATCHING.max(vhost.hls.segment.saturating_mul(3));
    match node.clients.quotas.watch_hls(who, patience, client::next_id, now) {
        Ok(meter) => counted(node, in_part(answer, None, asker).await, meter),
        Err(refusal) => {
            Refused::from(&refusal).count();
            refused(key, &refusal)
        }
    }
}

/// What tells this viewer apart.
fn who<'a>(key: &'a StreamKey, ask: &Ask, session: &'a str, asker: &'a Asker) -> Who<'a> {
    let is_node = !ask.hops.is_empty();
    Who { key, ip: asker.ip, agent: &asker.agent, session, is_node }
}

/// Tells others what the connection is used for: it fetches files for viewers of HLS, and waits for `stream`.
fn asks(asker: &Asker, stream: Option<&StreamKey>) {
    let Some(peer) = &asker.connection else { return };
    peer.presence().note(|doing| {
        doing.fetches = true;
        doing.asks = stream.map(|stream| (Activity::Play, stream.clone()));
    });
}

/// The playlist of a stream that is published here.
async fn own_playlist(node: &Arc<Node>, key: &StreamKey, vhost: &Vhost, ask: &Ask) -> Response {
    let places = node.hls.places(&vhost.hls.dir, key);
    let Some(files) = places.first() else { return not_found(&format!("nobody publishes {key}")) };
    let is_left_over = node.hls.state(key).is_none() && files.open_playlist().await.is_ok();
    let state = if is_left_over {
        State::Playable
    } else {
        settled(node, key, ask.wait_at_most(vhost.play.wait)).await
    };
    match state {
        State::Unsupported(reason) => {
            return not_found(&format!(
                "{key} is not available as HLS: {reason}. RTMP and HTTP-FLV carry it."
            ));
        }
        State::Failing(reason) => {
            let reason = format!("HLS of {key} cannot be written at the moment: {reason}");
            return not_now(&reason);
        }
        State::Starting | State::Playable | State::Partly(_) => {}
    }
    // It may have moved while it was waited for.
    let places = node.hls.places(&vhost.hls.dir, key);
    let files = places.first().unwrap_or(files);
    let answer = files.read_playlist().await.and_then(|text| {
        let text = text.ok_or(io::ErrorKind::NotFound)?;
        // What an edge gets goes to many viewers, and none is to have the parameters of another.
        let text = match auth::wants_parameters(&vhost.auth) && ask.hops.is_empty() {
            true => with_params(&text, &ask.params),
            false => text,
        };
        Ok(match memory::output(node.streams.registry.budget(), text) {
            Ok(text) => (PLAYLIST_HEADERS, [ANY_ORIGIN], text).into_response(),
            Err(spent) => no_room(&spent.to_string()),
        })
    });
    answer.unwrap_or_else(|error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        if is_missing && node.streams.registry.status(key) == Some(Status::Live) {
            let reason = format!("{key} is live, but its first HLS segment is not complete yet");
            return not_now(&reason);
        }
        no_file(key, &error, || {
            Refused::NotFound.count();
            format!("nobody publishes {key}")
        })
    })
}

/// 503 for what may be there in a moment.
fn not_now(reason: &str) -> Response {
    Refused::Unavailable.count();
    (retry_after(), plain(StatusCode::SERVICE_UNAVAILABLE, reason)).into_response()
}

/// Answers with a segment.
pub async fn segment(
    node: &Arc<Node>,
    key: &StreamKey,
    vhost: &Vhost,
    ask: &Ask,
    name: SegmentName,
    asker: &Asker,
) -> Response {
    asks(asker, None);
    let meter = match node.clients.quotas.fetch_hls(who(key, ask, "", asker), Instant::now()) {
        Ok(meter) => meter,
        Err(refusal) => return refused(key, &refusal),
    };
    let guesses = &node.clients.quotas.guesses;
    let guess = match guesses.ask(key, asker.ip, Instant::now()) {
        Some(Search::Anywhere(guess)) => Some(guess),
        Some(Search::Here) => None,
        None => return too_many(key, asker.ip),
    };
    let answer = match &node.edge {
        Some(edge) => {
            let whole = match guess {
                Some(_) => checked(edge, key, HlsKind::Segment(name), vhost, ask).await,
                None => held(edge, key, name, vhost, ask).await,
            };
            in_part(whole, Some(name), asker).await
        }
        None => match open_segment(&node.hls.places(&vhost.hls.dir, key), name).await {
            Ok(segment) => file_in_part(node, segment, name, asker),
            Err(error) => no_file(key, &error, || {
                format!("{key} has no segment {} with this name, or not any more", name.sequence)
            }),
        },
    };
    match guess {
        None if answer.status() == StatusCode::NOT_FOUND => return too_many(key, asker.ip),
        Some(guess) if answer.status() != StatusCode::NOT_FOUND => guesses.forgive(guess),
        _ => {}
    }
    counted(node, answer, meter)
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

/// A segment that is open.
struct Segment {
    /// Where it is.
    files: Files,
    file: File,
    length: u64,
}

/// Opens a segment where it is: a stream that has moved to another folder has left some behind.
async fn open_segment(places: &[Files], name: SegmentName) -> io::Result<Segment> {
    let mut missing = io::Error::from(io::ErrorKind::NotFound);
    for files in places {
        match files.open_segment(name).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing = error,
            opened => {
                let (file, length) = opened?;
                return Ok(Segment { files: files.clone(), file, length });
            }
        }
    }
    Err(missing)
}

/// 429 for one who asks for too many segments that are not there.
fn too_many(key: &StreamKey, client: IpAddr) -> Response {
    Refused::Auth.count();
    let reason = "too many requests for missing HLS segments";
    info!(peer = %client, stream = %key, reason, "HTTP requests are refused");
    let reason = "too many requests for missing segments; request the playlist first";
    // The next one costs it a connection.
    let fields = (retry_after(), [("connection", "close")]);
    (fields, plain(StatusCode::TOO_MANY_REQUESTS, reason)).into_response()
}

/// A segment that an edge has, for one who may have it; 404 if it would have to ask for that, or for the segment.
async fn held(
    edge: &Arc<Edge>,
    key: &StreamKey,
    name: SegmentName,
    vhost: &Vhost,
    ask: &Ask,
) -> Response {
    let object = HlsObject { key: key.clone(), kind: HlsKind::Segment(name) };
    let Some(body) = edge.hls().held(&object) else {
        return not_found(&format!("{key} has no segment {} here", name.sequence));
    };
    // Who knows a name that cannot be guessed has been let in before.
    let deadline = tokio::time::Instant::now() + ask.wait_at_most(vhost.play.wait);
    if name.nonce.is_none()
        && let Err(why) = edge.admit(key, ask, Protocol::Hls, deadline).await
    {
        return no_stream(key, &why);
    }
    served(object.kind, body)
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

/// What an edge gets from origins, if they let this viewer have it. Who knows a name that cannot be guessed has been
/// let in before.
async fn checked(
    edge: &Arc<Edge>,
    key: &StreamKey,
    kind: HlsKind,
    vhost: &Vhost,
    ask: &Ask,
) -> Response {
    if matches!(kind, HlsKind::Segment(SegmentName { nonce: Some(_), .. })) {
        return relayed(edge, key, kind, vhost, ask, false).await;
    }
    let deadline = tokio::time::Instant::now() + ask.wait_at_most(vhost.play.wait);
    match edge.admit(key, ask, Protocol::Hls, deadline).await {
        Ok(is_admitted) => relayed(edge, key, kind, vhost, ask, !is_admitted).await,
        Err(why) => {
            Refused::from(&why).count();
            no_stream(key, &why)
        }
    }
}

/// What an edge gets from its origins.
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

/// Bytes of a file in memory for each client that fetches it.
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
    let mut charge = Charge::new(&sending.budget, Use::Output);
    let room = [READ_BYTES, READ_BYTES_MIN].into_iter().find(|room| charge.grow(*room).is_ok());
    let room = room.unwrap_or(READ_BYTES_MIN);
    let most = usize::try_from(sending.left).unwrap_or(room).min(room);
    let mut piece = vec![0; most];
    let read = if most > 0 { sending.file.read(&mut piece)? } else { 0 };
    piece.truncate(read);
    sending.left -= read as u64;
    Ok((read > 0).then(|| (memory::counted(piece.into(), charge), sending)))
}

/// What the client wants of a segment that is a file.
fn file_in_part(node: &Node, segment: Segment, name: SegmentName, asker: &Asker) -> Response {
    let Segment { files, file, length } = segment;
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
        let segment = HlsKind::Segment(SegmentName { sequence: 7, nonce: None });
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
