//! ONNX Runtime: finding the shared library, opening models, running batches of images through
//! them.
//!
//! The library is looked for in documented places and never downloaded; a missing one is an error
//! with its cure, not a panic. A session computes on the threads it was given (one, for the
//! pipeline: a session a worker) and never spins.

mod flops;
mod library;
mod port;
mod provider;
mod session;
mod tensor;

pub use flops::flops;
pub use library::{LIBRARY_NAME, library_path, loaded_path, providers, version};
pub use port::Port;
pub use provider::Provider;
pub use session::{Patches, Session, Vectors, is_of_the_machine};
