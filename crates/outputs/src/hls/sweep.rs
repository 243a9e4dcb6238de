//! Removes what an earlier process left behind, and nothing that another program wrote.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::task::JoinHandle;
use tracing::info;
use weir_hls::{Config, Playlist, Rendition, SegmentName, file_name};

use super::{
    disk::{self, Disk, Folder},
    disks::Disks,
    files::{is_of, read_text},
    names::{self, PLAYLIST},
    state::DISPOSE,
    view::{self, JOURNAL},
};

/// Folders deep that are looked into: `@vhost`, and an app of 255 bytes of one-letter levels.
const DEPTH_MAX: usize = 129;

/// What files were called once, before they were whole.
const TEMPORARY: &str = ".tmp";

/// How often is looked again: a process that this one replaces may leave something later.
const PAUSE: Duration = Duration::from_secs(600);

/// Playlists in a folder, by their file names.
pub type Playlists = HashSet<String>;

/// From [`DISPOSE`] on, removes what is left on `disks` of streams that are not followed; `followed` knows the
/// playlists of a folder that are being written.
pub async fn later<F>(disks: Arc<Disks>, followed: F)
where
    F: Fn(&Disk, &[String]) -> Playlists + Clone + Send + 'static,
{
    let mut pause = DISPOSE;
    let mut sweeps: HashMap<PathBuf, JoinHandle<()>> = HashMap::new();
    loop {
        tokio::time::sleep(std::mem::replace(&mut pause, PAUSE)).await;
        for disk in disks.all() {
            // A folder that hangs is in nobody's way but its own.
            if sweeps.get(disk.dir()).is_some_and(|sweep| !sweep.is_finished()) {
                continue;
            }
            let (dir, followed) = (disk.dir().to_owned(), followed.clone());
            let sweeping = async move {
                let at = Arc::clone(&disk);
                let work = move || {
                    let followed = |folders: &[String]| followed(&at, folders);
                    sweep(&at, SystemTime::now(), &followed);
                };
                // It fails when the process stops.
                let _ = disk.writes().run(work).await;
            };
            sweeps.insert(dir, tokio::spawn(sweeping));
        }
    }
}

/// Looks through all folders; `followed` knows the playlists of a folder that are being written.
fn sweep(disk: &Disk, now: SystemTime, followed: &dyn Fn(&[String]) -> Playlists) {
    let mut todo = vec![Vec::new()];
    while let Some(folders) = todo.pop() {
        let Ok(folder) = disk.open(&folders) else { continue };
        let Ok(entries) = folder.entries() else { continue };
        let (inner, found): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.is_folder);
        if folders.len() < DEPTH_MAX {
            todo.extend(
                inner.into_iter().map(|entry| [folders.clone(), vec![entry.name]].concat()),
            );
        }
        let found: HashSet<_> = found.into_iter().map(|entry| entry.name).collect();
        if found.is_empty() {
            continue;
        }
        let sweeping = Sweeping { disk, folder: &folder, now, followed: followed(&folders) };
        let removed = sweeping.remove(&found);
        if removed > 0 {
            let folder = folders.join("/");
            info!(folder, files = removed, "removed HLS files that an earlier process left");
            disk.remove_empty(&folders);
        }
    }
}

/// A folder whose files are looked through.
struct Sweeping<'a> {
    disk: &'a Disk,
    folder: &'a Folder,
    now: SystemTime,
    followed: Playlists,
}

/// A playlist that Weir wrote.
struct Left {
    file: String,
    text: String,
    /// Whether nobody writes it any more.
    is_old: bool,
}

