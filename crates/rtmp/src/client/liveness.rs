//! Whether a silent server is still there.

use std::time::{Duration, Instant};

use super::purpose::Purpose;
use crate::{Error, message::UserControl};

/// What is known about a server that was asked to publish or play.
#[derive(Debug)]
pub(super) struct Liveness {
    purpose: Purpose,
    /// How long it may be silent.
    limit: Duration,
    start: Instant,
    heard: Instant,
    media: Option<Instant>,
    /// Whether it has ever answered a ping.
    answers: bool,
    /// When it was pinged, if what counts has not come since.
    pinged: Option<Instant>,
}

impl Liveness {
    pub(super) fn new(purpose: Purpose, limit: Duration, now: Instant) -> Self {
        let (media, pinged) = (None, None);
        Self { purpose, limit, start: now, heard: now, media, answers: false, pinged }
    }

    /// From now on it may be silent for `limit`.
    pub(super) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Bytes came, of whatever kind.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
        if !self.counts_media() {
            self.pinged = None;
        }
    }

    /// A message of the stream came.
    pub(super) fn media(&mut self, now: Instant) {
        self.media = self.media.max(Some(now));
        self.pinged = None;
    }

    /// A ping was answered.
    pub(super) fn answered(&mut self) {
        self.answers = true;
        self.pinged = None;
    }

    pub(super) fn answers(&self) -> bool {
        self.answers
    }

    /// When to [`check`](Self::check).
    pub(super) fn due(&self) -> Option<Instant> {
        let half = self.limit / 2;
        let Some(pinged) = self.pinged else { return self.quiet_since().checked_add(half) };
        // A ping has its time to be answered, even if it was sent late: this process may have stood still, or had
        // other things to write.
        let answered_by = pinged.checked_add(half)?;
        match self.can_be_dead() {
            true => Some(answered_by.max(self.quiet_since().checked_add(self.limit)?)),
            false => Some(answered_by),
        }
    }

    /// A ping, if it is time for one.
    pub(super) fn check(&mut self, now: Instant) -> Result<Option<UserControl>, Error> {
        if self.due().is_none_or(|due| due > now) {
            return Ok(None);
        }
        if self.pinged.is_some() && self.can_be_dead() {
            return Err(Error::Silence(self.limit));
        }
        self.pinged = Some(now);
        let millis = now.saturating_duration_since(self.start).as_millis();
        Ok(Some(UserControl::PingRequest(millis as u32)))
    }

    /// Since when nothing has come that shows life.
    fn quiet_since(&self) -> Instant {
        if self.counts_media() { self.media.unwrap_or(self.start) } else { self.heard }
    }

    fn counts_media(&self) -> bool {
        self.purpose == Purpose::Play && !self.answers
    }

    /// Whether its silence means anything.
    fn can_be_dead(&self) -> bool {
        self.answers || self.media.is_some()
    }
}
