//! What playlists name: `GET /app/stream-<sequence>-<nonce>.ts`, and parts, init segments and keys beside that.

use std::{sync::Arc, time::Instant};

use axum::response::Response;
use http::StatusCode;
use weir_clients::{
    counts::Refused,
    held::Held,
    quota::{self, Guess, Meter, Search},
};
use weir_edge::{HlsKind, NoStream, Protocol};
use weir_hls::{Form, SegmentName};
use weir_media::StreamKey;

use super::{
    body::object,
    own::own_segment,
    relayed::{held, relayed},
    viewer::{Asker, asks, counted, who},
};
use crate::{
    auth::Denied,
    http::answer::not_found,
    node::Node,
    play::{self, Playing, Refusal, Request, Resolved, Resource},
};

/// Answers with a segment.
///
/// # Errors
/// Why the viewer does not get it.
pub async fn segment(
    node: &Arc<Node>,
    request: &Request<'_>,
    name: SegmentName,
    asker: &Asker,
) -> Result<Response, Refusal> {
    send(node, request, (name, false), asker).await
}

/// The same for one that is asked for by its number, where the configuration has it for others.
///
/// # Errors
/// Why the viewer does not get it.
pub async fn numbered_segment(
    node: &Arc<Node>,
    request: &Request<'_>,
    number: u64,
    asker: &Asker,
) -> Result<Response, Refusal> {
    // Which settings hold for it is looked at again with everything else.
    let found = match node.resolve(request.url) {
        Ok((key, vhost)) => node.hls.numbered(&vhost.hls, &key, number).await,
        Err(_) => None,
    };
    let nobodys = SegmentName { sequence: number, nonce: None, form: Form::Ts };
    send(node, request, (found.unwrap_or(nobodys), true), asker).await
}

async fn send(
    node: &Arc<Node>,
    request: &Request<'_>,
    (name, is_guessable): (SegmentName, bool),
    asker: &Asker,
) -> Result<Response, Refusal> {
    let is_guessable = is_guessable || name.nonce.is_none();
    let mut segment = SegmentFile { asker, name, is_guessable, meter: None, guess: None };
    let playing = play::request(node, request, &mut segment).await;
    let missing = match &playing {
        Ok(Playing { key, opened, .. }) if opened.status() == StatusCode::NOT_FOUND => Some(key),
        Err(Refusal::NoStream { key, why: NoStream::Missing(_) }) => Some(key),
        _ => None,
    };
    match (segment.guess, missing) {
        (None, Some(key)) => return Err(Refusal::guesses(key)),
        (Some(guess), None) => node.clients.quotas.guesses.forgive(guess),
        _ => {}
    }
    Ok(counted(node, playing?.opened, segment.meter, asker))
}

/// A segment, for one who has, or should have, its playlist.
struct SegmentFile<'a> {
    asker: &'a Asker,
    name: SegmentName,
    /// Whether it was asked for by a name that can be guessed.
    is_guessable: bool,
    /// What is sent is to be counted here, if the viewer is known.
    meter: Option<Meter>,
    /// To be forgiven if the segment is there. None for one who has asked in vain so often that it is looked for here
    /// only.
    guess: Option<Guess>,
}

impl Resource for SegmentFile<'_> {
    /// What is answered, whatever that is.
    type Opened = Response;
    type Session = ();

    const PROTOCOL: Protocol = Protocol::Hls;

    fn note(&self, _: &Request<'_>, _: &StreamKey) {
        asks(self.asker, None);
    }

    fn authorize(&self, resolved: &Resolved<'_>) -> Result<(), Denied> {
        let Resolved { node, key, vhost, request, .. } = resolved;
        match self.is_guessable {
            false => node.auth.check_segment(&vhost.auth, request.shown()),
            true => play::authorize(node, key, vhost, request.url, request.shown()),
        }
    }

    fn look(&mut self, resolved: &Resolved<'_>) -> Result<(), Refusal> {
        let Resolved { node, key, .. } = resolved;
        let now = Instant::now();
        let fetched = node.clients.quotas.fetch_hls(who(resolved, "", self.asker), now);
        self.meter =
            fetched.map_err(|why| Refusal::NoStream { key: (*key).clone(), why: why.into() })?;
        let is_asked = !resolved.vhost.hooks.on_play.is_empty();
        if is_asked && self.is_guessable && self.meter.is_none() {
            let why = "it asks for a segment without having been given the playlist".to_owned();
            Refused::Auth.count();
            let why = Denied::Hook(weir_hooks::Refused::No(why));
            return Err(Refusal::Denied { key: (*key).clone(), why });
        }
        self.guess = match node.clients.quotas.guesses.ask(key, self.asker.ip, now) {
            Some(Search::Anywhere(guess)) => Some(guess),
            Some(Search::Here) => None,
            None => return Err(Refusal::Guesses { key: (*key).clone() }),
        };
        // An edge asks nobody for one who guesses.
        match &node.edge {
            Some(edge) if self.guess.is_none() && held(edge, key, self.name).is_none() => {
                Err(Refusal::Guesses { key: (*key).clone() })
            }
            _ => Ok(()),
        }
    }

    /// The back end has let in whoever has the playlist.
    fn client(&mut self, _: &Resolved<'_>) -> Option<u64> {
        None
    }

    /// Who knows a name that cannot be guessed has been let in before.
    fn is_asked_for(&self) -> bool {
        self.is_guessable
    }

    async fn open(
        &mut self,
        resolved: &Resolved<'_>,
        is_let_in: bool,
    ) -> Result<Response, NoStream> {
        let Resolved { node, key, vhost, request, .. } = resolved;
        let (name, kind) = (self.name, HlsKind::Segment(self.name));
        let Some(edge) = &node.edge else {
            return Ok(own_segment(node, key, vhost, name, self.asker).await);
        };
        let whole = match self.guess {
            Some(_) => relayed(edge, key, kind, vhost, request.ask, !is_let_in).await,
            None => held(edge, key, name)
                .ok_or_else(|| not_found(&format!("{key} has no segment {} here", name.sequence))),
        };
        Ok(whole.map_or_else(|why| why, |data| object(node, key, name, &data, self.asker)))
    }

    fn admit(
        &mut self,
        _: &Resolved<'_>,
        _: &Response,
        _: Option<Held>,
    ) -> Result<(), quota::Refusal> {
        Ok(())
    }
}
