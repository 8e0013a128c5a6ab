//! A canvas of linear strokes: gradients, anti-aliased shapes and value noise on RGB floats, just
//! enough to draw a small world or to paste something over a picture.
//!
//! Coordinates are in units of the canvas height: y runs from 0 (top) to 1, x from 0 to
//! [`Canvas::aspect`].
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pixels are few and clamped"
)]

use image::RgbImage;

use super::chance::Chance;
use super::colour::{Colour, mix};
use lvd_kernels::hash::Draw;

/// A place on the canvas.
pub type Point = (f32, f32);

/// A picture being drawn.
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    /// A canvas of one colour.
    #[must_use]
    pub fn new(width: u32, height: u32, colour: Colour) -> Self {
        let (width, height) = (width as usize, height as usize);
        Self { width, height, pixels: vec![colour; width * height] }
    }

    /// A canvas to draw on a picture.
    #[must_use]
    pub fn over(image: &RgbImage) -> Self {
        let pixels = image.pixels().map(|pixel| pixel.0.map(|channel| f32::from(channel) / 255.0)).collect();
        Self { width: image.width() as usize, height: image.height() as usize, pixels }
    }

    /// Width over height: the largest x.
    #[must_use]
    pub fn aspect(&self) -> f32 {
        self.width as f32 / self.height as f32
    }

    /// The size of a pixel.
    fn pixel(&self) -> f32 {
        1.0 / self.height as f32
    }

    /// Mixes `shade(x, y)`'s colour in by its opacity, for every pixel between the corners.
    pub fn paint(&mut self, (left, top): Point, (right, bottom): Point, shade: impl Fn(f32, f32) -> (Colour, f32)) {
        let clamp = |value: f32, most: usize| (value * self.height as f32).clamp(0.0, most as f32) as usize;
        let (x0, x1) = (clamp(left, self.width), clamp(right + self.pixel(), self.width));
        let (y0, y1) = (clamp(top, self.height), clamp(bottom + self.pixel(), self.height));
        for y in y0..y1 {
            for x in x0..x1 {
                let (colour, opacity) = shade((x as f32 + 0.5) * self.pixel(), (y as f32 + 0.5) * self.pixel());
                let opacity = opacity.clamp(0.0, 1.0);
                let pixel = &mut self.pixels[y * self.width + x];
                for channel in 0..3 {
                    pixel[channel] += (colour[channel] - pixel[channel]) * opacity;
                }
            }
        }
    }

    /// Colours every pixel.
    pub fn fill(&mut self, shade: impl Fn(f32, f32) -> Colour) {
        let corner = (self.aspect(), 1.0);
        self.paint((0.0, 0.0), corner, |x, y| (shade(x, y), 1.0));
    }

    /// A vertical gradient between two heights over the whole width.
    pub fn gradient(&mut self, top: f32, bottom: f32, above: Colour, below: Colour) {
        let corner = (self.aspect(), bottom);
        self.paint((0.0, top), corner, |_, y| (mix(above, below, (y - top) / (bottom - top)), 1.0));
    }

    /// A filled disc.
    pub fn disc(&mut self, centre: Point, radius: f32, colour: Colour) {
        self.ellipse(centre, (radius, radius), 0.0, colour);
    }

    /// A filled ellipse, turned by `angle` radians.
    pub fn ellipse(&mut self, centre: Point, (a, b): (f32, f32), angle: f32, colour: Colour) {
        let reach = a.max(b);
        let (sin, cos) = angle.sin_cos();
        let pixel = self.pixel();
        self.paint((centre.0 - reach, centre.1 - reach), (centre.0 + reach, centre.1 + reach), |x, y| {
            let (dx, dy) = (x - centre.0, y - centre.1);
            let (u, v) = (dx * cos + dy * sin, dy * cos - dx * sin);
            let distance = ((u / a).powi(2) + (v / b).powi(2)).sqrt();
            (colour, (1.0 - distance) * a.min(b) / pixel + 0.5)
        });
    }

    /// A soft disc whose opacity falls from `strength` in the middle to nothing at `radius`: a
    /// glow, a cloud, a shadow.
    pub fn glow(&mut self, centre: Point, radius: f32, colour: Colour, strength: f32) {
        self.paint((centre.0 - radius, centre.1 - radius), (centre.0 + radius, centre.1 + radius), |x, y| {
            let distance = (x - centre.0).hypot(y - centre.1) / radius;
            (colour, strength * (1.0 - distance.min(1.0)).powi(2))
        });
    }

    /// A ring: a circle's line of the given width.
    pub fn ring(&mut self, centre: Point, radius: f32, width: f32, colour: Colour) {
        let reach = radius + width;
        let pixel = self.pixel();
        self.paint((centre.0 - reach, centre.1 - reach), (centre.0 + reach, centre.1 + reach), |x, y| {
            let off = ((x - centre.0).hypot(y - centre.1) - radius).abs();
            (colour, (width / 2.0 - off) / pixel + 0.5)
        });
    }

    /// A straight line with round ends.
    pub fn line(&mut self, from: Point, to: Point, width: f32, colour: Colour) {
        let reach = width / 2.0 + self.pixel();
        let corner = (from.0.min(to.0) - reach, from.1.min(to.1) - reach);
        let other = (from.0.max(to.0) + reach, from.1.max(to.1) + reach);
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = (dx * dx + dy * dy).max(1e-12);
        let pixel = self.pixel();
        self.paint(corner, other, |x, y| {
            let along = (((x - from.0) * dx + (y - from.1) * dy) / length).clamp(0.0, 1.0);
            let off = (x - from.0 - along * dx).hypot(y - from.1 - along * dy);
            (colour, (width / 2.0 - off) / pixel + 0.5)
        });
    }

    /// A filled polygon (even-odd rule), its edge softened over a pixel by 3 x 3 samples.
    pub fn polygon(&mut self, corners: &[Point], colour: Colour) {
        let fold = |of: fn(&Point) -> f32| {
            let values = corners.iter().map(of);
            (values.clone().fold(f32::MAX, f32::min), values.fold(f32::MIN, f32::max))
        };
        let ((left, right), (top, bottom)) = (fold(|p| p.0), fold(|p| p.1));
        let third = self.pixel() / 3.0;
        self.paint((left, top), (right, bottom), |x, y| {
            let mut inside = 0;
            for (sx, sy) in [(-1, -1), (0, -1), (1, -1), (-1, 0), (0, 0), (1, 0), (-1, 1), (0, 1), (1, 1)] {
                inside += i32::from(holds(corners, (x + sx as f32 * third, y + sy as f32 * third)));
            }
            (colour, inside as f32 / 9.0)
        });
    }

    /// A filled rectangle with upright sides.
    pub fn rectangle(&mut self, (left, top): Point, (right, bottom): Point, colour: Colour) {
        self.polygon(&[(left, top), (right, top), (right, bottom), (left, bottom)], colour);
    }

    /// Adds fine grain to every pixel: a camera's noise, at most `by`.
    pub fn grain(&mut self, by: f32, chance: &Chance) {
        let draw = Draw::new(chance.bits(), "grain");
        for (pixel, counter) in self.pixels.iter_mut().zip(0u64..) {
            let off = (draw.unit(counter) as f32 - 0.5) * 2.0 * by;
            *pixel = pixel.map(|channel| (channel + off).clamp(0.0, 1.0));
        }
    }

    /// The picture in 8 bits a channel.
    #[must_use]
    pub fn into_image(self) -> RgbImage {
        let rgb = self.pixels.iter().flatten().map(|channel| (channel.clamp(0.0, 1.0) * 255.0 + 0.5) as u8).collect();
        RgbImage::from_raw(self.width as u32, self.height as u32, rgb).unwrap_or_default()
    }
}

