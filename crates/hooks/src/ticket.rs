//! What has begun with the consent of a back end: it hears of the end.

use std::{fmt, sync::Arc};

use weir_media::StreamKey;

use crate::event::{Action, Detail, Event, Subject};

/// Who passes on what has happened. Called on any thread; it must not wait.
pub trait Tell: Send + Sync {
    /// Something has happened.
    fn tell(self: Arc<Self>, event: Event);

    /// `subject` publishes `key` from now on, or does not any more.
    fn publishes(&self, key: &StreamKey, subject: &Arc<Subject>, begins: bool);
}

/// Something that has begun, and of whose end the back end is told when this is dropped: a viewer's session
/// (`on_stop`), a publish (`on_unpublish`), a connection (`on_close`). Dropping it only puts that into a queue, on any
/// thread.
pub struct Ticket {
    teller: Arc<dyn Tell>,
    subject: Arc<Subject>,
    end: Action,
    detail: Detail,
    /// Whether the end is told: a publish that comes to nothing has none.
    has_begun: bool,
    /// The stream that is published.
    key: Option<StreamKey>,
}

impl Ticket {
    /// One of which `end` is told.
    pub(crate) fn new(teller: Arc<dyn Tell>, subject: Arc<Subject>, end: Action) -> Self {
        let detail = match end {
            Action::Close => Detail::Bytes(0, 0),
            _ => Detail::None,
        };
        let has_begun = end != Action::Unpublish;
        Self { teller, subject, end, detail, has_begun, key: None }
    }

    /// The publish has begun. Before that, its end is none.
    pub fn begin(&mut self, key: &StreamKey) {
        self.has_begun = true;
        self.teller.publishes(key, &self.subject, true);
        self.key = Some(key.clone());
    }

    /// The connection ends, and was sent and has sent so many bytes.
    pub fn close(mut self, sent: u64, received: u64) {
        self.detail = Detail::Bytes(sent, received);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.teller.publishes(key, &self.subject, false);
        }
        if self.has_begun {
            let (subject, detail) = (Arc::clone(&self.subject), self.detail.clone());
            Arc::clone(&self.teller).tell(Event { action: self.end, subject, detail });
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("end", &self.end).field("client", &self.subject.id).finish()
    }
}
