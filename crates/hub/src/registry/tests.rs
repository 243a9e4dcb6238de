//! Who has a stream, who wants it, and that nothing of it stays when nobody does.

use std::{sync::Mutex, time::Duration};

use proptest::prelude::*;
use weir_media::{AudioCodec, Frame, Track, VideoCodec};

use super::*;
use crate::{Batch, Conflict, Ended, Status, testing::*};

/// The times and epochs of what a reader has to read.
fn times(reader: &mut Reader) -> Vec<(i64, u32)> {
    read(reader).items.iter().map(|item| (item.frame.dts.as_millis(), item.frame.epoch)).collect()
}

fn both(at: i64) -> [Frame; 2] {
    [key(at), sound(at)]
}

fn is_empty(rig: &Rig) -> bool {
    rig.registry.stats().is_empty() && rig.registry.budget().used() == 0
}

#[test]
fn a_new_publisher_within_the_linger_keeps_the_readers() {
    let mut rig = Rig::new();
    let (mut reader, bell) = rig.subscribe(Start::NewestGroup);
    let mut first = rig.publish();
    rig.push(&mut first, both(0));
    assert_eq!(times(&mut reader), [(0, 0), (0, 0)]);
    bell.rung();

    first.leave(rig.now);
    assert_eq!((reader.status(), bell.rung(), rig.lingering.rung()), (Status::Lingering, 1, 1));
    rig.now += ms(9_999);
    assert_eq!(rig.registry.expire(rig.now), Some(rig.now + ms(1)));

    let mut second = rig.publish();
    assert_eq!((reader.status(), bell.rung()), (Status::Live, 1));
    assert_eq!(rig.registry.expire(rig.now + Rig::LINGER), None, "the linger is over and done");
    rig.push(&mut second, both(0));
    assert_eq!(times(&mut reader), [(9_999, 1), (9_999, 1)], "on one timeline");
    assert_eq!(rig.wants.heard(), ["+one"], "the demand never ended");
}

#[test]
fn the_last_group_can_be_joined_while_the_stream_lingers() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    rig.push(&mut publisher, [key(0)]);
    publisher.leave(rig.now);
    let (mut reader, _) = rig.subscribe(Start::NewestGroup);
    assert_eq!(bodies(&mut reader), ["[]key0"], "even if its tracks never became known");
}

#[test]
fn a_stream_ends_with_its_linger() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    rig.push(&mut publisher, both(0));
    let (mut reader, bell) = rig.subscribe(Start::NewestGroup);
    publisher.leave(rig.now);
    bell.rung();

    rig.now += Rig::LINGER;
    assert_eq!(rig.registry.expire(rig.now), None);
    assert_eq!((reader.status(), bell.rung()), (Status::Ended, 1));
    assert!(rig.registry.stats().is_empty());
    assert_eq!(bodies(&mut reader), ["[]key0", "sound0"], "what is left can still be read");

    let mut again = rig.publish();
    rig.push(&mut again, both(0));
    assert_eq!(reader.status(), Status::Ended, "another stream of the same name");
    drop(reader);
    assert_eq!(
        rig.registry.stats().len(),
        1,
        "the old stream's reader does not remove the new one"
    );
}

#[test]
fn expire_names_the_next_linger_that_ends() {
    let rig = Rig::new();
    for (name, linger) in [("b", 7), ("a", 3), ("c", 5)] {
        let key = StreamKey::new("v", "app", name).unwrap();
        let settings = PublishSettings { linger: ms(linger), ..Rig::settings() };
        rig.registry
            .publish(&key, settings, rig.now)
            .unwrap_or_else(|e| panic!("{e}"))
            .leave(rig.now);
    }
    for next in [3, 5, 7] {
        assert_eq!(rig.registry.expire(rig.now + ms(next - 1)), Some(rig.now + ms(next)));
        assert_ne!(rig.registry.expire(rig.now + ms(next)), Some(rig.now + ms(next)));
    }
    assert!(is_empty(&rig));
}

#[test]
fn a_linger_beyond_the_clock_lasts() {
    let rig = Rig::new();
    let settings = PublishSettings { linger: Duration::MAX, ..Rig::settings() };
    rig.publish_with(settings).unwrap_or_else(|e| panic!("{e}")).leave(rig.now);
    assert_eq!(rig.registry.expire(rig.now + Duration::from_secs(1 << 32)), None);
    assert_eq!(rig.registry.stats()[0].status, Status::Lingering);
}

