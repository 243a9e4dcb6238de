//! What clients call.

use weir_flv::amf0::{Object, Value};
use weir_media::{Charge, Use};

use super::{
    Capabilities, ConnectInfo, Event, Phase, PlayRefusal, PublishRefusal, Session, reply,
    stream::Activity,
};
use crate::{
    Error,
    error::cut,
    message::{Command, MAY_PLAY, NAME_BYTES_SHOWN},
    url::{StreamUrl, URL_BYTES_MAX, app_bytes, discover, without_stream},
};

/// What a client is told that wants something else of a message stream that it uses.
const IN_USE: &str = "this message stream publishes or plays another stream";

impl Session {
    pub(super) fn command(&mut self, stream_id: u32, command: &Command) -> Result<(), Error> {
        let counted = match (&self.phase, command.name.as_str()) {
            (Phase::Connected { .. }, MAY_PLAY) => self.rates.question(self.now),
            _ => self.rates.command(self.now),
        };
        counted.or_else(|error| self.too_often(error))?;
        match (&self.phase, command.name.as_str()) {
            (Phase::Hello(_), "connect") => return self.connect(command),
            (Phase::Connected { .. }, "connect") => return Err(Error::AlreadyConnected),
            (Phase::Connected { .. }, _) => {}
            (_, name) => return Err(Error::NotConnected(cut(name, NAME_BYTES_SHOWN))),
        }
        match command.name.as_str() {
            "createStream" => self.create_stream(command)?,
            "publish" => self.publish(stream_id, command)?,
            "play" | "play2" => self.play(stream_id, command)?,
            MAY_PLAY => self.question(command)?,
            "deleteStream" => self.delete_stream(stream_id, command),
            "closeStream" => self.close_stream(stream_id),
            "FCUnpublish" => self.fc_unpublish(command),
            "pause" | "pauseRaw" => self.pause(stream_id, command),
            "seek" => self.seek(stream_id),
            "receiveAudio" | "receiveVideo" => self.receive(stream_id, command),
            "getStreamLength" => self.answer(command, Value::Number(0.0)),
            // Answers, and notices that need none.
            "_result" | "_error" | "onStatus" => {}
            // `releaseStream`, `FCPublish`, `_checkbw` and what encoders make up: nothing to do, but some wait for
            // the result.
            _ => self.answer(command, Value::Undefined),
        }
        Ok(())
    }

    /// Answers a call, if an answer was asked for.
    fn answer(&mut self, command: &Command, value: Value) {
        reply::result(&mut self.link, command.transaction, value);
    }

    fn connect(&mut self, command: &Command) -> Result<(), Error> {
        let empty = Object::new();
        let object = command.object.as_object().unwrap_or(&empty);
        let info = ConnectInfo::of(object);
        if info.tc_url.len() > URL_BYTES_MAX {
            return Err(Error::url(&info.tc_url, "it is too long"));
        }
        // Some hardware encoders send no tcUrl; the app names no host, and that means the default vhost.
        let tc_url: Box<str> = match info.tc_url.as_str() {
            "" => format!("rtmp:///{}", info.app).into(),
            url => url.into(),
        };
        let reconnects = info.enhanced.as_ref().is_some_and(Capabilities::reconnects);
        let app_bytes = app_bytes(&tc_url, &info.app);
        let bytes = tc_url.len();
        let charge = self.link.reader().budget().map(|budget| Charge::new(budget, Use::Requests));
        let charge =
            charge.map(|mut charge| charge.grow(bytes).map(|()| Box::new(charge))).transpose();
        let charge = charge.map_err(|_| Error::Memory { bytes })?;
        let connected = Phase::Connected { tc_url, app_bytes, reconnects, _charge: charge };
        let before = std::mem::replace(&mut self.phase, connected);
        if let Phase::Hello(config) = before {
            let encoding = object.get("objectEncoding").and_then(Value::as_number).unwrap_or(0.0);
            let (transaction, enhanced) = (command.transaction, info.enhanced.as_ref());
            reply::connected(&mut self.link, *config, transaction, encoding, enhanced);
        }
        self.events.push_back(Event::Connected(Box::new(info)));
        Ok(())
    }

    fn create_stream(&mut self, command: &Command) -> Result<(), Error> {
        let id = self.streams.create()?;
        self.answer(command, Value::from(id));
        Ok(())
    }

    fn publish(&mut self, stream_id: u32, command: &Command) -> Result<(), Error> {
        self.streams.open(stream_id)?;
        let name = command.text(0).ok_or_else(|| Error::command("publish", "the stream name"))?;
        let url = self.discover(stream_id, name, PublishRefusal::BadName.code())?;
        match (self.streams.activity(stream_id), self.published_again(&url)) {
            // Encoders repeat what they have no answer to yet, or lost it.
            (Some(Activity::PublishAsked), Some(same)) if same == stream_id => return Ok(()),
            (Some(Activity::Publishing), Some(same)) if same == stream_id => {
                reply::publish_start(&mut self.link, stream_id);
                return Ok(());
            }
            (Some(Activity::Idle | Activity::Ended | Activity::Refused), same) => {
                // It goes on here, as a publish of its own.
                if let Some(before) = same {
                    if let Some(held) = &mut self.held {
                        held.assign(Some(before), stream_id);
                    }
                    self.close_stream(before);
                }
            }
            (..) => {
                let code = PublishRefusal::Failed.code();
                self.link.send_status(stream_id, "error", code, IN_USE);
                return Ok(());
            }
        }
        let kind = command.text(1).unwrap_or("live").to_owned();
        self.streams.ask(stream_id, Activity::PublishAsked, name);
        if let Some(early) = self.held.as_mut().filter(|_| !self.has_asked) {
            early.assign(None, stream_id);
        }
        self.has_asked = true;
        self.expect();
        self.events.push_back(Event::Publish { stream_id, url, kind });
        self.watch_idle();
        Ok(())
    }

