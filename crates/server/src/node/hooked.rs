//! What back ends are told: who this server is, who its clients are, and which files are finished.

use std::{fs, future::Future, net::IpAddr, pin::Pin, sync::Arc};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tracing::warn;
use weir_clients::{
    detail::Detail,
    events::{EVENTS, EventKind},
};
use weir_config::ForwardTarget;
use weir_edge::Ask;
use weir_hooks::{Hooks, Names, Segment, Subject};
use weir_media::{StreamKey, ids};
use weir_outputs::{FileKind, FinishedFile, OnFinished, forward::Targets};

/// Characters of a path that stand for themselves in a URL (RFC 3986, "unreserved", and the slash).
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The names of a server that starts: by the configuration, else that of its host, and one until its next start.
pub fn names(own: &str) -> Names {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let known = [own, host.trim()].into_iter().find(|name| !name.is_empty());
    let server = known.unwrap_or("weir").to_owned();
    // Without randomness the process number has to do.
    let random = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
    Names { server, service: ids::letters(random, 8) }
}

/// What a back end is told of client number `id`, which asks for `key`.
pub fn subject(id: u64, ip: IpAddr, key: &StreamKey, ask: &Ask) -> Subject {
    let tc_url = match &*ask.tc_url {
        // What SRS makes of a request over HTTP.
        "" => format!("rtmp://{}/{}", key.vhost(), key.app()),
        said => said.to_owned(),
    };
    Subject {
        id,
        ip,
        vhost: key.vhost().to_owned(),
        app: key.app().to_owned(),
        stream: key.stream().to_owned(),
        tc_url,
        page_url: ask.page_url.to_string(),
        params: without_pass(&ask.params),
    }
}

/// Parameters as a client has written them, without what a program of this server shows: back ends do not need it.
fn without_pass(params: &str) -> String {
    let is_pass = |param: &&str| {
        let name = param.trim_start_matches('?').split('=').next();
        name == Some(weir_children::PARAM)
    };
    match params.contains(weir_children::PARAM) {
        true => params.split('&').filter(|param| !is_pass(param)).collect::<Vec<_>>().join("&"),
        false => params.to_owned(),
    }
}

/// Tells operators of recordings that are finished.
pub struct Noted;

impl OnFinished for Noted {
    fn finished(&self, file: &FinishedFile) {
        if matches!(file.kind, FileKind::Recording) {
            let what = format!("{} ({} s)", file.file.display(), file.duration.as_secs());
            let (name, seconds) = (file.file.display().to_string(), file.duration.as_secs());
            let detail = Detail::new("file", [&name, &seconds.to_string()], &what);
            EVENTS.note(EventKind::RecordingEnded, Some(&file.key), None, detail);
        }
    }
}

/// Tells back ends of files that are finished.
pub struct Told(pub Arc<Hooks>);

impl OnFinished for Told {
    fn finished(&self, file: &FinishedFile) {
        let path = file.dir.join(&file.file).display().to_string();
        match &file.kind {
            FileKind::Recording => self.0.recording(&file.key, || path),
            FileKind::Segment { uri, number, playlist } => self.0.segment(&file.key, || Segment {
                duration: file.duration,
                file: path,
                url: uri.clone(),
                m3u8: file.dir.join(playlist).display().to_string(),
                m3u8_url: utf8_percent_encode(playlist, PATH).to_string(),
                seq_no: *number,
            }),
        }
    }
}

/// Asks back ends where else a stream goes.
pub struct Asked(pub Arc<Hooks>);

impl Targets for Asked {
    fn targets<'a>(
        &'a self,
        key: &'a StreamKey,
    ) -> Pin<Box<dyn Future<Output = Option<Vec<ForwardTarget>>> + Send + 'a>> {
        Box::pin(async move {
            let urls = self.0.targets(key).await?;
            let read = |url: &String| {
                let target = ForwardTarget::new(url);
                // What was meant to be a target may be a secret, and is not shown.
                target.inspect_err(|why| warn!(stream = %key, "hooks.on_forward: {why}")).ok()
            };
            Some(urls.iter().filter_map(read).collect())
        })
    }
}
