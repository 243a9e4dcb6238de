//! What SRS has and Weir has not: other protocols, other formats, services of a cloud.

use super::row::{Fate, Row};

pub(super) const ROWS: &[Row] = &[
    Row { block: "", names: "stats", fate: Fate::Block { many: false } },
    Row {
        block: "stats",
        names: "enabled network disk",
        fate: Fate::Always(
            "what the system does is in /metrics, for all of its interfaces and disks; a network other than the \
             first is warned of where there is a heartbeat, which says the address by which it is sent",
        ),
    },
    Row {
        block: "",
        names: "rtc_server srt_server rtsp_server tencentcloud_cls tencentcloud_apm",
        fate: Fate::Block { many: false },
    },
    Row {
        block: "rtc_server",
        names: "enabled=off listen dir candidate ecdsa encrypt reuseport merge_nalus protocol ip_family \
            api_as_candidates \
            resolve_api_domain keep_api_domain use_auto_detect_network_ip perf_stat queue_length",
        fate: Fate::Within,
    },
    Row { block: "rtc_server", names: "tcp black_hole rtp", fate: Fate::Free },
    Row {
        block: "srt_server",
        names: "enabled=off listen maxbw mss latency recvlatency peerlatency connect_timeout peer_idle_timeout \
            sendbuf recvbuf \
            payloadsize default_app sei_filter mix_correct tlpktdrop tlpkdrop tsbpdmode passphrase pbkeylen",
        fate: Fate::Within,
    },
    Row { block: "rtsp_server", names: "enabled=off listen", fate: Fate::Within },
    Row {
        block: "tencentcloud_cls",
        names: "enabled=off label tag secret_id secret_key endpoint topic_id stat_heartbeat stat_streams \
            debug_logging heartbeat_ratio streams_ratio",
        fate: Fate::Within,
    },
    Row {
        block: "tencentcloud_apm",
        names: "enabled=off team token endpoint service_name debug_logging",
        fate: Fate::Within,
    },
    Row { block: "", names: "stream_caster", fate: Fate::Block { many: true } },
    Row {
        block: "stream_caster",
        names: "caster output listen",
        fate: Fate::Key("ingest for mpegts_over_udp; the others are left out, with a warning"),
    },
    Row {
        block: "stream_caster",
        names: "enabled=off rtp_port_min rtp_port_max host tcp_enable wait_keyframe \
            rtp_idle_timeout audio_enable auto_create_channel",
        fate: Fate::Within,
    },
    Row { block: "stream_caster", names: "sip", fate: Fate::Free },
    Row {
        block: "vhost",
        names: "rtc srt rtsp dash hds bandcheck nack twcc",
        fate: Fate::Block { many: false },
    },
    Row {
        block: "vhost.rtc",
        names: "enabled=off nack twcc nack_no_copy bframe aac stun_timeout stun_strict_check \
            dtls_role dtls_version drop_for_pt rtc_to_rtmp \
            pli_for_rtmp rtmp_to_rtc keep_bframe opus_bitrate aac_bitrate keep_avc_nalu_sei init_rate_from_sdp",
        fate: Fate::Within,
    },
    Row { block: "vhost.srt", names: "enabled=off srt_to_rtmp", fate: Fate::Within },
    Row { block: "vhost.rtsp", names: "enabled=off rtmp_to_rtsp", fate: Fate::Within },
    Row { block: "vhost.nack", names: "enabled=off no_copy", fate: Fate::Within },
    Row { block: "vhost.twcc", names: "enabled=off", fate: Fate::Within },
    Row {
        block: "vhost.dash",
        names: "enabled=off dash_fragment dash_update_period dash_timeshift dash_path dash_mpd_file \
            dash_window_size dash_dispose dash_cleanup",
        fate: Fate::Within,
    },
    Row {
        block: "vhost.hds",
        names: "enabled=off hds_fragment hds_window hds_path",
        fate: Fate::Within,
    },
    Row {
        block: "vhost.bandcheck",
        names: "enabled=off key interval limit_kbps",
        fate: Fate::Within,
    },
];

/// What is said of a block that is on, as a whole.
const BLOCKS: &[(&str, &str)] = &[
    // Without these, what vhosts say of them means nothing in SRS either.
    (
        "rtc_server",
        "there is no WebRTC, and its port is not opened: publish over RTMP, and play over RTMP, HTTP-FLV and HLS",
    ),
    (
        "srt_server",
        "there is no SRT, and its port is not opened: publish over RTMP, and play over RTMP, HTTP-FLV and HLS",
    ),
    (
        "rtsp_server",
        "there is no RTSP, and its port is not opened: publish over RTMP, and play over RTMP, HTTP-FLV and HLS",
    ),
    ("tencentcloud_cls", "nothing is sent to a cloud: the log is on stderr, as JSON"),
    ("tencentcloud_apm", "no traces are sent"),
    ("vhost.dash", "there is no DASH: play HLS, with hls_use_fmp4 on in the same fragmented MP4"),
    ("vhost.hds", "there is no HDS, which no browser plays any more: play HLS"),
    ("vhost.bandcheck", "there is no bandwidth check, which SRS 4 removed as well"),
    (
        "vhost.http_static",
        "no files are served but the HLS of streams and the pages of Weir; serve others with nginx",
    ),
];

/// What holds instead of a block that is on, where that is one thing for all of it.
pub(super) fn block(path: &str) -> Option<&'static str> {
    BLOCKS.iter().find(|(block, _)| *block == path).map(|(_, what)| *what)
}
