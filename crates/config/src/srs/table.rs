//! The table of directives: each that SRS 1 to 7 has or had, and what becomes of it here.

use super::{
    super::suggest,
    cluster, dvr, engine, exec, forward, heartbeat, hls, hooks, http, process,
    row::{Fate, Row, path},
    rtmp, security, stream, unsupported,
};

/// All of them, by subject.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    let all = [
        process::ROWS,
        rtmp::ROWS,
        http::ROWS,
        stream::ROWS,
        cluster::ROWS,
        hls::ROWS,
        dvr::ROWS,
        forward::ROWS,
        hooks::ROWS,
        heartbeat::ROWS,
        security::ROWS,
        exec::ROWS,
        engine::ROWS,
        unsupported::ROWS,
    ];
    all.into_iter().flatten()
}

/// The row of the directive `name` in `block`, and what SRS takes where nothing is said.
pub(super) fn find(block: &str, name: &str) -> Option<(&'static Row, &'static str)> {
    rows().filter(|row| row.block == block).find_map(|row| {
        let (_, default) = row.names().find(|(known, _)| *known == name)?;
        Some((row, default))
    })
}

/// What is known in `block` that `typed` was probably meant to be; else where else it is known.
pub(super) fn suggestion(block: &str, typed: &str) -> String {
    let known = |row: &Row| row.names().map(|(name, _)| name).collect::<Vec<_>>();
    let here: Vec<_> = rows().filter(|row| row.block == block).flat_map(known).collect();
    if let Some(near) = suggest::nearest(typed, &here) {
        return format!("did you mean `{near}`?");
    }
    let there = rows().find(|row| row.names().any(|(name, _)| name == typed));
    match there.map(|row| row.block) {
        Some("") => format!("`{typed}` stands outside of all blocks"),
        Some(block) => {
            let inner = block.rsplit('.').next().unwrap_or_default();
            format!("`{typed}` stands in {inner} {{ }} ({block})")
        }
        None => format!("known here are {}", here.join(", ")),
    }
}

/// The variables of the environment that set the directive, if it has any: blocks have none, and neither has what may
/// be there several times.
pub(super) fn variables(row: &Row, name: &str) -> Vec<String> {
    if matches!(row.fate, Fate::Block { .. } | Fate::Free | Fate::Within) || is_repeated(row.block)
    {
        return Vec::new();
    }
    // A block in another place has none either.
    let (block, now) = place_now(row, name);
    if find(block, now).is_some_and(|(row, _)| matches!(row.fate, Fate::Block { .. })) {
        return Vec::new();
    }
    let path = path(row.block, name);
    let of = |path: &str| format!("SRS_{}", path.replace('.', "_").to_ascii_uppercase());
    let mut all = vec![of(&path)];
    // What begins with the name of SRS has it twice in one of two spellings.
    if let Some(short) = path.strip_prefix("srs_") {
        all.push(of(short));
    }
    all
}

/// Where the directive `name` of `row` is now: its block and its name there.
pub(super) fn place_now<'r>(row: &'r Row, name: &'r str) -> (&'r str, &'r str) {
    let Fate::Moved(to) = row.fate else { return (row.block, name) };
    match to.rsplit_once('.').unwrap_or(("", to)) {
        (block, "*") => (block, name),
        now => now,
    }
}

/// Whether there may be several blocks like this one, or it is in one of which there may be several. Variables of
/// vhosts mean all of them.
fn is_repeated(block: &str) -> bool {
    let mut above = block;
    loop {
        let (around, name) = above.rsplit_once('.').unwrap_or(("", above));
        if name != "vhost"
            && find(around, name).is_some_and(|(row, _)| row.fate == Fate::Block { many: true })
        {
            return true;
        }
        if around.is_empty() {
            return false;
        }
        above = around;
    }
}

/// The table as a page of the guide.
#[cfg(test)]
pub(super) fn page() -> String {
    let mut out = String::from(PAGE);
    for row in rows() {
        let names: Vec<_> = row.names().map(|(name, _)| format!("`{name}`")).collect();
        let defaults: Vec<_> = row.names().map(|(_, default)| default).collect();
        let default = match defaults.iter().any(|default| !default.is_empty()) {
            true => defaults
                .iter()
                .map(|it| if it.is_empty() { "-" } else { it })
                .collect::<Vec<_>>()
                .join(", "),
            false => String::new(),
        };
        let (fate, says) = match row.fate {
            Fate::Block { .. } => continue,
            Fate::Key(key) => ("honoured", key.to_owned()),
            Fate::Always(why) => ("accepted", why.to_owned()),
            Fate::Instead(what) => ("accepted with a warning", what.to_owned()),
            Fate::Refused(why) => ("refused", why.to_owned()),
            Fate::Moved(to) => ("honoured", format!("read as `{to}`")),
            Fate::Free | Fate::Within => ("as its block", String::new()),
        };
        let block = if row.block.is_empty() { "outside" } else { row.block };
        let says = says.replace('|', "\\|");
        out.push_str(&format!("| {block} | {} | {default} | {fate} | {says} |\n", names.join(" ")));
    }
    out
}

/// The head of the page.
#[cfg(test)]
const PAGE: &str = "\
# Directives of SRS

Every directive of SRS 1 to 7, the value that SRS takes where nothing is said, and what Weir does with it in an
`srs.conf`. This page is made from the table in the code, and a test compares them.

- **honoured**: it means the same; the last column has the key of [configuration](configuration.md).
- **accepted**: nothing is lost; Weir always does so, or it says something about the inside of SRS.
- **accepted with a warning**: `weir check` and the log say what holds instead. There is no warning where the value is
  SRS's default, or in a block that is off.
- **refused**: Weir does not start, and the message says why.

Each directive outside of blocks that may be repeated can be set by a variable as in SRS: `SRS_`, the blocks and the
name in capitals, such as `SRS_VHOST_HLS_HLS_FRAGMENT=5` for `hls_fragment` in `vhost.hls`. Such a variable means all
vhosts of the file, and `__defaultVhost__` where there are none. The last column names keys of Weir in a short form:
`hls.dir` of a vhost is `vhosts.NAME.hls.dir`.

| block | directives | default in SRS | in Weir | how |
|---|---|---|---|---|
";
