//! Who may do what: bearer tokens, a user name with its password, and certificates of clients.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CONNECTION, HOST, WWW_AUTHENTICATE},
};
use subtle::ConstantTimeEq as _;
use weir_config::{Api, Basic, Secret};

use super::{
    answer::{Failure, code},
    page::{ByGet, Page},
};
use crate::{http::Peer, node::Node, tls::Right};

/// The right that the certificate of a connection's client gives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Certified(pub Right);

/// What the token or certificate of a request gives.
#[derive(Clone, Copy, Debug)]
pub struct Shown(pub Right);

/// `routes`, for those who may read.
pub fn reading(routes: Router, node: &Arc<Node>) -> Router {
    routes.layer(from_fn_with_state(Arc::clone(node), require_read))
}

/// `routes`, for monitoring: for everybody, unless rights to read have been given out.
pub fn monitoring(routes: Router, node: &Arc<Node>) -> Router {
    routes.layer(from_fn_with_state(Arc::clone(node), require_monitoring))
}

/// `routes`, for those who may do everything.
pub fn administering(routes: Router, node: &Arc<Node>) -> Router {
    routes.layer(from_fn_with_state(Arc::clone(node), require_admin))
}

async fn require_read(State(node): State<Arc<Node>>, mut request: Request, next: Next) -> Response {
    let config = node.config();
    let is_near = is_near(&config.api, &request);
    let right = shown(&config.api, &request);
    // A wrong token is one, also where none is needed: who signs in with it is told.
    let is_wrong = request.uri().path() == "/api/v1/session"
        && right == Right::None
        && request.headers().contains_key(AUTHORIZATION);
    let checked = match is_wrong {
        true => Err(unauthorized("the token is not known (api.admin_tokens, api.read_tokens)")),
        false => check_read(&config.api, right, is_near),
    };
    match checked {
        Ok(()) => {
            request.extensions_mut().insert(Shown(right));
            next.run(request).await
        }
        Err(failure) => refuse(&node, guesser(&node, &request), failure).await,
    }
}

async fn require_monitoring(
    State(node): State<Arc<Node>>,
    request: Request,
    next: Next,
) -> Response {
    let config = node.config();
    let is_open = config.api.basic.is_some() && has_no_readers(&config.api);
    let right = shown(&config.api, &request);
    // SRS's password is not for its exporter.
    let checked = if is_open { Ok(()) } else { check_read(&config.api, right, true) };
    match checked {
        Ok(()) => next.run(request).await,
        Err(failure) => refuse(&node, guesser(&node, &request), failure).await,
    }
}

async fn require_admin(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let config = node.config();
    let checked = check_admin(&config.api, shown(&config.api, &request))
        .and_then(|()| check_site(&config.api, &request));
    match checked {
        Ok(()) => next.run(request).await,
        Err(failure) => refuse(&node, guesser(&node, &request), failure).await,
    }
}

/// Says no; to who has shown a wrong token or password, in due time.
async fn refuse(node: &Node, guesser: Option<Peer>, failure: Failure) -> Response {
    let mut response = failure.into_response();
    if response.status() == StatusCode::UNAUTHORIZED && node.config().api.basic.is_some() {
        // The first of them: what browsers know.
        let fields = response.headers_mut();
        let basic = HeaderValue::from_static(BASIC_CHALLENGE);
        if let Some(bearer) = fields.insert(WWW_AUTHENTICATE, basic) {
            fields.append(WWW_AUTHENTICATE, bearer);
        }
    }
    let Some(peer) = guesser else { return response };
    peer.hold_back(&node.clients.wrong_secrets, peer.ip, false).await;
    ([(CONNECTION, "close")], response).into_response()
}

/// What has browsers and others ask for a user name and a password (RFC 7617).
const BASIC_CHALLENGE: &str = "Basic realm=\"api\", charset=\"UTF-8\"";

/// Who has sent `request`, if it shows something that gives no right.
fn guesser(node: &Node, request: &Request) -> Option<Peer> {
    let fields = request.headers();
    let is_wrong =
        fields.contains_key(AUTHORIZATION) && of_fields(&node.config().api, fields) == Right::None;
    request.extensions().get::<Peer>().filter(|_| is_wrong).cloned()
}

/// Whether a request without rights comes from where `api.read_from` trusts everybody, and from there only: a page in
/// somebody's browser reaches it under a name that has been given this address, a proxy speaks for others.
fn is_near(api: &Api, request: &Request) -> bool {
    let Some(peer) = request.extensions().get::<Peer>() else { return false };
    let fields = request.headers();
    let is_passed_on = PROXY_FIELDS.iter().any(|field| fields.contains_key(*field));
    let mut hosts = fields.get_all(HOST).iter();
    let is_local = match (hosts.next(), hosts.next()) {
        (None, _) => true,
        (Some(host), None) => host.to_str().is_ok_and(is_own),
        (Some(_), Some(_)) => false,
    };
    let named = request.uri().authority().is_none_or(|authority| is_own(authority.as_str()));
    is_local && named && !is_passed_on && api.read_from.iter().any(|net| net.contains(&peer.ip))
}

