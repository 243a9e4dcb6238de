//! Publishers: one thread for all of them.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};
use serde::Serialize;
use weir_rtmp::{client::Event, url::RtmpUrl};

use crate::{cli::Publish, clip::Clip, cpu::Watch, wire::Wire};

struct Publisher {
    wire: Wire,
    clip: Clip,
    /// When its stream began; none before it is accepted.
    start: Option<Instant>,
}

/// What publishing cost the watched processes; printed as JSON.
#[derive(Serialize)]
struct Ingest {
    publishers: usize,
    seconds: f64,
    /// CPU seconds of the watched processes, and of the kernel's softirq threads.
    cpu: f64,
    softirq: f64,
    /// Resident memory in KiB, before the publishers came and at the end.
    rss_before: u64,
    rss: u64,
}

/// Publishes until the time is over.
///
/// # Errors
/// When a publisher is refused or loses its connection: a measurement without it would be worth nothing.
pub fn run(publish: &Publish) -> io::Result<()> {
    let watch = Watch::new(&publish.watch);
    let rss_before = watch.rss_kib();
    let mut crowd = Crowd::new(publish)?;
    crowd.until(None, Crowd::is_complete)?;
    if publish.announce {
        println!("publishing");
    }
    crowd.until(Some(Instant::now() + publish.settle), |_| false)?;
    let (began, before) = (Instant::now(), watch.read());
    crowd.until(publish.seconds.map(|seconds| began + seconds), |_| false)?;
    if watch.is_any() {
        let spent = watch.read().since(before);
        let ingest = Ingest {
            publishers: publish.count,
            seconds: began.elapsed().as_secs_f64(),
            cpu: spent.process,
            softirq: spent.softirq,
            rss_before,
            rss: watch.rss_kib(),
        };
        println!("{}", serde_json::to_string(&ingest).map_err(io::Error::other)?);
    }
    Ok(())
}

struct Crowd {
    poll: Poll,
    publishers: Vec<Publisher>,
}

impl Crowd {
    fn new(publish: &Publish) -> io::Result<Self> {
        let poll = Poll::new()?;
        let publishers = (0..publish.count)
            .map(|number| connect(publish, number, &poll))
            .collect::<io::Result<_>>()?;
        Ok(Self { poll, publishers })
    }

    fn is_complete(&self) -> bool {
        self.publishers.iter().all(|publisher| publisher.start.is_some())
    }

    fn until(&mut self, end: Option<Instant>, is_done: impl Fn(&Self) -> bool) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while end.is_none_or(|end| Instant::now() < end) && !is_done(self) {
            let next = self.publishers.iter().filter_map(Publisher::next_due).min();
            let idle = Instant::now() + Duration::from_millis(50);
            let timeout = next.unwrap_or(idle).min(idle).saturating_duration_since(Instant::now());
            self.poll.poll(&mut events, Some(timeout))?;
            for event in &events {
                let publisher = &mut self.publishers[event.token().0];
                if event.is_readable() {
                    publisher.receive()?;
                }
                publisher.wire.flush()?;
            }
            let now = Instant::now();
            for publisher in &mut self.publishers {
                publisher.send_due(now)?;
            }
        }
        Ok(())
    }
}

fn connect(publish: &Publish, number: usize, poll: &Poll) -> io::Result<Publisher> {
    let url = RtmpUrl::parse(&publish.url.replace("{}", &number.to_string()))
        .map_err(io::Error::other)?;
    let mut wire = Wire::publish(resolve(&url.host, url.port)?, &url)?;
    poll.registry().register(
        &mut wire.socket.below,
        Token(number),
        Interest::READABLE | Interest::WRITABLE,
    )?;
    Ok(Publisher { wire, clip: Clip::new(publish.bit_rate), start: None })
}

/// The first address of a host.
///
/// # Errors
/// When it has none.
pub fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other(format!("{host} has no address")))
}

impl Publisher {
    fn next_due(&self) -> Option<Instant> {
        self.start.map(|start| start + self.clip.next_due())
    }

    fn receive(&mut self) -> io::Result<()> {
        while self.wire.read()? > 0 {}
        while let Some(event) = self.wire.session.poll_event() {
            match event {
                Event::Accepted => {
                    self.start = Some(Instant::now());
                    for frame in Clip::configuration() {
                        self.wire.session.send_media(frame.kind, 0, &frame.body);
                    }
                }
                Event::Refused { code, description } => {
                    return Err(io::Error::other(format!("refused: {code}: {description}")));
                }
                Event::Ended { code, .. } => {
                    return Err(io::Error::other(format!("ended by the server: {code}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn send_due(&mut self, now: Instant) -> io::Result<()> {
        while self.next_due().is_some_and(|due| due <= now) {
            let frame = self.clip.next_frame();
            self.wire.session.send_media(frame.kind, frame.timestamp(), &frame.body);
        }
        self.wire.flush().map(|_| ())
    }
}
