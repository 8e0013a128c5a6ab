//! Counter-based randomness: a hash of (seed, stream, counter), so that a draw depends on what is
//! drawn and on nothing else.
//!
//! No generator state is ever shared or carried along: that is what makes results equal on any
//! number of threads or tasks.

use lvd_base::error::Result;

/// Bits that are counted apart by the first pass of [`Draw::lowest`].
const COUNTED_BITS: u32 = 16;

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014): a bijection of 64-bit words that mixes
/// well.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A random function from counters to 64-bit words, named by a seed and a stream.
#[derive(Clone, Copy, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The function of `seed` for the purpose `stream` ("cluster/sample", ...).
    #[must_use]
    pub fn new(seed: u64, stream: &str) -> Self {
        Self(stream.bytes().fold(mix(seed), |state, byte| mix(state ^ u64::from(byte))))
    }

    /// A narrower stream of the same function, for instance one a level or a cluster.
    #[must_use]
    pub fn within(self, part: u64) -> Self {
        Self(mix(self.0 ^ mix(part)))
    }

    /// 64 random bits for `counter`.
    #[must_use]
    pub fn bits(self, counter: u64) -> u64 {
        mix(self.0 ^ mix(counter))
    }

    /// A number in [0, 1) for `counter`, with 53 random bits.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64")]
    pub fn unit(self, counter: u64) -> f64 {
        (self.bits(counter) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws `wanted` of the counters that `every` hands out, 1 at least, or all where there are no
    /// more: those with the lowest bits. No two counters have the same bits, so it is exactly as
    /// many. Returns how many counters there were, too.
    ///
    /// Calls `every` twice. Memory: half a MiB, and 8 bytes for one counter in 65,536.
    ///
    /// # Errors
    /// When `every` fails.
    pub fn lowest(self, wanted: u64, every: &Counters) -> Result<(Lowest, u64)> {
        let place = |bits: u64| (bits >> (64 - COUNTED_BITS)) as usize;
        let (mut counts, mut of) = (vec![0u64; 1 << COUNTED_BITS], 0);
        every(&mut |counter| {
            counts[place(self.bits(counter))] += 1;
            of += 1;
        })?;
        if of <= wanted {
            return Ok((Lowest { draw: self, last: u64::MAX }, of));
        }
        let mut left = wanted.max(1);
        let within = counts.iter().position(|&held| {
            let here = left <= held;
            left -= if here { 0 } else { held };
            here
        });
        let mut candidates = Vec::new();
        every(&mut |counter| {
            let bits = self.bits(counter);
            candidates.extend((Some(place(bits)) == within).then_some(bits));
        })?;
        candidates.sort_unstable();
        let last = candidates[usize::try_from(left).unwrap_or(usize::MAX) - 1];
        Ok((Lowest { draw: self, last }, of))
    }
}

/// Hands out every counter, in the same order whenever it is called.
pub type Counters<'a> = dyn Fn(&mut dyn FnMut(u64)) -> Result<()> + 'a;

/// The counters with the lowest bits of a draw: see [`Draw::lowest`].
#[derive(Clone, Copy, Debug)]
pub struct Lowest {
    draw: Draw,
    /// The highest bits that are drawn.
    pub last: u64,
}

impl Lowest {
    /// Those whose bits are `last` at most.
    #[must_use]
    pub fn up_to(draw: Draw, last: u64) -> Self {
        Self { draw, last }
    }

    /// Whether a counter is one of them.
    #[must_use]
    pub fn has(&self, counter: u64) -> bool {
        self.draw.bits(counter) <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_seed_stream_and_counter_alone() {
        let draw = Draw::new(1, "a");
        assert_eq!(draw.bits(7), Draw::new(1, "a").bits(7));
        for other in [Draw::new(2, "a").bits(7), Draw::new(1, "b").bits(7), draw.bits(8), draw.within(0).bits(7)] {
            assert_ne!(draw.bits(7), other);
        }
    }

    #[test]
    fn exactly_as_many_are_drawn_as_are_wanted_and_they_have_the_lowest_bits() -> Result<()> {
        let draw = Draw::new(5, "lowest");
        for n in [0u64, 1, 90, 70_000] {
            let mut sorted: Vec<u64> = (0..n).map(|counter| draw.bits(3 * counter)).collect();
            sorted.sort_unstable();
            for wanted in [1, 2, 20, 89, 90, 91, 5_000, 69_999] {
                let every = |each: &mut dyn FnMut(u64)| {
                    (0..n).for_each(|counter| each(3 * counter));
                    Ok(())
                };
                let (lowest, of) = draw.lowest(wanted, &every)?;
                let mut drawn: Vec<u64> =
                    (0..n).map(|counter| 3 * counter).filter(|&id| lowest.has(id)).map(|id| draw.bits(id)).collect();
                drawn.sort_unstable();
                assert_eq!((of, drawn.len() as u64), (n, wanted.min(n)));
                assert_eq!(drawn, sorted[..drawn.len()]);
            }
        }
        Ok(())
    }

    #[test]
    fn units_are_uniform() {
        let draw = Draw::new(3, "uniform");
        let mut bins = [0u32; 10];
        for counter in 0..100_000 {
            let tenths = draw.unit(counter) * 10.0;
            *bins.iter_mut().zip(1u8..).find(|(_, edge)| tenths < f64::from(*edge)).expect("below 10").0 += 1;
        }
        assert!(bins.iter().all(|&count| (9_600..10_400).contains(&count)), "{bins:?}");
    }
}
