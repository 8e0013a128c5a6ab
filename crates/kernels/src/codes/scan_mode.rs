//! How much of the codes a scan multiplies first: sketches, and when they are worth it.

/// Codes of the shortest sketch; the next have twice as many, up to half of all.
const SHORTEST: usize = 128;
/// Codes that take as long to multiply as one row takes to rescore (about 20 ns; by the profile of
/// a join).
const RESCORE: f32 = 5000.0;
/// How many standard deviations a sketch may be off before it misses a pair: one in 700 just at the
/// floor, fewer above.
const DEVIATIONS: f32 = 3.0;
/// How far the products of unlike pairs are spread by themselves.
const SPREAD: f32 = 0.05;

/// How much of the codes a scan multiplies first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScanMode {
    /// All of them: no pair is missed.
    Full,
    /// The first so many ([`sketches`]), then all of them where these are near enough. For vectors
    /// that were turned in a random way ([`crate::rotate`]), of which any part is like the whole.
    Sketch(usize),
}

/// The lengths of sketches of vectors of `width` numbers.
pub fn sketches(width: usize) -> impl Iterator<Item = usize> {
    (0..).map(|doubled| SHORTEST << doubled).take_while(move |codes| 2 * codes <= width)
}

impl ScanMode {
    /// The mode in which a scan is the least work, of vectors of `width` numbers that were turned:
    /// products from `wanted` on are looked for, those of unlike pairs lie about `unlike`, and the
    /// squares of the norms of what is coded have a product of `squares`. The longer a sketch, the
    /// fewer pairs are rescored.
    #[must_use]
    pub fn cheapest(width: usize, wanted: f32, unlike: f32, squares: f32) -> Self {
        let work = |codes: usize| {
            let spread = deviation(codes, width, squares, unlike).hypot(SPREAD);
            let above = wanted - DEVIATIONS * deviation(codes, width, squares, wanted) - unlike;
            ratio(codes, 1) + RESCORE * upper_tail(above / spread)
        };
        // A rotation of an odd number of dimensions mixes nothing (`Rotation::new`).
        let least = sketches(width)
            .filter(|_| width.is_multiple_of(2))
            .map(|codes| (work(codes), codes))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        least.filter(|&(work, _)| work < ratio(width, 1)).map_or(Self::Full, |(_, codes)| Self::Sketch(codes))
    }
}

/// How much less than a product `s` its estimate from a sketch may be, of vectors of `width`
/// numbers the squares of whose norms have the product `squares`; beyond what Cauchy and Schwarz
/// allow, `s` counts no more.
pub fn slack(codes: usize, width: usize, squares: f32, s: f32) -> f32 {
    DEVIATIONS * deviation(codes, width, squares, s)
}

/// How much a product of a unit vector with a row may be off that is coded with an error of norm
/// `error`: the error points anywhere.
pub fn rounding(error: f32, width: usize) -> f32 {
    DEVIATIONS * error / ratio(width, 1).sqrt()
}

/// What a sum of sketched products is multiplied with for an estimate of the whole.
pub fn gain(codes: usize, width: usize) -> f32 {
    ratio(width, codes)
}

/// The standard deviation of an estimate: for a random rotation, the variance is
/// (1 - m/d) (|a|^2 |b|^2 + s^2) / m, of m numbers out of d.
fn deviation(codes: usize, width: usize, squares: f32, s: f32) -> f32 {
    let share = (1.0 - ratio(codes, width)).max(0.0) / ratio(codes, 1);
    (share * (squares + (s * s).min(squares))).sqrt()
}

/// The share of a normal distribution that lies `z` deviations above its mean or farther, to some
/// hundredths of it up to three; below the mean, half.
fn upper_tail(z: f32) -> f32 {
    let z = z.max(0.0);
    0.5 * (-0.717 * z - 0.416 * z * z).exp()
}

#[expect(clippy::cast_precision_loss, reason = "dimensions are small")]
fn ratio(a: usize, b: usize) -> f32 {
    a as f32 / b as f32
}
