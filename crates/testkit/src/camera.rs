//! An encoder in real time, whose pictures say when they were taken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use weir_flv::Tag;
use weir_media::Content;

use crate::{
    fixture::{DURATION, Fixture},
    packets::{frame_of, tags_of},
    peer::Publisher,
    players::{Shown, now},
};

/// Publishes a fixture in real time, again and again, for as long as it is held.
///
/// A frame is sent at the moment that its timestamp says, counted from the [start](Self::start): so the number that is
/// [written in a picture](crate::fixture) is the encoder's clock.
#[derive(Debug)]
pub struct Camera {
    speaks: Arc<AtomicBool>,
    /// By how many milliseconds a frame was sent too late, at most.
    late: Arc<AtomicU64>,
    /// When its first frame was due, since the Unix epoch.
    began: Duration,
    /// The times of the pictures in the fixture, in the order in which they are shown.
    pictures: Vec<Duration>,
    task: JoinHandle<()>,
}

impl Camera {
    /// Publishes H.264 and AAC.
    ///
    /// # Panics
    /// If the server does not let it.
    pub async fn start(url: &str) -> Self {
        Self::of(Fixture::AvcAac, url, true).await
    }

    /// Publishes `fixture`; `speaks` says whether its microphone is on. The configuration of its sound is sent at the
    /// beginning all the same.
    ///
    /// # Panics
    /// If the server does not let it.
    pub async fn of(fixture: Fixture, url: &str, speaks: bool) -> Self {
        let mut publisher = Publisher::silent(url).await;
        let tags = tags_of(&fixture.file());
        let (first, media): (Vec<_>, Vec<_>) = tags.into_iter().partition(|tag| !is_media(tag));
        for tag in &first {
            publisher.send(tag).await;
        }
        let frames = media.iter().map(frame_of).filter(|frame| frame.is_picture());
        let millis = |millis: i64| Duration::from_millis(millis.unsigned_abs());
        let mut pictures: Vec<_> = frames.map(|frame| millis(frame.pts().as_millis())).collect();
        pictures.sort();
        let (speaks, late) = (Arc::new(AtomicBool::new(speaks)), Arc::default());
        let began = now();
        let send = send(publisher, media, Arc::clone(&speaks), Arc::clone(&late));
        Self { speaks, late, began, pictures, task: tokio::spawn(send) }
    }

    /// Switches its microphone.
    pub fn speak(&self, speaks: bool) {
        self.speaks.store(speaks, Ordering::Release);
    }

    /// How long after its time a frame was sent at most: what is behind that is not the server's fault.
    pub fn late(&self) -> Duration {
        Duration::from_millis(self.late.load(Ordering::Acquire))
    }

    /// How long after its time a picture was seen; it must be less than the length of the fixture.
    ///
    /// # Panics
    /// If the fixture has no picture with that number.
    #[track_caller]
    pub fn behind(&self, shown: Shown) -> Duration {
        let time = self.pictures.get(shown.number);
        let time = time.unwrap_or_else(|| panic!("{shown:?} of {} pictures", self.pictures.len()));
        let since = (shown.at + DURATION).saturating_sub(self.began + *time);
        let nanos = since.as_nanos() % DURATION.as_nanos();
        Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX))
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_media(tag: &Tag) -> bool {
    matches!(frame_of(tag).content, Content::Video { .. } | Content::Audio(_))
}

async fn send(
    mut publisher: Publisher,
    media: Vec<Tag>,
    speaks: Arc<AtomicBool>,
    late: Arc<AtomicU64>,
) {
    let (start, length) = (Instant::now(), u32::try_from(DURATION.as_millis()).unwrap_or(u32::MAX));
    for round in 0.. {
        for tag in &media {
            let timestamp = round * length + tag.timestamp;
            let due = start + Duration::from_millis(timestamp.into());
            sleep_until(due).await;
            let is_sound = matches!(frame_of(tag).content, Content::Audio(_));
            if !is_sound || speaks.load(Ordering::Acquire) {
                publisher.send(&Tag { timestamp, ..tag.clone() }).await;
                let millis = due.elapsed().as_millis();
                late.fetch_max(millis.try_into().unwrap_or(u64::MAX), Ordering::AcqRel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pictures_are_as_old_as_their_numbers_say() {
        let second = Duration::from_secs;
        let camera = Camera {
            speaks: Arc::default(),
            late: Arc::default(),
            began: second(100),
            pictures: vec![second(0), second(1)],
            task: tokio::spawn(async {}),
        };
        let behind = |at, number| camera.behind(Shown { at: second(at), number });
        assert_eq!(behind(102, 1), second(1));
        assert_eq!(behind(102, 0), second(2));
        assert_eq!(behind(110, 1), second(1), "of the second round");
        assert_eq!(behind(101, 1), second(0));
    }
}
