//! Files that a process has left unfinished that was killed: the next one cuts them at the last whole tag, fragment or
//! packet, and gives them their names. Everything here blocks.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::{info, warn};
use weir_clients::counts::COUNTS;
use weir_media::StreamKey;

use super::places::Place;
use crate::{
    finished::{FileKind, Finished, FinishedFile},
    hls::disk::Folder,
};

/// What a file is called that is not complete ends with.
pub const UNFINISHED: &str = ".tmp";

/// What the file beside it ends with that says of which stream it is.
pub const ABOUT: &str = ".tmp.of";

/// Folders are looked through so far down: beyond what a template and an app with many levels make.
const DEPTH_MAX: usize = 64;

/// Longest text beside a file: three names and a number.
const ABOUT_BYTES_MAX: u64 = 4096;

/// Bytes of a packet of MPEG-TS, and what it begins with.
const PACKET: u64 = 188;
const SYNC: u8 = 0x47;

/// Bytes of the header of an FLV file with the size that follows it, of the header of a tag, and of the size behind it.
const FLV_HEADER: u64 = 13;
const TAG_HEADER: u64 = 11;
const TAG_SIZE: u64 = 4;

/// Names that are tried for a file whose name another one has meanwhile.
const NAMES_MAX: u32 = 1000;

/// Whether a file still has a name.
///
/// # Errors
/// As the file system has it.
pub fn has_name(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() > 0)
}

/// Says beside an unfinished file of which stream it is, and when it began.
///
/// # Errors
/// As the file system has it.
pub fn write_about(
    folder: &Folder,
    name: &str,
    key: &StreamKey,
    began: SystemTime,
) -> io::Result<()> {
    let began = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let text = format!("{}\n{}\n{}\n{began}\n", key.vhost(), key.app(), key.stream());
    let about = format!("{name}{ABOUT}");
    folder.remove(&about)?;
    folder.create(&about)?.write_all(text.as_bytes())
}

fn read_about(folder: &Folder, name: &str) -> Option<(StreamKey, SystemTime)> {
    let (file, _) = folder.open_file(&format!("{name}{ABOUT}")).ok()?;
    let text = io::read_to_string(file.take(ABOUT_BYTES_MAX)).ok()?;
    let mut lines = text.lines();
    let key = StreamKey::new(lines.next()?, lines.next()?, lines.next()?).ok()?;
    let began = UNIX_EPOCH.checked_add(Duration::from_millis(lines.next()?.parse().ok()?))?;
    Some((key, began))
}

