//! Questions of edges: may a viewer play this?

use super::{Event, PlayRefusal, Session, reply};
use crate::{
    Error,
    message::{Command, MAY_PLAY, MayPlay, QUESTION_BYTES_MAX, QUESTIONS_MAX, Question},
    url::discover,
};

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
    fn add(&mut self, id: f64, bytes: usize) -> bool {
        let fits = self.waiting.len() < QUESTIONS_MAX && self.bytes + bytes <= QUESTION_BYTES_MAX;
        if fits {
            self.waiting.push((id, bytes));
            self.bytes += bytes;
        }
        fits
    }

    /// Whether it has waited.
    fn remove(&mut self, id: f64) -> bool {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == id);
        if let Some(at) = at {
            self.bytes -= self.waiting.swap_remove(at).1;
        }
        at.is_some()
    }
}

impl Session {
    pub(super) fn question(&mut self, command: &Command) -> Result<(), Error> {
        let id = command.transaction;
        let question =
            Question::of(command).ok_or_else(|| Error::command(MAY_PLAY, "the stream"))?;
        match discover(&question.tc_url, &question.name) {
            Ok(url) if self.questions.add(id, question.bytes()) => {
                self.events.push_back(Event::Question { id, url, hops: question.hops });
            }
            Ok(_) => reply::failed(&mut self.link, id, "too many questions at a time"),
            Err(error) => {
                let code = PlayRefusal::StreamNotFound.code().to_owned();
                let refusal = Some((code, error.to_string()));
                let answer = MayPlay { refusal, ..MayPlay::default() };
                reply::result(&mut self.link, id, (&answer).into());
            }
        }
        self.watch_idle();
        Ok(())
    }

    /// Answers a question. Does nothing if it has its answer.
    pub fn answer_question(&mut self, id: f64, answer: &MayPlay) {
        if self.questions.remove(id) {
            reply::result(&mut self.link, id, answer.into());
            self.watch_idle();
        }
    }

    /// Says that a question cannot be answered now. Does nothing if it has its answer.
    pub fn fail_question(&mut self, id: f64, description: &str) {
        if self.questions.remove(id) {
            reply::failed(&mut self.link, id, description);
            self.watch_idle();
        }
    }
}
