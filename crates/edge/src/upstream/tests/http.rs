//! Over HTTP-FLV.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use weir_config::Config;

use super::*;

/// An origin that gives these answers, one to a connection, and then takes no more. Its task returns the heads of
/// the requests, once the edge has closed the last connection or `close` is set.
async fn answering(answers: Vec<Vec<u8>>, close: bool) -> (Origin, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    let heads = tokio::spawn(async move {
        let mut heads = Vec::new();
        let mut last = None;
        for answer in answers {
            let (mut socket, _) = listener.accept().await.expect("the edge connects");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.expect("a head"));
            }
            heads.push(String::from_utf8(head).expect("text"));
            socket.write_all(&answer).await.expect("the edge listens");
            last = Some(socket);
        }
        if let (Some(mut socket), false) = (last, close) {
            // Nothing but the end can come.
            let _ = socket.read_u8().await;
        }
        heads
    });
    (origin(at, at, HOST), heads)
}

const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nTransfer-Encoding: chunked\r\n\r\n";
const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn chunks(body: &[u8], size: usize) -> Vec<u8> {
    let chunk =
        |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    body.chunks(size).flat_map(chunk).collect()
}

async fn open_at(origin: &Origin, dead_after: Duration) -> Result<Source, Failure> {
    open_with(origin, &request(&cam()), dead_after).await
}

async fn open_with(
    origin: &Origin,
    request: &Request,
    dead_after: Duration,
) -> Result<Source, Failure> {
    let connected = AtomicBool::new(false);
    let source = open_source(origin, Upstream::Flv, request, dead_after, &connected).await;
    assert!(connected.load(Ordering::Relaxed), "there is somebody to connect to");
    source
}

/// What comes of an origin with this one answer, which keeps the connection open.
async fn answered(answer: &[u8], dead_after: Duration) -> Result<Source, Failure> {
    let (origin, _) = answering(vec![answer.to_owned()], false).await;
    open_at(&origin, dead_after).await
}

async fn refusal(answer: &[u8]) -> Failure {
    match answered(answer, LONG).await {
        Err(failure) => failure,
        Ok(mut source) => panic!("it plays: {:?}", source.next().await),
    }
}

#[tokio::test]
async fn a_chunked_stream_is_played_to_its_end() {
    let tags = [tag(TagKind::Audio, 0, b"\xaf\x01sound"), picture(1), picture(u32::MAX)];
    for size in [1, 7, 1000] {
        let answer = [CHUNKED.as_bytes(), &chunks(&flv(&tags), size), LAST_CHUNK].concat();
        let (origin, heads) = answering(vec![answer], false).await;
        let mut source = open_at(&origin, LONG).await.expect("it plays");
        for expected in &tags {
            assert_eq!(source.next().await, Ok(Some(expected.clone())));
        }
        assert_eq!((source.next().await, source.next().await), (Ok(None), Ok(None)));
        drop(source);
        let heads = heads.await.expect("dropping a source closes it");
        assert!(heads[0].starts_with("GET /live/cam.flv?token=1 HTTP/1.1\r\n"), "{heads:?}");
        let host = format!("host: origin.example:{}\r\n", origin.http.port());
        for field in [host.as_str(), "weir-hops: ", "weir-wait: 0\r\n"] {
            assert!(heads[0].contains(field), "no {field}in {heads:?}");
        }
    }
}

