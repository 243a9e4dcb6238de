use super::*;
use crate::testing::*;

/// A session whose frames arrive when they say.
struct Feed {
    session: Session,
    start: Instant,
}

impl Feed {
    fn new() -> Self {
        Self { session: Session::new(Budget::unlimited()), start: Instant::now() }
    }

    fn expecting(tracks: Tracks) -> Self {
        let mut feed = Self::new();
        feed.session.expect(tracks);
        feed
    }

    /// Whether readers get `frame`.
    fn admits(&mut self, frame: &Frame) -> bool {
        let at = u64::try_from(frame.dts.as_millis()).unwrap();
        self.session.admit(frame, self.start + ms(at))
    }

    /// Whether readers are let in once `frame` is there.
    fn is_ready_at(&mut self, frame: &Frame) -> bool {
        self.admits(frame);
        self.session.ready
    }

    /// The init of the group that `frame` starts.
    fn group(&mut self, frame: &Frame) -> Option<Arc<Init>> {
        assert!(self.admits(frame), "{frame:?}");
        self.session.group(frame)
    }

    /// Those of `times` at which sound starts a group.
    fn sound_groups(&mut self, times: impl IntoIterator<Item = i64>) -> Vec<i64> {
        times.into_iter().filter(|at| self.group(&sound(*at)).is_some()).collect()
    }
}

#[test]
fn readers_are_let_in_once_both_kinds_and_some_media_were_seen() {
    let mut feed = Feed::new();
    for config in [metadata("meta"), video_config("avcC"), audio_config("asc")] {
        assert!(!feed.is_ready_at(&config), "nothing to play yet after {:?}", config.content);
    }
    assert!(!feed.is_ready_at(&sound(0)), "a configuration is no picture");
    assert!(feed.is_ready_at(&key(5)));

    let mut feed = Feed::new();
    assert!(!feed.is_ready_at(&key(0)), "sound may come a moment later");
    assert!(feed.is_ready_at(&sound(5)), "codecs without a configuration show in their packets");
}

#[test]
fn one_kind_alone_is_let_in_after_the_probe() {
    for frame_at in [key as fn(i64) -> Frame, sound] {
        let mut feed = Feed::new();
        feed.admits(&frame_at(50));
        assert!(!feed.is_ready_at(&frame_at(1049)));
        assert!(feed.is_ready_at(&frame_at(1050)), "a second after the first media");
    }
}

#[test]
fn what_the_metadata_promises_is_waited_for_and_no_more() {
    assert!(Feed::expecting(PICTURES_ONLY).is_ready_at(&key(0)));
    assert!(!Feed::expecting(PICTURES_ONLY).is_ready_at(&sound(0)));
    assert!(Feed::expecting(SOUND_ONLY).is_ready_at(&sound(0)));
    let mut feed = Feed::expecting(BOTH);
    assert!(!feed.is_ready_at(&key(0)));
    assert!(feed.is_ready_at(&key(1000)), "a promise is not waited for longer than the probe");
    assert!(
        !Feed::expecting(Tracks::default()).is_ready_at(&key(0)),
        "metadata without a word on tracks promises nothing"
    );
}

#[test]
fn what_is_announced_is_waited_for_though_the_metadata_does_not_promise_it() {
    let mut feed = Feed::expecting(PICTURES_ONLY);
    assert!(!feed.is_ready_at(&audio_config("asc")));
    assert!(!feed.is_ready_at(&key(0)));
    assert!(feed.is_ready_at(&sound(20)));
    let mut feed = Feed::expecting(SOUND_ONLY);
    assert!(!feed.is_ready_at(&video_config("avcC")));
    assert!(!feed.is_ready_at(&sound(0)));
    assert!(feed.is_ready_at(&sound(1000)));
}

#[test]
fn a_track_flows_if_something_came_since_a_moment_before_the_newest_group() {
    let mut feed = Feed::new();
    for announced in [video_config("avcC"), audio_config("asc")] {
        feed.admits(&announced);
    }
    assert_eq!(feed.session.tracks(), Tracks::default());
    assert!(feed.group(&key(0)).is_some());
    assert_eq!(feed.session.tracks(), PICTURES_ONLY, "announced is not there");
    feed.admits(&sound(500));
    assert_eq!(feed.session.tracks(), BOTH);
    for (at, expected) in [(1500, BOTH), (1501, PICTURES_ONLY), (4000, PICTURES_ONLY)] {
        assert!(feed.group(&key(at)).is_some());
        assert_eq!(feed.session.tracks(), expected, "at {at}");
    }
    feed.admits(&sound(4100));
    assert_eq!(feed.session.tracks(), BOTH, "who comes now gets the sound");
}

#[test]
fn pictures_before_the_first_key_frame_are_dropped_and_the_rest_is_not() {
    let mut feed = Feed::new();
    assert!(feed.admits(&metadata("meta")) && feed.admits(&video_config("avcC")));
    assert!(!feed.admits(&delta(0)) && !feed.admits(&delta(40)));
    assert!(feed.admits(&sound(50)), "sound can always be decoded");
    assert!(feed.admits(&key(80)) && feed.admits(&delta(120)));
}

#[test]
fn key_frames_of_the_first_video_track_with_one_start_groups() {
    let other = Track::Video(1);
    let mut feed = Feed::new();
    assert!(!feed.admits(&picture(VIDEO, false, 0)), "shown, but not decodable yet");
    assert!(feed.group(&picture(other, true, 10)).is_some());
    assert!(feed.group(&picture(other, false, 50)).is_none());
    assert!(feed.group(&picture(VIDEO, true, 60)).is_none());
    assert!(feed.group(&sound(70)).is_none(), "sound starts no group beside pictures");
    assert!(feed.group(&picture(other, true, 90)).is_some());
}

