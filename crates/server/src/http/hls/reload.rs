//! What a request for a playlist says beside its name (delivery directives, RFC 8216bis section 6.2.5), and how it, or
//! one for a part that comes next, waits for what is not there yet.

use std::{borrow::Cow, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::sleep;
use weir_hls::{Held, Listing, Reach, Rendition, Window};
use weir_rtmp::url::params;

/// Parameters that begin with this are for whoever serves the playlist. Nobody else is told them.
const PREFIX: &str = "_HLS_";

/// What is waited for is late after so many target durations (section 6.2.5.2).
const LATE: u32 = 3;

/// Target durations that are believed, in seconds: they bound how long a request waits.
const TARGETS: std::ops::RangeInclusive<u64> = 1..=60;

/// The delivery directives of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// The playlist is to have this segment.
    msn: Option<u64>,
    /// Or this part of it.
    part: Option<usize>,
    /// What the client has is to be left out.
    skip: bool,
    /// What is wrong with them.
    fault: Option<&'static str>,
}

impl Directives {
    /// Those among the parameters of a URL.
    pub fn of(params: &str) -> Self {
        let mut all = Self::default();
        if !params.contains(PREFIX) {
            return all;
        }
        for param in params::params(params) {
            let value = param.value().unwrap_or_default();
            match param.name().strip_prefix(PREFIX) {
                Some("msn") => match value.parse() {
                    Ok(msn) => all.msn = Some(msn),
                    Err(_) => all.fault = Some("_HLS_msn is not a number"),
                },
                Some("part") => match value.parse() {
                    Ok(part) => all.part = Some(part),
                    Err(_) => all.fault = Some("_HLS_part is not a number"),
                },
                Some("skip") => all.skip = matches!(&*value, "YES" | "v2"),
                _ => {}
            }
        }
        if all.part.is_some() && all.msn.is_none() {
            all.fault = all.fault.or(Some("_HLS_part needs _HLS_msn"));
        }
        all
    }

    /// Whether the client takes an update for the whole.
    pub fn wants_update(&self) -> bool {
        self.skip
    }
}

/// The parameters of a URL that are not [`Directives`].
pub fn without_directives(params: &str) -> Cow<'_, str> {
    if !params.contains(PREFIX) {
        return params.into();
    }
    let all = params.split(['?', '&']).filter(|it| !it.is_empty() && !it.starts_with(PREFIX));
    let rest = all.collect::<Vec<_>>().join("&");
    if rest.is_empty() { rest } else { format!("?{rest}") }.into()
}

/// The playlist that a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// It.
    pub listing: Arc<Listing>,
    /// Whether it has what was asked for, so that everybody may get it who asks for that.
    pub is_asked: bool,
}

/// Why a client gets none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreached {
    /// There is none, or not any more.
    #[error("it has no such playlist")]
    Missing,
    /// It asks wrongly.
    #[error("{0}")]
    Bad(&'static str),
    /// It asks for what is too far ahead.
    #[error("_HLS_msn and _HLS_part are too far ahead of the playlist")]
    TooFar,
    /// It has waited for too long.
    #[error("what was asked for has not come within {0:?}")]
    Late(Duration),
    /// It waits, and the server stops.
    #[error("the server is shutting down")]
    Leaving,
}

/// The playlist of a rendition with what `asked` is for, waited for if it has to be. When the publisher goes, and when
/// `leaving` resolves, a client gets what there is.
///
/// # Errors
/// Why it gets none.
pub async fn playlist(
    window: &Window,
    rendition: Rendition,
    asked: Directives,
    leaving: impl Future<Output = ()>,
) -> Result<Reached, Unreached> {
    let breaks = window.breaks();
    let look = |window: &Window| look(window, rendition, asked, breaks);
    if let Some(found) = look(window) {
        return found;
    }
    let most = patience(window, rendition);
    tokio::select! {
        biased;
        found = window.until_listed(rendition, look) => found,
        () = leaving => {
            let listing = window.playlist(rendition).ok_or(Unreached::Missing)?;
            Ok(Reached { listing, is_asked: false })
        }
        () = sleep(most) => Err(Unreached::Late(most)),
    }
}

/// What a client gets now; nothing if it is to wait. The publisher had gone `breaks` times when it came.
fn look(
    window: &Window,
    rendition: Rendition,
    asked: Directives,
    breaks: u64,
) -> Option<Result<Reached, Unreached>> {
    let Some(listing) = window.playlist(rendition) else { return Some(Err(Unreached::Missing)) };
    // What is not offered is not understood either (section 6.2.5).
    let Some(progress) = listing.progress else {
        return Some(Ok(Reached { listing, is_asked: false }));
    };
    if let Some(fault) = asked.fault {
        return Some(Err(Unreached::Bad(fault)));
    }
    let Some(msn) = asked.msn else { return Some(Ok(Reached { listing, is_asked: false })) };
    match progress.reach(msn, asked.part) {
        // Of what has ended everybody gets the same, whatever is asked for.
        Reach::Now => Some(Ok(Reached { listing, is_asked: !progress.is_ended })),
        Reach::TooFar => Some(Err(Unreached::TooFar)),
        Reach::Later if window.breaks() != breaks => Some(Ok(Reached { listing, is_asked: false })),
        Reach::Later => None,
    }
}

/// A part that a playlist announces, waited for until it is there. None when it will not come any more: its segment
/// has ended without it.
///
/// # Errors
/// When it is late, or `leaving` has resolved.
pub async fn part(
    window: &Window,
    file: &str,
    leaving: impl Future<Output = ()>,
) -> Result<Option<Bytes>, Unreached> {
    let look = |window: &Window| {
        // It may have come in the moment in which the next one was announced.
        let is_awaited = window.is_hinted(file);
        match window.get(file) {
            Some(Held::Here(data)) => Some(Some(data)),
            None if is_awaited => None,
            Some(Held::InFile) | None => Some(None),
        }
    };
    let renditions = window.renditions();
    let most = renditions.first().map_or(Duration::ZERO, |first| patience(window, *first));
    tokio::select! {
        biased;
        found = window.until_object(file, look) => Ok(found),
        () = leaving => Err(Unreached::Leaving),
        () = sleep(most) => Err(Unreached::Late(most)),
    }
}

/// How long a request may wait.
fn patience(window: &Window, rendition: Rendition) -> Duration {
    let target = window.playlist(rendition).and_then(|listing| target_duration(&listing.text));
    Duration::from_secs(target.unwrap_or(*TARGETS.end())) * LATE
}

/// EXT-X-TARGETDURATION of a playlist, in seconds.
pub fn target_duration(playlist: &[u8]) -> Option<u64> {
    let mut lines = playlist.split(|byte| *byte == b'\n');
    let digits = lines.find_map(|line| line.strip_prefix(b"#EXT-X-TARGETDURATION:"))?;
    let seconds = str::from_utf8(digits).ok()?.trim().parse::<u64>().ok()?;
    Some(seconds.clamp(*TARGETS.start(), *TARGETS.end()))
}

#[cfg(test)]
mod tests;
