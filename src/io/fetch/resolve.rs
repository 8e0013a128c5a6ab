//! Looking up host names, so that a name that does not resolve can be told from a host that does not answer.

use std::error::Error;
use std::io;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The system's resolver.
pub(super) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is the connector's business.
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(Unresolved)?;
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
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

/// The failed look-up among an error's causes.
pub(super) fn failure_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Unresolved> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
