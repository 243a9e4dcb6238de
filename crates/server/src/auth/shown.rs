//! URLs as they may be shown.

/// Whatever parameters of a URL are called, their values may be secrets. These two are names of hosts.
const SHOWN: [&str; 2] = ["vhost", "domain"];

/// What a secret looks like where everybody may look.
const MASK: &str = "***";

/// Of a URL that a client says of itself, so much is kept for people to read. The longest that players and encoders are
/// known to send have some 300 bytes.
const SHOWN_BYTES_MAX: usize = 512;

/// The beginning of a URL that a client says of itself, [without secrets](without_secrets). It is held for as long as
/// the client is there.
pub fn shown(url: &str) -> String {
    let mut shown = without_secrets(beginning(url)).into_bytes();
    shown.truncate(SHOWN_BYTES_MAX);
    let whole = str::from_utf8(&shown).map_or_else(|cut| cut.valid_up_to(), str::len);
    shown.truncate(whole);
    shown.shrink_to_fit();
    String::from_utf8(shown).unwrap_or_default()
}

fn beginning(url: &str) -> &str {
    let end = url.char_indices().map(|(at, _)| at).take_while(|at| *at <= SHOWN_BYTES_MAX).last();
    match url.len() > SHOWN_BYTES_MAX {
        true => &url[..end.unwrap_or(0)],
        false => url,
    }
}

/// `url`, or a name with parameters, as it may be shown: in logs, in the API. The values of its parameters and a
/// password before its host are masked; the vhost stays.
pub fn without_secrets(url: &str) -> String {
    let (path, query) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
    let mut shown = without_user(path);
    let mut rest = query;
    while let Some(separator) = rest.chars().next() {
        let after = &rest[separator.len_utf8()..];
        // As in the names of streams, all of these separate parameters.
        let end = after.find(['?', '#', '&', ',', ';']).unwrap_or(after.len());
        shown.push(separator);
        match after[..end].split_once('=') {
            Some((name, _)) if SHOWN.contains(&name) => shown.push_str(&after[..end]),
            Some((name, _)) => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(MASK);
            }
            None if end == 0 => {}
            None => shown.push_str(MASK),
        }
        rest = &after[end..];
    }
    shown
}

/// `scheme://user:password@host` without the middle.
fn without_user(path: &str) -> String {
    let Some((scheme, rest)) = path.split_once("://") else { return path.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{path}"),
        None => format!("{scheme}://{rest}"),
    }
}
