//! What the process knows of itself, read when somebody asks.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};
use tokio::time::{MissedTickBehavior, interval};
use weir_clients::roster::Activity;
use weir_clients::{counts::COUNTS, histogram::Counted};
use weir_config::Role;
use weir_delivery::Format;
use weir_edge::{Answer, Edge};
use weir_hub::{Status, StreamStats};
use weir_media::{StreamKey, Use};
use weir_outputs::forward;
use weir_pull::{Pulls, State};

use super::{
    hooks,
    page::{Labels, Page},
    process::{self, Process},
    srs,
    streams::{Figures, Line, Streams},
    tls,
    window::{Sample, TICK, Window},
};
use crate::{
    node::Node,
    operate::{control::Control, readiness},
    phase::Phase,
    tls::Tls,
};

/// Origins that have a series of their own. An edge with more of them has its answers from DNS, and an answer must not
/// be able to fill the memory of whoever collects.
const ORIGINS_MAX: usize = 256;

/// Reads what runs.
pub struct Live {
    control: Arc<Control>,
    tls: Arc<Tls>,
    start: Instant,
    started_at: SystemTime,
    /// Memory that the process held before anybody connected.
    base_bytes: u64,
    window: Mutex<Window>,
    streams: Mutex<Streams>,
}

/// Clients by what they do.
#[derive(Default)]
struct Census {
    rtmp: usize,
    http: usize,
    rtmps: usize,
    https: usize,
    /// By [`Format::LABELS`].
    viewers: [usize; Format::LABELS.len()],
    publishers: usize,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("start", &self.start).finish_non_exhaustive()
    }
}

impl Live {
    /// Begins to watch what `control` controls.
    pub fn start(control: &Arc<Control>, tls: &Arc<Tls>) -> Arc<Self> {
        let live = Arc::new(Self {
            control: Arc::clone(control),
            tls: Arc::clone(tls),
            start: Instant::now(),
            started_at: SystemTime::now(),
            base_bytes: Process::read().map_or(0, |process| process.resident_bytes),
            window: Mutex::default(),
            streams: Mutex::default(),
        });
        tokio::spawn(sample(Arc::downgrade(&live)));
        live
    }

    fn node(&self) -> &Node {
        &self.control.node
    }

    fn sample(&self) {
        let quotas = &self.node().clients.quotas;
        quotas.forget_gone(Instant::now());
        let sent = quotas.sent();
        let cpu = process::cpu_time().unwrap_or_default();
        lock(&self.window).push(Sample { at: Instant::now(), sent, cpu });
    }

