//! A connected client: who it is, what it holds while it is here, and its last words in the log.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tracing::{debug, info, warn};
use weir_media::StreamKey;

use crate::{counts::COUNTS, end::seconds, permits::Permit};
use crate::{
    detail::Detail,
    end::{End, Kind, Side},
    events::{EVENTS, EventKind},
    quota::{AddressPermit, Quotas, Refusal},
    roster::{Activity, Doing, Figures, Roster, RosterEntry},
    session::ViewerSession,
};

/// A client's part in the process. It goes where its socket goes; dropping it frees its permit under
/// `limits.connections`.
pub struct Client {
    /// Its number, unique in this process, in every log line about it.
    pub id: u64,
    /// Its address.
    pub peer: SocketAddr,
    /// What it speaks, for the log.
    pub protocol: &'static str,
    /// What others know of it, and how it hears that it is to leave.
    pub presence: RosterEntry,
    /// Media bytes sent to it.
    pub sent: u64,
    /// Bytes received from it.
    pub received: u64,
    /// How often it fell behind and was moved to the newest group.
    pub skips: u32,
    /// The age of the oldest bytes that its socket has not taken, where somebody knows.
    pub behind: Option<Duration>,
    /// What it holds while it plays.
    pub viewing: Option<ViewerSession>,
    /// Who is told, at its end, how many bytes it was sent and has sent.
    pub on_end: Option<OnEnd>,
    /// What it takes of what there is a limit of.
    pub standing: Arc<Admission>,
    /// Whether it has been answered requests, one after the other: files are fetched over so many connections that the
    /// log speaks of none.
    pub fetches: bool,
    /// Whether the log has said already that, and why, what it did has ended.
    pub is_told: bool,
    /// Its part of the descriptors.
    pub socket: Option<Permit>,
    refused: bool,
}

/// Told of the end of a client, with the bytes that it was sent and has sent. Called on any thread; it must not wait.
pub type OnEnd = Box<dyn FnOnce(u64, u64) + Send + Sync>;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The number of the next client, unique in this process.
pub fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// What a connection takes of what there is a limit of: a permit, and a part of what its address may have. Dropping it
/// gives both back. A connection of a proxy has requests of many clients, one after the other.
pub struct Admission(Mutex<Held>);

struct Held {
    permit: Permit,
    visit: Option<AddressPermit>,
}

impl Admission {
    fn new(permit: Permit) -> Self {
        Self(Mutex::new(Held { permit, visit: None }))
    }

    /// That of one request of many at a time, whose connection has a permit already. It counts for nobody yet.
    pub fn of_request() -> Self {
        Self::new(Permit::uncounted())
    }

    /// Goes to another permit, and frees the one it had.
    pub fn move_to(&self, permit: Permit) {
        // Dropped behind the lock: what is freed has locks of its own.
        drop(std::mem::replace(&mut self.held().permit, permit));
    }

    /// From now on it counts for the address `ip`.
    ///
    /// # Errors
    /// When that has as many connections as it may. Then this one counts for nobody.
    pub fn count(&self, quotas: &Arc<Quotas>, ip: IpAddr) -> Result<(), Refusal> {
        if self.held().visit.as_ref().is_some_and(|visit| visit.is_of(ip)) {
            return Ok(());
        }
        let entered = quotas.enter(ip);
        let (visit, entered) = match entered {
            Ok(visit) => (Some(visit), Ok(())),
            Err(refusal) => (None, Err(refusal)),
        };
        drop(std::mem::replace(&mut self.held().visit, visit));
        entered
    }

    /// From now on it counts for no address.
    pub fn count_for_nobody(&self) {
        drop(self.held().visit.take());
    }

    /// Whether it counts for an address.
    #[cfg(test)]
    pub fn is_counted(&self) -> bool {
        self.held().visit.is_some()
    }

