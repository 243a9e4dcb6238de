//! The questions of a connection, while they wait.

use crate::message::{QUESTION_BYTES_MAX, QUESTIONS_MAX};

/// The questions of a connection that wait for their answers.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Ids, and how many bytes each question has.
    waiting: Vec<(f64, usize)>,
    bytes: usize,
}

impl Questions {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<(f64, usize)>()
    }

    /// Whether there is room for one more.
    pub(super) fn add(&mut self, id: f64, bytes: usize) -> bool {
        let fits = self.waiting.len() < QUESTIONS_MAX && self.bytes + bytes <= QUESTION_BYTES_MAX;
        if fits {
            self.waiting.push((id, bytes));
            self.bytes += bytes;
        }
        fits
    }

    /// Whether it has waited.
    pub(super) fn remove(&mut self, id: f64) -> bool {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == id);
        if let Some(at) = at {
            self.bytes -= self.waiting.swap_remove(at).1;
        }
        at.is_some()
    }
}
