//! All playlists of a stream, from the frames of all its tracks.
//!
//! ```text
//! frames ──► by track ──► packager (Video(0), with the first sound) ──┐
//!                    ├──► packager (Video(1), with the first sound) ──┼──► Window
//!                    └──► packager (Audio(1))                       ──┘
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tracing::{info, warn};
use weir_flv::metadata::{AudioLabel, Metadata};
use weir_hls::{
    AudioRendition, Config, Dropped, Lead, LeftOut, Multivariant, Playlist, Rendition, Report,
    Variant, Window, uri,
};
use weir_media::{Budget, Content, Frame, Init, InitSlot, StreamKey, Track};

use super::{
    left::{Left, Told},
    names::PLAYLIST,
    packager::{Packager, Taken},
    plan::Plan,
    share::Part,
};

/// Playlists of one stream. Each costs what a stream costs; encoders send up to six sizes and six languages.
const RENDITIONS_MAX: usize = 12;

/// How far the first frames of tracks that begin together are apart at most: sound is cut at its own packets, the
/// longest of which have 64 ms (AAC of 16 kHz).
const TOGETHER: Duration = Duration::from_millis(100);

/// A playlist that is so many segments off the first one is none of its own time any more: its track has nothing, or
/// key frames elsewhere. It begins anew with the next segment.
const APART_MAX: u64 = 3;

/// Segments of the first playlist until players are told of what there is, at most: by then each track has its first.
const FIRST_SEGMENTS: usize = 2;

/// The group of all sounds.
const SOUNDS: &str = "audio";

/// All playlists of a stream.
pub struct Renditions {
    key: StreamKey,
    window: Arc<Window>,
    part: Part,
    budget: Budget,
    config: Config,
    plan: Plan,
    /// Boxed: a map has room for eleven, and most streams have one.
    all: BTreeMap<Rendition, Box<Packager>>,
    /// What the tracks are coded with now.
    init: Init,
    /// What players have been told of.
    shown: Shown,
    /// The playlists are shorter than they should be.
    has_no_room: bool,
    left_out: LeftOut,
}

/// What players have been told of a stream. It does not change while they may be at it: whoever has loaded a media
/// playlist loads that again, and whoever has chosen does not choose again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    /// What an earlier process has told them: to be shown once it goes on.
    Left(Told),
    /// The same by this one.
    Here(Told),
}

impl Renditions {
    /// None yet.
    pub fn new(
        key: &StreamKey,
        (window, part): (&Arc<Window>, Part),
        budget: &Budget,
        config: Config,
        plan: Plan,
    ) -> Self {
        Self {
            key: key.clone(),
            window: Arc::clone(window),
            part,
            budget: budget.clone(),
            config,
            plan,
            all: BTreeMap::new(),
            init: Init::default(),
            shown: Shown::Nothing,
            has_no_room: false,
            left_out: LeftOut::default(),
        }
    }

    /// What they are made of.
    pub fn config(&mut self) -> &mut Config {
        &mut self.config
    }

    /// The share of the memory that they have.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Whether the first playlist is not known yet.
    pub fn is_new(&self) -> bool {
        self.all.is_empty()
    }

    /// Goes on with what an earlier process has `left`. Without a first playlist that begins with the number `first`.
    pub fn open(&mut self, left: Left, first: u64) {
        let Left { config, playlists, told, .. } = left;
        self.config = config;
        for (rendition, list) in playlists {
            self.add(rendition, first, Some(list));
        }
        if self.is_new() {
            self.add(Rendition::MAIN, first, None);
        }
        self.shown = match told {
            None => Shown::Nothing,
            Some((told, multivariant)) => {
                self.window.choose(multivariant);
                Shown::Left(told)
            }
        };
    }

    /// One more playlist: it goes on with `list`, or begins with the number `first`.
    fn add(&mut self, rendition: Rendition, first: u64, list: Option<Playlist>) {
        let mut packager = Packager::new(&self.window, first);
        list.into_iter().for_each(|list| packager.resume(list));
        self.all.insert(rendition, Box::new(packager));
    }

