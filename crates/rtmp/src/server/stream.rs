//! Message streams: the handles that `createStream` hands out.

use crate::Error;
pub use crate::limits::MESSAGE_STREAMS_MAX;

/// What a message stream is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Nothing yet.
    Idle,
    PublishAsked,
    Publishing,
    PlayAsked,
    Playing,
    /// Its publish or play ended. A publisher's last messages may still be on their way.
    Ended,
    /// Its publish was refused. What comes on it is of a stream that is not to be seen.
    Refused,
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
        loop {
            self.last_id = self.last_id.checked_add(1).ok_or(Error::MessageStreams)?;
            if !self.contains(self.last_id) {
                break;
            }
        }
        self.open(self.last_id)?;
        Ok(self.last_id)
    }

    /// Makes sure that there is a message stream `id`. Some encoders publish on one that they have not created, or on
    /// that of the connection, 0; nginx-rtmp and SRS let them.
    pub(super) fn open(&mut self, id: u32) -> Result<(), Error> {
        if self.contains(id) {
            return Ok(());
        }
        if self.streams.len() == MESSAGE_STREAMS_MAX {
            return Err(Error::MessageStreams);
        }
        self.streams.reserve_exact(1);
        self.streams.push(Stream { id, activity: Activity::Idle, name: "".into() });
        Ok(())
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

    /// Takes note that the publish that `id` asks for is refused; returns whether it still asked.
    pub(super) fn refuse(&mut self, id: u32) -> bool {
        let asked = |stream: &&mut Stream| stream.activity == Activity::PublishAsked;
        let Some(stream) = self.get_mut(id).filter(asked) else { return false };
        stream.activity = Activity::Refused;
        true
    }

    /// Whose media it is that comes on message stream `id`, and whether that publish was accepted. Some encoders send
    /// on a message stream that is not the one they publish on, such as 0, or on a chunk stream that never had a full
    /// header: what a connection sends is of the stream that it publishes.
    pub(super) fn media_of(&self, id: u32) -> Option<(u32, bool)> {
        let own = self.streams.iter().find(|stream| stream.id == id);
        match own.map(|stream| stream.activity) {
            Some(Activity::Publishing) => return Some((id, true)),
            Some(Activity::PublishAsked) => return Some((id, false)),
            Some(Activity::Refused | Activity::PlayAsked | Activity::Playing) => return None,
            Some(Activity::Idle | Activity::Ended) | None => {}
        }
        self.publisher().map(|stream| (stream.id, stream.activity == Activity::Publishing))
    }

    /// The message stream of the connection's publish, and the name it has there: one that was accepted, else one that
    /// waits for its answer.
    pub(super) fn published(&self) -> Option<(u32, &str)> {
        self.publisher().map(|stream| (stream.id, &*stream.name))
    }

    fn publisher(&self) -> Option<&Stream> {
        let first = |activity| self.streams.iter().find(|stream| stream.activity == activity);
        first(Activity::Publishing).or_else(|| first(Activity::PublishAsked))
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

    /// Whether anything is played or asked to be.
    pub(super) fn any_playing(&self) -> bool {
        let plays =
            |stream: &Stream| matches!(stream.activity, Activity::PlayAsked | Activity::Playing);
        self.streams.iter().any(plays)
    }

    /// Whether a publish waits for its answer.
    pub(super) fn any_asking(&self) -> bool {
        self.streams.iter().any(|stream| stream.activity == Activity::PublishAsked)
    }

    /// Whether anything is published.
    pub(super) fn any_accepted(&self) -> bool {
        self.streams.iter().any(|stream| stream.activity == Activity::Publishing)
    }

    /// Whether anything is published or asked to be.
    pub(super) fn any_publishing(&self) -> bool {
        self.streams.iter().any(Stream::publishes)
    }

    /// Whether anything is published, played or asked for.
    pub(super) fn any_active(&self) -> bool {
        use Activity::{Ended, Idle, Refused};
        !self.streams.iter().all(|stream| matches!(stream.activity, Idle | Ended | Refused))
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
