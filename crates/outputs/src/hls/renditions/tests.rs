use weir_hls::{Container, Held, Listing};
use weir_media::{AudioCodec, DEFAULT_VHOST, Timestamp, VideoCodec};
use weir_testkit::{
    fixture::Fixture,
    hls_rules::HlsRules,
    packets::{frame_of, tags_of},
};

use super::*;
use crate::hls::{files::LeftPlaylists, left, share::Share};

const AVCC: [u8; 16] = [1, 0x64, 0, 31, 0xFF, 0xE1, 0, 4, 0x67, 0x64, 0, 31, 1, 0, 1, 0x68];
const LOW_AVCC: [u8; 16] = [1, 0x42, 0, 31, 0xFF, 0xE1, 0, 4, 0x67, 0x42, 0, 31, 1, 0, 1, 0x68];
const ASC: [u8; 2] = [0x11, 0x90];
const WALL: Duration = Duration::from_secs(1_700_000_000);
const FIRST: u64 = 100;

const TS: Plan = Plan {
    container: Container::Ts,
    target: Duration::from_secs(2),
    part: None,
    segments_per_key: None,
};
const FMP4: Plan = Plan { container: Container::Mp4, ..TS };
const LOW_LATENCY: Plan = Plan { part: Some(Duration::from_millis(200)), ..FMP4 };

/// A stream, and what players see of it after each frame.
struct Stream {
    renditions: Renditions,
    window: Arc<Window>,
    rules: BTreeMap<Rendition, (HlsRules, u64)>,
    budget: Budget,
}

impl Stream {
    fn new(plan: Plan) -> Self {
        let (budget, window) = (Budget::new(1 << 30), Arc::<Window>::default());
        let key = StreamKey::new(DEFAULT_VHOST, "live", "a").expect("a good key");
        let part = Share::new(&budget).part();
        let config = Config { window: 3, ..Config::new("a") };
        let mut renditions = Renditions::new(&key, (&window, part), &budget, config.clone(), plan);
        renditions.open(Left::nothing(config, 0), FIRST);
        Self { renditions, window, rules: BTreeMap::new(), budget }
    }

    /// What the next process makes of its files; players go on with it.
    fn restarted(mut self, plan: Plan) -> Self {
        let config = Config { window: 3, ..Config::new("a") };
        let text = |rendition: &Rendition| {
            let listing = self.listing(*rendition);
            let text = listing.plain.as_ref().unwrap_or(&listing.text).to_vec();
            String::from_utf8(text).expect("text")
        };
        let others = self.window.renditions().into_iter().filter(|it| *it != Rendition::MAIN);
        let multivariant = self.window.multivariant();
        let left = LeftPlaylists {
            main: text(&Rendition::MAIN),
            others: others.map(|it| (it, text(&it))).collect(),
            multivariant: multivariant.map(|it| String::from_utf8(it.to_vec()).expect("text")),
        };
        let (mut playlists, told) = left::resume(&config, left).expect("they can be continued");
        let gaps = left::align(&mut playlists, &config);
        let next = Self::new(plan);
        let data = |file: &str| match self.window.get(file) {
            Some(Held::Here(data)) => data,
            other => panic!("{file}: {other:?}"),
        };
        for file in playlists.values().flat_map(Playlist::listed) {
            let nothing = gaps.get(&file).map(|form| Bytes::from_static(form.nothing()));
            next.window.put(&file, nothing.unwrap_or_else(|| data(&file)));
        }
        let mut renditions = next.renditions;
        renditions.all.clear();
        renditions.open(Left { config, playlists, told, least: 0 }, 0);
        self.rules.values_mut().for_each(|(_, version)| *version = 0);
        Self { renditions, rules: self.rules, ..next }
    }

    fn begin(&mut self, plan: Plan, configs: &[Frame]) {
        let mut init = Init::default();
        for frame in configs {
            init.update(frame);
        }
        self.renditions.complete();
        self.renditions.begin(plan, &init, WALL);
    }

