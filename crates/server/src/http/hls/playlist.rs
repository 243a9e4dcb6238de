//! Playlists: `GET /app/stream.m3u8`, and `GET /app/stream~v1.m3u8` for one of several.
//!
//! Who is given one is a viewer from then on.

use std::{sync::Arc, time::Instant};

use axum::response::Response;
use weir_clients::{
    client,
    held::Held,
    quota::{self, Meter, WATCHING, Who},
};
use weir_edge::{NoStream, Protocol};
use weir_media::StreamKey;

use super::{
    body::PlaylistText,
    own::{WantedPlaylist, own_playlist},
    relayed::relayed_playlist,
    viewer::{Asker, asks, counted, session, who},
};
use crate::{
    http::answer::not_found,
    node::Node,
    play::{self, Playing, Refusal, Request, Resolved, Resource},
};

/// Answers with the playlist that is `wanted`. A viewer that comes before the publisher, or before the first segment,
/// waits for it. Who gets it is a viewer from then on, unless it only looks (`HEAD`).
///
/// # Errors
/// Why it does not get it.
pub async fn playlist(
    node: &Arc<Node>,
    request: &Request<'_>,
    wanted: WantedPlaylist,
    asker: &Asker,
) -> Result<Response, Refusal> {
    let mut playlist = Playlist { asker, wanted, newcomer: None };
    let Playing { opened, session, .. } = play::request(node, request, &mut playlist).await?;
    let answer = match opened {
        Ok(playlist) => playlist.answer(&asker.conditions),
        Err(why) => return Ok(why),
    };
    Ok(match session {
        None => answer,
        Some(watched) => counted(node, answer, watched, asker),
    })
}

/// The playlist of a stream, with the name by which its viewer tells itself apart.
struct Playlist<'a> {
    asker: &'a Asker,
    wanted: WantedPlaylist,
    /// The number of the viewer that it is for, if that does not watch yet.
    newcomer: Option<u64>,
}

impl Playlist<'_> {
    /// What tells the viewer apart. Where the back end is asked once, and not with each request, whoever shows it other
    /// parameters is another one.
    fn who<'a>(&'a self, resolved: &'a Resolved<'_>, session: &'a str) -> Who<'a> {
        let is_asked = !resolved.vhost.hooks.on_play.is_empty();
        let permission = if is_asked { &*resolved.request.ask.params } else { "" };
        Who { permission, ..who(resolved, session, self.asker) }
    }
}

impl Resource for Playlist<'_> {
    /// The playlist, or what else is answered; only who gets the playlist becomes a viewer.
    type Opened = Result<PlaylistText, Response>;
    /// What the viewer is sent is to be counted, if it is remembered; none for one that is no viewer.
    type Session = Option<Option<Meter>>;

    const PROTOCOL: Protocol = Protocol::Hls;

    fn note(&self, _: &Request<'_>, _: &StreamKey) {
        // Whether it waits is known with the next step.
    }

    fn look(&mut self, resolved: &Resolved<'_>) -> Result<(), Refusal> {
        let (key, session) = (resolved.key, session(resolved.request));
        let who = self.who(resolved, &session);
        let looked = resolved.node.clients.quotas.look_for_hls(who, Instant::now());
        // Who watches does not wait.
        asks(self.asker, Some(key).filter(|_| looked != Ok(true)));
        self.newcomer = (looked == Ok(false)).then(client::next_id);
        looked.map(drop).map_err(|full| Refusal::NoStream { key: key.clone(), why: full.into() })
    }

    fn client(&mut self, _: &Resolved<'_>) -> Option<u64> {
        self.newcomer
    }

    async fn open(
        &mut self,
        resolved: &Resolved<'_>,
        is_let_in: bool,
    ) -> Result<Self::Opened, NoStream> {
        let Resolved { node, key, vhost, request, .. } = resolved;
        Ok(match &node.edge {
            Some(edge) => {
                relayed_playlist(edge, resolved, self.wanted, !is_let_in, self.asker).await
            }
            None if !vhost.hls.enabled => Err(not_found(&format!("HLS is disabled for {key}"))),
            None => own_playlist(node, key, vhost, request.ask, self.wanted, self.asker).await,
        })
    }

    fn admit(
        &mut self,
        resolved: &Resolved<'_>,
        opened: &Self::Opened,
        held: Option<Held>,
    ) -> Result<Option<Option<Meter>>, quota::Refusal> {
        if opened.is_err() {
            return Ok(None);
        }
        asks(self.asker, None);
        let (quotas, now) = (&resolved.node.clients.quotas, Instant::now());
        quotas.guesses.gave_playlist(resolved.key, self.asker.ip, now);
        if self.asker.is_head {
            return Ok(None);
        }
        let session = session(resolved.request);
        let patience = WATCHING.max(resolved.vhost.hls.segment.saturating_mul(3));
        let id = self.newcomer;
        let id = move || id.unwrap_or_else(client::next_id);
        let who = self.who(resolved, &session);
        quotas.watch_hls(who, patience, id, held, now).map(Some)
    }
}
