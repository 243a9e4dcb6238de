//! The hub under every interleaving of a few threads.
//!
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test -p weir-hub --profile loom --test loom`
//!
//! A reader that waits for a wake-up which never comes shows as a deadlock of the model.
#![cfg(loom)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use loom::{
    sync::{
        Notify,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use weir_hub::{
    Batch, Budget, Conflict, Demand, Flush, Limits, PublishSettings, Publisher, Reader, Registry,
    Start, Status, Tracks, Wake,
};
use weir_media::{Content, Frame, StreamKey, Timestamp, Track, VideoCodec};

const LINGER: Duration = Duration::from_secs(10);

/// Lets one thread sleep until it is woken.
struct Bell(Notify);

impl Bell {
    fn new() -> Arc<Self> {
        Arc::new(Self(Notify::new()))
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify();
    }
}

/// Counts its calls.
struct Count(AtomicUsize);

impl Count {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(0)))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Demand for Count {
    fn wanted(&self, _: &StreamKey) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn unwanted(&self, _: &StreamKey) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A registry with one stream name and a time that stands still.
#[derive(Clone)]
struct Hub {
    registry: Registry,
    key: StreamKey,
    now: Instant,
}

impl Hub {
    fn new() -> Self {
        Self::with_demand(None)
    }

    fn with_demand(demand: Option<Arc<dyn Demand>>) -> Self {
        let registry = Registry::new(Budget::unlimited(), demand, None);
        Self {
            registry,
            key: StreamKey::new("v", "live", "one").expect("a valid name"),
            now: Instant::now(),
        }
    }

    fn try_publish(&self, conflict: Conflict, replaced: Arc<dyn Wake>) -> Option<Publisher> {
        let settings = PublishSettings {
            linger: LINGER,
            conflict,
            flush: Flush::Each,
            limits: Limits { bytes: 1 << 20, window: LINGER },
            replaced,
        };
        let mut publisher = self.registry.publish(&self.key, settings, self.now).ok()?;
        publisher.expect(Tracks { audio: false, video: true });
        Some(publisher)
    }

    fn publish(&self) -> Publisher {
        self.try_publish(Conflict::Takeover, Count::new()).expect("never refused")
    }

    fn subscribe(&self) -> (Reader, Arc<Bell>) {
        let bell = Bell::new();
        (self.registry.subscribe(&self.key, Start::NewestGroup, Arc::clone(&bell) as _), bell)
    }

    fn push(&self, publisher: &mut Publisher, name: u8) -> bool {
        let content = Content::Video { codec: VideoCodec::Avc, key: true, composition: 0 };
        let body = Bytes::copy_from_slice(&[name]);
        let (track, dts) = (Track::Video(0), Timestamp::ZERO);
        let frame =
            Frame { track, dts, epoch: 0, content, stray: false, payload: body.clone(), body };
        publisher.push(frame, self.now).is_ok()
    }

    /// Reads, asleep between the wake-ups, until `is_done` with the status and all that was read.
    fn read_until(
        (reader, bell): &mut (Reader, Arc<Bell>),
        is_done: impl Fn(Status, &[u8]) -> bool,
    ) -> Vec<u8> {
        let (mut batch, mut all) = (Batch::default(), Vec::new());
        loop {
            let status = reader.read(&mut batch);
            assert_eq!(batch.skipped, 0);
            all.extend(batch.items.iter().map(|item| item.frame.body[0]));
            if is_done(status, &all) {
                return all;
            }
            bell.0.wait();
        }
    }

    /// Whether the registry has forgotten everything once the linger is over.
    fn is_empty_in_the_end(&self) -> bool {
        self.registry.expire(self.now + LINGER);
        self.registry.stats().is_empty() && self.registry.budget().used() == 0
    }
}

#[test]
fn a_reader_that_saw_nothing_is_woken_for_what_comes() {
    loom::model(|| {
        let hub = Hub::new();
        let writer = thread::spawn({
            let hub = hub.clone();
            move || {
                let mut publisher = hub.publish();
                hub.push(&mut publisher, 1);
                publisher
            }
        });
        let mut viewer = hub.subscribe();
        assert_eq!(Hub::read_until(&mut viewer, |_, all| !all.is_empty()), [1]);
        drop(writer.join().unwrap());
    });
}

#[test]
fn a_reader_gets_every_entry_once_and_in_order() {
    loom::model(|| {
        let hub = Hub::new();
        let mut viewer = hub.subscribe();
        let mut publisher = hub.publish();
        hub.push(&mut publisher, 1);
        assert_eq!(Hub::read_until(&mut viewer, |_, all| !all.is_empty()), [1]);
        let writer = thread::spawn(move || {
            hub.push(&mut publisher, 2);
            hub.push(&mut publisher, 3);
            publisher.leave(hub.now);
        });
        let rest = Hub::read_until(&mut viewer, |status, _| status == Status::Lingering);
        assert_eq!(rest, [2, 3]);
        writer.join().unwrap();
    });
}

/// A publisher leaves its stream to a stand-in while another one comes: the newcomer has the stream in the end, and
/// nobody sees a stream without a publisher.
#[test]
fn a_stand_in_and_the_next_publisher_find_each_other() {
    loom::model(|| {
        let hub = Hub::new();
        let (reader, _bell) = hub.subscribe();
        let publisher = hub.publish();
        let leaving = thread::spawn({
            let hub = hub.clone();
            move || {
                let settings = PublishSettings {
                    linger: LINGER,
                    conflict: Conflict::Reject,
                    flush: Flush::Each,
                    limits: Limits { bytes: 1 << 20, window: LINGER },
                    replaced: Count::new(),
                };
                publisher.stand_in(settings, hub.now)
            }
        });
        let mut next = hub.publish();
        let stand_in = leaving.join().unwrap();
        assert_eq!(reader.status(), Status::Live);
        // A stand-in that came last has the stream only if it found the publisher's place, which is gone then.
        assert!(hub.push(&mut next, 1));
        drop(stand_in);
        assert_eq!(reader.status(), Status::Live);
    });
}

#[test]
fn two_readers_and_one_that_goes_do_not_disturb_each_other() {
    loom::model(|| {
        let hub = Hub::new();
        let (leaver, mut viewer) = (hub.subscribe(), hub.subscribe());
        let mut publisher = hub.publish();
        let leaving = thread::spawn(move || drop(leaver));
        let writer = thread::spawn(move || {
            hub.push(&mut publisher, 1);
            publisher
        });
        assert_eq!(Hub::read_until(&mut viewer, |_, all| !all.is_empty()), [1]);
        leaving.join().unwrap();
        assert_eq!(writer.join().unwrap().demand(), 1);
    });
}

#[test]
fn a_stream_that_rejects_has_one_owner() {
    loom::model(|| {
        let hub = Hub::new();
        let rival = thread::spawn({
            let hub = hub.clone();
            move || hub.try_publish(Conflict::Reject, Count::new())
        });
        let own = hub.try_publish(Conflict::Reject, Count::new());
        let rival = rival.join().unwrap();
        assert_eq!(u8::from(own.is_some()) + u8::from(rival.is_some()), 1);
    });
}

#[test]
fn of_two_publishers_that_take_over_the_last_one_owns_the_stream_and_the_other_is_told() {
    loom::model(|| {
        let hub = Hub::new();
        let replaced = [Count::new(), Count::new()];
        let own = |hub: &Hub, name: usize, replaced: &[Arc<Count>; 2]| {
            let told = Arc::clone(&replaced[name]);
            let mut publisher = hub.try_publish(Conflict::Takeover, told).unwrap();
            hub.push(&mut publisher, 0);
            publisher
        };
        let rival = thread::spawn({
            let (hub, replaced) = (hub.clone(), replaced.clone());
            move || own(&hub, 1, &replaced)
        });
        let mut publishers = [own(&hub, 0, &replaced), rival.join().unwrap()];
        let owns = publishers.each_mut().map(|publisher| hub.push(publisher, 1));
        assert_eq!(owns.map(usize::from), replaced.each_ref().map(|told| 1 - told.get()));
        assert_eq!(owns.into_iter().filter(|owns| *owns).count(), 1);
    });
}

#[test]
fn a_reader_stays_through_a_takeover_while_the_old_publisher_leaves() {
    loom::model(|| {
        let hub = Hub::new();
        let mut viewer = hub.subscribe();
        let old = hub.publish();
        let leaving = thread::spawn({
            let now = hub.now;
            move || old.leave(now)
        });
        let taking = thread::spawn(move || {
            let mut new = hub.publish();
            assert!(hub.push(&mut new, 2), "whoever leaves, the stream is the new one's");
            new
        });
        assert_eq!(Hub::read_until(&mut viewer, |_, all| !all.is_empty()), [2]);
        leaving.join().unwrap();
        assert_eq!(viewer.0.status(), Status::Live);
        drop(taking.join().unwrap());
    });
}

#[test]
fn at_the_end_of_a_linger_a_reader_gets_the_new_publisher_or_the_end() {
    loom::model(|| {
        let hub = Hub::new();
        let mut viewer = hub.subscribe();
        hub.publish().leave(hub.now);
        let expiring = thread::spawn({
            let hub = hub.clone();
            move || hub.registry.expire(hub.now + LINGER)
        });
        let publishing = thread::spawn({
            let hub = hub.clone();
            move || {
                let mut publisher = hub.publish();
                assert!(hub.push(&mut publisher, 1), "its stream has not ended");
                publisher
            }
        });
        Hub::read_until(&mut viewer, |status, all| status == Status::Ended || all == [1]);
        expiring.join().unwrap();
        let publisher = publishing.join().unwrap();
        let mut late = hub.subscribe();
        assert_eq!(Hub::read_until(&mut late, |_, all| !all.is_empty()), [1]);
        drop(publisher);
    });
}

#[test]
fn a_reader_that_comes_while_the_last_one_goes_is_in_the_stream_that_is_published() {
    loom::model(|| {
        let count = Count::new();
        let hub = Hub::with_demand(Some(Arc::clone(&count) as _));
        let last = hub.subscribe();
        let going = thread::spawn(move || drop(last));
        let mut viewer = hub.subscribe();
        going.join().unwrap();
        let mut publisher = hub.publish();
        hub.push(&mut publisher, 1);
        assert_eq!(Hub::read_until(&mut viewer, |_, all| !all.is_empty()), [1]);
        assert_eq!((publisher.demand(), count.get()), (1, 1));
    });
}

#[test]
fn nothing_is_left_when_reader_and_publisher_go_at_once() {
    loom::model(|| {
        let count = Count::new();
        let hub = Hub::with_demand(Some(Arc::clone(&count) as _));
        let viewer = hub.subscribe();
        let mut publisher = hub.publish();
        hub.push(&mut publisher, 1);
        let going = thread::spawn(move || drop(viewer));
        let leaving = thread::spawn({
            let hub = hub.clone();
            move || {
                publisher.leave(hub.now);
                hub.registry.expire(hub.now + LINGER);
            }
        });
        going.join().unwrap();
        leaving.join().unwrap();
        assert!(hub.is_empty_in_the_end(), "{:?}", hub.registry.stats());
        assert_eq!(count.get(), 0);
    });
}
