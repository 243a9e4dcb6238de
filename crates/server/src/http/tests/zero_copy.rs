//! Segments that the system sends from copies, and what clients may do to the connection meanwhile.

use weir_sys::pages::HUGE_PAGE;

use super::*;

/// Longer than what a socket takes at once.
const LONG: usize = 6 << 20;

/// Bytes of a segment, of which no two stretches are alike.
fn bytes(seed: u64, len: usize) -> Bytes {
    let words = (0..len.div_ceil(8) as u64).map(|at| at.wrapping_mul(seed | 1).rotate_left(17));
    let mut bytes: Vec<u8> = words.flat_map(|word| (word ^ seed).to_le_bytes()).collect();
    bytes.truncate(len);
    bytes.into()
}

fn segment(sequence: u64) -> String {
    format!("a-{sequence}-{NONCE}.ts")
}

impl Server {
    /// A segment of so many bytes, with its path.
    fn put(&self, sequence: u64, len: usize) -> (Bytes, String) {
        let (data, file) = (bytes(sequence, len), segment(sequence));
        self.window.put(&file, data.clone());
        (data, format!("/live/{file}"))
    }

    /// The same, and a copy of it, as there is from the second request on.
    async fn copied(&self, sequence: u64, len: usize) -> (Bytes, String) {
        let (data, path) = self.put(sequence, len);
        let before = self.copies();
        for is_copied in [false, true] {
            let answer = self.get(&path).await;
            assert_eq!(answer.status, 200);
            assert!(answer.body == data, "the bytes of the segment");
            let added = self.copies() - before;
            // Small ones are in one page with others.
            assert!(added == 0 || is_copied && (len..len + HUGE_PAGE).contains(&added));
        }
        (data, path)
    }

    /// Bytes of all copies.
    fn copies(&self) -> usize {
        self.node.streams.registry.budget().used_for(Use::ZeroCopy)
    }

    async fn until_no_copies(&self) {
        self.node.copies.clear();
        let freed = async {
            while self.copies() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, freed).await.expect("nobody needs them any more");
    }
}

impl Connection {
    /// Sends exactly this.
    async fn say(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.expect("sent");
    }

