//! Listeners with TLS.

use weir_conf::Directive;

use super::{
    super::document::{Builder, Refused, list, one, place},
    reading::{Reading, address, is_on, place_of},
    row,
};

/// The block `block` at `path`, as `tls` of a section here; behind it the port that SRS listens on. Returns the
/// address, if it is on.
pub(super) fn read(
    reading: &mut Reading,
    block: Option<&Directive>,
    path: &str,
    (section, port): (&str, &str),
) -> Result<Option<String>, Refused> {
    let Some(block) = block.filter(|block| is_on(block.get("enabled"), false)) else {
        return Ok(None);
    };
    let at = place_of(block);
    let (said_at, address) = match block.get("listen").and_then(|listen| listen.args.first()) {
        Some(word) => (place(word.at), address(word, &row::path(path, "listen"))?),
        None => (at, format!("0.0.0.0:{port}")),
    };
    let listen = list(at, vec![one(said_at, address.clone())]);
    reading.root.set(&[section, "tls", "listen"], listen);
    reading.root.push(&[section, "tls", "certificates"], certificate(block));
    Ok(Some(address))
}

/// The certificate and the key of a block.
fn certificate(block: &Directive) -> super::super::tree::Node {
    let at = place_of(block);
    let mut files = Builder::default();
    for (name, usual) in [("cert", "./conf/server.crt"), ("key", "./conf/server.key")] {
        let said = block.get(name).filter(|it| !it.arg().is_empty());
        let file = said.map_or_else(|| one(at, usual), |it| one(place_of(it), it.arg()));
        files.set(&[name], file);
    }
    files.node(at)
}