    /// Waits at `permit` for an answer, and takes nothing meanwhile from those who are served.
    pub fn step_aside(&self, permit: Permit) {
        self.move_to(permit);
        self.count_for_nobody();
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// A client that has just connected and holds `permit`.
    pub fn new(
        peer: SocketAddr,
        protocol: &'static str,
        permit: Permit,
        roster: &Arc<Roster>,
    ) -> Self {
        let id = next_id();
        if protocol != "api" {
            COUNTS.clients.increase();
        }
        Self {
            id,
            peer,
            protocol,
            presence: roster.enlist(id, protocol, peer),
            sent: 0,
            received: 0,
            skips: 0,
            behind: None,
            viewing: None,
            on_end: None,
            standing: Arc::new(Admission::new(permit)),
            fetches: false,
            is_told: false,
            socket: None,
            refused: false,
        }
    }

    /// Its address is another than that of its connection.
    pub fn is_at(&mut self, peer: SocketAddr) {
        self.peer = peer;
        self.presence.note(|doing| doing.peer = peer);
    }

    /// Tells others how far it is. Not for every frame.
    pub fn report(&self) {
        let Self { sent, received, skips, behind, .. } = *self;
        self.presence.report(Figures { sent, received, skips, behind });
    }

    /// Says in the log that it may not play; only once, for it can ask as often as it likes.
    pub fn refused(&mut self, stream: &StreamKey, why: impl Into<Detail>) {
        let why = why.into();
        let reason = &*why.text;
        if !std::mem::replace(&mut self.refused, true) {
            let side = Side::Policy.label();
            info!(conn = self.id, peer = %self.peer, stream = %stream, side, reason, "play refused");
            EVENTS.note(EventKind::PlayRefused, Some(stream), Some(self.peer.ip()), why);
        }
    }

    /// Goes without having been served; whoever turned it away has said so in the log, for all of its kind.
    pub fn turned_away(self, reason: &str) {
        debug!(conn = self.id, peer = %self.peer, protocol = self.protocol, reason, "connection refused");
    }

    /// What it did last, or asked for last without getting it. Each session on a connection with requests one after the
    /// other has had its own line in the log.
    fn did_last(&self) -> (Activity, Option<StreamKey>) {
        let Doing { asks, role, stream, .. } = self.presence.doing();
        match asks {
            Some((activity, stream)) => (activity, Some(stream)),
            None if self.fetches => (Activity::Control, None),
            None => (role, stream),
        }
    }

    /// Says to operators what they want to know of its end: who published has gone, or somebody got nothing.
    fn tell_of_end(&self, end: &End, role: Activity, stream: Option<&StreamKey>) {
        let has_asked = self.presence.doing().asks.is_some();
        let is_refused = has_asked && matches!(end.kind, Kind::Refused | Kind::Limit);
        let kind = match role {
            Activity::Publish if is_refused => EventKind::PublishRefused,
            Activity::Publish if !has_asked && !self.is_told => EventKind::PublisherLeft,
            Activity::Play if is_refused && !self.refused => EventKind::PlayRefused,
            Activity::Publish | Activity::Play | Activity::Control => return,
        };
        EVENTS.note(kind, stream, Some(self.peer.ip()), end.told());
    }

    /// Says in the log that and why it is going. Whoever reads that finds its permit free: it is in nobody's way and in
    /// no figure of viewers any more. Only the roster has it until the line is written, since a process that stops
    /// waits for that.
    pub fn end(mut self, end: &End) {
        self.report();
        let (role, stream) = self.did_last();
        self.tell_of_end(end, role, stream.as_ref());
        drop(self.viewing.take());
        if let Some(on_end) = self.on_end.take() {
            on_end(self.sent, self.received);
        }
        drop(self.standing);
        self.presence.ends();
        // A load balancer's health check connects and goes: nobody wants to read of it.
        let is_probe = stream.is_none() && self.received == 0 && end.side == Side::Peer;
        let stream = stream.map(|stream| stream.to_string()).unwrap_or_default();
        let seconds = seconds(self.presence.since.elapsed());
        let protocol = if self.fetches { self.protocol } else { self.presence.speaks() };
        let tls = self.presence.tls();
        macro_rules! say {
            ($level:ident) => {
                $level!(
                    conn = self.id, peer = %self.peer, protocol, tls, role = role.label(), stream,
                    side = end.side.label(), kind = end.kind.label(), reason = %end.reason, seconds, sent = self.sent,
                    received = self.received, skips = self.skips, "session ended"
                )
            };
        }
        // Whoever looks after the server is no session.
        if !is_probe && !self.is_told && self.protocol != "api" {
            COUNTS.ended(role, end);
        }
        let is_usual = matches!(
            end.kind,
            Kind::Closed | Kind::Reset | Kind::Failed | Kind::Idle | Kind::Stalled
        );
        match end.side {
            _ if is_probe || self.is_told || self.fetches && is_usual => say!(debug),
            Side::Peer | Side::Upstream | Side::Policy => say!(info),
            Side::Us => say!(warn),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tracing::{Event, Subscriber, subscriber};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    use super::*;
    use crate::{permits::Permits, quota::Limits};

    fn key() -> StreamKey {
        StreamKey::new("example.com", "live", "one").expect("a good name")
    }

    /// Counts how many viewers there are as a line is written, and whether an address has room, and the client is to be
    /// found.
    struct Reader {
        quotas: Arc<Quotas>,
        roster: Arc<Roster>,
        id: u64,
        found: Arc<Mutex<Vec<(usize, bool, bool)>>>,
    }

    impl<S: Subscriber> Layer<S> for Reader {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            let has_room = self.quotas.enter([127, 0, 0, 1].into()).is_ok();
            let viewers = self.quotas.viewers(&key());
            self.found.lock().expect("no test panics here").push((
                viewers,
                has_room,
                self.roster.find(self.id).is_some(),
            ));
        }
    }

    #[test]
    fn who_reads_of_an_end_finds_the_place_free() {
        let limits = Limits { connections_per_ip: 1, ..Limits::default() };
        let quotas = Arc::new(Quotas::new(limits));
        let permit = Permits::new(1).take().expect("a permit");
        let roster = Arc::<Roster>::default();
        let mut client = Client::new(([127, 0, 0, 1], 1).into(), "test", permit, &roster);
        client.standing.count(&quotas, client.peer.ip()).expect("room");
        let permit = quotas.admit(&key(), false, 0, Instant::now()).expect("room");
        client.viewing = Some(ViewerSession::begin(permit, &roster, &client.presence, &key()));
        assert_eq!(quotas.viewers(&key()), 1);
        assert!(client.presence.does(Activity::Play));
        let (id, found) = (client.id, Arc::default());
        assert!(roster.find(id).is_some());
        let reader = Reader { quotas, roster, id, found: Arc::clone(&found) };
        let lines = tracing_subscriber::registry().with(reader);
        subscriber::with_default(lines, || client.end(&End::closed()));
        assert_eq!(*found.lock().expect("no test panics here"), [(0, true, false)]);
    }
}
