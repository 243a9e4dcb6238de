//! Which site a player is on, as it says: the host of `Referer` or of `pageUrl`.

use weir_config::Referer;

use super::denied::{Denied, Unlisted};

/// Whether a client that is on the page `page_url` passes `check`.
///
/// # Errors
/// When it does not.
pub fn check(check: &Referer, page_url: &str) -> Result<(), Denied> {
    if page_url.is_empty() {
        return if check.empty { Ok(()) } else { Err(Denied::Site(Unlisted::Empty)) };
    }
    let host = host(page_url);
    match check.hosts.iter().any(|site| is_on(host, site)) {
        true => Ok(()),
        false => Err(Denied::Site(Unlisted::Other)),
    }
}

/// The host of a URL, as written: without the name of a user before it, and without a port.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    // Browsers take a backslash for a slash (WHATWG URL, "authority state").
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    // `http://example.com@evil.org/` is on evil.org, whatever stands before it.
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, _)) => ip,
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// Whether `host` is `site`, or a subdomain of it: what ends with its letters alone (`evilexample.com`) is neither.
fn is_on(host: &str, site: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
    let site = site.strip_suffix('.').unwrap_or(site).as_bytes();
    let Some((before, end)) =
        host.len().checked_sub(site.len()).and_then(|at| host.split_at_checked(at))
    else {
        return false;
    };
    !site.is_empty()
        && end.eq_ignore_ascii_case(site)
        && (before.is_empty() || before.ends_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(hosts: &[&str], page_url: &str) -> bool {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        check(&Referer { hosts, empty: false }, page_url).is_ok()
    }

    #[test]
    fn a_site_and_its_subdomains_pass() {
        let table = [
            ("http://github.com/", true),
            ("https://GitHub.com:8443/a/b?c", true),
            ("https://www.github.com", true),
            ("github.com", true),
            ("a.b.github.com/x", true),
            ("https://github.com./", true),
            ("https://user:pw@github.com/", true),
            ("https://evilgithub.com/", false),
            ("https://github.com.evil.org/", false),
            ("https://github.com@evil.org/", false),
            ("https://github.com:80@evil.org/", false),
            ("https://evil.org/github.com", false),
            ("https://evil.org?github.com", false),
            ("https://evil.org#github.com", false),
            ("https://evil.org\\.github.com", false),
            ("https://hub.com/", false),
            ("https://com/", false),
            ("https://.", false),
            ("https:///", false),
            ("://", false),
            ("x", false),
            ("https://é.github.com", true),
            ("https://gith\u{fc}b.com", false),
        ];
        for (page, may) in table {
            assert_eq!(passes(&["other.org", "github.com"], page), may, "{page}");
        }
        assert!(passes(&["fd00::1"], "http://[fd00::1]:8080/x"));
        assert!(!passes(&["fd00::1"], "http://[fd00::2]/"));
        assert!(
            passes(&["10.0.0.1"], "http://10.0.0.1:8080/")
                && !passes(&["0.0.1"], "http://10.0.0.11/")
        );
    }

    #[test]
    fn who_names_no_page_passes_where_that_is_allowed() {
        let hosts = vec!["a.org".to_owned()];
        let of = |empty, page| check(&Referer { hosts: hosts.clone(), empty }, page);
        assert_eq!(of(false, ""), Err(Denied::Site(Unlisted::Empty)));
        assert_eq!(of(true, ""), Ok(()));
        assert_eq!(of(true, "http://b.org/"), Err(Denied::Site(Unlisted::Other)));
    }
}
