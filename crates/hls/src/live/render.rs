//! The playlist as text.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use super::{HOLD_BACK, LivePlaylist, Next, PART_HOLD_BACK, PARTS_LISTED, Part};
use crate::{date::rfc3339, quoted::quoted, update};

/// Versions that players need for what is in a playlist (RFC 8216bis, section 8).
const VERSION: u32 = 3;
/// EXT-X-MAP in a playlist of whole pictures.
const VERSION_MAP: u32 = 6;
/// EXT-X-SKIP, and with it all of low latency.
const VERSION_LOW_LATENCY: u32 = 9;

/// How far another playlist of the same stream is: EXT-X-RENDITION-REPORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The playlist's URI, relative to this one.
    pub uri: String,
    /// The number of its newest segment, be it complete or in the making.
    pub last_msn: u64,
    /// The newest part of that, if it has parts.
    pub last_part: Option<usize>,
}

impl LivePlaylist {
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

    /// The whole playlist.
    pub fn render(&self, reports: &[Report]) -> String {
        let mut out = String::with_capacity(400 + self.segments.len() * 200);
        // Writing to a String cannot fail.
        let _ = self.write(reports, &mut out);
        out
    }

    /// The playlist as an update for a client that has an earlier one (`_HLS_skip=YES`): older segments are left out.
    /// The whole playlist where nothing can be left out.
    pub fn render_update(&self, reports: &[Report]) -> String {
        let text = self.render(reports);
        update(&text).unwrap_or(text)
    }

    fn write(&self, reports: &[Report], out: &mut String) -> fmt::Result {
        self.write_head(out)?;
        let mut map = None;
        let lasts = self.lasts();
        let mut from = Duration::ZERO;
        for segment in &self.segments {
            let age = lasts.saturating_sub(from);
            from += segment.duration;
            begin(&segment.begin, &mut map, out)?;
            if age <= Duration::from_secs(self.terms.target_duration.saturating_mul(PARTS_LISTED)) {
                segment.parts.iter().try_for_each(|part| part.write(out))?;
            }
            writeln!(out, "#EXTINF:{},\n{}", Seconds(segment.duration), segment.uri)?;
        }
        if !self.parts.is_empty() {
            begin(&self.next, &mut map, out)?;
            self.parts.iter().try_for_each(|part| part.write(out))?;
        }
        if self.ended {
            return writeln!(out, "#EXT-X-ENDLIST");
        }
        if self.terms.part_target.is_some()
            && let Some(hint) = &self.hint
        {
            writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI={}", quoted(hint))?;
        }
        for report in reports {
            let Report { uri, last_msn, last_part } = report;
            write!(out, "#EXT-X-RENDITION-REPORT:URI={},LAST-MSN={last_msn}", quoted(uri))?;
            if let Some(part) = last_part {
                write!(out, ",LAST-PART={part}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_head(&self, out: &mut String) -> fmt::Result {
        let target = self.terms.target_duration;
        let has_map =
            self.next.map.is_some() || self.segments.iter().any(|one| one.begin.map.is_some());
        let version = match (self.terms.part_target, has_map) {
            (Some(_), _) => VERSION_LOW_LATENCY,
            (None, true) => VERSION_MAP,
            (None, false) => VERSION,
        };
        writeln!(out, "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{target}")?;
        if let Some(part) = self.terms.part_target {
            let (hold_back, part_hold_back) =
                (target.saturating_mul(HOLD_BACK), part * PART_HOLD_BACK);
            writeln!(
                out,
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={},HOLD-BACK={hold_back},PART-HOLD-BACK={}",
                self.skip_until().as_secs(),
                Seconds(part_hold_back)
            )?;
            writeln!(out, "#EXT-X-PART-INF:PART-TARGET={}", Seconds(part))?;
        }
        writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{}", self.media_sequence())?;
        writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuity_sequence)
    }
}

/// What stands before a segment; its init segment only if that is another than the one before it, or after a break.
fn begin<'a>(next: &'a Next, map: &mut Option<&'a str>, out: &mut String) -> fmt::Result {
    if next.discontinuity {
        writeln!(out, "#EXT-X-DISCONTINUITY")?;
    }
    if let Some(uri) = &next.map
        && map.replace(uri).is_none_or(|before| before != uri)
    {
        writeln!(out, "#EXT-X-MAP:URI={}", quoted(uri))?;
    }
    if let Some(date) = next.date {
        writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", rfc3339(date))?;
    }
    Ok(())
}

impl Part {
    fn write(&self, out: &mut String) -> fmt::Result {
        let independent = if self.independent { ",INDEPENDENT=YES" } else { "" };
        let duration = Seconds(self.duration);
        writeln!(out, "#EXT-X-PART:DURATION={duration},URI={}{independent}", quoted(&self.uri))
    }
}

/// A length in seconds, to the millisecond.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0.as_secs(), self.0.subsec_millis())
    }
}
