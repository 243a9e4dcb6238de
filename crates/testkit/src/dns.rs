//! A name server.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{net::UdpSocket, sync::watch, task::AbortHandle, time::timeout};

/// Seconds for which an answer may be kept.
const TTL: u32 = 1;

/// Addresses that fit into a datagram that nobody cuts, beside a long name.
const ADDRESSES_MAX: usize = 8;

/// The header of a message (RFC 1035, section 4.1.1).
const HEADER_BYTES: usize = 12;

/// It is a response, and from who knows; with recursion if that was asked for.
const RESPONSE: [u8; 2] = [0x84, 0x80];

/// In a response: there is no such name.
const NXDOMAIN: u8 = 3;

/// Record types.
const A: u16 = 1;
const AAAA: u16 = 28;

/// Until a question comes that a test waits for.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(20);

/// A name server on a loopback UDP port, with the names that a test gives it. It ends when it is dropped.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    zone: Arc<Zone>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Zone {
    names: Mutex<HashMap<String, Vec<IpAddr>>>,
    mute: AtomicBool,
    questions: watch::Sender<usize>,
}

impl Dns {
    /// A name server that knows no names.
    ///
    /// # Panics
    /// If there is no port for it.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await;
        let socket = socket.unwrap_or_else(|error| panic!("no UDP port: {error}"));
        let address = socket.local_addr();
        let address = address.unwrap_or_else(|error| panic!("the UDP port: {error}"));
        let zone = Arc::new(Zone {
            names: Mutex::default(),
            mute: AtomicBool::new(false),
            questions: watch::Sender::new(0),
        });
        let task = tokio::spawn(serve(socket, Arc::clone(&zone))).abort_handle();
        Self { address, zone, task }
    }

    /// Where to ask it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `name` stands for `addresses`, of both kinds. Without any it exists all the same.
    ///
    /// # Panics
    /// If there are more addresses than fit into an answer.
    pub fn set(&self, name: &str, addresses: Vec<IpAddr>) {
        assert!(addresses.len() <= ADDRESSES_MAX, "at most {ADDRESSES_MAX} addresses");
        self.zone.names().insert(name.to_owned(), addresses);
    }

    /// From now on there is no `name`.
    pub fn remove(&self, name: &str) {
        self.zone.names().remove(name);
    }

    /// Stops answering, or begins again.
    pub fn mute(&self, mute: bool) {
        self.zone.mute.store(mute, Ordering::Relaxed);
    }

    /// How many questions have come, answered or not.
    pub fn questions(&self) -> usize {
        *self.zone.questions.borrow()
    }

    /// Waits until there have been `count` questions.
    ///
    /// # Panics
    /// If they do not come.
    pub async fn asked(&self, count: usize) {
        let mut questions = self.zone.questions.subscribe();
        let asked = questions.wait_for(|&questions| questions >= count);
        let asked = timeout(QUESTION_TIMEOUT, asked).await.is_ok();
        assert!(asked, "{} questions instead of {count}", self.questions());
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Zone {
    fn names(&self) -> MutexGuard<'_, HashMap<String, Vec<IpAddr>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Zone>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await?;
        zone.questions.send_modify(|questions| *questions += 1);
        if zone.mute.load(Ordering::Relaxed) {
            continue;
        }
        let answer = answer(&buffer[..length], &zone.names());
        if let Some(answer) = answer {
            socket.send_to(&answer, peer).await?;
        }
    }
}

/// The answer to `query`, unless that is none.
fn answer(query: &[u8], names: &HashMap<String, Vec<IpAddr>>) -> Option<Vec<u8>> {
    let (name, end) = read_name(query)?;
    let &[high, low, ..] = query.get(end..end + 4)? else { return None };
    let kind = u16::from_be_bytes([high, low]);
    let addresses = names.get(&name);
    let records: Vec<_> =
        addresses.into_iter().flatten().filter(|ip| kind == record_type(ip)).collect();
    let mut out = query[..2].to_vec();
    let [flags, code] = RESPONSE;
    out.push(flags | query[2] & 1);
    out.push(if addresses.is_some() { code } else { code | NXDOMAIN });
    for count in [1, records.len(), 0, 0] {
        out.extend(u16::try_from(count).ok()?.to_be_bytes());
    }
    out.extend(&query[HEADER_BYTES..end + 4]);
    for address in records {
        put_record(&mut out, address);
    }
    Some(out)
}

/// The name that is asked for, and where it ends.
fn read_name(query: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER_BYTES;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}

fn record_type(address: &IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => A,
        IpAddr::V6(_) => AAAA,
    }
}

fn put_record(out: &mut Vec<u8>, address: &IpAddr) {
    // The name is the one at the end of the header.
    out.extend([0xc0, 0x0c]);
    out.extend(record_type(address).to_be_bytes());
    out.extend([0, 1]);
    out.extend(TTL.to_be_bytes());
    match address {
        IpAddr::V4(address) => {
            out.extend([0, 4]);
            out.extend(address.octets());
        }
        IpAddr::V6(address) => {
            out.extend([0, 16]);
            out.extend(address.octets());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for the addresses of `one.test`.
    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03one\x04test\0\0\x01\0\x01";

    fn names(addresses: &[&str]) -> HashMap<String, Vec<IpAddr>> {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address"));
        HashMap::from([("one.test".to_owned(), addresses.collect())])
    }

    #[test]
    fn addresses_of_the_kind_asked_for_are_told() {
        let answer = answer(QUERY, &names(&["10.0.0.1", "::1"])).expect("an answer");
        let mut expected = b"\x12\x34\x85\x80\0\x01\0\x01\0\0\0\0".to_vec();
        expected.extend(&QUERY[HEADER_BYTES..]);
        expected.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04\x0a\0\0\x01");
        assert_eq!(answer, expected);
    }

    #[test]
    fn names_without_addresses_are_not_names_that_are_not() {
        let nothing = answer(QUERY, &names(&[])).expect("an answer");
        assert_eq!((nothing[3] & 15, &nothing[6..8]), (0, &[0, 0][..]));
        let unknown = answer(QUERY, &HashMap::new()).expect("an answer");
        assert_eq!((unknown[3] & 15, &unknown[6..8]), (NXDOMAIN, &[0, 0][..]));
    }

    #[test]
    fn what_is_no_question_gets_no_answer() {
        for length in 0..QUERY.len() {
            assert_eq!(answer(&QUERY[..length], &names(&[])), None, "{length} bytes of a question");
        }
    }

    #[tokio::test]
    async fn a_mute_server_hears() {
        let dns = Dns::start().await;
        dns.mute(true);
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        socket.send_to(QUERY, dns.address()).await.expect("it is sent");
        dns.asked(1).await;
        dns.mute(false);
        socket.send_to(QUERY, dns.address()).await.expect("it is sent");
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).await.expect("an answer");
        assert_eq!((length, dns.questions()), (QUERY.len(), 2));
    }
}
