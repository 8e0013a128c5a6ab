//! All pairs of near vectors, in cells that know of each other.
//!
//! Codes propose, products in a fixed order decide. Each row keeps its k nearest. Of the pairs for
//! which a list has no room a spanning forest is kept ([`lost`]).
//!
//! What is found does not depend on threads: the k nearest of a row are one set, whatever the order
//! in which they come. A pair of cells is scored once, for both ends. Equal vectors, and crowds of
//! near copies ([`crowds`]), are compared with others as one row.

mod block;
mod cell;
mod compare;
mod crowds;
mod lost;
mod meetings;
mod near;
mod rows;

pub use block::Block;
pub use lost::Lost;
pub use near::Near;

#[cfg(test)]
mod crowd_tests;
#[cfg(test)]
mod tests;
