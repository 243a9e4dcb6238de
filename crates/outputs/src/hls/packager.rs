//! Makes one media playlist of a stream, and what it lists.

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use weir_clients::counts::COUNTS;
use weir_hls::{
    CmafEvent, CmafSegment, Config, Cut, Damage, Listing, Nonce, Playlist, Rates, Report, Variant,
    Window,
};
use weir_media::{Budget, Frame, Timestamp};

use super::{
    cutter::{Container, Cutter, Omitted, Plan},
    list::{Begin, Fmp4List, List, put_ts},
    share::Part,
};

/// Makes one media playlist.
pub struct Packager {
    window: Arc<Window>,
    part: Arc<Part>,
    /// None until the first segment.
    list: Option<List>,
    /// The number of the first segment of a list that is new.
    first: u64,
    making: Option<Making>,
    /// When the newest picture is decoded.
    picture: Option<Timestamp>,
    rates: Rates,
    /// What the newest init segment says of the playlist, for who chooses; none in MPEG-TS.
    variant: Option<Variant>,
    /// Names of what the list before this one had: that stays for a while.
    left: Option<Vec<String>>,
}

/// The cutting of one epoch of the stream's timeline.
struct Making {
    plan: Plan,
    cutter: Cutter,
    /// Frames that it has dropped and that are counted.
    dropped: u64,
    /// The next segment does not continue the one before.
    interrupted: bool,
    /// An init segment that no segment has yet.
    init: Option<Bytes>,
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
    pub fn new(window: &Arc<Window>, part: &Arc<Part>, first: u64) -> Self {
        Self {
            window: Arc::clone(window),
            part: Arc::clone(part),
            list: None,
            first,
            making: None,
            picture: None,
            rates: Rates::default(),
            variant: None,
            left: None,
        }
    }

    /// Goes on with a list of an earlier process.
    pub fn resume(&mut self, list: Playlist) {
        self.list = Some(List::Ts(Box::new(list)));
    }

    /// Begins on frames that do not continue those before them, which were completed.
    pub fn begin(&mut self, plan: &Plan, budget: &Budget) {
        self.making = Some(Making {
            plan: *plan,
            cutter: Cutter::new(plan, budget),
            dropped: 0,
            interrupted: self.list.is_some(),
            init: None,
            is_missed: false,
        });
    }

    /// Takes the next frame; `wall` is when it arrived, since the Unix epoch.
    pub fn take(&mut self, frame: &Frame, wall: Duration, config: &Config) -> Taken {
        let Some(making) = &mut self.making else { return Taken::default() };
        if frame.is_picture() {
            self.picture = Some(frame.dts);
        }
        let events = making.cutter.push(frame, wall);
        self.put(events, config)
    }

    /// Lists what is still held. What was dropped is returned if there is any.
    pub fn complete(&mut self, config: &Config) -> (Taken, Option<(u64, Damage)>) {
        let Some(making) = &mut self.making else { return (Taken::default(), None) };
        let dropped = making.count_dropped();
        let events = making.cutter.finish();
        let taken = self.put(events, config);
        self.making = None;
        (taken, dropped)
    }

    /// Aims at segments of another length.
    pub fn set_target(&mut self, target: Duration) {
        if let Some(making) = &mut self.making {
            making.cutter.set_target(target);
        }
    }

    /// Whether it has begun.
    pub fn is_making(&self) -> bool {
        self.making.is_some()
    }

    /// How long before `now` the newest picture was.
    pub fn pictureless(&self, now: Timestamp) -> Duration {
        self.picture.map_or(Duration::ZERO, |picture| now.saturating_since(picture))
    }

    /// When the segment in the making begins.
    pub fn open_since(&self) -> Option<Timestamp> {
        self.making.as_ref()?.cutter.open_since()
    }

    /// The number of the segment that comes next, or is in the making.
    pub fn next_sequence(&self) -> u64 {
        self.list.as_ref().map_or(self.first, List::next_sequence)
    }

    /// Which tracks cannot be carried, if that is known.
    pub fn omitted(&self) -> Option<Omitted> {
        self.making.as_ref()?.cutter.omitted()
    }

    /// How many segments are listed.
    pub fn listed(&self) -> usize {
        self.list.as_ref().map_or(0, List::len)
    }

    /// The list, if there is one.
    pub fn list(&mut self) -> Option<&mut List> {
        self.list.as_mut()
    }

    /// How far it is, for others that report of it.
    pub fn report(&self, uri: &str) -> Option<Report> {
        self.list.as_ref().filter(|list| list.len() > 0)?.report(uri)
    }

    /// What who chooses is told of it.
    pub fn variant(&self, uri: String) -> Variant {
        let known = self.variant.clone().unwrap_or_default();
        let measured = Variant::of(uri, [], &self.rates);
        let frame_rate = known.resolution.and_then(|_| self.rates.frame_rate());
        Variant { codecs: known.codecs, resolution: known.resolution, frame_rate, ..measured }
    }

    /// What players get now.
    pub fn listing(&mut self, omitted: &Omitted, reports: &[Report]) -> Option<Listing> {
        self.list.as_mut().map(|list| list.listing(omitted.note, reports))
    }

