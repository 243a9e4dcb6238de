//! Servers that accept connections and are no origins.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Bytes of nonsense in an answer: more than a handshake.
const GARBAGE_BYTES: usize = 8 * 1024;

/// A server that is not what its clients take it for. Dropping it closes its port.
#[derive(Debug)]
pub struct Impostor {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug)]
enum Manner {
    Garbage,
    Mute,
}

impl Impostor {
    /// Answers whatever it is sent with nonsense.
    pub async fn garbage() -> Self {
        Self::start(Manner::Garbage).await
    }

    /// Takes what it is sent and never says a word.
    pub async fn mute() -> Self {
        Self::start(Manner::Mute).await
    }

    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::AcqRel);
                tokio::spawn(receive(client, manner));
            }
        });
        Self { address, connections, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(mut client: TcpStream, manner: Manner) {
    let mut buffer = [0; 4096];
    // Clients leave as they like.
    while client.read(&mut buffer).await.is_ok_and(|count| count > 0) {
        if let Manner::Garbage = manner {
            let _ = client.write_all(&[0xa7; GARBAGE_BYTES]).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_says_nonsense_and_the_other_nothing() {
        let (garbage, mute) = (Impostor::garbage().await, Impostor::mute().await);
        let mut client = TcpStream::connect(garbage.address()).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        client.read_exact(&mut [0; GARBAGE_BYTES]).await.unwrap();
        let mut client = TcpStream::connect(mute.address()).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let answer = tokio::time::timeout(Duration::from_millis(50), client.read_u8()).await;
        assert!(answer.is_err(), "{answer:?}");
        assert_eq!((garbage.connections(), mute.connections()), (1, 1));
    }
}
