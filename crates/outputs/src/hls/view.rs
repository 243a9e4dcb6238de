//! The files of a stream under the names that the configuration has templates for: second names of the files that there
//! are under Weir's own, in a hidden folder beside them, and playlists of their own.
//!
//! What has been named is noted in a journal before it is: whoever comes after a process that was killed knows what to
//! remove.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read as _},
    sync::Arc,
};

use bytes::Bytes;
use weir_media::StreamKey;

use super::{
    disk::{Disk, Folder},
    layout::{Layout, Levels, Names},
};

/// The folder in `hls.dir` with the files as Weir calls them, where others have other names for them.
pub const HIDDEN: &str = ".weir";

/// What a journal is called: the name of the stream's playlist, with this in place of its extension.
pub const JOURNAL: &str = ".view";

/// Longest journal that is read: that of 8,000 segments with long paths.
const JOURNAL_BYTES_MAX: u64 = 4 << 20;

/// A file that another name is for: that which it has, and the folders and the name for others.
type Named = (String, Levels);

/// What is written of a stream under other names.
#[derive(Debug, Default)]
pub struct View {
    /// What has names, by those that it has here; none until the journal has been read.
    named: Option<HashMap<String, Levels>>,
    /// The playlists, and what they say.
    playlists: Vec<(Levels, Bytes)>,
    /// What the journal says.
    noted: String,
}

/// What is to be there.
pub struct Wanted<'a> {
    /// The playlists by their files, and whether each is the main one: those come last that players load first.
    pub playlists: &'a [(String, Bytes)],
    /// The file of the playlist that players load first.
    pub first: &'a str,
    /// The file of the main media playlist.
    pub main: &'a str,
    /// All files that are listed.
    pub files: Vec<String>,
}

/// Where all of it is.
pub struct Place {
    /// The disk.
    pub disk: Arc<Disk>,
    /// The names for others.
    pub names: Arc<Names>,
    /// The stream.
    pub key: StreamKey,
    /// The folders of the files as they are called here.
    pub folders: Vec<String>,
    /// The name of the stream's playlist, without its extension.
    pub stem: String,
}

impl View {
    /// Where others find a file that has been named.
    pub fn path(&self, file: &str) -> Option<&Levels> {
        self.named.as_ref()?.get(file)
    }

    /// Brings the other names up to date; `exists` are the files that are there. Blocks.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn sync(
        &mut self,
        at: &Place,
        wanted: &Wanted<'_>,
        exists: &HashSet<String>,
    ) -> io::Result<()> {
        let Place { disk, names, key, folders, stem } = at;
        let folder = disk.make(folders)?;
        let journal = format!("{stem}{JOURNAL}");
        let mut named = match self.named.take() {
            Some(named) => named,
            None => {
                let read = Journal::read(&folder, &journal);
                self.playlists = read.playlists.into_iter().map(|at| (at, Bytes::new())).collect();
                read.named.into_iter().collect()
            }
        };
        let layout = Layout::on_disk(names, disk.naming(), key);
        let (mut new, mut playlists) = (HashMap::new(), Vec::new());
        for (file, text) in wanted.playlists {
            let levels = if file == wanted.first { layout.playlist() } else { layout.other(file) };
            let is_main = file == wanted.main;
            let text = String::from_utf8_lossy(text);
            let text = layout.text(&text, (&levels, is_main), "", &mut new);
            playlists.push((levels, Bytes::from(text)));
        }
        // What one playlist names of another is no file of a segment.
        new.retain(|file, _| wanted.files.contains(file));
        for file in &wanted.files {
            new.entry(file.clone()).or_insert_with(|| layout.other(file));
        }
        new.retain(|file, levels| named.get(file) != Some(levels));
        let mut noted =
            Journal { named: named.clone().into_iter().collect(), playlists: Vec::new() };
        noted.named.extend(new.clone());
        noted.playlists =
            self.playlists.iter().chain(&playlists).map(|(at, _)| at.clone()).collect();
        let noted = noted.text();
        if noted != self.noted {
            folder.write(&journal, noted.as_bytes())?;
            self.noted = noted;
        }
        for (file, levels) in new {
            if let Some(before) = named.insert(file.clone(), levels.clone()) {
                remove(disk, &before);
            }
            if let Err(error) = link(disk, &folder, &file, &levels) {
                named.remove(&file);
                self.named = Some(named);
                return Err(error);
            }
        }
        let is_kept = |levels: &Levels| playlists.iter().any(|(at, _)| at == levels);
        let gone = self.playlists.extract_if(.., |(levels, _)| !is_kept(levels));
        gone.for_each(|(levels, _)| remove(disk, &levels));
        let mut written = Ok(());
        for (levels, text) in playlists {
            let known = self.playlists.iter_mut().find(|(at, _)| *at == levels);
            if known.as_ref().is_some_and(|(_, known)| *known == text) {
                continue;
            }
            written = written.and_then(|()| write(disk, &levels, &text));
            match known {
                Some((_, known)) => *known = text,
                None => self.playlists.push((levels, text)),
            }
        }
        // What is no more under its own name.
        let gone =
            named.extract_if(|file, _| !exists.contains(file) && !wanted.files.contains(file));
        gone.for_each(|(_, levels)| remove(disk, &levels));
        self.named = Some(named);
        written
    }
}