/// What proxies add to the requests of others.
const PROXY_FIELDS: [&str; 4] = ["x-forwarded-for", "forwarded", "x-real-ip", "via"];

/// Whether `host` can mean nobody else: an address, or this machine.
fn is_own(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    name.parse::<IpAddr>().is_ok()
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        || name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case("localhost")
}

/// `is_near` is who may read where no rights to read have been given out.
fn check_read(api: &Api, right: Right, is_near: bool) -> Result<(), Failure> {
    // Who sets a password as in SRS wants everybody to show it.
    let is_open = has_no_readers(api) && api.basic.is_none();
    match (right, is_open) {
        (Right::Read | Right::Admin, _) => Ok(()),
        (Right::None, true) if is_near => Ok(()),
        (Right::None, true) => Err(unauthorized(
            "from this address a token is needed to read: Authorization: Bearer TOKEN (api.read_tokens); without a \
             token, only addresses in api.read_from may read",
        )),
        (Right::None, false) => {
            Err(unauthorized("a token is needed to read: Authorization: Bearer TOKEN"))
        }
    }
}

/// Whether no rights to read have been given out.
fn has_no_readers(api: &Api) -> bool {
    let has_read_ca = api.tls.as_ref().is_some_and(|tls| tls.read_ca.is_some());
    api.read_tokens.is_empty() && !has_read_ca
}

/// Whether anybody can have all rights.
pub fn has_admin(api: &Api) -> bool {
    let has_admin_ca = api.tls.as_ref().is_some_and(|tls| tls.admin_ca.is_some());
    !api.admin_tokens.is_empty() || has_admin_ca || api.basic.is_some()
}

fn check_admin(api: &Api, right: Right) -> Result<(), Failure> {
    match right {
        Right::Admin => Ok(()),
        _ if !has_admin(api) => Err(unauthorized(
            "not allowed: no administrator is configured; set api.admin_tokens, api.basic or api.tls.admin_ca",
        )),
        Right::Read => {
            let failure = Failure::new(
                StatusCode::FORBIDDEN,
                "administrators only: this token or certificate may only read",
            );
            Err(failure.with_code(code::AUTH))
        }
        Right::None => {
            Err(unauthorized("an administrator's token is needed: Authorization: Bearer TOKEN"))
        }
    }
}

fn unauthorized(error: &str) -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, error).with_code(code::AUTH)
}

/// A browser shows its user's certificate or password to us whatever page asks it to: what changes something must not
/// come from a page of somebody else. Tokens are not shown unasked.
pub fn check_site(api: &Api, request: &Request) -> Result<(), Failure> {
    if *request.method() == Method::GET || of_bearer(api, request.headers()) == Right::Admin {
        return Ok(());
    }
    let page = Page::of(request.headers(), &api.web_origins);
    let by_get = request.extensions().get::<ByGet>().is_some();
    let is_fine = if by_get { page.may_change_by_get() } else { page.may_change() };
    if is_fine { Ok(()) } else { Err(foreign_site()) }
}

/// Whether one who reads may have a GET reload, as in SRS: an administrator, or anybody where there is none.
///
/// # Errors
/// When not.
pub fn check_reload_by_get(api: &Api, request: &Request) -> Result<(), Failure> {
    if has_admin(api) {
        check_admin(api, shown(api, request))?;
    }
    let is_meant = of_bearer(api, request.headers()) == Right::Admin
        || Page::of(request.headers(), &api.web_origins).may_change_by_get();
    if is_meant { Ok(()) } else { Err(foreign_site()) }
}

fn foreign_site() -> Failure {
    let error = "cross-site request: a token is needed, or an entry in api.web_origins";
    Failure::new(StatusCode::FORBIDDEN, error).with_code(code::AUTH)
}

/// What the one who sent `request` may do.
fn shown(api: &Api, request: &Request) -> Right {
    let certified = request.extensions().get().map_or(Right::None, |Certified(right)| *right);
    certified.max(of_fields(api, request.headers()))
}

/// Whether a right is shown by a token, which no browser does for a page that does not know it.
pub fn shows_token(api: &Api, fields: &HeaderMap) -> bool {
    of_bearer(api, fields) != Right::None
}

/// What the bearer token or the password in `fields`, if there is one, gives.
fn of_fields(api: &Api, fields: &HeaderMap) -> Right {
    of_bearer(api, fields).max(of_basic(api, fields))
}

