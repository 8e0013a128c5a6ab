//! A random rotation of vectors: products stay as they are, and any part of a rotated vector is
//! like the whole.
//!
//! Rounds of random signs, a Hadamard transform of pieces as long as a power of two that divides
//! the dimension, and a random permutation (after Ailon and Chazelle, 2006). Cost: about 2 d log d
//! operations a vector.

use rayon::prelude::*;

use super::hash::Draw;
use crate::multiversion;

/// A fixed rotation of vectors of one dimension.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Length of a piece.
    piece: usize,
    rounds: Vec<Round>,
}

#[derive(Clone, Debug)]
struct Round {
    /// 1 or -1, over the root of the piece's length.
    signs: Vec<f32>,
    /// From where each number comes; empty where a piece is all.
    from: Vec<u32>,
}

impl Rotation {
    /// The rotation of `seed` for vectors of `d` numbers.
    #[must_use]
    pub fn new(d: usize, seed: u64) -> Self {
        let piece = 1 << d.max(1).trailing_zeros();
        // Enough rounds that every number has a share in every other.
        let mut rounds = 1;
        while (piece.max(2) as u64).saturating_pow(rounds) < d as u64 {
            rounds += 1;
        }
        let draw = Draw::new(seed, "rotation");
        let round = |round: u32| {
            let draw = draw.within(u64::from(round));
            #[expect(clippy::cast_precision_loss, reason = "pieces are short")]
            let scale = 1.0 / (piece as f32).sqrt();
            let signs = (0..d as u64).map(|i| if draw.bits(i) & 1 == 0 { scale } else { -scale }).collect();
            let mut from: Vec<u32> = if piece == d { Vec::new() } else { (0..).take(d).collect() };
            from.sort_by_key(|&i| (draw.bits(u64::from(i) | 1 << 32), i));
            Round { signs, from }
        };
        Self { piece, rounds: (0..rounds).map(round).collect() }
    }

    /// Turns all of `vectors`, row-major.
    ///
    /// # Panics
    /// When they have another dimension.
    pub fn apply_to_all(&self, vectors: &mut [f32]) {
        let d = self.rounds.first().map_or(1, |round| round.signs.len());
        vectors.par_chunks_mut(64 * d).for_each(|some| some.chunks_mut(d).for_each(|vector| self.apply(vector)));
    }

    /// Turns `vector`.
    ///
    /// # Panics
    /// When it has another dimension.
    pub fn apply(&self, vector: &mut [f32]) {
        for Round { signs, from } in &self.rounds {
            assert_eq!(vector.len(), signs.len(), "a vector of the rotation's dimension");
            if !from.is_empty() {
                let old = vector.to_vec();
                vector.iter_mut().zip(from).for_each(|(x, &from)| *x = old[from as usize]);
            }
            mix(vector, signs, self.piece);
        }
    }
}

/// Numbers of a register.
const LANES: usize = 8;

/// One step of the transform: sums and differences of numbers that are `HALF` apart.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled for wide vectors only where it is inlined")]
fn butterflies<const HALF: usize>(lanes: &mut [f32; LANES]) {
    let apart: [f32; LANES] = std::array::from_fn(|lane| lanes[lane ^ HALF]);
    let sums: [f32; LANES] = std::array::from_fn(|lane| apart[lane] + lanes[lane]);
    let differences: [f32; LANES] = std::array::from_fn(|lane| apart[lane] - lanes[lane]);
    *lanes = std::array::from_fn(|lane| if lane & HALF == 0 { sums[lane] } else { differences[lane] });
}

multiversion! {
    /// Signs, and the Hadamard transform of every piece, whose length is a power of two.
    fn mix(vector: &mut [f32], signs: &[f32], piece: usize) {
        vector.iter_mut().zip(signs).for_each(|(x, sign)| *x *= sign);
        let mut least = 1;
        if piece >= LANES {
            // The first steps, in registers.
            for lanes in vector.as_chunks_mut::<LANES>().0 {
                butterflies::<1>(lanes);
                butterflies::<2>(lanes);
                butterflies::<4>(lanes);
            }
            least = LANES;
        }
        for piece in vector.chunks_exact_mut(piece) {
            let mut half = least;
            while half < piece.len() {
                for pair in piece.chunks_exact_mut(2 * half) {
                    let (low, high) = pair.split_at_mut(half);
                    for (a, b) in low.iter_mut().zip(high) {
                        (*a, *b) = (*a + *b, *a - *b);
                    }
                }
                half *= 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dot::{dot, normalise};

    #[test]
    fn products_stay_and_a_spike_is_spread() {
        for d in [1, 7, 96, 192, 384, 512, 1000, 1536] {
            let rotation = Rotation::new(d, 3);
            let draw = Draw::new(1, "rotate");
            #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
            let mut vectors: Vec<f32> = (0..2 * d as u64).map(|i| draw.unit(i) as f32 - 0.5).collect();
            // One with most of its length in one number.
            vectors[0] += 40.0;
            vectors.chunks_mut(d).for_each(|vector| assert!(normalise(vector)));
            let before = dot(&vectors[..d], &vectors[d..]);
            rotation.apply_to_all(&mut vectors);
            let (a, b) = vectors.split_at(d);
            assert!((dot(a, b) - before).abs() < 1e-5 && (dot(a, a) - 1.0).abs() < 1e-5, "{d}");
            let most = a.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            #[expect(clippy::cast_precision_loss, reason = "dimensions are small")]
            let typical = 1.0 / (d as f32).sqrt();
            assert!(d < 90 || most < 6.0 * typical, "{d}: {most}");
        }
    }
}
