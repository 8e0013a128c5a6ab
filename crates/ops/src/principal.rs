//! The directions in which vectors vary most: their first principal components, by orthogonal
//! iteration (Golub and Van Loan, section 8.2). Sums are in a fixed order.

use std::array;

/// Rounds: enough for a picture.
const ROUNDS: usize = 100;

/// The places of vectors (n x d, row-major) along the `K` directions in which they vary most, about
/// their mean, the one of most variance first. Along each, the first vector that is not in the
/// middle has a positive number, so that a mirrored picture is the same one. Cost: 200 K n d.
///
/// # Panics
/// When the length of `vectors` is not a multiple of `d`.
#[must_use]
pub fn principal<const K: usize>(vectors: &[f32], d: usize) -> Vec<[f64; K]> {
    assert!(d > 0 && vectors.len().is_multiple_of(d), "{} numbers are not rows of {d}", vectors.len());
    let centred = centred(vectors, d);
    // Any start will do whose axes are independent and not square to the wanted ones.
    let mut axes: [Vec<f64>; K] = array::from_fn(|axis| start(d, axis));
    for _ in 0..ROUNDS {
        let mut sums: [Vec<f64>; K] = array::from_fn(|_| vec![0.0; d]);
        for row in centred.chunks_exact(d) {
            for (sums, axis) in sums.iter_mut().zip(&axes) {
                let along = dot(row, axis);
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += along * x);
            }
        }
        orthonormalise(&mut sums);
        axes = sums;
    }
    let along = |row: &[f64]| array::from_fn(|axis| dot(row, &axes[axis]));
    let mut places: Vec<[f64; K]> = centred.chunks_exact(d).map(along).collect();
    for axis in 0..K {
        let first = places.iter().map(|place| place[axis]).find(|x| x.abs() > 1e-9);
        if first.is_some_and(|x| x < 0.0) {
            for place in &mut places {
                place[axis] = -place[axis];
            }
        }
    }
    places
}

/// Makes each axis of unit norm and square to those before it (Gram and Schmidt); one that has no
/// direction of its own becomes zero.
fn orthonormalise(axes: &mut [Vec<f64>]) {
    for at in 0..axes.len() {
        let (before, rest) = axes.split_at_mut(at);
        let own = &mut rest[0];
        let whole = dot(own, own);
        for other in before {
            let along = dot(other, own);
            own.iter_mut().zip(other.iter()).for_each(|(x, other)| *x -= along * other);
        }
        if dot(own, own) <= 1e-18 * whole {
            own.fill(0.0);
        }
        normalise(own);
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn centred(vectors: &[f32], d: usize) -> Vec<f64> {
    let mut mean = vec![0.0f64; d];
    for row in vectors.chunks_exact(d) {
        mean.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let n = (vectors.len() / d).max(1) as f64;
    for sum in &mut mean {
        *sum /= n;
    }
    vectors.iter().enumerate().map(|(at, &x)| f64::from(x) - mean[at % d]).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a number of an axis")]
fn start(d: usize, axis: usize) -> Vec<f64> {
    let phase = axis as f64 / 2.0;
    (0..d).map(|at| (1.0 + phase + (at as f64) * (0.7 + phase)).sin()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn normalise(vector: &mut [f64]) {
    let norm = dot(vector, vector).sqrt();
    if norm > 0.0 {
        for x in vector {
            *x /= norm;
        }
    }
}

#[cfg(test)]
mod tests {
    use lvd_kernels::hash::Draw;

    use super::*;

    #[test]
    fn they_are_the_directions_in_which_vectors_vary_most() {
        let (draw, d) = (Draw::new(1, "principal"), 9);
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let unit = |counter: u64| draw.unit(counter) as f32 - 0.5;
        let spread = [0.1, 3.0, 0.1, 0.2, 0.1, 8.0, 0.1, 1.2, 0.1];
        let vectors: Vec<f32> = (0..600 * d).map(|at| 1.0 + spread[at % d] * unit(at as u64)).collect();
        let places = principal::<3>(&vectors, d);
        let centred = centred(&vectors, d);
        let widest = [5, 1, 7];
        let signs = widest.map(|column| centred[column].signum());
        assert!(places[0].iter().all(|&x| x >= 0.0), "{:?}", places[0]);
        for (place, row) in places.iter().zip(centred.chunks(d)) {
            for (axis, &column) in widest.iter().enumerate() {
                assert!((place[axis] - signs[axis] * row[column]).abs() < 0.25, "axis {axis}: {place:?} {row:?}");
            }
        }
        // The first two of three are the first two.
        for (two, three) in principal::<2>(&vectors, d).iter().zip(&places) {
            assert!((0..2).all(|axis| (two[axis] - three[axis]).abs() < 1e-3), "{two:?} {three:?}");
        }
    }

    #[test]
    fn vectors_that_are_all_one_lie_in_the_middle() {
        assert_eq!(principal::<2>(&[0.5; 12], 3), [[0.0; 2]; 4]);
        assert!(principal::<3>(&[], 3).is_empty());
        // Of two numbers there is no third direction.
        assert!(principal::<3>(&[1.0, 0.0, 0.0, 1.0], 2).iter().all(|place| place[2].abs() < 1e-6));
    }
}
