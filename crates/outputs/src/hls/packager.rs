//! Makes one media playlist of a stream, and what it lists.

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use weir_clients::counts::COUNTS;
use weir_hls::{
    Begin, Config, Container, Dropped, Event, Form, Key, Lead, LeftOut, Lengths, Listing, Nonce,
    Playlist, Rates, Report, Segment, SegmentKey, Segmenter, Variant, Window, uri,
};
use weir_media::{Budget, Frame, Timestamp};

use super::plan::Plan;

/// Makes one media playlist.
pub struct Packager {
    window: Arc<Window>,
    /// None until the first segment.
    list: Option<Playlist>,
    /// The number of the first segment of a list that is new.
    first: u64,
    making: Option<Box<Making>>,
    /// The part that players are told to ask for next.
    hint: Option<String>,
    /// The init segments and keys that are needed, oldest first: they are small, and put in again where they had to
    /// make room.
    inits: Vec<(String, Bytes)>,
    /// What segments are encrypted with now, if they are. Boxed: with what is prepared for encrypting it is as large as
    /// the list.
    key: Option<Box<CurrentKey>>,
    /// When the newest picture is decoded.
    picture: Option<Timestamp>,
    rates: Rates,
    /// What the newest segment says of the playlist, for who chooses: how its tracks are coded, each once, and how
    /// large its pictures are.
    codecs: Box<[String]>,
    resolution: Option<(u16, u16)>,
    /// Whether it has made a segment.
    has_made: bool,
    /// Names of what the list before this one had: that stays for a while.
    left: Option<Vec<String>>,
}

/// A key that goes on until enough segments have it.
struct CurrentKey {
    key: SegmentKey,
    uri: String,
    segments: u32,
}

/// The segmenting of one epoch of the stream's timeline.
struct Making {
    plan: Plan,
    budget: Budget,
    /// What the segment in the making is encrypted with: the key, and the initialization vector.
    encryption: Option<(SegmentKey, u128)>,
    segmenter: Segmenter,
    /// Frames that it has dropped and that are counted.
    dropped: u64,
    /// The next segment does not continue the one before.
    interrupted: bool,
    /// An init segment that no segment has yet.
    new_init: Option<Bytes>,
    /// The file of the one that segments need.
    map: Option<String>,
    /// Of the segment in the making.
    nonce: Nonce,
    parts: Vec<String>,
    /// Whether the segment in the making has no name, and is left out.
    is_missed: bool,
}

/// What came of a frame.
#[derive(Debug, Default)]
pub struct Taken {
    /// The playlist has changed.
    pub is_new: bool,
    /// A segment is complete.
    pub has_segment: bool,
    /// A segment could not be made; why.
    pub missed: Option<String>,
}

impl Taken {
    /// Both.
    pub fn and(&mut self, other: Self) {
        self.is_new |= other.is_new;
        self.has_segment |= other.has_segment;
        self.missed = other.missed.or(self.missed.take());
    }
}

impl Packager {
    /// Nothing is made yet. The first segment has the number `first`.
    pub fn new(window: &Arc<Window>, first: u64) -> Self {
        Self {
            window: Arc::clone(window),
            list: None,
            first,
            making: None,
            hint: None,
            inits: Vec::new(),
            key: None,
            picture: None,
            rates: Rates::default(),
            codecs: Box::default(),
            resolution: None,
            has_made: false,
            left: None,
        }
    }

    /// Goes on with this list: of an earlier process, or one that is [`beside`](Self::beside) another.
    pub fn resume(&mut self, list: Playlist) {
        self.list = Some(list);
    }

    /// Begins on frames that do not continue those before them, which were completed.
    pub fn begin(&mut self, plan: &Plan, budget: &Budget, config: &Config) {
        let Plan { container, target, part, .. } = *plan;
        // As long as the list that goes on, or begins, has it.
        let mut new = Playlist::new(config);
        new.offer_parts(part);
        let mut segmenter =
            Segmenter::new(container, Lengths { target, longest: new.longest(), part });
        segmenter.limit_to(budget);
        self.making = Some(Box::new(Making {
            plan: *plan,
            budget: budget.clone(),
            encryption: None,
            segmenter,
            dropped: 0,
            interrupted: self.list.is_some(),
            new_init: None,
            map: None,
            nonce: Nonce::new(0),
            parts: Vec::new(),
            is_missed: false,
        }));
    }

