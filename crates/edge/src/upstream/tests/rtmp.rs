//! Over RTMP.

use bytes::BytesMut;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use weir_rtmp::{
    chunk,
    message::{Command, Control, UserControl, type_id},
    server::{self, PlayRefusal, PublishRefusal},
    url::StreamUrl,
};

use super::*;

/// The origin's end of a connection.
struct Peer {
    socket: TcpStream,
    session: server::Session,
    connect: Option<server::ConnectInfo>,
}

impl Peer {
    /// What the edge does next; `None` when it has gone.
    async fn event(&mut self) -> Option<server::Event> {
        let mut buffer = [0; 4096];
        loop {
            self.flush().await;
            match self.session.poll_event() {
                Some(server::Event::Connected(info)) => self.connect = Some(*info),
                Some(event) => return Some(event),
                None => match self.socket.read(&mut buffer).await {
                    Ok(0) | Err(_) => return None,
                    Ok(count) => {
                        let now = Instant::now().into_std();
                        self.session.handle_input(&buffer[..count], now).expect("RTMP");
                    }
                },
            }
        }
    }

    /// The stream that is asked for.
    async fn asked(&mut self) -> StreamUrl {
        loop {
            match self.event().await {
                Some(server::Event::Play { url, .. } | server::Event::Publish { url, .. }) => {
                    return url;
                }
                Some(_) => {}
                None => panic!("the edge went away without having asked"),
            }
        }
    }

    /// Plays to whoever asks.
    async fn play(&mut self, tags: &[Tag]) {
        self.asked().await;
        self.session.accept_play(1);
        self.send(tags).await;
    }

    async fn send(&mut self, tags: &[Tag]) {
        tags.iter().for_each(|tag| self.session.send_media(1, tag.kind, tag.timestamp, &tag.body));
        self.flush().await;
    }

    /// Any status that no session would send.
    async fn status(&mut self, code: &str, description: &str) {
        let body = Command::status("error", code, description).encode();
        self.message(type_id::COMMAND, 1, &body).await;
    }

    async fn message(&mut self, type_id: u8, stream_id: u32, body: &[u8]) {
        let mut out = BytesMut::new();
        let chunk_size = self.session.out_chunk_size() as usize;
        chunk::encode_message(&mut out, 5, 0, type_id, stream_id, body, chunk_size);
        self.write(&out).await;
    }

    async fn flush(&mut self) {
        while let Some(out) = self.session.poll_output() {
            self.write(&out).await;
        }
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.expect("the edge listens");
    }

    /// Serves on until the edge goes; returns what it sent.
    async fn until_closed(&mut self) -> Vec<server::Event> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }
}

/// An origin that does what `script` says with its first connection, and keeps it open until that ends.
async fn scripted<F, T>(script: impl FnOnce(Peer) -> F + Send + 'static) -> (Origin, JoinHandle<T>)
where
    F: Future<Output = T> + Send,
    T: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    let peer = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("the edge connects");
        let session =
            server::Session::new(server::Config::default(), [1; 1536], Instant::now().into_std());
        script(Peer { socket, session, connect: None }).await
    });
    (origin(at, at, HOST), peer)
}

async fn open(origin: &Origin, dead_after: Duration) -> Result<Source, Failure> {
    let connected = AtomicBool::new(false);
    let source =
        open_source(origin, Upstream::Rtmp, &request(&cam()), dead_after, &connected).await;
    assert!(connected.load(Ordering::Relaxed), "there is somebody to connect to");
    source
}

async fn no(opened: Result<Source, Failure>) -> Failure {
    match opened {
        Err(failure) => failure,
        Ok(mut source) => panic!("it plays: {:?}", source.next().await),
    }
}

async fn sink(origin: &Origin, dead_after: Duration) -> Result<Sink, Failure> {
    open_sink(origin, &request(&cam()), dead_after, &AtomicBool::new(false)).await
}

#[tokio::test]
async fn a_stream_is_played_to_its_end() {
    let script = tag(TagKind::Script, 0, b"\x02\x00\x0aonMetaData\x05");
    let (first, second) = (vec![script.clone(), picture(1)], picture(u32::MAX));
    let sent = second.clone();
    let (origin, peer) = scripted(async move |mut peer: Peer| {
        peer.play(&first).await;
        peer.send(&[sent]).await;
        peer.session.end_play(1);
        peer.until_closed().await
    })
    .await;
    let mut source = open(&origin, LONG).await.expect("it plays");
    for expected in [script, picture(1), second] {
        assert_eq!(source.next().await, Ok(Some(expected)));
    }
    assert_eq!((source.next().await, source.next().await), (Ok(None), Ok(None)));
    drop(source);
    let after = peer.await.expect("the script went through");
    assert!(after.is_empty(), "dropping a source closes it and says nothing: {after:?}");
}

