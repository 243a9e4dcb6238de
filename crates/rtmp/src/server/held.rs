//! Media that comes before its publish is accepted.
//!
//! Encoders that do not wait for the answer to `publish` begin with what nobody can do without: the configuration of
//! their codecs. It is held until the answer is known. How long that takes is the caller's affair: an edge asks its
//! origin, a publisher that may be dead is given some seconds. So whoever sends on meanwhile is not read any more
//! ([`Session::is_full`](super::Session::is_full)) once there is enough, and the network holds the rest.

use std::collections::VecDeque;

use weir_media::{Budget, Charge, Use};

use super::Event;
use crate::Error;
pub use crate::limits::HELD_BYTES_MAX;

/// What is held before a peer that asks to publish is not read any more: a quarter of a second of 8 Mb/s. Reading on
/// would save nothing, as the rest waits in the sockets' buffers.
pub const HELD_ENOUGH: usize = 256 * 1024;

/// What is read of a peer at a time, and so comes on top of [`HELD_ENOUGH`].
const READ_BYTES: usize = 64 * 1024;

/// What may be held of a peer that has not asked to publish: some configurations. It is as much as an unfinished
/// command may take.
pub const EARLY_BYTES_MAX: usize = 64 * 1024;

/// What an event takes beside the bytes of its message: itself, and what the allocator and the reference count add.
const EVENT_BYTES: usize = size_of::<Event>() + 64;

/// What is held of one connection.
#[derive(Debug)]
pub(super) struct Held {
    events: VecDeque<Event>,
    bytes: usize,
    charge: Option<Charge>,
}

impl Held {
    /// Nothing is held yet, and what will be counts against `budget`. It counts as unfinished commands do: whoever may
    /// not publish yet takes nothing from those who may.
    pub(super) fn new(budget: Option<&Budget>) -> Self {
        let charge = budget.map(|budget| Charge::new(budget, Use::Commands));
        Self { events: VecDeque::new(), bytes: 0, charge }
    }

    /// Holds one more event.
    ///
    /// # Errors
    /// When that is more than `most` bytes, or than the budget has.
    pub(super) fn push(&mut self, event: Event, most: usize) -> Result<(), Error> {
        let bytes = EVENT_BYTES + body_bytes(&event);
        if self.bytes + bytes > most {
            return Err(Error::HeldMedia);
        }
        if let Some(charge) = &mut self.charge {
            charge.grow(bytes).map_err(|_| Error::Memory { bytes })?;
        }
        self.bytes += bytes;
        self.events.push_back(event);
        Ok(())
    }

    /// What came last, to count more of the same.
    pub(super) fn last(&mut self) -> Option<&mut Event> {
        self.events.back_mut()
    }

    /// Whether there is enough, with `partial` bytes of unfinished messages.
    pub(super) fn is_full(&self, partial: usize) -> bool {
        let has_room = self.charge.as_ref().is_none_or(|charge| charge.fits(READ_BYTES));
        self.bytes + partial >= HELD_ENOUGH || !has_room
    }

    /// From now on what is of the publish on `from`, or all if there is none, is of the publish on `to`.
    pub(super) fn assign(&mut self, from: Option<u32>, to: u32) {
        for event in &mut self.events {
            if let Event::Media { stream_id: of, .. } | Event::LeftOut { stream_id: of, .. } = event
                && from.is_none_or(|from| from == *of)
            {
                *of = to;
            }
        }
    }

    /// Takes out what is of the publish on `stream_id`; returns it and whether more is held.
    pub(super) fn take(&mut self, stream_id: u32) -> (impl Iterator<Item = Event>, bool) {
        let is_of = |event: &Event| match event {
            Event::Media { stream_id: of, .. } | Event::LeftOut { stream_id: of, .. } => {
                *of == stream_id
            }
            _ => false,
        };
        let (taken, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.events).into_iter().partition(is_of);
        self.events = kept;
        self.bytes = self.events.iter().map(|event| EVENT_BYTES + body_bytes(event)).sum();
        if let Some(charge) = &mut self.charge {
            charge.set(self.bytes);
        }
        (taken.into_iter(), !self.events.is_empty())
    }

    /// Heap memory in use, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes
    }
}

fn body_bytes(event: &Event) -> usize {
    if let Event::Media { tag, .. } = event { tag.body.len() } else { 0 }
}
