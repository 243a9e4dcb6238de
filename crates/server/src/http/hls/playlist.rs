//! Playlists: `GET /app/stream.m3u8`, and `GET /app/stream~v1.m3u8` for one of several.
//!
//! Who is given one is a viewer from then on.

use std::{collections::HashMap, sync::Arc, time::Instant};

use axum::response::Response;
use bytes::Bytes;
use tokio::time::timeout_at;
use weir_clients::{
    client,
    held::Held,
    quota::{self, Meter, WATCHING, Who},
};
use weir_config::Vhost;
use weir_edge::{NoStream, Protocol};
use weir_hls::{Multivariant, Rendition, Window};
use weir_hub::{Start, Status};
use weir_intake::WakeSignal;
use weir_media::StreamKey;
use weir_outputs::hls::{Layout, Names};
use weir_rtmp::url::params;

use super::{
    body::{Answer, PlaylistText},
    own::{WantedPlaylist, own_playlist},
    relayed::relayed_playlist,
    viewer::{Asker, asks, count, session, who},
};
use crate::{
    auth,
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
) -> Result<Answer, Refusal> {
    let mut playlist = Playlist { asker, wanted, newcomer: None };
    let Playing { opened, session, key, vhost } =
        play::request(node, request, &mut playlist).await?;
    let answer = match opened {
        Ok(playlist) if wanted.is_named => {
            named(node, &vhost, &key, playlist, request).answer(&asker.conditions)
        }
        Ok(playlist) => playlist.answer(&asker.conditions),
        Err(why) => return Ok(why.into()),
    };
    if let Some(watched) = session {
        count(node, answer.length() as u64, watched.as_ref());
    }
    Ok(Answer::Playlist(answer))
}

/// The playlist as it is at the place that the configuration has for it. Its segments can be guessed: the viewer's
/// parameters are behind them where they are looked at.
fn named(
    node: &Node,
    vhost: &Vhost,
    key: &StreamKey,
    playlist: PlaylistText,
    request: &Request<'_>,
) -> PlaylistText {
    let Some(names) = Names::of(&vhost.hls) else { return playlist };
    // An edge has what its origins call it.
    let names = if node.edge.is_some() { names.of_playlists() } else { names };
    let layout = Layout::in_urls(&names, key);
    let params = &*request.ask.params;
    let wanted = auth::wants_parameters(vhost) || params::vhost(params).is_some();
    let params = if wanted { params } else { "" };
    let at = layout.playlist();
    let text = String::from_utf8_lossy(&playlist.text);
    // Which of several playlists these are, those say that it names.
    let is_main = !Multivariant::is(&text);
    let text = layout.text(&text, (&at, is_main), params, &mut HashMap::new());
    let text = Bytes::from(text);
    PlaylistText { digest: weir_hls::digest(&text), text, ..playlist }
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
            None => {
                let _pulled = pulled(resolved).await;
                own_playlist(node, key, vhost, request.ask, self.wanted, self.asker).await
            }
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

/// Has a stream that is pulled on demand pulled for as long as what this returns is held, and waits until it flows, as
/// long as viewers may wait: until then there is at most what was left of it.
async fn pulled(resolved: &Resolved<'_>) -> Option<impl Sized + use<>> {
    let Resolved { node, key, request, deadline, .. } = resolved;
    let pulls = node.pulls.as_ref()?;
    let wanted = pulls.wanted(key, request.ask)?;
    if node.streams.registry.status(key) != Some(Status::Live) {
        let before = node.hls.window(key).and_then(|window| window.playlist(Rendition::MAIN));
        let before = before.map(|listing| listing.version);
        let signal = Arc::new(WakeSignal::default());
        let _observer =
            node.streams.registry.follow(key, Start::NextGroup, Arc::clone(&signal) as _);
        let flows = async {
            while node.streams.registry.status(key) != Some(Status::Live) {
                signal.rang().await;
            }
            if let Some(window) = node.hls.window(key) {
                window.until(|window| is_newer(window, before).then_some(())).await;
            }
        };
        // Without it the answer is why there is none.
        let _ = timeout_at(*deadline, flows).await;
    }
    Some(wanted)
}

/// Whether the playlist is not the one that there was `before`, which may say that it has ended, or is about to.
fn is_newer(window: &Window, before: Option<u64>) -> bool {
    let listing = window.playlist(Rendition::MAIN);
    listing.is_none_or(|listing| before != Some(listing.version) && !listing.is_ended)
}
