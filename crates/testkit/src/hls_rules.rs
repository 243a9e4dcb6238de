//! The rules of media playlists (RFC 8216 and the draft of its successor, RFC 8216bis), as a client sees them that
//! loads one again and again.

use std::{collections::BTreeMap, time::Duration};

/// Milliseconds that are lost where a playlist rounds a length.
const ROUNDING: Duration = Duration::from_millis(1);

/// The least length of a part in hundredths of the part target (4.4.4.9), unless it is its segment's last.
const PART_PERCENT_MIN: u32 = 85;

/// Holds successive versions of one playlist against the rules.
#[derive(Clone, Debug, Default)]
pub struct HlsRules {
    last: Option<Version>,
    /// Every segment that was ever listed, by its number, as it was first seen.
    known: BTreeMap<u64, Segment>,
}

/// One version of a playlist.
#[derive(Clone, Debug, Default, PartialEq)]
struct Version {
    version: u64,
    target: u64,
    part_target: Option<Duration>,
    server_control: BTreeMap<String, String>,
    media_sequence: u64,
    discontinuity_sequence: u64,
    skipped: u64,
    segments: Vec<Segment>,
    /// Of the segment that is not complete.
    parts: Vec<Part>,
    /// Whether a discontinuity comes before that.
    opens_with_break: bool,
    hint: Option<String>,
    has_map: bool,
    has_parts: bool,
    ended: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Segment {
    uri: String,
    duration: Duration,
    discontinuity: bool,
    /// The init segment that holds for it.
    map: Option<String>,
    date: Option<String>,
    /// None if they are not listed.
    parts: Vec<Part>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Part {
    uri: String,
    duration: Duration,
    independent: bool,
}

/// A rule that is broken: the section of RFC 8216bis, and what is wrong.
pub type Broken = String;

impl HlsRules {
    /// Takes the next version of the playlist, whole or as an update.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&mut self, text: &str) -> Result<(), Broken> {
        let version = parse(text)?;
        header(&version)?;
        lengths(&version)?;
        parts(&version)?;
        if let Some(last) = &self.last {
            continues(last, &version)?;
        }
        self.segments(&version)?;
        self.last = Some(version);
        Ok(())
    }

    /// The same segment is the same in every version, and updates leave out only what the client knows.
    fn segments(&mut self, version: &Version) -> Result<(), Broken> {
        let first = version.media_sequence + version.skipped;
        for number in version.media_sequence..first {
            if !self.known.contains_key(&number) {
                return Err(format!(
                    "4.4.5.2: segment {number} is left out, and the client does not have it"
                ));
            }
        }
        if version.skipped > 0 {
            self.boundary(version)?;
        }
        let mut map = first.checked_sub(1).and_then(|before| self.known.get(&before)?.map.clone());
        for (segment, number) in version.segments.iter().zip(first..) {
            let mut segment = segment.clone();
            if segment.map.is_none() {
                segment.map = map;
            }
            map = segment.map.clone();
            match self.known.get(&number) {
                None => {
                    self.known.insert(number, segment);
                }
                Some(known) => same(known, &segment, number)?,
            }
        }
        Ok(())
    }

    /// Segments that are left out end before the skip boundary.
    fn boundary(&self, version: &Version) -> Result<(), Broken> {
        let open: Duration = version.parts.iter().map(|part| part.duration).sum();
        let listed: Duration = version.segments.iter().map(|segment| segment.duration).sum();
        let boundary =
            version.server_control.get("CAN-SKIP-UNTIL").and_then(|value| seconds(value));
        let boundary = boundary.ok_or("4.4.5.2: EXT-X-SKIP without CAN-SKIP-UNTIL")?;
        if listed + open < boundary {
            return Err(format!("4.4.5.2: {:?} are left, less than CAN-SKIP-UNTIL", listed + open));
        }
        Ok(())
    }
}

fn same(known: &Segment, segment: &Segment, number: u64) -> Result<(), Broken> {
    let strip = |segment: &Segment| Segment { parts: Vec::new(), ..segment.clone() };
    if strip(known) != strip(segment) {
        return Err(format!("6.2.1: segment {number} has changed from {known:?} to {segment:?}"));
    }
    if !segment.parts.is_empty() && segment.parts != known.parts {
        return Err(format!("6.2.1: the parts of segment {number} have changed"));
    }
    Ok(())
}

/// What a version says of itself.
fn header(version: &Version) -> Result<(), Broken> {
    let needed = match version {
        Version { skipped: 1.., .. } => 9,
        Version { has_map: true, .. } => 6,
        _ => 3,
    };
    if version.version < needed {
        return Err(format!("8: EXT-X-VERSION is {}, and {needed} is needed", version.version));
    }
    if version.target == 0 {
        return Err("4.4.3.1: no EXT-X-TARGETDURATION".into());
    }
    let control = |name: &str| version.server_control.get(name).map(String::as_str);
    let length = |name: &str| control(name).and_then(seconds);
    let targets = |count| Duration::from_secs(version.target * count);
    if let Some(part) = version.part_target {
        let hold_back = length("PART-HOLD-BACK").ok_or("4.4.3.8: no PART-HOLD-BACK, but parts")?;
        if hold_back < part * 3 {
            return Err(format!(
                "4.4.3.8: PART-HOLD-BACK is {hold_back:?}, less than three part targets"
            ));
        }
    } else if version.has_parts {
        return Err("4.4.3.7: parts without EXT-X-PART-INF".into());
    }
    if length("HOLD-BACK").is_some_and(|hold_back| hold_back < targets(3)) {
        return Err("4.4.3.8: HOLD-BACK is less than three target durations".into());
    }
    if length("CAN-SKIP-UNTIL").is_some_and(|until| until < targets(6)) {
        return Err("4.4.3.8: CAN-SKIP-UNTIL is less than six target durations".into());
    }
    if version.hint.is_some() && (version.ended || version.part_target.is_none()) {
        return Err("4.4.5.3: a hint at what will not come".into());
    }
    if version.ended && !version.parts.is_empty() {
        return Err("4.4.3.4: parts of a segment that will not be complete".into());
    }
    Ok(())
}

fn lengths(version: &Version) -> Result<(), Broken> {
    for segment in &version.segments {
        let rounded = (segment.duration + Duration::from_millis(500)).as_secs();
        if rounded > version.target {
            let Segment { uri, duration, .. } = segment;
            return Err(format!(
                "4.4.3.1: {uri} lasts {duration:?}, longer than the target duration"
            ));
        }
    }
    Ok(())
}

fn parts(version: &Version) -> Result<(), Broken> {
    let Some(target) = version.part_target else { return Ok(()) };
    let least = target * PART_PERCENT_MIN / 100;
    let (mut after, targets) = (Duration::ZERO, Duration::from_secs(version.target * 3));
    after += version.parts.iter().map(|part| part.duration).sum::<Duration>();
    let complete = version.segments.iter().rev().map(|segment| (Some(segment), &segment.parts));
    for (segment, parts) in std::iter::once((None, &version.parts)).chain(complete) {
        for (part, at) in parts.iter().zip(1..) {
            // The newest part may turn out to be its segment's last.
            let is_last = at == parts.len();
            if part.duration > target || part.duration + ROUNDING < least && !is_last {
                return Err(format!(
                    "4.4.4.9: {} lasts {:?} of {target:?}",
                    part.uri, part.duration
                ));
            }
        }
        let Some(segment) = segment else { continue };
        if !parts.is_empty() {
            let sum: Duration = parts.iter().map(|part| part.duration).sum();
            let slack = ROUNDING * u32::try_from(parts.len()).unwrap_or(u32::MAX);
            if sum.abs_diff(segment.duration) > slack {
                return Err(format!(
                    "6.2.1: {} lasts {:?}, its parts {sum:?}",
                    segment.uri, segment.duration
                ));
            }
            if after > targets {
                return Err(format!(
                    "4.4.4.9: the parts of {} are listed for too long",
                    segment.uri
                ));
            }
        } else if after + segment.duration < targets && !is_of_earlier_server(version, segment) {
            return Err(format!(
                "6.2.1: {} is near the end, and its parts are not listed",
                segment.uri
            ));
        }
        after += segment.duration;
    }
    Ok(())
}

/// Whether the segment comes before a break, and neither it nor any before it has parts: a server that has taken a
/// playlist up has none of what was before.
fn is_of_earlier_server(version: &Version, segment: &Segment) -> bool {
    let ends = |at: &usize| version.segments[*at].uri == segment.uri;
    let Some(at) = (0..version.segments.len()).find(ends) else { return false };
    let (before, after) = version.segments.split_at(at + 1);
    let until = after.iter().take_while(|segment| !segment.discontinuity).count();
    let is_before_break = until < after.len() || version.opens_with_break;
    is_before_break && before.iter().chain(&after[..until]).all(|one| one.parts.is_empty())
}

/// What may change from one version to the next.
fn continues(last: &Version, version: &Version) -> Result<(), Broken> {
    for (what, before, now) in [
        ("EXT-X-TARGETDURATION", format!("{}", last.target), format!("{}", version.target)),
        ("PART-TARGET", format!("{:?}", last.part_target), format!("{:?}", version.part_target)),
        (
            "EXT-X-SERVER-CONTROL",
            format!("{:?}", last.server_control),
            format!("{:?}", version.server_control),
        ),
    ] {
        if before != now {
            return Err(format!("6.2.1: {what} has changed from {before} to {now}"));
        }
    }
    let next = Version::next;
    if version.media_sequence < last.media_sequence || next(version) < next(last) {
        return Err("6.2.2: the playlist went back".into());
    }
    if version.media_sequence > next(last) {
        return Err("6.2.2: segments were listed and removed between two versions".into());
    }
    if last.ended && (last.segments != version.segments || !version.ended) {
        return Err("4.4.3.4: something changed after EXT-X-ENDLIST".into());
    }
    removed(last, version)?;
    // What was in the making goes on.
    let open = next(last);
    let now = version.parts_of(open);
    let is_gone = now.is_empty() && (version.ended || next(version) > open);
    if !is_gone && now.get(..last.parts.len()) != Some(&last.parts[..]) {
        return Err(format!("6.2.1: the parts of segment {open} have changed"));
    }
    let newer = now.get(last.parts.len());
    let newer =
        newer.or_else(|| version.parts_of(open + 1).first().filter(|_| next(version) > open));
    // Whoever has taken the playlist up knows no parts of before, and nothing of what was announced.
    let is_taken_up = now.is_empty() && next(version) > open;
    let hint = last.hint.as_ref().filter(|_| !is_taken_up);
    match (hint, newer) {
        (Some(hint), Some(part)) if *hint != part.uri => {
            Err(format!("4.4.5.3: {hint} was hinted at, and {} came", part.uri))
        }
        _ => Ok(()),
    }
}

impl Version {
    /// The number of the segment that is not complete.
    fn next(&self) -> u64 {
        self.media_sequence + self.skipped + self.segments.len() as u64
    }

