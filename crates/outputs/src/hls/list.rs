//! A media playlist with the names of what it lists, and what it has listed a while ago.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use weir_hls::{
    Config, Cut, Form, LeftOut, Listing, LivePlaylist, Nonce, Playlist, Report, SegmentName, Terms,
    Window, update, uri,
};

/// Parts stay for so many target durations behind the end: for those that were listed longest, as long again.
const PARTS_KEPT: u64 = 6;

/// Segments that wait for their removal, as a multiple of the window; more wait only when a publisher makes many tiny
/// ones.
const RETIRED_RATIO_MAX: usize = 8;

/// One media playlist.
pub enum List {
    /// Of MPEG-TS.
    Ts(Box<Playlist>),
    /// Of fragmented MP4.
    Fmp4(Box<Fmp4List>),
}

/// A segment that begins.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    /// Whether it does not continue the one before it.
    pub discontinuity: bool,
    /// When its first frame arrived, since the Unix epoch.
    pub date: Duration,
}

impl List {
    /// The number of the segment that comes next, or is in the making.
    pub fn next_sequence(&self) -> u64 {
        match self {
            Self::Ts(list) => list.next_sequence(),
            Self::Fmp4(list) => list.live.next_sequence(),
        }
    }

    /// How many segments are listed.
    pub fn len(&self) -> usize {
        match self {
            Self::Ts(list) => list.len(),
            Self::Fmp4(list) => list.segments.len(),
        }
    }

    /// The names of all objects that players may ask for.
    pub fn files(&self) -> Vec<String> {
        match self {
            Self::Ts(list) => list.files().collect(),
            Self::Fmp4(list) => list.files(),
        }
    }

    /// Lists the segment with this name, and those before it, no longer, because they are nowhere to be had.
    pub fn forget_until(&mut self, file: &str) {
        match self {
            Self::Ts(list) => list.forget_until(file),
            Self::Fmp4(list) => list.forget_until(file),
        }
    }

    /// The stream has ended, until there is a segment more.
    pub fn end(&mut self) {
        match self {
            Self::Ts(list) => list.end(),
            Self::Fmp4(list) => list.end(),
        }
    }

    /// Lists so many segments from now on.
    pub fn reconfigure(&mut self, config: &Config) {
        match self {
            Self::Ts(list) => list.reconfigure(config),
            Self::Fmp4(list) => list.set_window(config.window),
        }
    }

    /// How far it is, for others that report of it.
    pub fn report(&self, uri: &str) -> Option<Report> {
        match self {
            Self::Ts(_) => None,
            Self::Fmp4(list) => list.live.terms().part_target.map(|_| list.live.report(uri)),
        }
    }

    /// What players get now; `note` is what they go without.
    pub fn listing(&mut self, note: LeftOut, reports: &[Report]) -> Listing {
        match self {
            Self::Ts(list) => {
                list.note(note);
                let files: Vec<_> = list.listed().collect();
                let files = files.iter().map(String::as_str);
                Listing { is_ended: list.has_ended(), ..Listing::new(list.render().into(), files) }
            }
            Self::Fmp4(list) => list.listing(reports),
        }
    }
}

/// A playlist of fragmented MP4.
pub struct Fmp4List {
    /// The stream's name in the names of its segments.
    name: String,
    live: LivePlaylist,
    /// The same without parts, for files; none if there are none.
    plain: Option<LivePlaylist>,
    init: Option<Init>,
    /// Of the segment in the making.
    nonce: Nonce,
    parts: Vec<String>,
    hint: Option<String>,
    /// Listed, oldest first.
    segments: VecDeque<Segment>,
    /// Not listed any more, but players may still load them; oldest first.
    retired: VecDeque<Retired>,
    /// Media time since the list was made: the clock for removals.
    elapsed: Duration,
    has_ended: bool,
}

#[derive(Clone)]
struct Init {
    file: Arc<str>,
    data: Bytes,
}

struct Segment {
    sequence: u64,
    file: String,
    init: Option<Init>,
    parts: Vec<String>,
    duration: Duration,
    /// How long the longest playlist was that listed it.
    longest_playlist: Duration,
}

