//! Commands: remote calls and their answers, in AMF0.

use weir_flv::amf0::{self, Object, Value};

use super::{COMMAND_BYTES_MAX, type_id};
use crate::Error;
pub use crate::limits::NAME_BYTES_SHOWN;

/// A command message (section 7.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Its name: `connect`, `publish`, `_result`, ...
    pub name: String,
    /// Joins an answer to its call; 0 asks for no answer.
    pub transaction: f64,
    /// The command object; null in most commands.
    pub object: Value,
    /// What follows it.
    pub arguments: Vec<Value>,
}

impl Command {
    /// A command without a command object.
    pub fn new(name: &str, transaction: f64, arguments: Vec<Value>) -> Self {
        Self { name: name.to_owned(), transaction, object: Value::Null, arguments }
    }

    /// An `onStatus` on a message stream, or on the connection.
    pub fn status(level: &str, code: &str, description: &str) -> Self {
        let mut info = Object::new();
        info.push("level", level);
        info.push("code", code);
        info.push("description", description);
        Self::new("onStatus", 0.0, vec![info.into()])
    }

    /// Parses the AMF0 body of a command message. A missing transaction id counts as 0, a missing command object as
    /// null: both are left out by some clients in commands that need no answer. Text that is not UTF-8 is
    /// [escaped](amf0::escaped).
    ///
    /// # Errors
    /// If the body is longer than [`COMMAND_BYTES_MAX`], no AMF0, or has no name.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let (type_id, length) = (type_id::COMMAND, body.len());
        if length > COMMAND_BYTES_MAX {
            return Err(Error::MessageTooLong { type_id, length, max: COMMAND_BYTES_MAX });
        }
        // Names may be in any encoding.
        let values = amf0::decode_all_escaped(body);
        let values = values.map_err(|source| Error::Amf { type_id, source })?;
        let mut values = values.into_iter();
        let Some(Value::String(name)) = values.next() else {
            return Err(Error::command("", "the name"));
        };
        let transaction = values.next().and_then(|value| value.as_number()).unwrap_or(0.0);
        let object = values.next().unwrap_or(Value::Null);
        Ok(Self { name, transaction, object, arguments: values.collect() })
    }

    /// The AMF0 body.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        amf0::encode(&Value::from(self.name.as_str()), &mut body);
        amf0::encode(&Value::Number(self.transaction), &mut body);
        amf0::encode(&self.object, &mut body);
        self.arguments.iter().for_each(|argument| amf0::encode(argument, &mut body));
        body
    }

    /// The argument at `index` if it is a string.
    pub fn text(&self, index: usize) -> Option<&str> {
        self.arguments.get(index).and_then(Value::as_str)
    }

    /// The argument at `index` if it is a number.
    pub fn number(&self, index: usize) -> Option<f64> {
        self.arguments.get(index).and_then(Value::as_number)
    }

    /// The argument at `index` if it is a truth value.
    pub fn flag(&self, index: usize) -> Option<bool> {
        self.arguments.get(index).and_then(Value::as_bool)
    }

    /// The string property `name` of the information object, the first argument of a status or an answer.
    pub fn info(&self, name: &str) -> Option<&str> {
        self.arguments.first()?.as_object()?.get(name)?.as_str()
    }
}