#[test]
fn a_dropped_publisher_leaves() {
    let rig = Rig::new();
    drop(rig.publish());
    assert_eq!(rig.registry.stats()[0].status, Status::Lingering);
    assert_eq!(rig.lingering.rung(), 1);
}

#[test]
fn a_takeover_tells_the_old_publisher_and_keeps_its_readers() {
    let mut rig = Rig::new();
    let replaced = Bell::new();
    let settings = PublishSettings { replaced: Arc::clone(&replaced) as _, ..Rig::settings() };
    let mut old = rig.publish_with(settings).unwrap_or_else(|e| panic!("{e}"));
    rig.push(&mut old, both(0));
    let (mut reader, _) = rig.subscribe(Start::NewestGroup);
    assert_eq!(times(&mut reader).len(), 2);

    rig.now += ms(40);
    let mut new = rig.publish();
    assert_eq!(replaced.rung(), 1);
    assert_eq!(old.push(key(40), rig.now), Err(Ended));
    old.expect(SOUND_ONLY);
    old.leave(rig.now);
    assert_eq!(
        (reader.status(), rig.lingering.rung()),
        (Status::Live, 0),
        "not its stream any more"
    );
    for frame in both(5_000_000) {
        new.push(frame, rig.now).unwrap();
    }
    assert_eq!(times(&mut reader), [(40, 1), (40, 1)]);
}

#[test]
fn a_protected_publisher_keeps_its_stream() {
    let mut rig = Rig::new();
    let mut old = rig.publish();
    let settings = PublishSettings { conflict: Conflict::Reject, ..Rig::settings() };
    assert_eq!(rig.publish_with(settings).err(), Some(Refused::Taken));
    rig.push(&mut old, both(0));
    assert_eq!(rig.registry.stats()[0].frames, 2);
}

#[test]
fn a_silent_publisher_may_be_dead() {
    let mut rig = Rig::new();
    let idle =
        |idle| PublishSettings { conflict: Conflict::TakeoverIfIdle(idle), ..Rig::settings() };
    let mut old = rig.publish();
    rig.now += ms(4_000);
    old.push(key(0), rig.now).unwrap();
    let idle_at = rig.now + ms(5_000);
    rig.now += ms(4_999);
    let refused = rig.publish_with(idle(ms(5_000))).err();
    assert_eq!(refused, Some(Refused::MaybeDead { idle_at }), "counted from what it sent last");
    assert_eq!(rig.publish_with(idle(Duration::MAX)).err(), Some(Refused::Taken));
    rig.now = idle_at;
    assert!(rig.publish_with(idle(ms(5_000))).is_ok());
    assert_eq!(old.push(key(40), rig.now), Err(Ended));
}

#[test]
fn conflict_rules_are_for_streams_that_have_a_publisher() {
    let reject = || PublishSettings { conflict: Conflict::Reject, ..Rig::settings() };
    let rig = Rig::new();
    let (_reader, _) = rig.subscribe(Start::NewestGroup);
    let first = rig.publish_with(reject()).unwrap_or_else(|e| panic!("while waiting: {e}"));
    first.leave(rig.now);
    assert!(rig.publish_with(reject()).is_ok(), "while lingering");
}

