//! Peers of a cluster that answer whatever they like.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{interval, timeout},
};
use weir_testkit::Weir;

use crate::{READ, SOON, call, server};

/// What an answer of a peer may be, and most of what all that is gathered and sent may be.
const ANSWER_BYTES_MAX: usize = 16 << 20;
const ROOM: u64 = 64 << 20;

/// What the process may take beside that: code that is used for the first time, and what the allocator rounds.
const BESIDE: u64 = 32 << 20;

/// The beginning of a good answer.
const GOOD: &str = "{\"code\":0,\"server\":\"hostile\",\"service\":\"NAME\",\"total\":1,";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// An answer without an end.
    Endless,
    /// A byte now and then.
    Trickling,
    /// A head without an end.
    Head,
    /// Millions of lists in each other.
    Deep,
    /// Millions of values in a list.
    Values,
    /// Millions of members.
    Members,
    /// A name of megabytes.
    Name,
}

impl Peer {
    const ALL: [Self; 7] = [
        Self::Endless,
        Self::Trickling,
        Self::Head,
        Self::Deep,
        Self::Values,
        Self::Members,
        Self::Name,
    ];

    /// Listens and answers whoever asks.
    async fn start(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(self.answer(socket));
            }
        });
        address
    }

    async fn answer(self, mut socket: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && matches!(socket.read_buf(&mut head).await, Ok(1..)) {}
        let begun = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
        let mut text = GOOD.replace("NAME", &format!("{self:?}"));
        // Something below the most, so that it is read to its end.
        let room = ANSWER_BYTES_MAX - 1024;
        match self {
            Self::Endless | Self::Trickling => text += "\"clients\":[",
            Self::Head => return self.go_on(socket, begun.into(), b"X-Field: some more\r\n").await,
            Self::Deep => {
                text += &format!("\"clients\":{}{}}}", "[".repeat(room / 2), "]".repeat(room / 2));
            }
            Self::Values => text += &format!("\"clients\":[{}0]}}", "0,".repeat(room / 2)),
            Self::Members => {
                let members = (0..room / 13).map(|number| format!("\"{number:08}\":0,"));
                text += &format!("{}\"clients\":[]}}", members.collect::<String>());
            }
            Self::Name => {
                let name = "x".repeat(room);
                text = format!("{{\"server\":\"{name}\",\"service\":\"s\",\"clients\":[]}}");
            }
        }
        let text = format!("{begun}\r\n{text}");
        match self {
            Self::Endless | Self::Trickling => self.go_on(socket, text, b"{}, ").await,
            _ => {
                // It may not be taken to its end.
                let _ = socket.write_all(text.as_bytes()).await;
            }
        }
    }

    /// Sends `text`, and `more` for as long as it is taken.
    async fn go_on(self, mut socket: TcpStream, text: String, more: &[u8]) {
        if socket.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        let more = match self {
            Self::Trickling => more.to_vec(),
            _ => more.repeat(4096),
        };
        let mut ticks = interval(Duration::from_millis(20));
        loop {
            if self == Self::Trickling {
                ticks.tick().await;
            }
            if socket.write_all(&more).await.is_err() {
                return;
            }
        }
    }
}

/// The most that the process takes while `doing` goes on.
async fn most(weir: &Weir, doing: impl Future<Output = ()>) -> u64 {
    let mut doing = std::pin::pin!(doing);
    let (mut ticks, mut most) = (interval(Duration::from_millis(5)), 0);
    loop {
        most = most.max(weir.rss_bytes());
        tokio::select! {
            () = &mut doing => return most,
            _ = ticks.tick() => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_answer_anything_cost_no_more_than_there_is_for_them() {
    let mut peers = Vec::new();
    for peer in Peer::ALL {
        peers.push(peer.start().await);
    }
    let listed: Vec<_> = peers.iter().map(ToString::to_string).collect();
    let config = format!("hls: {{ enabled: false }}\napi: {{ peers: {listed:?} }}\n");
    let weir = server().config(&config).start();
    let path = "api/v1/clients?scope=cluster&count=10000";
    assert_eq!(call(weir.api(), "GET", "api/v1/clients", READ).await.status, 200);
    let before = weir.rss_bytes();
    let asked = async {
        // As many as are let in at a time, and again, beside a probe.
        for _ in 0..3 {
            let calls = (0..4).map(|_| call(weir.api(), "GET", path, READ));
            let calls = futures_util::future::join_all(calls);
            let probe = call(weir.api(), "GET", "healthz", "");
            let (answers, probe) = tokio::join!(timeout(4 * SOON, calls), probe);
            assert_eq!(probe.status, 200);
            for answer in answers.expect("answers") {
                match answer.status {
                    200 => assert_peers(&answer.json(), &peers),
                    status => assert_eq!(status, 503, "{answer:?}"),
                }
            }
        }
    };
    let most = most(&weir, asked).await;
    let grown = most.saturating_sub(before);
    println!("grown by {} KiB", grown >> 10);
    assert!(grown < ROOM + BESIDE, "{grown} bytes");
    // One alone is answered, whatever the peers say.
    let answer = call(weir.api(), "GET", path, READ).await;
    assert_eq!(answer.status, 200, "{:?}", answer.headers);
    assert_peers(&answer.json(), &peers);
}

/// Each of them is named, and those that give no answer with the reason.
fn assert_peers(answer: &serde_json::Value, peers: &[SocketAddr]) {
    let said = answer["peers"].as_array().expect("peers");
    assert_eq!(said.len(), 1 + peers.len());
    for (peer, address) in Peer::ALL.into_iter().zip(peers) {
        let address = address.to_string();
        let said = said.iter().find(|said| said["address"] == address.as_str());
        let said = said.unwrap_or_else(|| panic!("{peer:?} is not named"));
        let error = said["error"].as_str().unwrap_or_default();
        // The others may be read to their ends, where there is room beside the others and time.
        let is_endless = matches!(peer, Peer::Endless | Peer::Trickling | Peer::Head);
        assert!(!(is_endless && said["ok"] == true), "{peer:?}: {said}");
        assert_eq!(said["ok"] == true, error.is_empty(), "{peer:?}: {said}");
    }
}
