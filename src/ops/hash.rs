//! Counter-based randomness: a hash of (seed, stream, counter), so that a draw depends on what is drawn and on nothing else.
//!
//! No generator state is ever shared or carried along: that is what makes results equal on any number of threads or tasks.

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014): a bijection of 64-bit words that mixes well.
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