/// Removes all that the journal of the stream with this playlist in `folder` says, and it. Blocks.
pub fn remove_all(disk: &Disk, folder: &Folder, stem: &str) {
    let journal = format!("{stem}{JOURNAL}");
    let Journal { named, playlists } = Journal::read(folder, &journal);
    let named = named.into_iter().map(|(_, levels)| levels);
    named.chain(playlists).for_each(|levels| remove(disk, &levels));
    // It may be gone already.
    let _ = folder.remove(&journal);
}

fn link(disk: &Disk, folder: &Folder, file: &str, levels: &Levels) -> io::Result<()> {
    let Some((name, folders)) = levels.split_last() else { return Ok(()) };
    folder.link(file, &disk.make(folders)?, name)
}

fn write(disk: &Disk, levels: &Levels, text: &Bytes) -> io::Result<()> {
    let Some((name, folders)) = levels.split_last() else { return Ok(()) };
    disk.make(folders)?.write(name, text)
}

/// Removes a file that may be gone already, and the folders above it that are empty then.
fn remove(disk: &Disk, levels: &Levels) {
    let Some((name, folders)) = levels.split_last() else { return };
    let Ok(folder) = disk.open(folders) else { return };
    folder.remove_old(name);
    disk.remove_empty(folders);
}

/// What has other names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Journal {
    named: Vec<Named>,
    playlists: Vec<Levels>,
}

impl Journal {
    /// What is in the file; nothing if that cannot be read.
    fn read(folder: &Folder, file: &str) -> Self {
        let Ok((file, length)) = folder.open_file(file) else { return Self::default() };
        if length > JOURNAL_BYTES_MAX {
            return Self::default();
        }
        io::read_to_string(file.take(JOURNAL_BYTES_MAX))
            .map_or_else(|_| Self::default(), |text| Self::of(&text))
    }

    fn of(text: &str) -> Self {
        let mut journal = Self::default();
        for line in text.lines() {
            let Some((file, path)) = line.split_once('\t') else { continue };
            let levels: Levels = path.split('/').map(str::to_owned).collect();
            // Whoever can write here must not have us look elsewhere.
            if levels.iter().any(|level| matches!(level.as_str(), "" | "." | "..")) {
                continue;
            }
            match file {
                "" => journal.playlists.push(levels),
                file => journal.named.push((file.to_owned(), levels)),
            }
        }
        journal
    }

