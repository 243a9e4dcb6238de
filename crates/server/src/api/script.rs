//! What scripts that were written for SRS do beside plain calls: JSONP (`callback=`), another method than their browser
//! could send (`method=DELETE`), statuses; and what browsers need to let pages of others in (CORS).

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE, ORIGIN,
        VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body_util::BodyExt as _;
use weir_config::WebOrigin;

use super::{
    answer::{Failure, SrsStatus, code},
    gate::{Gate, Room},
    page::{ByGet, Page},
    rights,
};
use crate::node::Node;

/// Bytes of a function's name: those that libraries make have some thirty.
const CALLBACK_BYTES_MAX: usize = 128;

/// How long a browser remembers that a page may ask, in seconds.
const PREFLIGHT_SECONDS: &str = "600";

/// `routes` for scripts and browsers, too.
pub fn layered(routes: Router, node: &Arc<Node>, gate: &Arc<Gate>) -> Router {
    let state = (Arc::clone(node), Arc::clone(gate));
    routes.layer(from_fn_with_state(state, answer))
}

async fn answer(
    State((node, gate)): State<(Arc<Node>, Arc<Gate>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let config = node.config();
    let allowed = &config.api.web_origins;
    let origin = request.headers().get(ORIGIN).cloned();
    if let Some(preflight) = preflight(&request, allowed) {
        return preflight;
    }
    let asked = match Asked::of(&request) {
        Ok(asked) => asked,
        Err(failure) => return failure.into_response(),
    };
    if asked.callback.is_some() {
        let page = Page::of(request.headers(), allowed);
        if !page.may_read() && !rights::shows_token(&config.api, request.headers()) {
            let error = "a page of another site asks: list it in api.web_origins";
            return Failure::new(StatusCode::FORBIDDEN, error)
                .with_code(code::AUTH)
                .into_response();
        }
        if page == Page::Any && !rights::shows_token(&config.api, request.headers()) {
            // What every page may read is what one may read who has nothing to show.
            request.headers_mut().remove(AUTHORIZATION);
            request.extensions_mut().remove::<rights::Certified>();
        }
    }
    if let Some(method) = asked.method {
        *request.method_mut() = method;
        request.extensions_mut().insert(ByGet);
    }
    let mut response = next.run(request).await;
    if config.api.srs_status && response.extensions().get::<SrsStatus>().is_some() {
        *response.status_mut() = StatusCode::OK;
    }
    if let Some(callback) = asked.callback {
        response = wrapped(response, &callback, gate.room()).await;
    }
    if let Some(origin) = origin {
        allow(response.headers_mut(), &origin, allowed);
    }
    response
}

/// What a request for a script says beside its path.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    /// The function that is to be called with the answer.
    callback: Option<String>,
    /// The method that is meant.
    method: Option<Method>,
}

impl Asked {
    fn of<B>(request: &http::Request<B>) -> Result<Self, Failure> {
        let params = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
        let params = params.map_or(Vec::new(), |Query(params)| params);
        let param = |name: &str| {
            let mut values = params.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
            values.next().filter(|value| !value.is_empty())
        };
        let Some(callback) = param("callback") else { return Ok(Self::default()) };
        if !is_function(callback) {
            return Err(Failure::bad(
                "callback: use the name of a function, of letters, digits, `_`, `$` and dots",
            ));
        }
        let method = match (request.method(), param("method").map(String::as_str)) {
            (&Method::GET, Some("DELETE")) => Some(Method::DELETE),
            (&Method::GET, Some("POST")) => Some(Method::POST),
            _ => None,
        };
        Ok(Self { callback: Some(callback.clone()), method })
    }
}

/// Whether `text` is the path of a function, such as `app.show`, and can be nothing else in a script.
fn is_function(text: &str) -> bool {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        let is_first = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$');
        bytes.next().is_some_and(is_first)
            && bytes.all(|byte| is_first(byte) || byte.is_ascii_digit())
    };
    text.len() <= CALLBACK_BYTES_MAX && text.split('.').all(is_name)
}

/// `response` as a script that calls `callback` with it. Refusals have status 200 then: browsers run no others. Only
/// that something is forbidden, or a password missing, is said by the status.
async fn wrapped(response: Response, callback: &str, room: &Room) -> Response {
    let (mut head, body) = response.into_parts();
    let is_json = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !is_json {
        return Response::from_parts(head, body);
    }
    // Handlers have made it as a whole already.
    let Ok(body) = body.collect().await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let json = body.to_bytes();
    // Line ends of Unicode, which end strings in scripts of old, take twice their bytes when they are escaped.
    let mut held = room.nothing();
    if !room.add(&mut held, callback.len() + 2 + 2 * json.len()) {
        return super::gate::no_room().into_response();
    }
    head.extensions.insert(Arc::new(held));
    let kind = HeaderValue::from_static("text/javascript; charset=utf-8");
    head.headers.insert(CONTENT_TYPE, kind);
    head.headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    head.headers.remove(http::header::CONTENT_LENGTH);
    // A browser asks its user for a password, and never for a token.
    let schemes = head.headers.get_all(WWW_AUTHENTICATE);
    let is_asked_for = schemes.iter().any(|scheme| scheme.as_bytes().starts_with(b"Basic"));
    if head.status != StatusCode::FORBIDDEN && !is_asked_for {
        head.status = StatusCode::OK;
    }
    Response::from_parts(head, Body::from(script(callback, &json)))
}

