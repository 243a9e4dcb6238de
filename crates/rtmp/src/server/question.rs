//! Questions of edges: may a viewer play this?

use super::{Event, PlayRefusal, Session, reply};
use crate::{
    Error,
    message::{Command, MAY_PLAY, MayPlay, Question},
    url::discover,
};

impl Session {
    pub(super) fn question(&mut self, command: &Command) -> Result<(), Error> {
        let id = command.transaction;
        let question =
            Question::of(command).ok_or_else(|| Error::command(MAY_PLAY, "the stream"))?;
        match discover(&question.tc_url, &question.name) {
            Ok(url) if self.questions.add(id, question.bytes()) => {
                let Question { hops, page_url, .. } = question;
                self.events.push_back(Event::Question { id, url, hops, page_url });
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
