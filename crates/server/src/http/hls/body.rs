//! What is sent of a playlist or of a file of HLS, and what an answer says about it.

use std::{
    borrow::Cow,
    io::{self, Write as _},
    ops::Range,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL,
        CONTENT_RANGE, CONTENT_TYPE, ETAG,
    },
};
use tracing::warn;
use weir_clients::counts::Refused;
use weir_hls::{Form, SegmentName, digest};
use weir_media::StreamKey;

use super::viewer::Asker;
use crate::{
    http::{
        answer::{ANY_ORIGIN, not_found, plain, retry_after},
        conditional::{Conditions, Wanted},
    },
    node::Node,
    zero_copy,
};

/// What scripts of pages from elsewhere may read of an answer.
const EXPOSED: &str = "Content-Length, Content-Range, ETag";

/// Target durations for which everybody may have the answer to a request for what was not there yet: its URL says what
/// was waited for (RFC 8216bis section 6.2.5.2).
const BLOCKED_TARGETS: u64 = 6;

/// How long caches may answer with a playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// For a moment: half the shortest segment, so that it never costs a viewer a segment.
    Moment,
    /// Not without asking whether it is the newest: a part is shorter than a second.
    Newest,
    /// For as long as players may ask for what it has: so many target durations of so many seconds.
    Asked(u64),
}

impl Fresh {
    fn value(self) -> Cow<'static, str> {
        match self {
            Self::Moment => "public, max-age=1".into(),
            Self::Newest => "public, max-age=0, must-revalidate".into(),
            Self::Asked(target) => {
                format!("public, max-age={}", target.saturating_mul(BLOCKED_TARGETS)).into()
            }
        }
    }
}

/// A playlist as it is sent.
#[derive(Clone, Debug)]
pub struct PlaylistText {
    /// It.
    pub text: Bytes,
    /// What tells it from others.
    pub digest: u64,
    /// Whether it is an update of another one.
    pub is_update: bool,
    /// How long it lasts.
    pub fresh: Fresh,
}

impl PlaylistText {
    /// A playlist that lasts for a moment.
    pub fn of(text: Bytes) -> Self {
        Self { digest: digest(&text), text, is_update: false, fresh: Fresh::Moment }
    }

    /// What the client wants of it. A playlist has no ranges.
    pub fn answer(self, conditions: &Conditions) -> PlaylistAnswer {
        let Self { text, digest, is_update, fresh } = self;
        let update = if is_update { "-update" } else { "" };
        let mut answer = PlaylistAnswer { text: Some(text), digest, update, fresh };
        if !conditions.is_empty() && conditions.wanted_whole(&answer.etag()) == Wanted::Nothing {
            answer.text = None;
        }
        answer
    }
}

/// What is answered to who asks for a playlist and may have it.
#[derive(Clone, Debug)]
pub struct PlaylistAnswer {
    /// The playlist; none if the client has it already.
    text: Option<Bytes>,
    digest: u64,
    update: &'static str,
    fresh: Fresh,
}

impl PlaylistAnswer {
    const CONTENT_TYPE: &'static str = "application/vnd.apple.mpegurl";

    fn etag(&self) -> String {
        format!("\"{:016x}{}\"", self.digest, self.update)
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        if self.text.is_some() { StatusCode::OK } else { StatusCode::NOT_MODIFIED }
    }

    /// Bytes of its body.
    pub fn length(&self) -> usize {
        self.text.as_ref().map_or(0, Bytes::len)
    }

    /// It for hyper.
    pub fn into_response(self) -> Response {
        let (status, etag) = (self.status(), self.etag());
        let about = About {
            content_type: HeaderValue::from_static(Self::CONTENT_TYPE),
            cache: HeaderValue::try_from(&*self.fresh.value())
                .unwrap_or(HeaderValue::from_static("no-store")),
        };
        about.answer(status, &etag, self.text.map_or_else(Body::empty, Body::from))
    }

    /// The same in the words of HTTP/1.1, without its last fields: the head, as far as it says something of the
    /// playlist, and the body.
    pub fn parts(self, head: &mut Vec<u8>) -> Option<Bytes> {
        let status = if self.text.is_some() { "200 OK" } else { "304 Not Modified" };
        let expose = EXPOSED;
        let (kind, cache, length) = (Self::CONTENT_TYPE, self.fresh.value(), self.length());
        // Into memory there is nothing that could fail.
        let _ = write!(
            head,
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncache-control: {cache}\r\n\
             etag: \"{:016x}{}\"\r\naccess-control-expose-headers: {expose}\r\n{}: {}\r\n",
            self.digest, self.update, ANY_ORIGIN.0, ANY_ORIGIN.1
        );
        if self.text.is_some() {
            let _ = write!(head, "content-length: {length}\r\n");
        }
        self.text
    }
}

/// What is answered to a request for a stream or a file of one.
pub enum Answer {
    /// A playlist, which is asked for so often that it is written without hyper where that is possible.
    Playlist(PlaylistAnswer),
    /// Anything else.
    Other(Response),
}

