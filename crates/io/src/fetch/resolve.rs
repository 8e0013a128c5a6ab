//! Looking up host names, so that a name that does not resolve can be told from a host that does
//! not answer, and one that leads to a private address from both.

use std::error::Error;
use std::io;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::private::Door;

/// The system's resolver, behind a door. A connection is made to what it gives and to nothing else,
/// so that a name cannot lead elsewhere once it has been checked.
pub(crate) struct Resolver(pub(crate) Door);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let door = self.0.clone();
        Box::pin(async move {
            // The port is the connector's business.
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(Unresolved)?;
            Ok(Box::new(door.pass(name.as_str(), addresses.collect())?.into_iter()) as Addrs)
        })
    }
}

/// A host name that could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unresolved(io::Error);

impl Unresolved {
    /// Whether the name server, not the name, failed; the system tells the two apart in words only.
    pub(super) fn passing(&self) -> bool {
        self.0.to_string().contains("Temporary failure")
    }
}

/// The error of type `E` among an error's causes.
pub(crate) fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
