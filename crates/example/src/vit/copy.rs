//! The copy-detection model: where the light, the dark and the textures of a picture lie.
//!
//! Tokens are patch means in luminance and two opponent colours, and Gabor energies. The head takes
//! their cosine transform over the picture, whitens it against the 1/f spectrum of natural
//! pictures, normalises it (brightness and contrast cancel) and clips it softly (no frequency
//! decides alone).

use std::f64::consts::PI;

use super::block::{Block, Patches, clip, random};
use super::filter::{Filter, OPPONENTS};
use super::graph::{Graph, Matrix};
use lvd_kernels::hash::Draw;

/// Side of the input.
pub const SIDE: usize = 72;
/// Length of the embedding.
pub const DIM: usize = 128;

const PATCH: usize = 16;
const STEP: usize = 8;
const GRID: usize = (SIDE - PATCH) / STEP + 1;
/// Rows of tokens that count: captions are in the lowest.
const ROWS: usize = GRID - 1;
/// Wavelengths of the Gabors in pixels.
const WAVES: [f64; 3] = [3.0, 5.0, 9.0];
/// Standard deviation of the windows of the means in pixels: wide enough that fine patterns do not
/// alias.
const BLUR: f64 = 3.5;
const ANGLES: usize = 4;
/// First Gabor channel (after three means), first energy channel, first position channel, width of
/// a token.
const FIRST_GABOR: usize = 3;
const FIRST_ENERGY: usize = FIRST_GABOR + 2 * WAVES.len() * ANGLES;
const FIRST_PLACE: usize = FIRST_ENERGY + WAVES.len() * ANGLES;
const WIDTH: usize = 48;

/// The model file's bytes.
pub fn build() -> Vec<u8> {
    let mut graph = Graph::new("copy", "pixels", &[3, SIDE, SIDE]);
    let filters = filters();
    let patches = Patches { filters: &filters, width: WIDTH, size: PATCH, step: STEP, grid: GRID, places: FIRST_PLACE };
    let tokens = patches.embed(&mut graph, "pixels");
    let tokens = block().apply(&mut graph, &tokens);
    let flat = graph.reshape(&tokens, &[0, -1]);
    let features: Vec<Feature> = layout().chain(texture()).collect();
    assert_eq!(features.len(), DIM, "the frequencies kept do not fill the embedding");
    let transform = Matrix::new(GRID * GRID * WIDTH, DIM, |row, feature| {
        let (token, channel) = (row / WIDTH, row % WIDTH);
        features[feature].weight(channel, token / GRID, token % GRID)
    });
    let whitened = graph.linear(&flat, &transform, &[0.0; DIM]);
    let normed = graph.layer_norm(&whitened, DIM, 1e-6);
    let clipped = clip(&mut graph, &normed, DIM, 0.5);
    graph.finish(&clipped, "embedding", &[DIM], "lvd example: copy detection by whitened layout")
}

/// One number of the transform: a mix of channels times a wave over the picture.
struct Feature {
    mix: [f64; WIDTH],
    down: usize,
    across: usize,
    gain: f64,
}

impl Feature {
    #[expect(clippy::cast_precision_loss, reason = "grid positions")]
    fn weight(&self, channel: usize, row: usize, column: usize) -> f64 {
        if row >= ROWS {
            return 0.0;
        }
        let wave = |k: usize, at: usize, n: usize| (PI * k as f64 * (at as f64 + 0.5) / n as f64).cos() / n as f64;
        self.gain * self.mix[channel] * wave(self.down, row, ROWS) * wave(self.across, column, GRID)
    }
}