/// Whether a polygon holds a point, by the even-odd rule.
fn holds(corners: &[Point], (x, y): Point) -> bool {
    let mut inside = false;
    let mut last = corners[corners.len() - 1];
    for &corner in corners {
        if (corner.1 > y) != (last.1 > y) && x < (last.0 - corner.0) * (y - corner.1) / (last.1 - corner.1) + corner.0 {
            inside = !inside;
        }
        last = corner;
    }
    inside
}

/// Smooth value noise in 0..1 with features about 1 wide, in `octaves` ever finer layers.
pub struct Noise {
    draw: Draw,
    octaves: u32,
}

impl Noise {
    /// A field of its own for this picture.
    #[must_use]
    pub fn new(chance: &Chance, octaves: u32) -> Self {
        Self { draw: Draw::new(chance.bits(), "noise"), octaves }
    }

    /// The field at a point: scale the coordinates for finer or coarser features.
    #[must_use]
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let (mut sum, mut weight, mut scale) = (0.0, 0.0, 1.0);
        for octave in 0..self.octaves.max(1) {
            let share = 1.0 / scale;
            sum += share * self.layer(u64::from(octave), x * scale, y * scale);
            weight += share;
            scale *= 2.0;
        }
        sum / weight
    }

    fn layer(&self, octave: u64, x: f32, y: f32) -> f32 {
        let (cell_x, cell_y) = (x.floor(), y.floor());
        let corner = |dx: i64, dy: i64| {
            let place = ((cell_x as i64 + dx) as u64) << 32 ^ ((cell_y as i64 + dy) as u64 & 0xffff_ffff);
            self.draw.bits(place ^ octave << 60) as f32 / u64::MAX as f32
        };
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let (u, v) = (smooth(x - cell_x), smooth(y - cell_y));
        let above = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * u;
        let below = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * u;
        above + (below - above) * v
    }
}