#[tokio::test]
async fn the_origin_is_told_who_asks_for_what() {
    let keys = [("v.org", "live/eu/2", "\u{5830}+1%20&a=b"), (DEFAULT_VHOST, "live", "cam.1")];
    for (vhost, app, stream) in keys {
        let (origin, peer) = scripted(async |mut peer: Peer| {
            let url = peer.asked().await;
            peer.session.reject_play(1, PlayRefusal::StreamNotFound, "no");
            peer.until_closed().await;
            (url, peer.connect)
        })
        .await;
        let key = StreamKey::new(vhost, app, stream).expect("a key");
        let request = Request { wait: Duration::from_millis(2500), ..request(&key) };
        let hops = request.hops.to_string();
        let connected = AtomicBool::new(false);
        let played = open_source(&origin, Upstream::Rtmp, &request, LONG, &connected).await;
        no(played).await;
        let (url, connect) = peer.await.expect("the script went through");
        let connect = connect.expect("a connect");
        let arrived = if vhost == DEFAULT_VHOST { HOST } else { vhost };
        assert_eq!(
            (url.vhost.as_str(), url.app.as_str(), url.stream.as_str()),
            (arrived, app, stream)
        );
        assert!(url.params.contains("token=1"), "{}", url.params);
        assert_eq!(connect.other.get(Hops::FIELD), Some(&hops.as_str().into()));
        assert_eq!(connect.other.get("weirWait"), Some(&2500.0.into()));
    }
}

#[tokio::test]
async fn a_no_is_passed_on_in_the_origins_words() {
    for (refusal, expected) in [
        (PlayRefusal::StreamNotFound, Failure::Missing("words".to_owned())),
        (
            PlayRefusal::Failed,
            Failure::Refused {
                code: "NetStream.Play.Failed".to_owned(),
                description: "words".to_owned(),
            },
        ),
    ] {
        let (origin, _peer) = scripted(async move |mut peer: Peer| {
            peer.asked().await;
            peer.session.reject_play(1, refusal, "words");
            peer.until_closed().await
        })
        .await;
        assert_eq!(no(open(&origin, LONG).await).await, expected);
    }
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    drop(listener);
    let (origin, connected) = (origin(at, at, HOST), AtomicBool::new(false));
    for protocol in [Upstream::Rtmp, Upstream::Flv] {
        let opened = open_source(&origin, protocol, &request(&cam()), LONG, &connected).await;
        assert!(unreachable(&no(opened).await).starts_with("no connection: "));
        assert!(!connected.load(Ordering::Relaxed));
    }
}

#[tokio::test]
async fn an_origin_that_accepts_and_never_sends_has_no_such_stream() {
    let (origin, _peer) = scripted(async |mut peer: Peer| {
        peer.play(&[]).await;
        peer.until_closed().await
    })
    .await;
    assert_eq!(missing(&no(open(&origin, SHORT).await).await), NOTHING);
}

#[tokio::test]
async fn an_origin_that_accepts_and_ends_has_no_such_stream() {
    let (origin, _peer) = scripted(async |mut peer: Peer| {
        peer.play(&[]).await;
        peer.session.end_play(1);
        peer.until_closed().await
    })
    .await;
    assert_eq!(missing(&no(open(&origin, LONG).await).await), NOTHING);
    let (origin, _peer) = scripted(async |mut peer: Peer| peer.play(&[]).await).await;
    assert!(missing(&no(open(&origin, LONG).await).await).contains("closed"));
}

#[tokio::test]
async fn an_origin_that_closes_when_it_is_asked_says_no() {
    let (origin, _peer) = scripted(async |mut peer: Peer| drop(peer.asked().await)).await;
    assert!(missing(&no(open(&origin, LONG).await).await).contains("instead of playing"));
    let (origin, _peer) = scripted(async |mut peer: Peer| drop(peer.asked().await)).await;
    let failure = sink(&origin, LONG).await.err().expect("a no");
    assert_eq!(refused(&failure).0, "NetConnection.Connect.Closed");
}