    /// What comes until the server ends the connection.
    async fn rest(&mut self) -> String {
        let read =
            async { while self.socket.read_buf(&mut self.read).await.is_ok_and(|it| it > 0) {} };
        timeout(SOON, read).await.expect("the connection ends");
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

#[tokio::test]
async fn what_is_sent_from_a_copy_is_what_is_sent_from_memory() {
    let server = Server::start().await;
    for (sequence, len) in [(1, 32 * 1024), (2, 500_001), (3, LONG)] {
        let (data, path) = server.copied(sequence, len).await;
        let mut viewer = server.connect().await;
        let (middle, last) = (len / 3, len - 1);
        for (range, part) in [
            (format!("bytes={middle}-"), middle..len),
            (format!("bytes={middle}-{}", middle + 9_999), middle..middle + 10_000),
            ("bytes=-20000".to_owned(), len - 20_000..len),
            (format!("bytes={last}-{len}"), last..len),
            ("bytes=0-0".to_owned(), 0..1),
        ] {
            let answer = viewer.ask("GET", &path, &format!("Range: {range}\r\n")).await;
            assert_eq!(answer.status, 206, "{range}");
            let said = format!("bytes {}-{}/{len}", part.start, part.end - 1);
            assert_eq!(answer.field("content-range"), said);
            assert!(answer.body == data[part], "{range} of {len} bytes");
        }
        let head = viewer.ask("HEAD", &path, "").await;
        assert_eq!((head.status, head.field("content-length")), (200, &*len.to_string()));
        let known = format!("If-None-Match: {}\r\n", head.field("etag"));
        assert_eq!(viewer.ask("GET", &path, &known).await.status, 304);
        let beyond = viewer.ask("GET", &path, &format!("Range: bytes={len}-\r\n")).await;
        assert_eq!(beyond.status, 416);
        let again = viewer.ask("GET", &path, "").await;
        assert!(again.status == 200 && again.body == data, "after all of that");
    }
    server.until_no_copies().await;
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_their_order() {
    let server = Server::start().await;
    server.list(7, 1);
    let (long, long_path) = server.copied(1, LONG).await;
    let (short, short_path) = server.copied(2, 40_000).await;
    let mut viewer = server.connect().await;
    let asked = [
        ("GET", &*long_path, "", 200, &long[..]),
        ("GET", &*short_path, "", 200, &short[..]),
        ("GET", "/live/a.m3u8", "", 200, b""),
        ("GET", &*long_path, "Range: bytes=1000000-1999999\r\n", 206, &long[1_000_000..2_000_000]),
        ("GET", "/live/nothing.ts", "", 404, b""),
        ("HEAD", &*long_path, "", 200, b""),
        ("GET", &*long_path, "", 200, &long[..]),
        ("GET", &*long_path, "", 200, &long[..]),
    ];
    let all = asked.map(|(method, path, fields, ..)| {
        format!("{method} {path} HTTP/1.1\r\nHost: weir\r\n{fields}\r\n")
    });
    viewer.say(&all.concat()).await;
    for (method, path, _, status, body) in asked {
        let answer = viewer.answer(method == "HEAD").await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(body.is_empty() || answer.body == body, "{method} {path}");
    }
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let server = Server::start().await;
    let (data, path) = server.copied(1, LONG).await;
    let mut viewer = server.connect().await;
    for _ in 0..2 {
        for byte in format!("GET {path} HTTP/1.1\r\nHost: weir\r\n\r\n").chars() {
            viewer.say(&byte.to_string()).await;
            tokio::task::yield_now().await;
        }
        assert!(viewer.answer(false).await.body == data);
    }
}

#[tokio::test]
async fn who_reads_slowly_gets_all_and_who_goes_leaves_nothing() {
    let server = Server::start().await;
    let (data, path) = server.copied(1, LONG).await;
    let mut slow = server.connect().await;
    let mut gone = server.connect().await;
    for viewer in [&mut slow, &mut gone] {
        viewer.send("GET", &path, "").await;
        // It is on its way.
        viewer.more().await;
    }
    // Nobody needs the copy but those two.
    server.node.copies.clear();
    server.window.remove([&*segment(1)]);
    let (quick, quick_path) = server.copied(2, LONG).await;
    assert!(server.get(&quick_path).await.body == quick, "others do not wait for the slow one");
    assert!(server.copies() >= 2 * LONG);
    drop(gone);
    assert!(slow.answer(false).await.body == data, "all of it, although it is here no more");
    server.until_no_copies().await;
}

#[tokio::test]
async fn a_body_that_nobody_expects_is_no_request() {
    let server = Server::start().await;
    let (data, path) = server.copied(1, 40_000).await;
    let inner = "GET /live/inner.m3u8 HTTP/1.1\r\nHost: weir\r\n\r\n";
    let length = inner.len();
    let chunked = format!("{length:x}\r\n{inner}\r\n0\r\n\r\n");
    for (fields, body) in [
        (format!("Content-Length: {length}\r\n"), inner),
        ("Transfer-Encoding: chunked\r\n".to_owned(), &*chunked),
        (format!("Expect: 100-continue\r\nContent-Length: {length}\r\n"), inner),
    ] {
        let mut viewer = server.connect().await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: weir\r\n{fields}\r\n{body}");
        viewer
            .say(&(head + "HEAD /live/x.ts HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n"))
            .await;
        let rest = viewer.rest().await;
        let answers: Vec<_> = rest.matches("HTTP/1.1 ").collect();
        assert!(rest.starts_with("HTTP/1.1 200 "), "{fields}");
        assert!(viewer.read.windows(data.len()).any(|at| at == data), "{fields}");
        assert!(answers.len() <= 2 && !rest.contains("inner"), "{fields}: {answers:?}");
    }
}

#[tokio::test]
async fn what_two_servers_may_read_differently_is_answered_once_at_most() {
    let server = Server::start().await;
    let (_, path) = server.put(1, 40_000);
    let inner = "GET /live/inner.m3u8 HTTP/1.1\r\nHost: weir\r\n\r\n";
    // With both, the length is not what counts, and the connection is of no further use (RFC 9112 section 6.3).
    let both = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ];
    let wrong = [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Transfer-Encoding: identity, chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length : 5\r\n",
        " Content-Length: 5\r\n",
        "X: y\r\n Content-Length: 5\r\n",
        "X: y\nContent-Length: 5\r\n\0",
    ];
    let all = both.map(|fields| (fields, 200)).into_iter();
    for (fields, status) in all.chain(wrong.map(|fields| (fields, 400))) {
        let mut viewer = server.connect().await;
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: weir\r\n{fields}\r\n0\r\n\r\n");
        viewer.say(&(head + inner)).await;
        viewer.socket.shutdown().await.expect("nothing more is said");
        let rest = viewer.rest().await;
        assert!(rest.starts_with(&format!("HTTP/1.1 {status} ")), "{fields:?}: {rest}");
        assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{fields:?}: {rest}");
    }
}

#[tokio::test]
async fn an_old_client_gets_its_segment_and_the_end() {
    let server = Server::start().await;
    let (data, path) = server.copied(1, LONG).await;
    let mut viewer = server.connect().await;
    viewer.say(&format!("GET {path} HTTP/1.0\r\n\r\n")).await;
    assert!(viewer.answer(false).await.body == data);
    viewer.until_end().await;
}
