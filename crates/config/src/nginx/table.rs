//! The directives of nginx's RTMP module, and what becomes of each.

/// What becomes of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A key says the same.
    Read,
    /// There is nothing to say.
    Always,
    /// Something else holds instead.
    Instead(&'static str),
}

use Fate::{Always, Instead, Read};

const NAMES: &str =
    "playlists are at /APP/STREAM.m3u8, and segments have names that nobody can guess";
const COMMANDS: &str = "commands are run while a stream is published (exec, exec_publish), and at no other moment: \
    use on_play, on_done and their like, and run it at the back end";
const DASH: &str =
    "there is no DASH: play HLS, which container fmp4 has in the same fragmented MP4";
const LOG: &str = "the log is on stderr";

/// Those of `rtmp`, `server` and `application`, each name once.
pub(super) const ROWS: &[(&str, Fate)] = &[
    ("listen chunk_size max_connections allow deny live", Read),
    ("exec exec_push exec_publish respawn", Read),
    ("push pull record record_path record_interval record_max_size", Read),
    (
        "hls hls_path hls_fragment hls_playlist_length hls_keys hls_fragments_per_key hls_key_url hls_variant",
        Read,
    ),
    (
        "on_connect on_publish on_play on_done on_publish_done on_play_done on_disconnect on_record_done",
        Read,
    ),
    ("drop_idle_publisher", Read),
    ("server application", Read),
    (
        "so_keepalive tcp_nodelay ping ping_timeout timeout ack_window out_queue out_cork buffer busy buflen",
        Always,
    ),
    (
        "max_streams max_message relay_buffer resolver wait_key wait_video interleave sync meta",
        Always,
    ),
    (
        "publish_notify play_restart idle_streams gop_cache send_all push_reconnect pull_reconnect session_relay",
        Always,
    ),
    (
        "hls_continuous hls_cleanup hls_datetime hls_allow_client_cache hls_audio_buffer_size hls_muxdelay \
        hls_sync",
        Always,
    ),
    ("record_unique record_append record_lock record_notify record_buffer", Always),
    (
        "hls_nested hls_base_url hls_fragment_naming hls_fragment_slicing hls_fragment_naming_granularity hls_type",
        Instead(NAMES),
    ),
    ("hls_max_fragment hls_max_audio_delay", Always),
    ("hls_key_path", Instead("keys are beside the segments")),
    (
        "record_suffix",
        Instead(
            "recordings are APP/STREAM/DATE-TIME-NUMBER; set record.path in YAML for other \
        names",
        ),
    ),
    (
        "record_max_frames",
        Instead(
            "files are split by their length and size alone (record_interval, \
        record_max_size)",
        ),
    ),
    (
        "recorder",
        Instead(
            "there is one recording for each stream: record, record_path and record_interval of the \
        application",
        ),
    ),
    (
        "exec_pull exec_play exec_static exec_play_done exec_publish_done exec_record_done",
        Instead(COMMANDS),
    ),
    (
        "exec_options exec_kill_signal respawn_timeout",
        Instead(
            "programs are ended with SIGTERM, and started again after pauses that grow to 30 s",
        ),
    ),
    (
        "on_update notify_update_timeout notify_update_strict",
        Instead(
            "back ends are told of beginnings and ends, \
        and not in between",
        ),
    ),
    ("notify_method notify_relay_redirect", Instead("calls are POST with JSON")),
    (
        "dash dash_path dash_fragment dash_playlist_length dash_nested dash_cleanup dash_clock_compensation",
        Instead(DASH),
    ),
    (
        "dash_clock_helper_uri dash_ad_markers dash_ad_markers_timeout dash_repetition dash_type dash_variant",
        Instead(DASH),
    ),
    (
        "play play_temp_path play_local_path",
        Instead(
            "no files are played on demand; pull with file:NAME.flv \
        plays one as a stream",
        ),
    ),
    ("multi_worker_listen rtmp_auto_push rtmp_auto_push_reconnect rtmp_socket_dir", Always),
    ("access_log error_log log_format", Instead(LOG)),
    ("limit rtmp_stat rtmp_control netcall_buffer netcall_timeout", Always),
];

/// What becomes of the directive `name`.
pub(super) fn find(name: &str) -> Option<Fate> {
    ROWS.iter()
        .find(|(names, _)| names.split(' ').any(|known| known == name))
        .map(|(_, fate)| *fate)
}

/// All names.
pub(super) fn names() -> Vec<&'static str> {
    ROWS.iter().flat_map(|(names, _)| names.split(' ')).collect()
}
