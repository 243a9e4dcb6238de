//! Probes are answered, whatever others do at the API's port, at the other ports and to the configuration's file.

use std::{
    collections::VecDeque,
    fs,
    net::{IpAddr, SocketAddr},
    process::Command,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::Barrier,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use weir_testkit::{Weir, eventually};

use crate::{ADMIN, SOON, call, server};

/// The kubelet waits for a second. This machine is busy with other tests.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections of each hostile client.
const CONNECTIONS: usize = 150;

/// Probes `weir`; everyone must be answered in time.
async fn assert_answers(weir: &Weir, probes: usize) {
    for probe in 0..probes {
        for path in ["healthz", "readyz"] {
            let answer = timeout(PROBE_TIMEOUT, call(weir.api(), "GET", path, "")).await;
            let answer = answer.unwrap_or_else(|_| panic!("probe {probe}: no answer to {path}"));
            assert_eq!((answer.status, answer.text.as_str()), (200, "ok\n"), "{path}");
        }
    }
}

/// A connection from this address of the machine.
async fn connect(from: u8, to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((IpAddr::from([127, 0, 0, from]), 0).into()).expect("an address of this machine");
    // A reader that does not read is full soon.
    socket.set_recv_buffer_size(4096).expect("a buffer");
    socket.connect(to).await.ok()
}

/// What a hostile client says on each of its connections.
#[derive(Clone, Copy, Debug)]
enum Words {
    Nothing,
    /// A byte a second.
    Trickle,
    /// A request without its end.
    Half,
    /// A request, and nothing after its answer.
    KeptAlive,
    /// Requests whose answers are not read.
    Unread,
}

const REQUEST: &[u8] = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn say(words: Words, connection: &mut TcpStream) {
    // What is closed meanwhile is: another one comes.
    let _ = match words {
        Words::Nothing => Ok(()),
        Words::Trickle => connection.write_all(&REQUEST[..1]).await,
        Words::Half => connection.write_all(&REQUEST[..REQUEST.len() - 2]).await,
        Words::KeptAlive => {
            let _ = connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
            connection.read(&mut [0; 64]).await.map(drop)
        }
        Words::Unread => connection.write_all(&REQUEST.repeat(8)).await,
    };
}

/// Has its connections, and opens another one whenever it can, as the oldest goes. Meets the others once it has them.
async fn besiege(from: u8, to: SocketAddr, words: Words, all_there: Arc<Barrier>) {
    let (mut held, mut has_met) = (VecDeque::new(), false);
    loop {
        if let Some(mut connection) = connect(from, to).await {
            say(words, &mut connection).await;
            held.push_back(connection);
        }
        if held.len() > CONNECTIONS {
            if !std::mem::replace(&mut has_met, true) {
                all_there.wait().await;
            }
            held.pop_front();
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_whatever_other_connections_to_the_api_do() {
    // The document is large, and anybody may have it.
    let weir =
        Weir::builder(env!("CARGO_BIN_EXE_weir")).config("hls: { enabled: false }\n").start();
    let all = [Words::Nothing, Words::Trickle, Words::Half, Words::KeptAlive, Words::Unread];
    let (mut siege, all_there) = (JoinSet::new(), Arc::new(Barrier::new(all.len() + 1)));
    for (from, words) in (1..).zip(all) {
        siege.spawn(besiege(from, weir.api(), words, Arc::clone(&all_there)));
    }
    all_there.wait().await;
    assert_answers(&weir, 20).await;
    assert!(siege.try_join_next().is_none(), "they are all still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_closed_within_a_second() {
    let weir = server().start();
    let mut silent = connect(1, weir.api()).await.expect("a connection");
    let start = Instant::now();
    let read = timeout(SOON, silent.read(&mut [0])).await.expect("closed");
    assert_eq!(read.expect("no reset"), 0);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_when_clients_have_used_up_the_descriptors() {
    let weir = server().descriptors(200).start();
    let warned = |line: &str| line.contains("limits.connections is 20000").then_some(());
    assert!(weir.log().find(SOON, warned).is_some(), "the operator is told");
    let mut held = Vec::new();
    for number in 0..2 * CONNECTIONS {
        for to in [weir.rtmp(), weir.http()] {
            held.extend(connect(1 + (number % 9) as u8, to).await);
        }
    }
    assert_answers(&weir, 5).await;
    let page = call(weir.api(), "GET", "metrics", crate::READ).await;
    assert_eq!(page.status, 200);
    let figure = |name: &str| {
        let line = page.text.lines().find(|line| line.starts_with(name)).expect(name);
        line.split_ascii_whitespace().last().and_then(|it| it.parse::<f64>().ok()).expect(name)
    };
    let (open, most) = (figure("process_open_fds"), figure("process_max_fds"));
    assert!(open < most, "{open} of {most} descriptors are used");
    assert!(open > most / 3.0, "the flood had its share: {open} of {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_media_that_say_nothing_go_and_probes_are_answered_meanwhile() {
    let limits = "hls: { enabled: false }\nlimits: { connections: 100 }\n";
    let weir = server().config(limits).start();
    let mut held = Vec::new();
    for number in 0..CONNECTIONS {
        for to in [weir.rtmp(), weir.http()] {
            held.extend(connect(1 + (number % 9) as u8, to).await);
        }
    }
    assert_answers(&weir, 5).await;
    for mut connection in held {
        // An answer that says why comes first, or nothing; a reset is an end too.
        let end = timeout(SOON, async {
            while connection.read(&mut [0; 512]).await.is_ok_and(|read| read > 0) {}
        });
        end.await.expect("it is ended");
    }
    eventually("room for somebody else", SOON, async || {
        let mut connection = connect(1, weir.http()).await?;
        let _ = connection.write_all(b"GET /player HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let mut start = [0; 12];
        connection.read_exact(&mut start).await.ok()?;
        (&start == b"HTTP/1.1 200").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_in_the_place_of_the_configuration_holds_up_nothing() {
    let mut weir = server().start();
    let config = weir.dir().join("weir.yaml");
    fs::remove_file(&config).expect("removed");
    let made = Command::new("mkfifo").arg(&config).status();
    assert!(made.is_ok_and(|status| status.success()));
    for _ in 0..3 {
        let answer = timeout(SOON, call(weir.api(), "POST", "api/v1/reload", ADMIN)).await;
        let answer = answer.expect("a reload ends");
        assert_eq!(answer.status, 422, "{answer:?}");
        assert!(answer.text.contains("it is a FIFO, not a regular file"), "{answer:?}");
        weir.hang_up();
    }
    assert_answers(&weir, 2).await;
    weir.terminate();
    let status = tokio::task::block_in_place(|| weir.wait_exit(SOON));
    assert!(status.success(), "{status}");
}
