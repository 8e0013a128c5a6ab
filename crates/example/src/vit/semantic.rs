//! The semantic model: which textures and colours a picture is made of, nearly wherever they are.
//!
//! Tokens are colour means and Gabor responses; the block's MLP turns the responses into energies
//! and the colours into soft bins; the head pools tokens over a few broad waves of position,
//! centres, and normalises.

use std::f64::consts::PI;

use super::block::{Block, Patches, random};
use super::filter::{Filter, OPPONENTS};
use super::graph::{Graph, Matrix};
use lvd_kernels::hash::Draw;

/// Side of the input.
pub const SIDE: usize = 96;
/// Length of the embedding.
pub const DIM: usize = 256;

const PATCH: usize = 16;
const STEP: usize = 8;
const GRID: usize = (SIDE - PATCH) / STEP + 1;
const WIDTH: usize = 128;

/// Wavelengths of the luminance Gabors in pixels, each with its gain against the 1/f spectrum.
const WAVES: [(f64, f64); 3] = [(3.5, 4.0), (6.0, 2.4), (11.0, 1.3)];
const ORIENTATIONS: usize = 6;
/// Filters: 3 colour means, even and odd luminance Gabors, even and odd colour Gabors of 2
/// orientations.
const GABORS: usize = WAVES.len() * ORIENTATIONS;
const COLOUR_EDGES: usize = 4;
const FILTERS: usize = 3 + 2 * GABORS + 2 * COLOUR_EDGES;
const BINS: usize = 39;
/// Features of a token: its colours, energies and bins.
const FEATURES: usize = 3 + GABORS + COLOUR_EDGES + BINS;
/// How many pooling functions.
const POOLS: usize = 4;

/// Mean of every feature over photographs and drawings of many kinds: subtracted, so that unrelated
/// pictures are near cosine 0.
const MEANS: [f32; FEATURES] = [
    -0.08, 0.02, -0.03, 0.89, 0.54, 0.52, 0.92, 0.53, 0.56, 1.03, 0.87, 0.84, 1.16, 0.85, 0.89, 1.01, 0.95, 0.99, 1.15,
    0.99, 0.96, 0.52, 0.51, 0.45, 0.51, 0.74, 1.18, 0.41, 0.66, 0.20, 0.31, 0.04, 0.49, 0.15, 0.37, 0.65, 0.19, -0.00,
    0.24, 0.45, 0.41, 0.13, 0.41, 0.53, 0.48, 0.19, 0.49, 0.57, 0.35, 0.07, 0.39, 0.46, 0.24, 0.03, 0.32, 0.37, 0.61,
    0.14, 0.44, 0.63, 0.74, 0.29, 0.54, 0.79,
];

/// The model file's bytes.
pub fn build() -> Vec<u8> {
    let mut graph = Graph::new("semantic", "pixels", &[3, SIDE, SIDE]);
    let filters = filters();
    let places = FILTERS + FEATURES - 3;
    let patches = Patches { filters: &filters, width: WIDTH, size: PATCH, step: STEP, grid: GRID, places };
    let tokens = patches.embed(&mut graph, "pixels");
    let tokens = block().apply(&mut graph, &tokens);
    let pools = Matrix::new(POOLS, GRID * GRID, pool);
    let pools = graph.floats(&[POOLS, GRID * GRID], &pools.data);
    let pooled = graph.node("MatMul", &[&pools, &tokens], vec![]);
    let flat = graph.reshape(&pooled, &[0, -1]);
    let head = Matrix::new(POOLS * WIDTH, DIM, |row, feature| {
        let (pool, feature) = (feature / FEATURES, feature % FEATURES);
        let channel = if feature < 3 { feature } else { FILTERS - 3 + feature };
        if row == pool * WIDTH + channel { gain(pool, feature) } else { 0.0 }
    });
    let bias =
        Matrix::new(1, DIM, |_, feature| MEANS.get(feature).map_or(0.0, |&mean| -gain(0, feature) * f64::from(mean)));
    let out = graph.linear(&flat, &head, &bias.data);
    graph.finish(&out, "embedding", &[DIM], "lvd example: texture and colour statistics")
}

