//! Reading and writing one stream. Who may have a stream, and for how long, is tested with the registry.

use super::*;
use crate::{Registry, testing::*};

/// Configurations and the first pictures of an ordinary publisher.
fn opening() -> Vec<Frame> {
    vec![metadata("meta"), video_config("avcC"), audio_config("asc"), key(0), sound(5), delta(40)]
}

#[test]
fn a_reader_that_came_first_starts_at_the_first_key_frame() {
    let mut rig = Rig::new();
    let (mut reader, bell) = rig.subscribe(Start::NewestGroup);
    assert_eq!((reader.status(), bodies(&mut reader)), (Status::Waiting, vec![]));
    let mut publisher = rig.publish();
    assert_eq!((reader.status(), bell.rung()), (Status::Live, 1), "it is told of the publisher");
    rig.push(&mut publisher, opening());
    assert!(bell.rung() > 0);
    assert_eq!(bodies(&mut reader), ["[meta,avcC,asc]key0", "sound5", "delta40"]);
    assert_eq!(bodies(&mut reader), Vec::<String>::new(), "nothing is read twice");
}

#[test]
fn a_reader_that_comes_later_starts_at_the_newest_group() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    rig.push(&mut publisher, opening());
    rig.push(&mut publisher, [video_config("hvcC"), key(1000), sound(1010)]);
    let (mut reader, _) = rig.subscribe(Start::NewestGroup);
    assert_eq!(bodies(&mut reader), ["[meta,hvcC,asc]key1000", "sound1010"]);
}

#[test]
fn a_reader_may_wait_for_the_next_group() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    rig.push(&mut publisher, opening());
    let (mut reader, _) = rig.subscribe(Start::NextGroup);
    assert!(!reader.is_started());
    rig.push(&mut publisher, [delta(80), sound(90), key(120)]);
    assert!(reader.is_started());
    rig.push(&mut publisher, [delta(160)]);
    assert_eq!(
        bodies(&mut reader),
        ["[meta,avcC,asc]key120", "delta160"],
        "the group began before its first read, and is not missed"
    );
}

#[test]
fn a_reader_may_want_all_there_is() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    let (mut reader, _) = rig.subscribe(Start::OldestGroup);
    rig.push(&mut publisher, opening());
    rig.push(&mut publisher, [key(80), sound(90), key(120)]);
    let (mut late, _) = rig.subscribe(Start::OldestGroup);
    let all = bodies(&mut reader);
    assert_eq!(all.first().map(String::as_str), Some("[meta,avcC,asc]key0"), "{all:?}");
    assert_eq!(all.last().map(String::as_str), Some("[meta,avcC,asc]key120"), "{all:?}");
    assert_eq!(bodies(&mut late), all);
}

#[test]
fn readers_are_held_back_until_the_tracks_are_known() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    let (mut newest, bell) = rig.subscribe(Start::NewestGroup);
    let (mut next, _) = rig.subscribe(Start::NextGroup);
    rig.push(&mut publisher, [video_config("avcC"), key(0), delta(40)]);
    assert!(!newest.is_started());
    assert_eq!(bodies(&mut newest), Vec::<String>::new());
    bell.rung();
    rig.push(&mut publisher, [audio_config("asc"), sound(60)]);
    assert_eq!(bell.rung(), 2);
    let all = ["[avcC]key0", "delta40", "asc", "sound60"];
    assert_eq!(bodies(&mut newest), all, "what the group did not know yet comes inside it");
    assert_eq!(bodies(&mut next), all);
    assert_eq!(newest.tracks(), BOTH);
}

#[test]
fn a_promise_of_pictures_only_lets_readers_in_at_once() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    let (mut reader, _) = rig.subscribe(Start::NewestGroup);
    publisher.expect(PICTURES_ONLY);
    rig.push(&mut publisher, [key(0)]);
    assert_eq!(bodies(&mut reader), ["[]key0"]);
}

#[test]
fn becoming_known_rings_whatever_the_flush() {
    let mut rig = Rig::new();
    let flush = Flush::Every(ms(350));
    let mut publisher = rig.publish_with(PublishSettings { flush, ..Rig::settings() }).unwrap();
    let (_reader, bell) = rig.subscribe(Start::NewestGroup);
    rig.push(&mut publisher, [audio_config("asc"), video_config("avcC")]);
    assert_eq!(bell.rung(), 0);
    rig.push(&mut publisher, [key(0)]);
    assert_eq!(bell.rung(), 0, "the sound that is announced may come a moment later");
    rig.push(&mut publisher, [sound(5)]);
    assert_eq!(bell.rung(), 1, "the first picture of a join is not held for a flush");
}

