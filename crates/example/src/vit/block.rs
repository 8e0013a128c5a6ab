//! The parts of a Vision Transformer (Dosovitskiy et al. 2021): patch embedding and pre-norm
//! transformer block.
//!
//! They take their weights from the caller; nothing here knows what a model is for.

use std::f64::consts::PI;

use super::filter::Filter;
use super::graph::{Graph, Matrix, Setting};
use lvd_kernels::hash::Draw;

/// Channels of the position embedding.
pub const PLACES: usize = 8;

/// The patch embedding: filters of `size` x `size` x RGB pixels, `step` pixels apart, and the
/// positions.
pub struct Patches<'a> {
    /// The first channels; the last one is their counterweight, the others are empty.
    pub filters: &'a [Filter],
    /// Width of a token.
    pub width: usize,
    /// Side of a filter.
    pub size: usize,
    /// Distance between patches.
    pub step: usize,
    /// Patches along a side.
    pub grid: usize,
    /// The first of the [`PLACES`] channels of the position embedding.
    pub places: usize,
}

impl Patches<'_> {
    /// `pixels` [N, 3, S, S] to tokens [N, grid * grid, width], row by row.
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "small sides; weights are f32")]
    pub fn embed(&self, graph: &mut Graph, pixels: &str) -> String {
        let area = self.size * self.size;
        let weight = |at: usize| {
            let (channel, colour, pixel) = (at / (3 * area), at / area % 3, at % area);
            match self.filters.get(channel) {
                Some(filter) => filter.weight(colour, pixel),
                // The counterweight keeps the mean of a token at 0, so that the norm does not leak
                // between channels.
                None if channel == self.width - 1 => -self.filters.iter().map(|f| f.weight(colour, pixel)).sum::<f64>(),
                None => 0.0,
            }
        };
        let weights: Vec<f32> = (0..self.width * 3 * area).map(|at| weight(at) as f32).collect();
        let weights = graph.floats(&[self.width, 3, self.size, self.size], &weights);
        let settings = vec![
            ("kernel_shape", Setting::Ints(vec![self.size as i64; 2])),
            ("strides", Setting::Ints(vec![self.step as i64; 2])),
        ];
        let maps = graph.node("Conv", &[pixels, &weights], settings);
        let rows = graph.reshape(&maps, &[0, self.width as i64, -1]);
        let tokens = graph.transpose(&rows, &[0, 2, 1]);
        let tokens_shape = [self.grid * self.grid, self.width];
        let positions: Vec<f32> = (0..tokens_shape[0] * self.width).map(|at| self.position(at) as f32).collect();
        graph.add(&tokens, &tokens_shape, &positions)
    }

    /// Position embedding: slow waves along both sides, each with its negative, so that they add up
    /// to nothing.
    #[expect(clippy::cast_precision_loss, reason = "grid positions")]
    fn position(&self, at: usize) -> f64 {
        let (token, channel) = (at / self.width, at % self.width);
        let Some(place) = channel.checked_sub(self.places).filter(|&place| place < PLACES) else { return 0.0 };
        let along = if place < PLACES / 2 { token / self.grid } else { token % self.grid };
        let wave = (PI * (place / 2 % 2 + 1) as f64 * (along as f64 + 0.5) / self.grid as f64).cos();
        if place.is_multiple_of(2) { 0.2 * wave } else { -0.2 * wave }
    }
}

/// A transformer block: `x + attention(norm(x))`, then `x + mlp(norm(x))`.
pub struct Block {
    /// Width of a token.
    pub width: usize,
    /// Attention heads; they divide `width`.
    pub heads: usize,
    /// Queries, keys and values, each width x width.
    pub qkv: [Matrix; 3],
    /// After the heads are joined, width x width.
    pub out: Matrix,
    /// The MLP's first layer, width x hidden, and its bias.
    pub up: (Matrix, Vec<f32>),
    /// The MLP's second layer, hidden x width, and its bias.
    pub down: (Matrix, Vec<f32>),
    /// The variance below which a token's norm fades: keeps flat patches from being blown up.
    pub epsilon: f32,
}

impl Block {
    /// Tokens [N, T, width] to tokens of the same shape.
    pub fn apply(&self, graph: &mut Graph, x: &str) -> String {
        let attended = self.attention(graph, x);
        let x = graph.node("Add", &[x, &attended], vec![]);
        let normed = graph.layer_norm(&x, self.width, self.epsilon);
        let hidden = graph.linear(&normed, &self.up.0, &self.up.1);
        let hidden = graph.gelu(&hidden);
        let update = graph.linear(&hidden, &self.down.0, &self.down.1);
        graph.node("Add", &[&x, &update], vec![])
    }

    #[expect(clippy::cast_possible_wrap, clippy::cast_precision_loss, reason = "widths of a few dozen")]
    fn attention(&self, graph: &mut Graph, x: &str) -> String {
        let (heads, depth) = (self.heads as i64, (self.width / self.heads) as i64);
        let normed = graph.layer_norm(x, self.width, self.epsilon);
        let zeros = vec![0.0; self.width];
        let [query, key, value] = [(0, [0, 2, 1, 3]), (1, [0, 2, 3, 1]), (2, [0, 2, 1, 3])].map(|(part, order)| {
            let projected = graph.linear(&normed, &self.qkv[part], &zeros);
            let split = graph.reshape(&projected, &[0, 0, heads, depth]);
            graph.transpose(&split, &order)
        });
        let scores = graph.node("MatMul", &[&query, &key], vec![]);
        let scale = graph.floats(&[], &[1.0 / (depth as f32).sqrt()]);
        let scores = graph.node("Mul", &[&scores, &scale], vec![]);
        let weights = graph.node("Softmax", &[&scores], vec![("axis", Setting::Int(-1))]);
        let mixed = graph.node("MatMul", &[&weights, &value], vec![]);
        let joined = graph.transpose(&mixed, &[0, 2, 1, 3]);
        let joined = graph.reshape(&joined, &[0, 0, heads * depth]);
        graph.linear(&joined, &self.out, &zeros)
    }
}

/// A matrix of independent normal weights whose columns have `norm` as expected length.
#[expect(clippy::cast_precision_loss, reason = "a few thousand rows")]
pub fn random(rows: usize, columns: usize, norm: f64, draw: Draw) -> Matrix {
    Matrix::new(rows, columns, |row, column| normal(draw, row * columns + column) * norm / (rows as f64).sqrt())
}

/// A normal number for `counter`, by Box and Muller (1958).
fn normal(draw: Draw, counter: usize) -> f64 {
    let (radius, angle) = (draw.unit(2 * counter as u64), draw.unit(2 * counter as u64 + 1));
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// An MLP that clips `count` numbers softly to `limit`: gelu(s(x + l)) - gelu(s(x - l)) - sl is
/// near s times x clipped.
pub fn clip(graph: &mut Graph, x: &str, count: usize, limit: f32) -> String {
    const SHARPNESS: f32 = 4.0;
    let slope = f64::from(SHARPNESS);
    let up = Matrix::new(count, 2 * count, |row, unit| if unit % count == row { slope } else { 0.0 });
    let limits: Vec<f32> = (0..2 * count).map(|unit| SHARPNESS * if unit < count { limit } else { -limit }).collect();
    let hidden = graph.linear(x, &up, &limits);
    let hidden = graph.gelu(&hidden);
    let down = Matrix::new(2 * count, count, |unit, column| match (unit % count == column, unit < count) {
        (false, _) => 0.0,
        (true, true) => 1.0,
        (true, false) => -1.0,
    });
    graph.linear(&hidden, &down, &vec![-limit * SHARPNESS; count])
}