fn script(callback: &str, json: &Bytes) -> Vec<u8> {
    let mut script = Vec::with_capacity(callback.len() + 2 + json.len());
    script.extend_from_slice(callback.as_bytes());
    script.push(b'(');
    let mut rest = &json[..];
    while let Some(at) = rest.windows(2).position(|pair| pair == [0xE2, 0x80]) {
        script.extend_from_slice(&rest[..at]);
        let taken = match rest.get(at + 2) {
            Some(0xA8) => (&b"\\u2028"[..], 3),
            Some(0xA9) => (&b"\\u2029"[..], 3),
            _ => (&rest[at..at + 2], 2),
        };
        script.extend_from_slice(taken.0);
        rest = &rest[at + taken.1..];
    }
    script.extend_from_slice(rest);
    script.push(b')');
    script
}

/// The answer to a browser that wants to know whether a page may ask something.
fn preflight(request: &Request, allowed: &[WebOrigin]) -> Option<Response> {
    let fields = request.headers();
    let is_preflight = request.method() == Method::OPTIONS
        && fields.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        && !allowed.is_empty();
    let origin = fields.get(ORIGIN).filter(|_| is_preflight)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let fields = response.headers_mut();
    allow(fields, origin, allowed);
    if fields.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        let methods = HeaderValue::from_static("GET, HEAD, POST, DELETE");
        fields.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        let names = HeaderValue::from_static("authorization, content-type");
        fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        fields.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
    }
    Some(response)
}

/// Says that pages of `origin` may read the answer, if they may. What a browser shows unasked is not meant: it does not
/// show it unless that is said too.
fn allow(fields: &mut HeaderMap, origin: &HeaderValue, allowed: &[WebOrigin]) {
    if allowed.is_empty() {
        return;
    }
    fields.append(VARY, HeaderValue::from_static("Origin"));
    let is_allowed = allowed.contains(&WebOrigin::Any)
        || origin.to_str().is_ok_and(|origin| allowed.iter().any(|it| it.names(origin)));
    if is_allowed {
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, uri: &str) -> Option<Asked> {
        let request = http::Request::builder().method(method).uri(uri).body(()).expect("a request");
        Asked::of(&request).ok()
    }

    #[test]
    fn a_callback_is_a_function_and_nothing_else() {
        for good in ["cb", "jQuery1124_169", "app.on.streams", "$", "_a$.b0", &"a".repeat(128)] {
            assert!(is_function(good), "{good}");
        }
        for bad in [
            "",
            "a-b",
            "0a",
            "a.",
            ".a",
            "a..b",
            "a(b)",
            "a;b",
            "a b",
            "a/**/",
            "é",
            "a\n",
            "a=b",
            "a[0]",
            "\u{2028}",
            "</script>",
            &"a".repeat(129),
        ] {
            assert!(!is_function(bad), "{bad}");
        }
    }

    #[test]
    fn another_method_is_for_callbacks_alone() {
        let of = |callback: Option<&str>, method| {
            Some(Asked { callback: callback.map(str::to_owned), method })
        };
        assert_eq!(asked(Method::GET, "/a?method=DELETE"), of(None, None));
        assert_eq!(asked(Method::GET, "/a?callback=&method=DELETE"), of(None, None));
        assert_eq!(asked(Method::GET, "/a?callback=f"), of(Some("f"), None));
        let both = asked(Method::GET, "/a?x=1&call%62ack=f&method=DELETE");
        assert_eq!(both, of(Some("f"), Some(Method::DELETE)));
        assert_eq!(asked(Method::GET, "/a?callback=f&method=PUT"), of(Some("f"), None));
        assert_eq!(asked(Method::POST, "/a?callback=f&method=DELETE"), of(Some("f"), None));
        assert_eq!(asked(Method::GET, "/a?callback=f(1)"), None);
    }

    #[test]
    fn a_script_has_no_line_ends_that_json_may_have() {
        let json = Bytes::from("{\"a\":\"\u{2028}x\u{2029}\u{2027}\u{20A8}\"}");
        let text = String::from_utf8(script("f", &json)).expect("text");
        assert_eq!(text, "f({\"a\":\"\\u2028x\\u2029\u{2027}\u{20A8}\"})");
    }
}
