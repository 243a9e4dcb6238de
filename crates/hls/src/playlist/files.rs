//! Which files a playlist needs, and when they may go.

use super::{Begin, Playlist, RETIRED_RATIO_MAX, Segment, WINDOW_RATIO_MAX};
use crate::{Form, SegmentName, file_name};

impl Playlist {
    /// The files that should exist, oldest first: segments and what they need, of those that are listed or in the
    /// making, and before them of those that wait for their deletion. Parts are no files: they are in memory only.
    pub fn files(&self) -> Vec<String> {
        let retired = self.retired.iter().map(|retired| &retired.segment);
        self.needed(retired.chain(&self.segments))
    }

    /// The files of what is listed, oldest first: segments, and what they and the parts need.
    pub fn listed(&self) -> Vec<String> {
        self.needed(self.segments.iter())
    }

    /// The names of parts that can be loaded, oldest first.
    pub fn part_files(&self) -> impl Iterator<Item = &str> {
        let listed = self.segments.iter().flat_map(|segment| &segment.parts);
        listed.chain(&self.parts).map(|part| &*part.file)
    }

    fn needed<'a>(&'a self, segments: impl Iterator<Item = &'a Segment>) -> Vec<String> {
        let mut files: Vec<String> = Vec::new();
        let (mut map, mut key): (Option<&str>, Option<String>) = (None, None);
        let segments = segments.map(|segment| (&segment.begin, Some(&segment.file)));
        for (begin, file) in segments.chain([(&self.next, None)]) {
            let own = self.key_file(begin);
            if own.is_some() && own != key {
                key.clone_from(&own);
                files.extend(own);
            }
            if begin.map.is_some() && begin.map.as_deref() != map {
                map = begin.map.as_deref();
                files.extend(begin.map.clone());
            }
            files.extend(file.cloned());
        }
        files
    }

    /// The file of a key, if it is one of ours.
    fn key_file(&self, begin: &Begin) -> Option<String> {
        let uri = &*begin.key.as_ref()?.uri;
        // Others may hand it out, under a URL of their own.
        let file = file_name(uri.rsplit('/').next().unwrap_or(uri))?.into_owned();
        let name = SegmentName::of(&self.config.name, &file)?;
        (name.form == Form::Key).then_some(file)
    }

    /// Lists the segment with this file, and those before it, no longer, because they are nowhere to be had. The list
    /// may be shorter than players are promised then. A file that is no segment's is passed over.
    pub fn forget_until(&mut self, file: &str) {
        let name = SegmentName::of(&self.config.name, file);
        let Some(name) = name.filter(|name| name.form.is_segment()) else { return };
        self.retired.retain(|retired| retired.sequence > name.sequence);
        while self.media_sequence() <= name.sequence
            && let Some(first) = self.segments.pop_front()
        {
            self.count_break(&first);
        }
    }

    /// Lists no longer what is not there, or needs what is not there, and what comes before that.
    pub fn forget_missing(&mut self, is_there: impl Fn(&str) -> bool) {
        let is_missing = |segment: &Segment| {
            let needs = self.key_file(&segment.begin).into_iter();
            let mut needs = needs.chain(segment.begin.map.clone());
            !is_there(&segment.file) || needs.any(|file| !is_there(&file))
        };
        let last = self.segments.iter().rposition(is_missing);
        let gone = last.map_or(0, |last| last + 1);
        for segment in self.segments.drain(..gone).collect::<Vec<_>>() {
            self.count_break(&segment);
        }
    }

    /// The lowest number of a segment whose file should exist; that of the next one if there is none.
    pub fn oldest_sequence(&self) -> u64 {
        self.retired.front().map_or(self.media_sequence(), |retired| retired.sequence)
    }

    /// Whether a segment of this number, which need not be listed, may come from the run that the list comes from: it
    /// waits for its deletion, or is the one that was to be listed next.
    pub fn covers(&self, sequence: u64) -> bool {
        let waiting =
            self.config.window.max(1).saturating_mul(WINDOW_RATIO_MAX + RETIRED_RATIO_MAX);
        (self.media_sequence().saturating_sub(waiting as u64)..=self.sequence).contains(&sequence)
    }

    /// Lets go of what no player may ask for any more. Returns the files: segments, and what no other segment needs.
    pub(super) fn expire(&mut self) -> Vec<String> {
        let most = self.config.window.max(1).saturating_mul(RETIRED_RATIO_MAX);
        let excess = self.retired.len().saturating_sub(most);
        let over = self.retired.iter().take_while(|retired| retired.until <= self.elapsed).count();
        let gone: Vec<_> = self.retired.drain(..over.max(excess)).collect();
        let mut files: Vec<String> = Vec::new();
        for Segment { begin, file, .. } in gone.into_iter().map(|retired| retired.segment) {
            let needs = self.key_file(&begin).into_iter().chain(begin.map);
            for need in needs {
                if !self.is_needed(&need) && !files.contains(&need) {
                    files.push(need);
                }
            }
            files.push(file);
        }
        files
    }

    /// Whether a segment that is left needs this init segment or key.
    fn is_needed(&self, file: &str) -> bool {
        let retired = self.retired.iter().map(|retired| &retired.segment);
        let begins = retired.chain(&self.segments).map(|segment| &segment.begin);
        begins.chain([&self.next]).any(|begin| {
            begin.map.as_deref() == Some(file) || self.key_file(begin).as_deref() == Some(file)
        })
    }
}
