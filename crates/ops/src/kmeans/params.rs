//! What to train.

/// How the first centroids are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Init {
    /// `k` different points, all equally likely.
    #[default]
    Random,
    /// Points drawn one by one by their squared distance from those before, the best of 2 + ln k
    /// candidates each time. Costs about as much as `2 + ln k` rounds over 64 k points, and
    /// computes them more slowly.
    PlusPlus,
    /// About 5 k points drawn by squared distance in five rounds, and k of them by k-means++. Costs
    /// about as much as five rounds over 64 k points.
    Parallel,
}

/// What to train.
#[derive(Clone, Copy, Debug)]
pub struct KMeans {
    /// Clusters; no more than points.
    pub k: usize,
    /// Rounds of assignment and update at most; fewer are made when the centroids stay as they are.
    pub iterations: usize,
    /// Rounds also end when one lowers the potential by no more than this share of it.
    pub tolerance: f64,
    /// Runs from different first centroids; the one of least potential counts.
    pub starts: usize,
    /// Of the first centroids and of repairs.
    pub seed: u64,
    /// Whether centroids are scaled to norm 1 after each update (for points of norm 1: clustering
    /// by cosine).
    pub spherical: bool,
    /// The choice of first centroids.
    pub init: Init,
    /// Further runs, each on the points nearest to the centroids of the one before.
    pub resamplings: usize,
    /// How many of these nearest points a centroid.
    pub nearest: usize,
}

impl Default for KMeans {
    fn default() -> Self {
        Self {
            k: 1,
            iterations: 20,
            tolerance: 0.0,
            starts: 1,
            seed: 0,
            spherical: false,
            init: Init::Random,
            resamplings: 0,
            nearest: 1,
        }
    }
}