#[test]
fn a_video_track_that_has_gone_hands_the_lead_over() {
    let other = Track::Video(1);
    let mut feed = Feed::new();
    assert!(feed.group(&key(0)).is_some());
    assert!(feed.group(&picture(other, true, 10_000)).is_none(), "not gone for long enough");
    assert!(feed.group(&picture(other, true, 10_001)).is_some());
    assert!(feed.group(&key(10_010)).is_none(), "too late to come back");
    assert!(feed.group(&picture(other, true, 10_040)).is_some());
}

#[test]
fn sound_alone_can_be_joined_every_second() {
    for mut feed in [Feed::new(), Feed::expecting(SOUND_ONLY)] {
        let groups = feed.sound_groups((0..=3000).step_by(100));
        assert_eq!(groups, [0, 1000, 2000, 3000]);
    }
}

#[test]
fn sound_waits_for_promised_pictures_as_long_as_readers_are_held_back() {
    let mut feed = Feed::expecting(BOTH);
    assert_eq!(feed.sound_groups((0..=2500).step_by(100)), [1000, 2000]);
}

#[test]
fn sound_starts_groups_when_pictures_are_gone_until_they_return() {
    let mut feed = Feed::new();
    assert!(feed.group(&key(0)).is_some());
    assert_eq!(feed.sound_groups((0..=12_000).step_by(500)), [10_500, 11_500]);
    assert!(feed.group(&key(12_100)).is_some());
    assert_eq!(feed.sound_groups((12_100..=14_000).step_by(500)), [0; 0]);
}

#[test]
fn announced_pictures_that_never_come_do_not_keep_readers_out_for_ever() {
    // A configuration alone is forgotten sooner than pictures before the first key frame.
    for (announcement, first) in [(video_config("avcC"), 1100), (delta(0), 10_000)] {
        let mut feed = Feed::new();
        feed.admits(&announcement);
        let groups = feed.sound_groups((100..=12_000).step_by(100));
        assert!(
            groups.first().is_some_and(|group| (first..=first + 200).contains(group)),
            "{groups:?} after {:?}",
            announcement.content
        );
    }
}

#[test]
fn a_group_knows_what_came_before_it_and_nothing_after() {
    let bodies = |init: &Init| -> Vec<String> {
        init.frames().map(|frame| String::from_utf8_lossy(&frame.body).into_owned()).collect()
    };
    let mut feed = Feed::new();
    for config in [audio_config("asc"), video_config("avcC"), metadata("meta")] {
        feed.admits(&config);
    }
    let first = feed.group(&key(0)).unwrap();
    feed.admits(&video_config("avcC"));
    let second = feed.group(&key(40)).unwrap();
    assert!(Arc::ptr_eq(&first, &second), "a repeated configuration is no change");
    feed.admits(&video_config("hvcC"));
    let third = feed.group(&key(80)).unwrap();
    assert_eq!(bodies(&first), ["meta", "avcC", "asc"]);
    assert_eq!(bodies(&third), ["meta", "hvcC", "asc"]);
}

#[test]
fn a_configuration_pays_for_the_copy_of_the_init_it_may_cause() {
    let mut feed = Feed::new();
    for id in 0..10 {
        feed.admits(&frame(
            Track::Video(id),
            Content::VideoConfig(weir_media::VideoCodec::Avc),
            0,
            "c",
        ));
    }
    assert!(feed.session.weight(&video_config("c")) > 10 * size_of::<Frame>());
    let entry = Log::<Frame, Arc<Init>>::ENTRY_BYTES + BODY_OVERHEAD;
    assert_eq!(feed.session.weight(&key(0)), entry + "key0".len());
}

#[test]
fn a_stray_begins_nothing_and_is_not_remembered() {
    let stray = |frame: Frame| Frame { stray: true, ..frame };
    let mut feed = Feed::new();
    assert!(!feed.is_ready_at(&stray(key(0))) && feed.session.seen == Tracks::default());
    feed.admits(&audio_config("asc"));
    assert!(feed.group(&key(10)).is_some());
    assert!(feed.group(&stray(key(20))).is_none(), "readers get it, and start elsewhere");
    feed.admits(&stray(audio_config("foreign")));
    feed.admits(&stray(sound(30)));
    assert_eq!(feed.session.tracks(), PICTURES_ONLY);
    let init = feed.group(&key(40)).expect("a group");
    assert_eq!(init.frames().map(|frame| &frame.body[..]).collect::<Vec<_>>(), [b"asc"]);
}

#[test]
fn the_configuration_of_a_codec_that_was_left_is_forgotten() {
    let mut feed = Feed::new();
    for frame in [video_config("avcC"), audio_config("asc"), key(0), sound(10)] {
        feed.admits(&frame);
    }
    let mp3 = Frame { content: Content::Audio(AudioCodec::Mp3), ..sound(20) };
    feed.admits(&mp3);
    let init = feed.group(&key(40)).expect("a group");
    assert_eq!(init.frames().map(|frame| &frame.body[..]).collect::<Vec<_>>(), [b"avcC"]);
}

#[test]
fn a_group_starts_with_the_first_part_of_a_picture() {
    let mut feed = Feed::new();
    assert!(feed.group(&key(0)).is_some());
    for part in [key(0), key(0), delta(40), delta(40)] {
        assert!(feed.group(&part).is_none(), "{part:?}");
    }
    assert!(feed.group(&key(80)).is_some());
}