    /// The message stream on which this connection publishes the stream of `url`, or has asked to, if it has. The
    /// parameters are left aside: they say who may publish it, and that is asked once a publish.
    fn published_again(&self, url: &StreamUrl) -> Option<u32> {
        let (stream_id, name) = self.streams.published()?;
        let before = self.url_of(name).ok()?;
        let is_same = before == StreamUrl { params: before.params.clone(), ..url.clone() };
        is_same.then_some(stream_id)
    }

    /// `play` on a stream that plays already is how Flash Player switches to another one.
    fn play(&mut self, stream_id: u32, command: &Command) -> Result<(), Error> {
        self.streams.open(stream_id)?;
        match self.streams.activity(stream_id) {
            Some(Activity::PlayAsked | Activity::Playing) => self.close_stream(stream_id),
            Some(Activity::PublishAsked | Activity::Publishing) => {
                let code = PlayRefusal::Failed.code();
                self.link.send_status(stream_id, "error", code, IN_USE);
                return Ok(());
            }
            Some(Activity::Idle | Activity::Ended | Activity::Refused) | None => {}
        }
        let name = played_name(command).ok_or_else(|| Error::command("play", "the stream name"))?;
        let url = self.discover(stream_id, name, PlayRefusal::StreamNotFound.code())?;
        self.streams.ask(stream_id, Activity::PlayAsked, "");
        if !self.streams.any_publishing() {
            self.held = None;
        }
        self.events.push_back(Event::Play {
            stream_id,
            url,
            start: command.number(1).unwrap_or(-2.0),
            duration: command.number(2).unwrap_or(-1.0),
            reset: command.flag(3).unwrap_or(true),
        });
        self.watch_idle();
        Ok(())
    }

    /// The stream that the client means. If it cannot be one, the client is told before the connection ends.
    fn discover(&mut self, stream_id: u32, name: &str, code: &str) -> Result<StreamUrl, Error> {
        self.url_of(name).inspect_err(|error| {
            self.link.send_status(stream_id, "error", code, &error.to_string());
        })
    }

    /// The stream that `name` means on this connection.
    fn url_of(&self, name: &str) -> Result<StreamUrl, Error> {
        let Phase::Connected { tc_url, app_bytes, .. } = &self.phase else {
            return Err(Error::Ended);
        };
        discover(&without_stream(tc_url, *app_bytes, name), name)
    }

    /// The stream to delete is an argument; clients that leave it out mean the one they send it on.
    fn delete_stream(&mut self, stream_id: u32, command: &Command) {
        let id = command.number(0).map_or(stream_id, |id| id as u32);
        let activity = self.streams.delete(id);
        self.report_end(id, activity);
    }

    fn close_stream(&mut self, stream_id: u32) {
        let activity = self.streams.end(stream_id);
        self.report_end(stream_id, activity);
    }

    fn fc_unpublish(&mut self, command: &Command) {
        let publisher = command.text(0).and_then(|name| self.streams.publisher_of(name));
        if let Some(stream_id) = publisher {
            let activity = self.streams.end(stream_id);
            reply::publish_end(&mut self.link, stream_id);
            self.report_end(stream_id, activity);
        }
        self.answer(command, Value::Undefined);
    }

    fn report_end(&mut self, stream_id: u32, activity: Option<Activity>) {
        match activity {
            Some(Activity::PublishAsked | Activity::Publishing) => {
                self.events.push_back(Event::EndPublish { stream_id });
                return self.publish_ended(stream_id);
            }
            Some(Activity::PlayAsked | Activity::Playing) => {
                self.events.push_back(Event::EndPlay { stream_id });
            }
            Some(Activity::Idle | Activity::Ended | Activity::Refused) | None => return,
        }
        self.watch_idle();
    }

    fn pause(&mut self, stream_id: u32, command: &Command) {
        if !self.streams.is(stream_id, Activity::Playing) {
            return;
        }
        let paused = command.flag(0).unwrap_or(true);
        let at_millis = command.number(1).unwrap_or(0.0);
        reply::paused(&mut self.link, stream_id, paused);
        self.events.push_back(Event::Pause { stream_id, paused, at_millis });
    }

    fn seek(&mut self, stream_id: u32) {
        if self.streams.is(stream_id, Activity::Playing) {
            reply::seek(&mut self.link, stream_id);
        }
    }

    fn receive(&mut self, stream_id: u32, command: &Command) {
        if !self.streams.is(stream_id, Activity::Playing) {
            return;
        }
        let enabled = command.flag(0).unwrap_or(true);
        self.events.push_back(match command.name.as_str() {
            "receiveAudio" => Event::ReceiveAudio { stream_id, enabled },
            _ => Event::ReceiveVideo { stream_id, enabled },
        });
    }
}

/// The stream name of `play`, or of `play2`, which has it in an object.
fn played_name(command: &Command) -> Option<&str> {
    match command.arguments.first()? {
        Value::String(name) => Some(name),
        options => options.as_object()?.get("streamName")?.as_str(),
    }
}
