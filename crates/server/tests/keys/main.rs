//! Keys of the configuration that are changed while streams are live: what becomes of each. [`ROWS`] has every key that
//! there is, with a test that changes it and looks at the effect, or as one that needs a restart.

mod api;
mod children;
mod edge;
mod forward;
mod hanging;
mod hls;
mod hooks;
mod limits;
mod listeners;
mod multitrack;
mod preflight;
mod pulling;
mod record;
mod streams;
mod tls;
mod upload;

use std::{net::SocketAddr, process::Command, time::Duration};

use serde_json::Value;
use weir_testkit::{
    Weir, eventually, http,
    peer::{Encoder, Numbered},
    server::Builder,
};

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(30);

/// The pace of a stream in real time.
const PICTURE: Duration = Duration::from_millis(40);

const ADMIN: &str = "admin-of-the-tests";

/// What a reload makes of another value.
enum Row {
    /// It holds at once: this test changes it under what is live.
    #[expect(dead_code, reason = "that there is such a test is what counts; it runs by itself")]
    Live(fn()),
    /// It is refused, with all that came along. This is another value, and what has to go with it.
    Restart(&'static str),
}

use Row::{Live, Restart};

/// Every key.
const ROWS: [(&str, Row); 153] = [
    ("role", Restart("role: edge\nedge: { origins: o }\n")),
    ("workers", Restart("workers: 7\n")),
    ("rtmp.listen", Restart("rtmp: { listen: [] }\n")),
    ("rtmp.chunk_size", Restart("rtmp: { chunk_size: 4096 }\n")),
    ("rtmp.proxy_protocol", Live(listeners::rtmp_proxy_protocol)),
    ("rtmp.tls.listen", Live(tls::listen)),
    ("rtmp.tls.certificates", Live(tls::certificates)),
    ("rtmp.tls.client_ca", Live(tls::client_ca)),
    ("rtmp.tls.min_version", Live(tls::min_version)),
    ("http.listen", Restart("http: { listen: [] }\n")),
    ("http.proxy_protocol", Live(listeners::http_proxy_protocol)),
    ("http.trusted_proxies", Live(listeners::trusted_proxies)),
    ("http.embed", Live(listeners::embed)),
    ("http.tls.listen", Live(tls::listen)),
    ("http.tls.certificates", Live(tls::certificates)),
    ("http.tls.client_ca", Live(tls::client_ca)),
    ("http.tls.min_version", Live(tls::min_version)),
    ("http.tls.http2", Live(tls::http2)),
    ("api.listen", Restart("api: { listen: [] }\n")),
    ("api.admin_tokens", Live(api::admin_tokens)),
    ("api.read_tokens", Live(api::read_tokens)),
    ("api.read_from", Live(api::read_from)),
    ("api.tls.cert", Live(api::certificate_and_key)),
    ("api.tls.key", Live(api::certificate_and_key)),
    ("api.tls.admin_ca", Live(api::authorities)),
    ("api.tls.read_ca", Live(api::authorities)),
    ("api.peers", Live(api::peers)),
    ("api.peer_token", Live(api::peers)),
    ("api.basic.username", Live(api::basic)),
    ("api.basic.password", Live(api::basic)),
    ("api.web_origins", Live(api::web_origins)),
    ("api.raw_reload", Live(api::raw_reload)),
    ("api.srs_status", Live(api::srs_status)),
    ("publish.linger", Live(streams::linger)),
    ("publish.idle_timeout", Live(streams::idle_timeout)),
    ("publish.unwatched_timeout", Live(streams::unwatched_timeout)),
    ("publish.conflict", Live(streams::conflict)),
    ("publish.fallback", Live(pulling::fallback)),
    ("publish.multitrack", Live(multitrack::sizes)),
    ("publish.multitrack_encoder", Live(multitrack::sizes)),
    ("publish.multitrack_server", Live(multitrack::sizes)),
    ("play.flush", Live(streams::flush)),
    ("play.wait", Live(streams::wait)),
    ("play.gop", Live(streams::gop)),
    ("play.stall_timeout", Live(streams::stall_timeout)),
    ("play.window", Live(streams::window)),
    ("play.formats", Live(streams::formats)),
    ("play.mounts", Live(streams::mounts)),
    ("forward", Live(forward::targets)),
    ("exec", Live(children::programs)),
    ("transcode", Live(children::programs)),
    ("hls.enabled", Live(hls::enabled)),
    ("hls.dir", Live(hls::dir)),
    ("hls.segment", Live(hls::segment)),
    ("hls.window", Live(hls::window)),
    ("hls.container", Live(hls::container)),
    ("hls.part", Live(hls::part)),
    ("hls.ladder", Live(hls::ladder)),
    ("hls.encrypt", Live(hls::encrypt)),
    ("hls.segments_per_key", Live(hls::keys)),
    ("hls.key_url", Live(hls::keys)),
    ("hls.playlist_path", Live(hls::other_names)),
    ("hls.segment_path", Live(hls::other_names)),
    ("hls.segment_url", Live(hls::other_names)),
    ("record.dir", Live(record::recording_follows_a_reload)),
    ("record.streams", Live(record::recording_follows_a_reload)),
    ("record.container", Live(record::recording_follows_a_reload)),
    ("record.path", Live(record::recording_follows_a_reload)),
    ("record.split.duration", Live(record::recording_follows_a_reload)),
    ("record.split.size", Live(record::recording_follows_a_reload)),
    ("record.split.publisher", Live(record::a_publisher_has_files_of_its_own)),
    ("record.keep.age", Live(record::what_is_kept_follows_a_reload)),
    ("record.keep.size", Live(record::what_is_kept_follows_a_reload)),
    ("upload.url", Live(upload::target)),
    ("upload.endpoint", Live(upload::target)),
    ("upload.region", Live(upload::target)),
    ("upload.access_key", Live(upload::target)),
    ("upload.secret_key", Live(upload::secret)),
    ("upload.credentials", Live(upload::target)),
    ("upload.ca", Live(upload::ca)),
    ("upload.recordings", Live(upload::what)),
    ("upload.hls", Live(upload::what)),
    ("upload.keep_local", Live(upload::parts_and_what_is_kept)),
    ("upload.part", Live(upload::parts_and_what_is_kept)),
    ("upload.at_once", Live(upload::at_once)),
    ("edge.origins", Live(edge::origins)),
    ("edge.protocol", Live(edge::protocol)),
    ("edge.http_port", Live(edge::http_port)),
    ("edge.linger", Live(edge::linger)),
    ("edge.dead_after", Live(edge::dead_after)),
    ("edge.give_up", Live(edge::give_up)),
    ("edge.forward_query", Live(edge::forward_query)),
    ("edge.auth", Live(hooks::edge_auth)),
    ("edge.token", Live(hooks::edge_token)),
    ("edge.tls.ca", Live(edge::tls_ca)),
    ("edge.tls.pin", Live(edge::tls_pin)),
    ("edge.redirects", Live(edge::redirects)),
    ("edge.resolvers", Live(edge::resolvers)),
    ("edge.hls_cache", Live(edge::hls_cache)),
    ("pull", Live(pulling::pulls)),
    ("ingest", Live(children::programs)),
    ("children.max", Live(children::limits)),
    ("children.stop", Live(children::limits)),
    ("auth.publish", Live(streams::auth_publish)),
    ("auth.play", Live(streams::auth_play)),
    ("hooks.on_connect", Live(hooks::urls)),
    ("hooks.on_close", Live(hooks::urls)),
    ("hooks.on_publish", Live(hooks::urls)),
    ("hooks.on_unpublish", Live(hooks::urls)),
    ("hooks.on_play", Live(hooks::urls)),
    ("hooks.on_stop", Live(hooks::urls)),
    ("hooks.on_hls", Live(hooks::files)),
    // What is told of them is told like all else.
    ("hooks.on_record", Live(hooks::urls)),
    ("hooks.on_dvr", Live(hooks::urls)),
    ("hooks.on_forward", Live(hooks::urls)),
    ("hooks.timeout", Live(hooks::timeout_and_fail)),
    ("hooks.fail", Live(hooks::timeout_and_fail)),
    ("hooks.retry", Live(hooks::retry)),
    ("hooks.secret", Live(hooks::secret)),
    ("hooks.ca", Live(hooks::ca)),
    ("heartbeat.url", Live(hooks::heartbeat)),
    ("heartbeat.interval", Live(hooks::heartbeat)),
    ("heartbeat.device_id", Live(hooks::heartbeat)),
    ("heartbeat.ip", Live(hooks::heartbeat)),
    ("heartbeat.summaries", Live(hooks::heartbeat)),
    ("heartbeat.ports", Live(hooks::heartbeat)),
    ("limits.connections", Live(limits::connections)),
    ("limits.egress", Live(limits::egress)),
    ("limits.viewers_per_stream", Live(limits::viewers_per_stream)),
    ("limits.connections_per_ip", Live(limits::connections_per_ip)),
    ("limits.memory", Live(limits::memory)),
    ("limits.stream_memory", Live(limits::stream_memory)),
    ("metrics.streams", Live(limits::metrics_streams)),
    ("metrics.listen", Restart("metrics: { listen: '127.0.0.1:0' }\n")),
    ("metrics.label", Live(limits::metrics_labels)),
    ("metrics.tag", Live(limits::metrics_labels)),
    ("drain.notice", Live(limits::drain_notice)),
    ("drain.timeout", Live(limits::drain_timeout)),
    ("handover.socket", Restart("handover: { socket: s }\n")),
    ("name", Restart("name: edge-7\n")),
    ("work_dir", Restart("work_dir: d\n")),
    ("log_file", Restart("log_file: f\n")),
    ("pid_file", Restart("pid_file: f\n")),
    ("vhosts", Live(streams::vhosts)),
    // A vhost has keys of its own in these sections; that they are taken up is seen at one of each.
    ("vhosts.*.publish", Live(streams::of_a_vhost)),
    ("vhosts.*.play", Live(streams::of_a_vhost)),
    ("vhosts.*.forward", Live(forward::targets)),
    ("vhosts.*.exec", Live(children::programs)),
    ("vhosts.*.transcode", Live(children::programs)),
    ("vhosts.*.hls", Live(hls::dir_of_a_vhost)),
    ("vhosts.*.record", Live(record::recording_follows_a_reload)),
    ("vhosts.*.auth", Live(streams::vhosts)),
    ("vhosts.*.hooks", Live(hooks::urls)),
];

/// All keys of `schema`, and the sections of a vhost.
fn keys(schema: &Value) -> Vec<String> {
    fn below(path: &str, schema: &Value, found: &mut Vec<String>) {
        let Some(inner) = schema["properties"].as_object() else {
            found.push(path.to_owned());
            return;
        };
        for (key, schema) in inner {
            let dot = if path.is_empty() { "" } else { "." };
            below(&format!("{path}{dot}{key}"), schema, found);
        }
    }
    let mut found = Vec::new();
    below("", schema, &mut found);
    let vhost = &schema["properties"]["vhosts"]["additionalProperties"]["properties"];
    let sections = vhost.as_object().into_iter().flatten();
    found.extend(sections.map(|(section, _)| format!("vhosts.*.{section}")));
    found.sort();
    found
}

#[test]
fn every_key_has_its_row() {
    let output = Command::new(BINARY).arg("schema").output().expect("weir runs");
    let schema = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut rows: Vec<_> = ROWS.iter().map(|(key, _)| (*key).to_owned()).collect();
    rows.sort();
    assert_eq!(keys(&schema), rows, "each key has a row in ROWS, and each row a key");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_refused_with_all_that_comes_along() {
    let mut weir = server().config("play: { wait: 0s }\n").start();
    let published = encoder(&weir, "live/a").await;
    for (key, row) in &ROWS {
        let Restart(change) = row else { continue };
        let along = "auth: { play: [secret: { values: [a] }] }\n";
        let (status, answer) = try_reload(&mut weir, &format!("{change}{along}")).await;
        assert_eq!(status, 409, "{key}: {answer}");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let is_named = |name: &Value| name.as_str() == Some(*key);
        assert!(
            answer["keys"].as_array().is_some_and(|keys| keys.iter().any(is_named)),
            "{answer}"
        );
        let status = http::get(weir.http(), "live/none.flv").await.status;
        assert_eq!(status, 404, "{key}: nothing of it is in force");
    }
    // TLS that appears is one of them, too.
    let (status, answer) = try_reload(&mut weir, "api: { tls: { cert: a, key: b } }\n").await;
    assert!(status == 409 && answer.contains("api.tls"), "{answer}");
    published.assert_connected();
}

fn server() -> Builder {
    Weir::builder(BINARY).env("WEIR_API__ADMIN_TOKENS", ADMIN)
}

/// Puts `yaml` in force, beside the listeners that `weir` has.
async fn reload(weir: &mut Weir, yaml: &str) {
    let (status, answer) = try_reload(weir, yaml).await;
    assert_eq!(status, 200, "{yaml}: {answer}");
}

/// The same; the status and the answer of the API.
async fn try_reload(weir: &mut Weir, yaml: &str) -> (u16, String) {
    weir.configure(yaml);
    call(weir.api(), "POST", "api/v1/reload", &format!("Authorization: Bearer {ADMIN}\r\n")).await
}

/// A call with some header fields.
async fn call(address: SocketAddr, method: &str, path: &str, fields: &str) -> (u16, String) {
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n{fields}\r\n"
    );
    let mut response = http::request(address, request.as_bytes()).await;
    (response.status, response.text().await)
}

async fn get(weir: &Weir, path: &str) -> u16 {
    http::get(weir.http(), path).await.status
}

/// Waits until `path` is answered like this over HTTP.
async fn until_status(weir: &Weir, path: &str, status: u16) {
    eventually(&format!("{path}: {status}"), SOON, async || {
        (get(weir, path).await == status).then_some(())
    })
    .await;
}

/// The value of the series that begins with `name` in `/metrics`, 0 without one.
async fn metric(weir: &Weir, name: &str) -> f64 {
    let page = http::get(weir.api(), "metrics").await.text().await;
    let value = |line: &str| line.strip_prefix(name)?.split(' ').next_back()?.parse::<f64>().ok();
    page.lines().filter(|line| !line.starts_with('#')).find_map(value).unwrap_or_default()
}

/// An encoder in real time, with a key frame twice a second.
async fn encoder(weir: &Weir, stream: &str) -> Encoder {
    Encoder::start(&weir.rtmp_url(stream), Numbered::new(12), PICTURE).await
}
