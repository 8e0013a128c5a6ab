//! How well a similarity tells copies from others: precision, recall and micro average precision
//! over scored pairs.
//!
//! All query-reference pairs are ranked together by score, as in the image similarity challenge
//! (Douze et al. 2021, arXiv 2106.09672). The right pairs are few and kept; the wrong ones may be
//! billions and are only counted, between bounds that are fixed before the first is seen. With the
//! right pairs' scores among the bounds, the counts are all that average precision needs: nothing
//! is approximated, and counts of blocks add up in any order.

/// Places of the table that finds a score's bounds.
const BUCKETS: usize = 1 << 15;
/// Scores are cosines or differences of two: between -2 and 2.
const SPAN: f32 = 2.0;

/// Distinct scores in ascending order, between which others are counted.
#[derive(Clone, Debug)]
pub struct Bounds {
    values: Vec<f32>,
    /// For each bucket of scores, the first bound in it or beyond; one more at the end.
    first: Vec<u32>,
}

impl Bounds {
    /// The bounds among `values`, in any order, repeated or not. A NaN is left out.
    ///
    /// # Panics
    /// With 2^32 bounds or more.
    #[must_use]
    pub fn new(mut values: Vec<f32>) -> Self {
        values.retain(|value| !value.is_nan());
        // Zeros of both signs are one score.
        for value in &mut values {
            *value += 0.0;
        }
        values.sort_unstable_by(f32::total_cmp);
        values.dedup_by(|a, b| a.total_cmp(b).is_eq());
        let first = (0..=BUCKETS).map(|wanted| values.partition_point(|&value| bucket(value) < wanted));
        let first = first.map(|place| u32::try_from(place).expect("fewer than 2^32 bounds")).collect();
        Self { values, first }
    }

    /// The bounds, ascending.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// How many bounds are at or below `score`; 0 for a NaN.
    #[must_use]
    pub fn at_or_below(&self, score: f32) -> usize {
        let bucket = bucket(score);
        let (from, to) = (self.first[bucket] as usize, self.first[bucket + 1] as usize);
        from + self.values[from..to].partition_point(|&value| value <= score)
    }
}

/// The bucket of a score: equal or higher scores have equal or higher buckets. A NaN goes to the
/// first.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "clamped")]
fn bucket(score: f32) -> usize {
    (((score + SPAN) * (BUCKETS as f32 / (2.0 * SPAN))).max(0.0) as usize).min(BUCKETS - 1)
}

/// Counts of scores between bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Place i: scores with exactly i bounds at or below them.
    counts: Vec<u64>,
}

impl Tally {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(bounds: &Bounds) -> Self {
        Self { counts: vec![0; bounds.values.len() + 1] }
    }

    /// Counts one score; a NaN is below every bound.
    pub fn add(&mut self, bounds: &Bounds, score: f32) {
        self.counts[bounds.at_or_below(score)] += 1;
    }

    /// Adds the counts of another tally over the same bounds.
    ///
    /// # Panics
    /// When the bounds are not as many.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.counts.len(), other.counts.len(), "tallies of the same bounds are added");
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
    }

    /// Scores that have at least so many bounds at or below them.
    #[must_use]
    pub fn at_or_over(&self, bounds: usize) -> u64 {
        self.counts[bounds..].iter().sum()
    }

    /// Place i: scores at or over bound i.
    fn at_least(&self) -> Vec<u64> {
        let mut sum = 0;
        let mut from_above: Vec<u64> = self
            .counts
            .iter()
            .skip(1)
            .rev()
            .map(|count| {
                sum += count;
                sum
            })
            .collect();
        from_above.reverse();
        from_above
    }
}

/// The pairs at or over one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairCount {
    /// Right ones.
    pub right: u64,
    /// Wrong ones.
    pub wrong: u64,
}

impl PairCount {
    /// Share of the pairs found that are right; 1 when none is found.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
    pub fn precision(self) -> f64 {
        if self.right + self.wrong == 0 { 1.0 } else { self.right as f64 / (self.right + self.wrong) as f64 }
    }

    /// Share of `all` right pairs that are found; 1 when there are none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
    pub fn recall(self, all: u64) -> f64 {
        if all == 0 { 1.0 } else { self.right as f64 / all as f64 }
    }
}

/// What is found at every bound.
#[derive(Clone, Debug)]
pub struct Curve<'a> {
    bounds: &'a Bounds,
    right: Vec<u64>,
    wrong: Vec<u64>,
    all: u64,
}

impl<'a> Curve<'a> {
    /// The curve of right pairs by their scores, and of wrong ones that were counted.
    #[must_use]
    pub fn new(bounds: &'a Bounds, right: &[f32], wrong: &Tally) -> Self {
        let mut counted = Tally::new(bounds);
        for &score in right {
            counted.add(bounds, score);
        }
        Self { bounds, right: counted.at_least(), wrong: wrong.at_least(), all: right.len() as u64 }
    }

