use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use weir_flv::{TagKind, file};
use weir_media::DEFAULT_VHOST;

use super::*;
use crate::{finished::OnFinished, record::places::Places};

#[derive(Default)]
struct Told(Mutex<Vec<FinishedFile>>);

impl OnFinished for Told {
    fn finished(&self, file: &FinishedFile) {
        self.0.lock().expect("not poisoned").push(file.clone());
    }
}

fn flv(tags: usize) -> Vec<u8> {
    let header = file::Header { has_audio: false, has_video: true };
    let mut bytes = BytesMut::from(&header.encode()[..]);
    for number in 0..tags {
        file::write_tag(&mut bytes, TagKind::Video, 40, &vec![0x17; number + 1]);
    }
    bytes.to_vec()
}

fn a_box(kind: &[u8; 4], body: usize) -> Vec<u8> {
    let size = u32::try_from(body + 8).expect("a small box");
    [&size.to_be_bytes()[..], kind, &vec![0; body]].concat()
}

fn mp4(fragments: usize) -> Vec<u8> {
    let fragment = [a_box(b"moof", 20), a_box(b"mdat", 100)].concat();
    [a_box(b"ftyp", 8), a_box(b"moov", 30), fragment.repeat(fragments)].concat()
}

fn ts(packets: usize) -> Vec<u8> {
    [&[SYNC][..], &[1; 187]].concat().repeat(packets)
}

/// Recovers what `files` are below a folder, and returns what is there then, and what was told.
fn recovered(files: &[(&str, &[u8])]) -> (Vec<(String, u64)>, Vec<FinishedFile>) {
    let dir = tempfile::tempdir().expect("a folder");
    let place = Places::default().at(dir.path());
    let folder = place.disk.make(&["live".to_owned(), "a".to_owned()]).expect("made");
    let key = StreamKey::new(DEFAULT_VHOST, "live", "a").expect("a good key");
    for (name, bytes) in files {
        folder.create(&format!("{name}.tmp")).expect("made").write_all(bytes).expect("written");
        write_about(&folder, name, &key, UNIX_EPOCH).expect("written");
    }
    let (finished, told) = (Finished::default(), Arc::<Told>::default());
    finished.listen(Arc::clone(&told) as _);
    recover(&place, &finished, &|| true);
    let mut there: Vec<_> = folder
        .entries()
        .expect("a list")
        .into_iter()
        .map(|entry| {
            let len = dir.path().join("live/a").join(&entry.name).metadata().expect("there").len();
            (entry.name, len)
        })
        .collect();
    there.sort_unstable();
    let told = told.0.lock().expect("not poisoned").clone();
    (there, told)
}

#[test]
fn files_are_cut_behind_what_is_whole_named_and_told_of() {
    for (name, whole, more) in
        [("x.flv", flv(3), flv(4)), ("x.mp4", mp4(2), mp4(3)), ("x.ts", ts(2), ts(3))]
    {
        for cut in whole.len()..more.len() {
            let (there, told) = recovered(&[(name, &more[..cut])]);
            assert_eq!(there, [(name.to_owned(), whole.len() as u64)], "{name}, {cut} bytes");
            let [file] = told.as_slice() else { panic!("{told:?}") };
            assert_eq!((file.bytes, file.key.stream()), (whole.len() as u64, "a"));
            assert_eq!(file.file, PathBuf::from("live/a").join(name));
            assert_eq!(file.began, UNIX_EPOCH);
        }
    }
}

#[test]
fn zeros_that_a_machine_left_behind_are_cut_off() {
    for (name, whole) in [("x.flv", flv(3)), ("x.mp4", mp4(2)), ("x.ts", ts(2))] {
        let bytes = [whole.as_slice(), &[0; 5000]].concat();
        assert_eq!(recovered(&[(name, &bytes)]).0, [(name.to_owned(), whole.len() as u64)]);
    }
}

#[test]
fn files_without_media_go() {
    let nothing: &[(&str, &[u8])] =
        &[("a.flv", &flv(0)), ("b.flv", b""), ("c.mp4", &mp4(0)), ("d.ts", &[SYNC; 100])];
    assert_eq!(recovered(nothing), (vec![], vec![]));
}

#[test]
fn what_a_living_process_writes_and_what_is_not_ours_stays() {
    let dir = tempfile::tempdir().expect("a folder");
    let place = Places::default().at(dir.path());
    let folder = place.disk.make(&[]).expect("made");
    let held = folder.create("x.flv.tmp").expect("made");
    held.lock().expect("locked");
    std::fs::write(dir.path().join("notes.tmp"), flv(3)).expect("written");
    recover(&place, &Finished::default(), &|| true);
    assert!(folder.has("x.flv.tmp") && folder.has("notes.tmp") && !folder.has("x.flv"));
    drop(held);
    recover(&place, &Finished::default(), &|| true);
    assert!(!folder.has("x.flv.tmp"), "it had nothing in it");
}

#[test]
fn a_name_that_is_taken_is_left_to_who_has_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let place = Places::default().at(dir.path());
    std::fs::write(dir.path().join("x.flv"), "theirs").expect("written");
    std::fs::write(dir.path().join("x.flv.tmp"), flv(1)).expect("written");
    recover(&place, &Finished::default(), &|| true);
    assert_eq!(std::fs::read(dir.path().join("x.flv")).expect("there"), b"theirs");
    assert_eq!(std::fs::read(dir.path().join("x~2.flv")).expect("there"), flv(1));
}
