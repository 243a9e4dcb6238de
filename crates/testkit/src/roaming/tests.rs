use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use weir_flv::file::{Header, write_tag};

use super::*;
use crate::peer::Numbered;

const SOON: Duration = Duration::from_secs(10);

/// A server that gives each HTTP request `pictures` pictures, from where the last one ended and on from a key frame,
/// and then ends the body, or breaks it off.
async fn serve(pictures: usize, clean: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut source = Numbered::new(5);
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let mut file = bytes::BytesMut::new();
            file.extend_from_slice(&Header { has_audio: true, has_video: true }.encode());
            let init = source.init();
            for tag in init.into_iter().chain((0..pictures).flat_map(|_| source.next_pair())) {
                write_tag(&mut file, tag.kind, tag.timestamp, &tag.body);
            }
            let length = file.len() + usize::from(!clean);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let _ = socket.write_all(&[head.as_bytes(), &file].concat()).await;
        }
    });
    address
}

#[tokio::test]
async fn whoever_is_let_go_comes_again_and_misses_nothing() {
    let address = serve(5, true).await;
    let mut roaming = Roaming::new();
    roaming.viewer(Kind::HttpFlv, address, "live/a", Duration::ZERO);
    roaming.until_picture(22, SOON).await;
    let journey = &roaming.journeys()[0];
    assert!(journey.moves() >= 4 && journey.cuts().count() == 0, "{journey:?}");
    assert_eq!((journey.missed, journey.fault.as_deref()), (0, None));
    assert_eq!((journey.refused.len(), journey.hung), (0, 0));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_cut() {
    let address = serve(5, false).await;
    let mut roaming = Roaming::new();
    roaming.viewer(Kind::HttpFlv, address, "live/a", Duration::ZERO);
    roaming.until_picture(12, SOON).await;
    let journey = &roaming.journeys()[0];
    assert_eq!(journey.cuts().count(), journey.moves(), "{journey:?}");
    assert!(roaming.summary().to_string().contains("Cut"), "{}", roaming.summary());
}

#[tokio::test]
async fn a_server_that_shows_nothing_refuses() {
    let address = serve(0, true).await;
    let mut roaming = Roaming::new();
    roaming.viewer(Kind::HttpFlv, address, "live/a", Duration::ZERO);
    eventually("two refusals", SOON, async || {
        (roaming.journeys()[0].refused.len() >= 2).then_some(())
    })
    .await;
    assert_eq!(roaming.journeys()[0].moves(), 0);
}

#[test]
fn gaps_are_between_new_pictures() {
    let start = Instant::now();
    let mut journey = ViewerReport::default();
    for (number, millis) in [(5, 0), (6, 100), (5, 300), (6, 400), (9, 900)] {
        journey.picture(number, start + Duration::from_millis(millis));
    }
    assert_eq!(journey.longest_gap, Duration::from_millis(800));
    assert_eq!((journey.missed, journey.missed_at_once, journey.newest), (2, 2, Some(9)));
    assert_eq!(journey.pauses.len(), 1);
}
