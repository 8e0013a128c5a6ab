//! What the pictures show, the most frequent first. Every function draws over the whole canvas, and never the same layout twice.

mod indoors;
mod land;
mod nature;
mod sky;

use crate::example::canvas::{Canvas, Chance};

/// Something to draw.
pub struct Concept {
    /// Its name in the ground truth.
    pub name: &'static str,
    /// Draws one of it.
    pub draw: fn(&mut Canvas, &Chance),
}

const fn concept(name: &'static str, draw: fn(&mut Canvas, &Chance)) -> Concept {
    Concept { name, draw }
}

/// Every concept; its rank decides how often it is in the pool.
pub const CONCEPTS: [Concept; 20] = [
    concept("sunset", sky::sunset),
    concept("forest", nature::forest),
    concept("houses", land::houses),
    concept("clouds", sky::clouds),
    concept("meadow", nature::meadow),
    concept("mountains", land::mountains),
    concept("leaves", nature::leaves),
    concept("skyline", land::skyline),
    concept("brick_wall", land::brick_wall),
    concept("balloons", sky::balloons),
    concept("starry_night", sky::starry_night),
    concept("desert", land::desert),
    concept("fruit_bowl", indoors::fruit_bowl),
    concept("zebra", nature::zebra),
    concept("planet", sky::planet),
    concept("checkered_cloth", indoors::checkered_cloth),
    concept("honeycomb", nature::honeycomb),
    concept("target", indoors::target),
    concept("fish", nature::fish),
    concept("sailboat", sky::sailboat),
];

/// The index of the concept called `name`.
///
/// # Panics
/// When there is none: names are our own.
pub fn named(name: &str) -> usize {
    CONCEPTS.iter().position(|concept| concept.name == name).expect("a concept of the list")
}
