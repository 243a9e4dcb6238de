//! Message streams: the handles that `createStream` hands out.

use crate::Error;

/// Message streams that a connection may have at a time. Encoders and players use one; a Flash application may hold one
/// for each camera and each thing it watches.
pub const MESSAGE_STREAMS_MAX: usize = 16;

/// What a message stream is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Nothing yet.
    Idle,
    PublishAsked,
    Publishing,
    PlayAsked,
    Playing,
    /// Its publish or play ended or was refused. A publisher's last messages may still be on their way.
    Ended,
}

#[derive(Debug)]
struct Stream {
    id: u32,
    activity: Activity,
    /// The name as `publish` had it, for `FCUnpublish`, which names no message stream.
    name: Box<str>,
}

/// The message streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    last_id: u32,
}

impl Streams {
    /// A new message stream. Ids count up from 1 and are not used again.
    pub(super) fn create(&mut self) -> Result<u32, Error> {
        if self.streams.len() == MESSAGE_STREAMS_MAX {
            return Err(Error::MessageStreams);
        }
        self.last_id = self.last_id.checked_add(1).ok_or(Error::MessageStreams)?;
        self.streams.reserve_exact(1);
        self.streams.push(Stream { id: self.last_id, activity: Activity::Idle, name: "".into() });
        Ok(self.last_id)
    }

    /// Removes a message stream; returns what it was used for.
    pub(super) fn delete(&mut self, id: u32) -> Option<Activity> {
        let at = self.streams.iter().position(|stream| stream.id == id)?;
        Some(self.streams.swap_remove(at).activity)
    }

    /// Ends what a message stream is used for; returns what that was.
    pub(super) fn end(&mut self, id: u32) -> Option<Activity> {
        let stream = self.get_mut(id)?;
        Some(std::mem::replace(&mut stream.activity, Activity::Ended))
    }

    /// Ends a message stream if it is used for `activity`; returns whether it was.
    pub(super) fn end_if(&mut self, id: u32, activity: Activity) -> bool {
        self.is(id, activity) && self.end(id).is_some()
    }

    /// Notes a request on a message stream. `name` is empty for `play`.
    pub(super) fn ask(&mut self, id: u32, activity: Activity, name: &str) {
        if let Some(stream) = self.get_mut(id) {
            stream.activity = activity;
            stream.name = name.into();
        }
    }

    /// Turns `asked` into what was asked for; returns whether it was still asked.
    pub(super) fn accept(&mut self, id: u32, asked: Activity) -> bool {
        let Some(stream) = self.get_mut(id).filter(|stream| stream.activity == asked) else {
            return false;
        };
        stream.activity = match asked {
            Activity::PublishAsked => Activity::Publishing,
            _ => Activity::Playing,
        };
        true
    }

    /// The message stream that publishes, or asks to publish, under `name`.
    pub(super) fn publisher_of(&self, name: &str) -> Option<u32> {
        let mut streams = self.streams.iter();
        streams.find(|stream| stream.publishes() && *stream.name == *name).map(|stream| stream.id)
    }

    pub(super) fn activity(&self, id: u32) -> Option<Activity> {
        self.streams.iter().find(|stream| stream.id == id).map(|stream| stream.activity)
    }

    pub(super) fn is(&self, id: u32, activity: Activity) -> bool {
        self.activity(id) == Some(activity)
    }

    pub(super) fn contains(&self, id: u32) -> bool {
        self.activity(id).is_some()
    }

    /// Those that publish.
    pub(super) fn publishing(&self) -> Vec<u32> {
        let publishing = |stream: &&Stream| stream.activity == Activity::Publishing;
        self.streams.iter().filter(publishing).map(|stream| stream.id).collect()
    }

    pub(super) fn any_publishing(&self) -> bool {
        self.streams.iter().any(Stream::publishes)
    }

    /// Whether anything is published, played or asked for.
    pub(super) fn any_active(&self) -> bool {
        let idle = |stream: &Stream| matches!(stream.activity, Activity::Idle | Activity::Ended);
        !self.streams.iter().all(idle)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let names: usize = self.streams.iter().map(|stream| stream.name.len()).sum();
        self.streams.capacity() * size_of::<Stream>() + names
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }
}

impl Stream {
    fn publishes(&self) -> bool {
        matches!(self.activity, Activity::PublishAsked | Activity::Publishing)
    }
}