    fn take(&mut self, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            let after = Duration::from_millis(frame.dts.as_millis().unsigned_abs());
            self.renditions.take(&frame, WALL + after);
            self.look();
        }
    }

    fn end(&mut self) {
        self.renditions.complete();
        self.renditions.end();
        self.look();
    }

    /// What comes is another playlist.
    fn forget(&mut self) {
        self.rules.values_mut().for_each(|(rules, _)| *rules = HlsRules::default());
    }

    fn listing(&self, rendition: Rendition) -> Arc<Listing> {
        self.window.playlist(rendition).unwrap_or_else(|| panic!("no playlist {rendition}"))
    }

    fn text(&self, rendition: Rendition) -> String {
        String::from_utf8(self.listing(rendition).text.to_vec()).expect("text")
    }

    /// The numbers of the first and the next segment.
    fn numbers(&self, rendition: Rendition) -> (u64, u64) {
        let text = self.text(rendition);
        let list = weir_hls::MediaPlaylist::parse(&text).expect("a playlist");
        (list.media_sequence, list.progress.sequence)
    }

    fn is_here(&self, file: &str) -> bool {
        matches!(self.window.get(file), Some(Held::Here(_)))
    }

    /// Holds what is new against the rules; all that is listed is there, and what is hinted at is not.
    #[track_caller]
    fn look(&mut self) {
        for rendition in self.window.renditions() {
            let listing = self.listing(rendition);
            let (rules, version) = self.rules.entry(rendition).or_default();
            if *version == listing.version {
                continue;
            }
            *version = listing.version;
            let text = std::str::from_utf8(&listing.text).expect("text");
            rules.check(text).unwrap_or_else(|broken| panic!("{rendition}: {broken}\n{text}"));
            let list = weir_hls::MediaPlaylist::parse(text).expect("a playlist");
            for entry in &list.entries {
                assert!(self.is_here(entry.uri), "{} is not there\n{text}", entry.uri);
            }
            for file in &*listing.files {
                assert!(self.is_here(file) && text.contains(&**file), "{file}\n{text}");
            }
            assert_eq!(listing.hint.as_deref(), list.hint);
            assert!(!list.hint.is_some_and(|hint| self.is_here(hint)), "{text}");
            assert_eq!(listing.is_ended, text.ends_with("#EXT-X-ENDLIST\n"));
            let Some(progress) = listing.progress else {
                assert!(listing.update.is_none() && listing.plain.is_none());
                continue;
            };
            assert_eq!(
                weir_hls::Progress { is_ended: listing.is_ended, ..list.progress },
                progress
            );
            let plain = listing.plain.as_deref().expect("a playlist for files");
            let plain = std::str::from_utf8(plain).expect("text");
            assert!(!plain.contains("PART") && !plain.contains("SERVER-CONTROL"), "{plain}");
            HlsRules::default().check(plain).unwrap_or_else(|broken| panic!("{broken}\n{plain}"));
        }
    }
}

fn frame(track: Track, dts: i64, content: Content, payload: &[u8]) -> Frame {
    let payload = Bytes::copy_from_slice(payload);
    let (dts, body) = (Timestamp::from_millis(dts), payload.clone());
    Frame { track, dts, epoch: 0, content, stray: false, body, payload }
}

fn video(number: u8, dts: i64, key: bool) -> Frame {
    let content = Content::Video { codec: VideoCodec::Avc, key, composition: 0 };
    frame(Track::Video(number), dts, content, &[0, 0, 0, 2, if key { 0x65 } else { 0x41 }, 0x80])
}

fn audio(number: u8, dts: i64) -> Frame {
    frame(Track::Audio(number), dts, Content::Audio(AudioCodec::Aac), &[0x21, 0x10, 4])
}

fn avcc(number: u8, record: &[u8]) -> Frame {
    frame(Track::Video(number), 0, Content::VideoConfig(VideoCodec::Avc), record)
}

fn asc(number: u8) -> Frame {
    frame(Track::Audio(number), 0, Content::AudioConfig(AudioCodec::Aac), &ASC)
}

fn configs() -> [Frame; 4] {
    [avcc(0, &AVCC), avcc(1, &LOW_AVCC), asc(0), asc(1)]
}