    /// The parts of a segment that are listed.
    fn parts_of(&self, number: u64) -> &[Part] {
        if number == self.next() {
            return &self.parts;
        }
        let at = number.checked_sub(self.media_sequence + self.skipped);
        let segment = at.and_then(|at| self.segments.get(usize::try_from(at).ok()?));
        segment.map_or(&[], |segment| &segment.parts)
    }
}

/// Segments leave from the front, and not while the rest lasts less than three target durations.
fn removed(last: &Version, version: &Version) -> Result<(), Broken> {
    let count = version.media_sequence - last.media_sequence;
    if count == 0 {
        return if version.discontinuity_sequence == last.discontinuity_sequence {
            Ok(())
        } else {
            Err("6.2.2: EXT-X-DISCONTINUITY-SEQUENCE has changed without a segment that left"
                .into())
        };
    }
    let rest: Duration = version.segments.iter().map(|segment| segment.duration).sum();
    if version.skipped == 0 && !version.ended && rest < Duration::from_secs(version.target * 3) {
        return Err(format!("6.2.2: a segment left, and the rest lasts {rest:?}"));
    }
    if last.skipped > 0 {
        // What left had been left out before.
        return Ok(());
    }
    let left = last.segments.iter().take(usize::try_from(count).unwrap_or(usize::MAX));
    let breaks = left.filter(|segment| segment.discontinuity).count() as u64;
    if version.discontinuity_sequence != last.discontinuity_sequence + breaks {
        return Err(format!(
            "6.2.2: EXT-X-DISCONTINUITY-SEQUENCE is {}, {breaks} more than {} would be right",
            version.discontinuity_sequence, last.discontinuity_sequence
        ));
    }
    Ok(())
}

fn parse(text: &str) -> Result<Version, Broken> {
    if text.lines().next() != Some("#EXTM3U") || !text.ends_with('\n') {
        return Err("4.1: not a whole playlist".into());
    }
    let (mut version, mut next) =
        (Version { version: 1, ..Version::default() }, Segment::default());
    for line in text.lines() {
        if version.ended {
            return Err(format!("4.4.3.4: {line:?} after EXT-X-ENDLIST"));
        }
        take(line, &mut version, &mut next).ok_or_else(|| format!("4.1: {line:?} is wrong"))?;
    }
    (version.parts, version.opens_with_break) = (next.parts, next.discontinuity);
    Ok(version)
}

fn take(line: &str, version: &mut Version, next: &mut Segment) -> Option<()> {
    if !line.starts_with('#') {
        next.uri = line.to_owned();
        if next.duration.is_zero() || line.is_empty() {
            return None;
        }
        version.segments.push(std::mem::take(next));
        return Some(());
    }
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    match name {
        "#EXT-X-VERSION" => version.version = value.parse().ok()?,
        "#EXT-X-TARGETDURATION" => version.target = value.parse().ok()?,
        "#EXT-X-MEDIA-SEQUENCE" => version.media_sequence = value.parse().ok()?,
        "#EXT-X-DISCONTINUITY-SEQUENCE" => version.discontinuity_sequence = value.parse().ok()?,
        "#EXT-X-SERVER-CONTROL" => version.server_control = attributes(value),
        "#EXT-X-PART-INF" => {
            version.part_target = Some(seconds(attributes(value).get("PART-TARGET")?)?);
        }
        "#EXT-X-SKIP" => {
            let count = attributes(value);
            version.skipped = count.get("SKIPPED-SEGMENTS")?.parse().ok()?;
        }
        "#EXT-X-PRELOAD-HINT" => version.hint = Some(attributes(value).get("URI")?.clone()),
        "#EXT-X-DISCONTINUITY" => next.discontinuity = true,
        "#EXT-X-PROGRAM-DATE-TIME" => next.date = Some(value.to_owned()),
        "#EXT-X-MAP" => {
            version.has_map = true;
            next.map = Some(attributes(value).get("URI")?.clone());
        }
        "#EXTINF" => next.duration = seconds(value.split(',').next()?)?,
        "#EXT-X-PART" => {
            version.has_parts = true;
            let attributes = attributes(value);
            next.parts.push(Part {
                uri: attributes.get("URI")?.clone(),
                duration: seconds(attributes.get("DURATION")?)?,
                independent: attributes.get("INDEPENDENT").is_some_and(|value| value == "YES"),
            });
        }
        "#EXT-X-RENDITION-REPORT" => {
            let attributes = attributes(value);
            attributes.get("URI")?;
            attributes.get("LAST-MSN")?.parse::<u64>().ok()?;
        }
        "#EXT-X-ENDLIST" => version.ended = true,
        // Others, and comments.
        _ => {}
    }
    Some(())
}

/// `NAME=VALUE,NAME="VALUE"`.
fn attributes(text: &str) -> BTreeMap<String, String> {
    let (mut attributes, mut rest) = (BTreeMap::new(), text);
    while let Some((name, value)) = rest.split_once('=') {
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        attributes.insert(name.to_owned(), value.to_owned());
        rest = after.trim_start_matches(',');
    }
    attributes
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

#[cfg(test)]
mod tests;
