use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::*;
use crate::{
    server::MinVersion,
    testing::{SOON, both, client_of, sockets},
};

/// Both ends of an encrypted connection: the server's, and the client's.
async fn streams() -> (Stream, Stream) {
    let ((near, far), (server, client)) = (sockets().await, both(MinVersion::Tls12));
    let handshakes = Handshakes::default();
    let (near, far) =
        tokio::join!(handshakes.accept(near, server), Stream::handshake(far, client_of(&client)));
    assert_eq!(handshakes.under_way(), 0);
    (near.expect("a client"), far.expect("a server"))
}

#[tokio::test]
async fn what_goes_in_comes_out_in_both_directions_to_the_end() {
    let (mut near, mut far) = streams().await;
    assert_eq!(near.session().expect("TLS").version(), "TLSv1.3");
    // More than all buffers hold, and not in whole records.
    let sent: Vec<u8> = (0..3_000_001_u32).map(|number| number as u8).collect();
    let expected = sent.clone();
    let echoing = tokio::spawn(async move {
        let mut back = vec![0; expected.len()];
        near.read_exact(&mut back).await.expect("all of it");
        near.write_all(&back).await.expect("written");
        near.shutdown().await.expect("said");
        (near, back == expected)
    });
    far.write_all(&sent).await.expect("written");
    far.flush().await.expect("sent");
    let mut back = Vec::new();
    timeout(SOON, far.read_to_end(&mut back)).await.expect("in time").expect("the end");
    assert!(back == sent);
    assert!(echoing.await.expect("no panic").1);
}

#[tokio::test]
async fn a_stream_survives_being_taken_apart_with_what_it_has_read() {
    let (mut near, mut far) = streams().await;
    far.write_all(b"one two").await.expect("written");
    far.flush().await.expect("sent");
    let mut word = [0; 3];
    near.read_exact(&mut word).await.expect("a word");
    let (socket, mut session) = near.into_parts();
    assert!(session.as_mut().expect("TLS").has_input(), "the second word has come with the first");
    let socket = TcpStream::from_std(socket.into_std().expect("a socket")).expect("a socket");
    let mut near = Stream::new(socket, session);
    let mut rest = [0; 4];
    timeout(SOON, near.read_exact(&mut rest)).await.expect("in time").expect("the rest");
    assert_eq!((&word, &rest), (b"one", b" two"));
}

#[tokio::test]
async fn what_is_there_is_read_without_asking_the_runtime() {
    let (mut near, mut far) = streams().await;
    let mut bytes = [0; 64];
    assert_eq!(near.read_now(&mut bytes).expect_err("nothing").kind(), ErrorKind::WouldBlock);
    far.write_all(b"here").await.expect("written");
    far.flush().await.expect("sent");
    near.socket().readable().await.expect("something");
    assert_eq!(near.read_now(&mut bytes).expect("bytes"), 4);
    assert_eq!(&bytes[..4], b"here");
}

