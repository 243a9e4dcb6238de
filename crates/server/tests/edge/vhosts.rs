//! A vhost whose checks a client has not passed stays closed to it, whatever it writes into its URL.

use weir_testkit::{
    Weir, http,
    peer::{Caller, Numbered, Player, Publisher, Viewer},
};

use crate::{cluster, encoder, live_streams, until_live};

/// What stands between the parameters that a client may write and a vhost that it may not have.
const SMUGGLED: [&str; 12] = [
    "?vhost=nosuch&a=1;vhost=members.example.com",
    "?vhost=nosuch&a=1,vhost=members.example.com",
    "?vhost=nosuch&a=1#vhost=members.example.com",
    "?vhost=nosuch&a=1,domain=members.example.com",
    "?vhost=nosuch&a=1?vhost=members.example.com",
    "?vhost=nosuch&a=1&VHOST=members.example.com",
    "?vhost=nosuch&a=1&%76host=members.example.com",
    "?vhost=nosuch&a=1%3Bvhost=members.example.com",
    "?vhost=nosuch&a=1...vhost...members.example.com",
    "?vhost=nosuch;vhost=members.example.com",
    "?token=1;vhost=nosuch;vhost=members.example.com",
    "?vhost=nosuch&vhost=members.example.com",
];

const MEMBERS: &str = "members.example.com/live/movie";

/// Requires that nobody at `edge` gets the members' stream without the secret, nor publishes one.
async fn assert_closed(origin: &Weir, edge: &Weir) {
    for query in SMUGGLED {
        let played = Player::try_rtmp(&edge.rtmp_url(&format!("live/movie{query}"))).await;
        let Err(refused) = played else { panic!("RTMP plays {query}") };
        assert_ne!(refused.code, "", "{query}");
        let mut caller = Caller::connect(edge.rtmp(), &format!("live{query}")).await;
        let stream = caller.create_stream().await;
        let code = caller.play(stream, "movie").await;
        assert_ne!(code, "NetStream.Play.Start", "{query} behind the app");
        // A fragment is no part of a request.
        let target = query.replace('#', "%23");
        for file in ["movie.flv", "movie.m3u8"] {
            let status = http::get(edge.http(), &format!("live/{file}{target}")).await.status;
            assert!(status == 404 || status == 403, "{file}{target} is answered with {status}");
        }
        let mut publisher =
            Publisher::try_start(&edge.rtmp_url(&format!("live/evil{query}")), Numbered::default())
                .await;
        if let Ok(publisher) = &mut publisher {
            publisher.pictures(1).await;
            until_live(origin, "live/evil").await;
        }
        let live = live_streams(origin).await;
        let foreign: Vec<_> = live.iter().filter(|url| url.contains("evil")).collect();
        assert!(foreign.iter().all(|url| *url == "/live/evil"), "{query} publishes {foreign:?}");
        let name = "members.example.com/live/evil";
        assert_eq!(origin.sessions("publish", name).began, 0, "{query} publishes {name}");
        if let Ok(publisher) = publisher {
            publisher.stop().await;
        }
    }
    assert_eq!(origin.sessions("play", MEMBERS).began, 0, "an edge has pulled the members' stream");
    let plain = Player::try_rtmp(&edge.rtmp_url("live/movie")).await;
    assert!(plain.is_err(), "everybody gets the members' stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_vhost_in_a_url_opens_nothing() {
    let vhosts = |checks: &str| {
        format!(
            "play: {{ wait: 0s }}\nhls: {{ segment: 1s }}\npublish: {{ linger: 0s }}\n\
             vhosts: {{ members.example.com: {{ auth: {{ {checks} }} }} }}\n"
        )
    };
    let cluster = cluster();
    let origin = cluster.origin(1, &vhosts(""));
    let wanted = "play: [secret: { values: [s] }], publish: [secret: { values: [s] }]";
    let encoder = encoder(&origin, "live/movie?vhost=members.example.com").await;
    for keys in ["", "forward_query: [token, a]", "protocol: flv"] {
        let edge = cluster.edge(&["127.0.0.1"], keys, &vhosts(wanted));
        assert_closed(&origin, &edge).await;
    }
    // Who has the secret plays, whatever the case of the name.
    let edge = cluster.edge(&["127.0.0.1"], "", &vhosts(wanted));
    for vhost in ["members.example.com", "MEMBERS.Example.com."] {
        let url = edge.rtmp_url(&format!("live/movie?vhost={vhost}&secret=s"));
        Viewer::rtmp(&url).await.until_picture(encoder.next_number()).await;
    }
    let head = "GET /live/movie.flv HTTP/1.1\r\nHost: Members.EXAMPLE.com:8080\r\nConnection: close\r\n\r\n";
    assert_eq!(http::request(edge.http(), head.as_bytes()).await.status, 403);
    encoder.assert_connected();
}
