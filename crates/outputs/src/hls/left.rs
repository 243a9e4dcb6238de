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

/// The playlist that is in `files`, whose segments go to `window`: into memory as far as there is room. None without
/// one that can be continued; then also the number that a new one has to begin with at least.
pub async fn take_up(
    key: &StreamKey,
    files: &Files,
    config: &mut Config,
    window: &Window,
    part: &Part,
) -> Result<Playlist, u64> {
    let left = timeout(LEFT_MAX, look(key, files, config)).await;
    let (mut playlist, there) = match left {
        Ok((Some(playlist), there)) => (playlist, there),
        Ok((None, there)) => return Err(there.into_iter().max().map_or(0, |it| it.0 + 1)),
        Err(_) => {
            warn!(stream = %key, "HLS begins anew: its folder does not answer");
            return Err(0);
        }
    };
    let names: HashSet<_> = there.into_iter().map(|(_, file)| file).collect();
    if let Some(missing) = playlist.listed().filter(|file| !names.contains(file)).last() {
        playlist.forget_until(&missing);
    }
    let listed: Vec<_> = playlist.listed().collect();
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
    Ok(playlist)
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
