//! Who is trusted: by address, by name, behind proxies; and what those get who guess.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{io::AsyncReadExt as _, net::TcpStream, task::JoinSet};
use weir_flv::amf0::{Object, Value};
use weir_testkit::{
    Weir,
    backend::Backend,
    certificates::{Authority, put},
    eventually, http,
    peer::{Caller, Encoder, Numbered, PICTURE_MILLIS, Publisher, Said, Viewer},
    raw::Raw,
    server::Builder,
    tls_front::TlsFront,
};
use weir_upload::Uploader;

fn server(config: &str) -> Weir {
    with_api(config, &[])
}

/// A server whose API has these keys.
fn with_api(config: &str, keys: &[(&str, &str)]) -> Weir {
    let config = format!("hls: {{ enabled: false }}\nplay: {{ wait: 0s }}\n{config}");
    let builder = Weir::builder(env!("CARGO_BIN_EXE_weir")).config(&config);
    let set = |builder: Builder, (key, value): &(&str, &str)| {
        builder.env(format!("WEIR_API__{key}"), value)
    };
    keys.iter().fold(builder, set).start()
}

/// The status of a request to the API with these header fields.
async fn api(weir: &Weir, path: &str, fields: &str) -> u16 {
    let head = format!("GET {path} HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n");
    http::request(weir.api(), head.as_bytes()).await.status
}

#[tokio::test]
async fn without_tokens_the_api_is_read_by_those_nearby_alone() {
    let near = server("");
    let far = with_api("", &[("READ_FROM", "192.0.2.0/24")]);
    for path in ["/api/v1/clients", "/api/v1/config", "/api/v1/streams", "/api/v1/none"] {
        for host in ["127.0.0.1:1985", "localhost", "[::1]:1985"] {
            let status = api(&near, path, &format!("Host: {host}")).await;
            assert_ne!(status, 401, "{path} by {host}");
            assert_eq!(
                api(&far, path, &format!("Host: {host}")).await,
                401,
                "{path} from elsewhere"
            );
        }
        // A page in a browser on this machine, and a proxy on it that lets the world in.
        for fields in [
            "Host: rebound.example:1985",
            "Host: 127.0.0.1\r\nX-Forwarded-For: 127.0.0.1",
            "Host: 127.0.0.1\r\nForwarded: for=127.0.0.1",
            "Host: 127.0.0.1\r\nHost: rebound.example",
        ] {
            let status = api(&near, path, fields).await;
            assert!(status == 401 || status == 400, "{path} with {fields}: {status}");
        }
    }
    for weir in [&near, &far] {
        for path in ["/healthz", "/readyz", "/startupz", "/metrics"] {
            assert_eq!(api(weir, path, "Host: weir-0.example:1985").await, 200, "{path}");
        }
    }
    let closed = with_api("", &[("READ_TOKENS", "r")]);
    assert_eq!(api(&closed, "/metrics", "Host: 127.0.0.1").await, 401);
    assert_eq!(api(&closed, "/api/v1/streams", "Host: 127.0.0.1").await, 401);
    let far = with_api("", &[("READ_TOKENS", "r"), ("READ_FROM", "[]")]);
    let shown = "Host: rebound.example\r\nAuthorization: Bearer r";
    assert_eq!(api(&far, "/api/v1/streams", shown).await, 200, "a token is enough anywhere");
}

