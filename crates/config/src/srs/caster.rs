//! Encoders that speak something else than RTMP: MPEG-TS over UDP, which FFmpeg takes in.

use weir_conf::Directive;
use weir_media::DEFAULT_VHOST;

use super::{
    super::document::{Builder, one},
    exec,
    reading::{Reading, is_on, place_of},
};

const PATH: &str = "stream_caster";

/// What holds instead of the others.
const OTHERS: &str = "it is left out, and its port is not opened: publish over RTMP, with FFmpeg in between where \
    needed";

/// What holds for MPEG-TS. The program is where that of `ingest` is.
const BY_FFMPEG: &str = "FFmpeg takes it in (ingest), which has to be on this machine";

/// All blocks `stream_caster`.
pub(super) fn read(reading: &mut Reading, all: &[Directive]) {
    let named = all.iter().filter(|directive| directive.name.text == PATH);
    for caster in named.filter(|caster| is_on(caster.get("enabled"), false)) {
        let entry = mpegts(caster);
        let what = if entry.is_some() { BY_FFMPEG } else { OTHERS };
        reading.note(caster.name.at, PATH, what);
        if let Some(entry) = entry {
            reading.root.push(&["ingest"], entry.node(place_of(caster)));
        }
    }
}

/// What brings in what comes as MPEG-TS over UDP, as one stream of this server.
fn mpegts(caster: &Directive) -> Option<Builder> {
    let said = |name: &str| caster.get(name).filter(|it| !it.arg().is_empty());
    said("caster").filter(|it| it.arg() == "mpegts_over_udp")?;
    let (output, listen) = (said("output")?, said("listen")?);
    // With a vhost in its URL it is another one's.
    let output = Some(output).filter(|output| !output.arg().contains("vhost="))?;
    let stream = exec::stream_here(output.arg(), DEFAULT_VHOST)?;
    let port: u16 = listen.arg().parse().ok().filter(|port| *port > 0)?;
    let mut entry = Builder::default();
    entry.set(&["stream"], one(place_of(output), stream));
    // What is lost when nobody reads in time is lost; the rest is not thrown away with it.
    let from = format!("udp://0.0.0.0:{port}?overrun_nonfatal=1");
    entry.set(&["from"], one(place_of(listen), from));
    Some(entry)
}