    fn census(&self) -> Census {
        let mut census = Census::default();
        for presence in self.node().clients.roster.list() {
            *match presence.protocol {
                "rtmp" => &mut census.rtmp,
                "rtmps" => &mut census.rtmps,
                "https" => &mut census.https,
                _ => &mut census.http,
            } += 1;
            // An edge asks for its viewers, and is none.
            let is_viewer = presence.does(Activity::Play) && !presence.doing().is_node;
            let speaks = match presence.speaks() {
                "rtmps" => "rtmp",
                other => other,
            };
            if let Some(at) = Format::LABELS.iter().position(|label| *label == speaks) {
                census.viewers[at] += usize::from(is_viewer);
            }
            census.publishers += usize::from(presence.does(Activity::Publish));
        }
        census
    }

    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let (census, streams) = (self.census(), self.node().stream_stats());
        let process = Process::read();
        self.write_state(page)?;
        self.write_clients(page, &census, &streams)?;
        self.write_traffic(page)?;
        write_outcomes(page)?;
        tls::write(page, &self.tls)?;
        hooks::write(page, &self.node().hooks)?;
        write_log(page)?;
        self.write_delivery(page)?;
        self.write_hls(page)?;
        self.write_uploads(page)?;
        self.write_forwards(page)?;
        self.write_children(page)?;
        self.write_recordings(page)?;
        if let Some(edge) = &self.node().edge {
            write_edge(page, edge)?;
        }
        if let Some(pulls) = &self.node().pulls {
            write_pulls(page, pulls)?;
            let shown = self.node().fallback.count() as f64;
            page.gauge("weir_fallbacks", "Streams that show their fallback.", shown)?;
        }
        self.write_streams(page, &streams)?;
        if let Some(process) = &process {
            self.write_process(page, process)?;
        }
        let live = streams.iter().filter(|stream| stream.status == Status::Live).count();
        let totals = self.node().streams.registry.totals();
        let figures = srs::Figures {
            names: self.node().hooks.names(),
            config: &self.node().config().metrics,
            cpus: lock(&self.window).cpus(),
            resident_bytes: process.map_or(0, |process| process.resident_bytes),
            sent: self.node().clients.quotas.sent(),
            received: totals.bytes(),
            streams: live,
            clients: self.node().clients.roster.count(),
        };
        srs::write(page, &figures)
    }

    fn role(&self) -> &'static str {
        match self.node().config().role {
            Role::Origin => "origin",
            Role::Edge => "edge",
        }
    }

    fn write_state(&self, page: &mut Page<'_>) -> fmt::Result {
        let node = self.node();
        let build = vec![("version", env!("CARGO_PKG_VERSION")), ("role", self.role())];
        page.gauges("weir_build_info", "What runs here.", [(build, 1.0)])?;
        page.gauge(
            "weir_uptime_seconds",
            "Time since the start.",
            self.start.elapsed().as_secs_f64(),
        )?;
        let now = node.phase();
        let phases = [Phase::Starting, Phase::Serving, Phase::Notice, Phase::Draining];
        page.gauges(
            "weir_phase",
            "1 for the current phase of the process.",
            phases.map(|phase| (vec![("phase", phase.label())], truth(phase == now))),
        )?;
        let ready = truth(readiness::of(node).is_ok());
        page.gauge(
            "weir_ready",
            "Whether the server is ready for new clients, as in /readyz.",
            ready,
        )?;
        let left = if now.is_ending() { node.clients.roster.count() } else { 0 };
        page.gauge("weir_drain_clients_left", "Clients that a drain waits for.", left as f64)?;
        let last = self.control.reloader.last();
        let results = ["success", "failure"].into_iter().zip(last.counts);
        page.counters(
            "weir_config_reloads",
            "Attempts to apply a new configuration.",
            results.map(|(result, count)| (vec![("result", result)], count as f64)),
        )?;
        page.gauge(
            "weir_config_last_reload_successful",
            "Whether the last reload succeeded.",
            truth(last.is_success),
        )?;
        page.gauge(
            "weir_config_last_reload_success_timestamp_seconds",
            "When a configuration was last applied, including the start.",
            unix(last.applied_at),
        )
    }

    fn write_clients(
        &self,
        page: &mut Page<'_>,
        census: &Census,
        streams: &[StreamStats],
    ) -> fmt::Result {
        let node = self.node();
        let connections = [
            ("rtmp", census.rtmp),
            ("http", census.http),
            ("rtmps", census.rtmps),
            ("https", census.https),
        ];
        page.gauges(
            "weir_connections",
            "Open connections, except those to the API.",
            connections.map(|(protocol, count)| (vec![("protocol", protocol)], count as f64)),
        )?;
        let limit = node.config().limits.connections as f64;
        page.gauge("weir_connections_limit", "limits.connections; 0 means no limit.", limit)?;
        page.counter("weir_clients", "Incoming connections.", COUNTS.clients.get() as f64)?;
        let is_live = |key: &_| node.streams.registry.status(key) == Some(Status::Live);
        node.streams.lost.count(Instant::now(), is_live);
        page.counter(
            "weir_watched_streams_lost",
            "Watched streams that lost their publisher or origin for good.",
            COUNTS.streams_lost.get() as f64,
        )?;
        page.counter(
            "weir_clocks_off",
            "Publishers and origins whose timestamps ran slower or faster than real time.",
            COUNTS.clocks_off.get() as f64,
        )?;
        let hls = ("hls", node.clients.quotas.watching());
        let viewers = Format::LABELS.into_iter().zip(census.viewers).chain([hls]);
        page.gauges(
            "weir_viewers",
            "Viewers; edges that pull are not counted.",
            viewers.map(|(protocol, count)| (vec![("protocol", protocol)], count as f64)),
        )?;
        page.gauge(
            "weir_publishers",
            "Clients that publish; pulls from origins are not counted.",
            census.publishers as f64,
        )?;
        let states = [
            (Status::Waiting, "waiting"),
            (Status::Live, "live"),
            (Status::Lingering, "lingering"),
        ];
        page.gauges(
            "weir_streams",
            "Streams by state.",
            states.map(|(status, state)| {
                let count = streams.iter().filter(|stream| stream.status == status).count();
                (vec![("state", state)], count as f64)
            }),
        )
    }

    fn write_traffic(&self, page: &mut Page<'_>) -> fmt::Result {
        let quotas = &self.node().clients.quotas;
        page.counter("weir_sent_bytes", "Media bytes sent to viewers.", quotas.sent() as f64)?;
        let measured = lock(&self.window).bits_per_second();
        page.gauge(
            "weir_egress_bits_per_second",
            "Media sent to viewers over the last seconds.",
            measured,
        )?;
        let expected = quotas.expected() as f64;
        page.gauge(
            "weir_egress_expected_bits_per_second",
            "Expected egress of all RTMP and HTTP-FLV viewers.",
            expected,
        )?;
        let limit = quotas.egress() as f64;
        page.gauge("weir_egress_limit_bits_per_second", "limits.egress; 0 means no limit.", limit)?;
        // Whichever is higher is what newcomers are refused by.
        let utilization = if limit > 0.0 { measured.max(expected) / limit } else { 0.0 };
        page.gauge(
            "weir_egress_utilization",
            "Measured or expected egress, whichever is higher, as a fraction of limits.egress; 0 without a limit.",
            utilization,
        )?;
        let totals = self.node().streams.registry.totals();
        page.counter("weir_received_bytes", "Bytes of frames received.", totals.bytes() as f64)?;
        page.counter("weir_frames", "Frames received.", totals.frames() as f64)?;
        page.counter(
            "weir_timestamp_repairs",
            "Timestamps of publishers that had to be repaired.",
            totals.repairs() as f64,
        )?;
        self.write_memory(page)
    }

    fn write_memory(&self, page: &mut Page<'_>) -> fmt::Result {
        let budget = self.node().streams.registry.budget();
        let held =
            Use::ALL.map(|what| (vec![("what", what.label())], budget.used_for(what) as f64));
        let base = (vec![("what", "base")], self.base_bytes as f64);
        page.gauges(
            "weir_memory_bytes",
            "Memory in use by purpose; base is what the process used at its start.",
            held.into_iter().chain([base]),
        )?;
        let limit = self.node().config().limits.memory as f64;
        page.gauge(
            "weir_memory_limit_bytes",
            "limits.memory, which covers everything except base.",
            limit,
        )?;
        let logs = budget.used_for(Use::Logs) as f64;
        page.gauge("weir_log_bytes", "Bytes of streams held in logs.", logs)?;
        page.gauge("weir_log_limit_bytes", "limits.memory.", limit)
    }

    fn write_delivery(&self, page: &mut Page<'_>) -> fmt::Result {
        let shards = &self.node().delivery.shards;
        let mut latency = Counted::default();
        shards.add_latency(&mut latency);
        page.histogram(
            "weir_delivery_seconds",
            "Delay from the arrival of the oldest frame of a flush to the end of the shard's sends, per viewer.",
            &latency,
        )?;
        let numbers: Vec<String> = (0..shards.viewers().len()).map(|it| it.to_string()).collect();
        let series = |figures: Vec<f64>| {
            let labels = numbers.iter().map(|number| vec![("shard", &**number)]);
            labels.zip(figures).collect::<Vec<_>>()
        };
        let viewers = shards.viewers().into_iter().map(|viewers| viewers as f64).collect();
        page.gauges("weir_shard_viewers", "Viewers on each delivery shard.", series(viewers))?;
        let loads = shards.loads().into_iter().map(|load| load as f64).collect();
        page.gauges(
            "weir_shard_expected_bits_per_second",
            "Expected egress of the viewers of each shard.",
            series(loads),
        )
    }

    fn write_hls(&self, page: &mut Page<'_>) -> fmt::Result {
        let followers = self.node().hls.followers() as f64;
        page.gauge("weir_hls_followers", "Streams that are being segmented.", followers)?;
        let health = self.node().hls.health();
        let health = health.iter().map(|(dir, why)| (dir.display().to_string(), why.is_none()));
        let health: Vec<_> = health.collect();
        page.gauges(
            "weir_hls_writable",
            "Whether files can be written to an HLS folder.",
            health.iter().map(|(dir, is_well)| (vec![("dir", dir.as_str())], truth(*is_well))),
        )?;
        let counters = [
            ("weir_hls_segments", "HLS segments written.", &COUNTS.hls_segments),
            ("weir_hls_segment_bytes", "Bytes of HLS segments written.", &COUNTS.hls_bytes),
            ("weir_hls_playlists", "HLS playlists written.", &COUNTS.hls_playlists),
            ("weir_hls_write_errors", "HLS files that could not be written.", &COUNTS.hls_errors),
            (
                "weir_hls_frames_dropped",
                "Frames that HLS dropped: damaged, or not in the codec of their track.",
                &COUNTS.hls_frames_dropped,
            ),
        ];
        counters
            .into_iter()
            .try_for_each(|(name, help, count)| page.counter(name, help, count.get() as f64))
    }

    fn write_uploads(&self, page: &mut Page<'_>) -> fmt::Result {
        let stats = self.node().uploader.as_ref().map(|it| it.stats()).unwrap_or_default();
        let pending = stats.pending as f64;
        page.gauge("weir_uploads_pending", "Files that wait to be uploaded.", pending)?;
        page.gauge(
            "weir_uploads_oldest_seconds",
            "How long the file that has waited longest has waited to be uploaded.",
            stats.oldest.as_secs_f64(),
        )?;
        page.gauge(
            "weir_uploads_refused",
            "Recordings and playlists that fail for reasons of their own, while others are uploaded.",
            stats.refused as f64,
        )?;
        let failing = truth(stats.is_failing);
        page.gauge("weir_uploads_failing", "Whether the last upload failed.", failing)?;
        let counters = [
            ("weir_uploads", "Files that were uploaded.", &COUNTS.uploads),
            ("weir_upload_bytes", "Bytes of files that were uploaded.", &COUNTS.upload_bytes),
            ("weir_upload_failures", "Attempts to upload that failed.", &COUNTS.upload_failures),
            (
                "weir_uploads_gone",
                "Files that were removed before they were uploaded.",
                &COUNTS.uploads_gone,
            ),
        ];
        counters
            .into_iter()
            .try_for_each(|(name, help, count)| page.counter(name, help, count.get() as f64))
    }

    fn write_forwards(&self, page: &mut Page<'_>) -> fmt::Result {
        let all = self.node().forward.all();
        let count = |state| all.iter().filter(|forward| forward.state == state).count() as f64;
        page.gauges(
            "weir_forwards",
            "Streams that are forwarded, once for each target, by state.",
            forward::State::ALL.map(|state| (vec![("state", state.label())], count(state))),
        )?;
        let counters = [
            ("weir_forward_bytes", "Bytes of media sent to targets.", &COUNTS.forward_bytes),
            (
                "weir_forward_frames_skipped",
                "Frames that targets missed because they were too slow.",
                &COUNTS.forward_frames_skipped,
            ),
            ("weir_forwards_lost", "Connections to targets lost.", &COUNTS.forwards_lost),
            (
                "weir_forward_failures",
                "Attempts to reach a target that failed or were refused.",
                &COUNTS.forward_failures,
            ),
        ];
        counters
            .into_iter()
            .try_for_each(|(name, help, count)| page.counter(name, help, count.get() as f64))
    }

    fn write_children(&self, page: &mut Page<'_>) -> fmt::Result {
        let all = self.node().children.list();
        let count = |state| all.iter().filter(|child| child.state.label() == state).count() as f64;
        page.gauges(
            "weir_children",
            "Programs for streams (exec, transcode, ingest), by state.",
            ["starting", "running", "waiting", "over"]
                .map(|state| (vec![("state", state)], count(state))),
        )?;
        page.counter(
            "weir_child_restarts",
            "Programs started again because they had ended.",
            COUNTS.child_restarts.get() as f64,
        )
    }

    fn write_recordings(&self, page: &mut Page<'_>) -> fmt::Result {
        let record = &self.node().record;
        let states = record.states();
        page.gauges(
            "weir_recordings",
            "Streams that are being recorded, by how that goes.",
            ["starting", "recording", "failing", "unsupported"].into_iter().map(|state| {
                let count = states.get(state).copied().unwrap_or_default() as f64;
                (vec![("state", state)], count)
            }),
        )?;
        let health = record.health();
        let health = health.iter().map(|(dir, why)| (dir.display().to_string(), why.is_none()));
        let health: Vec<_> = health.collect();
        page.gauges(
            "weir_record_writable",
            "Whether recordings can be written to their folder.",
            health.iter().map(|(dir, is_well)| (vec![("dir", dir.as_str())], truth(*is_well))),
        )?;
        let counters = [
            ("weir_recording_files", "Recordings completed.", &COUNTS.record_files),
            ("weir_recording_bytes", "Bytes of recordings written.", &COUNTS.record_bytes),
            (
                "weir_recording_files_removed",
                "Recordings removed because they were not to be kept.",
                &COUNTS.record_files_removed,
            ),
            (
                "weir_recording_groups_dropped",
                "Groups of pictures missing in recordings: the disk was too slow or failed, or memory was short.",
                &COUNTS.record_groups_dropped,
            ),
            (
                "weir_recording_errors",
                "Times that recordings could not be written.",
                &COUNTS.record_errors,
            ),
        ];
        counters
            .into_iter()
            .try_for_each(|(name, help, count)| page.counter(name, help, count.get() as f64))
    }

    fn write_streams(&self, page: &mut Page<'_>, streams: &[StreamStats]) -> fmt::Result {
        let quotas = &self.node().clients.quotas;
        let figures = |stream: &StreamStats| {
            let (viewers, sent) = quotas.audience(&stream.key);
            Figures { viewers, frames: stream.frames, received: stream.bytes, sent }
        };
        let live = streams.iter().filter(|stream| stream.status != Status::Waiting);
        let live: HashMap<StreamKey, Figures> =
            live.map(|stream| (stream.key.clone(), figures(stream))).collect();
        let lines =
            lock(&self.streams).lines(&live, self.node().config().metrics.streams, Instant::now());
        let series =
            |figure: fn(&Line) -> f64| lines.iter().map(move |line| (labels(line), figure(line)));
        page.gauges(
            "weir_stream_viewers",
            "Viewers of the most watched streams.",
            series(|line| line.figures.viewers as f64),
        )?;
        page.counters(
            "weir_stream_received_bytes",
            "Bytes published, per stream.",
            series(|line| line.figures.received as f64),
        )?;
        page.counters(
            "weir_stream_frames",
            "Frames published, per stream.",
            series(|line| line.figures.frames as f64),
        )?;
        page.counters(
            "weir_stream_sent_bytes",
            "Bytes sent by delivery shards, per stream, since its first viewer came.",
            series(|line| line.figures.sent as f64),
        )?;
        page.gauges(
            "weir_stream_bits_per_second",
            "Publishing rate of a stream between the last two scrapes.",
            series(|line| line.bit_rate),
        )
    }

    /// Under the names that all exporters use.
    fn write_process(&self, page: &mut Page<'_>, process: &Process) -> fmt::Result {
        let cpu = process.cpu_seconds;
        page.counter("process_cpu_seconds", "CPU time used.", cpu)?;
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Resident memory of the process.",
                process.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory of the process.",
                process.virtual_bytes,
            ),
            ("process_threads", "Threads of the process.", process.threads),
            ("process_open_fds", "Open file descriptors.", process.open_fds),
            ("process_max_fds", "Maximum number of open file descriptors.", process.max_fds),
        ];
        gauges
            .into_iter()
            .try_for_each(|(name, help, value)| page.gauge(name, help, value as f64))?;
        page.gauge(
            "process_start_time_seconds",
            "Start time of the process.",
            unix(self.started_at),
        )
    }
}