struct Retired {
    sequence: u64,
    file: String,
    init: Option<Init>,
    /// In terms of [`Fmp4List::elapsed`].
    until: Duration,
}

impl Fmp4List {
    /// An empty one, which numbers its segments from `sequence`.
    pub fn new(name: &str, terms: Terms, sequence: u64) -> Self {
        let plain = terms.part_target.map(|_| Terms { part_target: None, ..terms });
        Self {
            name: name.to_owned(),
            live: LivePlaylist::new(terms, sequence),
            plain: plain.map(|terms| LivePlaylist::new(terms, sequence)),
            init: None,
            nonce: Nonce::new(0),
            parts: Vec::new(),
            hint: None,
            segments: VecDeque::new(),
            retired: VecDeque::new(),
            elapsed: Duration::ZERO,
            has_ended: false,
        }
    }

    /// One that goes on where `before` is, or begins with `first`.
    pub fn after(before: Option<&List>, name: &str, terms: Terms, first: u64) -> Self {
        let new = Self::new(name, terms, before.map_or(first, List::next_sequence));
        match before {
            Some(List::Fmp4(list)) => Self { init: list.init.clone(), ..new },
            _ => new,
        }
    }

    /// Whether it can have segments and parts of these lengths: what players are told of them never changes.
    pub fn has(&self, terms: &Terms) -> bool {
        Terms { window: terms.window, ..self.live.terms() } == *terms
    }

    /// Whether no segment is listed.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The init segment of what follows.
    pub fn put_init(&mut self, window: &Window, data: &Bytes, nonce: Nonce) {
        let file = self.named(nonce, Form::Init);
        window.put(&file, data.clone());
        self.init = Some(Init { file: file.into(), data: data.clone() });
    }

    /// A segment begins, whose name has this nonce.
    pub fn begin(&mut self, begin: Begin, nonce: Nonce) {
        let Begin { discontinuity, date } = begin;
        self.nonce = nonce;
        self.parts.clear();
        self.has_ended = false;
        let map = self.init.as_ref().map(|init| uri(&init.file));
        for list in [Some(&mut self.live), self.plain.as_mut()].into_iter().flatten() {
            list.begin(discontinuity, map.as_deref(), Some(date));
        }
    }

    /// A part of it is there.
    pub fn put_part(
        &mut self,
        window: &Window,
        data: Bytes,
        duration: Duration,
        independent: bool,
    ) {
        let hinted = self.hint.take();
        let file = hinted.unwrap_or_else(|| self.named(self.nonce, self.next_part()));
        window.put_part(&file, data);
        self.live.push_part(weir_hls::Part { uri: uri(&file), duration, independent });
        self.parts.push(file);
        let hint = self.named(self.nonce, self.next_part());
        self.live.hint(Some(&uri(&hint)));
        self.hint = Some(hint);
    }

    /// It is complete.
    pub fn put_segment(&mut self, window: &Window, data: &Bytes, duration: Duration) {
        let file = self.named(self.nonce, Form::Mp4);
        let parts = std::mem::take(&mut self.parts);
        window.put_whole(&file, data, parts.iter().map(String::as_str));
        let sequence = self.live.next_sequence();
        self.live.push(&uri(&file), duration);
        if let Some(plain) = &mut self.plain {
            plain.push(&uri(&file), duration);
        }
        let (init, longest_playlist) = (self.init.clone(), Duration::ZERO);
        let segment = Segment { sequence, file, init, parts, duration, longest_playlist };
        self.segments.push_back(segment);
        self.elapsed = self.elapsed.saturating_add(duration);
        self.slide();
    }

    fn named(&self, nonce: Nonce, form: Form) -> String {
        let sequence = self.live.next_sequence();
        SegmentName { sequence, nonce: Some(nonce), form }.file(&self.name)
    }

    fn next_part(&self) -> Form {
        Form::Part(u16::try_from(self.parts.len()).unwrap_or(u16::MAX))
    }

