//! Which servers a request, or a stream, has come through.

use std::fmt;

/// More servers in a row than anybody builds: what comes from further away goes in circles.
pub const HOPS_MAX: usize = 8;

/// The ids of servers: of edges that a request came through, the one nearest to the viewer first, or of those that
/// a stream was forwarded by, the first one first. On the way it is their list with commas: in RTMP in the field
/// [`FIELD`](Hops::FIELD) of `connect`, in HTTP in the header field [`HEADER`](Hops::HEADER).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hops(Vec<String>);

impl Hops {
    /// The field of the command object of `connect`.
    pub const FIELD: &'static str = "weirHops";

    /// The header field.
    pub const HEADER: &'static str = "weir-hops";

    /// Reads a list. What is too long for one is cut; it is refused as too many hops later. Of each id only what ids
    /// are made of is kept: the list goes on to other servers.
    pub fn parse(text: &str) -> Self {
        let letters = |id: &str| {
            let letters = id.chars().filter(char::is_ascii_alphanumeric);
            letters.take(NodeId::LENGTH).collect::<String>()
        };
        let ids = text.split(',').map(letters).filter(|id| !id.is_empty());
        Self(ids.take(HOPS_MAX).collect())
    }

    /// Whether it has come through `id`.
    pub fn has(&self, id: &NodeId) -> bool {
        self.0.contains(&id.0)
    }

    /// Whether it has come through as many as there may be.
    pub fn is_long(&self) -> bool {
        self.0.len() >= HOPS_MAX
    }

    /// Whether it has come through none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The list with one more.
    #[must_use]
    pub fn and(&self, id: &NodeId) -> Self {
        let mut hops = self.0.clone();
        hops.push(id.0.clone());
        Self(hops)
    }

    /// Why an edge must not pass the request on.
    ///
    /// # Errors
    /// When it has been at `id` before, or at too many others.
    pub fn check(&self, id: &NodeId) -> Result<(), String> {
        if self.has(id) {
            return Err(format!(
                "a loop: the request came back to edge {id} through {self}; edge.origins must not lead to itself"
            ));
        }
        if self.is_long() {
            return Err(format!("too many edges ({}): {self}", self.0.len()));
        }
        Ok(())
    }
}

impl fmt::Display for Hops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// The id of a server, made anew at each start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeId(String);

impl NodeId {
    /// Characters of an id.
    const LENGTH: usize = 16;

    /// A random id.
    ///
    /// # Errors
    /// When no random bytes from the system.
    pub fn random() -> std::io::Result<Self> {
        let random = getrandom::u64().map_err(std::io::Error::other)?;
        Ok(Self(format!("{random:016x}")))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId(name.to_owned())
    }

    #[test]
    fn a_request_that_comes_back_is_a_loop() {
        let hops = Hops::default().and(&id("a")).and(&id("b"));
        assert_eq!(Hops::parse(&hops.to_string()), hops);
        assert_eq!(hops.check(&id("c")), Ok(()));
        let error = hops.check(&id("a")).expect_err("it has been here");
        assert!(error.contains("edge a through a,b"), "{error}");
    }

    #[test]
    fn a_chain_has_an_end() {
        let hops = (0..HOPS_MAX).fold(Hops::default(), |hops, n| hops.and(&id(&n.to_string())));
        assert!(hops.check(&id("x")).is_err());
        let endless = "x,".repeat(10_000);
        assert!(
            Hops::parse(&endless).check(&id("y")).is_err(),
            "what was cut is refused all the same"
        );
    }

    #[test]
    fn ids_differ() {
        let (a, b) =
            (NodeId::random().expect("random bytes"), NodeId::random().expect("random bytes"));
        assert_ne!(a, b);
        assert_eq!(a.to_string().len(), NodeId::LENGTH);
    }
}
