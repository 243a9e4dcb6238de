//! HLS.

use std::time::Duration;

use weir_conf::Directive;

use super::{
    super::{
        document::{Builder, Refused, one},
        tree::Place,
    },
    reading::{Reading, is_on, place_of, seconds, switch, time, whole},
    row::{Fate, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row { block: "vhost", names: "hls", fate: Fate::Block { many: false } },
    Row { block: "vhost.hls", names: "enabled=off", fate: Fate::Key("hls.enabled") },
    Row {
        block: "vhost.hls",
        names: "hls_fragment=10",
        fate: Fate::Key("hls.segment, 10s where nothing is said"),
    },
    Row {
        block: "vhost.hls",
        names: "hls_window=60",
        fate: Fate::Key("hls.window, in segments: hls_window / hls_fragment, at least 3"),
    },
    Row { block: "vhost.hls", names: "hls_path=./objs/nginx/html", fate: Fate::Key("hls.dir") },
    Row {
        block: "vhost.hls",
        names: "hls_m3u8_file=[app]/[stream].m3u8",
        fate: Fate::Key("hls.playlist_path"),
    },
    Row {
        block: "vhost.hls",
        names: "hls_ts_file=[app]/[stream]-[seq].ts",
        fate: Fate::Key(
            "hls.segment_path, if it is not SRS's default: without it segments have names that nobody can guess",
        ),
    },
    Row { block: "vhost.hls", names: "hls_entry_prefix", fate: Fate::Key("hls.segment_url") },
    Row {
        block: "vhost.hls",
        names: "hls_td_ratio=1.0 hls_aof_ratio=2.1",
        fate: Fate::Instead(
            "a segment ends before the next key frame, and without pictures at its length",
        ),
    },
    Row {
        block: "vhost.hls",
        names: "hls_on_error=continue",
        fate: Fate::Instead(
            "publishers go on when HLS cannot be written, and /readyz and /metrics say so",
        ),
    },
    Row {
        block: "vhost.hls",
        names: "hls_acodec hls_vcodec",
        fate: Fate::Always("segments have the codecs of the stream"),
    },
    Row {
        block: "vhost.hls",
        names: "hls_cleanup=on",
        fate: Fate::Instead("old segments are removed; to keep what was sent, record it (dvr)"),
    },
    Row {
        block: "vhost.hls",
        names: "hls_dispose=120",
        fate: Fate::Instead(
            "segments are removed some time after the stream has ended, when no player needs them any more",
        ),
    },
    Row {
        block: "vhost.hls",
        names: "hls_wait_keyframe=on",
        fate: Fate::Instead("segments always begin with a key frame"),
    },
    Row {
        block: "vhost.hls",
        names: "hls_ts_floor=off",
        fate: Fate::Instead(
            "sequence numbers begin with the clock, and names are not made from it",
        ),
    },
    Row {
        block: "vhost.hls",
        names: "hls_ctx=on hls_ts_ctx=on",
        fate: Fate::Always(
            "viewers of HLS are counted by what they fetch, and playlists are the same for all of them",
        ),
    },
    Row {
        block: "vhost.hls",
        names: "hls_nb_notify hls_dts_directly hls_storage hls_mount hls_recover",
        fate: Fate::Always("there is nothing to set"),
    },
    Row { block: "vhost.hls", names: "hls_keys=off", fate: Fate::Key("hls.encrypt") },
    Row {
        block: "vhost.hls",
        names: "hls_fragments_per_key=5",
        fate: Fate::Key("hls.segments_per_key"),
    },
    Row { block: "vhost.hls", names: "hls_key_url", fate: Fate::Key("hls.key_url") },
    Row {
        block: "vhost.hls",
        names: "hls_key_file=[app]/[stream]-[seq].key hls_key_file_path=./objs/nginx/html",
        fate: Fate::Instead("keys are beside the segments, under names of their own"),
    },
    Row { block: "vhost.hls", names: "hls_use_fmp4=off", fate: Fate::Key("hls.container: fmp4") },
    Row {
        block: "vhost.hls",
        names: "hls_fmp4_file=[app]/[stream]-[seq].m4s",
        fate: Fate::Key("hls.segment_path with hls_use_fmp4, if it is not SRS's default"),
    },
    Row {
        block: "vhost.hls",
        names: "hls_init_file=[app]/[stream]/init.mp4 hls_master_m3u8_path_relative=off",
        fate: Fate::Instead("playlists name what players need, relative to themselves"),
    },
];

/// What a segment may last, and how many a playlist may list.
const SEGMENT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
const WINDOW: (u64, u64) = (3, 1000);
/// How long a segment, and all of them, last in SRS where nothing is said.
const USUAL_SEGMENT: Duration = Duration::from_secs(10);
const USUAL_WINDOW: Duration = Duration::from_secs(60);

/// What holds for vhosts that say nothing.
pub(super) fn usual(reading: &mut Reading) {
    reading.usual(&["hls", "enabled"], "false");
    reading.usual(&["hls", "dir"], "./objs/nginx/html");
    reading.usual(&["hls", "segment"], "10s");
    reading.usual(&["hls", "window"], "6");
}

/// `hls` of a vhost.
pub(super) fn vhost(
    reading: &mut Reading,
    out: &mut Builder,
    vhost: &Directive,
    is_edge: bool,
) -> Result<(), Refused> {
    let Some(hls) = vhost.get("hls") else { return Ok(()) };
    let Some(enabled) = hls.get("enabled") else { return Ok(()) };
    if !switch(enabled, "vhost.hls.enabled")? {
        out.set(&["hls", "enabled"], one(place_of(enabled), "false"));
        return Ok(());
    }
    out.set(&["hls", "enabled"], one(place_of(enabled), "true"));
    if is_edge {
        let what = "an edge writes no files: playlists and segments come from the origins, and need HLS there";
        reading.note(enabled.arg_at(), "vhost.hls.enabled", what);
    }
    lengths(reading, out, hls)?;
    names(reading, out, hls);
    for (name, key) in [("hls_path", "dir"), ("hls_key_url", "key_url")] {
        if let Some(said) = hls.get(name).filter(|said| !said.arg().is_empty()) {
            out.set(&["hls", key], one(place_of(said), said.arg()));
        }
    }
    if let Some(fmp4) = hls.get("hls_use_fmp4").filter(|it| is_on(Some(it), false)) {
        out.set(&["hls", "container"], one(place_of(fmp4), "fmp4"));
    }
    let keys = hls.get("hls_keys").filter(|keys| is_on(Some(keys), false));
    let Some(keys) = keys else { return Ok(()) };
    out.set(&["hls", "encrypt"], one(place_of(keys), "true"));
    let (at, count) = match hls.get("hls_fragments_per_key") {
        Some(said) => (place_of(said), whole(said, "vhost.hls.hls_fragments_per_key")?),
        None => (Place::NOWHERE, 5),
    };
    out.set(&["hls", "segments_per_key"], one(at, count.clamp(1, 10_000).to_string()));
    Ok(())
}

/// Paths of playlists and segments. SRS's own leave those of Weir, by which nobody can guess a segment.
fn names(reading: &mut Reading, out: &mut Builder, hls: &Directive) {
    let (segment, usual) = match is_on(hls.get("hls_use_fmp4"), false) {
        true => ("hls_fmp4_file", "[app]/[stream]-[seq].m4s"),
        false => ("hls_ts_file", "[app]/[stream]-[seq].ts"),
    };
    let playlist = ("hls_m3u8_file", "playlist_path", "[app]/[stream].m3u8");
    for (name, key, usual) in [playlist, (segment, "segment_path", usual)] {
        let said = hls.get(name).filter(|said| !["", usual].contains(&said.arg()));
        let Some(said) = said else { continue };
        // Another one may have what it says of a stream.
        if ["[app]", "[stream]"].iter().all(|variable| said.arg().contains(variable)) {
            out.set(&["hls", key], one(place_of(said), said.arg()));
        } else {
            let what =
                "needs [app] and [stream], and is left out: files are called as Weir calls them";
            reading.note(said.arg_at(), &format!("vhost.hls.{name}"), what);
        }
    }
    let prefix = hls.get("hls_entry_prefix").filter(|said| !said.arg().is_empty());
    let Some(prefix) = prefix else { return };
    if prefix.arg().starts_with("http://") || prefix.arg().starts_with("https://") {
        out.set(&["hls", "segment_url"], one(place_of(prefix), prefix.arg()));
    } else {
        let what =
            "is no URL, and is left out: playlists name their segments relative to themselves";
        reading.note(prefix.arg_at(), "vhost.hls.hls_entry_prefix", what);
    }
}

fn lengths(reading: &mut Reading, out: &mut Builder, hls: &Directive) -> Result<(), Refused> {
    const FRAGMENT: &str = "vhost.hls.hls_fragment";
    const ALL: &str = "vhost.hls.hls_window";
    let (fragment, all) = (hls.get("hls_fragment"), hls.get("hls_window"));
    let segment = fragment.map_or(Ok(USUAL_SEGMENT), |said| seconds(said, FRAGMENT))?;
    let segment =
        fragment.map_or(segment, |said| reading.bounded(said, FRAGMENT, segment, SEGMENT));
    let window = all.map_or(Ok(USUAL_WINDOW), |said| seconds(said, ALL))?;
    if let Some(said) = fragment {
        out.set(&["hls", "segment"], time(said, segment));
    }
    let Some(said) = all.or(fragment) else { return Ok(()) };
    let count = window.as_millis().div_ceil(segment.as_millis().max(1));
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    let within = count.clamp(WINDOW.0, WINDOW.1);
    if within != count && all.is_some() {
        let what = format!("a playlist lists {within} segments, where this would be {count}");
        reading.note(said.arg_at(), ALL, what);
    }
    out.set(&["hls", "window"], one(place_of(said), within.to_string()));
    Ok(())
}