/// The means' waves, up to a highest frequency for each channel; horizontal layers, which
/// landscapes share, count less.
#[expect(clippy::cast_precision_loss, reason = "frequencies below 8")]
fn layout() -> impl Iterator<Item = Feature> {
    [(0, 7.62, 1.0), (1, 3.2, 0.7), (2, 3.2, 0.7)].into_iter().flat_map(|(channel, highest, share)| {
        let waves = (0..ROWS).flat_map(|down| (0..GRID).map(move |across| (down, across)));
        waves.filter_map(move |(down, across)| {
            let frequency = (down as f64).hypot(across as f64);
            let layers = if across == 0 { if down == 1 { 0.46 } else { 0.6 } } else { 1.0 };
            let mix = std::array::from_fn(|c| if c == channel { 1.0 } else { 0.0 });
            let kept = frequency > 0.0 && frequency <= highest;
            kept.then_some(Feature { mix, down, across, gain: share * layers * frequency.powf(1.2) })
        })
    })
}

/// Orientation and scale of the energies, over the whole picture and in its broadest waves.
fn texture() -> impl Iterator<Item = Feature> {
    const GAIN: f64 = 0.35;
    let energies = |weight: &dyn Fn(usize, usize) -> f64| -> [f64; WIDTH] {
        std::array::from_fn(|c| match c.checked_sub(FIRST_ENERGY) {
            Some(energy) if energy < WAVES.len() * ANGLES => weight(energy / ANGLES, energy % ANGLES),
            _ => 0.0,
        })
    };
    let one = |scale: usize, other: usize, weight: f64| if scale == other { weight } else { 0.0 };
    let mut mixes = vec![
        energies(&|scale, _| 0.5 * (one(scale, 0, 1.0) - one(scale, 1, 0.6))),
        energies(&|scale, _| 0.5 * (one(scale, 2, 1.0) - one(scale, 1, 1.7))),
    ];
    for chosen in 0..WAVES.len() {
        let axes = [[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, -1.0], [1.0, -1.0, 1.0, -1.0]];
        mixes.extend(axes.map(|axis| energies(&|scale, angle| one(scale, chosen, axis[angle]))));
    }
    let waves = [(0, 0), (1, 0), (0, 1), (2, 0), (0, 2)];
    waves.into_iter().flat_map(move |(down, across)| {
        mixes.clone().into_iter().map(move |mix| Feature { mix, down, across, gain: GAIN })
    })
}

/// A mean in each opponent colour, then Gabors of luminance.
#[expect(clippy::cast_precision_loss, reason = "4 angles")]
fn filters() -> Vec<Filter> {
    let means = OPPONENTS.into_iter().map(|colour| Filter::mean(colour, PATCH, BLUR));
    let angles = (0..ANGLES).map(|angle| PI * angle as f64 / ANGLES as f64);
    let gabors = WAVES.into_iter().flat_map(|wavelength| {
        angles.clone().flat_map(move |angle| Filter::gabors(OPPONENTS[0], PATCH, wavelength, angle, 1.0))
    });
    means.chain(gabors).collect()
}

/// The block: attention is a small random residue, the MLP turns pairs of Gabor responses into
/// energies.
fn block() -> Block {
    const SHARPNESS: f64 = 40.0;
    let draw = Draw::new(1, "example/vit/copy");
    let square = |part: u64, norm: f64| random(WIDTH, WIDTH, norm, draw.within(part));
    let hidden = 2 * (FIRST_ENERGY - FIRST_GABOR);
    let sign = |unit: usize| if unit.is_multiple_of(2) { SHARPNESS } else { -SHARPNESS };
    let up = Matrix::new(WIDTH, hidden, |row, unit| if FIRST_GABOR + unit / 2 == row { sign(unit) } else { 0.0 });
    let share = |unit: usize, column: usize| if FIRST_ENERGY + unit / 4 == column { 0.5 / SHARPNESS } else { 0.0 };
    Block {
        width: WIDTH,
        heads: 4,
        qkv: [square(0, 1.0), square(1, 1.0), square(2, 1.0)],
        out: square(3, 0.005),
        up: (up, vec![0.0; hidden]),
        down: (Matrix::new(hidden, WIDTH, share), vec![0.0; WIDTH]),
        epsilon: 0.25,
    }
}
