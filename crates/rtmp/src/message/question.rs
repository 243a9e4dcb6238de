//! A call of our own: an edge asks its origin whether a viewer may play a stream, without playing it.
//!
//! A server that answers says so in its reply to `connect`. Any number of questions may be on their way, up to the one
//! that it says there, and they are answered in any order.

use weir_flv::amf0::{Object, Value};

use super::Command;

/// The name of the call.
pub const MAY_PLAY: &str = "weirMayPlay";

/// The field in the information object of the reply to `connect`: how many questions may wait for their answers.
pub const QUESTIONS_FIELD: &str = "weirQuestions";

/// Questions of one connection that may wait for their answers at a time.
pub const QUESTIONS_MAX: usize = 128;

/// Bytes of all questions of one connection that wait for their answers: as much as any client may hold that has not
/// been let publish. Most have some 200.
pub const QUESTION_BYTES_MAX: usize = super::COMMAND_BYTES_MAX;

/// The longest list of edges that a question has come through.
const HOPS_BYTES_MAX: usize = 1024;

/// What is asked: exactly what `connect` and `play` would say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The `tcUrl` of `connect`.
    pub tc_url: String,
    /// The stream name of `play`, with its query.
    pub name: String,
    /// The edges that it has come through, as text.
    pub hops: String,
    /// The page that the viewer is on, as it says; empty if it does not.
    pub page_url: String,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MayPlay {
    /// Why not: what `play` would be told. None if it would be let in.
    pub refusal: Option<(String, String)>,
    /// Whether the parameters of the URL made no difference: the answer holds for everybody who comes through the one
    /// who asks, and for all streams of the vhost.
    pub any: bool,
    /// Whether the stream is there now.
    pub here: bool,
}

impl Question {
    /// Bytes that count against [`QUESTION_BYTES_MAX`].
    pub fn bytes(&self) -> usize {
        self.tc_url.len() + self.name.len() + self.hops.len() + self.page_url.len()
    }

    pub(crate) fn call(self, transaction: f64) -> Command {
        let page = Some(self.page_url).filter(|page| !page.is_empty());
        let arguments = [self.tc_url, self.name, self.hops].into_iter().chain(page);
        Command::new(MAY_PLAY, transaction, arguments.map(Value::from).collect())
    }

    /// The question in a call; none if it is not whole.
    pub(crate) fn of(command: &Command) -> Option<Self> {
        let text = |index| command.text(index).map(str::to_owned);
        // Earlier releases do not say it.
        let page_url = text(3).unwrap_or_default();
        let question = Self { tc_url: text(0)?, name: text(1)?, hops: text(2)?, page_url };
        (question.hops.len() <= HOPS_BYTES_MAX).then_some(question)
    }
}

impl MayPlay {
    /// The answer in the result of a call; none if it is no answer.
    pub(crate) fn of(command: &Command) -> Option<Self> {
        let info = command.arguments.first()?.as_object()?;
        let text = |name| info.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let flag = |name| info.get(name).and_then(Value::as_bool).unwrap_or(false);
        let refusal = match info.get("allowed")?.as_bool()? {
            true => None,
            false => Some((text("code"), text("description"))),
        };
        Some(Self { refusal, any: flag("any"), here: flag("here") })
    }
}

impl From<&MayPlay> for Value {
    fn from(answer: &MayPlay) -> Self {
        let mut info = Object::new();
        info.push("allowed", answer.refusal.is_none());
        info.push("any", answer.any);
        info.push("here", answer.here);
        if let Some((code, description)) = &answer.refusal {
            info.push("code", code.as_str());
            info.push("description", description.as_str());
        }
        info.into()
    }
}