#[tokio::test]
async fn a_body_without_an_end_does_not_end_well() {
    let answer = [PLAIN.as_bytes(), &flv(&[picture(1)])].concat();
    let (origin, _) = answering(vec![answer], true).await;
    let mut source = open_at(&origin, LONG).await.expect("it plays");
    assert_eq!(source.next().await, Ok(Some(picture(1))));
    assert_eq!(source.next().await, Err(closed("it closed the connection")));

    let answer = [CHUNKED.as_bytes(), &chunks(&flv(&[picture(1)]), 1000)].concat();
    let (origin, _) = answering(vec![answer], true).await;
    let mut source = open_at(&origin, LONG).await.expect("it plays");
    assert_eq!(source.next().await, Ok(Some(picture(1))));
    let reason = source.next().await.expect_err("the last chunk is missing").why;
    assert!(reason.contains("connection"), "{reason}");
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_tag_is_broken() {
    let file = flv(&[picture(1), picture(2)]);
    let cut = &file[..file.len() - 10];
    let answer = [CHUNKED.as_bytes(), &chunks(cut, 1000), LAST_CHUNK].concat();
    let mut source = answered(&answer, LONG).await.expect("it plays");
    assert_eq!(source.next().await, Ok(Some(picture(1))));
    assert_eq!(source.next().await, Err(failure("the stream ended inside a tag")));
}

#[tokio::test]
async fn status_codes_say_what_is_wrong() {
    let text = "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nwords";
    let failure = refusal(format!("HTTP/1.1 404 Not Found\r\n{text}").as_bytes()).await;
    assert_eq!(missing(&failure), "words");
    for (status, code) in [("403 Forbidden", "HTTP 403"), ("204 No", "HTTP 204")] {
        let failure = refusal(format!("HTTP/1.1 {status}\r\n{text}").as_bytes()).await;
        let (said, description) = refused(&failure);
        assert_eq!(said, code);
        assert!(["words", "No Content"].contains(&description), "{description}");
    }
    let busy = refusal(format!("HTTP/1.1 503 Busy\r\n{text}").as_bytes()).await;
    let words = "the server answered 503 Service Unavailable: words".to_owned();
    assert_eq!(busy, Failure::Busy(words), "its viewers may come again");
    let page = "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<h1>";
    assert_eq!(missing(&refusal(page.as_bytes()).await), "Not Found");
    let endless =
        [b"HTTP/1.1 403 No\r\nContent-Type: text/plain\r\n\r\n".to_vec(), b"x".repeat(100_000)];
    assert_eq!(refused(&refusal(&endless.concat()).await).1.len(), WORDS_MAX);
}

#[tokio::test]
async fn redirects_are_followed_up_to_a_point() {
    let redirect = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n").into_bytes();
    let stream = [CHUNKED.as_bytes(), &chunks(&flv(&[picture(1)]), 1000)].concat();
    let (elsewhere, there) = answering(vec![stream], false).await;
    let to = format!("http://{}/other/name.flv?a=b", elsewhere.http);
    // Whatever an origin says, an edge asks nobody that its configuration does not name.
    let (origin, _) = answering(vec![redirect(&to)], false).await;
    let failure = open_at(&origin, LONG).await.err().expect("nobody has allowed that");
    assert!(refused(&failure).1.contains("edge.redirects"), "{failure}");

    let (origin, here) = answering(vec![redirect("/here.flv"), redirect(&to)], true).await;
    let allowed = format!("edge: {{ redirects: [\"{}\"] }}", elsewhere.http);
    let config = Config::parse(&allowed, "test").expect("a configuration");
    let request = Request { settings: Settings::new(config), ..request(&cam()) };
    let mut source = open_with(&origin, &request, LONG).await.expect("it plays");
    assert_eq!(source.next().await, Ok(Some(picture(1))));
    drop(source);
    let (here, there) = (here.await.expect("heads"), there.await.expect("heads"));
    assert!(here[1].starts_with("GET /here.flv HTTP/1.1\r\n"), "{here:?}");
    assert!(there[0].starts_with("GET /other/name.flv?a=b HTTP/1.1\r\n"), "{there:?}");
    assert!(
        there[0].contains("weir-hops: "),
        "a loop through a redirect is noticed too: {there:?}"
    );

    let (origin, _) = answering(vec![redirect("/again.flv"); REDIRECTS + 1], false).await;
    let failure = open_at(&origin, LONG).await.err().expect("no end of redirects");
    assert!(refused(&failure).1.contains("redirects"), "{failure}");
    let failure = refusal(&redirect("https://elsewhere.example/cam.flv")).await;
    assert!(refused(&failure).1.contains("for which edge.tls must say"), "{failure}");
}

/// As many as are followed.
const REDIRECTS: usize = 3;

#[tokio::test]
async fn garbage_is_no_answer() {
    for garbage in [
        &b"\x03\x00\x00\x00"[..],
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ] {
        let (origin, _) = answering(vec![garbage.to_owned()], true).await;
        let failure = open_at(&origin, LONG).await.err().expect("no stream");
        unreachable(&failure);
    }
    let page = format!("{PLAIN}<html><body>It works!</body></html>");
    let failure = refusal(page.as_bytes()).await;
    assert!(unreachable(&failure).starts_with("it did not send FLV: "), "{failure}");
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20));
    let (origin, _) = answering(vec![endless.into_bytes()], true).await;
    unreachable(&open_at(&origin, LONG).await.err().expect("no stream"));
}

#[tokio::test]
async fn an_origin_that_accepts_and_never_sends_has_no_such_stream() {
    let only_header = [CHUNKED.as_bytes(), &chunks(&flv(&[]), 1000)].concat();
    let failure = answered(&only_header, SHORT).await.err().expect("no stream");
    assert_eq!(missing(&failure), NOTHING);
    let failure = answered(b"", SHORT).await.err().expect("no answer");
    assert!(unreachable(&failure).starts_with("no answer within "), "{failure}");
    let ended = [CHUNKED.as_bytes(), LAST_CHUNK].concat();
    assert_eq!(missing(&refusal(&ended).await), NOTHING);
}

#[tokio::test]
async fn an_origin_that_freezes_is_dead() {
    let answer = [CHUNKED.as_bytes(), &chunks(&flv(&[picture(1)]), 1000)].concat();
    let mut source = answered(&answer, LONG).await.expect("it plays");
    assert_eq!(source.next().await, Ok(Some(picture(1))));
    tokio::time::pause();
    // Whoever waits for other things as well does not make it live longer.
    for _ in 0..5 {
        let tick = timeout(LONG / 10, source.next()).await;
        assert!(tick.is_err(), "{tick:?}");
    }
    let since = Instant::now();
    assert_eq!(source.next().await, Err(failure("silent for 60s")));
    assert!(since.elapsed() <= LONG / 2 + SHORT, "{:?}", since.elapsed());
}