    /// How the stream is cut now.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Lists as many segments as is in force now.
    pub fn reconfigure(&mut self) {
        for packager in self.all.values_mut() {
            packager.reconfigure(&self.config);
        }
    }

    /// Segments of MPEG-TS are as long as this from now on, those in the making included.
    pub fn set_target(&mut self, target: Duration) {
        (self.plan.target, self.config.target) = (target, target);
        self.all.values_mut().for_each(|packager| packager.set_target(target));
    }

    /// Begins on frames that do not continue those before them, which were completed; `init` is what comes before the
    /// first.
    pub fn begin(&mut self, plan: Plan, init: &Init, wall: Duration) -> Taken {
        (self.plan, self.config.target) = (plan, plan.target);
        self.init = Init::default();
        let Some(main) = self.all.get_mut(&Rendition::MAIN) else { return Taken::default() };
        main.begin(&plan, &self.budget, &self.config);
        let mut taken = Taken::default();
        init.frames().for_each(|frame| taken.and(self.take(frame, wall)));
        taken
    }

    /// Takes the stream's next frame; what came of it in the first playlist.
    pub fn take(&mut self, frame: &Frame, wall: Duration) -> Taken {
        self.init.update(frame);
        let as_first = |track| Frame { track, ..frame.clone() };
        match frame.track {
            Track::Video(0) => self.give(Rendition::MAIN, frame, wall),
            Track::Video(number) => {
                self.give(Rendition::Video(number), &as_first(Track::Video(0)), wall);
                Taken::default()
            }
            Track::Audio(0) => {
                let taken = self.give(Rendition::MAIN, frame, wall);
                if self.all.len() > 1 {
                    // Beside the first, nobody chooses pictures for their sound.
                    let most = self.plan.target.saturating_mul(3) / 2;
                    let has_pictures = |it: &Packager| it.pictureless(frame.dts) < most;
                    let others = self.all.iter().filter(|(rendition, it)| {
                        matches!(rendition, Rendition::Video(1..)) && has_pictures(it)
                    });
                    let others: Vec<_> = others.map(|(rendition, _)| *rendition).collect();
                    others.into_iter().for_each(|it| drop(self.give(it, frame, wall)));
                }
                taken
            }
            Track::Audio(number) => {
                self.give(Rendition::Audio(number), &as_first(Track::Audio(0)), wall);
                Taken::default()
            }
            Track::Data => Taken::default(),
        }
    }

    /// Gives a frame to a playlist, and shows what that has now.
    fn give(&mut self, rendition: Rendition, frame: &Frame, wall: Duration) -> Taken {
        if !self.all.get(&rendition).is_some_and(|it| it.is_making())
            && !self.join(rendition, frame, wall)
        {
            return Taken::default();
        }
        let is_main = rendition == Rendition::MAIN;
        let main = self.all.get(&Rendition::MAIN).filter(|_| !is_main);
        let lead = main.and_then(|it| it.lead());
        let Some(packager) = self.all.get_mut(&rendition) else { return Taken::default() };
        packager.follow(lead);
        let taken = packager.take(frame, wall, &self.config);
        if taken.has_segment {
            if is_main {
                self.leave_apart();
            }
            self.make_room();
        }
        if taken.is_new {
            self.show(rendition, taken.has_segment);
        }
        taken
    }