    fn text(mut self) -> String {
        self.named.sort_unstable();
        self.playlists.sort_unstable();
        self.playlists.dedup();
        let line = |file: &str, levels: &Levels| format!("{file}\t{}\n", levels.join("/"));
        let playlists = self.playlists.iter().map(|levels| line("", levels));
        self.named.iter().map(|(file, levels)| line(file, levels)).chain(playlists).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use weir_config::Hls;
    use weir_media::DEFAULT_VHOST;

    use super::*;

    /// All files below `dir` that are not hidden, sorted.
    fn shown(dir: &Path) -> Vec<String> {
        let (mut found, mut todo) = (Vec::new(), vec![dir.to_owned()]);
        while let Some(folder) = todo.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    todo.push(path);
                } else {
                    found.push(path.strip_prefix(dir).expect("below").display().to_string());
                }
            }
        }
        found.retain(|file| !file.starts_with(HIDDEN));
        found.sort_unstable();
        found
    }

    fn place(dir: &Path) -> Place {
        let settings = Hls {
            playlist_path: "[app]/[stream]/index.m3u8".to_owned(),
            segment_path: "[app]/[stream]/[2006]/[seq].ts".to_owned(),
            ..Hls::default()
        };
        Place {
            disk: Arc::new(Disk::new(dir)),
            names: Arc::new(Names::of(&settings).expect("templates")),
            key: StreamKey::new(DEFAULT_VHOST, "live", "a").expect("a key"),
            folders: vec![HIDDEN.to_owned(), "live".to_owned()],
            stem: "a".to_owned(),
        }
    }

    const DATE: &str = "#EXT-X-PROGRAM-DATE-TIME:2026-11-28T04:05:06.789Z\n#EXTINF:2.0,\n";

    #[test]
    fn files_have_the_other_names_for_as_long_as_they_are_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = place(dir.path());
        let folder = at.disk.make(&at.folders).expect("made");
        let file = |number: u64| format!("a-{number}-aaaaaaaaaaaaaaaa.ts");
        let mut view = View::default();
        let sync = |view: &mut View, listed: &[u64], there: &[u64]| {
            listed.iter().for_each(|it| folder.write(&file(*it), b"x").expect("written"));
            let text: String = listed.iter().map(|it| format!("{DATE}{}\n", file(*it))).collect();
            let playlists = [("a.m3u8".to_owned(), Bytes::from(format!("#EXTM3U\n{text}")))];
            let files = listed.iter().map(|it| file(*it)).collect();
            let wanted = Wanted { playlists: &playlists, first: "a.m3u8", main: "a.m3u8", files };
            let exists = there.iter().map(|it| file(*it)).collect();
            view.sync(&at, &wanted, &exists).expect("written");
        };
        sync(&mut view, &[7, 8], &[7, 8]);
        assert_eq!(
            shown(dir.path()),
            ["live/a/2026/7.ts", "live/a/2026/8.ts", "live/a/index.m3u8"]
        );
        let text = std::fs::read_to_string(dir.path().join("live/a/index.m3u8")).expect("there");
        assert!(text.contains("\n2026/7.ts\n") && text.contains("\n2026/8.ts\n"), "{text}");
        assert_eq!(view.path(&file(7)).expect("named").join("/"), "live/a/2026/7.ts");
        // Another process goes on, and knows what is there.
        let mut next = View::default();
        sync(&mut next, &[9], &[8, 9]);
        assert_eq!(
            shown(dir.path()),
            ["live/a/2026/8.ts", "live/a/2026/9.ts", "live/a/index.m3u8"]
        );
        remove_all(&at.disk, &folder, &at.stem);
        assert!(shown(dir.path()).is_empty() && !dir.path().join("live").exists());
    }

    #[test]
    fn a_journal_leads_nowhere_else() {
        let text = "a\tx/../../y\n\tlive/a.m3u8\nb\tlive/b.ts\nc\t/etc/passwd\nd\nx\t./y\n";
        let journal = Journal::of(text);
        assert_eq!(journal.playlists, [["live", "a.m3u8"]]);
        assert_eq!(journal.named, [("b".to_owned(), vec!["live".to_owned(), "b.ts".to_owned()])]);
        assert_eq!(Journal::of(&journal.text()).named.len(), 1);
    }
}