impl Collector for Live {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.write(&mut Page(encoder))
    }
}

fn write_outcomes(page: &mut Page<'_>) -> fmt::Result {
    let skips = COUNTS.skips.get() as f64;
    page.counter(
        "weir_lag_skips",
        "Skips of slow viewers to the newest group of pictures.",
        skips,
    )?;
    page.counters(
        "weir_refusals",
        "Clients and requests that were refused.",
        COUNTS.all_refused().map(|(why, count)| (vec![("reason", why.label())], count as f64)),
    )?;
    page.counters(
        "weir_messages_left_out",
        "Messages from publishers and origins that were dropped.",
        COUNTS.all_left_out().map(|(why, count)| (vec![("reason", why.label())], count as f64)),
    )?;
    page.counters(
        "weir_session_ends",
        "Sessions that have ended, by the side that ended them.",
        COUNTS.all_ended().map(|(role, kind, count)| {
            let (side, role) = (kind.side().label(), role.label());
            (vec![("side", side), ("role", role), ("kind", kind.label())], count as f64)
        }),
    )
}

fn write_log(page: &mut Page<'_>) -> fmt::Result {
    page.counter(
        "weir_log_lines_lost",
        "Log lines lost because the reader of the log was too slow.",
        COUNTS.log_lines_lost.get() as f64,
    )?;
    page.counter(
        "weir_log_lines_left_out",
        "Log lines suppressed because there were many similar ones.",
        COUNTS.log_lines_left_out.get() as f64,
    )
}

