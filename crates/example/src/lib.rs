//! The built-in example: a crawl made from a seed, with its ground truth, and the small `ViTs` that
//! embed it.
//!
//! The pictures are drawn, not shipped: enough of a world to see every stage at work, with nothing
//! to download and nobody's rights.

pub mod make;
pub mod score;
pub mod truth;
pub mod vit;

mod cast;
mod concepts;
mod edits;
mod render;
