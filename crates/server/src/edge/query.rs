//! Which parameters of a URL go along to an origin.

use percent_encoding::percent_decode_str;

use crate::config::ForwardQuery;

/// The parameters of `params` (with or without a `?` before them) that go along, with a `?`; empty if there are none.
///
/// The vhost never does: it is part of the stream's key, and an edge says it itself.
pub fn forwarded(params: &str, rule: &ForwardQuery) -> String {
    let mut kept = String::new();
    for pair in params.split(['?', '&']).filter(|pair| goes_along(pair, rule)) {
        kept.push(if kept.is_empty() { '?' } else { '&' });
        kept.push_str(pair);
    }
    kept
}

fn goes_along(pair: &str, rule: &ForwardQuery) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    let name = percent_decode_str(name).decode_utf8_lossy();
    if matches!(&*name, "" | "vhost" | "domain") {
        return false;
    }
    match rule {
        ForwardQuery::All => true,
        ForwardQuery::Only(names) => names.iter().any(|wanted| *wanted == name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vhost_stays_here() {
        let all = |params| forwarded(params, &ForwardQuery::All);
        assert_eq!(all("?vhost=v&token=1&b"), "?token=1&b");
        assert_eq!(all("token=1?domain=d&vhost=v"), "?token=1");
        assert_eq!(all("?%76host=v&x=%3D&&=y"), "?x=%3D");
        for none in ["", "?", "?&", "?vhost=v", "?domain=d"] {
            assert_eq!(all(none), "", "{none}");
        }
    }

    #[test]
    fn only_what_is_named_goes_along() {
        let only = ForwardQuery::Only(vec!["token".to_owned(), "vhost".to_owned()]);
        assert_eq!(forwarded("?token=a&key=b&token=c&vhost=v&tokens=d", &only), "?token=a&token=c");
    }
}
