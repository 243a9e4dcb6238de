//! RTMP and its listeners.

use weir_conf::Directive;

use super::{
    super::document::{Refused, list, one, place},
    reading::{Reading, address, place_of, whole},
    row::{Fate, Row},
    tls,
};

pub(super) const ROWS: &[Row] = &[
    Row { block: "", names: "listen=1935", fate: Fate::Key("rtmp.listen") },
    Row { block: "", names: "chunk_size=60000", fate: Fate::Key("rtmp.chunk_size") },
    Row { block: "", names: "rtmp rtmps", fate: Fate::Block { many: false } },
    Row { block: "rtmp", names: "listen", fate: Fate::Moved("listen") },
    Row { block: "rtmp", names: "chunk_size", fate: Fate::Moved("chunk_size") },
    Row { block: "rtmps", names: "enabled=off", fate: Fate::Key("rtmp.tls") },
    Row { block: "rtmps", names: "listen=1443", fate: Fate::Key("rtmp.tls.listen") },
    Row {
        block: "rtmps",
        names: "key=./conf/server.key cert=./conf/server.crt",
        fate: Fate::Key("rtmp.tls.certificates"),
    },
    Row {
        block: "vhost",
        names: "chunk_size=60000",
        fate: Fate::Instead("all vhosts have the chunk size of the server (rtmp.chunk_size)"),
    },
    Row {
        block: "vhost",
        names: "in_ack_size out_ack_size",
        fate: Fate::Always("acknowledgements follow what the client asks for"),
    },
];

pub(super) fn read(
    reading: &mut Reading,
    get: &dyn Fn(&str) -> Option<Directive>,
) -> Result<(), Refused> {
    match get("listen").filter(|listen| !listen.args.is_empty()) {
        Some(listen) => {
            let addresses = listen
                .args
                .iter()
                .map(|word| address(word, "listen").map(|address| one(place(word.at), address)));
            let addresses = addresses.collect::<Result<_, _>>()?;
            reading.root.set(&["rtmp", "listen"], list(place_of(&listen), addresses));
        }
        None => reading.usual(&["rtmp", "listen"], "0.0.0.0:1935"),
    }
    if let Some(size) = get("chunk_size") {
        let asked = whole(&size, "chunk_size")?;
        let within = asked.clamp(128, 65_536);
        if within != asked {
            let what = format!("chunks have 128 to 65536 bytes, so it is {within}");
            reading.note(size.arg_at(), "chunk_size", what);
        }
        reading.root.set(&["rtmp", "chunk_size"], one(place_of(&size), within.to_string()));
    }
    tls::read(reading, get("rtmps").as_ref(), "rtmps", ("rtmp", "1443"))?;
    Ok(())
}