/// Pictures each 40 ms with a key frame each second, and sound, from `from` to `to`, of these tracks.
fn media(from: i64, to: i64, pictures: &[u8], sounds: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for dts in (from..to).step_by(20) {
        if dts % 40 == 0 {
            frames.extend(pictures.iter().map(|track| video(*track, dts, dts % 1000 == 0)));
        }
        frames.extend(sounds.iter().map(|track| audio(*track, dts + 1)));
    }
    frames
}

#[test]
fn what_is_listed_is_there_and_keeps_the_rules() {
    for fixture in Fixture::ALL {
        for plan in [FMP4, LOW_LATENCY] {
            let mut stream = Stream::new(plan);
            stream.begin(plan, &[]);
            stream.take(tags_of(&fixture.file()).iter().map(frame_of));
            stream.end();
            let text = stream.text(Rendition::MAIN);
            assert!(stream.window.multivariant().is_none(), "{fixture:?}");
            assert_eq!(
                stream.numbers(Rendition::MAIN),
                (FIRST + 1, FIRST + 4),
                "{fixture:?}\n{text}"
            );
            assert_eq!(text.matches("#EXT-X-MAP").count(), 1, "{fixture:?}\n{text}");
            assert_eq!(text.matches("#EXT-X-PART:").count() > 8, plan.part.is_some(), "{text}");
            assert!(!text.contains("DISCONTINUITY\n"), "{fixture:?}\n{text}");
        }
    }
}

#[test]
fn what_has_left_the_list_stays_a_while_and_nothing_stays_for_ever() {
    let mut stream = Stream::new(LOW_LATENCY);
    stream.begin(LOW_LATENCY, &configs()[..1]);
    stream.take(media(0, 8001, &[0], &[]));
    let first = Arc::clone(&stream.listing(Rendition::MAIN).files[1]);
    stream.take(media(8040, 12_001, &[0], &[]));
    assert!(!stream.listing(Rendition::MAIN).files.contains(&first));
    assert!(stream.is_here(&first), "somebody may be loading it");
    stream.take(media(12_040, 60_001, &[0], &[]));
    assert!(!stream.is_here(&first));
    let (files, bytes) = (stream.window.files().len(), stream.window.bytes());
    stream.take(media(60_040, 120_001, &[0], &[]));
    assert_eq!((stream.window.files().len(), stream.window.bytes()), (files, bytes));
}

