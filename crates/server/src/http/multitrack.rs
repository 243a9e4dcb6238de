//! `GET` and `POST /multitrack`: what OBS asks before it publishes several sizes of a picture side by side ("Enhanced
//! Broadcasting", OBS 30.2 and later), and what it is told to send.
//!
//! The request and the answer are those of OBS's go-live configuration, schema 2025-01-25. OBS shows what an answer
//! says is wrong, and only that of an answer with status 200.

mod ladder;
mod messages;

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::timeout;
use weir_config::Publish;
use weir_rtmp::url::{PORT as RTMP_PORT, params};

use self::{
    ladder::sizes,
    messages::{Answer, Ask, Endpoint, Meta, Sound, SoundSettings, Status, Track},
};
use super::answer::{ANY_ORIGIN, no_room, plain, preflight};
use crate::{memory, node::Node};

/// OBS says what it runs on: some 2 KB, and 400 bytes for each graphics card.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// OBS itself waits for 5 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// The app that is published to if the request names none.
const APP: &str = "live";

/// What the answer says of itself.
const SCHEMA: &str = "2025-01-25";

/// Says what to publish to the app that the query names (`?app=live`), on the vhost of the host that is asked.
pub async fn multitrack(State(node): State<Arc<Node>>, request: Request) -> Response {
    let is_post = match *request.method() {
        Method::POST => true,
        Method::GET | Method::HEAD => false,
        Method::OPTIONS => return preflight(),
        _ => return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST are served here"),
    };
    let field = request.headers().get("host").and_then(|host| host.to_str().ok());
    let named = request.uri().authority().map(|authority| authority.as_str());
    let host = named.or(field).unwrap_or("localhost").to_owned();
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let app = params::value(&query, "app").map_or_else(|| APP.to_owned(), |app| app.into_owned());
    if !is_app(&app) {
        return plain(StatusCode::BAD_REQUEST, "app: letters, digits, `-`, `_`, `.` and `/` only");
    }
    let ask = match is_post {
        true => match read(&node, request.into_body()).await {
            Ok(ask) => ask,
            Err(refused) => return refused,
        },
        false => Ask::default(),
    };
    let config = node.config();
    let publish = config.vhost(&host).publish;
    let port = config.rtmp.listen.first().map_or(RTMP_PORT, |address| address.port());
    let server = match &*publish.multitrack_server {
        "" => format!("rtmp://{}", with_port(&host, port)),
        server => server.to_owned(),
    };
    let headers = [ANY_ORIGIN, ("cache-control", "no-store")];
    (headers, Json(answer(&ask, &publish, &server, &app))).into_response()
}

fn answer(ask: &Ask, publish: &Publish, server: &str, app: &str) -> Answer {
    let encoder_configurations = sizes(ask, publish);
    let has_none = encoder_configurations.is_empty();
    let why = "This server has no sizes configured (<code>publish.multitrack</code>). Stream without multitrack video.";
    let status = match has_none {
        true => Status { result: "error", html_en_us: Some(why) },
        false => Status { result: "success", html_en_us: None },
    };
    let channels = if ask.preferences.audio_channels == 1 { 1 } else { 2 };
    let settings = SoundSettings { bitrate: if channels == 1 { 96 } else { 160 } };
    let protocol = if server.starts_with("rtmps:") { "RTMPS" } else { "RTMP" };
    Answer {
        meta: Meta { service: "Weir", schema_version: SCHEMA, config_id: "" },
        status,
        ingest_endpoints: vec![Endpoint {
            protocol,
            url_template: format!("{server}/{app}/{{stream_key}}"),
        }],
        encoder_configurations,
        audio_configurations: Sound {
            live: vec![Track { codec: "ffmpeg_aac", track_id: 1, channels, settings }],
        },
    }
}

async fn read(node: &Node, body: Body) -> Result<Ask, Response> {
    let budget = node.streams.registry.budget();
    let Ok(_room) = memory::request(budget, 0, BODY_BYTES_MAX) else {
        return Err(no_room("no memory for the request (limits.memory)"));
    };
    let body = match timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            let reason = format!("the request is cut off, or longer than {BODY_BYTES_MAX} bytes");
            return Err(plain(StatusCode::PAYLOAD_TOO_LARGE, &reason));
        }
        Err(_) => return Err(plain(StatusCode::REQUEST_TIMEOUT, "the request does not end")),
    };
    serde_json::from_slice(&body).map_err(|error| {
        plain(StatusCode::BAD_REQUEST, &format!("no request as OBS sends it: {error}"))
    })
}

/// Whether this can stand in a URL as it is, and is no way out of it.
fn is_app(app: &str) -> bool {
    let is_plain = |part: &str| {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_plain)
    };
    app.split('/').all(is_plain)
}

/// The host of a `Host` field with another port.
fn with_port(host: &str, port: u16) -> String {
    let end = match host.rfind(']') {
        Some(end) => end + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let host: String = host[..end].chars().filter(|c| is_plain(*c)).collect();
    // Any free port is for tests.
    if matches!(port, 0 | RTMP_PORT) { host } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_that_is_asked_is_the_server_with_the_port_of_rtmp() {
        for (host, port, server) in [
            ("a.example.com:8080", 1935, "a.example.com"),
            ("a.example.com", 1936, "a.example.com:1936"),
            ("[::1]:8080", 1936, "[::1]:1936"),
            ("a\"<b>", 1935, "ab"),
        ] {
            assert_eq!(with_port(host, port), server);
        }
    }

    #[test]
    fn apps_are_paths_and_nothing_else() {
        assert!(is_app("live") && is_app("live/eu") && is_app("a.b-c_d"));
        for other in ["", "/", "live/", "../live", "a b", "live?x=1", "{stream_key}", "a//b"] {
            assert!(!is_app(other), "{other}");
        }
    }

    #[test]
    fn a_server_without_sizes_says_so_where_obs_shows_it() {
        let answer = answer(&Ask::default(), &Publish::default(), "rtmp://a", APP);
        let answer = serde_json::to_value(answer).expect("JSON");
        assert_eq!(answer["status"]["result"], "error");
        let why = answer["status"]["html_en_us"].as_str().expect("a text");
        assert!(why.contains("publish.multitrack"), "{why}");
    }
}
