//! Publishers: one thread for all of them.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};
use weir_rtmp::{client::Event, url::RtmpUrl};

use crate::{cli::Publish, clip::Clip, wire::Wire};

struct Publisher {
    wire: Wire,
    clip: Clip,
    /// When its stream began; none before it is accepted.
    start: Option<Instant>,
}

/// Publishes until the time is over.
///
/// # Errors
/// When a publisher is refused or loses its connection: a measurement without it would be worth nothing.
pub fn run(publish: &Publish) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut publishers = (0..publish.count)
        .map(|number| connect(publish, number, &poll))
        .collect::<io::Result<Vec<_>>>()?;
    let mut events = Events::with_capacity(1024);
    let end = publish.seconds.map(|seconds| Instant::now() + seconds);
    let mut announced = false;
    while end.is_none_or(|end| Instant::now() < end) {
        let next = publishers.iter().filter_map(Publisher::next_due).min();
        let timeout = next
            .map_or(Duration::from_millis(50), |due| due.saturating_duration_since(Instant::now()));
        poll.poll(&mut events, Some(timeout))?;
        for event in &events {
            let publisher = &mut publishers[event.token().0];
            if event.is_readable() {
                publisher.receive()?;
            }
            publisher.wire.flush()?;
        }
        let now = Instant::now();
        for publisher in &mut publishers {
            publisher.send_due(now)?;
        }
        if publish.announce
            && !announced
            && publishers.iter().all(|publisher| publisher.start.is_some())
        {
            announced = true;
            println!("publishing");
        }
    }
    Ok(())
}

fn connect(publish: &Publish, number: usize, poll: &Poll) -> io::Result<Publisher> {
    let url = RtmpUrl::parse(&publish.url.replace("{}", &number.to_string()))
        .map_err(io::Error::other)?;
    let mut wire = Wire::publish(resolve(&url.host, url.port)?, &url)?;
    poll.registry().register(
        &mut wire.socket,
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
                Event::Ended { code } => {
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