    /// Begins another playlist beside the first one, if this is where it begins a segment; what is there already of its
    /// track and the first sound is given to it.
    fn join(&mut self, rendition: Rendition, frame: &Frame, wall: Duration) -> bool {
        let may_begin = frame.is_key() || matches!(frame.content, Content::Audio(_));
        let is_full = self.all.len() >= RENDITIONS_MAX && !self.all.contains_key(&rendition);
        if rendition == Rendition::MAIN || frame.stray || !may_begin || is_full {
            return false;
        }
        let Some(main) = self.all.get(&Rendition::MAIN) else { return false };
        let (open, lead) = (main.next_sequence(), main.lead());
        let since = |start| frame.dts.saturating_since(start);
        let first = match lead {
            // The first one begins in a moment.
            None if frame.is_key() => open,
            Some(Lead { start, .. }) if frame.dts >= start && since(start) <= TOGETHER => open,
            // So does its next segment: encoders that delay pictures less are a little ahead.
            Some(Lead { start, now }) if frame.is_key() && frame.dts > now => {
                if since(start).saturating_add(TOGETHER) < self.plan.target {
                    return false;
                }
                open.saturating_add(1)
            }
            _ => return false,
        };
        let is_known = self.all.get(&rendition).is_some_and(|it| it.next_sequence() == first);
        if !is_known {
            let list = main.beside(first, &self.config);
            self.leave(rendition);
            self.add(rendition, first, list);
        }
        let own = match rendition {
            Rendition::Video(number) => (Track::Video(number), Track::Video(0)),
            Rendition::Audio(number) => (Track::Audio(number), Track::Audio(0)),
        };
        let has_sound = matches!(rendition, Rendition::Video(_));
        let Some(packager) = self.all.get_mut(&rendition) else { return false };
        packager.begin(&self.plan, &self.budget, &self.config);
        for known in self.init.frames() {
            let track = match known.track {
                track if track == own.0 => own.1,
                Track::Audio(0) if has_sound => Track::Audio(0),
                _ => continue,
            };
            packager.take(&Frame { track, ..known.clone() }, wall, &self.config);
        }
        true
    }

    /// The first playlist has begun another segment: what is far off begins anew.
    fn leave_apart(&mut self) {
        let Some(now) = self.all.get(&Rendition::MAIN).map(|it| it.next_sequence()) else { return };
        let is_apart = |it: &Packager| it.next_sequence().abs_diff(now) >= APART_MAX;
        let apart = self.all.iter().filter(|(_, it)| is_apart(it)).map(|(rendition, _)| *rendition);
        let apart: Vec<_> = apart.collect();
        apart.into_iter().for_each(|rendition| self.leave(rendition));
    }

    /// There is no playlist of this any more.
    fn leave(&mut self, rendition: Rendition) {
        if self.all.remove(&rendition).is_some_and(|it| it.listed() > 0) {
            info!(stream = %self.key, playlist = %rendition, "HLS playlist ends: its track is gone");
            self.window.unlist(rendition);
        }
    }

    /// Lists what is still held, and what was said of damaged frames.
    pub fn complete(&mut self) -> Taken {
        let mut of_main = Taken::default();
        let all: Vec<_> = self.all.keys().copied().collect();
        for rendition in all {
            let Some(packager) = self.all.get_mut(&rendition) else { continue };
            let (taken, dropped) = packager.complete(&self.config);
            if let Some(Dropped { frames, last }) = dropped {
                info!(stream = %self.key, frames, %last, "HLS dropped damaged frames");
            }
            if taken.has_segment {
                self.make_room();
            }
            if taken.is_new {
                self.show(rendition, taken.has_segment);
            }
            if rendition == Rendition::MAIN {
                of_main = taken;
            }
        }
        of_main
    }

    /// The stream has ended: players need not ask again.
    pub fn end(&mut self) {
        self.init = Init::default();
        if self.shown == Shown::Nothing {
            self.show_first(true);
        }
        let all: Vec<_> = self.all.keys().copied().collect();
        for rendition in all {
            let Some(packager) = self.all.get_mut(&rendition) else { continue };
            packager.end();
            self.list(rendition);
        }
        // Whoever comes from now on finds what there is then.
        self.shown = Shown::Nothing;
    }

    /// Nothing of the stream is left. What comes next begins anew.
    pub fn close(&mut self) {
        self.all.clear();
        self.window.clear();
        self.shown = Shown::Nothing;
    }

    /// Nothing can be carried: there is no playlist.
    pub fn unlist(&mut self) {
        self.all.keys().for_each(|rendition| self.window.unlist(*rendition));
        self.window.choose(None);
        self.shown = Shown::Nothing;
    }

    /// What who chooses among streams is told of the first playlist.
    pub fn variant(&self) -> Option<Variant> {
        let main = self.all.get(&Rendition::MAIN).filter(|it| it.listed() > 0)?;
        Some(main.variant(self.uri(Rendition::MAIN)))
    }

