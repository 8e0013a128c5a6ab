//! Drawing by numbers: a canvas, block letters and a stream of chance. The built-in example draws
//! its world with them, and the edits of [`crate::edits`] what people put over pictures.

mod canvas;
mod chance;
mod colour;
pub mod font;

pub use canvas::{Canvas, Noise, Point};
pub use chance::Chance;
pub use colour::{Colour, lit, mix};