#[tokio::test]
async fn the_player_page_runs_nothing_but_its_own_script() {
    let weir = server("");
    let page = http::get(weir.http(), "player?stream=live/a").await;
    let policy = page.header("content-security-policy").expect("a policy").to_owned();
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    for part in
        ["default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
}

/// Sends a request of `client` through a proxy's connection, and reads the status of the answer.
async fn proxied(connection: &mut TcpStream, client: Option<&str>) -> String {
    proxied_bytes(connection, client.map(str::as_bytes)).await
}

async fn proxied_bytes(connection: &mut TcpStream, client: Option<&[u8]>) -> String {
    let field = client.map(|client| [b"X-Forwarded-For: ", client, b"\r\n"].concat());
    let field = field.unwrap_or_default();
    let head = [b"GET /live/none HTTP/1.1\r\nHost: h\r\n", &*field, b"\r\n"].concat();
    tokio::io::AsyncWriteExt::write_all(connection, &head).await.expect("it is open");
    let mut answer = [0; 4096];
    let read = connection.read(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer[..read]).split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_connection_of_a_proxy_counts_for_the_client_whose_request_it_has() {
    let weir = server(
        "http: { listen: ['127.0.0.1:0'], trusted_proxies: [127.0.0.0/8] }\nlimits: { connections_per_ip: 1 }",
    );
    let mut one = Raw::connect(weir.http()).await.into_inner();
    let mut two = Raw::connect(weir.http()).await.into_inner();
    assert_eq!(proxied(&mut one, Some("192.0.2.7")).await, "404");
    assert_eq!(proxied(&mut one, Some("192.0.2.7")).await, "404", "it has its place already");
    assert_eq!(proxied(&mut one, Some("192.0.2.8")).await, "404");
    assert_eq!(proxied(&mut two, Some("192.0.2.7")).await, "404", "the first has gone from there");
    assert_eq!(proxied(&mut two, Some("192.0.2.8")).await, "503", "this one is here already");
    assert_eq!(proxied(&mut one, None).await, "404", "the proxy itself");
    assert_eq!(proxied(&mut two, Some("192.0.2.8")).await, "404");
    // What the client has written itself, to which its proxy has appended where it comes from.
    let hidden = proxied_bytes(&mut one, Some(b"\xe9, 192.0.2.8")).await;
    assert_eq!(hidden, "503", "it is here already, whatever it says");
}

/// So many wrong ones are answered at once.
const AT_ONCE: usize = 20;

/// Longer than anything takes that waits for nothing, and shorter than the longest wait. On a machine that is slow at
/// the time there is more.
const PROMPT: Duration = Duration::from_millis(2500);

/// Everything of a server that is asked for by who guesses.
#[derive(Clone, Copy, Debug)]
enum Guess {
    Publish,
    Play,
    Flv,
    Late,
    Admin,
}

impl Guess {
    /// Tries a wrong secret, and waits for the no.
    async fn wrong(self, weir: &Weir) {
        let url = weir.rtmp_url("live/a?secret=wrong");
        match self {
            Self::Publish => {
                let refused = Publisher::try_start(&url, Numbered::default()).await;
                assert_eq!(refused.expect_err("it is wrong").code, "NetStream.Publish.Denied");
            }
            Self::Play => {
                let refused = Viewer::try_rtmp(&url).await;
                assert_eq!(refused.expect_err("it is wrong").code, "NetStream.Play.Failed");
            }
            Self::Flv => {
                let answer = http::get(weir.http(), "live/a.flv?secret=wrong").await;
                assert_eq!(answer.status, 403);
            }
            // What hyper reads.
            Self::Late => {
                let answer = http::get(weir.http(), "live/a.m3u8?secret=wrong").await;
                assert_eq!((answer.status, answer.header("connection")), (403, Some("close")));
            }
            Self::Admin => {
                let head = "POST /api/v1/reload HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer wrong\r\n\
                            Content-Length: 0\r\nConnection: close\r\n\r\n";
                assert_eq!(http::request(weir.api(), head.as_bytes()).await.status, 401);
            }
        }
    }
}

/// Whoever says that it is a node waits as well: no longer than a second, so that it never takes us for dead.
#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_as_a_node_waits_too() {
    for way in ["flv", "m3u8", "play", "question"] {
        let weir = server("auth: { play: [secret: { values: [right] }] }");
        let connect = async || {
            let mut caller = Caller::greet(weir.rtmp()).await;
            let mut fields = Object::new();
            fields.push("app", "live");
            fields.push("tcUrl", "rtmp://127.0.0.1/live");
            fields.push("weirHops", "edge");
            caller.call(0, "connect", fields.into(), vec![]).await;
            caller.result().await;
            caller
        };
        let mut asker = connect().await;
        let mut guess = async || match way {
            "play" => {
                let mut caller = connect().await;
                let stream = caller.create_stream().await;
                assert_eq!(caller.play(stream, "a?secret=wrong").await, "NetStream.Play.Failed");
            }
            "question" => {
                let question = ["rtmp://127.0.0.1/live", "a?secret=wrong", ""].map(Value::from);
                asker.call(0, "weirMayPlay", Value::Null, question.into()).await;
                let answer = asker.result().await;
                assert_eq!(answer.info("code"), Some("NetStream.Play.Failed"));
            }
            end => {
                let head = format!(
                    "GET /live/a.{end}?secret=wrong HTTP/1.1\r\nHost: h\r\nWeir-Hops: edge\r\n\
                     Connection: close\r\n\r\n"
                );
                assert_eq!(http::request(weir.http(), head.as_bytes()).await.status, 403);
            }
        };
        // From the first on, so that a slow machine changes nothing: the answers beyond AT_ONCE are a second apart.
        let began = Instant::now();
        for _ in 0..AT_ONCE + 3 {
            guess().await;
        }
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(3), "{way}: {AT_ONCE} and three more took {took:?}");
    }
}

