//! Vectors that are hard for copy detection: clouds of very different sizes, a seventh of all
//! vectors copies of others, half of these at cosines just above the threshold.

use lvd_kernels::dot::{dot, normalise};
use lvd_kernels::hash::Draw;
use rayon::prelude::*;

/// The least cosine of a copy to its source.
const LEAST: f64 = 0.6;
/// Directions in which vectors differ: embeddings fill far fewer dimensions than they have.
const DIRECTIONS: usize = 128;
/// Branches of the tree at each fork, and how much shorter a level's directions are than those of
/// the level before.
const BRANCHES: u64 = 16;
const FINER: f32 = 0.7;
/// Crowds of the mixed kind, some far larger than others.
const CROWDS: f64 = 8.0;

/// A recipe for `n` vectors: any of them can be made alone.
pub struct Clouds {
    n: usize,
    d: usize,
    kind: Kind,
    draw: Draw,
    /// `DIRECTIONS` x d.
    directions: Vec<f32>,
    /// The clouds' centres.
    centres: Vec<Vec<f32>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Clouds and copies in all dimensions, with nothing in common between any two clouds.
    Clouds,
    /// The same, with the clouds at the leaves of a tree: near clouds share most of what far ones
    /// share little of.
    Nested,
    /// The same in a quarter of the dimensions: far more vectors are nearly as near as a copy.
    Narrow,
    /// All vectors at a cosine of 0.98 to one.
    Tight,
    /// Every second vector at a cosine of 0.98 to one of a few, the others as in clouds.
    Mixed,
    /// One vector.
    Equal,
}

impl Clouds {
    pub fn new(n: usize, d: usize, seed: u64, kind: &str) -> Result<Self, String> {
        let kind = match kind {
            "clouds" => Kind::Clouds,
            "nested" => Kind::Nested,
            "narrow" => Kind::Narrow,
            "tight" => Kind::Tight,
            "mixed" => Kind::Mixed,
            "equal" => Kind::Equal,
            other => return Err(format!("there is no kind {other:?}")),
        };
        let draw = Draw::new(seed, "clouds");
        let mut clouds = Self { n, d, kind, draw, directions: Vec::new(), centres: Vec::new() };
        clouds.directions = (0..DIRECTIONS as u64).flat_map(|i| clouds.noise(u64::MAX - i)).collect();
        let centre = |cloud| if kind == Kind::Nested { clouds.leaf(cloud) } else { clouds.within(cloud, 1) };
        clouds.centres = (0..clouds.count()).into_par_iter().map(centre).collect();
        Ok(clouds)
    }

    /// Writes vector `row`.
    pub fn write(&self, row: usize, vector: &mut [f32]) {
        match self.kind {
            Kind::Equal => self.original(0, vector),
            Kind::Tight => {
                self.original(0, vector);
                self.turn(vector, 0.98, row as u64);
            }
            Kind::Mixed if row % 2 == 1 => {
                let crowd = self.draw.within(row as u64).unit(0).powi(2) * CROWDS;
                self.original(crowd as usize, vector);
                self.turn(vector, 0.98, row as u64);
            }
            Kind::Clouds | Kind::Nested | Kind::Narrow | Kind::Mixed => {
                self.original(row, vector);
                let draw = self.draw.within(row as u64);
                if row > 0 && draw.unit(0) < 1.0 / 7.0 {
                    self.original((draw.bits(1) % self.n as u64) as usize, vector);
                    // Half of the copies within 0.05 of the threshold.
                    let span = if draw.bits(2).is_multiple_of(2) { 0.05 } else { 0.39 };
                    self.turn(vector, LEAST + span * draw.unit(3), row as u64);
                }
            }
        }
    }

    /// A vector that is no copy: a cloud's centre, and more of its own.
    fn original(&self, row: usize, vector: &mut [f32]) {
        let draw = self.draw.within(row as u64);
        // The clouds' sizes fall off as a power: squares of a uniform draw.
        let cloud = (draw.unit(10).powi(2) * self.count() as f64) as usize;
        let (centre, own) = (&self.centres[cloud], self.within(row as u64, 2));
        for (k, x) in vector.iter_mut().enumerate() {
            *x = centre[k] + 1.2 * own[k];
        }
        assert!(normalise(vector), "no direction");
    }

    /// How many clouds there are.
    fn count(&self) -> u64 {
        (self.n / 100).max(1) as u64
    }

    /// The centre of a leaf of the tree: a direction of each of its branches', the finer the
    /// shorter.
    fn leaf(&self, cloud: u64) -> Vec<f32> {
        let leaves = self.count();
        let (mut centre, mut weight) = (vec![0.0; self.d], 1.0);
        let (mut branches, mut level) = (BRANCHES, 5);
        while branches < leaves * BRANCHES {
            let branch = self.noise((level << 56) ^ (cloud * branches.min(leaves) / leaves));
            centre.iter_mut().zip(&branch).for_each(|(x, b)| *x += weight * b);
            (branches, level, weight) = (branches * BRANCHES, level + 1, weight * FINER);
        }
        assert!(normalise(&mut centre), "no direction");
        centre
    }

    /// Turns a unit vector to where its old self has cosine `cosine`, in a direction of its own.
    fn turn(&self, vector: &mut [f32], cosine: f64, seed: u64) {
        let mut away = self.noise(seed);
        let along = dot(&away, vector);
        away.iter_mut().zip(vector.iter()).for_each(|(a, v)| *a -= along * v);
        assert!(normalise(&mut away), "no direction");
        let across = (1.0 - cosine * cosine).sqrt() as f32;
        vector.iter_mut().zip(&away).for_each(|(v, a)| *v = cosine as f32 * *v + across * a);
        normalise(vector);
    }

    /// A unit vector; of the narrow kind in the subspace, with a little outside.
    fn within(&self, of: u64, purpose: u64) -> Vec<f32> {
        if self.kind != Kind::Narrow {
            return self.noise(purpose << 56 ^ of);
        }
        let draw = self.draw.within(purpose << 56 | of);
        let mut vector = vec![0.0; self.d];
        for (i, direction) in self.directions.chunks(self.d).enumerate() {
            // Later directions matter less, as in a spectrum.
            let weight = (draw.unit(i as u64) as f32 - 0.5) / (1.0 + i as f32 / 32.0);
            vector.iter_mut().zip(direction).for_each(|(x, d)| *x += weight * d);
        }
        normalise(&mut vector);
        for (k, x) in vector.iter_mut().enumerate() {
            *x += (draw.unit(1000 + k as u64) as f32 - 0.5) * 0.6 / (self.d as f32).sqrt();
        }
        normalise(&mut vector);
        vector
    }

    fn noise(&self, of: u64) -> Vec<f32> {
        let draw = self.draw.within(4 << 56 ^ of);
        let mut vector: Vec<f32> = (0..self.d as u64).map(|k| draw.unit(k) as f32 - 0.5).collect();
        normalise(&mut vector);
        vector
    }
}
