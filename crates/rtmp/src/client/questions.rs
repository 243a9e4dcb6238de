//! Questions: may a viewer play this?

use std::time::Instant;

use weir_flv::amf0::Value;

use super::{Event, Phase, Session, liveness::Liveness};
use crate::{
    chunk::CSID_COMMAND,
    message::{Command, MayPlay, QUESTIONS_FIELD, Question},
};

/// The transaction id of question 0; those before it are of other calls.
const FIRST: u32 = 16;

impl Session {
    /// Asks; [`Event::Answer`] comes with the same `id`. Does nothing unless this session asks and is connected.
    pub fn ask_question(&mut self, id: u32, question: Question) {
        if matches!(self.phase, Phase::Questioning) {
            let call = question.call(f64::from(FIRST) + f64::from(id));
            self.link.send_command(CSID_COMMAND, 0, &call);
        }
    }

    pub(super) fn begin_questions(&mut self, connected: &Command, now: Instant) {
        let info = connected.arguments.first().and_then(Value::as_object);
        let number = info.and_then(|info| info.get(QUESTIONS_FIELD)).and_then(Value::as_number);
        let questions = number.map_or(0, |number| number as usize);
        self.link.set_out_chunk_size(self.config.chunk_size);
        self.phase = Phase::Questioning;
        self.deadline = None;
        self.liveness = self.config.silence.map(|limit| Liveness::new(self.purpose, limit, now));
        self.events.push_back(Event::Connected { questions });
    }

    pub(super) fn answered(&mut self, command: &Command) {
        let answer = MayPlay::of(command).ok_or_else(|| "malformed answer".to_owned());
        self.report(command, answer);
    }

    pub(super) fn unanswered(&mut self, command: &Command) {
        let why = command.info("description").unwrap_or("the call failed").to_owned();
        self.report(command, Err(why));
    }

    fn report(&mut self, command: &Command, answer: Result<MayPlay, String>) {
        let id = command.transaction - f64::from(FIRST);
        // Results of other calls are no answers.
        if (0.0..=f64::from(u32::MAX)).contains(&id) {
            self.events.push_back(Event::Answer { id: id as u32, answer });
        }
    }
}