/// How much a feature of a pool counts: the colour bins overlap, and where things are says more
/// than how much there is.
fn gain(pool: usize, feature: usize) -> f64 {
    let bin = if feature < FEATURES - BINS { 1.0 } else { 0.5 };
    if pool == 0 { bin } else { 2.0 * bin }
}

/// Weight of a token in a pool: everywhere, top against bottom, middle against the rest by height
/// and by width.
#[expect(clippy::cast_precision_loss, reason = "grid positions")]
fn pool(pool: usize, token: usize) -> f64 {
    let wave = |k: f64, at: usize| (PI * k * (at as f64 + 0.5) / GRID as f64).cos();
    let (row, column) = (token / GRID, token % GRID);
    [1.0, wave(1.0, row), wave(2.0, row), wave(2.0, column)][pool] / (GRID * GRID) as f64
}

/// A blurred mean in each opponent colour, then Gabors of luminance, then of the two colours.
#[expect(clippy::cast_precision_loss, reason = "6 angles")]
fn filters() -> Vec<Filter> {
    let means = OPPONENTS.into_iter().map(|colour| Filter::mean(colour, PATCH, 4.0));
    let angles = (0..ORIENTATIONS).map(|angle| PI * angle as f64 / ORIENTATIONS as f64);
    let luminance = WAVES.into_iter().flat_map(|(wavelength, gain)| {
        angles.clone().flat_map(move |angle| Filter::gabors(OPPONENTS[0], PATCH, wavelength, angle, gain))
    });
    let edges = OPPONENTS.into_iter().skip(1).flat_map(|colour| {
        [0.0, PI / 2.0].into_iter().flat_map(move |angle| Filter::gabors(colour, PATCH, 11.0, angle, 2.0))
    });
    means.chain(luminance).chain(edges).collect()
}

/// The block: attention is a small random residue, the MLP makes energies and colour bins in
/// channels of their own.
fn block() -> Block {
    let draw = Draw::new(1, "example/vit/semantic");
    let square = |part: u64, norm: f64| random(WIDTH, WIDTH, norm, draw.within(part));
    let pairs = FILTERS - 3;
    let hidden = 2 * pairs + BINS;
    let up = Matrix::new(WIDTH, hidden, |row, column| match column {
        bin if bin >= 2 * pairs => colour_bin(bin - 2 * pairs)[row.min(3)],
        _ if 3 + column / 2 != row => 0.0,
        _ if column % 2 == 0 => 2.0,
        _ => -2.0,
    });
    #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
    let bias =
        (0..hidden).map(|column| if column < 2 * pairs { 0.0 } else { colour_bin(column - 2 * pairs)[4] as f32 });
    let down = Matrix::new(hidden, WIDTH, |row, column| {
        let target = if row < 2 * pairs { FILTERS + row / 4 } else { FILTERS + pairs / 2 + row - 2 * pairs };
        if target == column { 1.0 } else { 0.0 }
    });
    let bias = bias.collect();
    Block {
        width: WIDTH,
        heads: 4,
        qkv: [square(0, 1.0), square(1, 1.0), square(2, 1.0)],
        out: square(3, 0.01),
        up: (up, bias),
        down: (down, vec![0.0; WIDTH]),
        epsilon: 0.02,
    }
}

/// Direction of a colour bin in (luminance, red-green, blue-yellow, nothing else), and its bias.
#[expect(clippy::cast_precision_loss, reason = "39 bins")]
fn colour_bin(bin: usize) -> [f64; 5] {
    const SLOPE: f64 = 1.0;
    if bin < 7 {
        let sign = if bin.is_multiple_of(2) { SLOPE } else { -SLOPE };
        return [sign, 0.0, 0.0, 0.0, -[0.0, 1.0, 2.0, 3.5][bin / 2]];
    }
    let (hue, kind) = ((bin - 7) / 4, (bin - 7) % 4);
    let angle = PI / 4.0 * hue as f64;
    let light = [0.0, 0.0, 0.8, -0.8][kind];
    let least = [0.3, 2.0, 1.5, 1.5][kind];
    [SLOPE * light, 2.0 * SLOPE * angle.cos(), 2.0 * SLOPE * angle.sin(), 0.0, -least]
}