    /// Takes the next frame; `wall` is when it arrived, since the Unix epoch.
    pub fn take(&mut self, frame: &Frame, wall: Duration, config: &Config) -> Taken {
        let Some(making) = &mut self.making else { return Taken::default() };
        if frame.is_picture() {
            self.picture = Some(frame.dts);
        }
        let events = making.segmenter.push(frame, wall);
        self.put(events, config)
    }

    /// Lists what is still held. What was dropped is returned if there is any.
    pub fn complete(&mut self, config: &Config) -> (Taken, Option<Dropped>) {
        let Some(making) = &mut self.making else { return (Taken::default(), None) };
        let dropped = making.count_dropped();
        let events = making.segmenter.finish();
        let mut taken = self.put(events, config);
        self.making = None;
        taken.is_new |= self.list.as_mut().is_some_and(Playlist::close);
        (taken, dropped)
    }

    /// The stream has ended, until there is a segment more.
    pub fn end(&mut self) {
        self.hint = None;
        self.list.iter_mut().for_each(Playlist::end);
    }

    /// Aims at segments of another length.
    pub fn set_target(&mut self, target: Duration) {
        if let Some(making) = &mut self.making {
            making.segmenter.set_target(target);
        }
    }

    /// A list for a packager of another track, which begins with the segment `first`; none before this one has one.
    pub fn beside(&self, first: u64, config: &Config) -> Option<Playlist> {
        let is_interrupted = self.making.as_ref().is_some_and(|making| making.interrupted);
        Some(self.list.as_ref()?.beside(config, first, is_interrupted))
    }

    /// Whether it has made a segment, and is not only what an earlier process left.
    pub fn has_made(&self) -> bool {
        self.has_made
    }

    /// Whether a list of an earlier process is as far as players are to see it: with parts, if it is to have some.
    pub fn goes_on(&self) -> bool {
        let has_parts = self.list.as_ref().is_some_and(|list| list.part_target().is_some());
        let begins = |making: &Making| making.plan.part.is_none() || has_parts;
        self.has_made || self.making.as_deref().is_some_and(begins)
    }

    /// Whether it has begun.
    pub fn is_making(&self) -> bool {
        self.making.is_some()
    }

    /// How long before `now` the newest picture was.
    pub fn pictureless(&self, now: Timestamp) -> Duration {
        self.picture.map_or(Duration::ZERO, |picture| now.saturating_since(picture))
    }

    /// Where it is, for others that are to be cut where it is.
    pub fn lead(&self) -> Option<Lead> {
        self.making.as_ref()?.segmenter.lead()
    }

    /// Is cut where another one is, which is there now.
    pub fn follow(&mut self, lead: Option<Lead>) {
        if let Some(making) = &mut self.making {
            making.segmenter.follow(lead);
        }
    }

    /// The number of the segment that comes next, or is in the making.
    pub fn next_sequence(&self) -> u64 {
        self.list.as_ref().map_or(self.first, Playlist::next_sequence)
    }

    /// Which tracks cannot be carried, if that is known.
    pub fn left_out(&self) -> Option<LeftOut> {
        self.making.as_ref()?.segmenter.left_out()
    }

    /// How many segments are listed.
    pub fn listed(&self) -> usize {
        self.list.as_ref().map_or(0, Playlist::len)
    }

    /// Lists as many segments as are asked for now.
    pub fn reconfigure(&mut self, config: &Config) {
        self.list.iter_mut().for_each(|list| list.reconfigure(config));
    }