    /// What the first playlist goes without, if that is another thing than before.
    pub fn newly_left_out(&mut self) -> Option<LeftOut> {
        let left_out = self.all.get(&Rendition::MAIN)?.left_out()?;
        let is_new = left_out != self.left_out;
        self.left_out = left_out;
        is_new.then_some(left_out)
    }

    /// What the first playlist goes without.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// Lets go of what no player may ask for any more, or there is no room for.
    fn make_room(&mut self) {
        let lost = self.window.shrink(self.part.most(self.window.bytes()));
        if !lost.is_empty() {
            self.all.values_mut().for_each(|packager| packager.forget(&lost));
            if !std::mem::replace(&mut self.has_no_room, true) {
                warn!(
                    stream = %self.key,
                    "the HLS playlist is shorter than it should be: no room for more (limits.memory)"
                );
            }
        } else {
            self.has_no_room = false;
        }
        let known: HashSet<_> = self.all.values().flat_map(|it| it.files()).collect();
        let files = self.window.files();
        self.window.remove(files.iter().map(|file| &**file).filter(|file| !known.contains(*file)));
    }

    /// Shows what a playlist has now.
    fn show(&mut self, rendition: Rendition, has_segment: bool) {
        match self.shown {
            Shown::Nothing if has_segment => self.show_first(false),
            Shown::Nothing => {}
            Shown::Left(told) => {
                let is_due = has_segment && rendition == Rendition::MAIN;
                if is_due || self.all.values().all(|it| it.goes_on()) {
                    self.shown = Shown::Here(told);
                    let all: Vec<_> = self.all.keys().copied().rev().collect();
                    all.into_iter().for_each(|rendition| self.list(rendition));
                }
            }
            Shown::Here(Told::One) => self.list(rendition),
            Shown::Here(Told::Several) => {
                // Before it, so that what it names is there.
                self.list(rendition);
                if has_segment && rendition == Rendition::MAIN {
                    self.choose();
                }
            }
        }
    }

    /// Tells players what there is, once that is known, or `at_once`.
    fn show_first(&mut self, at_once: bool) {
        // What an earlier process left is nothing to choose before it goes on.
        let made = |it: &Packager| if it.has_made() { it.listed() } else { 0 };
        let listed = |rendition: &Rendition| self.all.get(rendition).map_or(0, |it| made(it));
        let first = listed(&Rendition::MAIN);
        let is_whole = self.expected().iter().all(|rendition| listed(rendition) > 0);
        if first == 0 || !(is_whole || at_once || first >= FIRST_SEGMENTS) {
            return;
        }
        let listed = self.all.iter().filter(|(_, it)| made(it) > 0).map(|(it, _)| *it);
        let listed: Vec<_> = listed.collect();
        let several = listed.len() > 1;
        self.shown = Shown::Here(if several { Told::Several } else { Told::One });
        listed.into_iter().rev().for_each(|rendition| self.list(rendition));
        if several {
            self.choose();
        } else {
            self.window.choose(None);
        }
    }

    /// The playlists that there will be, by the tracks that are known.
    fn expected(&self) -> BTreeSet<Rendition> {
        let of_track = |frame: &Frame| match frame.track {
            Track::Video(number) => Some(Rendition::Video(number)),
            Track::Audio(number @ 1..) => Some(Rendition::Audio(number)),
            _ => None,
        };
        let known = self.init.frames().filter_map(of_track);
        let known = known.chain(self.all.keys().copied()).chain([Rendition::MAIN]);
        known.collect::<BTreeSet<_>>().into_iter().take(RENDITIONS_MAX).collect()
    }

    /// Shows a playlist as it is now.
    fn list(&mut self, rendition: Rendition) {
        let reports: Vec<Report> = self
            .all
            .iter()
            .filter(|(other, _)| **other != rendition)
            .filter_map(|(other, it)| it.report(&self.uri(*other)))
            .collect();
        let Some(packager) = self.all.get_mut(&rendition).filter(|it| it.listed() > 0) else {
            return;
        };
        if let Some(listing) = packager.listing(self.left_out, &reports) {
            self.window.list(rendition, listing);
        }
    }

    /// Where the playlist is, seen from one of the others.
    fn uri(&self, rendition: Rendition) -> String {
        uri(&(rendition.playlist(self.key.stream()) + PLAYLIST))
    }