#[test]
fn a_stand_in_keeps_the_readers_and_gives_way_to_anybody() {
    let mut rig = Rig::new();
    let (mut reader, bell) = rig.subscribe(Start::NewestGroup);
    let mut first = rig.publish();
    rig.push(&mut first, both(0));
    assert_eq!(first.codecs(), (Some(VideoCodec::Avc), Some(AudioCodec::Aac)));
    assert_eq!(times(&mut reader), [(0, 0), (0, 0)]);
    bell.rung();

    let replaced = Bell::new();
    let settings = PublishSettings { replaced: Arc::clone(&replaced) as _, ..Rig::settings() };
    let mut stand_in = first.stand_in(settings, rig.now).expect("the stream is the publisher's");
    assert_eq!((reader.status(), bell.rung(), rig.lingering.rung()), (Status::Live, 1, 0));
    assert!(!rig.registry.is_taken(&Rig::name()));
    rig.now += ms(100);
    rig.push(&mut stand_in, both(0));
    assert_eq!(times(&mut reader), [(100, 1), (100, 1)], "on one timeline");

    let reject = PublishSettings { conflict: Conflict::Reject, ..Rig::settings() };
    let mut back = rig.publish_with(reject).expect("nobody is protected from the next publisher");
    assert!(rig.registry.is_taken(&Rig::name()));
    assert_eq!((replaced.rung(), stand_in.push(key(40), rig.now)), (1, Err(Ended)));
    drop(stand_in);
    assert_eq!(
        (reader.status(), rig.lingering.rung()),
        (Status::Live, 0),
        "it has nothing to leave"
    );
    rig.now += ms(100);
    rig.push(&mut back, both(0));
    assert_eq!(times(&mut reader), [(200, 2), (200, 2)]);
    let reject = PublishSettings { conflict: Conflict::Reject, ..Rig::settings() };
    assert_eq!(rig.publish_with(reject).err(), Some(Refused::Taken), "the next one is protected");
}

#[test]
fn who_has_lost_the_stream_leaves_it_to_no_stand_in() {
    let rig = Rig::new();
    let (old, _new) = (rig.publish(), rig.publish());
    assert!(old.stand_in(Rig::settings(), rig.now).is_none());
    assert_eq!(rig.registry.stats()[0].status, Status::Live);
}

#[test]
fn demand_is_told_at_the_first_and_the_last_reader() {
    let rig = Rig::new();
    let (first, _) = rig.subscribe(Start::NewestGroup);
    assert_eq!(rig.wants.heard(), ["+one"]);
    let (second, _) = rig.subscribe(Start::NextGroup);
    drop(first);
    assert_eq!(rig.wants.heard(), Vec::<String>::new());
    assert_eq!(rig.registry.demand(&Rig::name()), 1);
    drop(second);
    assert_eq!(rig.wants.heard(), ["-one"]);
    assert_eq!(rig.registry.demand(&Rig::name()), 0);
    let _again = rig.subscribe(Start::NewestGroup);
    assert_eq!(rig.wants.heard(), ["+one"]);
}

#[test]
fn a_follower_is_no_demand_but_reads_and_is_woken() {
    let mut rig = Rig::new();
    let bell = Bell::new();
    let mut follower =
        rig.registry.follow(&Rig::name(), Start::NewestGroup, Arc::clone(&bell) as _);
    let (reader, _) = rig.subscribe(Start::NewestGroup);
    drop(reader);
    assert_eq!(rig.wants.heard(), ["+one", "-one"], "the follower is not counted");
    let mut publisher = rig.publish();
    rig.push(&mut publisher, both(0));
    assert_eq!((bell.rung(), publisher.demand()), (3, 0));
    assert_eq!(bodies(&mut follower).len(), 2);
    drop(follower);
    assert_eq!(rig.wants.heard(), Vec::<String>::new());
}

#[test]
fn nothing_is_left_in_whatever_order_handles_go() {
    /// Ends one of the things that keep a stream.
    type End<'a> = Box<dyn FnOnce() + 'a>;
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut rig = Rig::new();
        let (reader, _) = rig.subscribe(Start::NewestGroup);
        let follower = rig.registry.follow(&Rig::name(), Start::NewestGroup, Bell::new());
        let mut publisher = rig.publish();
        rig.push(&mut publisher, both(0));
        assert!(rig.registry.budget().used() > 0);
        let (registry, now) = (&rig.registry, rig.now);
        let mut ends: [Option<End<'_>>; 3] = [
            Some(Box::new(|| drop(reader))),
            Some(Box::new(|| drop(follower))),
            Some(Box::new(|| {
                publisher.leave(now);
                registry.expire(now + Rig::LINGER);
            })),
        ];
        for at in order {
            ends[at].take().unwrap()();
        }
        drop(ends);
        assert!(is_empty(&rig), "order {order:?}: {:?}", rig.registry.stats());
    }
}

#[test]
fn a_reader_of_nothing_leaves_nothing() {
    let rig = Rig::new();
    let (reader, _) = rig.subscribe(Start::NewestGroup);
    assert_eq!(rig.registry.stats()[0].status, Status::Waiting);
    drop(reader);
    assert!(is_empty(&rig));
}

