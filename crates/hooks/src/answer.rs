//! What an answer of a back end means: the rule of SRS.

use http::StatusCode;
use serde_json::Value;

/// Why somebody is refused by a back end, or for the lack of one. Shown, it is what the client is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The back end says no; what exactly, the log says.
    #[error("denied: the back end refused")]
    No(String),
    /// It does not decide (`hooks.fail: closed`); why, the log says.
    #[error("the back end does not decide; try again later")]
    Silent(String),
    /// Too many wait for it.
    #[error("too many requests wait for the back end; try again later")]
    Busy,
}

impl Refused {
    /// The whole reason, for the log. It repeats nothing secret.
    pub fn reason(&self) -> String {
        match self {
            Self::No(why) => format!("{self}: {why}"),
            Self::Silent(why) => format!("{self}: {why} (hooks.fail: closed)"),
            Self::Busy => self.to_string(),
        }
    }

    /// Whether the same may be answered otherwise in a moment.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::Busy)
    }
}

/// What a back end has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Accepted,
    /// No, clearly.
    Refused(String),
    /// Nothing that is an answer: as if it had not answered.
    Garbage(String),
}

/// Accepted is 200 or 201 with a body that is exactly `0`, or a JSON object whose `code` is the whole number 0. Another
/// number, there or alone, is a no, and so are 401 and 403. Everything else is no answer.
pub fn judge(status: StatusCode, body: &[u8]) -> Answer {
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Answer::Refused(format!("it answered HTTP {}", status.as_u16()));
    }
    if status.is_redirection() {
        return Answer::Garbage(format!(
            "it redirects (HTTP {}), which is not followed",
            status.as_u16()
        ));
    }
    if !matches!(status, StatusCode::OK | StatusCode::CREATED) {
        return Answer::Garbage(format!("it answered HTTP {}", status.as_u16()));
    }
    if body == b"0" {
        return Answer::Accepted;
    }
    let no_code =
        || Answer::Garbage("its answer is neither 0 nor a JSON object with a code".to_owned());
    let code = match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => fields.get("code").cloned(),
        // `0` in another form is not 0 to SRS either.
        Ok(Value::Number(number)) if number.as_i64() != Some(0) => Some(Value::Number(number)),
        _ => None,
    };
    match code.as_ref().and_then(Value::as_i64) {
        Some(0) => Answer::Accepted,
        Some(code) => Answer::Refused(format!("it answered code {code}")),
        None => no_code(),
    }
}

/// The URLs in an accepting answer to `on_forward`: `{"code":0,"data":{"urls":[...]}}`, 32 at most.
pub fn forward_urls(body: &[u8]) -> Vec<String> {
    /// More than anybody sends one stream to.
    const URLS_MAX: usize = 32;
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let urls = answer["data"]["urls"].as_array().into_iter().flatten();
    let urls = urls.filter_map(Value::as_str).filter(|url| !url.is_empty());
    urls.take(URLS_MAX).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Answer {
        judge(StatusCode::from_u16(status).expect("a status"), body.as_bytes())
    }

    #[test]
    fn accepted_is_what_srs_accepts() {
        for body in ["0", "{\"code\":0}", "{ \"code\" : 0, \"data\": \"\" }", "\n{\"code\":0}"] {
            assert_eq!(judged(200, body), Answer::Accepted, "{body}");
            assert_eq!(judged(201, body), Answer::Accepted, "{body}");
            for status in [202, 204, 301, 302, 400, 401, 403, 404, 500, 503] {
                assert_ne!(judged(status, body), Answer::Accepted, "{status}");
            }
        }
    }

    #[test]
    fn a_no_is_told_from_what_is_no_answer() {
        for body in ["{\"code\":1}", "{\"code\":-1}", "1", "403"] {
            assert!(matches!(judged(200, body), Answer::Refused(_)), "{body}");
        }
        for status in [401, 403] {
            assert!(matches!(judged(status, ""), Answer::Refused(_)), "{status}");
        }
        for body in [
            "",
            "0\n",
            " 0",
            "00",
            "\"0\"",
            "null",
            "[]",
            "{}",
            "{\"code\":\"0\"}",
            "{\"code\":0.0}",
            "ok",
            "{",
        ] {
            assert!(matches!(judged(200, body), Answer::Garbage(_)), "{body}");
        }
        for status in [302, 404, 500] {
            assert!(matches!(judged(status, "0"), Answer::Garbage(_)), "{status}");
        }
    }

    #[test]
    fn targets_are_read_from_the_answer() {
        let body = br#"{"code":0,"data":{"urls":["rtmp://a/live/b","",7,"rtmp://c/d/e"]}}"#;
        assert_eq!(forward_urls(body), ["rtmp://a/live/b", "rtmp://c/d/e"]);
        assert!(
            forward_urls(b"0").is_empty() && forward_urls(br#"{"code":0,"data":{}}"#).is_empty()
        );
    }
}