    /// The names of all objects that players may ask for.
    pub fn files(&self) -> Vec<String> {
        let files = self.list.as_ref().map_or_else(Vec::new, List::files);
        files.into_iter().chain(self.left.iter().flatten().cloned()).collect()
    }

    /// What there is no room for is not listed.
    pub fn forget(&mut self, lost: &[Arc<str>]) {
        let Some(list) = &mut self.list else { return };
        lost.iter().for_each(|file| list.forget_until(file));
        if let List::Fmp4(list) = list {
            list.restore(&self.window, lost);
        }
    }

    fn put(&mut self, events: Vec<CmafEvent>, config: &Config) -> Taken {
        let mut taken = Taken::default();
        for event in events {
            let put = match event {
                CmafEvent::Init(data) => {
                    self.making.iter_mut().for_each(|making| making.init = Some(data.clone()));
                    Ok(())
                }
                CmafEvent::Begin { discontinuity, program_date_time: date } => {
                    self.begin_segment(Begin { discontinuity, date }, config)
                }
                CmafEvent::Part { data, duration, independent } => {
                    taken.is_new |= self.put_part(data, duration, independent);
                    Ok(())
                }
                CmafEvent::Segment(segment) => self.put_segment(segment, config, &mut taken),
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
        let nonces = [Nonce::new(getrandom::u64()?), Nonce::new(getrandom::u64()?)];
        making.is_missed = false;
        let discontinuity = begin.discontinuity | mem::take(&mut making.interrupted);
        let part_target =
            making.plan.part.map(|asked| making.cutter.part_target().unwrap_or(asked));
        let terms = making.plan.terms(config.window, part_target);
        let init = making.init.take();
        let fits = matches!(&self.list, Some(List::Fmp4(list)) if list.has(&terms));
        if !fits {
            let list = Fmp4List::after(self.list.as_ref(), &config.name, terms, self.first);
            self.left = self.list.replace(List::Fmp4(Box::new(list))).map(|it| it.files());
        }
        let Some(List::Fmp4(list)) = &mut self.list else { return Ok(()) };
        if let Some(init) = init {
            list.put_init(&self.window, &init, nonces[0]);
            self.variant = making.cutter.variant();
        }
        list.begin(Begin { discontinuity, ..begin }, nonces[1]);
        Ok(())
    }

    fn put_part(&mut self, data: Bytes, duration: Duration, independent: bool) -> bool {
        let is_missed = self.making.as_ref().is_none_or(|making| making.is_missed);
        let Some(List::Fmp4(list)) = &mut self.list else { return false };
        if is_missed {
            return false;
        }
        list.put_part(&self.window, data, duration, independent);
        // Players are told of the first segment when it is complete.
        !list.is_empty()
    }

    fn put_segment(
        &mut self,
        segment: CmafSegment,
        config: &Config,
        taken: &mut Taken,
    ) -> Result<(), getrandom::Error> {
        let Some(making) = &mut self.making else { return Ok(()) };
        making.count_dropped();
        let bytes = segment.data.iter().map(Bytes::len).sum();
        match making.plan.container {
            Container::Ts => {
                let nonce = getrandom::u64().inspect_err(|_| making.cutter.skipped())?;
                let discontinuity = segment.discontinuity | mem::take(&mut making.interrupted);
                let CmafSegment { mut data, duration, program_date_time, .. } = segment;
                let data = data.pop().unwrap_or_default();
                if !matches!(self.list, Some(List::Ts(_))) {
                    let list = Playlist::starting_at(config, self.next_sequence());
                    self.left = self.list.replace(List::Ts(Box::new(list))).map(|it| it.files());
                }
                let Some(List::Ts(list)) = &mut self.list else { return Ok(()) };
                let cut = Cut { data, duration, discontinuity, program_date_time };
                put_ts(list, &self.window, &cut, Nonce::new(nonce));
                self.rates.push(bytes, duration, 0);
            }
            Container::Fmp4 => {
                let Some(List::Fmp4(list)) = &mut self.list else { return Ok(()) };
                if making.is_missed {
                    making.interrupted = true;
                    return Ok(());
                }
                let data = match &*segment.data {
                    [one] => one.clone(),
                    parts => self.part.counted(parts.concat()),
                };
                list.put_segment(&self.window, &data, segment.duration);
                self.rates.push(bytes, segment.duration, segment.pictures);
            }
        }
        COUNTS.hls_segments.increase();
        COUNTS.hls_bytes.add(bytes as u64);
        if self.list.as_ref().is_some_and(|list| list.len() >= config.window) {
            self.left = None;
        }
        (taken.is_new, taken.has_segment) = (true, true);
        Ok(())
    }
}

impl Making {
    /// Counts what was dropped since the last time; all of it, if there is any.
    fn count_dropped(&mut self) -> Option<(u64, Damage)> {
        let (frames, last) = self.cutter.dropped()?;
        COUNTS.hls_frames_dropped.add(frames.saturating_sub(self.dropped));
        self.dropped = frames;
        Some((frames, last))
    }
}