#[test]
fn handles_outlive_the_registry() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    let (mut reader, _) = rig.subscribe(Start::NewestGroup);
    let Rig { registry, .. } = std::mem::replace(&mut rig, Rig::new());
    drop(registry);
    rig.push(&mut publisher, both(0));
    assert_eq!(bodies(&mut reader).len(), 2);
    drop(publisher);
    drop(reader);
}

/// Uses the registry while it is woken, and drops a reader of the same stream then: would hang if a lock were held.
struct Meddler {
    registry: Registry,
    held: Mutex<Option<Reader>>,
}

impl Wake for Meddler {
    fn wake(&self) {
        self.registry.expire(Instant::now());
        self.registry.stats();
        drop(self.held.lock().unwrap().take());
    }
}

#[test]
fn wakers_may_use_the_registry_and_drop_handles() {
    let mut rig = Rig::new();
    let meddler = || {
        let held = Mutex::new(Some(rig.subscribe(Start::NewestGroup).0));
        Arc::new(Meddler { registry: rig.registry.clone(), held })
    };
    let watch = || rig.registry.subscribe(&Rig::name(), Start::NewestGroup, meddler());
    let settings = || PublishSettings { replaced: meddler(), ..Rig::settings() };

    let _told_of_the_publisher = watch();
    let first = rig.publish_with(settings()).unwrap_or_else(|e| panic!("{e}"));
    let _told_of_the_takeover = watch();
    let mut second = rig.publish_with(settings()).unwrap_or_else(|e| panic!("{e}"));
    drop(first);
    let _told_of_a_frame = watch();
    second.push(key(0), rig.now).unwrap();
    let _told_of_the_linger = watch();
    second.leave(rig.now);
    let _told_of_the_end = watch();
    rig.now += Rig::LINGER;
    rig.registry.expire(rig.now);
    assert!(rig.registry.stats().is_empty());
}

/// Owns a reader of the stream that it is the waker of.
struct Owner {
    _reader: Reader,
}

impl Wake for Owner {
    fn wake(&self) {}
}

#[test]
fn a_waker_that_owns_a_reader_is_dropped_without_a_lock() {
    let rig = Rig::new();
    let owner = || Arc::new(Owner { _reader: rig.subscribe(Start::NewestGroup).0 });
    let mut publisher = rig
        .publish_with(PublishSettings { replaced: owner(), ..Rig::settings() })
        .unwrap_or_else(|e| panic!("{e}"));
    let reader = rig.registry.subscribe(&Rig::name(), Start::NewestGroup, owner());
    publisher.push(key(0), rig.now).unwrap();
    drop(reader);
    assert_eq!(publisher.demand(), 1, "that of the publisher's own waker");
    publisher.leave(rig.now);
    assert_eq!(rig.registry.demand(&Rig::name()), 0);
}

/// Something that can happen to a stream.
#[derive(Clone, Debug)]
enum Step {
    Publish,
    Leave,
    Push { video: bool, key: bool, wire: u32 },
    Config(bool),
    Subscribe(Start),
    Follow,
    Read(prop::sample::Index),
    DropReader(prop::sample::Index),
    Wait(u64),
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![Just(Start::NewestGroup), Just(Start::NextGroup), Just(Start::OldestGroup)]
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        1 => Just(Step::Publish),
        1 => Just(Step::Leave),
        20 => (any::<bool>(), any::<bool>(), 0u32..5_000)
            .prop_map(|(video, key, wire)| Step::Push { video, key, wire }),
        2 => any::<bool>().prop_map(Step::Config),
        2 => start().prop_map(Step::Subscribe),
        1 => Just(Step::Follow),
        6 => index().prop_map(Step::Read),
        2 => index().prop_map(Step::DropReader),
        4 => (0u64..3_000).prop_map(Step::Wait),
    ]
}

/// A reader, and what it may rely on.
struct Viewer {
    reader: Reader,
    started: bool,
    /// Time of the newest coded frame.
    newest: HashMap<Track, i64>,
    epoch: u32,
}

impl Viewer {
    fn new(reader: Reader) -> Self {
        Self { reader, started: false, newest: HashMap::new(), epoch: 0 }
    }