impl Answer {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Playlist(playlist) => playlist.status(),
            Self::Other(answer) => answer.status(),
        }
    }

    /// It for hyper.
    pub fn into_response(self) -> Response {
        match self {
            Self::Playlist(playlist) => playlist.into_response(),
            Self::Other(answer) => answer,
        }
    }
}

impl From<Response> for Answer {
    fn from(answer: Response) -> Self {
        Self::Other(answer)
    }
}

/// What all answers with, or about, a file say.
#[derive(Clone, Debug)]
pub struct About {
    content_type: HeaderValue,
    cache: HeaderValue,
}

impl About {
    /// What they say about the file with this name, of which these are the bytes, as far as they are here.
    pub fn object(name: SegmentName, data: &[u8]) -> Self {
        let content_type = match name.form {
            Form::Ts => "video/mp2t",
            Form::Mp4 | Form::Part(_) => "video/iso.segment",
            // The header of its video track (ISO/IEC 14496-12, 12.1.2).
            Form::Init if data.is_empty() || has(data, b"vmhd") => "video/mp4",
            Form::Init => "audio/mp4",
            Form::Key => "application/octet-stream",
        };
        let cache = match name.form {
            // It is for who has been given the playlist, and for no cache that others share.
            Form::Key => "private, max-age=86400, immutable",
            // Its name is never used twice.
            _ => "public, max-age=86400, immutable",
        };
        let [content_type, cache] = [content_type, cache].map(HeaderValue::from_static);
        Self { content_type, cache }
    }

    fn answer(self, status: StatusCode, etag: &str, body: Body) -> Response {
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        self.say(answer.headers_mut(), etag);
        answer
    }

