//! What a client does with a stream: from the line in the log that says so until it may begin anew.

use std::sync::Arc;

use tracing::info;
use weir_media::StreamKey;

use crate::{
    detail::Detail,
    events::{EVENTS, EventKind},
    held::Held,
    quota::ViewerPermit,
    roster::{Activity, Presence, Roster},
};

/// A client that publishes or plays. Dropping it ends that, and the client may begin anew.
#[derive(Debug)]
pub struct Session {
    roster: Arc<Roster>,
    presence: Arc<Presence>,
}

impl Session {
    /// Says to everybody, and in the log, that a client is publishing or playing now.
    pub fn begin(
        roster: &Arc<Roster>,
        presence: &Arc<Presence>,
        activity: Activity,
        stream: &StreamKey,
    ) -> Self {
        presence.note(|doing| doing.asks = None);
        roster.turn(presence, activity, Some(stream));
        let (conn, peer) = (presence.id, presence.doing().peer);
        let (protocol, tls, role) = (presence.speaks(), presence.tls(), activity.label());
        info!(conn, %peer, protocol, tls, role, stream = %stream, "session began");
        if activity == Activity::Publish {
            let speaks = protocol.strip_suffix('s').filter(|_| tls.is_some()).unwrap_or(protocol);
            let how = tls.map_or(speaks.to_owned(), |tls| format!("{speaks} over {tls}"));
            let detail = Detail::new("speaks", [speaks, tls.unwrap_or_default()], &how);
            EVENTS.note(EventKind::PublisherCame, Some(stream), Some(peer.ip()), detail);
        }
        Self { roster: Arc::clone(roster), presence: Arc::clone(presence) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.roster.turn(&self.presence, Activity::Control, None);
    }
}

/// A client that plays, and its part of the limits on viewers. Dropping it gives both back.
pub struct ViewerSession {
    _held: Option<Held>,
    _permit: ViewerPermit,
    _session: Session,
}

impl ViewerSession {
    /// Says to everybody, and in the log, that a client that has got `permit` is playing now.
    pub fn begin(
        permit: ViewerPermit,
        roster: &Arc<Roster>,
        presence: &Arc<Presence>,
        stream: &StreamKey,
    ) -> Self {
        let session = Session::begin(roster, presence, Activity::Play, stream);
        Self { _held: None, _permit: permit, _session: session }
    }

    /// The same session, which keeps this to its end.
    #[must_use]
    pub fn keeping(self, held: Option<Held>) -> Self {
        Self { _held: held, ..self }
    }
}