fn of_bearer(api: &Api, fields: &HeaderMap) -> Right {
    let Some(token) = credentials(fields, "bearer") else { return Right::None };
    // Both lists to their ends, so that the time says nothing.
    let (is_admin, is_reader) =
        (is_one_of(token, &api.admin_tokens), is_one_of(token, &api.read_tokens));
    match (is_admin, is_reader) {
        (true, _) => Right::Admin,
        (false, true) => Right::Read,
        (false, false) => Right::None,
    }
}

/// RFC 7617: the user name ends at the first colon.
fn of_basic(api: &Api, fields: &HeaderMap) -> Right {
    let Some(Basic { username, password: Some(password) }) = &api.basic else { return Right::None };
    let said = credentials(fields, "basic").and_then(|text| BASE64_STANDARD.decode(text).ok());
    let Some(said) = said else { return Right::None };
    let Some(colon) = said.iter().position(|byte| *byte == b':') else { return Right::None };
    let (name, word) = (&said[..colon], &said[colon + 1..]);
    // Both, so that the time does not say which one was wrong.
    let is_right = name.ct_eq(username.as_bytes()) & word.ct_eq(password.expose().as_bytes());
    if bool::from(is_right) { Right::Admin } else { Right::None }
}

fn is_one_of(token: &str, known: &[Secret]) -> bool {
    let same = |secret: &Secret| bool::from(token.as_bytes().ct_eq(secret.expose().as_bytes()));
    known.iter().fold(false, |found, secret| found | same(secret))
}

