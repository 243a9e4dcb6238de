//! Noticing that the configuration file has changed.
//!
//! The folder is watched and not the file: editors put a new file in its place, and Kubernetes changes a ConfigMap by
//! putting a new `..data` link beside it. What counts is whether the text is another one.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::time::timeout;
use tracing::warn;
use weir_blocking::Pool;
use weir_config::{Given, file::READ_TIMEOUT, from_start};
use weir_hub::Wake as _;
use weir_intake::WakeSignal;

use super::{Reloader, Source};

/// How long nothing more must happen in the folder: who writes a file in place does so in several steps.
const QUIET: Duration = Duration::from_millis(100);

/// Where it is never quiet, the file is looked at this often; and where the system tells nothing, as on some network
/// file systems, it is looked at as often.
const LOOK: Duration = Duration::from_secs(5);

/// Reloads whenever the text of the file is another one. Never ends, if there is a file.
pub async fn watch(reloader: Arc<Reloader>) {
    let Source::Process(Given::File(path)) = reloader.source.clone() else { return };
    let path = from_start(&path);
    let alarm = Arc::new(WakeSignal::default());
    // Held for as long as this runs. Files that it includes, in other folders, are looked at as often as said.
    let _watcher = notice(&path, &alarm)
        .inspect_err(|error| warn!(%error, every = ?LOOK, "cannot watch the configuration: checking it periodically"));
    let mut known = text(&reloader.pool, &path).await.ok();
    let mut complained = String::new();
    loop {
        // Changed or not: the text decides.
        let _ = timeout(LOOK, settled(&alarm)).await;
        match text(&reloader.pool, &path).await {
            Ok(text) if known.as_ref() != Some(&text) => {
                known = Some(text);
                // The reason is in the log.
                let _ = reloader.reload("the file has changed").await;
            }
            Ok(_) => complained.clear(),
            // A file that is not there is on its way: whoever takes it away for good wants no change.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let error = error.to_string();
                if complained != error {
                    warn!(path = %path.display(), error, "cannot check the configuration for changes");
                    complained = error;
                }
            }
        }
    }
}

/// The texts of the file and of those that it includes, by a thread that may wait for them.
async fn text(pool: &Pool, path: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let path = path.to_owned();
    let read = move || weir_config::texts(&path);
    pool.run_within(READ_TIMEOUT, read).await.flatten()
}

async fn settled(alarm: &WakeSignal) {
    alarm.rang().await;
    while timeout(QUIET, alarm.rang()).await.is_ok() {}
}

fn notice(path: &Path, alarm: &Arc<WakeSignal>) -> notify::Result<RecommendedWatcher> {
    let alarm = Arc::clone(alarm);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // That it was read is no change, and we read it ourselves.
        if event.map_or(true, |event| !event.kind.is_access() || is_write(&event.kind)) {
            alarm.wake();
        }
    })?;
    watcher.watch(&folder(path), RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

fn is_write(kind: &notify::EventKind) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    matches!(kind, EventKind::Access(AccessKind::Close(AccessMode::Write)))
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Longer than any of this takes.
    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_config_maps_new_link_and_an_editors_new_file_are_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for (data, text) in [("..1", "role: origin\n"), ("..2", "role: edge\n")] {
            fs::create_dir(at(data)).expect("a folder");
            fs::write(at(data).join("weir.yaml"), text).expect("written");
        }
        std::os::unix::fs::symlink("..1", at("..data")).expect("a link");
        std::os::unix::fs::symlink("..data/weir.yaml", at("weir.yaml")).expect("a link");
        let alarm = Arc::new(WakeSignal::default());
        let _watcher = notice(&at("weir.yaml"), &alarm).expect("a watch");
        std::os::unix::fs::symlink("..2", at("..data_tmp")).expect("a link");
        fs::rename(at("..data_tmp"), at("..data")).expect("swapped");
        timeout(SOON, settled(&alarm)).await.expect("noticed");
        assert_eq!(fs::read_to_string(at("weir.yaml")).ok().as_deref(), Some("role: edge\n"));
        fs::write(at("new"), "role: origin\n").expect("written");
        fs::rename(at("new"), at("weir.yaml")).expect("put in place");
        timeout(SOON, settled(&alarm)).await.expect("noticed");
    }
}
