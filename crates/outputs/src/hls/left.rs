//! What an earlier process left of a stream: its playlist goes on, and what that lists is still to be had.

use std::{collections::HashSet, time::Duration};

use tokio::time::timeout;
use tracing::{debug, warn};
use weir_hls::{Config, Playlist, Window};
use weir_media::StreamKey;

use super::{files::Files, share::Part};

/// How long is waited for what was left. A disk that takes longer hangs: the stream goes on without it, under numbers
/// that nobody has used.
const LEFT_MAX: Duration = Duration::from_secs(5);

/// What an earlier process left.
pub struct Left {
    /// What segments are called from now on.
    pub config: Config,
    /// The playlist, if it can be continued.
    pub playlist: Option<Playlist>,
    /// The number that another one has to begin with at least.
    pub least: u64,
}

/// What is in `files`. Segments that the playlist lists go to `window`: into memory as far as there is room.
pub async fn take_up(
    key: &StreamKey,
    files: &Files,
    mut config: Config,
    window: &Window,
    part: &Part,
) -> Left {
    let left = timeout(LEFT_MAX, look(key, files, &mut config)).await;
    let (mut playlist, there) = match left {
        Ok((Some(playlist), there)) => (playlist, there),
        Ok((None, there)) => {
            let least = there.into_iter().max().map_or(0, |it| it.0.saturating_add(1));
            return Left { config, playlist: None, least };
        }
        Err(_) => {
            warn!(stream = %key, "HLS begins anew: its folder does not answer");
            return Left { config, playlist: None, least: 0 };
        }
    };
    let names: HashSet<_> = there.into_iter().map(|(_, file)| file).collect();
    playlist.forget_missing(|file| names.contains(file));
    let listed = playlist.listed();
    listed.iter().for_each(|file| window.put_file(file));
    let read = async {
        // The newest are those that players want.
        for file in listed.iter().rev() {
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
    Left { config, playlist: Some(playlist), least: 0 }
}

/// The playlist that can be continued, and the segments that are there.
async fn look(
    key: &StreamKey,
    files: &Files,
    config: &mut Config,
) -> (Option<Playlist>, Vec<(u64, String)>) {
    if let Err(error) = files.prepare().await {
        // What is written next fails for the same reason, which is said then.
        debug!(stream = %key, %error, "the HLS folder is not available");
    }
    config.name = files.stem();
    let there = files.segments().await.into_iter();
    let there = there.map(|name| (name.sequence, name.file(&config.name))).collect();
    let resumed = match files.read_playlist().await {
        Ok(None) => return (None, there),
        Ok(Some(text)) => Playlist::resume(config, &text).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let playlist = resumed.inspect_err(|error| {
        warn!(stream = %key, error, "the HLS playlist on disk cannot be continued; starting a new one");
    });
    (playlist.ok(), there)
}