fn write_edge(page: &mut Page<'_>, edge: &Edge) -> fmt::Result {
    let (pulls, origins) = (edge.pulls(), edge.origins().status());
    page.gauges(
        "weir_pulls",
        "Streams being pulled or requested from origins.",
        Answer::LABELS.map(|state| {
            let count = pulls.iter().filter(|(_, it)| it.label() == state).count();
            (vec![("state", state)], count as f64)
        }),
    )?;
    page.counter(
        "weir_pulls_lost",
        "Pulls lost while there were viewers.",
        COUNTS.pulls_lost.get() as f64,
    )?;
    page.counter(
        "weir_pull_retries",
        "Repeated requests to origins for a stream.",
        COUNTS.pull_retries.get() as f64,
    )?;
    page.gauge("weir_pushes", "Streams being pushed to an origin.", edge.pushes() as f64)?;
    page.counter("weir_pushes_lost", "Pushes lost.", COUNTS.pushes_lost.get() as f64)?;
    page.counters(
        "weir_origin_tls_failures",
        "TLS connections to origins that could not be made, by reason.",
        COUNTS
            .all_origin_tls_failed()
            .map(|(why, count)| (vec![("reason", why.label())], count as f64)),
    )?;
    page.gauge("weir_origins", "Known origins.", origins.len() as f64)?;
    let up: Vec<_> =
        origins.iter().map(|it| (it.address.to_string(), it)).take(ORIGINS_MAX).collect();
    page.gauges(
        "weir_origin_up",
        "Whether an origin counts as alive.",
        up.iter().map(|(address, origin)| {
            (vec![("origin", &**address), ("host", &*origin.host)], truth(origin.healthy))
        }),
    )?;
    let cache = edge.hls().stats();
    let counters = [
        ("weir_hls_cache_fetches", "HLS objects requested from origins.", cache.fetches),
        ("weir_hls_cache_hits", "HLS requests answered from memory.", cache.hits),
        (
            "weir_hls_cache_coalesced",
            "HLS requests that waited for a fetch in progress.",
            cache.coalesced,
        ),
        ("weir_hls_cache_stale", "HLS requests answered with a stale playlist.", cache.stale),
        ("weir_hls_cache_failures", "HLS objects that could not be fetched.", cache.failures),
    ];
    counters
        .into_iter()
        .try_for_each(|(name, help, count)| page.counter(name, help, count as f64))?;
    page.gauge("weir_hls_cache_bytes", "Bytes in the HLS cache.", cache.bytes as f64)?;
    page.gauge("weir_hls_cache_entries", "Objects in the HLS cache.", cache.entries as f64)?;
    page.gauge(
        "weir_hls_cache_memory_bytes",
        "Bytes of HLS objects in the cache, being fetched and being sent.",
        cache.memory as f64,
    )
}

fn write_pulls(page: &mut Page<'_>, pulls: &Pulls) -> fmt::Result {
    let all = pulls.list();
    page.gauges(
        "weir_pulls",
        "Streams being pulled or requested from origins or other servers.",
        State::LABELS.map(|state| {
            let count = all.iter().filter(|it| it.state.label() == state).count();
            (vec![("state", state)], count as f64)
        }),
    )?;
    page.counter(
        "weir_pulls_lost",
        "Pulls lost while they flowed.",
        COUNTS.pulls_lost.get() as f64,
    )?;
    page.counter(
        "weir_pull_retries",
        "Repeated requests for a stream.",
        COUNTS.pull_retries.get() as f64,
    )
}

fn labels(line: &Line) -> Labels<'_> {
    match &line.key {
        Some(key) => vec![("vhost", key.vhost()), ("app", key.app()), ("stream", key.stream())],
        // No stream is without a vhost and an app.
        None => vec![("vhost", ""), ("app", ""), ("stream", "other")],
    }
}

fn truth(truth: bool) -> f64 {
    f64::from(u8::from(truth))
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

async fn sample(live: Weak<Live>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(live) = live.upgrade() else { return };
        live.sample();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