    /// The pairs at or over `threshold`, which must be one of the bounds: between them, what lies
    /// at the next bound above.
    #[must_use]
    pub fn at(&self, threshold: f32) -> PairCount {
        let place = self.bounds.values.partition_point(|&bound| bound < threshold);
        let count = |counts: &[u64]| counts.get(place).copied().unwrap_or(0);
        PairCount { right: count(&self.right), wrong: count(&self.wrong) }
    }

    /// Micro average precision: the precision at the score of each right pair, averaged over all
    /// right pairs. Pairs of one score are found together, so that the order of ties does not
    /// matter. 1 when there is no right pair. The scores of all right pairs must be bounds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
    pub fn average_precision(&self) -> f64 {
        if self.all == 0 {
            return 1.0;
        }
        let mut sum = 0.0;
        let mut above = 0;
        for (&right, &wrong) in self.right.iter().zip(&self.wrong).rev() {
            sum += (right - above) as f64 * PairCount { right, wrong }.precision();
            above = right;
        }
        sum / self.all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvd_kernels::hash::Draw;

    /// Scores on a coarse grid, so that many are equal.
    fn scores(n: u64, seed: u64, low: f32, steps: u64) -> Vec<f32> {
        let draw = Draw::new(seed, "ranking");
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        (0..n).map(|i| low + (draw.bits(i) % steps) as f32 / 64.0).collect()
    }

    fn tally(bounds: &Bounds, scores: &[f32]) -> Tally {
        let mut tally = Tally::new(bounds);
        for &score in scores {
            tally.add(bounds, score);
        }
        tally
    }

    /// Average precision by its definition over the ranked list, pairs of one score at once.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn oracle(right: &[f32], wrong: &[f32]) -> f64 {
        let at_least = |scores: &[f32], bound: f32| scores.iter().filter(|&&score| score >= bound).count() as f64;
        let precision = |score: &f32| {
            let (right, wrong) = (at_least(right, *score), at_least(wrong, *score));
            right / (right + wrong)
        };
        right.iter().map(precision).sum::<f64>() / right.len() as f64
    }

    #[test]
    fn average_precision_is_that_of_the_ranked_list() {
        for (rights, wrongs, seed) in [(1, 0, 1), (1, 5, 2), (40, 0, 3), (60, 3000, 4), (500, 500, 5)] {
            let (right, wrong) = (scores(rights, seed, 0.1, 50), scores(wrongs, seed + 10, -0.5, 70));
            let bounds = Bounds::new(right.clone());
            let got = Curve::new(&bounds, &right, &tally(&bounds, &wrong)).average_precision();
            assert!((got - oracle(&right, &wrong)).abs() < 1e-12, "{rights} right, {wrongs} wrong: {got}");
        }
    }

    #[test]
    fn a_list_worked_by_hand() {
        // Ranked: right 0.9, wrong 0.8, right 0.7, wrong 0.6, wrong 0.5, right 0.4: (1/1 + 2/3 +
        // 3/6) / 3.
        let right = [0.9, 0.7, 0.4];
        let bounds = Bounds::new([&right[..], &[0.65]].concat());
        let curve = Curve::new(&bounds, &right, &tally(&bounds, &[0.8, 0.6, 0.5]));
        assert!((curve.average_precision() - (1.0 + 2.0 / 3.0 + 0.5) / 3.0).abs() < 1e-12);
        assert_eq!(curve.at(0.65), PairCount { right: 2, wrong: 1 });
        assert!((curve.at(0.65).recall(3) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(curve.at(0.95), PairCount { right: 0, wrong: 0 });
        assert!((curve.at(0.95).precision() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn counts_at_every_bound_are_those_of_brute_force() {
        let (right, wrong) = (scores(200, 7, -1.9, 240), scores(4000, 8, -2.0, 250));
        let bounds = Bounds::new([right.clone(), vec![-3.0, 0.0, -0.0, 3.0, f32::NAN]].concat());
        let curve = Curve::new(&bounds, &right, &tally(&bounds, &wrong));
        for &bound in bounds.values() {
            let count = |scores: &[f32]| scores.iter().filter(|&&score| score >= bound).count() as u64;
            assert_eq!(curve.at(bound), PairCount { right: count(&right), wrong: count(&wrong) }, "{bound}");
        }
    }

    #[test]
    fn blocks_add_up_and_what_is_no_number_is_never_found() {
        let bounds = Bounds::new(scores(50, 1, -0.4, 60));
        let all = [scores(900, 2, -0.6, 80), vec![f32::NAN, f32::NEG_INFINITY, f32::INFINITY]].concat();
        let mut sum = Tally::new(&bounds);
        for block in all.chunks(100) {
            sum.merge(&tally(&bounds, block));
        }
        assert_eq!(sum, tally(&bounds, &all));
        assert_eq!(bounds.at_or_below(f32::NAN), 0);
        assert_eq!(bounds.at_or_below(f32::INFINITY), bounds.values().len());
    }
}
