//! What the pages may do: run the scripts beside them, and speak to this host.

/// For what is no page.
pub const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'";

/// The console's policy: it may fetch from where it is from, and from `media`, the ports of the media of this host.
/// Nobody may show it in a frame. Styles that scripts set by themselves need no right, but those of uPlot are written
/// into elements.
pub fn console(media: &[String]) -> String {
    let media = media.join(" ");
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
         connect-src 'self' {media}; media-src blob: {media}; form-action 'none'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
}

/// The player's policy; pages of `embedders` may show it in a frame, and others may not.
pub fn player(embedders: &[String]) -> String {
    let ancestors = match embedders {
        [] => "'none'".to_owned(),
        sites => sites.join(" "),
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
         media-src 'self' blob:; form-action 'none'; base-uri 'none'; frame-ancestors {ancestors}"
    )
}

/// The name of the host in a `Host` field, without its port; none if it is nothing that a policy can name.
pub fn host_name(field: &str) -> Option<&str> {
    let name = match field.strip_prefix('[') {
        Some(rest) => &field[..rest.find(']')? + 2],
        None => field.split(':').next()?,
    };
    let is_plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
    };
    (!name.is_empty() && name.len() <= 253 && name.bytes().all(is_plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_others_make_no_policy() {
        assert_eq!(host_name("weir.example:1985"), Some("weir.example"));
        assert_eq!(host_name("127.0.0.1"), Some("127.0.0.1"));
        assert_eq!(host_name("[::1]:1985"), Some("[::1]"));
        for bad in ["", ":80", "a b", "a;script-src *", "a'", "*", "[::1", "a,b", &"a".repeat(300)]
        {
            assert_eq!(host_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn frames_are_for_those_who_are_named() {
        assert!(player(&[]).ends_with("frame-ancestors 'none'"));
        let sites = ["https://a.example".to_owned(), "https://b.example".to_owned()];
        assert!(player(&sites).ends_with("frame-ancestors https://a.example https://b.example"));
        let policy = console(&["http://a:8080".to_owned()]);
        assert!(
            policy.contains("connect-src 'self' http://a:8080;") && !policy.contains("unsafe"),
            "{policy}"
        );
    }
}
