use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use weir_flv::{TagKind, file::write_tag};
use weir_rtmp::{
    handshake::PACKET_BYTES,
    server::{self, PlayRefusal, PublishRefusal},
};

use super::{super::*, *};

/// The messages of 12 pictures.
fn tags() -> Vec<Tag> {
    let mut source = Numbered::new(5);
    let init = source.init();
    init.into_iter().chain((0..12).flat_map(|_| source.next_pair())).collect()
}

/// Serves one RTMP connection: streams called `no` are refused; players get `tags` and then the end. What was
/// published.
async fn serve(tags: Vec<Tag>) -> (String, JoinHandle<Vec<Tag>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rtmp://{}/live", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (config, random) = (server::Config::default(), [1; PACKET_BYTES]);
        let mut session = server::Session::new(config, random, Instant::now());
        let (mut buffer, mut published) = (BytesMut::new(), Vec::new());
        while socket.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
            session.handle_input(&buffer.split(), Instant::now()).unwrap();
            while let Some(event) = session.poll_event() {
                answer(&mut session, event, &tags, &mut published);
            }
            while let Some(bytes) = session.poll_output() {
                socket.write_all(&bytes).await.unwrap();
            }
        }
        published
    });
    (url, server)
}

fn answer(
    session: &mut server::Session,
    event: server::Event,
    tags: &[Tag],
    published: &mut Vec<Tag>,
) {
    match event {
        server::Event::Publish { stream_id, url, .. } if url.stream == "no" => {
            session.reject_publish(stream_id, PublishRefusal::BadName, "taken");
        }
        server::Event::Publish { stream_id, .. } => session.accept_publish(stream_id),
        server::Event::Media { tag, .. } => published.push(tag),
        server::Event::Play { stream_id, url, .. } if url.stream == "no" => {
            session.reject_play(stream_id, PlayRefusal::StreamNotFound, "not here");
        }
        server::Event::Play { stream_id, .. } => {
            session.accept_play(stream_id);
            for tag in tags {
                session.send_media(stream_id, tag.kind, tag.timestamp, &tag.body);
            }
            session.end_play(stream_id);
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_publisher_sends_the_first_messages_and_then_what_the_test_asks_for() {
    let (url, server) = serve(Vec::new()).await;
    let mut publisher = Publisher::start(&format!("{url}/a"), Numbered::new(5)).await;
    assert_eq!(publisher.pictures(12).await, 11);
    assert_eq!(publisher.source().next_number(), 12);
    publisher.stop().await;
    assert_eq!(server.await.unwrap(), tags());
}

#[tokio::test]
async fn a_publisher_learns_why_it_is_refused() {
    let (url, _server) = serve(Vec::new()).await;
    let refused =
        Publisher::try_start(&format!("{url}/no"), Numbered::default()).await.unwrap_err();
    assert_eq!(refused.code, "NetStream.Publish.BadName");
    assert_eq!(refused.description, "taken");
}

#[tokio::test]
async fn a_viewer_sees_all_numbers_and_the_end() {
    let (url, _server) = serve(tags()).await;
    let mut viewer = Viewer::rtmp(&format!("{url}/a")).await;
    viewer.until_picture(7).await;
    assert_eq!(viewer.numbers().pictures, Some((0, 7)));
    assert!(
        matches!(viewer.until_end().await, End::Status(code) if code.starts_with("NetStream.Play."))
    );
    assert_eq!(viewer.numbers().sounds, Some((0, 11)));
}

#[tokio::test]
#[should_panic(expected = "after picture 3 comes 5")]
async fn a_viewer_does_not_overlook_a_loss() {
    let mut tags = tags();
    assert_eq!(tags.remove(3 + 2 * 4).kind, TagKind::Video);
    let (url, _server) = serve(tags).await;
    Viewer::rtmp(&format!("{url}/a")).await.until_end().await;
}

#[tokio::test]
async fn a_viewer_learns_why_it_is_refused() {
    let (url, _server) = serve(Vec::new()).await;
    let refused = Viewer::try_rtmp(&format!("{url}/no")).await.unwrap_err();
    assert_eq!(refused.code, "NetStream.Play.StreamNotFound");
}

/// Serves one HTTP request with an FLV file in chunks of 7 bytes.
async fn serve_flv(head: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut file = BytesMut::from(&Header { has_audio: true, has_video: true }.encode()[..]);
    tags().iter().for_each(|tag| write_tag(&mut file, tag.kind, tag.timestamp, &tag.body));
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        assert!(socket.read(&mut request).await.unwrap() > 0);
        let mut response = BytesMut::from(head);
        for piece in file.chunks(7) {
            response.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            response.extend_from_slice(piece);
            response.extend_from_slice(b"\r\n");
        }
        response.extend_from_slice(b"0\r\n\r\n");
        socket.write_all(&response).await.unwrap();
        // The client ends the connection.
        let _ = tokio::time::timeout(Duration::from_secs(10), socket.read(&mut request)).await;
    });
    address
}

#[tokio::test]
async fn a_viewer_over_http_sees_the_same() {
    let address = serve_flv("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut viewer = Viewer::http_flv(address, "live/a.flv").await;
    assert_eq!(viewer.until_end().await, End::Closed);
    assert_eq!(viewer.numbers().pictures, Some((0, 11)));
    assert_eq!(viewer.flv_header(), Some(Header { has_audio: true, has_video: true }));
}

#[tokio::test]
#[should_panic(expected = "404")]
async fn a_viewer_over_http_wants_a_200() {
    let address = serve_flv("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    Viewer::http_flv(address, "live/a.flv").await;
}
