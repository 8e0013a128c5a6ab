//! What the pictures show, the most frequent first. Every function draws over the whole canvas, and
//! never the same layout twice.

mod animals;
mod land;
mod patterns;
mod sky;
mod strokes;
mod things;

use lvd_ops::draw::{Canvas, Chance};

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
    concept("forest", land::forest),
    concept("houses", things::houses),
    concept("clouds", sky::clouds),
    concept("meadow", land::meadow),
    concept("mountains", land::mountains),
    concept("leaves", patterns::leaves),
    concept("skyline", land::skyline),
    concept("brick_wall", patterns::brick_wall),
    concept("balloons", things::balloons),
    concept("starry_night", sky::starry_night),
    concept("desert", land::desert),
    concept("fruit_bowl", things::fruit_bowl),
    concept("zebra", animals::zebra),
    concept("planet", things::planet),
    concept("checkered_cloth", patterns::checkered_cloth),
    concept("honeycomb", patterns::honeycomb),
    concept("target", patterns::target_rings),
    concept("fish", animals::fish),
    concept("sailboat", sky::sailboat),
];

/// The index of the concept called `name`.
///
/// # Panics
/// When there is none: names are our own.
pub fn named(name: &str) -> usize {
    CONCEPTS.iter().position(|concept| concept.name == name).expect("a concept of the list")
}
