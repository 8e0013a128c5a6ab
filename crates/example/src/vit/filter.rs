//! The designed filters of the patch embeddings: means and Gabors in luminance and two opponent
//! colours.

use std::f64::consts::PI;

/// Weights of red, green and blue.
pub type Colour = [f64; 3];
/// How light.
pub const LUMINANCE: Colour = [0.299, 0.587, 0.114];
/// Luminance, red against green, and blue against yellow.
pub const OPPONENTS: [Colour; 3] = [LUMINANCE, [0.5, -0.5, 0.0], [-0.25, -0.25, 0.5]];

/// A filter that treats colour and place apart.
pub struct Filter {
    colour: Colour,
    shape: Vec<f64>,
}

impl Filter {
    /// The weight of one colour of one pixel.
    pub fn weight(&self, colour: usize, pixel: usize) -> f64 {
        self.colour[colour] * self.shape[pixel]
    }

    /// A mean of `size` x `size` pixels, weighted by a Gaussian of `sigma` pixels.
    pub fn mean(colour: Colour, size: usize, sigma: f64) -> Self {
        let window = window(size, sigma);
        let total: f64 = window.iter().sum();
        Self { colour, shape: window.iter().map(|weight| weight / total).collect() }
    }

    /// The even and the odd Gabor of `size` x `size` pixels, times `gain`; neither responds to a
    /// flat patch.
    pub fn gabors(colour: Colour, size: usize, wavelength: f64, angle: f64, gain: f64) -> [Self; 2] {
        let window = window(size, (0.5 * wavelength).clamp(0.2 * side(size), 0.3 * side(size)));
        let total: f64 = window.iter().sum();
        [0.0, PI / 2.0].map(|phase| {
            let wave = |pixel: usize| {
                let (x, y) = place(size, pixel);
                (2.0 * PI * (x * angle.cos() + y * angle.sin()) / wavelength - phase).cos()
            };
            let mean = window.iter().enumerate().map(|(pixel, weight)| weight * wave(pixel)).sum::<f64>() / total;
            let shape = window.iter().enumerate();
            Self { colour, shape: shape.map(|(pixel, w)| 2.0 * gain * w * (wave(pixel) - mean) / total).collect() }
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few pixels")]
fn side(size: usize) -> f64 {
    size as f64
}

/// Where a pixel lies from the middle of the filter.
fn place(size: usize, pixel: usize) -> (f64, f64) {
    let centre = (side(size) - 1.0) / 2.0;
    (side(pixel % size) - centre, side(pixel / size) - centre)
}

fn window(size: usize, sigma: f64) -> Vec<f64> {
    let weight = |pixel: usize| {
        let (x, y) = place(size, pixel);
        (-(x * x + y * y) / (2.0 * sigma * sigma)).exp()
    };
    (0..size * size).map(weight).collect()
}
