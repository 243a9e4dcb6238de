use super::*;
use digest::Scheme;

/// Bytes that are different everywhere, so that a shifted copy is noticed.
fn random(seed: u8) -> Random {
    let mut state = u32::from(seed) + 1;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}

fn packet(bytes: &[u8]) -> Random {
    bytes.try_into().unwrap()
}

/// Runs both sides with pieces of `piece` bytes; returns what the client and the server sent.
fn run(kind: Kind, piece: usize) -> (BytesMut, BytesMut) {
    let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
    let mut client = Client::new(kind, random(1), &mut to_server);
    let mut server = Server::new(random(2));
    let (mut sent, mut answered) = (0, 0);
    let (mut client_done, mut server_done) = (false, false);
    while !(client_done && server_done) {
        let mut input = &to_server.clone()[sent..to_server.len().min(sent + piece)];
        sent += input.len();
        server_done = server.read(&mut input, &mut to_client).unwrap();
        assert!(input.is_empty());
        let mut input = &to_client.clone()[answered..to_client.len().min(answered + piece)];
        answered += input.len();
        client_done = client.read(&mut input, &mut to_server).unwrap();
        assert!(input.is_empty());
    }
    (to_server, to_client)
}

#[test]
fn the_simple_handshake_echoes() {
    for piece in [1, 1536, 1537, 5000] {
        let (client, server) = run(Kind::Simple, piece);
        assert_eq!((client.len(), server.len()), (3073, 3073), "pieces of {piece}");
        assert_eq!((client[0], server[0]), (3, 3));
        assert!(client[1..1537] == server[1537..], "S2 is C1");
        assert!(server[1..1537] == client[1537..], "C2 is S1");
        assert_eq!(server[1..9], [0; 8], "no digest was offered, none is given");
    }
}

#[test]
fn the_digest_handshake_signs_both_ways() {
    for piece in [1, 1536, 5000] {
        let (client, server) = run(Kind::Digest, piece);
        let (c1, s1) = (packet(&client[1..1537]), packet(&server[1..1537]));
        let (scheme, c1_digest) = digest::find(&c1, &PLAYER_KEY[..30]).unwrap();
        let (s1_scheme, s1_digest) = digest::find(&s1, &SERVER_KEY[..36]).unwrap();
        assert_eq!((scheme, s1_scheme), (Scheme::DigestFirst, Scheme::DigestFirst));
        let (s2, c2) = (packet(&server[1537..]), packet(&client[1537..]));
        assert!(s2 == digest::reply(&s2, &c1_digest, &SERVER_KEY), "S2");
        assert!(c2 == digest::reply(&c2, &s1_digest, &PLAYER_KEY), "C2");
    }
}

#[test]
fn the_server_answers_with_the_clients_scheme() {
    let mut c1 = random(3);
    c1[4..8].copy_from_slice(&CLIENT_VERSION);
    digest::sign_hello(&mut c1, Scheme::KeyFirst, &PLAYER_KEY[..30]);
    let mut out = BytesMut::new();
    let hello = [&[3], &c1[..]].concat();
    assert_eq!(Server::new(random(4)).read(&mut &hello[..], &mut out), Ok(false));
    let s1 = packet(&out[1..1537]);
    assert_eq!(digest::find(&s1, &SERVER_KEY[..36]).unwrap().0, Scheme::KeyFirst);
}

/// C1 of FFmpeg 5.1, an implementation that shares nothing with this one.
#[test]
fn ffmpegs_digest_is_found() {
    let capture = include_bytes!("../../testdata/ffmpeg-5.1-publish.bin");
    let c1 = packet(&capture[1..1537]);
    assert_eq!(digest::find(&c1, &PLAYER_KEY[..30]).unwrap().0, Scheme::DigestFirst);
    let mut forged = c1;
    forged[100] ^= 1;
    assert_eq!(digest::find(&forged, &PLAYER_KEY[..30]), None);
}

/// As a player FFmpeg 5.1 checks S1 and S2, and signs its C2 with a key from the digest that it found in S1.
#[test]
fn ffmpeg_accepts_our_digest() {
    let capture = include_bytes!("../../testdata/ffmpeg-5.1-play.bin");
    let mut out = BytesMut::new();
    let mut server = Server::new([7; PACKET_BYTES]);
    assert_eq!(server.read(&mut &capture[..3073], &mut out), Ok(true));
    let (_, s1_digest) = digest::find(&packet(&out[1..1537]), &SERVER_KEY[..36]).unwrap();
    let c2 = packet(&capture[1537..3073]);
    assert!(c2 == digest::reply(&c2, &s1_digest, &PLAYER_KEY), "C2 has no valid digest");
}

/// RFC 4231, test case 2.
#[test]
fn hmac_sha256() {
    let digest = digest::hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
    assert_eq!(digest[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
    assert_eq!(digest[28..], [0x64, 0xec, 0x38, 0x43]);
}

#[test]
fn digests_stay_inside_their_blocks() {
    let packet = [0xff; PACKET_BYTES];
    for (scheme, block) in [(Scheme::DigestFirst, 8), (Scheme::KeyFirst, 772)] {
        for sum in 0..728_usize {
            let mut packet = packet;
            packet[block..block + 4].fill(0);
            (packet[block], packet[block + 1]) =
                (sum.min(255) as u8, sum.saturating_sub(255).min(255) as u8);
            packet[block + 2] = sum.saturating_sub(510) as u8;
            let at = scheme.digest_at(&packet);
            assert_eq!(at, block + 4 + sum);
            assert!(at + 32 <= block + 764);
        }
    }
}

#[test]
fn another_version_fails_at_the_first_byte() {
    for version in [0, 6, b'G'] {
        let mut out = BytesMut::new();
        let result = Server::new(random(0)).read(&mut &[version][..], &mut out);
        assert_eq!(result, Err(Error::HandshakeVersion(version)));
        let result =
            Client::new(Kind::Simple, random(0), &mut out).read(&mut &[version][..], &mut out);
        assert_eq!(result, Err(Error::HandshakeVersion(version)));
    }
}

#[test]
fn bytes_behind_the_handshake_are_left() {
    let input = [&[3][..], &[9; 3072], b"chunks"].concat();
    let mut rest = &input[..];
    assert_eq!(Server::new(random(0)).read(&mut rest, &mut BytesMut::new()), Ok(true));
    assert_eq!(rest, b"chunks");
}
