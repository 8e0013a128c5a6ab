//! Search: pictures that are no rows of a pipeline against the vectors that it has.
//!
//! `find` asks which images of the pool are nearest to a picture, `audit` whether images of a set,
//! or copies of them, are in the finished data set. A picture becomes a vector by the code of ingest
//! and embed, and is compared with every vector: the search misses nothing. Nothing is
//! written, but for a model that is not in the work folder yet.
//!
//! Memory: a block of 8,192 vectors and the nearest so far for each thread; 64 MiB of files being
//! looked at, and a decoded picture and a session of the model for each thread. `audit` holds the
//! ids of the finished set (8 bytes each), the vectors of [`audit::GROUP`] images, and what it found.

pub mod audit;
pub mod find;

mod became;
mod finished;
mod nearest;
mod origin;
mod pictures;
mod set;
mod view;

pub use became::Became;
pub use origin::Image;
pub use pictures::Unusable;
pub use view::Threshold;