    /// How far it is, for others that report of it.
    pub fn report(&self, uri: &str) -> Option<Report> {
        let has_parts = |list: &&Playlist| !list.is_empty() && list.part_target().is_some();
        self.list.as_ref().filter(has_parts).map(|list| list.report(uri))
    }

    /// What who chooses is told of it.
    pub fn variant(&self, uri: String) -> Variant {
        let measured = Variant::of(uri, [], &self.rates);
        let frame_rate = self.resolution.and_then(|_| self.rates.frame_rate());
        let codecs = self.codecs.iter().cloned().collect();
        Variant { codecs, resolution: self.resolution, frame_rate, ..measured }
    }

    /// What players get now; `left_out` is what they go without.
    pub fn listing(&mut self, left_out: LeftOut, reports: &[Report]) -> Option<Listing> {
        let list = self.list.as_mut()?;
        list.note(left_out);
        Some(list.listing(reports))
    }

    /// The names of all objects that players may ask for.
    pub fn files(&self) -> Vec<String> {
        let list = self.list.iter();
        let files = list
            .flat_map(|list| list.files().into_iter().chain(list.part_files().map(str::to_owned)));
        let making = self.making.iter().flat_map(|making| &making.map);
        files.chain(making.cloned()).chain(self.left.iter().flatten().cloned()).collect()
    }

    /// What there is no room for is not listed.
    pub fn forget(&mut self, lost: &[Arc<str>]) {
        let Some(list) = &mut self.list else { return };
        lost.iter().for_each(|file| list.forget_until(file));
        for (file, data) in &self.inits {
            if lost.iter().any(|lost| **lost == **file) {
                self.window.put(file, data.clone());
            }
        }
    }

    fn put(&mut self, events: Vec<Event>, config: &Config) -> Taken {
        let mut taken = Taken::default();
        for event in events {
            let put = match event {
                Event::Init(data) => {
                    self.making.iter_mut().for_each(|it| it.new_init = Some(data.clone()));
                    Ok(())
                }
                Event::Begin { discontinuity, program_date_time } => {
                    let begin = Begin { discontinuity, ..Begin::at(program_date_time) };
                    self.begin_segment(begin, config)
                }
                Event::Part { data, duration, independent } => {
                    taken.is_new |= self.put_part(data, duration, independent);
                    Ok(())
                }
                Event::Segment(segment) => {
                    self.put_segment(&segment, config, &mut taken);
                    Ok(())
                }
            };
            if let Err(error) = put {
                taken.missed = Some(error.to_string());
            }
        }
        taken
    }

    fn begin_segment(&mut self, begin: Begin, config: &Config) -> Result<(), getrandom::Error> {
        let Some(making) = &mut self.making else { return Ok(()) };
        making.is_missed = true;
        let (nonce, of_init) = (Nonce::new(getrandom::u64()?), Nonce::new(getrandom::u64()?));
        (making.nonce, making.is_missed) = (nonce, false);
        making.parts.clear();
        let discontinuity = begin.discontinuity | mem::take(&mut making.interrupted);
        let Plan { container, part, .. } = making.plan;
        let part = part.map(|asked| making.segmenter.part_target().unwrap_or(asked));
        let is_other = |list: &Playlist| {
            list.container().is_some_and(|it| it != container) || !list.fits(config, part)
        };
        if self.list.as_ref().is_none_or(is_other) {
            let new = match &self.list {
                Some(list) => list.after(config, list.next_sequence()),
                None => Playlist::starting_at(config, self.first),
            };
            let before = self.list.replace(new);
            let all = |list: Playlist| {
                list.files().into_iter().chain(list.part_files().map(str::to_owned)).collect()
            };
            (self.left, self.hint) = (before.map(all), None);
        }
        let Some(list) = &mut self.list else { return Ok(()) };
        list.offer_parts(part);
        making.segmenter.set_longest(list.longest());
        if let Some(init) = making.new_init.take() {
            let file = list.file(of_init, Form::Init);
            self.window.put(&file, init.clone());
            making.map = Some(file.clone());
            self.inits.push((file, init));
        }
        let key = match making.plan.segments_per_key {
            Some(most) => {
                let iv = u128::from(list.next_sequence());
                let mut current = match self.key.take().filter(|key| key.segments < most) {
                    Some(current) => current,
                    None => {
                        let (current, file) = CurrentKey::new(list, config)?;
                        self.window.put(&file, current.key.bytes());
                        self.inits.push((file, current.key.bytes()));
                        Box::new(current)
                    }
                };
                making.encryption = Some((current.key.clone(), iv));
                let key = Key { uri: current.uri.clone(), iv };
                current.segments += 1;
                self.key = Some(current);
                Some(key)
            }
            None => {
                (making.encryption, self.key) = (None, None);
                None
            }
        };
        list.begin(Begin { discontinuity, map: making.map.clone(), key, ..begin });
        let said = Variant::of("", &making.segmenter.entries(), &Rates::default());
        (self.codecs, self.resolution) = (said.codecs.into_iter().collect(), said.resolution);
        Ok(())
    }

