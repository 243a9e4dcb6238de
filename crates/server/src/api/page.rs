//! Which web page a request comes from, as far as a browser says it.
//!
//! A browser shows what it has for us, a certificate, a remembered password, or just its place in the network, whatever
//! page asks it to. What a page of somebody else may do follows from what is known of it here. Tokens are not shown
//! unasked: who sends one means it.

use http::{
    HeaderMap,
    header::{HOST, ORIGIN, REFERER, USER_AGENT},
};
use weir_config::WebOrigin;

/// That a GET stands for another method: what it does needs more than a right that a browser shows unasked.
#[derive(Clone, Copy, Debug)]
pub struct ByGet;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// No browser, such as curl.
    None,
    /// A page of this server.
    Own,
    /// A page that `api.web_origins` names.
    Named,
    /// A page that `api.web_origins` allows with `*`.
    Any,
    /// A browser that does not say. They always say it over HTTPS, and of requests that change something.
    Unknown,
    /// A page of somebody else.
    Foreign,
}

impl Page {
    /// The page that the browser which sends `fields` shows, with these `api.web_origins`.
    pub fn of(fields: &HeaderMap, allowed: &[WebOrigin]) -> Self {
        let site = field(fields, "sec-fetch-site");
        let page = origin_of_page(fields);
        let by_list = |page: Option<&str>| {
            let is_named = page.is_some_and(|page| allowed.iter().any(|it| it.names(page)));
            match (is_named, allowed.contains(&WebOrigin::Any)) {
                (true, _) => Self::Named,
                (false, true) => Self::Any,
                (false, false) => Self::Foreign,
            }
        };
        match (site, page) {
            (Some("same-origin"), _) => Self::Own,
            (Some("cross-site" | "same-site"), page) => by_list(page),
            // The address bar, or a link in a message.
            (Some(_), _) => Self::Unknown,
            (None, Some(page)) if is_own(page, fields) => Self::Own,
            (None, page @ Some(_)) => by_list(page),
            (None, None) => {
                let is_browser = field(fields, USER_AGENT.as_str())
                    .is_some_and(|agent| agent.starts_with("Mozilla/"));
                if is_browser { Self::Unknown } else { Self::None }
            }
        }
    }

    /// Whether it may have an answer in a form that any page can read.
    pub const fn may_read(self) -> bool {
        !matches!(self, Self::Unknown | Self::Foreign)
    }

    /// Whether it may have a GET change something, with a right that a browser shows unasked.
    pub const fn may_change_by_get(self) -> bool {
        matches!(self, Self::None | Self::Own | Self::Named)
    }

    /// The same for what browsers never send for another page without saying so.
    pub const fn may_change(self) -> bool {
        !matches!(self, Self::Foreign | Self::Any)
    }
}

fn field<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(|value| value.to_str().ok())
}

/// Scheme, host and port of the page, `null` for one that has none to show.
fn origin_of_page(fields: &HeaderMap) -> Option<&str> {
    let referer = || {
        let url = field(fields, REFERER.as_str())?;
        let (scheme, rest) = url.split_once("://")?;
        let host = rest.find(['/', '?', '#']).map_or(rest, |end| &rest[..end]);
        Some(&url[..scheme.len() + 3 + host.len()])
    };
    field(fields, ORIGIN.as_str()).or_else(referer)
}

/// Whether a page with this origin is at the host that was asked.
fn is_own(page: &str, fields: &HeaderMap) -> bool {
    let host = page.split_once("://").map(|(_, host)| host);
    host.zip(field(fields, HOST.as_str())).is_some_and(|(page, own)| page.eq_ignore_ascii_case(own))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn page(allowed: &[&str], fields: &[(&str, &str)]) -> Page {
        let allowed: Vec<_> = allowed
            .iter()
            .map(|origin| match *origin {
                "*" => WebOrigin::Any,
                origin => WebOrigin::Of(origin.to_owned()),
            })
            .collect();
        let mut map = HeaderMap::new();
        map.insert(HOST, HeaderValue::from_static("api.example:1985"));
        for (name, value) in fields {
            let name = HeaderName::try_from(*name).expect("a name");
            map.insert(name, value.parse().expect("a value"));
        }
        Page::of(&map, &allowed)
    }

    #[test]
    fn browsers_say_which_page_asks() {
        let browser = ("user-agent", "Mozilla/5.0 (X11; Linux)");
        assert_eq!(page(&[], &[]), Page::None);
        assert_eq!(page(&[], &[("user-agent", "curl/8.5")]), Page::None);
        assert_eq!(page(&["*"], &[browser]), Page::Unknown);
        for own in ["http://api.example:1985/console/?a=b", "http://API.example:1985"] {
            assert_eq!(page(&[], &[browser, ("referer", own)]), Page::Own, "{own}");
        }
        assert_eq!(page(&[], &[("origin", "http://api.example:1985")]), Page::Own);
        for other in [
            "http://evil.example/",
            "http://api.example/",
            "http://api.example:1985.evil.example/",
            "http://evil.example/http://api.example:1985/",
        ] {
            assert_eq!(page(&[], &[browser, ("referer", other)]), Page::Foreign, "{other}");
            assert_eq!(page(&["*"], &[browser, ("referer", other)]), Page::Any, "{other}");
        }
        assert_eq!(page(&["https://api.example"], &[("origin", "null")]), Page::Foreign);
        let named = ["https://console.example"];
        assert_eq!(page(&named, &[("origin", "https://console.example")]), Page::Named);
        assert_eq!(page(&named, &[("referer", "https://Console.example/a")]), Page::Named);
        assert_eq!(page(&named, &[("referer", "https://console.example.org/a")]), Page::Foreign);
    }

    #[test]
    fn what_browsers_say_of_the_site_counts_more() {
        let site = |site: &'static str| ("sec-fetch-site", site);
        let own = ("referer", "http://api.example:1985/");
        assert_eq!(page(&[], &[site("cross-site"), own]), Page::Foreign);
        assert_eq!(page(&[], &[site("same-site"), own]), Page::Foreign);
        assert_eq!(page(&[], &[site("same-origin")]), Page::Own);
        assert_eq!(page(&["*"], &[site("none")]), Page::Unknown);
        assert_eq!(page(&["*"], &[site("cross-site")]), Page::Any);
        let named = [site("cross-site"), ("origin", "https://console.example")];
        assert_eq!(page(&["https://console.example"], &named), Page::Named);
    }

    #[test]
    fn only_who_is_known_changes_something_with_a_get() {
        let all = [Page::None, Page::Own, Page::Named, Page::Any, Page::Unknown, Page::Foreign];
        assert_eq!(all.map(Page::may_read), [true, true, true, true, false, false]);
        assert_eq!(all.map(Page::may_change_by_get), [true, true, true, false, false, false]);
        assert_eq!(all.map(Page::may_change), [true, true, true, false, true, false]);
    }
}