    fn read(&mut self, batch: &mut Batch) {
        self.reader.read(batch);
        if let Some(first) = batch.items.first()
            && (!self.started || batch.skipped > 0)
        {
            self.started = true;
            assert!(first.group.is_some(), "a start, or a skip of {}, in mid-group", batch.skipped);
        } else {
            assert_eq!(batch.skipped, 0, "a skip that leads nowhere");
        }
        for frame in batch.items.iter().map(|item| &item.frame) {
            assert!(frame.epoch >= self.epoch);
            self.epoch = frame.epoch;
            let (dts, newest) =
                (frame.dts.as_millis(), self.newest.entry(frame.track).or_default());
            assert!(dts >= *newest, "{:?} at {dts} after {newest}", frame.track);
            if frame.init_slot().is_none() {
                *newest = dts;
            }
        }
    }
}

proptest! {
    /// Whatever happens: readers start and restart at groups, time never runs backwards, nothing is left in the end.
    #[test]
    fn a_stream_keeps_its_promises(steps in prop::collection::vec(step(), 1..200)) {
        let mut rig = Rig::new();
        let mut publisher: Option<Publisher> = None;
        let mut viewers: Vec<Viewer> = Vec::new();
        let mut batch = Batch::default();
        for step in steps {
            match step {
                Step::Publish => {
                    let old = publisher.replace(rig.publish());
                    if let Some(mut old) = old {
                        prop_assert_eq!(old.push(key(0), rig.now), Err(Ended));
                    }
                }
                Step::Leave => {
                    if let Some(publisher) = publisher.take() { publisher.leave(rig.now) }
                }
                Step::Push { video, key, wire } => if let Some(publisher) = &mut publisher {
                    let frame = if video { picture(VIDEO, key, wire.into()) } else { sound(wire.into()) };
                    prop_assert_eq!(publisher.push(frame, rig.now), Ok(()));
                },
                Step::Config(video) => if let Some(publisher) = &mut publisher {
                    let frame = if video { video_config("avcC") } else { audio_config("asc") };
                    prop_assert_eq!(publisher.push(frame, rig.now), Ok(()));
                },
                Step::Subscribe(start) => viewers.push(Viewer::new(rig.subscribe(start).0)),
                Step::Follow => viewers.push(Viewer::new(
                    rig.registry.follow(&Rig::name(), Start::NewestGroup, Bell::new()),
                )),
                Step::Read(at) if !viewers.is_empty() => at.get_mut(&mut viewers).read(&mut batch),
                Step::DropReader(at) if !viewers.is_empty() => {
                    viewers.swap_remove(at.index(viewers.len()));
                }
                Step::Read(_) | Step::DropReader(_) => {}
                Step::Wait(millis) => {
                    rig.now += ms(millis);
                    rig.registry.expire(rig.now);
                    viewers.retain(|viewer| viewer.reader.status() != Status::Ended);
                }
            }
            prop_assert_eq!(publisher.is_some(), rig.registry.stats().iter().any(|s| s.status == Status::Live));
        }
        drop((viewers, batch));
        drop(publisher);
        rig.registry.expire(Instant::now() + Rig::LINGER + ms(1_000_000));
        prop_assert!(is_empty(&rig), "{:?}", rig.registry.stats());
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            rig.wants.heard().into_iter().partition(|want| want.starts_with('+'));
        prop_assert_eq!(wanted.len(), unwanted.len());
    }
}

#[test]
fn figures_tell_what_a_stream_is_coded_with() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    let before = rig.registry.stats();
    assert_eq!((before[0].video, before[0].audio, before[0].pictures), (None, None, 0));
    rig.push(&mut publisher, [video_config("avcC"), audio_config("asc")]);
    rig.push(&mut publisher, both(0));
    let stats = rig.registry.stats();
    let stream = &stats[0];
    assert_eq!((stream.pictures, stream.sounds, stream.frames), (1, 1, 4));
    assert_eq!((stream.video, stream.audio), (Some(VideoCodec::Avc), Some(AudioCodec::Aac)));
    assert_eq!(stream.init.frames().count(), 2);
}

#[test]
fn a_publisher_can_make_its_stream_outlive_it_for_longer_and_never_for_less() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    rig.push(&mut publisher, both(0));
    publisher.linger_at_least(Rig::LINGER / 2);
    publisher.linger_at_least(Rig::LINGER * 2);
    publisher.leave(rig.now);
    assert_eq!(rig.registry.expire(rig.now), Some(rig.now + Rig::LINGER * 2));
}
