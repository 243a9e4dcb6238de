//! `forward`, changed under a live stream: targets that stay are not disturbed.

use weir_testkit::{eventually, peer::Viewer};

use crate::{SOON, encoder, reload, server};

const NO_HLS: &str = "hls: { enabled: false }\n";

#[tokio::test(flavor = "multi_thread")]
pub async fn targets() {
    let (stays, comes) = (server().config(NO_HLS).start(), server().config(NO_HLS).start());
    let to = |targets: &[std::net::SocketAddr]| {
        let list: Vec<_> = targets.iter().map(|address| format!("'{address}'")).collect();
        let forward = format!("forward: [{{ streams: live/*, to: [{}] }}]", list.join(", "));
        format!("{NO_HLS}vhosts: {{ a.org: {{ {forward} }} }}\n{forward}\n")
    };
    let mut weir = server().config(NO_HLS).start();
    let published = encoder(&weir, "live/a").await;
    // Not of its vhost: what is sent to a bare host says the vhost, which the targets do not have.
    let _of_vhost = encoder(&weir, "live/b?vhost=a.org").await;
    reload(&mut weir, &to(&[stays.rtmp()])).await;
    let mut viewer = Viewer::rtmp(&stays.rtmp_url("live/a")).await;
    viewer.next().await.expect("it is forwarded from the reload on");
    Viewer::rtmp(&stays.rtmp_url("live/b")).await.next().await.expect("the vhost's as well");
    reload(&mut weir, &to(&[stays.rtmp(), comes.rtmp()])).await;
    Viewer::rtmp(&comes.rtmp_url("live/a")).await.next().await.expect("another target");
    reload(&mut weir, &to(&[stays.rtmp()])).await;
    eventually("the target is told of the end", SOON, async || {
        (comes.sessions("publish", "/live/a").open() == 0).then_some(())
    })
    .await;
    viewer.until_picture(published.next_number()).await;
    assert_eq!(stays.sessions("publish", "/live/a").began, 1, "it was not disturbed");
    reload(&mut weir, NO_HLS).await;
    eventually("nothing is forwarded", SOON, async || {
        (stays.sessions("publish", "/live/a").open() == 0).then_some(())
    })
    .await;
    published.assert_connected();
}