    fn put_part(&mut self, data: Bytes, duration: Duration, independent: bool) -> bool {
        let (Some(making), Some(list)) = (&mut self.making, &mut self.list) else { return false };
        if making.is_missed {
            return false;
        }
        let next =
            |making: &Making| Form::Part(u16::try_from(making.parts.len()).unwrap_or(u16::MAX));
        let hinted = self.hint.take();
        let file = hinted.unwrap_or_else(|| list.file(making.nonce, next(making)));
        self.window.put_part(&file, data);
        list.push_part(weir_hls::Part { file: file.clone(), duration, independent });
        making.parts.push(file);
        let hint = list.file(making.nonce, next(making));
        list.hint(Some(&hint));
        self.hint = Some(hint);
        // Players are told of the first segment when it is complete.
        !list.is_empty()
    }

    fn put_segment(&mut self, segment: &Segment, config: &Config, taken: &mut Taken) {
        let (Some(making), Some(list)) = (&mut self.making, &mut self.list) else { return };
        making.count_dropped();
        if making.is_missed {
            making.interrupted = true;
            return;
        }
        let form = match making.plan.container {
            Container::Ts => Form::Ts,
            Container::Mp4 => Form::Mp4,
        };
        let Segment { data, duration, pictures, .. } = segment;
        let data = match &making.encryption {
            Some((key, iv)) => &key.encrypt(*iv, data, &making.budget),
            None => data,
        };
        let file = list.file(making.nonce, form);
        let parts = mem::take(&mut making.parts);
        self.window.put_whole(&file, data, parts.iter().map(String::as_str));
        list.push(&file, *duration);
        self.rates.push(data.len(), *duration, *pictures);
        COUNTS.hls_segments.increase();
        COUNTS.hls_bytes.add(data.len() as u64);
        if list.len() >= config.window {
            self.left = None;
        }
        if self.inits.len() > 1 {
            let files = list.files();
            let map = making.map.as_ref();
            self.inits.retain(|(file, _)| files.contains(file) || map == Some(file));
        }
        (self.has_made, taken.is_new, taken.has_segment) = (true, true, true);
    }
}

impl CurrentKey {
    /// A new one, and its file beside the segments.
    fn new(list: &Playlist, config: &Config) -> Result<(Self, String), getrandom::Error> {
        let (high, low) = (getrandom::u64()?, getrandom::u64()?);
        let key = SegmentKey::new(u128::from(high) << 64 | u128::from(low));
        let file = list.file(Nonce::new(getrandom::u64()?), Form::Key);
        let uri = format!("{}{}", config.key_base, uri(&file));
        Ok((Self { key, uri, segments: 0 }, file))
    }
}

impl Making {
    /// Counts what was dropped since the last time; all of it, if there is any.
    fn count_dropped(&mut self) -> Option<Dropped> {
        let dropped = self.segmenter.dropped()?;
        COUNTS.hls_frames_dropped.add(dropped.frames.saturating_sub(self.dropped));
        self.dropped = dropped.frames;
        Some(dropped)
    }
}
