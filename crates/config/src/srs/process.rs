//! The process: its log, its pid, its connections, how it stops.

use std::time::Duration;

use weir_conf::Directive;

use super::{
    super::document::{Refused, one},
    reading::{Reading, millis, place_of, time, whole, wrong},
    row::{Fate, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row { block: "", names: "max_connections=1000", fate: Fate::Key("limits.connections") },
    Row {
        block: "",
        names: "grace_start_wait",
        fate: Fate::Key("drain.notice (without it 5s, where SRS waits 2300 ms)"),
    },
    Row {
        block: "",
        names: "grace_final_wait=3200",
        fate: Fate::Instead(
            "the process exits as soon as everybody has left, and after drain.timeout (60s) at the latest",
        ),
    },
    Row {
        block: "",
        names: "force_grace_quit",
        fate: Fate::Always("SIGTERM always drains, as SIGQUIT does in SRS"),
    },
    Row {
        block: "",
        names: "daemon",
        fate: Fate::Always(
            "the process stays in the foreground: systemd or the container runtime runs it",
        ),
    },
    Row {
        block: "",
        names: "asprocess=off",
        fate: Fate::Instead("the process does not end with its parent: the supervisor stops it"),
    },
    Row { block: "", names: "work_dir=./", fate: Fate::Key("work_dir") },
    Row { block: "", names: "pid", fate: Fate::Key("pid_file (none where nothing is said)") },
    Row {
        block: "",
        names: "srs_log_file",
        fate: Fate::Key("log_file, unless srs_log_tank is console"),
    },
    Row {
        block: "",
        names: "srs_log_tank",
        fate: Fate::Key("log_file for file (stderr where nothing is said)"),
    },
    Row {
        block: "",
        names: "srs_log_level=trace srs_log_level_v2",
        fate: Fate::Instead("the level is that of --log or WEIR_LOG"),
    },
    Row {
        block: "",
        names: "ff_log_dir ff_log_level",
        fate: Fate::Always("what FFmpeg says is in the log of the server"),
    },
    Row { block: "", names: "utc_time=off", fate: Fate::Always("times in the log are UTC") },
    Row {
        block: "",
        names: "server_id",
        fate: Fate::Key("name (that of the host where nothing is said)"),
    },
    Row {
        block: "",
        names: "pithy_print_ms empty_ip_ok in_docker disable_daemon_for_docker inotify_auto_reload \
            auto_reload_for_docker",
        fate: Fate::Always(
            "a change of the file is always noticed, and connections without a word are no error",
        ),
    },
    Row {
        block: "",
        names: "tcmalloc_release_rate query_latest_version first_wait_for_qlv",
        fate: Fate::Always("there is no such allocator, and nobody is asked for new versions"),
    },
    Row {
        block: "",
        names: "is_full=off",
        fate: Fate::Refused(
            "this file lists all directives and is no configuration; SRS refuses it as well",
        ),
    },
    Row { block: "", names: "threads circuit_breaker", fate: Fate::Block { many: false } },
    Row {
        block: "threads",
        names: "interval",
        fate: Fate::Always("threads look after themselves"),
    },
    Row {
        block: "circuit_breaker",
        names: "enabled=on high_threshold=90 high_pulse=2 critical_threshold=95 critical_pulse=1 \
            dying_threshold=99 dying_pulse=5",
        fate: Fate::Always(
            "overload is limited by limits.memory, limits.egress and limits.connections",
        ),
    },
];

/// Where SRS writes its log if nothing is said.
const LOG_FILE: &str = "./objs/srs.log";

/// The longest notice, and what a drain takes longer.
const NOTICE_MAX: Duration = Duration::from_secs(3000);
const AFTER_NOTICE: Duration = Duration::from_secs(55);

/// The keys of the process.
pub(super) fn read(
    reading: &mut Reading,
    get: &dyn Fn(&str) -> Option<Directive>,
) -> Result<(), Refused> {
    match get("max_connections") {
        Some(directive) => {
            let count = whole(&directive, "max_connections")?;
            if count == 0 {
                let what = "no connection would be let in";
                return Err(wrong(&directive, "max_connections", what, "write a number from 1 on"));
            }
            let count = count.min(10_000_000).to_string();
            reading.root.set(&["limits", "connections"], one(place_of(&directive), count));
        }
        None => reading.usual(&["limits", "connections"], "1000"),
    }
    if let Some(directive) = get("grace_start_wait") {
        let notice = millis(&directive, "grace_start_wait")?;
        let bounds = (Duration::ZERO, NOTICE_MAX);
        let notice = reading.bounded(&directive, "grace_start_wait", notice, bounds);
        reading.root.set(&["drain", "notice"], time(&directive, notice));
        let timeout = (notice + AFTER_NOTICE).max(Duration::from_secs(60));
        reading.root.set(&["drain", "timeout"], time(&directive, timeout));
    }
    // As in SRS, `./` is where the process is.
    if let Some(dir) = get("work_dir").filter(|dir| !["", "./"].contains(&dir.arg())) {
        reading.root.set(&["work_dir"], one(place_of(&dir), dir.arg()));
    }
    let (tank, file) = (get("srs_log_tank"), get("srs_log_file"));
    let is_file = tank.as_ref().map_or(file.is_some(), |tank| tank.arg() != "console");
    if is_file && let Some(said) = file.as_ref().or(tank.as_ref()) {
        let path = file.as_ref().map_or(LOG_FILE, Directive::arg);
        reading.root.set(&["log_file"], one(place_of(said), path));
    }
    if let Some(id) = get("server_id").filter(|id| !id.arg().is_empty()) {
        reading.root.set(&["name"], one(place_of(&id), id.arg()));
    }
    if let Some(pid) = get("pid").filter(|pid| !pid.arg().is_empty()) {
        reading.root.set(&["pid_file"], one(place_of(&pid), pid.arg()));
    }
    Ok(())
}
