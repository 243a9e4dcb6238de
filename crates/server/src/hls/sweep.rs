//! Removes what an earlier process left behind.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use weir_media::{DEFAULT_VHOST, StreamKey};

use super::{DISPOSE, Files, HlsOutput};
use crate::blocking::HLS_WRITES;

/// Folders deep that are looked into: `@vhost` and an app of several levels.
const DEPTH_MAX: usize = 8;

/// After [`DISPOSE`], removes the files of all streams in `dir` that are not followed.
pub async fn later(output: Arc<HlsOutput>, dir: PathBuf) {
    tokio::time::sleep(DISPOSE).await;
    let folder = dir.clone();
    for key in HLS_WRITES.run(move || streams(&folder)).await.unwrap_or_default() {
        if output.state(&key).is_none() {
            tracing::info!(stream = %key, "removing the HLS files that an earlier process left");
            Files::new(&dir, &key).remove_all(&dir).await;
        }
    }
}

/// The streams that have a playlist below `dir`.
fn streams(dir: &Path) -> Vec<StreamKey> {
    let mut found = Vec::new();
    let mut folders = vec![(dir.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < DEPTH_MAX => folders.push((path, depth + 1)),
                Ok(kind) if kind.is_file() => found.extend(key_of(dir, &path)),
                _ => {}
            }
        }
    }
    found
}

/// The stream whose playlist `path` is.
fn key_of(dir: &Path, path: &Path) -> Option<StreamKey> {
    let stream = path.file_name()?.to_str()?.strip_suffix(".m3u8")?;
    let folder = path.parent()?.strip_prefix(dir).ok()?.to_str()?;
    let (vhost, app) = match folder.strip_prefix('@').map(|rest| rest.split_once('/')) {
        Some(Some((vhost, app))) => (vhost, app),
        Some(None) => return None,
        None => (DEFAULT_VHOST, folder),
    };
    StreamKey::new(vhost, app, stream).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn playlists_lead_back_to_their_streams() {
        let dir = Path::new("d");
        let key = |path: &str| key_of(dir, Path::new(path)).map(|key| key.to_string());
        assert_eq!(key("d/live/eu/a.m3u8").as_deref(), Some("/live/eu/a"));
        assert_eq!(key("d/@example.com/live/a.m3u8").as_deref(), Some("example.com/live/a"));
        assert_eq!(key("d/a.m3u8"), None);
        assert_eq!(key("d/live/a-1.ts"), None);
    }

    #[tokio::test]
    async fn finds_the_streams_of_a_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let key = StreamKey::new(DEFAULT_VHOST, "live/eu", "a").expect("a good key");
        let files = Files::new(dir.path(), &key);
        files.write(&files.playlist(), b"#EXTM3U").await.expect("written");
        files.write(&files.segment("a-1.ts"), b"x").await.expect("written");
        assert_eq!(streams(dir.path()), [key]);
    }
}
