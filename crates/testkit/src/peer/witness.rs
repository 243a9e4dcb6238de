//! A stream that must not notice what happens beside it.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Numbered, PICTURE_MILLIS, Publisher, Viewer};
use crate::Weir;

/// How long a picture may take through a server that is otherwise well. Loaded test machines stop for a second now and
/// then; a server that is held up by one connection stops for as long as that likes.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// The name of the stream.
const STREAM: &str = "live/witness";

/// A live stream with a viewer over RTMP and one over HTTP-FLV, who require every packet of it.
#[derive(Debug)]
pub struct Witness {
    publisher: Publisher,
    rtmp: Viewer,
    flv: Viewer,
}

impl Witness {
    /// Begins to publish and to play.
    ///
    /// # Panics
    /// If `weir` does not let it.
    pub async fn start(weir: &Weir) -> Self {
        let url = weir.rtmp_url(STREAM);
        let mut publisher = Publisher::start(&url, Numbered::default()).await;
        publisher.pictures(1).await;
        let rtmp = Viewer::rtmp(&url).await;
        let flv = Viewer::http_flv(weir.http(), &format!("{STREAM}.flv")).await;
        let mut witness = Self { publisher, rtmp, flv };
        witness.picture().await;
        witness
    }

    /// Plays on, in real time, as long as `other` takes.
    ///
    /// # Panics
    /// If a packet is lost or late.
    pub async fn during<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        let mut ticks = interval(Duration::from_millis(PICTURE_MILLIS.into()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = &mut other => {
                    // What came last must not have been its end.
                    self.picture().await;
                    return done;
                }
                _ = ticks.tick() => self.picture().await,
            }
        }
    }

    /// Publishes a picture and waits until both viewers have it.
    async fn picture(&mut self) {
        let start = Instant::now();
        let number = self.publisher.pictures(1).await;
        self.rtmp.until_picture(number).await;
        self.flv.until_picture(number).await;
        let delay = start.elapsed();
        assert!(
            delay < DELAY_MAX,
            "picture {number} of {STREAM} took {delay:?}: something holds the server up"
        );
    }

    /// Ends the stream.
    ///
    /// # Panics
    /// If not every packet has been seen.
    pub async fn finish(mut self) {
        self.picture().await;
        let newest = self.publisher.source().next_number() - 1;
        for viewer in [&self.rtmp, &self.flv] {
            assert_eq!(viewer.numbers().pictures, Some((0, newest)), "{viewer:?}");
        }
        self.publisher.stop().await;
    }
}