#[test]
fn a_sound_only_stream_starts_anew_when_pictures_appear() {
    for first_sign in [video_config("avcC"), delta(520)] {
        let mut rig = Rig::new();
        let mut publisher = rig.publish();
        publisher.expect(SOUND_ONLY);
        rig.push(&mut publisher, [sound(0), sound(500)]);
        let (mut inside, _) = rig.subscribe(Start::NewestGroup);
        assert_eq!(bodies(&mut inside), ["[]sound0", "sound500"]);
        rig.push(&mut publisher, [first_sign, sound(530)]);
        let (mut late, _) = rig.subscribe(Start::NewestGroup);
        assert_eq!(bodies(&mut late), Vec::<String>::new(), "no start without a picture any more");
        rig.push(&mut publisher, [delta(540), key(550)]);
        let (inside, late) = (bodies(&mut inside), bodies(&mut late));
        assert!(late[0].ends_with("]key550"), "{late:?}");
        assert_eq!(inside.last(), late.first());
    }
}

#[test]
fn a_configuration_change_reaches_those_inside_and_those_who_come() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    rig.push(&mut publisher, opening());
    let (mut inside, _) = rig.subscribe(Start::NewestGroup);
    bodies(&mut inside);
    rig.push(&mut publisher, [video_config("hvcC"), key(80)]);
    assert_eq!(bodies(&mut inside), ["hvcC", "[meta,hvcC,asc]key80"]);
}

#[test]
fn a_slow_reader_is_moved_to_the_newest_group_and_told() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    rig.push(&mut publisher, opening());
    let (mut slow, _) = rig.subscribe(Start::NewestGroup);
    assert_eq!(read(&mut slow).items.len(), 3);
    rig.push(&mut publisher, (1..=20).flat_map(|n| [key(n * 500), delta(n * 500 + 40)]));
    assert!(slow.is_started(), "asking changes nothing");
    let batch = read(&mut slow);
    assert_eq!(batch.skipped, 38, "of 40 frames since, the last group's two are read");
    assert_eq!(
        batch.items.iter().map(body).collect::<Vec<_>>(),
        ["[meta,avcC,asc]key10000", "delta10040"]
    );
    assert_eq!(read(&mut slow).skipped, 0, "it is told once");
}

#[test]
fn a_slow_reader_without_a_place_to_go_waits_for_one_and_counts_everything() {
    let mut rig = Rig::new();
    let limits = Limits { bytes: 10 * size_of::<Frame>(), window: Rig::WINDOW };
    let mut publisher = rig.publish_with(PublishSettings { limits, ..Rig::settings() }).unwrap();
    publisher.expect(PICTURES_ONLY);
    rig.push(&mut publisher, [key(0)]);
    let (mut slow, _) = rig.subscribe(Start::NewestGroup);
    assert_eq!(bodies(&mut slow), ["[]key0"]);
    rig.push(&mut publisher, (1..30).map(|n| delta(n * 40)));
    let batch = read(&mut slow);
    assert_eq!((batch.items.len(), batch.skipped), (0, 0), "the one group there is has no head");
    rig.push(&mut publisher, [delta(1200), key(1240)]);
    let batch = read(&mut slow);
    assert_eq!(batch.skipped, 30);
    assert_eq!(batch.items.iter().map(body).collect::<Vec<_>>(), ["[]key1240"]);
}

#[test]
fn what_a_reader_took_for_a_start_still_is_one_when_it_reads() {
    let mut rig = Rig::new();
    let mut first = rig.publish();
    rig.push(&mut first, opening());
    let (mut reader, _) = rig.subscribe(Start::NewestGroup);
    assert!(reader.is_started());
    let mut second = rig.publish();
    second.expect(PICTURES_ONLY);
    rig.push(&mut second, [delta(0)]);
    assert_eq!(bodies(&mut reader), Vec::<String>::new(), "nobody starts at the old publisher's");
    rig.push(&mut second, [key(40)]);
    assert_eq!(bodies(&mut reader), ["[]key40"]);
}

/// How often a reader is woken by `frames` under `flush`, once it is known what there is.
fn rings(flush: Flush, frames: impl IntoIterator<Item = Frame>) -> Vec<usize> {
    let mut rig = Rig::new();
    let mut publisher = rig.publish_with(PublishSettings { flush, ..Rig::settings() }).unwrap();
    let (_reader, bell) = rig.subscribe(Start::NewestGroup);
    rig.push(&mut publisher, [sound(0), key(0)]);
    bell.rung();
    let start = rig.now;
    let mut ring = |frame: Frame| {
        let at = u64::try_from(frame.dts.as_millis()).unwrap();
        publisher.push(frame, start + ms(at)).unwrap();
        bell.rung()
    };
    frames.into_iter().map(&mut ring).collect()
}

