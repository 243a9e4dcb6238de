use proptest::prelude::*;

use super::*;

fn source(text: &str) -> Option<SocketAddr> {
    Some(text.parse().expect("an address"))
}

/// A header of version 2 with these bytes behind its prefix.
fn binary(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a short header").to_be_bytes();
    [SIGNATURE_2, &[version_and_command, family], &length, rest].concat()
}

/// What a balancer writes for a client at `source`.
fn header(version: u8, source: SocketAddr, extra: &[u8]) -> Vec<u8> {
    let port = source.port();
    match (version, source.ip()) {
        (1, IpAddr::V4(ip)) => format!("PROXY TCP4 {ip} 192.0.2.1 {port} 1935\r\n").into_bytes(),
        (1, IpAddr::V6(ip)) => format!("PROXY TCP6 {ip} 2001:db8::1 {port} 1935\r\n").into_bytes(),
        (_, IpAddr::V4(ip)) => {
            let ports = [&port.to_be_bytes()[..], &[7, 143], extra].concat();
            binary(0x21, 0x11, &[&ip.octets()[..], &[192, 0, 2, 1], &ports].concat())
        }
        (_, IpAddr::V6(ip)) => {
            let ports = [&port.to_be_bytes()[..], &[7, 143], extra].concat();
            binary(0x21, 0x21, &[&ip.octets()[..], &[0; 16], &ports].concat())
        }
    }
}

#[test]
fn both_versions_name_the_client() {
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 1935\r\n\x03more";
    let expected = Header { length: line.len() - 5, source: source("192.0.2.7:56324") };
    assert_eq!(parse(line), Ok(Some(expected)));
    let line = b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n";
    let expected = Header { length: line.len(), source: source("[2001:db8::7]:1") };
    assert_eq!(parse(line), Ok(Some(expected)));

    let tlv = [4, 0, 2, 1, 1];
    for (bytes, client) in [
        (header(2, ([192, 0, 2, 7], 80).into(), &tlv), "192.0.2.7:80"),
        (header(2, source("[2001:db8::7]:9").unwrap(), &tlv), "[2001:db8::7]:9"),
    ] {
        let expected = Header { length: bytes.len(), source: source(client) };
        assert_eq!(parse(&[&bytes[..], b"GET /"].concat()), Ok(Some(expected)));
    }
}

#[test]
fn a_balancer_that_speaks_for_itself_names_nobody() {
    for bytes in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
        binary(0x20, 0x00, b""),
        binary(0x20, 0x11, &[0; 12]),
        binary(0x21, 0x00, b"anything"),
        binary(0x21, 0x31, &[b'/'; 216]),
    ] {
        assert_eq!(parse(&bytes), Ok(Some(Header { length: bytes.len(), source: None })));
    }
}

#[test]
fn what_is_no_header_is_known_at_its_first_byte() {
    for bytes in [&b"\x03\0\0"[..], b"GET / HTTP/1.1\r\n", b"P\r\n", b"\r\n\r\n\r\n", b"proxy "] {
        assert_eq!(parse(bytes), Err(Invalid::Missing), "{bytes:?}");
    }
    assert_eq!(parse(b""), Ok(None));
}

#[test]
fn lines_must_be_what_the_specification_says() {
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 1935\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 1935 7\r\n",
        "PROXY TCP4  192.0.2.7 198.51.100.1 56324 1935\r\n",
        "PROXY TCP4 2001:db8::7 198.51.100.1 56324 1935\r\n",
        "PROXY TCP4 192.0.2.7 2001:db8::1 56324 1935\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 56324 1935\r\n",
        "PROXY TCP4 192.0.2.777 198.51.100.1 56324 1935\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 65536 1935\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +80 1935\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 080 1935\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 80 \r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 80 1935\r\n",
        "PROXY \r\n",
    ] {
        assert!(matches!(parse(line.as_bytes()), Err(Invalid::Line(_))), "{line:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(LINE_BYTES_MAX));
    assert_eq!(parse(&endless.as_bytes()[..LINE_BYTES_MAX - 1]), Ok(None));
    assert_eq!(parse(endless.as_bytes()), Err(Invalid::EndlessLine));
}

#[test]
fn binary_headers_must_be_what_the_specification_says() {
    assert_eq!(parse(&binary(0x11, 0x11, &[0; 12])), Err(Invalid::Version(1)));
    assert_eq!(parse(&binary(0x22, 0x11, &[0; 12])), Err(Invalid::Command(2)));
    assert_eq!(parse(&binary(0x21, 0x13, &[0; 12])), Err(Invalid::Family(0x13)));
    assert_eq!(parse(&binary(0x21, 0x11, &[0; 11])), Err(Invalid::Short(27)));
    assert_eq!(parse(&binary(0x21, 0x21, &[0; 35])), Err(Invalid::Short(51)));
    let most = HEADER_BYTES_MAX - PREFIX_2;
    assert!(parse(&binary(0x20, 0x00, &vec![0; most])).is_ok_and(|header| header.is_some()));
    let long = binary(0x20, 0x00, &vec![0; most + 1]);
    // Nobody waits for what is not going to be taken.
    assert_eq!(parse(&long[..PREFIX_2]), Err(Invalid::Long(HEADER_BYTES_MAX + 1)));
}

fn any_client() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
    ];
    (ip, any::<u16>()).prop_map(SocketAddr::from)
}

proptest! {
    #[test]
    fn what_a_balancer_writes_is_read_however_it_is_cut(
        client in any_client(), version in 1u8..=2, extra in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let bytes = header(version, client, &extra);
        for cut in 0..bytes.len() {
            prop_assert_eq!(parse(&bytes[..cut]), Ok(None));
        }
        let expected = Header { length: bytes.len(), source: Some(client) };
        prop_assert_eq!(parse(&[&bytes[..], b"\x03rest"].concat()), Ok(Some(expected)));
    }

    #[test]
    fn nothing_makes_it_panic_or_wait_for_more_than_the_bound(
        start in 0usize..3, bytes in prop::collection::vec(any::<u8>(), 0..700),
    ) {
        let start = [&b""[..], SIGNATURE_1, SIGNATURE_2][start];
        let bytes = [start, &bytes].concat();
        match parse(&bytes) {
            Ok(Some(header)) => prop_assert!(header.length <= bytes.len().min(HEADER_BYTES_MAX)),
            Ok(None) => prop_assert!(bytes.len() < HEADER_BYTES_MAX),
            Err(_) => {}
        }
    }
}
