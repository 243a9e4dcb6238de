//! One line of the configuration: what is pulled, from where, and whom to trust there.

use std::sync::Arc;

use weir_clients::counts::COUNTS;
use weir_config::{Config, Fault, Pull, PullPlace, PullServer, StreamPattern, When};
use weir_media::StreamKey;
use weir_rtmp::url::RtmpUrl;
use weir_tls::client::Named;
use weir_upstream::{PeerTls, Peers, Trusted};

use crate::slate::Kinds;

/// Servers that streams are pulled from, as servers that are connected to.
static SERVERS: Peers = Peers {
    named: Named { ca: "pull.ca", pin: "pull.pin" },
    called: "servers that streams are pulled from",
    failed: |reason| COUNTS.origin_tls_failed(reason),
};

/// What is pulled, and from where.
#[derive(Debug)]
pub struct Entry {
    /// As it is configured.
    pub pull: Pull,
    /// Whom to trust, if there is TLS.
    pub tls: PeerTls,
    /// The stream, if it is a single one.
    pub key: Option<StreamKey>,
    vhost: String,
    streams: StreamPattern,
}

/// One that is ready to be put in force.
pub struct NextEntry {
    entry: Entry,
    trusted: Option<Trusted>,
}

impl Entry {
    /// Whether it means this stream.
    pub fn means(&self, key: &StreamKey) -> bool {
        self.vhost == key.vhost() && self.streams.matches(key.app(), key.stream())
    }

    /// The stream that is pulled whether or not anybody watches it.
    pub fn always(&self) -> Option<&StreamKey> {
        self.key.as_ref().filter(|_| self.pull.when == When::Always)
    }

    /// Takes in another file of authorities. It blocks.
    pub fn look(&self) {
        let pins = self.pull.pin.iter().map(|pin| pin.0).collect();
        self.tls.look(self.pull.ca.as_deref(), pins);
    }

    /// Whether it is the same line.
    pub fn is_same(&self, other: &Self) -> bool {
        self.pull == other.pull && self.vhost == other.vhost && self.streams == other.streams
    }
}

/// Reads what `config` says is pulled, and the files that it needs for that.
///
/// # Errors
/// When one of them is not what it should be.
pub fn read(config: &Config) -> Result<Vec<NextEntry>, Fault> {
    let entries = config.pull.iter().enumerate();
    entries.map(|(number, pull)| read_one(config, number, pull)).collect()
}

fn read_one(config: &Config, number: usize, pull: &Pull) -> Result<NextEntry, Fault> {
    let at = |key: &str| format!("pull[{number}].{key}");
    let none = || {
        let what = format!("{} means no stream", pull.stream);
        Fault::new(at("stream"), what, "write app/stream, such as live/cam")
    };
    let (vhost, streams) = config.pulled(pull).ok_or_else(none)?;
    let key = config.pulled_stream(pull);
    let trusted = match pull.from.place() {
        PullPlace::Server(PullServer { is_tls: true, .. }) => {
            let pins = pull.pin.iter().map(|pin| pin.0).collect();
            let trusted = Trusted::read(pull.ca.as_deref(), pins, &SERVERS);
            Some(trusted.map_err(|fault| Fault { path: at("ca"), ..fault })?)
        }
        _ => None,
    };
    if let PullPlace::Server(PullServer { protocol: weir_config::PullProtocol::Rtmp, .. }) =
        pull.from.place()
        && RtmpUrl::parse(&pull.from.of("app", "stream")).is_err()
    {
        let what = format!("{} is no RTMP URL of a stream", pull.from);
        return Err(Fault::new(at("from"), what, "write rtmp://HOST/APP/STREAM"));
    }
    let entry = Entry { pull: pull.clone(), tls: PeerTls::new(&SERVERS), key, vhost, streams };
    Ok(NextEntry { entry, trusted })
}

/// Those that `next` names: the same as in `before` where nothing is different.
pub fn put(next: Vec<NextEntry>, before: &[Arc<Entry>]) -> Vec<Arc<Entry>> {
    let put = |NextEntry { entry, trusted }| {
        let known = before.iter().find(|known| known.is_same(&entry)).cloned();
        let entry = known.unwrap_or_else(|| Arc::new(entry));
        entry.tls.put(trusted);
        entry
    };
    next.into_iter().map(put).collect()
}

/// What is wrong with the files that pulls need, for `weir check`. Files that are played may appear later: a pull waits
/// for them.
pub fn faults(config: &Config) -> Vec<Fault> {
    let mut faults: Vec<_> = read(config).err().into_iter().collect();
    for (number, pull) in config.pull.iter().enumerate() {
        let (PullPlace::File(_), Some(key)) = (pull.from.place(), config.pulled_stream(pull))
        else {
            continue;
        };
        let path = path_of(pull, &key);
        if let Err(why) = Kinds::of_file(path.as_ref()) {
            let what = format!("{path}: {why}");
            let fix = "use an FLV file: `ffmpeg -i INPUT -c copy -f flv OUTPUT.flv`";
            faults.push(Fault::new(format!("pull[{number}].from"), what, fix));
        }
    }
    faults
}

/// The file that `pull` plays as the stream `key`.
pub fn path_of(pull: &Pull, key: &StreamKey) -> String {
    let text = pull.from.of(key.app(), key.stream());
    let path = text.split_once(':').map_or(&*text, |(_, path)| path);
    path.strip_prefix("//").unwrap_or(path).to_owned()
}