#[test]
fn all_tracks_are_cut_alike_and_can_be_chosen_from() {
    for plan in [FMP4, LOW_LATENCY] {
        let mut stream = Stream::new(plan);
        stream.begin(plan, &configs());
        stream.take(media(0, 2001, &[0, 1], &[0, 1]));
        assert_eq!(stream.window.renditions().len(), 3, "all begin at once");
        stream.take(media(2040, 11_001, &[0, 1], &[0, 1]));
        let numbers = stream.numbers(Rendition::MAIN);
        for rendition in [Rendition::Video(1), Rendition::Audio(1)] {
            assert_eq!(stream.numbers(rendition), numbers, "{rendition}");
            let text = stream.text(rendition);
            let lengths = |text: &str| {
                let lines = text.lines().filter(|line| line.starts_with("#EXTINF"));
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            if rendition == Rendition::Video(1) {
                assert_eq!(lengths(&text), lengths(&stream.text(Rendition::MAIN)));
            }
            let reports = text.matches("#EXT-X-RENDITION-REPORT:URI=\"a~").count();
            assert_eq!(reports, if plan.part.is_some() { 2 } else { 0 }, "{text}");
        }
        let text = stream.window.multivariant().expect("a multivariant playlist");
        let text = std::str::from_utf8(&text).expect("text");
        let lines: Vec<_> = text.lines().filter(|line| !line.contains("BANDWIDTH")).collect();
        assert_eq!(
            lines,
            [
                "#EXTM3U",
                "#EXT-X-VERSION:6",
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio 1\",DEFAULT=YES,AUTOSELECT=YES",
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio 2\",DEFAULT=NO,AUTOSELECT=YES,\
                 URI=\"a~a1.m3u8\"",
                "a~v0.m3u8",
                "a~v1.m3u8",
            ]
        );
        for codecs in ["CODECS=\"avc1.64001f,mp4a.40.2\"", "CODECS=\"avc1.42001f,mp4a.40.2\""] {
            assert!(text.contains(codecs), "{text}");
        }
        assert_eq!(text.matches("FRAME-RATE=25.000").count(), 0, "no size, no rate\n{text}");
        stream.end();
        for rendition in stream.window.renditions() {
            assert!(stream.listing(rendition).is_ended, "{rendition}");
        }
    }
}

#[test]
fn a_track_that_comes_later_has_a_playlist_and_does_not_change_what_was_chosen() {
    let mut stream = Stream::new(LOW_LATENCY);
    stream.begin(LOW_LATENCY, &configs()[..1]);
    stream.take(media(0, 4500, &[0], &[]));
    stream.take([avcc(1, &LOW_AVCC)]);
    stream.take(media(4520, 10_001, &[0, 1], &[]));
    assert_eq!(stream.window.renditions(), [Rendition::MAIN, Rendition::Video(1)]);
    assert_eq!(stream.numbers(Rendition::Video(1)), (FIRST + 3, FIRST + 5));
    assert_eq!(stream.numbers(Rendition::MAIN).1, FIRST + 5);
    assert!(stream.window.multivariant().is_none(), "players load a.m3u8 as what it was");
}

#[test]
fn a_track_that_goes_takes_its_playlist_with_it_and_may_come_back() {
    let mut stream = Stream::new(FMP4);
    stream.begin(FMP4, &configs());
    stream.take(media(0, 4500, &[0, 1], &[0]));
    assert!(stream.window.playlist(Rendition::Video(1)).is_some());
    stream.take(media(4520, 12_001, &[0], &[0]));
    assert!(stream.window.playlist(Rendition::Video(1)).is_none());
    let chosen = stream.window.multivariant().expect("it stays what it is");
    assert!(!String::from_utf8_lossy(&chosen).contains("a~v1"));
    stream.rules.remove(&Rendition::Video(1));
    stream.take(media(12_040, 19_001, &[0, 1], &[0]));
    assert_eq!(stream.numbers(Rendition::Video(1)).1, stream.numbers(Rendition::MAIN).1);
    let chosen = stream.window.multivariant().expect("a multivariant playlist");
    assert!(String::from_utf8_lossy(&chosen).contains("a~v1"));
}

#[test]
fn the_next_publish_goes_on_with_the_list() {
    let mut stream = Stream::new(LOW_LATENCY);
    stream.begin(LOW_LATENCY, &configs()[..1]);
    stream.take(media(0, 5000, &[0], &[]));
    let anew: Vec<_> =
        media(0, 5000, &[0], &[]).into_iter().map(|frame| Frame { epoch: 1, ..frame }).collect();
    stream.begin(LOW_LATENCY, &configs()[..1]);
    stream.take(anew);
    let text = stream.text(Rendition::MAIN);
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
    stream.end();
    assert!(stream.listing(Rendition::MAIN).is_ended);
    stream.forget();
    stream.begin(LOW_LATENCY, &configs()[..1]);
    stream.take(media(0, 3000, &[0], &[]).into_iter().map(|frame| Frame { epoch: 2, ..frame }));
    assert!(!stream.listing(Rendition::MAIN).is_ended);
    assert_eq!(stream.numbers(Rendition::MAIN).1, FIRST + 7);
}

#[test]
fn another_container_goes_on_with_the_numbers() {
    let mut stream = Stream::new(TS);
    stream.begin(TS, &configs()[..1]);
    stream.take(media(0, 6001, &[0], &[]));
    let before = stream.listing(Rendition::MAIN);
    stream.begin(FMP4, &configs()[..1]);
    // To players, it is another playlist.
    stream.look();
    stream.forget();
    stream.take(media(7000, 10_001, &[0], &[]));
    let text = stream.text(Rendition::MAIN);
    let next = FIRST + 4;
    assert_eq!(stream.numbers(Rendition::MAIN), (next, next + 1), "{text}");
    assert!(text.contains("#EXT-X-DISCONTINUITY\n") && text.contains("#EXT-X-MAP"), "{text}");
    let last = before.files.last().expect("a segment");
    assert!(stream.is_here(last), "who has the list before may load it");
}

#[test]
fn all_of_it_counts_as_the_windows() {
    use weir_media::Use;
    let mut stream = Stream::new(LOW_LATENCY);
    stream.begin(LOW_LATENCY, &[]);
    let frames = tags_of(&Fixture::AvcAac.file());
    stream.take(frames.iter().map(frame_of));
    stream.end();
    let (held, counted) = (stream.window.bytes(), stream.budget.used_for(Use::HlsWindow));
    assert!(held > 100_000 && counted >= held - 4096, "{counted} of {held}");
    stream.renditions.close();
    assert_eq!(stream.budget.used_for(Use::HlsWindow), 0);
    assert_eq!(stream.budget.used_for(Use::Segments), 0);
}

#[test]
fn sizes_that_are_delayed_differently_are_cut_at_the_same_key_frames() {
    for (from, ahead) in [(1000, 80), (1000, -80)] {
        let mut stream = Stream::new(FMP4);
        stream.begin(FMP4, &configs()[..2]);
        let shifted = |frame: Frame| {
            let millis =
                frame.dts.as_millis() - if frame.track == Track::Video(1) { ahead } else { 0 };
            Frame { dts: Timestamp::from_millis(millis), ..frame }
        };
        let frames = media(from, 14_500, &[0, 1], &[]).into_iter().map(shifted);
        let mut frames: Vec<_> = frames.collect();
        frames.sort_by_key(|frame| frame.dts);
        stream.take(frames);
        assert!(stream.window.multivariant().is_some(), "{ahead}");
        let numbers = stream.numbers(Rendition::MAIN);
        assert_eq!(stream.numbers(Rendition::Video(1)), numbers, "{ahead}");
        let lengths = |rendition| {
            let text = stream.text(rendition);
            let lines = text.lines().filter(|line| line.starts_with("#EXTINF"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lengths(Rendition::Video(1)), lengths(Rendition::MAIN), "{ahead}");
    }
}

/// The discontinuity sequence number of each segment that is listed.
fn discontinuities(text: &str) -> BTreeMap<u64, u64> {
    let list = weir_testkit::hls::Playlist::parse(text);
    let mut breaks = list.discontinuity_sequence;
    let segments = list.segments.iter().zip(list.media_sequence..);
    let number = |(segment, number): (&weir_testkit::hls::Segment, u64)| {
        breaks += u64::from(segment.discontinuity);
        (number, breaks)
    };
    segments.map(number).collect()
}

#[test]
fn all_playlists_go_on_after_a_process_that_died() {
    for plan in [LOW_LATENCY, FMP4] {
        let mut stream = Stream::new(plan);
        stream.begin(plan, &configs());
        stream.take(media(0, 8500, &[0, 1], &[0, 1]));
        let told = stream.window.multivariant().expect("there is something to choose from");
        let before = stream.numbers(Rendition::MAIN).1;
        let mut stream = stream.restarted(plan);
        assert_eq!(stream.window.multivariant(), Some(told), "what players know stays");
        stream.begin(plan, &configs());
        stream.take(media(0, 5500, &[0, 1], &[0, 1]));
        // Of the one that was in the making players have parts.
        let lost = u64::from(plan.part.is_some());
        let numbers = stream.numbers(Rendition::MAIN);
        assert_eq!(numbers.1, before + lost + 2, "{plan:?}");
        let first = discontinuities(&stream.text(Rendition::MAIN));
        for rendition in stream.window.renditions() {
            let text = stream.text(rendition);
            assert_eq!(stream.numbers(rendition), numbers, "{rendition}\n{text}");
            assert_eq!(discontinuities(&text), first, "{rendition}\n{text}");
            assert_eq!(text.matches("#EXT-X-GAP\n").count() as u64, lost, "{text}");
        }
        let chosen = stream.window.multivariant().expect("a multivariant playlist");
        let chosen = String::from_utf8_lossy(&chosen).into_owned();
        assert_eq!(chosen.matches("CODECS=\"avc1.").count(), 2, "{chosen}");
        assert!(!chosen.contains("BANDWIDTH=1,"), "{chosen}");
    }
}

#[test]
fn a_playlist_that_was_written_before_the_others_is_filled_up() {
    let mut stream = Stream::new(FMP4);
    stream.begin(FMP4, &configs());
    stream.take(media(0, 8001, &[0, 1], &[0]));
    let earlier = stream.listing(Rendition::Video(1));
    stream.take(media(8040, 10_500, &[0, 1], &[0]));
    stream.window.list(Rendition::Video(1), (*earlier).clone());
    stream.rules.remove(&Rendition::Video(1));
    let mut stream = stream.restarted(FMP4);
    stream.begin(FMP4, &configs());
    stream.take(media(0, 4500, &[0, 1], &[0]));
    let [main, other] = [Rendition::MAIN, Rendition::Video(1)].map(|it| stream.text(it));
    assert!(other.contains("#EXT-X-GAP\n") && !main.contains("#EXT-X-GAP\n"), "{main}{other}");
    assert_eq!(discontinuities(&main), discontinuities(&other), "{main}{other}");
}

#[test]
fn a_track_that_does_not_come_back_after_a_restart_is_not_offered_for_long() {
    let mut stream = Stream::new(LOW_LATENCY);
    stream.begin(LOW_LATENCY, &configs());
    stream.take(media(0, 8500, &[0, 1], &[0, 1]));
    let mut stream = stream.restarted(LOW_LATENCY);
    stream.rules.retain(|rendition, _| *rendition == Rendition::MAIN);
    stream.begin(LOW_LATENCY, &configs()[..1]);
    for frame in media(0, 11_001, &[0], &[]) {
        stream.renditions.take(&frame, WALL);
    }
    assert_eq!(stream.window.renditions(), [Rendition::MAIN]);
    let chosen = stream.window.multivariant().expect("it stays what it is");
    let chosen = String::from_utf8_lossy(&chosen).into_owned();
    assert!(!chosen.contains("~v1") && !chosen.contains("~a1"), "{chosen}");
}

#[test]
fn a_track_that_comes_later_has_the_discontinuity_sequence_of_the_first() {
    let mut stream = Stream::new(FMP4);
    for epoch in 0..3 {
        stream.begin(FMP4, &configs()[..1]);
        let frames = media(0, 4500, &[0], &[]).into_iter();
        stream.take(frames.map(|frame| Frame { epoch, ..frame }));
    }
    stream.take([avcc(1, &LOW_AVCC)]);
    stream.take(media(4520, 9500, &[0, 1], &[]).into_iter().map(|it| Frame { epoch: 2, ..it }));
    let first = discontinuities(&stream.text(Rendition::MAIN));
    let text = stream.text(Rendition::Video(1));
    let other = discontinuities(&text);
    assert!(!other.is_empty() && other.iter().all(|(at, it)| first.get(at) == Some(it)), "{text}");
}

#[test]
fn sounds_are_called_as_the_publisher_calls_them() {
    use weir_flv::amf0::{Object, Value, encode};
    let track = |properties: &[(&str, &str)]| {
        let mut track = Object::default();
        properties.iter().for_each(|(name, value)| track.insert(*name, *value));
        Value::from(track)
    };
    let map = Object::from([
        ("0", track(&[("language", "en")])),
        ("1", track(&[("name", "Audio 1"), ("language", "es")])),
    ]);
    let mut body = bytes::BytesMut::new();
    encode(&"onMetaData".into(), &mut body);
    encode(&Object::from([("audioTrackIdInfoMap", Value::from(map))]).into(), &mut body);
    let mut stream = Stream::new(FMP4);
    let metadata = frame(Track::Data, 0, Content::Metadata, &body);
    stream.begin(FMP4, &[&[metadata][..], &configs()[..]].concat());
    stream.take(media(0, 4500, &[0, 1], &[0, 1]));
    let text = stream.window.multivariant().expect("a multivariant playlist");
    let text = std::str::from_utf8(&text).expect("text");
    for said in ["NAME=\"Audio 1\",LANGUAGE=\"en\"", "NAME=\"Audio 1 (2)\",LANGUAGE=\"es\""] {
        assert!(text.contains(said), "{text}");
    }
}
