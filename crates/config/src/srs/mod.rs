//! Configurations of SRS.
//!
//! ```text
//! srs.conf ─► weir_conf ─► canonical: old spellings ─► env: SRS_* ─► check: the table ─┐
//!                                                        Builder, notes ◄── one file for each subject
//! ```
//!
//! What a file does not say means what it means in SRS, where a user would notice: no HLS and no HTTP-FLV where they
//! are not switched on, ports that are not opened, segments of ten seconds.

mod canonical;
mod caster;
mod check;
mod cluster;
mod dvr;
mod engine;
mod env;
mod exec;
mod forward;
mod heartbeat;
mod hls;
mod hooks;
mod http;
mod process;
mod reading;
mod row;
mod rtmp;
mod security;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod unsupported;

use std::collections::HashSet;

use weir_conf::Directive;
use weir_media::DEFAULT_VHOST;

pub(super) use self::{
    env::PREFIX,
    exec::command,
    reading::{Reading, address, bounded_time, wrong},
    security::{EVERYBODY, trunc as network},
};
use super::{
    document::{Builder, Refused, place},
    source::Quoted,
    tree::Place,
};

/// The page of the guide with all directives.
#[cfg(test)]
pub(super) fn page() -> String {
    table::page()
}

/// The keys that the directives `all` and `variables` of the environment mean. Texts of variables are added to
/// `texts`.
pub(super) fn read(
    mut all: Vec<Directive>,
    texts: &mut Vec<Quoted>,
    variables: &[(String, String)],
) -> Result<Reading, Refused> {
    let mut reading = Reading::default();
    canonical::canonical(&mut all);
    env::overlay(&mut reading, &mut all, texts, variables);
    check::check(&mut reading, &all)?;
    let get = |name: &str| all.iter().find(|directive| directive.name.text == name).cloned();
    process::read(&mut reading, &get)?;
    rtmp::read(&mut reading, &get)?;
    http::read(&mut reading, &get)?;
    heartbeat::read(&mut reading, &get)?;
    hls::usual(&mut reading);
    reading.usual(&["play", "window"], "30s");
    vhosts(&mut reading, &all)?;
    caster::read(&mut reading, &all);
    Ok(reading)
}

fn vhosts(reading: &mut Reading, all: &[Directive]) -> Result<(), Refused> {
    let mut seen = HashSet::new();
    let named = all.iter().filter(|directive| directive.name.text == "vhost");
    let mut vhosts = Vec::new();
    for vhost in named {
        if vhost.args.len() != 1 {
            let fix = "write vhost NAME { ... }, one for each name";
            return Err(reading::wrong(vhost, "vhost", "a vhost has one name", fix));
        }
        match seen.insert(vhost.arg()) {
            true => vhosts.push(vhost),
            false => {
                let what = "is there a second time: as in SRS, the first one counts";
                reading.note(vhost.arg_at(), "vhost", what);
            }
        }
    }
    let is_edge = cluster::read(reading, &vhosts)?;
    if is_edge {
        let server = all.iter().find(|directive| directive.name.text == "http_server");
        cluster::keep_apart(reading, &vhosts, server);
    }
    let has_default = seen.contains(DEFAULT_VHOST);
    let is_alone = has_default && vhosts.len() == 1;
    for vhost in &vhosts {
        let mut own = Builder::default();
        stream::vhost(reading, &mut own, vhost)?;
        http::vhost(reading, &mut own, vhost)?;
        hls::vhost(reading, &mut own, vhost, is_edge)?;
        dvr::vhost(reading, &mut own, vhost, is_edge)?;
        forward::vhost(reading, &mut own, vhost, is_edge)?;
        hooks::vhost(&mut own, vhost)?;
        security::vhost(reading, &mut own, vhost)?;
        exec::vhost(reading, &mut own, vhost, is_edge)?;
        // Where there is no other vhost, what holds for it holds for all.
        let at = place(vhost.arg_at());
        match is_alone {
            true => reading.root.merge(own),
            false => reading.root.section(&["vhosts", vhost.arg()], at).merge(own),
        }
    }
    if !has_default && !vhosts.is_empty() {
        let mut nobody = Builder::default();
        security::nobody(&mut nobody, Place::NOWHERE);
        reading.root.section(&["vhosts", DEFAULT_VHOST], Place::NOWHERE).merge(nobody);
    }
    Ok(())
}
