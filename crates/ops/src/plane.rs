//! The plane in which vectors vary most: their first two principal components, by orthogonal
//! iteration (Golub and Van Loan, section 8.2). Sums are in a fixed order.

/// Rounds: enough for a picture.
const ROUNDS: usize = 100;

/// The places of vectors (n x d, row-major) in the plane in which they vary most, about their mean:
/// the first number varies more than the second. The first vector that is not in the middle has no
/// negative number, so that a mirrored plane is the same one. Cost: 400 n d.
///
/// # Panics
/// When the length of `vectors` is not a multiple of `d`.
#[must_use]
pub fn plane(vectors: &[f32], d: usize) -> Vec<[f64; 2]> {
    assert!(d > 0 && vectors.len().is_multiple_of(d), "{} numbers are not rows of {d}", vectors.len());
    let centred = centred(vectors, d);
    // Any start will do that is not square to the plane.
    let mut axes: [Vec<f64>; 2] = [start(d, 0.0), start(d, 0.5)];
    for _ in 0..ROUNDS {
        let mut sums = [vec![0.0; d], vec![0.0; d]];
        for row in centred.chunks_exact(d) {
            for (sums, axis) in sums.iter_mut().zip(&axes) {
                let along = dot(row, axis);
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += along * x);
            }
        }
        let [first, second] = &mut sums;
        normalise(first);
        let along = dot(first, second);
        second.iter_mut().zip(first.iter()).for_each(|(x, other)| *x -= along * other);
        normalise(second);
        axes = sums;
    }
    let mut places: Vec<[f64; 2]> =
        centred.chunks_exact(d).map(|row| [dot(row, &axes[0]), dot(row, &axes[1])]).collect();
    for axis in 0..2 {
        let first = places.iter().map(|place| place[axis]).find(|x| x.abs() > 1e-9);
        if first.is_some_and(|x| x < 0.0) {
            for place in &mut places {
                place[axis] = -place[axis];
            }
        }
    }
    places
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
fn start(d: usize, phase: f64) -> Vec<f64> {
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
    fn it_is_the_plane_in_which_they_vary_most() {
        let (draw, d) = (Draw::new(1, "plane"), 9);
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let unit = |counter: u64| draw.unit(counter) as f32 - 0.5;
        let spread = [0.1, 3.0, 0.1, 0.2, 0.1, 8.0, 0.1, 0.1, 0.1];
        let vectors: Vec<f32> = (0..600 * d).map(|at| 1.0 + spread[at % d] * unit(at as u64)).collect();
        let places = plane(&vectors, d);
        let centred = centred(&vectors, d);
        let (mut up, mut right) = (1.0, 1.0);
        for (at, (place, row)) in places.iter().zip(centred.chunks(d)).enumerate() {
            if at == 0 {
                (right, up) = (row[5].signum(), row[1].signum());
                assert!(place.iter().all(|&x| x >= 0.0), "{place:?}");
            }
            assert!((place[0] - right * row[5]).abs() < 0.2, "{place:?} {row:?}");
            assert!((place[1] - up * row[1]).abs() < 0.2, "{place:?} {row:?}");
        }
    }

    #[test]
    fn vectors_that_are_all_one_lie_in_the_middle() {
        assert_eq!(plane(&[0.5; 12], 3), [[0.0; 2]; 4]);
        assert!(plane(&[], 3).is_empty());
    }
}
