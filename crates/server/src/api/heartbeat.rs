//! The heartbeat: a back end hears at intervals that this server is there, by the contract of SRS.

use std::{net::SocketAddr, pin::pin};

use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};
use weir_config::{Changes, Heartbeat, HookUrl};
use weir_hooks::own_address;
use weir_media::DEFAULT_VHOST;

use super::{
    about::Summaries,
    state::{Api, Listens},
};
use crate::phase::Phase;

/// What is sent: the fields of SRS, in its order.
#[derive(Serialize)]
struct Beat<'a> {
    device_id: &'a str,
    ip: &'a str,
    server: &'a str,
    service: &'a str,
    pid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    summaries: Option<Summaries>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rtmp: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    http: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    api: Vec<String>,
}

/// Sends heartbeats for as long as the server runs, by the settings in force. The first one goes out when it serves.
pub async fn beat(api: Api, listens: Listens) {
    let mut changes = api.node.settings.changes();
    let mut phases = api.node.phase.subscribe();
    let mut failing = None;
    // Who hears of a server sends clients to it: there are none for one that lets everybody go.
    while phases.wait_for(|phase| *phase == Phase::Serving).await.is_ok() {
        let settings = changes.now().heartbeat.clone();
        let Some(url) = &settings.url else {
            until_another(&mut changes, &settings).await;
            continue;
        };
        let due = Instant::now() + settings.interval;
        let heard = match body(&api, &listens, &settings, url).await {
            Ok(body) => api.node.hooks.beat(url, body.into()).await,
            Err(error) => Err(error.to_string()),
        };
        note(url, heard, &mut failing);
        let mut due = pin!(sleep_until(due));
        tokio::select! {
            () = &mut due => {}
            () = until_another(&mut changes, &settings) => {}
        }
    }
}

/// Resolves when other settings are in force.
async fn until_another(changes: &mut Changes, settings: &Heartbeat) {
    while changes.next().await.heartbeat == *settings {}
}

async fn body(
    api: &Api,
    listens: &Listens,
    settings: &Heartbeat,
    url: &HookUrl,
) -> serde_json::Result<Vec<u8>> {
    let ip = match &*settings.ip {
        "" => {
            let limit = api.node.settings.vhost(DEFAULT_VHOST).hooks.timeout;
            own_address(url, limit).await.map(|ip| ip.to_string()).unwrap_or_default()
        }
        said => said.to_owned(),
    };
    let names = api.node.hooks.names();
    let ports = |all: &[SocketAddr]| if settings.ports { endpoints(all) } else { Vec::new() };
    serde_json::to_vec(&Beat {
        device_id: &settings.device_id,
        ip: &ip,
        server: &names.server,
        service: &names.service,
        pid: std::process::id().to_string(),
        summaries: settings.summaries.then(|| Summaries::now(api)),
        rtmp: ports(&listens.rtmp),
        http: ports(&listens.http),
        api: ports(&listens.api),
    })
}

/// Addresses as `listen` of SRS has them: the port alone where it is that of all addresses.
fn endpoints(all: &[SocketAddr]) -> Vec<String> {
    let mut endpoints: Vec<_> = all
        .iter()
        .map(|at| if at.ip().is_unspecified() { at.port().to_string() } else { at.to_string() })
        .collect();
    endpoints.dedup();
    endpoints
}

/// Says in the log when a back end begins not to hear, and when it hears again; not of each time.
fn note(url: &HookUrl, heard: Result<(), String>, failing: &mut Option<HookUrl>) {
    let has_failed = failing.as_ref() == Some(url);
    match heard {
        Ok(()) => {
            if has_failed {
                info!(%url, "the heartbeat is heard again");
            }
            *failing = None;
        }
        Err(reason) if !has_failed => {
            warn!(%url, reason, "the heartbeat is not heard; it is sent on all the same");
            *failing = Some(url.clone());
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_all_addresses_stands_alone() {
        let of = |text: &str| text.parse().expect("an address");
        let all = ["0.0.0.0:1935", "[::]:1935", "10.0.0.1:80", "[::1]:81"].map(of);
        assert_eq!(endpoints(&all), ["1935", "10.0.0.1:80", "[::1]:81"]);
    }

    #[test]
    fn a_back_end_that_does_not_hear_is_remembered_until_it_does() {
        let [one, two] = ["http://a/", "http://b/"].map(|url| HookUrl::of(url).expect("a URL"));
        let mut failing = None;
        note(&one, Err("late".to_owned()), &mut failing);
        note(&one, Err("late".to_owned()), &mut failing);
        assert_eq!(failing, Some(one.clone()));
        note(&two, Err("late".to_owned()), &mut failing);
        assert_eq!(failing, Some(two.clone()), "another one is told of anew");
        note(&two, Ok(()), &mut failing);
        assert_eq!(failing, None);
    }
}
