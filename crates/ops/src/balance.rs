//! How even counts are: entropy, divergence from the uniform distribution, coverage of the rare.

/// The entropy of a distribution with these counts, in bits; 0 for none.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shares need no more")]
pub fn entropy(counts: &[u64]) -> f64 {
    let total = counts.iter().sum::<u64>() as f64;
    let terms = counts.iter().filter(|&&count| count > 0).map(|&count| {
        let share = count as f64 / total;
        -share * share.log2()
    });
    terms.sum()
}

/// The Kullback-Leibler divergence from the uniform distribution over `groups`, in bits:
/// log2(groups) less the entropy.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shares need no more")]
pub fn kl_to_uniform(counts: &[u64], groups: usize) -> f64 {
    ((groups.max(1) as f64).log2() - entropy(counts)).max(0.0)
}

/// Of the rarer half of the groups in `of`, the share that `counts` has anything of. Groups that
/// are empty in `of` are none.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a share")]
pub fn tail_covered(counts: &[u64], of: &[u64]) -> f64 {
    let mut groups: Vec<usize> = (0..of.len()).filter(|&group| of[group] > 0).collect();
    groups.sort_by_key(|&group| (of[group], group));
    groups.truncate(groups.len().div_ceil(2));
    let covered = groups.iter().filter(|&&group| counts[group] > 0).count();
    covered as f64 / groups.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_counts_have_the_most_entropy() {
        assert!((entropy(&[5; 8]) - 3.0).abs() < 1e-12);
        assert!((entropy(&[3, 1]) - 0.811_278).abs() < 1e-6);
        assert!(entropy(&[7, 0, 0]).abs() < 1e-12 && entropy(&[]).abs() < 1e-12);
        assert!((kl_to_uniform(&[7, 0, 0, 0], 4) - 2.0).abs() < 1e-12);
        assert!(kl_to_uniform(&[1; 10], 10).abs() < 1e-12);
    }

    #[test]
    fn the_tail_is_the_rarer_half() {
        // Rarest first: groups 3, 1 (of 0, 1, 3); group 2 is in no pool.
        assert!((tail_covered(&[9, 0, 0, 1], &[100, 5, 0, 2]) - 0.5).abs() < 1e-12);
        assert!((tail_covered(&[0, 1, 0, 1], &[100, 5, 0, 2]) - 1.0).abs() < 1e-12);
    }
}
