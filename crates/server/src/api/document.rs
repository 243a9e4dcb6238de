//! The description of all calls but the probes, for programs: OpenAPI 3.1.
//!
//! What is answered is the file in the documentation. A test makes it from the declarations of the calls, and fails
//! where the file says something else: what makes it is in no program.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;

/// The description as people read it, which only the compiler has.
const SPACED: &[u8] = include_bytes!("../../../../docs/api/openapi.json");

const BYTES: usize = squeezed_len(SPACED);

/// The description without white space: less than half of the file.
static TEXT: [u8; BYTES] = squeezed(SPACED);

/// Answers with the description. Whoever reaches the port may have it.
pub(super) async fn described() -> Response {
    ([(CONTENT_TYPE, "application/json")], TEXT.as_slice()).into_response()
}

/// Where a reader of JSON is, as far as white space goes.
#[derive(Clone, Copy)]
struct Place {
    in_string: bool,
    is_escaped: bool,
}

impl Place {
    const START: Self = Self { in_string: false, is_escaped: false };

    /// Where it is behind `byte`, and whether `byte` means anything.
    const fn behind(self, byte: u8) -> (Self, bool) {
        let Self { in_string, is_escaped } = self;
        let quote = byte == b'"' && !is_escaped;
        let next = Self {
            in_string: in_string != quote,
            is_escaped: in_string && byte == b'\\' && !is_escaped,
        };
        (next, in_string || !byte.is_ascii_whitespace())
    }
}

const fn squeezed_len(json: &[u8]) -> usize {
    let (mut at, mut len, mut place) = (0, 0, Place::START);
    while at < json.len() {
        let (next, counts) = place.behind(json[at]);
        len += counts as usize;
        place = next;
        at += 1;
    }
    len
}

/// `json` without what means nothing; `N` is what [`squeezed_len`] says of it.
const fn squeezed<const N: usize>(json: &[u8]) -> [u8; N] {
    let mut squeezed = [0; N];
    let (mut at, mut len, mut place) = (0, 0, Place::START);
    while at < json.len() {
        let (next, counts) = place.behind(json[at]);
        if counts {
            squeezed[len] = json[at];
            len += 1;
        }
        place = next;
        at += 1;
    }
    squeezed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use utoipa::{
        OpenApi as _,
        openapi::{
            OpenApi, PathItem,
            security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
        },
    };

    use super::*;
    use crate::api::{Admin, Reads};

    #[derive(utoipa::OpenApi)]
    #[openapi(
        info(
            title = "Weir",
            description = "The API of a Weir server: SRS's calls with SRS's field names and numbers, and Weir's own. \
                Every call takes `callback=NAME` as well: the answer is a script then that calls that function \
                (JSONP), with status 200 also for refusals, except 401 and 403; with it, a GET with `method=DELETE` or \
                `method=POST` is such a call. With `api.srs_status`, refusals that SRS has a code for (1060, 1061, \
                2014, 2048, 2049) have status 200.",
            license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        ),
        tags(
            (name = "server", description = "What this server is, and its state"),
            (name = "streams", description = "Streams and vhosts"),
            (name = "clients", description = "Who is connected"),
            (name = "edge", description = "What an edge gets from its origins"),
            (name = "operation", description = "Configuration, reload and drain"),
        ),
    )]
    struct Document;

    /// The name of the usual way to show rights.
    const BEARER: &str = "bearer";

    /// The name of the other one, if `api.basic` is set.
    const BASIC: &str = "basic";

    fn openapi() -> OpenApi {
        let [bearer, basic] = [BEARER, BASIC].map(|name| SecurityRequirement::new(name, [""; 0]));
        let mut document = Document::openapi();
        document.info.version = env!("CARGO_PKG_VERSION").to_owned();
        // Without `api.read_tokens`, those in `api.read_from` may read.
        let read = [SecurityRequirement::default(), bearer.clone(), basic.clone()];
        document.merge(secured(Reads::openapi(), &read));
        document.merge(secured(Admin::openapi(), &[bearer, basic]));
        let components = document.components.get_or_insert_default();
        for (name, scheme) in [(BEARER, HttpAuthScheme::Bearer), (BASIC, HttpAuthScheme::Basic)] {
            let scheme = HttpBuilder::new().scheme(scheme).build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
        document
    }

    fn secured(mut document: OpenApi, by: &[SecurityRequirement]) -> OpenApi {
        for item in document.paths.paths.values_mut() {
            let PathItem { get, post, delete, .. } = item;
            for operation in [get, post, delete].into_iter().flatten() {
                operation.security = Some(by.to_vec());
            }
        }
        document
    }

    /// Write it with `WEIR_BLESS=1 cargo test -p weir-server openapi`.
    #[test]
    fn openapi_in_the_documentation_is_the_present_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api/openapi.json");
        let text = openapi().to_pretty_json().expect("it can be written") + "\n";
        if std::env::var_os("WEIR_BLESS").is_some() {
            std::fs::write(path, &text).expect("written");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == text,
            "docs/api/openapi.json is old: WEIR_BLESS=1 cargo test -p weir-server openapi"
        );
    }

    #[test]
    fn calls_are_described_where_they_are_answered() {
        for (document, answered) in
            [(Reads::openapi(), Reads::CALLS), (Admin::openapi(), Admin::CALLS)]
        {
            let document = serde_json::to_value(document).expect("JSON");
            let paths = document["paths"].as_object().expect("paths");
            let described: BTreeSet<_> = paths
                .iter()
                .flat_map(|(path, item)| {
                    let methods = item.as_object().expect("methods");
                    methods.keys().map(|method| (method.as_str(), path.as_str()))
                })
                .collect();
            assert_eq!(described, answered.iter().copied().collect());
        }
    }

    #[test]
    fn what_is_answered_says_what_the_file_says() {
        let read = |json: &[u8]| serde_json::from_slice::<Value>(json).expect("JSON");
        assert_eq!(read(&TEXT), read(SPACED));
        assert_eq!(TEXT.len(), serde_json::to_string(&read(SPACED)).expect("JSON").len());
        let odd = br#"{ "a \" b\\" : "\\\" c" , "d": [ 1, 2 ] }"#;
        let expected = br#"{"a \" b\\":"\\\" c","d":[1,2]}"#;
        assert_eq!(squeezed_len(odd), expected.len());
        assert_eq!(&squeezed::<{ br#"{"a \" b\\":"\\\" c","d":[1,2]}"#.len() }>(odd), expected);
    }
}