impl Sweeping<'_> {
    /// Removes what is to go of `found`, and says how many files that were.
    fn remove(&self, found: &HashSet<String>) -> usize {
        let playlists = found.iter().filter_map(|file| file.strip_suffix(PLAYLIST));
        let mut left: HashMap<String, Vec<Left>> = HashMap::new();
        for (stem, playlist) in playlists.filter_map(|name| self.playlist(name)) {
            left.entry(stem).or_default().push(playlist);
        }
        let mut gone: Vec<_> =
            found.iter().filter(|file| self.is_left(file, &left)).cloned().collect();
        let all = left.into_values().flatten();
        gone.extend(all.filter(|left| left.is_old).map(|left| left.file));
        gone.iter().for_each(|file| self.folder.remove_old(file));
        gone.len() + self.remove_views(found)
    }

    /// Removes what has other names for others, of streams that nobody writes any more.
    fn remove_views(&self, found: &HashSet<String>) -> usize {
        let stems = found.iter().filter_map(|file| Some((file, file.strip_suffix(JOURNAL)?)));
        let is_left = |(file, stem): &(&String, &str)| {
            self.is_old(file) && !self.followed.contains(&format!("{stem}{PLAYLIST}"))
        };
        let left: Vec<_> = stems.filter(is_left).collect();
        left.iter().for_each(|(_, stem)| view::remove_all(self.disk, self.folder, stem));
        left.len()
    }

    /// The playlist with this name, if Weir wrote it, by what the segments of its stream carry.
    fn playlist(&self, name: &str) -> Option<(String, Left)> {
        let stream = Rendition::of_playlist(name).map_or(name, |(stream, _)| stream);
        let (file, stem) = (format!("{name}{PLAYLIST}"), names::segments_of(stream.to_owned()));
        let text = read_text(self.folder, &file).ok()?;
        let is_followed =
            self.followed.contains(&file) || self.followed.contains(&format!("{stream}{PLAYLIST}"));
        let is_old = self.is_old(&file) && !is_followed;
        let is_ours = Playlist::has_written(&Config::new(&stem), &text)
            || names_only_ours(&text, stream, &stem);
        is_ours.then_some((stem, Left { file, text, is_old }))
    }

    /// Whether a file beside the playlists is Weir's, and of no use to anybody.
    fn is_left(&self, file: &str, left: &HashMap<String, Vec<Left>>) -> bool {
        if disk::is_unfinished(file) {
            return self.is_old(file);
        }
        let are_old = |left: &Vec<Left>| left.iter().all(|left| left.is_old);
        let whole = file.strip_suffix(TEMPORARY);
        if let Some((stem, name)) = SegmentName::parse(whole.unwrap_or(file)) {
            return match left.get(stem) {
                Some(left) => {
                    are_old(left) && left.iter().any(|left| is_of(&left.text, stem, name))
                }
                // Its playlist is gone, or was never written.
                None => name.nonce.is_some() && self.is_old(file) && !self.is_stem_followed(stem),
            };
        }
        let playlist = whole.and_then(|whole| whole.strip_suffix(PLAYLIST));
        let stem = playlist.map(|playlist| names::segments_of(playlist.to_owned()));
        stem.and_then(|stem| left.get(&stem)).is_some_and(are_old)
    }

    /// A followed stream whose name is too long for its segments has written its playlist before this matters.
    fn is_stem_followed(&self, stem: &str) -> bool {
        self.followed.contains(&format!("{stem}{PLAYLIST}"))
    }

    /// Whether it was written so long ago that no process can be at it, not even one that this one replaces.
    fn is_old(&self, file: &str) -> bool {
        self.folder.age(file, self.now).is_some_and(|age| age >= DISPOSE)
    }
}