#[tokio::test]
async fn an_end_that_does_not_read_holds_one_record() {
    let (mut near, far) = streams().await;
    let (socket, session) = near.into_parts();
    let (socket, mut session) = (socket.into_std().expect("a socket"), session.expect("TLS"));
    let piece = vec![7; 1 << 20];
    let mut taken = 0;
    loop {
        match session.write(&mut &socket, &mut [io::IoSlice::new(&piece)]) {
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(session.is_full());
    // Asked again and again, it takes nothing more.
    for _ in 0..100 {
        let again = session.write(&mut &socket, &mut [io::IoSlice::new(&piece)]);
        assert_eq!(again.expect_err("full").kind(), ErrorKind::WouldBlock);
    }
    near = Stream::new(TcpStream::from_std(socket).expect("a socket"), Some(session));
    let reading = tokio::spawn(async move {
        let mut far = far;
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.expect("the end");
        all.len()
    });
    near.shutdown().await.expect("sent");
    drop(near);
    assert_eq!(reading.await.expect("no panic"), taken, "what was taken is sent");
}

#[tokio::test]
async fn plain_text_is_found_before_a_byte_of_it_is_read() {
    let (near, mut far) = sockets().await;
    far.write_all(b"GET / HTTP/1.1\r\n").await.expect("written");
    let failed = Handshakes::default().accept(near, both(MinVersion::Tls12).0).await;
    let Err(Failure::NotTls(mut socket)) = failed else { panic!("it is not TLS: {failed:?}") };
    let mut first = [0; 3];
    socket.read_exact(&mut first).await.expect("all is still there");
    assert_eq!(&first, b"GET");
}

#[tokio::test]
async fn old_versions_and_nonsense_are_refused() {
    let (near, far) = sockets().await;
    let (server, _) = both(MinVersion::Tls13);
    let (_, client) = both(MinVersion::Tls12);
    let handshakes = Handshakes::default();
    let (near, far) =
        tokio::join!(handshakes.accept(near, server), Stream::handshake(far, client_of(&client)));
    let failed = near.expect_err("the client does not trust this server");
    assert_eq!(Failure::LABELS[failed.label()], "certificate", "{failed}");
    assert!(far.is_err());

    let (near, mut far) = sockets().await;
    far.write_all(&[FIRST_BYTE, 3, 1, 0, 4, 9, 9, 9, 9]).await.expect("written");
    let failed = handshakes.accept(near, both(MinVersion::Tls12).0).await.expect_err("nonsense");
    assert!(matches!(failed, Failure::Tls(_)), "{failed}");
}

#[tokio::test]
async fn a_flood_of_half_handshakes_ends_the_oldest() {
    let handshakes = Arc::<Handshakes>::default();
    let (server, client) = both(MinVersion::Tls12);
    let mut held = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..=AT_ONCE_MAX {
        let (near, far) = sockets().await;
        held.push(far);
        let (handshakes, server) = (Arc::clone(&handshakes), Arc::clone(&server));
        waiting.push(tokio::spawn(async move { handshakes.accept(near, server).await }));
        tokio::task::yield_now().await;
    }
    let first = timeout(SOON, waiting.remove(0)).await.expect("in time").expect("no panic");
    // A slow machine may have reached the time limit first; either way it is gone.
    assert!(matches!(first, Err(Failure::Crowded | Failure::Late)), "{first:?}");
    assert!(handshakes.under_way() <= AT_ONCE_MAX);
    let (near, far) = sockets().await;
    let (near, far) =
        tokio::join!(handshakes.accept(near, server), Stream::handshake(far, client_of(&client)));
    assert!(near.is_ok() && far.is_ok(), "who goes on is let in: {near:?}");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn more_than_a_handshake_has_is_refused() {
    let (near, mut far) = sockets().await;
    // A first message of 60,000 bytes, in records of 16,000.
    let mut hello = vec![1, 0, 0xea, 0x60];
    hello.resize(32_000, 0);
    for piece in hello.chunks(16_000) {
        let length = u16::try_from(piece.len()).expect("short").to_be_bytes();
        // It may be gone before all of it is written.
        let _ = far.write_all(&[&[FIRST_BYTE, 3, 1][..], &length, piece].concat()).await;
    }
    let failed = Handshakes::default().accept(near, both(MinVersion::Tls12).0).await;
    assert!(matches!(failed, Err(Failure::TooLong)), "{failed:?}");
}

/// So many key updates, each with `data` behind it; how the other end reads that.
async fn flood(count: usize, data: &[u8]) -> io::Result<Vec<u8>> {
    let (mut near, mut far) = streams().await;
    let (mut socket, session) = far.into_parts();
    let mut session = session.expect("TLS");
    for _ in 0..count {
        session.refresh_keys().expect("TLS 1.3");
        flush(&mut socket, &mut session).await.expect("sent");
        far = Stream::new(socket, Some(session));
        far.write_all(data).await.expect("written");
        far.flush().await.expect("sent");
        let (back, tls) = far.into_parts();
        (socket, session) = (back, tls.expect("TLS"));
    }
    far = Stream::new(socket, Some(session));
    // Who does not listen any more has read enough.
    let _ = far.shutdown().await;
    let mut read = Vec::new();
    timeout(SOON, near.read_to_end(&mut read)).await.expect("in time").map(|_| read)
}

#[tokio::test]
async fn a_flood_of_key_updates_ends_the_connection_with_or_without_data_between_them() {
    for data in ["", "x", "a message"] {
        let error = flood(40, data.as_bytes()).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains("too many TLS key updates"), "{error}");
    }
    let read = flood(10, b"some").await.expect("a few of them are none of our business");
    assert_eq!(read, b"some".repeat(10));
}

#[tokio::test]
async fn data_in_small_records_is_data() {
    let (mut near, mut far) = streams().await;
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        near.read_to_end(&mut read).await.map(|_| read)
    });
    for number in 0..1000_u32 {
        far.write_all(&number.to_be_bytes()).await.expect("written");
        far.flush().await.expect("sent");
    }
    far.shutdown().await.expect("sent");
    let read = timeout(SOON, reading).await.expect("in time").expect("no panic");
    let expected: Vec<u8> = (0..1000_u32).flat_map(u32::to_be_bytes).collect();
    assert!(read.expect("nothing is wrong") == expected);
}