#[test]
fn flush_each_wakes_for_every_frame() {
    assert_eq!(rings(Flush::Each, [sound(10), delta(20), audio_config("asc")]), [1, 1, 1]);
}

#[test]
fn flush_video_lets_sound_ride_with_the_next_picture_but_not_for_long() {
    assert_eq!(rings(Flush::Video, [sound(10), sound(33), delta(40), sound(50)]), [0, 0, 1, 0]);
    let sounds = [10, 30, 49, 50, 60, 99, 100].map(sound);
    assert_eq!(rings(Flush::Video, sounds), [0, 0, 0, 1, 0, 0, 1], "each 40 ms without a picture");
}

#[test]
fn flush_every_gathers_for_its_period() {
    let frames = [10, 40, 80, 109, 110, 120].map(delta);
    assert_eq!(rings(Flush::Every(ms(100)), frames), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn what_waits_for_a_flush_is_announced_when_the_publisher_leaves() {
    let mut rig = Rig::new();
    let flush = Flush::Every(ms(350));
    let mut publisher = rig.publish_with(PublishSettings { flush, ..Rig::settings() }).unwrap();
    let (mut reader, bell) = rig.subscribe(Start::NewestGroup);
    rig.push(&mut publisher, opening());
    bodies(&mut reader);
    bell.rung();
    rig.push(&mut publisher, [delta(80)]);
    assert_eq!(bell.rung(), 0);
    assert!(reader.pending_since().is_some());
    publisher.leave(rig.now);
    assert_eq!((bell.rung(), reader.pending_since()), (1, None));
    assert_eq!(bodies(&mut reader), ["delta80"]);
}

#[test]
fn figures_add_up() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    let (_reader, _) = rig.subscribe(Start::NewestGroup);
    rig.push(&mut publisher, [delta(0), key(40), key(0)]);
    let [stats] = &rig.registry.stats()[..] else { panic!("one stream") };
    assert_eq!((stats.status, stats.readers, publisher.demand()), (Status::Live, 1, 1));
    assert_eq!((stats.frames, stats.bytes), (3, 6 + 5 + 4), "published, also what nobody gets");
    assert_eq!(stats.repairs, 1, "a step back was levelled");
    assert_eq!(stats.held, rig.registry.budget().used());
    assert!(stats.since.is_some());
}

#[test]
fn a_slow_reader_takes_what_it_can_hold_and_comes_back_for_the_rest() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    let (mut reader, _) = rig.subscribe(Start::NewestGroup);
    rig.push(&mut publisher, opening());
    let (mut batch, mut all) = (Batch::default(), Vec::new());
    for is_last in [false, false, true] {
        reader.read_some(&mut batch, 1);
        all.extend(batch.items.iter().map(body));
        assert_eq!((batch.items.len(), batch.has_more), (1, !is_last));
    }
    assert_eq!(all, ["[meta,avcC,asc]key0", "sound5", "delta40"]);
    reader.read_some(&mut batch, 1);
    assert!(batch.items.is_empty() && !batch.has_more);
}

#[test]
fn configurations_count_for_as_long_as_anybody_holds_them() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    let (large, another) = ("x".repeat(10_000), "y".repeat(10_000));
    rig.push(&mut publisher, [video_config(&large), audio_config("asc"), key(0)]);
    let budget = rig.registry.budget().clone();
    let held = || budget.used_for(weir_media::Use::Configurations);
    assert!((10_000..11_000).contains(&held()), "{}", held());
    let (mut reader, _) = rig.subscribe(Start::NewestGroup);
    let batch = read(&mut reader);
    rig.push(&mut publisher, [video_config(&another), key(5000)]);
    assert!((20_000..21_000).contains(&held()), "a reader has the first one: {}", held());
    drop(batch);
    rig.push(&mut publisher, [key(10_000), key(15_000)]);
    assert!((10_000..11_000).contains(&held()), "{}", held());
    drop((publisher, reader));
    rig.now += Rig::LINGER;
    rig.registry.expire(rig.now);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_stream_whose_publisher_is_silent_shrinks_when_told() {
    let budget = Budget::new(16 << 20);
    let mut rig = Rig { registry: Registry::new(budget.clone(), None, None), ..Rig::new() };
    let limits = Limits { bytes: 64 << 20, window: Rig::WINDOW };
    let mut publisher = rig
        .publish_with(PublishSettings { limits, ..Rig::settings() })
        .unwrap_or_else(|refused| panic!("{refused}"));
    let huge = frame(VIDEO, key(0).content, 0, &"x".repeat(15 << 20));
    rig.push(&mut publisher, [audio_config("asc"), video_config("avcC"), huge]);
    assert!(budget.is_spent());
    rig.registry.shrink();
    assert!(budget.used() < 1 << 20, "{} bytes held", budget.used());
}