    fn say(self, fields: &mut HeaderMap, etag: &str) {
        fields.reserve(8);
        let any = HeaderValue::from_static(ANY_ORIGIN.1);
        let mut say = |name: HeaderName, value| drop(fields.insert(name, value));
        say(CONTENT_TYPE, self.content_type);
        say(CACHE_CONTROL, self.cache);
        // What is made of names and numbers fits into a field.
        if let Ok(etag) = HeaderValue::from_str(etag) {
            say(ETAG, etag);
        }
        say(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        say(ACCESS_CONTROL_ALLOW_ORIGIN, any);
    }

    /// The same answer with what this file says. Not for one that says why there is none of it.
    pub fn about(self, mut answer: Response, etag: &str) -> Response {
        self.say(answer.headers_mut(), etag);
        answer
    }

    /// The client has the file already.
    pub fn not_modified(self, etag: &str) -> Response {
        self.answer(StatusCode::NOT_MODIFIED, etag, Body::empty())
    }
}

fn has(data: &[u8], what: &[u8]) -> bool {
    data.windows(what.len()).any(|at| at == what)
}

/// What the client wants of a file of `key` of which all is in memory.
pub fn object(
    node: &Node,
    key: &StreamKey,
    name: SegmentName,
    data: &Bytes,
    asker: &Asker,
) -> Response {
    let length = data.len() as u64;
    let etag = name_of(name).unwrap_or_else(|| format!("\"{:016x}\"", digest(data)));
    let wanted = asker.conditions.wanted(&etag, length);
    let about = About::object(name, data);
    let Some((mut answer, part)) = begun(&wanted, length) else {
        return about.not_modified(&etag);
    };
    if wanted == Wanted::Beyond {
        return answer;
    }
    // Both ends are within the file.
    let sent = data.slice(part.start as usize..part.end as usize);
    if !asker.is_head
        && sent.len() >= zero_copy::BYTES_MIN
        && asker.peer.progress.takes_copies()
        && let Some(copy) = node.copies.get(key, name, data)
    {
        asker.peer.progress.has_copy(&sent, copy, part.start as usize);
    }
    *answer.body_mut() = Body::from(sent);
    about.about(answer, &etag)
}

/// 503 for what may be there in a moment.
pub fn not_now(reason: &str) -> Response {
    Refused::Unavailable.count();
    (retry_after(), plain(StatusCode::SERVICE_UNAVAILABLE, reason)).into_response()
}

/// 404 for a file that is not there, and 503 for one that may be.
pub fn no_file(key: &StreamKey, error: &io::Error, missing: impl FnOnce() -> String) -> Response {
    if error.kind() == io::ErrorKind::NotFound {
        return not_found(&missing());
    }
    warn!(stream = %key, %error, "cannot read an HLS file");
    (retry_after(), plain(StatusCode::SERVICE_UNAVAILABLE, "the file cannot be read at the moment"))
        .into_response()
}

/// The name of what is in a file, if the file's own name is never used twice.
pub fn name_of(file: SegmentName) -> Option<String> {
    file.nonce?;
    let name = file.file("");
    Some(format!("\"{}\"", name.trim_start_matches('-').trim_end_matches(".ts")))
}

/// An answer without its body, and the part of a file of `length` bytes that it sends; none if it sends nothing because
/// the client has it.
pub fn begun(wanted: &Wanted, length: u64) -> Option<(Response, Range<u64>)> {
    let bytes = HeaderValue::from_static("bytes");
    match wanted {
        Wanted::Nothing => None,
        Wanted::Whole => {
            let mut answer = Response::new(Body::empty());
            answer.headers_mut().insert(ACCEPT_RANGES, bytes);
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

#[cfg(test)]
mod tests {
    use weir_hls::Nonce;

    use super::*;

    fn field(answer: &Response, name: HeaderName) -> &str {
        answer.headers()[name].to_str().expect("text")
    }

    #[test]
    fn each_kind_of_file_says_what_it_is_and_how_long_it_lasts() {
        let forever = "public, max-age=86400, immutable";
        let all: [(_, &[u8], _, _); 7] = [
            (Form::Ts, b"G", "video/mp2t", forever),
            (Form::Mp4, b"moof", "video/iso.segment", forever),
            (Form::Part(3), b"moof", "video/iso.segment", forever),
            (Form::Init, b"moov..vmhd", "video/mp4", forever),
            (Form::Init, b"moov..smhd", "audio/mp4", forever),
            (Form::Init, b"", "video/mp4", forever),
            (Form::Key, b"k", "application/octet-stream", "private, max-age=86400, immutable"),
        ];
        for (form, data, content_type, cache) in all {
            let name = SegmentName { sequence: 7, nonce: Some(Nonce::new(1)), form };
            let answer = About::object(name, data).answer(StatusCode::OK, "\"e\"", Body::empty());
            let said = [CONTENT_TYPE, CACHE_CONTROL, ACCESS_CONTROL_ALLOW_ORIGIN]
                .map(|name| field(&answer, name));
            assert_eq!(said, [content_type, cache, "*"], "{form:?}");
        }
    }

    #[test]
    fn playlists_last_as_long_as_what_was_asked_for() {
        for (fresh, cache) in [
            (Fresh::Moment, "public, max-age=1"),
            (Fresh::Newest, "public, max-age=0, must-revalidate"),
            (Fresh::Asked(2), "public, max-age=12"),
        ] {
            let text = PlaylistText { fresh, ..PlaylistText::of(Bytes::from_static(b"#EXTM3U")) };
            let answer = text.answer(&Conditions::default()).into_response();
            assert_eq!(field(&answer, CACHE_CONTROL), cache);
            assert_eq!(field(&answer, CONTENT_TYPE), "application/vnd.apple.mpegurl");
        }
    }

    #[test]
    fn an_update_has_another_name_than_the_playlist_that_it_updates() {
        let whole = PlaylistText::of(Bytes::from_static(b"#EXTM3U"));
        let update = PlaylistText { is_update: true, ..whole.clone() };
        let [whole, update] = [whole, update].map(|text| {
            text.answer(&Conditions::default()).into_response().headers()[ETAG].clone()
        });
        assert_ne!(whole, update);
        let known = HeaderMap::from_iter([(http::header::IF_NONE_MATCH, whole)]);
        let answer =
            PlaylistText::of(Bytes::from_static(b"#EXTM3U")).answer(&Conditions::of(&known, false));
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn a_playlist_is_written_as_hyper_would_write_it() {
        let text = PlaylistText::of(Bytes::from_static(b"#EXTM3U"));
        let update = PlaylistText { is_update: true, fresh: Fresh::Asked(2), ..text.clone() };
        let known = text.clone().answer(&Conditions::default()).etag();
        let fields = HeaderMap::from_iter([(
            http::header::IF_NONE_MATCH,
            HeaderValue::try_from(known).expect("a value"),
        )]);
        let has = Conditions::of(&fields, false);
        for (text, conditions) in
            [(text.clone(), Conditions::default()), (update, Conditions::default()), (text, has)]
        {
            let answer = text.answer(&conditions);
            let mut head = Vec::new();
            let body = answer.clone().parts(&mut head);
            let mut fields = [httparse::EMPTY_HEADER; 16];
            let mut parsed = httparse::Response::new(&mut fields);
            head.extend_from_slice(b"\r\n");
            assert!(parsed.parse(&head).expect("a head").is_complete());
            let response = answer.into_response();
            assert_eq!(parsed.code, Some(response.status().as_u16()));
            let mut expected = response.headers().clone();
            // hyper says of a body how long it is.
            if let Some(body) = &body {
                expected.insert(http::header::CONTENT_LENGTH, body.len().into());
            }
            let written = parsed.headers.iter().map(|field| {
                let name = HeaderName::from_bytes(field.name.as_bytes()).expect("a name");
                (name, HeaderValue::from_bytes(field.value).expect("a value"))
            });
            assert_eq!(HeaderMap::from_iter(written), expected);
            assert_eq!(body.is_some(), response.status() == StatusCode::OK);
        }
    }

    #[test]
    fn no_two_files_of_a_number_have_one_name() {
        let forms = [Form::Ts, Form::Mp4, Form::Init, Form::Key, Form::Part(0), Form::Part(1)];
        let name = |form| SegmentName { sequence: 7, nonce: Some(Nonce::new(1)), form };
        let names: std::collections::HashSet<_> =
            forms.into_iter().filter_map(|form| name_of(name(form))).collect();
        assert_eq!(names.len(), forms.len());
        let guessable = SegmentName { nonce: None, ..name(Form::Ts) };
        assert_eq!(name_of(guessable), None);
    }
}