#[tokio::test]
async fn an_origin_that_speaks_something_else() {
    let (origin, _peer) = scripted(async |mut peer: Peer| {
        peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        peer.until_closed_raw().await;
    })
    .await;
    let failure = no(open(&origin, LONG).await).await;
    assert!(unreachable(&failure).starts_with("protocol error: handshake version 72"), "{failure}");
}

impl Peer {
    /// Keeps the connection and reads nothing as RTMP.
    async fn until_closed_raw(&mut self) {
        let mut buffer = [0; 4096];
        while self.socket.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    }
}

#[tokio::test]
async fn an_origin_that_is_silent_from_the_start() {
    let (origin, _peer) = scripted(async |mut peer: Peer| peer.until_closed_raw().await).await;
    let failure = no(open(&origin, SHORT).await).await;
    assert_eq!(unreachable(&failure), "no answer to the handshake within 1s");
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_message() {
    let (origin, _peer) = scripted(async |mut peer: Peer| {
        peer.play(&[picture(1)]).await;
        // 1000 bytes of a message of 4096.
        let header = [&[6, 0, 0, 2, 0, 16, 0, 9, 1, 0, 0, 0][..], &[7; 1000]].concat();
        peer.write(&header).await;
        SockRef::from(&peer.socket).set_linger(Some(Duration::ZERO)).expect("a socket");
    })
    .await;
    let mut source = open(&origin, LONG).await.expect("it plays");
    assert_eq!(source.next().await, Ok(Some(picture(1))));
    assert_eq!(source.next().await, Err(closed("it closed the connection")), "a reset");
}

#[tokio::test]
async fn garbage_after_media() {
    let (origin, _peer) = scripted(async |mut peer: Peer| {
        peer.play(&[picture(1)]).await;
        peer.write(&[0xff; 100]).await;
        peer.until_closed_raw().await;
    })
    .await;
    let mut source = open(&origin, LONG).await.expect("it plays");
    assert_eq!(source.next().await, Ok(Some(picture(1))));
    let reason = source.next().await.expect_err("the protocol is broken").why;
    assert!(reason.starts_with("protocol error: "), "{reason}");
}

#[tokio::test]
async fn an_end_that_is_none_is_an_error() {
    let (origin, _peer) = scripted(async |mut peer: Peer| {
        peer.play(&[picture(1)]).await;
        peer.status("NetStream.Play.Failed", "out of\nmemory").await;
        peer.until_closed().await
    })
    .await;
    let mut source = open(&origin, LONG).await.expect("it plays");
    assert_eq!(source.next().await, Ok(Some(picture(1))));
    assert_eq!(
        source.next().await,
        Err(closed("it answered NetStream.Play.Failed: out of memory"))
    );
}

#[tokio::test]
async fn an_origin_that_freezes_is_dead() {
    let (origin, _peer) = scripted(async |mut peer: Peer| {
        peer.play(&[picture(1)]).await;
        // It neither reads nor writes any more.
        std::future::pending::<()>().await;
        drop(peer);
    })
    .await;
    let mut source = open(&origin, LONG).await.expect("it plays");
    assert_eq!(source.next().await, Ok(Some(picture(1))));
    tokio::time::pause();
    let since = Instant::now();
    assert_eq!(source.next().await, Err(failure("silent for 60s")));
    let silence = since.elapsed();
    assert!((LONG / 2..=LONG + SHORT).contains(&silence), "{silence:?}");
}

#[tokio::test]
async fn an_origin_whose_encoder_is_silent_is_alive() {
    let dead_after = 2 * SHORT;
    let (origin, _peer) = scripted(async move |mut peer: Peer| {
        peer.play(&[picture(1)]).await;
        // The session answers pings.
        let _ = timeout(2 * dead_after, peer.until_closed()).await;
        peer.send(&[picture(2)]).await;
        peer.until_closed().await
    })
    .await;
    let mut source = open(&origin, dead_after).await.expect("it plays");
    assert_eq!(source.next().await, Ok(Some(picture(1))));
    assert_eq!(source.next().await, Ok(Some(picture(2))), "after twice the time of a dead origin");
}

#[tokio::test]
async fn nothing_is_lost_when_a_source_is_cancelled() {
    let tags: Vec<Tag> = (0..500).map(picture).collect();
    let sent = tags.clone();
    let (origin, _peer) = scripted(async move |mut peer: Peer| {
        peer.play(&[]).await;
        for tag in sent {
            peer.send(&[tag]).await;
            tokio::task::yield_now().await;
        }
        peer.session.end_play(1);
        peer.until_closed().await
    })
    .await;
    let mut source = open(&origin, LONG).await.expect("it plays");
    let mut played = Vec::new();
    loop {
        tokio::select! {
            biased;
            next = source.next() => match next.expect("a tag") {
                Some(tag) => played.push(tag),
                None => break,
            },
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(played, tags);
}

#[tokio::test]
async fn a_stream_is_published_and_ended() {
    let metadata = tag(TagKind::Script, 0, b"\x02\x00\x0aonMetaData\x05");
    let (origin, peer) = scripted(async |mut peer: Peer| {
        let url = peer.asked().await;
        peer.session.accept_publish(1);
        (url.stream, peer.until_closed().await)
    })
    .await;
    let mut sink = sink(&origin, LONG).await.expect("it is taken");
    for tag in [&metadata, &picture(1), &picture(2)] {
        sink.send(tag.kind, tag.timestamp, &tag.body);
    }
    assert!(sink.queued() > 0);
    assert_eq!(sink.flush().await, Ok(()));
    assert_eq!(sink.queued(), 0);
    sink.send(TagKind::Video, 3, &picture(3).body);
    sink.close().await;
    let (stream, events) = peer.await.expect("the script went through");
    let kept = metadata::for_server(&metadata.body).into_owned();
    let media = |tag: Tag| server::Event::Media { stream_id: 1, tag };
    let expected = [
        media(Tag { body: kept.into(), ..metadata }),
        media(picture(1)),
        media(picture(2)),
        media(picture(3)),
        server::Event::EndPublish { stream_id: 1 },
    ];
    assert_eq!((stream.as_str(), events.as_slice()), ("cam", &expected[..]));
}

#[tokio::test]
async fn a_publish_is_refused() {
    let (origin, _peer) = scripted(async |mut peer: Peer| {
        peer.asked().await;
        peer.session.reject_publish(1, PublishRefusal::BadName, "somebody publishes it");
        peer.until_closed().await
    })
    .await;
    let failure = sink(&origin, LONG).await.err().expect("a no");
    assert_eq!(refused(&failure), ("NetStream.Publish.BadName", "somebody publishes it"));
}

#[tokio::test]
async fn an_origin_ends_a_publish() {
    let (origin, _peer) = scripted(async |mut peer: Peer| {
        peer.asked().await;
        peer.session.accept_publish(1);
        peer.flush().await;
        peer.status("NetStream.Publish.BadName", "replaced").await;
    })
    .await;
    let mut sink = sink(&origin, LONG).await.expect("it is taken");
    let reason = "it answered NetStream.Publish.BadName: replaced".to_owned();
    assert_eq!(sink.watch().await, Broken::Decided(reason));
}

#[tokio::test]
async fn an_origin_that_takes_no_data_is_dead() {
    let (origin, _peer) = scripted(async |mut peer: Peer| {
        peer.asked().await;
        peer.session.accept_publish(1);
        peer.flush().await;
        std::future::pending::<()>().await;
        drop(peer);
    })
    .await;
    let mut sink = sink(&origin, LONG).await.expect("it is taken");
    tokio::time::pause();
    // More than any socket buffer takes.
    (0..64).for_each(|n| sink.send(TagKind::Video, n, &vec![0; 1 << 20]));
    let lost = Broken::Lost(failure("it took no data for 60s"));
    assert_eq!(sink.flush().await, Err(lost.clone()));
    assert_eq!(sink.watch().await, lost);
    sink.close().await;
}

#[tokio::test]
async fn an_origin_that_pings_and_does_not_read_is_dead() {
    let (origin, _peer) = scripted(async |mut peer: Peer| {
        peer.play(&[picture(1)]).await;
        let (type_id, body) = Control::User(UserControl::PingRequest(1)).encode();
        let mut pings = BytesMut::new();
        (0..1000).for_each(|_| chunk::encode_message(&mut pings, 2, 0, type_id, 0, &body, 128));
        while peer.socket.write_all(&pings).await.is_ok() {}
    })
    .await;
    let mut source = open(&origin, SHORT).await.expect("it plays");
    assert_eq!(source.next().await, Ok(Some(picture(1))));
    let reason = source.next().await.expect_err("our answers are not read").why;
    assert_eq!(reason, "it took no data for 1s");
    assert!(source.queued() < 256 * 1024, "{} bytes of answers wait", source.queued());
}
