//! The copy-detection model: where the light and dark parts of a picture lie.
//!
//! Tokens are patch means in luminance and two opponent colours; the head is their cosine transform over the picture,
//! whitened against the 1/f spectrum of natural pictures, normalised (so that brightness and contrast cancel) and
//! soft-clipped (so that no single frequency decides).

use std::f64::consts::PI;

use super::block::{Block, Patches, random};
use super::graph::{Graph, Matrix};
use crate::ops::hash::Draw;

/// Side of the input.
pub const SIDE: usize = 64;
/// Length of the embedding.
pub const DIM: usize = 128;

const PATCH: usize = 8;
const GRID: usize = SIDE / PATCH;
const WIDTH: usize = 32;
/// Weights of red, green and blue in luminance, red-green and blue-yellow.
pub const OPPONENTS: [[f64; 3]; 3] = [[0.299, 0.587, 0.114], [0.5, -0.5, 0.0], [-0.25, -0.25, 0.5]];

/// The model file's bytes.
pub fn build() -> Vec<u8> {
    let mut graph = Graph::new("copy", "pixels", &[3, SIDE, SIDE]);
    let filter = |channel: usize, colour: usize, y: usize, x: usize| patch_filter(channel, colour, y, x);
    let patches = Patches { channels: WIDTH, size: PATCH, step: PATCH, filter: &filter };
    let tokens = patches.embed(&mut graph, "pixels");
    let tokens = graph.add(&tokens, &[GRID * GRID, WIDTH], &positions());
    let tokens = block().apply(&mut graph, &tokens);
    let flat = graph.reshape(&tokens, &[0, -1]);
    let coefficients = frequencies();
    let count = coefficients.len();
    let transform = Matrix::new(GRID * GRID * WIDTH, count, |row, column| {
        let (token, channel) = (row / WIDTH, row % WIDTH);
        coefficients[column].weight(channel, token / GRID, token % GRID)
    });
    let whitened = graph.linear(&flat, &transform, &vec![0.0; count]);
    let normed = graph.layer_norm(&whitened, count, 1e-6);
    let clipped = clip(&mut graph, &normed, count);
    graph.finish(&clipped, "embedding", &[DIM], "lvd example: copy detection by whitened layout")
}

/// One number of the transform: a wave of the picture in one colour channel.
struct Coefficient {
    channel: usize,
    u: usize,
    v: usize,
    gain: f64,
}

impl Coefficient {
    #[expect(clippy::cast_precision_loss, reason = "grid positions")]
    fn weight(&self, channel: usize, row: usize, column: usize) -> f64 {
        if channel != self.channel || row >= ROWS {
            return 0.0;
        }
        let wave = |k: usize, at: usize, n: usize| (PI * k as f64 * (at as f64 + 0.5) / n as f64).cos();
        self.gain * wave(self.u, row, ROWS) * wave(self.v, column, GRID)
    }
}

/// Rows of tokens that count: the lowest is where captions are.
const ROWS: usize = GRID - 1;

#[expect(clippy::cast_precision_loss, reason = "frequencies below 8")]
fn frequencies() -> Vec<Coefficient> {
    let mut all = Vec::new();
    for (channel, highest, share) in [(0, 6.5, 1.0), (1, 2.5, 0.5), (2, 2.5, 0.5)] {
        for (u, v) in (0..ROWS).flat_map(|u| (0..GRID).map(move |v| (u, v))) {
            let frequency = ((u * u + v * v) as f64).sqrt();
            if frequency <= highest && frequency > 0.0 {
                all.push(Coefficient { channel, u, v, gain: share * frequency });
            }
        }
    }
    all
}

fn patch_filter(channel: usize, colour: usize, _y: usize, _x: usize) -> f64 {
    OPPONENTS.get(channel).map_or(0.0, |weights| weights[colour] / (PATCH * PATCH) as f64)
}

/// Position embedding [T, WIDTH]: waves in the upper half of the channels.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers; weights are f32")]
fn positions() -> Vec<f32> {
    let element = |at: usize| {
        let (token, channel) = (at / WIDTH, at % WIDTH);
        let place = if channel % 2 == 0 { token / GRID } else { token % GRID };
        let turn = (channel / 4 % 4 + 1) as f64 * (place as f64 + 0.5) * PI / GRID as f64;
        if channel < WIDTH / 2 { 0.0 } else { 0.2 * if channel % 4 < 2 { turn.sin() } else { turn.cos() } }
    };
    (0..GRID * GRID * WIDTH).map(|at| element(at) as f32).collect()
}

/// A block of random weights whose update stays small beside the tokens.
fn block() -> Block {
    let draw = Draw::new(1, "example/vit/copy");
    let square = |part: u64, norm: f64| random(WIDTH, WIDTH, norm, draw.within(part));
    Block {
        width: WIDTH,
        heads: 4,
        qkv: [square(0, 1.0), square(1, 1.0), square(2, 1.0)],
        out: square(3, 0.01),
        up: (random(WIDTH, 2 * WIDTH, 1.0, draw.within(4)), vec![0.0; 2 * WIDTH]),
        down: (random(2 * WIDTH, WIDTH, 0.01, draw.within(5)), vec![0.0; WIDTH]),
        epsilon: 1e-2,
    }
}

/// gelu(x + a) - gelu(x - a) - a is close to x clipped to [-a, a]: an MLP of two units a number, then a rotation to DIM.
fn clip(graph: &mut Graph, x: &str, count: usize) -> String {
    const SHARPNESS: f64 = 2.0;
    const LIMIT: f32 = 2.0;
    let up = Matrix::new(count, 2 * count, |row, column| if column % count == row { SHARPNESS } else { 0.0 });
    let limits: Vec<f32> = (0..2 * count).map(|column| if column < count { LIMIT } else { -LIMIT }).collect();
    let hidden = graph.linear(x, &up, &limits);
    let hidden = graph.gelu(&hidden);
    let down = Matrix::new(2 * count, count, |row, column| match (row % count == column, row < count) {
        (false, _) => 0.0,
        (true, true) => 1.0,
        (true, false) => -1.0,
    });
    let clipped = graph.linear(&hidden, &down, &vec![-LIMIT; count]);
    let turn = random(count, DIM, 1.0, Draw::new(2, "example/vit/copy"));
    graph.linear(&clipped, &turn, &[0.0; DIM])
}
