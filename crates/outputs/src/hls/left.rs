//! What an earlier process left of a stream: its playlists go on, and what they list is still to be had.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::timeout;
use tracing::{debug, warn};
use weir_hls::{Config, Form, Nonce, Playlist, Rendition, SegmentName, Window};
use weir_media::StreamKey;

use super::{
    files::{Files, LeftPlaylists},
    share::Part,
};

/// How long is waited for what was left. A disk that takes longer hangs: the stream goes on without it, under numbers
/// that nobody has used.
const LEFT_MAX: Duration = Duration::from_secs(5);

/// A playlist that was written so many segments before the others is none of their time: it begins anew.
const APART_MAX: u64 = 3;

/// How the playlist of a stream that has ended ends.
const ENDLIST: &str = "#EXT-X-ENDLIST\n";

/// What players have been told to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The first playlist, as the only one.
    One,
    /// The multivariant playlist.
    Several,
}

/// What an earlier process left.
pub struct Left {
    /// What segments are called from now on.
    pub config: Config,
    /// The playlists that can be continued, all with the same number. None without the first.
    pub playlists: BTreeMap<Rendition, Playlist>,
    /// What players were told, and the multivariant playlist; none if the stream has ended.
    pub told: Option<(Told, Option<Bytes>)>,
    /// The number that another playlist has to begin with at least.
    pub least: u64,
}

impl Left {
    /// Nothing that can be continued.
    pub fn nothing(config: Config, least: u64) -> Self {
        Self { config, playlists: BTreeMap::new(), told: None, least }
    }
}

/// What is in `files`. Segments that the playlists list go to `window`: into memory as far as there is room.
pub async fn take_up(
    key: &StreamKey,
    files: &Files,
    mut config: Config,
    window: &Window,
    part: &Part,
) -> Left {
    let left = timeout(LEFT_MAX, look(key, files, &mut config)).await;
    let (mut playlists, told, there) = match left {
        Ok((Some((playlists, told)), there)) => (playlists, told, there),
        Ok((None, there)) => {
            let least = there.into_iter().max().map_or(0, |it| it.0.saturating_add(1));
            return Left::nothing(config, least);
        }
        Err(_) => {
            warn!(stream = %key, "HLS begins anew: its folder does not answer");
            return Left::nothing(config, 0);
        }
    };
    let names: HashSet<_> = there.into_iter().map(|(_, file)| file).collect();
    playlists.values_mut().for_each(|list| list.forget_missing(|file| names.contains(file)));
    let gaps = align(&mut playlists, &config);
    let mut listed: Vec<String> = playlists.values().flat_map(Playlist::listed).collect();
    // Oldest first, whatever the playlist: the newest are those that players want.
    listed.sort_by_key(|file| SegmentName::of(&config.name, file).map(|name| name.sequence));
    for file in &listed {
        match gaps.get(file) {
            Some(form) => window.put(file, Bytes::from_static(form.nothing())),
            None => window.put_file(file),
        }
    }
    let read = async {
        for file in listed.iter().rev().filter(|file| !gaps.contains_key(*file)) {
            let Ok(data) = files.read_file(file).await else { continue };
            if !part.has_room(data.len()) {
                break;
            }
            window.fill(file, part.counted(data));
        }
    };
    if timeout(LEFT_MAX, read).await.is_err() {
        debug!(stream = %key, "segments of an earlier process stay in their files");
    }
    Left { config, playlists, told, least: 0 }
}

/// All playlists go on with the same number, one that no player has seen. Returns the files of gaps.
pub fn align(
    playlists: &mut BTreeMap<Rendition, Playlist>,
    config: &Config,
) -> HashMap<String, Form> {
    let next = playlists.values().map(Playlist::free_sequence).max().unwrap_or_default();
    let is_near = |list: &Playlist| next.saturating_sub(list.free_sequence()) < APART_MAX;
    let is_main = |rendition: &Rendition| *rendition == Rendition::MAIN;
    playlists.retain(|rendition, list| is_main(rendition) || is_near(list));
    let mut gaps = HashMap::new();
    for list in playlists.values_mut() {
        let nonce = || getrandom::u64().map(Nonce::new);
        let filled = if is_near(list) { list.fill_until(next, nonce).ok() } else { None };
        match filled {
            Some(filled) => gaps.extend(filled),
            None => *list = list.after(config, next),
        }
    }
    gaps
}

/// Playlists that can be continued, and what players were told.
pub type Found = (BTreeMap<Rendition, Playlist>, Option<(Told, Option<Bytes>)>);

/// The playlists that can be continued, and the segments that are there.
async fn look(
    key: &StreamKey,
    files: &Files,
    config: &mut Config,
) -> (Option<Found>, Vec<(u64, String)>) {
    if let Err(error) = files.prepare().await {
        // What is written next fails for the same reason, which is said then.
        debug!(stream = %key, %error, "the HLS folder is not available");
    }
    config.name = files.stem();
    let there = files.segments().await.into_iter();
    let there = there.map(|name| (name.sequence, name.file(&config.name))).collect();
    let resumed = match files.read_playlists().await {
        Ok(None) => return (None, there),
        Ok(Some(left)) => resume(config, left),
        Err(error) => Err(error.to_string()),
    };
    let found = resumed.inspect_err(|error| {
        warn!(stream = %key, error, "the HLS playlist on disk cannot be continued; starting a new one");
    });
    (found.ok(), there)
}

/// Goes on with the first playlist, and with those beside it that can be continued.
pub fn resume(config: &Config, left: LeftPlaylists) -> Result<Found, String> {
    let LeftPlaylists { main, others, multivariant } = left;
    let first = Playlist::resume(config, &main).map_err(|error| error.to_string())?;
    let resumed =
        |(it, text): (Rendition, String)| Some((it, Playlist::resume(config, &text).ok()?));
    let playlists = others.into_iter().filter_map(resumed).chain([(Rendition::MAIN, first)]);
    let told = match multivariant {
        // Whoever comes from now on finds what there is then.
        _ if main.ends_with(ENDLIST) => None,
        Some(text) => Some((Told::Several, Some(text.into()))),
        None => Some((Told::One, None)),
    };
    Ok((playlists.collect(), told))
}
