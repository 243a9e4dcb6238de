//! What has happened lately that an operator wants to know of: a bounded list, written where it happens.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::Notify;
use weir_media::StreamKey;

use crate::detail::Detail;

/// The events of this process. There is one process, and events are written from everywhere in it.
pub static EVENTS: Events = Events::new();

/// Events that are kept, and refusals beside them: a crowd of those who are refused leaves the rest alone. With details
/// of their longest, some 1 MB.
const KEPT: usize = 512;

/// For how long, and among how many of the newest, the same event is one that happens again.
const AGAIN: Duration = Duration::from_secs(60);
const AGAIN_AMONG: usize = 32;

/// What an event is about: a closed set, for programs and translations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A client publishes a stream.
    PublisherCame,
    /// A client that published has gone, with the reason.
    PublisherLeft,
    /// A client may not publish.
    PublishRefused,
    /// A client may not play.
    PlayRefused,
    /// An operator has ended a client.
    ClientEnded,
    /// An origin of this edge failed.
    OriginLost,
    /// It is available again.
    OriginBack,
    /// A stream from an origin or another server was lost.
    PullLost,
    /// A stream to an origin was lost.
    PushLost,
    /// A configuration was put in force.
    Reloaded,
    /// A configuration was refused.
    ReloadFailed,
    /// A recording began.
    RecordingBegan,
    /// A file of a recording is complete.
    RecordingEnded,
    /// The process is going to stop.
    DrainBegan,
}

impl EventKind {
    /// Its name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::PublisherCame => "publisher_came",
            Self::PublisherLeft => "publisher_left",
            Self::PublishRefused => "publish_refused",
            Self::PlayRefused => "play_refused",
            Self::ClientEnded => "client_ended",
            Self::OriginLost => "origin_lost",
            Self::OriginBack => "origin_back",
            Self::PullLost => "pull_lost",
            Self::PushLost => "push_lost",
            Self::Reloaded => "reloaded",
            Self::ReloadFailed => "reload_failed",
            Self::RecordingBegan => "recording_began",
            Self::RecordingEnded => "recording_ended",
            Self::DrainBegan => "drain_began",
        }
    }

    const fn is_refusal(self) -> bool {
        matches!(self, Self::PublishRefused | Self::PlayRefused)
    }
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The same for as long as the event is known, also when it happens again.
    pub id: u64,
    /// Higher than those of all events that happened before it happened last.
    pub number: u64,
    /// When it happened last.
    pub at: SystemTime,
    /// What.
    pub kind: EventKind,
    /// With which stream, if it is about one.
    pub stream: Option<StreamKey>,
    /// The address of the client, if it is about one.
    pub peer: Option<IpAddr>,
    /// Why, or what else there is to say.
    pub detail: Detail,
    /// How often it has happened within a minute each.
    pub count: u64,
}

/// A bounded list of events.
#[derive(Debug)]
pub struct Events {
    rings: Mutex<Rings>,
    news: Notify,
}

#[derive(Debug)]
struct Rings {
    last: u64,
    usual: VecDeque<Event>,
    refusals: VecDeque<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Events {
    /// Nothing has happened.
    pub const fn new() -> Self {
        let rings = Rings { last: 0, usual: VecDeque::new(), refusals: VecDeque::new() };
        Self { rings: Mutex::new(rings), news: Notify::const_new() }
    }

    /// This has happened, now.
    pub fn note(
        &self,
        kind: EventKind,
        stream: Option<&StreamKey>,
        peer: Option<IpAddr>,
        detail: impl Into<Detail>,
    ) {
        let detail = detail.into();
        let at = SystemTime::now();
        let mut rings = self.lock();
        rings.last += 1;
        let number = rings.last;
        let ring = if kind.is_refusal() { &mut rings.refusals } else { &mut rings.usual };
        let is_same = |event: &Event| {
            event.kind == kind
                && event.stream.as_ref() == stream
                && event.detail == detail
                && (kind.is_refusal() || event.peer == peer)
                && at.duration_since(event.at).is_ok_and(|since| since < AGAIN)
        };
        let before = ring.iter().rev().take(AGAIN_AMONG).position(is_same);
        let before = before.and_then(|back| ring.remove(ring.len() - 1 - back));
        let event = match before {
            Some(before) => Event { number, at, peer, count: before.count + 1, ..before },
            None => Event {
                id: number,
                number,
                at,
                kind,
                stream: stream.cloned(),
                peer,
                detail,
                count: 1,
            },
        };
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(event);
        drop(rings);
        self.news.notify_waiters();
    }

    /// The events that happened after the one with the number `after`, in the order in which they did.
    pub fn after(&self, after: u64) -> Vec<Event> {
        let rings = self.lock();
        let all = rings.usual.iter().chain(&rings.refusals).filter(|event| event.number > after);
        let mut all: Vec<_> = all.cloned().collect();
        drop(rings);
        all.sort_unstable_by_key(|event| event.number);
        all
    }

    /// The number of the last event; 0 before the first.
    pub fn last(&self) -> u64 {
        self.lock().last
    }

    /// Resolves once something has happened after the event with the number `after`.
    pub async fn beyond(&self, after: u64) {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            // From here on nothing is missed.
            news.as_mut().enable();
            if self.last() > after {
                return;
            }
            news.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> StreamKey {
        StreamKey::new("v", "live", name).expect("a name")
    }

    #[test]
    fn events_come_in_their_order_and_are_bounded() {
        let events = Events::new();
        for number in 0..KEPT + 10 {
            let kind =
                if number % 2 == 0 { EventKind::PublisherCame } else { EventKind::PublisherLeft };
            events.note(kind, Some(&key(&number.to_string())), None, "");
        }
        let all = events.after(0);
        assert_eq!((all.len(), all[0].number, events.last()), (KEPT, 11, KEPT as u64 + 10));
        assert!(all.is_sorted_by_key(|event| event.number));
        assert_eq!(events.after(events.last() - 2).len(), 2);
    }

    #[test]
    fn refusals_take_no_room_of_others_and_the_same_one_is_counted() {
        let events = Events::new();
        events.note(EventKind::PublisherCame, Some(&key("a")), None, "rtmp");
        for number in 0..10 * KEPT {
            events.note(EventKind::PlayRefused, Some(&key(&number.to_string())), None, "no");
        }
        let all = events.after(0);
        assert_eq!((all.len(), all[0].kind), (KEPT + 1, EventKind::PublisherCame));
        let first = events.after(events.last() - 1)[0].clone();
        events.note(EventKind::PlayRefused, first.stream.as_ref(), None, "no");
        let again = &events.after(first.number)[0];
        assert_eq!((again.id, again.count), (first.id, 2));
        assert!(again.number > first.number);
        assert_eq!(events.after(0).len(), KEPT + 1);
    }

    #[tokio::test]
    async fn who_waits_hears_of_the_next_event() {
        let events = Events::new();
        events.note(EventKind::Reloaded, None, None, "a");
        events.beyond(0).await;
        let waiting = events.beyond(1);
        let ((), ()) = tokio::join!(waiting, async {
            tokio::task::yield_now().await;
            events.note(EventKind::Reloaded, None, None, "b");
        });
        assert_eq!(events.last(), 2);
    }
}