/// Whether a playlist names something, and nothing but what only Weir names so: segments with a nonce, or further
/// playlists of the stream.
fn names_only_ours(text: &str, stream: &str, stem: &str) -> bool {
    let is_ours = |uri: &str| {
        let file = file_name(uri).unwrap_or_default();
        let playlist = file.strip_suffix(PLAYLIST).and_then(Rendition::of_playlist);
        SegmentName::of(stem, &file).is_some_and(|name| name.nonce.is_some())
            || playlist.is_some_and(|(of, _)| of == stream)
    };
    let mut uris =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
    text.starts_with("#EXTM3U\n") && uris.peek().is_some() && uris.all(is_ours)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use weir_hls::{Begin, Form, Nonce};

    use super::*;

    const NONCE: Nonce = Nonce::new(0);

    const MP4: &str = "#EXTM3U\n#EXT-X-MAP:URI=\"m-7-aaaaaaaaaaaaaaaa.mp4\"\n#EXTINF:2.0,\nm-7-aaaaaaaaaaaaaaab.m4s\n";

    fn list(stem: &str, first: u64) -> Playlist {
        let mut list = Playlist::starting_at(&Config::new(stem), first);
        list.begin(Begin::at(Duration::ZERO));
        let file = list.file(NONCE, Form::Ts);
        list.push(&file, Duration::from_secs(2));
        list
    }

    fn put(disk: &Disk, folders: &[&str], file: &str, data: &str) {
        let folders: Vec<_> = folders.iter().map(|&name| name.to_owned()).collect();
        disk.make(&folders).expect("made").write(file, data.as_bytes()).expect("written");
    }

    /// All files below `dir`, sorted.
    fn all(dir: &Path) -> Vec<String> {
        let (mut found, mut todo) = (Vec::new(), vec![dir.to_owned()]);
        while let Some(folder) = todo.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() && !path.is_symlink() {
                    todo.push(path);
                } else {
                    found.push(path.strip_prefix(dir).expect("below").display().to_string());
                }
            }
        }
        found.sort_unstable();
        found
    }

    #[test]
    fn only_what_weir_wrote_goes() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = Disk::new(dir.path());
        let long = "x".repeat(230);
        let ours = [
            (&["live"][..], "a.m3u8", list("a", 7).render_plain()),
            (&["live"], "a-7-aaaaaaaaaaaaaaaa.ts", String::new()),
            (&["live"], "a-6.ts", String::new()),
            (&["live"], "a.m3u8.tmp", String::new()),
            (&["live"], "lost-6-aaaaaaaaaaaaaaaa.ts", String::new()),
            (&["live"], ".weir-aaaaaaaaaaaaaaaa.tmp", String::new()),
            (&["live"], "m.m3u8", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nm~v0.m3u8\n".to_owned()),
            (&["live"], "m~v0.m3u8", MP4.to_owned()),
            (&["live"], "m-7-aaaaaaaaaaaaaaaa.mp4", String::new()),
            (&["live"], "m-7-aaaaaaaaaaaaaaab.m4s", String::new()),
            (
                &["@v.org", "live", "victim.m3u8"],
                "once.m3u8",
                list("once", 7).render_plain().replace("-aaaaaaaaaaaaaaaa", ""),
            ),
            (&["@v.org", "live", "victim.m3u8"], "once-7.ts", String::new()),
            (&["long"], &format!("{long}.m3u8"), list(&names::segments_of(long), 7).render_plain()),
        ];
        for (folders, file, text) in &ours {
            put(&disk, folders, file, text);
        }
        let theirs = [
            ("live", "a-500.ts", ""),
            ("live", "a-notes.ts", ""),
            (
                "live",
                "film.m3u8",
                "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:2.0,\nfilm-7.ts\n",
            ),
            ("live", "film-7.ts", ""),
            ("live", "film.m3u8.tmp", ""),
            ("live", "b.m3u8", &list("b", 7).render_plain()),
            ("live", "b-7-aaaaaaaaaaaaaaaa.ts", ""),
            ("live", "b~v1.m3u8", &MP4.replace("m-7", "b-7")),
            ("live", "b-7-aaaaaaaaaaaaaaab.m4s", ""),
            ("live", "c~v1.m3u8", "#EXTM3U\nc-7.m4s\n"),
            ("other", "lonely-5.ts", ""),
        ];
        for (folder, file, text) in theirs {
            put(&disk, &[folder], file, text);
        }
        std::os::unix::fs::symlink("film-7.ts", dir.path().join("live/a-8-aaaaaaaaaaaaaaaa.ts"))
            .expect("a link");
        let before = all(dir.path());
        let followed = |_: &[String]| Playlists::from(["b.m3u8".to_owned()]);
        sweep(&disk, SystemTime::now() + DISPOSE / 2, &followed);
        assert_eq!(all(dir.path()), before, "another process may be at it");
        sweep(&disk, SystemTime::now() + DISPOSE * 2, &followed);
        let mut left: Vec<_> =
            theirs.iter().map(|(folder, file, _)| format!("{folder}/{file}")).collect();
        left.push("live/a-8-aaaaaaaaaaaaaaaa.ts".to_owned());
        left.sort_unstable();
        assert_eq!(all(dir.path()), left);
        assert!(!dir.path().join("@v.org").exists() && !dir.path().join("long").exists());
    }
}