/// Who asks well and ill on one connection gets the good answers at once.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_questions_hold_no_right_one_up() {
    let weir = server("auth: { play: [secret: { values: [right] }] }");
    let mut asker = Caller::connect(weir.rtmp(), "live").await;
    let ask = async |asker: &mut Caller, name: &str| {
        let question = ["rtmp://127.0.0.1/live", name, ""].map(Value::from);
        asker.call(0, "weirMayPlay", Value::Null, question.into()).await;
    };
    for _ in 0..5 * AT_ONCE {
        ask(&mut asker, "a?secret=wrong").await;
    }
    ask(&mut asker, "a?secret=right").await;
    let mut wrong = 0;
    loop {
        match asker.next().await.expect("it is not closed") {
            Said::Command(_, command) if command.info("code").is_some() => wrong += 1,
            Said::Command(_, command) if command.name == "_result" => break,
            _ => {}
        }
    }
    assert!(wrong <= AT_ONCE, "{wrong} wrong ones are answered before the right one");
}

/// Guesses that wait at a time: the first for a second, the last for five.
const WAITING: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_waits_and_holds_nobody_up() {
    for guess in [Guess::Publish, Guess::Play, Guess::Flv, Guess::Late, Guess::Admin] {
        // The publisher, either those who guess or those who are right, and those who have been answered and are not
        // counted out yet.
        let places = 1 + WAITING + WAITING / 2;
        let checks = "[secret: { values: [right] }]";
        let config = format!(
            "limits: {{ connections_per_ip: {places} }}\nauth: {{ publish: {checks}, play: {checks} }}"
        );
        let weir = Arc::new(with_api(&config, &[("ADMIN_TOKENS", "right")]));
        let url = weir.rtmp_url("live/a?secret=right");
        let mut publisher = Publisher::start(&url, Numbered::default()).await;
        publisher.pictures(1).await;
        // From the first on, so that a slow machine changes nothing.
        let start = Instant::now();
        for _ in 0..AT_ONCE {
            guess.wrong(&weir).await;
        }
        // What connections that are answered at once take here: four times as many as come in below.
        let pace = start.elapsed();
        let mut guesses = JoinSet::new();
        for _ in 0..WAITING {
            let weir = Arc::clone(&weir);
            guesses.spawn(async move { guess.wrong(&weir).await });
        }
        // All have come by the time that the first of them is answered.
        guesses.join_next().await.expect("a guess").expect("an answer");
        let asked = Instant::now();
        // Who is right comes in at once meanwhile, and finds the places of those who wait free.
        let mut viewers = Vec::new();
        for _ in 0..WAITING {
            viewers.push(Viewer::rtmp(&url).await);
        }
        let (took, most) = (asked.elapsed(), PROMPT + 2 * pace);
        assert!(took < most, "{guess:?} holds others up: {took:?}, and {AT_ONCE} took {pace:?}");
        guesses.join_all().await;
        let took = start.elapsed();
        assert!(took >= Duration::from_secs(5), "{guess:?}: all with {WAITING} more took {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_of_other_servers_are_taken_in_when_their_file_changes() {
    // It is looked at it every 30 seconds.
    const LOOK: Duration = Duration::from_secs(90);
    const PICTURE: Duration = Duration::from_millis(PICTURE_MILLIS as u64);
    let (right, dir) = (Authority::new("right"), tempfile::tempdir().expect("a folder"));
    let ca = put(dir.path(), "ca.pem", &Authority::new("wrong").pem());
    let (there, back_end) = (server(""), Backend::start().await);
    let shown = right.issue(&["127.0.0.1"]);
    let target = TlsFront::start(there.rtmp(), &shown).await;
    let source = TlsFront::start(there.rtmp(), &shown).await;
    let told = TlsFront::start(back_end.address(), &shown).await;
    let storage = TlsFront::start(there.http(), &shown).await;
    let [to, from, hook, store] = [&target, &source, &told, &storage].map(TlsFront::address);
    std::fs::write(dir.path().join("a.flv"), "a file").expect("written");
    Uploader::note(dir.path(), "a.flv").expect("noted");
    let here = server(&format!(
        "forward: [{{ streams: live/*, to: 'rtmps://{to}/copy/{{stream}}', ca: {ca:?} }}]\n\
         pull: [{{ stream: pulled/x, from: 'rtmps://{from}/live/source', ca: {ca:?} }}]\n\
         hooks: {{ on_unpublish: 'https://{hook}/', ca: {ca:?} }}\n\
         record: {{ dir: {:?} }}\n\
         upload: {{ url: 's3://archive', endpoint: 'https://{store}', access_key: a, secret_key: b, ca: {ca:?} }}\n",
        dir.path()
    ));
    let start = async |url: String| Encoder::start(&url, Numbered::new(12), PICTURE).await;
    let _source = start(there.rtmp_url("live/source")).await;
    let published = start(here.rtmp_url("live/a")).await;
    drop(start(here.rtmp_url("live/gone")).await);
    let failed = eventually("all of them are not trusted", LOOK, async || {
        let page = http::get(here.api(), "metrics").await.text().await;
        let of = |name: &str| {
            let value =
                page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            value.is_some_and(|value| value > 0.0)
        };
        let names = [
            "weir_forward_failures_total",
            "weir_hook_backends_failing",
            "weir_uploads_failing",
            "weir_pull_retries_total",
        ];
        names.into_iter().all(of).then_some(())
    });
    failed.await;
    let fronts = [&target, &source, &told, &storage];
    assert_eq!(fronts.map(TlsFront::handshakes), [0; 4]);
    std::fs::write(&ca, right.pem()).expect("written");
    let trusted = eventually("all of them are trusted", LOOK, async || {
        // Another one is told of.
        drop(start(here.rtmp_url("live/gone")).await);
        fronts.iter().all(|front| front.handshakes() > 0).then_some(())
    });
    trusted.await;
    Viewer::rtmp(&there.rtmp_url("copy/a")).await.until_picture(published.next_number()).await;
    Viewer::rtmp(&here.rtmp_url("pulled/x")).await.next().await.expect("media");
    back_end.until("on_unpublish", 1).await;
    published.assert_connected();
}