/// What `Authorization` has behind this scheme. Two of them are none.
fn credentials<'a>(fields: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let mut values = fields.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, said) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then(|| said.trim())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use weir_config::Tls;

    use super::*;

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new(*text)).collect()
    }

    fn api(admin: &[&str], read: &[&str]) -> Api {
        Api { admin_tokens: secrets(admin), read_tokens: secrets(read), ..Api::default() }
    }

    fn request(field: Option<&str>, certified: Right) -> Request {
        let mut request = Request::new(Body::empty());
        if let Some(field) = field {
            request.headers_mut().insert(AUTHORIZATION, field.parse().expect("a field"));
        }
        request.extensions_mut().insert(Certified(certified));
        request
    }

    fn status(checked: Result<(), Failure>) -> u16 {
        checked.map_or_else(|failure| failure.into_response().status().as_u16(), |()| 200)
    }

    #[test]
    fn rights_follow_from_tokens_and_certificates() {
        let closed = api(&["root", "root2"], &["look"]);
        let open = api(&["root"], &[]);
        let nobody = api(&[], &[]);
        let tls = Tls { read_ca: Some("ca.pem".into()), ..Tls::default() };
        let by_certificate = Api { tls: Some(tls), ..api(&[], &[]) };
        let cases = [
            // who, what is shown, by certificate, reading, administering
            (&closed, None, Right::None, 401, 401),
            (&closed, Some("Bearer look"), Right::None, 200, 403),
            (&closed, Some("bearer root"), Right::None, 200, 200),
            (&closed, Some("Bearer root2"), Right::None, 200, 200),
            (&closed, Some("Bearer roo"), Right::None, 401, 401),
            (&closed, Some("Bearer root3"), Right::None, 401, 401),
            (&closed, Some("Bearer "), Right::None, 401, 401),
            (&closed, Some("root"), Right::None, 401, 401),
            (&closed, Some("Basic root"), Right::None, 401, 401),
            (&closed, None, Right::Read, 200, 403),
            (&closed, None, Right::Admin, 200, 200),
            (&closed, Some("Bearer look"), Right::Admin, 200, 200),
            (&open, None, Right::None, 200, 401),
            (&open, Some("Bearer wrong"), Right::None, 200, 401),
            (&open, Some("Bearer root"), Right::None, 200, 200),
            (&nobody, None, Right::None, 200, 401),
            (&nobody, Some("Bearer "), Right::None, 200, 401),
            (&nobody, Some("Bearer x"), Right::None, 200, 401),
            (&by_certificate, None, Right::None, 401, 401),
            (&by_certificate, None, Right::Read, 200, 401),
        ];
        for (api, field, certified, read, admin) in cases {
            let request = request(field, certified);
            let right = shown(api, &request);
            let got = (status(check_read(api, right, true)), status(check_admin(api, right)));
            assert_eq!(got, (read, admin), "{field:?} {certified:?} with {api:?}");
        }
    }

    #[test]
    fn without_tokens_only_those_nearby_may_read() {
        assert_eq!(status(check_read(&api(&["root"], &[]), Right::None, false)), 401);
        assert_eq!(status(check_read(&api(&["root"], &[]), Right::Admin, false)), 200);
        assert_eq!(status(check_read(&api(&[], &["look"]), Right::None, true)), 401);
        for own in [
            "127.0.0.1",
            "127.0.0.1:1985",
            "[::1]:1985",
            "[::1]",
            "::1",
            "10.1.2.3:1985",
            "localhost",
            "LocalHost.:1985",
        ] {
            assert!(is_own(own), "{own}");
        }
        for other in [
            "",
            "evil.example",
            "evil.example:1985",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ] {
            assert!(!is_own(other), "{other}");
        }
    }

    fn with_password() -> Api {
        let password = Some(Secret::new("pass:word"));
        Api { basic: Some(Basic { username: "admin".to_owned(), password }), ..api(&["root"], &[]) }
    }

    #[test]
    fn a_user_name_and_its_password_give_all_rights() {
        let config = with_password();
        let encoded = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        let no_base64 = "Basic admin:pass:word".to_owned();
        for (field, read, admin) in [
            (None, 401, 401),
            (Some(encoded("admin:pass:word")), 200, 200),
            (Some(encoded("admin:pass:word").replace("Basic", "basic ")), 200, 200),
            (Some(encoded("admin:pass:wor")), 401, 401),
            (Some(encoded("admin:pass")), 401, 401),
            (Some(encoded("Admin:pass:word")), 401, 401),
            (Some(encoded("admin")), 401, 401),
            (Some(encoded(":")), 401, 401),
            (Some(encoded("")), 401, 401),
            (Some(no_base64), 401, 401),
            (Some("Bearer root".to_owned()), 200, 200),
            (Some("Basic root".to_owned()), 401, 401),
        ] {
            let request = request(field.as_deref(), Right::None);
            let right = shown(&config, &request);
            let got =
                (status(check_read(&config, right, true)), status(check_admin(&config, right)));
            assert_eq!(got, (read, admin), "{field:?}");
        }
    }

    #[test]
    fn a_password_that_a_browser_remembers_is_for_no_page_of_others() {
        let config = with_password();
        let password = format!("Basic {}", BASE64_STANDARD.encode("admin:pass:word"));
        let from = |by_get: bool, fields: &[(&'static str, &'static str)], shown: &str| {
            let mut request = request(Some(shown), Right::None);
            *request.method_mut() = Method::DELETE;
            if by_get {
                request.extensions_mut().insert(ByGet);
            }
            request.headers_mut().insert(HOST, HeaderValue::from_static("10.0.0.9:1985"));
            for (name, value) in fields {
                request.headers_mut().insert(*name, HeaderValue::from_static(value));
            }
            status(check_site(&config, &request))
        };
        let browser = ("user-agent", "Mozilla/5.0");
        let evil = ("referer", "http://evil.example/");
        let own = ("referer", "http://10.0.0.9:1985/x");
        for (by_get, fields, expected) in [
            (true, &[][..], 200),
            (true, &[browser], 403),
            (true, &[browser, evil], 403),
            (true, &[browser, own], 200),
            (true, &[browser, ("sec-fetch-site", "none")], 403),
            (true, &[browser, own, ("sec-fetch-site", "cross-site")], 403),
            (false, &[browser], 200),
            (false, &[browser, ("origin", "http://evil.example")], 403),
            (false, &[browser, ("origin", "null")], 403),
            (false, &[browser, ("origin", "http://10.0.0.9:1985")], 200),
        ] {
            assert_eq!(from(by_get, fields, &password), expected, "{by_get} {fields:?}");
            assert_eq!(from(by_get, fields, "Bearer root"), 200, "a token is meant: {fields:?}");
        }
    }

    #[test]
    fn two_tokens_are_none() {
        let mut request = request(Some("Bearer root"), Right::None);
        request.headers_mut().append(AUTHORIZATION, "Bearer x".parse().expect("a field"));
        assert_eq!(shown(&api(&["root"], &[]), &request), Right::None);
    }

    #[test]
    fn a_page_of_another_site_cannot_use_its_visitors_certificate() {
        let config = api(&["root"], &[]);
        let from = |site: &str, token| {
            let mut request = request(token, Right::Admin);
            *request.method_mut() = Method::POST;
            request.headers_mut().insert("sec-fetch-site", site.parse().expect("a field"));
            status(check_site(&config, &request))
        };
        assert_eq!(from("cross-site", None), 403);
        assert_eq!(from("same-origin", None), 200);
        assert_eq!(from("cross-site", Some("Bearer root")), 200);
        let at = |origin: &str, token| {
            let mut request = request(token, Right::Admin);
            *request.method_mut() = Method::DELETE;
            request.headers_mut().insert("host", "weir.example:1985".parse().expect("a field"));
            request.headers_mut().insert("origin", origin.parse().expect("a field"));
            status(check_site(&config, &request))
        };
        assert_eq!(at("https://weir.example:1985", None), 200);
        for other in ["https://evil.example", "http://weir.example:8080", "null"] {
            assert_eq!((at(other, None), at(other, Some("Bearer root"))), (403, 200), "{other}");
        }
    }
}
