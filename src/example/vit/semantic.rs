//! The semantic model: which textures and colours a picture is made of, nearly wherever they are.
//!
//! Tokens are colour means and Gabor responses; the block's MLP turns the responses into energies and the colours into
//! soft bins; the head pools tokens over a few broad waves of position, centres, and normalises.

use std::f64::consts::PI;

use super::block::{Block, Patches, random};
use super::copy::OPPONENTS;
use super::graph::{Graph, Matrix};
use crate::ops::hash::Draw;

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
/// Filters: 3 colour means, even and odd luminance Gabors, even and odd colour Gabors of 2 orientations.
const GABORS: usize = WAVES.len() * ORIENTATIONS;
const COLOUR_EDGES: usize = 4;
const FILTERS: usize = 3 + 2 * GABORS + 2 * COLOUR_EDGES;
const BINS: usize = 40;
/// How many pooling functions.
const POOLS: usize = 4;

/// The model file's bytes.
pub fn build() -> Vec<u8> {
    let mut graph = Graph::new("semantic", "pixels", &[3, SIDE, SIDE]);
    let patches = Patches { channels: WIDTH, size: PATCH, step: STEP, filter: &patch_filter };
    let tokens = patches.embed(&mut graph, "pixels");
    let tokens = block().apply(&mut graph, &tokens);
    let pools = Matrix::new(POOLS, GRID * GRID, pool);
    let pools = graph.floats(&[POOLS, GRID * GRID], &pools.data);
    let pooled = graph.node("MatMul", &[&pools, &tokens], vec![]);
    let flat = graph.reshape(&pooled, &[0, -1]);
    let turn = random(POOLS * WIDTH, DIM, 1.0, Draw::new(2, "example/vit/semantic"));
    let out = graph.linear(&flat, &turn, &[0.0; DIM]);
    graph.finish(&out, "embedding", &[DIM], "lvd example: texture and colour statistics")
}

/// Weight of a token in a pool: everywhere, top against bottom, middle against the rest by height and by width.
#[expect(clippy::cast_precision_loss, reason = "grid positions")]
fn pool(pool: usize, token: usize) -> f64 {
    let wave = |k: f64, at: usize| (PI * k * (at as f64 + 0.5) / GRID as f64).cos();
    let (row, column) = (token / GRID, token % GRID);
    [1.0, wave(1.0, row), wave(2.0, row), wave(2.0, column)][pool] / (GRID * GRID) as f64
}

/// Filters: a blurred mean in each opponent colour, then Gabors of luminance, then of the two colours.
#[expect(clippy::cast_precision_loss, reason = "pixel positions")]
fn patch_filter(channel: usize, colour: usize, y: usize, x: usize) -> f64 {
    let centre = (PATCH as f64 - 1.0) / 2.0;
    let (x, y) = (x as f64 - centre, y as f64 - centre);
    let window = |sigma: f64| (-(x * x + y * y) / (2.0 * sigma * sigma)).exp() / (2.0 * PI * sigma * sigma);
    if channel < 3 {
        return OPPONENTS[channel][colour] * window(4.0);
    }
    if channel >= FILTERS {
        return 0.0;
    }
    let gabor = |index: usize, orientations: usize, wavelength: f64, gain: f64| {
        let angle = PI * (index / 2 % orientations) as f64 / orientations as f64;
        let sigma = (0.5 * wavelength).clamp(2.0, 4.0);
        let phase = 2.0 * PI * (x * angle.cos() + y * angle.sin()) / wavelength;
        let mean = (-2.0 * (PI * sigma / wavelength).powi(2)).exp();
        2.0 * gain * window(sigma) * if index % 2 == 0 { phase.cos() - mean } else { phase.sin() }
    };
    let index = channel - 3;
    if index < 2 * GABORS {
        let (wavelength, gain) = WAVES[index / (2 * ORIENTATIONS)];
        return OPPONENTS[0][colour] * gabor(index, ORIENTATIONS, wavelength, gain);
    }
    let index = index - 2 * GABORS;
    OPPONENTS[1 + index / COLOUR_EDGES][colour] * gabor(index, 2, 11.0, 2.0)
}

/// The block: attention is a small random residue, the MLP makes energies and colour bins in channels of their own.
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
#[expect(clippy::cast_precision_loss, reason = "40 bins")]
fn colour_bin(bin: usize) -> [f64; 5] {
    const SLOPE: f64 = 1.0;
    if bin < 8 {
        let sign = if bin % 2 == 0 { SLOPE } else { -SLOPE };
        return [sign, 0.0, 0.0, 0.0, -[0.0, 1.0, 2.0, 3.5][bin / 2]];
    }
    let (hue, kind) = ((bin - 8) / 4, (bin - 8) % 4);
    let angle = PI / 4.0 * hue as f64;
    let light = [0.0, 0.0, 0.8, -0.8][kind];
    let least = [0.3, 2.0, 1.5, 1.5][kind];
    [SLOPE * light, 2.0 * SLOPE * angle.cos(), 2.0 * SLOPE * angle.sin(), 0.0, -least]
}