    /// Shows what there is to choose from. Of a playlist of an earlier process nothing is known before its next
    /// segment: until then what that process has said holds.
    fn choose(&mut self) {
        let is_known = |it: &Packager| it.has_made() || it.listed() == 0;
        let is_shown = self.window.multivariant().is_some();
        if is_shown && !self.all.values().all(|it| is_known(it)) {
            return;
        }
        let text = Bytes::from(self.multivariant().render());
        if self.window.multivariant().as_ref() != Some(&text) {
            self.window.choose(Some(text));
        }
    }

    fn multivariant(&self) -> Multivariant {
        let all = || self.all.iter().map(|(rendition, it)| (rendition, &**it));
        let listed = || all().filter(|(_, it)| it.listed() > 0);
        let of = |(rendition, it): (&Rendition, &Packager)| it.variant(self.uri(*rendition));
        let sounds: Vec<_> = listed().filter(|(rendition, _)| is_sound(**rendition)).collect();
        let (mut bandwidth, mut average, mut codecs) = (0, 0, BTreeSet::new());
        for sound in sounds.iter().copied().map(of) {
            bandwidth = bandwidth.max(sound.bandwidth);
            average = average.max(sound.average.unwrap_or_default());
            codecs.extend(sound.codecs);
        }
        let group = (!sounds.is_empty()).then(|| SOUNDS.to_owned());
        let variants = listed().filter(|(rendition, _)| !is_sound(**rendition)).map(of);
        let variants = variants.map(|mut variant| {
            variant.bandwidth += bandwidth;
            variant.average = variant.average.map(|own| own + average);
            variant.codecs.extend(codecs.iter().cloned());
            Variant { audio: group.clone(), ..variant }
        });
        let audio = if group.is_some() { self.sounds() } else { Vec::new() };
        Multivariant { variants: variants.collect(), audio, independent: false }
    }

    /// The sounds that there are to choose from, the first of which is in the variants: called as the publisher calls
    /// them, and each by another name.
    fn sounds(&self) -> Vec<AudioRendition> {
        let metadata = self.init.get(InitSlot::Metadata);
        let metadata = metadata.and_then(|frame| Metadata::parse(&frame.body).ok().flatten());
        let mut names = BTreeSet::new();
        let mut sound = |number: u8, uri: Option<String>| {
            let label = metadata.as_ref().map(|metadata| metadata.audio_label(number));
            let AudioLabel { name, language } = label.unwrap_or_default();
            let number = u16::from(number) + 1;
            let mut name = name.unwrap_or_else(|| format!("Audio {number}"));
            while !names.insert(name.clone()) {
                name = format!("{name} ({number})");
            }
            let (group, is_default) = (SOUNDS.to_owned(), uri.is_none());
            AudioRendition { group, name, language, uri, is_default, ..AudioRendition::default() }
        };
        let default = sound(0, None);
        let others =
            self.all.iter().filter(|(_, it)| it.listed() > 0).filter_map(|(it, _)| match it {
                Rendition::Audio(number) => Some(sound(*number, Some(self.uri(*it)))),
                Rendition::Video(_) => None,
            });
        std::iter::once(default).chain(others).collect()
    }

    /// Whether the stream has more than one playlist, or a codec that MPEG-TS does not carry, by what is known before
    /// its first frame.
    pub fn needs_fmp4(init: &Init) -> bool {
        use weir_media::{AudioCodec, VideoCodec};
        init.frames().any(|frame| match (frame.track, frame.content) {
            (Track::Video(1..) | Track::Audio(1..), _) => true,
            (_, Content::VideoConfig(codec)) => {
                matches!(codec, VideoCodec::Av1 | VideoCodec::Vp9)
            }
            (_, Content::AudioConfig(codec)) => {
                matches!(codec, AudioCodec::Opus | AudioCodec::Flac)
            }
            _ => false,
        })
    }
}

/// Whether a playlist has no key frames of its own, and is cut where the first one is.
fn is_sound(rendition: Rendition) -> bool {
    matches!(rendition, Rendition::Audio(_))
}

#[cfg(test)]
mod tests;
