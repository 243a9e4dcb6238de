//! Any text as a playlist: as an edge gets it from an origin, and as a process finds it in its folder. It is read or
//! refused; its update says the same, and what goes on from it is written so that it can be read again.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use weir_hls::{Begin, Config, EntryKind, Form, MediaPlaylist, Nonce, Playlist, update};

fn segments(playlist: &MediaPlaylist) -> u64 {
    playlist.skipped + playlist.of(EntryKind::Segment).count() as u64
}

fuzz_target!(|text: &str| {
    if let (Ok(whole), Some(update)) = (MediaPlaylist::parse(text), update(text)) {
        let update = MediaPlaylist::parse(&update).expect("an update is a playlist");
        assert_eq!((whole.progress, whole.hint), (update.progress, update.hint));
        assert_eq!(segments(&whole), segments(&update));
    }
    let config = Config::new("live");
    let resumed = Playlist::resume(&config, text);
    // Numbers are seconds; no stream comes to their end.
    if let Some(mut playlist) = resumed.ok().filter(|it| it.next_sequence() < u64::MAX / 2) {
        playlist.begin(Begin::at(Duration::ZERO));
        let file = playlist.file(Nonce::new(0), Form::Ts);
        playlist.push(&file, Duration::from_secs(2));
        let written = playlist.render_plain();
        assert!(Playlist::has_written(&config, &written), "{written}");
    }
});
