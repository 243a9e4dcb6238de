//! The memory that requests and their connections take.

use http::Request;
use weir_media::{Budget, Charge, Spent, Use};

use crate::{memory, node::Node};

/// What a connection with requests one after the other takes beside its place: buffers for reading and writing, of
/// 8 KiB each, and the state of a request; as measured with a thousand of them.
const CONNECTION_BYTES: usize = 20 * 1024;

/// What a field of a request's head takes beside its text.
const FIELD_BYTES: usize = 128;

/// The room of a connection with requests one after the other; none if there is none.
pub fn of_connection(budget: &Budget) -> Option<Charge> {
    if !budget.has_place(CONNECTION_BYTES) {
        return None;
    }
    let mut charge = Charge::new(budget, Use::Connections);
    charge.add(CONNECTION_BYTES);
    Some(charge)
}

/// The room of a request until it is answered.
///
/// # Errors
/// When there is none.
pub fn of_request<B>(node: &Node, request: &Request<B>) -> Result<Charge, Spent> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let fields = request.headers();
    let head: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let head = head + fields.len() * FIELD_BYTES;
    memory::request(node.streams.registry.budget(), target, head)
}