    /// Follows the playlist: what is not listed any more stays for a while.
    fn slide(&mut self) {
        let first = self.live.media_sequence();
        while let Some(gone) = self.segments.pop_front_if(|segment| segment.sequence < first) {
            let wait = gone.duration.saturating_add(gone.longest_playlist);
            let until = self.elapsed.saturating_add(wait);
            let Segment { sequence, file, init, .. } = gone;
            self.retired.push_back(Retired { sequence, file, init, until });
        }
        let lasts: Duration = self.segments.iter().map(|segment| segment.duration).sum();
        let kept = self.live.terms().target_duration.saturating_mul(PARTS_KEPT);
        let mut behind = Duration::ZERO;
        for segment in self.segments.iter_mut().rev() {
            segment.longest_playlist = segment.longest_playlist.max(lasts);
            if behind > Duration::from_secs(kept) {
                segment.parts = Vec::new();
            }
            behind += segment.duration;
        }
        let most = self.live.terms().window.max(1).saturating_mul(RETIRED_RATIO_MAX);
        let excess = self.retired.len().saturating_sub(most);
        let over = self.retired.iter().take_while(|retired| retired.until <= self.elapsed).count();
        self.retired.drain(..over.max(excess));
    }

    fn files(&self) -> Vec<String> {
        let mut files = Vec::with_capacity(self.segments.len() + self.retired.len() + 2);
        let retired = self.retired.iter().map(|it| (it.init.as_ref(), Some(&it.file)));
        let listed = self.segments.iter().map(|it| (it.init.as_ref(), Some(&it.file)));
        for (init, file) in retired.chain(listed).chain([(self.init.as_ref(), None)]) {
            add(&mut files, init, file);
        }
        let parts = self.segments.iter().flat_map(|segment| &segment.parts).chain(&self.parts);
        files.extend(parts.cloned());
        files
    }

    /// What was lost, but is needed by what is listed, is put in again: it is small.
    pub fn restore(&self, window: &Window, lost: &[Arc<str>]) {
        let inits = self.segments.iter().filter_map(|it| it.init.as_ref()).chain(&self.init);
        for init in inits {
            if lost.contains(&init.file) && window.get(&init.file).is_none() {
                window.put(&init.file, init.data.clone());
            }
        }
    }

    fn forget_until(&mut self, file: &str) {
        let Some(name) = SegmentName::of(&self.name, file).filter(|it| it.form.is_segment()) else {
            return;
        };
        for list in [Some(&mut self.live), self.plain.as_mut()].into_iter().flatten() {
            list.forget_until(name.sequence);
        }
        self.retired.retain(|retired| retired.sequence > name.sequence);
        while self.segments.pop_front_if(|it| it.sequence <= name.sequence).is_some() {}
    }

    fn end(&mut self) {
        self.has_ended = true;
        self.hint = None;
        for list in [Some(&mut self.live), self.plain.as_mut()].into_iter().flatten() {
            list.end();
        }
    }

    fn set_window(&mut self, segments: usize) {
        for list in [Some(&mut self.live), self.plain.as_mut()].into_iter().flatten() {
            list.set_window(segments);
        }
    }

    fn listing(&self, reports: &[Report]) -> Listing {
        let rendered = self.live.render(reports);
        let update = update(&rendered).map(Bytes::from);
        let text = Bytes::from(rendered);
        let mut files = Vec::with_capacity(self.segments.len() + 2);
        self.segments.iter().for_each(|it| add(&mut files, it.init.as_ref(), Some(&it.file)));
        let listing = Listing::new(text, files.iter().map(String::as_str));
        let listing = Listing { is_ended: self.has_ended, ..listing };
        let Some(plain) = &self.plain else { return listing };
        Listing {
            update,
            plain: Some(plain.render(&[]).into()),
            progress: Some(self.live.progress()),
            hint: self.hint.as_deref().map(Arc::from),
            ..listing
        }
    }
}

/// A segment, and before it what it needs, once.
fn add(files: &mut Vec<String>, init: Option<&Init>, file: Option<&String>) {
    if let Some(init) = init
        && !files.iter().any(|file| **file == *init.file)
    {
        files.push(init.file.to_string());
    }
    files.extend(file.cloned());
}

/// A segment of MPEG-TS: put in, and listed.
pub fn put_ts(list: &mut Playlist, window: &Window, cut: &Cut, nonce: Nonce) {
    window.put(&list.next_file(nonce), cut.data.clone());
    list.push(cut, nonce);
}
