//! Random numbers one after another, for drawing: a counter over the stateless [`Draw`].
#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a colour or a place needs 24 bits")]

use std::cell::Cell;

use super::colour::Colour;
use lvd_kernels::hash::Draw;

/// A stream of random numbers for one picture: every call gives the next.
pub struct Chance {
    draw: Draw,
    next: Cell<u64>,
}

impl Chance {
    /// The stream of `draw`.
    #[must_use]
    pub fn new(draw: Draw) -> Self {
        Self { draw, next: Cell::new(0) }
    }

    /// The next 64 bits.
    pub fn bits(&self) -> u64 {
        let next = self.next.get();
        self.next.set(next + 1);
        self.draw.bits(next)
    }

    /// A number in `low..high`.
    pub fn between(&self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// A whole number in `low..=high`.
    pub fn count(&self, low: u32, high: u32) -> u32 {
        low + (self.bits() % u64::from(high - low + 1)) as u32
    }

    /// True with this chance.
    pub fn often(&self, share: f32) -> bool {
        self.between(0.0, 1.0) < share
    }

    /// One of `all`.
    pub fn pick<T: Copy>(&self, all: &[T]) -> T {
        all[(self.bits() % all.len() as u64) as usize]
    }

    /// A colour near `colour`: each channel off by at most `by`.
    pub fn near(&self, colour: Colour, by: f32) -> Colour {
        colour.map(|channel| (channel + self.between(-by, by)).clamp(0.0, 1.0))
    }
}