/// Gives an unfinished file its last name, or one like it if that is taken; returns it.
///
/// # Errors
/// As the file system has it.
pub fn rename(folder: &Folder, from: &str, name: &str) -> io::Result<String> {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    for number in 1..=NAMES_MAX {
        let to = if number == 1 { name.to_owned() } else { format!("{stem}~{number}.{extension}") };
        match folder.rename_to_new(from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            renamed => return renamed.map(|()| to),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Completes every unfinished file below the folder that no living process writes, and says whether there was one.
/// `goes_on` says whether to go on.
pub fn recover(place: &Place, finished: &Finished, goes_on: &dyn Fn() -> bool) -> bool {
    let mut has_found = false;
    // Each with the folders on the way to it.
    let mut ahead: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(folders) = ahead.pop().filter(|_| goes_on()) {
        let Ok(folder) = place.disk.open(&folders) else { continue };
        let Ok(entries) = folder.entries() else { continue };
        for entry in entries {
            if entry.is_folder {
                if folders.len() < DEPTH_MAX {
                    ahead.push([folders.as_slice(), &[entry.name]].concat());
                }
                continue;
            }
            let name = match entry.name.strip_suffix(UNFINISHED) {
                Some(name) => name,
                None => {
                    // Nobody misses what is said of a file that is not there any more.
                    let of = entry.name.strip_suffix(ABOUT);
                    if of.is_some_and(|name| {
                        is_ours(name) && !folder.has(&format!("{name}{UNFINISHED}"))
                    }) {
                        let _ = folder.remove(&entry.name);
                    }
                    continue;
                }
            };
            if !is_ours(name) {
                continue;
            }
            let path: PathBuf = folders.iter().map(String::as_str).chain([name]).collect();
            match complete(&folder, name) {
                Ok(None) => {}
                Ok(Some(Left { bytes: 0, .. })) => {
                    info!(file = %path.display(), "a recording that was interrupted had nothing in it");
                }
                Ok(Some(left)) => {
                    has_found = true;
                    tell(place, finished, path, left);
                }
                Err(error) => {
                    let (dir, file) = (place.disk.dir().display(), path.display());
                    warn!(%dir, %file, %error, "cannot complete a recording that was interrupted");
                }
            }
        }
    }
    has_found
}

fn is_ours(name: &str) -> bool {
    matches!(name.rsplit_once('.'), Some((_, "flv" | "mp4" | "ts")))
}

/// What was made of an unfinished file.
struct Left {
    name: String,
    bytes: u64,
    about: Option<(StreamKey, SystemTime)>,
    /// When it was written last.
    written: SystemTime,
}

/// None if a living process writes it, or did in this moment.
fn complete(folder: &Folder, name: &str) -> io::Result<Option<Left>> {
    let unfinished = format!("{name}{UNFINISHED}");
    let mut file = match folder.open_to_write(&unfinished) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    // Where there are no locks, nobody can know whether somebody writes it.
    if file.try_lock().is_err() || !has_name(&file)? || !folder.has(&unfinished) {
        return Ok(None);
    }
    let about = read_about(folder, name);
    let written = file.metadata()?.modified()?;
    let bytes = whole(&mut file, name)?;
    let name = if bytes == 0 {
        folder.remove(&unfinished)?;
        name.to_owned()
    } else {
        file.set_len(bytes)?;
        rename(folder, &unfinished, name)?
    };
    let of = unfinished.strip_suffix(UNFINISHED).unwrap_or_default();
    folder.remove(&format!("{of}{ABOUT}"))?;
    Ok(Some(Left { name, bytes, about, written }))
}

fn tell(place: &Place, finished: &Finished, mut path: PathBuf, left: Left) {
    let Left { name, bytes, about, written } = left;
    path.set_file_name(name);
    info!(file = %path.display(), bytes, "completed a recording that was interrupted");
    COUNTS.record_files.increase();
    let Some((key, began)) = about else { return };
    finished.tell(&FinishedFile {
        key,
        kind: FileKind::Recording,
        dir: place.disk.dir().to_owned(),
        file: path,
        bytes,
        began,
        duration: written.duration_since(began).unwrap_or_default(),
    });
}

/// How many bytes of the file are whole; 0 if there is no media in them.
fn whole(file: &mut File, name: &str) -> io::Result<u64> {
    let len = file.metadata()?.len();
    match name.rsplit_once('.') {
        Some((_, "flv")) => whole_tags(file, len),
        Some((_, "mp4")) => whole_fragments(file, len),
        _ => whole_packets(file, len),
    }
}

fn whole_tags(file: &mut File, len: u64) -> io::Result<u64> {
    let mut reader = BufReader::new(file);
    let (mut at, mut has_media) = (FLV_HEADER, false);
    while at + TAG_HEADER + TAG_SIZE <= len {
        let now = reader.stream_position()?;
        reader.seek_relative(offset(at, now))?;
        let mut header = [0; TAG_HEADER as usize];
        reader.read_exact(&mut header)?;
        let [kind, l0, l1, l2, ..] = header;
        let body = u64::from(u32::from_be_bytes([0, l0, l1, l2]));
        let end = at + TAG_HEADER + body + TAG_SIZE;
        // 8 is sound, 9 pictures, 18 script data (annex E.4.1).
        if !matches!(kind, 8 | 9 | 18) || end > len {
            break;
        }
        has_media |= kind != 18;
        at = end;
    }
    Ok(if has_media { at } else { 0 })
}

fn whole_fragments(file: &mut File, len: u64) -> io::Result<u64> {
    const HEAD: u64 = 8;
    // `at` is behind the newest box, `end` behind the newest fragment.
    let (mut at, mut end) = (0, 0);
    while at + HEAD <= len {
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0; HEAD as usize];
        file.read_exact(&mut head)?;
        let [s0, s1, s2, s3, kind @ ..] = head;
        let size = u64::from(u32::from_be_bytes([s0, s1, s2, s3]));
        let is_known = matches!(&kind, b"ftyp" | b"moov" | b"moof" | b"mdat");
        if size < HEAD || !is_known || at + size > len {
            break;
        }
        at += size;
        if &kind == b"mdat" {
            end = at;
        }
    }
    Ok(end)
}

fn whole_packets(file: &mut File, len: u64) -> io::Result<u64> {
    let mut packets = len / PACKET;
    // A machine that stops leaves zeros at the end of a file.
    while packets > 0 {
        file.seek(SeekFrom::Start((packets - 1) * PACKET))?;
        let mut first = [0];
        file.read_exact(&mut first)?;
        if first == [SYNC] {
            break;
        }
        packets -= 1;
    }
    Ok(packets * PACKET)
}

fn offset(to: u64, from: u64) -> i64 {
    i64::try_from(to).unwrap_or(i64::MAX) - i64::try_from(from).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
