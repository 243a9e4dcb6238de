//! The playlist as text.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use super::{Begin, HOLD_BACK, PART_HOLD_BACK, PARTS_LISTED, Part, Playlist, SKIP_UNTIL};
use crate::{Listing, quoted::quoted, update, uri};

/// Versions that players need for what is in a playlist (RFC 8216bis, section 8).
const VERSION: u32 = 3;
/// EXT-X-MAP in a playlist of whole pictures.
const VERSION_MAP: u32 = 6;
/// EXT-X-SKIP, and with it all of low latency.
const VERSION_LOW_LATENCY: u32 = 9;

/// What a comment of ours begins with (RFC 8216, 4.1: a number sign that EXT does not follow).
pub const NOTE: &str = "# ";

/// How far another playlist of the same stream is: EXT-X-RENDITION-REPORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The playlist's URI, relative to this one, percent-encoded.
    pub uri: String,
    /// The number of its newest segment, be it complete or in the making.
    pub last_msn: u64,
    /// The newest part of that, if it has parts.
    pub last_part: Option<usize>,
}

/// What a text is for.
#[derive(Clone, Copy)]
enum For<'a> {
    /// Players, who may wait for more and load parts if there are some.
    Players(&'a [Report]),
    /// Files.
    Files,
}

impl Playlist {
    /// How far this playlist is, for others that report of it.
    pub fn report(&self, uri: &str) -> Report {
        let (last_msn, last_part) = match self.parts.len().checked_sub(1) {
            Some(last) => (self.sequence, Some(last)),
            None => {
                let parts = self.segments.back().map_or(0, |segment| segment.parts.len());
                (self.sequence.saturating_sub(1), parts.checked_sub(1))
            }
        };
        Report { uri: uri.to_owned(), last_msn, last_part }
    }

    /// The whole playlist as players get it. Of it [`update`] makes what they get who have an earlier one.
    pub fn render(&self, reports: &[Report]) -> String {
        self.text(For::Players(reports))
    }

    /// The playlist for a file, for servers that cannot wait and have no parts.
    pub fn render_plain(&self) -> String {
        self.text(For::Files)
    }

    /// All that a window needs of it.
    pub fn listing(&self, reports: &[Report]) -> Listing {
        let text = self.render(reports);
        let has_parts = self.part_target.is_some();
        Listing {
            update: update(&text).map(Into::into),
            text: text.into(),
            plain: has_parts.then(|| self.render_plain().into()),
            files: self.listed().into_iter().map(Into::into).collect(),
            progress: has_parts.then(|| self.progress()),
            hint: self.hint.as_deref().filter(|_| has_parts).map(Into::into),
            is_ended: self.ended,
            ..Listing::default()
        }
    }

    fn text(&self, whom: For) -> String {
        let mut out = String::with_capacity(400 + self.segments.len() * 200);
        // Writing to a String cannot fail.
        let _ = self.write(whom, &mut out);
        // It stays for as long as the playlist is the newest one.
        out.shrink_to_fit();
        out
    }

    fn write(&self, whom: For, out: &mut String) -> fmt::Result {
        let reports = match whom {
            For::Players(reports) => Some(reports).filter(|_| self.part_target.is_some()),
            For::Files => None,
        };
        self.write_head(reports.is_some(), out)?;
        let mut before = &Begin::default();
        let (lasts, listed) = (self.lasts(), self.targets(PARTS_LISTED));
        let mut from = Duration::ZERO;
        for segment in &self.segments {
            let age = lasts.saturating_sub(from);
            from += segment.duration;
            segment.begin.write(before, out)?;
            before = &segment.begin;
            if reports.is_some() && age <= listed {
                segment.parts.iter().try_for_each(|part| part.write(out))?;
            }
            writeln!(out, "#EXTINF:{},\n{}", Seconds(segment.duration), uri(&segment.file))?;
        }
        if reports.is_some() && !self.parts.is_empty() {
            self.next.write(before, out)?;
            self.parts.iter().try_for_each(|part| part.write(out))?;
        }
        if self.ended {
            return writeln!(out, "#EXT-X-ENDLIST");
        }
        if let Some(hint) = self.hint.as_deref().filter(|_| reports.is_some()) {
            writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI={}", quoted(&uri(hint)))?;
        }
        for Report { uri, last_msn, last_part } in reports.into_iter().flatten() {
            write!(out, "#EXT-X-RENDITION-REPORT:URI={},LAST-MSN={last_msn}", quoted(uri))?;
            if let Some(part) = last_part {
                write!(out, ",LAST-PART={part}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_head(&self, is_low_latency: bool, out: &mut String) -> fmt::Result {
        let target = self.target_duration;
        let has_map =
            self.next.map.is_some() || self.segments.iter().any(|one| one.begin.map.is_some());
        let version = match (is_low_latency, has_map) {
            (true, _) => VERSION_LOW_LATENCY,
            (false, true) => VERSION_MAP,
            (false, false) => VERSION,
        };
        writeln!(out, "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{target}")?;
        if let Some(part) = self.part_target.filter(|_| is_low_latency) {
            let hold_back = target.saturating_mul(HOLD_BACK);
            writeln!(
                out,
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={},HOLD-BACK={hold_back},PART-HOLD-BACK={}",
                self.targets(SKIP_UNTIL).as_secs(),
                Seconds(part.saturating_mul(PART_HOLD_BACK))
            )?;
            writeln!(out, "#EXT-X-PART-INF:PART-TARGET={}", Seconds(part))?;
        }
        writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{}", self.media_sequence())?;
        writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuity_sequence)?;
        match &self.note {
            Some(note) => writeln!(out, "{NOTE}{note}"),
            None => Ok(()),
        }
    }
}

impl Begin {
    /// What stands before the segment; its init segment and key only if they are others than of the one `before` it.
    fn write(&self, before: &Self, out: &mut String) -> fmt::Result {
        if self.discontinuity {
            writeln!(out, "#EXT-X-DISCONTINUITY")?;
        }
        let mut key = &before.key;
        if let Some(map) = &self.map
            && self.map != before.map
        {
            // What is before it would hold for it, too, and init segments are not encrypted.
            if key.is_some() {
                writeln!(out, "#EXT-X-KEY:METHOD=NONE")?;
                key = &None;
            }
            writeln!(out, "#EXT-X-MAP:URI={}", quoted(&uri(map)))?;
        }
        match &self.key {
            own if own == key => {}
            Some(key) => {
                let (uri, iv) = (quoted(&key.uri), key.iv);
                writeln!(out, "#EXT-X-KEY:METHOD=AES-128,URI={uri},IV=0x{iv:032x}")?;
            }
            None => writeln!(out, "#EXT-X-KEY:METHOD=NONE")?,
        }
        match &self.date {
            Some(date) => writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{date}"),
            None => Ok(()),
        }
    }
}

impl Part {
    fn write(&self, out: &mut String) -> fmt::Result {
        let independent = if self.independent { ",INDEPENDENT=YES" } else { "" };
        let (duration, uri) = (Seconds(self.duration), quoted(&uri(&self.file)));
        writeln!(out, "#EXT-X-PART:DURATION={duration},URI={uri}{independent}")
    }
}

/// A length in seconds, to the millisecond.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0.as_secs(), self.0.subsec_millis())
    }
}
