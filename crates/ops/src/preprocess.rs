//! An upright picture as an encoder's input, to the letter of torchvision on PIL images: Resize,
//! `CenterCrop`, `ToTensor`, Normalize.
//!
//! Resizing is Pillow's (convolution with antialiasing on 8-bit values); a golden made by Pillow
//! holds it in place.

use std::cell::RefCell;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

/// How an encoder wants its pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// To which size before the crop.
    pub resize: Resize,
    /// Side of the centred square that is kept, in pixels; a smaller picture gets a black margin.
    pub crop: u32,
    /// Mean of red, green and blue, for values in [0, 1].
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue, for values in [0, 1].
    pub std: [f32; 3],
    /// The kernel of the resize.
    pub interpolation: Interpolation,
}

/// The size before the crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resize {
    /// The shorter side becomes this long, the longer one in proportion (rounded down).
    ShortEdge(u32),
    /// Both sides become this long, whatever the proportions.
    Squash(u32),
}

/// The kernel of a resize, widened when it shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Cubic, a = -0.5.
    Bicubic,
    /// Triangle.
    Bilinear,
}

impl Preprocess {
    /// The length of one picture: `3 * crop * crop`.
    #[must_use]
    pub fn values(&self) -> usize {
        3 * self.crop as usize * self.crop as usize
    }
}

thread_local! {
    /// The resizer's buffers, kept from picture to picture.
    static RESIZER: RefCell<Resizer> = RefCell::default();
}

/// Writes the picture `rgb` (`height` rows of `width` pixels of 3 bytes) to `out` (3 x crop x crop,
/// channel by channel).
///
/// # Panics
/// When `rgb` does not hold `3 * width * height` bytes, with a width and a height of at least 1, or
/// when `out` does not hold [`Preprocess::values`].
pub fn preprocess(width: u32, height: u32, rgb: &[u8], spec: &Preprocess, out: &mut [f32]) {
    assert_eq!(rgb.len() as u64, 3 * u64::from(width) * u64::from(height), "a picture of {width} x {height}");
    assert_eq!(out.len(), spec.values(), "room for a picture of {0} x {0}", spec.crop);
    if let Some((width, height, rgb)) = middle(width, height, rgb, spec) {
        return preprocess(width, height, &rgb, spec, out);
    }
    let (to_width, to_height) = spec.resize.size(width, height);
    if (to_width, to_height) == (width, height) {
        crop(width, height, rgb, spec, out);
    } else {
        let resized = resize((width, height), rgb, (to_width, to_height), spec.interpolation);
        crop(to_width, to_height, &resized, spec, out);
    }
}

/// The ratio of sides from which on only the middle is resized: `ShortEdge(224)` would make
/// gigabytes of a picture of 1 x 10^6 pixels, to keep a square of them. Below it the result is
/// torchvision's; above, shifted by a pixel at most.
const EXTREME: u32 = 64;

/// The middle of an extreme picture, wider than the crop by far.
fn middle(width: u32, height: u32, rgb: &[u8], spec: &Preprocess) -> Option<(u32, u32, Vec<u8>)> {
    let Resize::ShortEdge(n) = spec.resize else { return None };
    let (short, long) = (width.min(height), width.max(height));
    if short.saturating_mul(EXTREME) >= long || u64::from(n) * u64::from(EXTREME) / 2 < u64::from(spec.crop) {
        return None;
    }
    let kept = short * EXTREME;
    let from = ((long - kept) / 2) as usize;
    if height > width {
        let row = 3 * width as usize;
        return Some((width, kept, rgb[from * row..(from + kept as usize) * row].to_vec()));
    }
    let rows = rgb.chunks_exact(3 * width as usize);
    let rgb = rows.flat_map(|row| &row[3 * from..3 * (from + kept as usize)]).copied().collect();
    Some((kept, height, rgb))
}

impl Resize {
    /// The length that the shorter side gets.
    #[must_use]
    pub fn shorter_side(self) -> u32 {
        match self {
            Self::ShortEdge(n) | Self::Squash(n) => n,
        }
    }

    /// Width and height after the resize; no side is shorter than 1.
    fn size(self, width: u32, height: u32) -> (u32, u32) {
        let long = |short: u32, n: u32, long: u32| {
            u32::try_from(u64::from(n) * u64::from(long) / u64::from(short)).unwrap_or(u32::MAX)
        };
        match self {
            Self::Squash(n) => (n, n),
            Self::ShortEdge(n) if width <= height => (n, long(width, n, height)),
            Self::ShortEdge(n) => (long(height, n, width), n),
        }
    }
}

/// Across first and then down, as Pillow up to 12 does always (13 goes down first in narrow or
/// squashed tall pictures). Values are cut to 8 bits in between, so the order shows at sharp edges;
/// the library alone would go down first.
fn resize(from: (u32, u32), rgb: &[u8], to: (u32, u32), interpolation: Interpolation) -> Vec<u8> {
    let filter = match interpolation {
        Interpolation::Bicubic => FilterType::CatmullRom,
        Interpolation::Bilinear => FilterType::Bilinear,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    // Taken, not borrowed: while it waits for rayon's workers this thread may start on another
    // picture. The typed call compiles the kernels of one pixel type; the untyped one compiles
    // those of all, for minutes.
    let mut resizer = RESIZER.take();
    let source = TypedImageRef::<U8x3>::from_buffer(from.0, from.1, rgb).expect("the length was checked");
    let mut across = TypedImage::<U8x3>::new(to.0, from.1);
    resizer.resize_typed(&source, &mut across, &options).expect("convolution takes any size");
    let mut rgb = vec![0; 3 * to.0 as usize * to.1 as usize];
    let mut target = TypedImage::<U8x3>::from_buffer(to.0, to.1, &mut rgb).expect("the length fits");
    resizer.resize_typed(&across, &mut target, &options).expect("convolution takes any size");
    RESIZER.set(resizer);
    rgb
}

/// `CenterCrop`, `ToTensor` and Normalize in one pass.
fn crop(width: u32, height: u32, rgb: &[u8], spec: &Preprocess, out: &mut [f32]) {
    let side = spec.crop as usize;
    let (width, height) = (width as usize, height as usize);
    let (across, down) = (Span::centred(width, side), Span::centred(height, side));
    for (channel, plane) in out.chunks_exact_mut(side * side).enumerate() {
        let table = levels(spec.mean[channel], spec.std[channel]);
        if across.len < side || down.len < side {
            plane.fill(table[0]);
        }
        for row in 0..down.len {
            let start = 3 * ((down.from + row) * width + across.from);
            let pixels = &rgb[start..start + 3 * across.len];
            let at = (down.to + row) * side + across.to;
            for (value, pixel) in plane[at..at + across.len].iter_mut().zip(pixels.chunks_exact(3)) {
                *value = table[usize::from(pixel[channel])];
            }
        }
    }
}

/// What each 8-bit level becomes, computed in `f32` in torchvision's order.
fn levels(mean: f32, std: f32) -> [f32; 256] {
    let mut level = 0.0_f32;
    [(); 256].map(|()| {
        let value = (level / 255.0 - mean) / std;
        level += 1.0;
        value
    })
}

/// Where `len` pixels of one axis come `from` in the picture and go `to` in the crop.
struct Span {
    from: usize,
    to: usize,
    len: usize,
}

impl Span {
    /// torchvision's centre: `int(round((length - side) / 2.0))` of Python, which rounds halves to
    /// even; the margin of a shorter picture is `(side - length) // 2` before it and the rest
    /// behind.
    fn centred(length: usize, side: usize) -> Self {
        if length < side {
            return Self { from: 0, to: (side - length) / 2, len: length };
        }
        let twice = length - side;
        let half = twice / 2;
        Self { from: half + (twice % 2) * (half % 2), to: 0, len: side }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(resize: Resize, crop: u32, interpolation: Interpolation) -> Preprocess {
        Preprocess { resize, crop, mean: [0.0; 3], std: [1.0; 3], interpolation }
    }

    /// The synthetic picture of the goldens: `golden/preprocess.py` makes the same.
    fn synthetic(width: u32, height: u32) -> Vec<u8> {
        (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| [x * y, 7 * x + 3 * y, (x / 8 + y / 8) % 2 * 255]))
            .map(|v| v.to_le_bytes()[0])
            .collect()
    }

    /// Width, height, resize, crop, kernel: the order of `CASES` in `golden/preprocess.py`, which
    /// made the golden.
    const CASES: [(u32, u32, Resize, u32, Interpolation); 6] = [
        (97, 61, Resize::ShortEdge(32), 24, Interpolation::Bicubic),
        (97, 61, Resize::ShortEdge(32), 24, Interpolation::Bilinear),
        (61, 97, Resize::Squash(24), 24, Interpolation::Bicubic),
        (13, 9, Resize::ShortEdge(20), 21, Interpolation::Bicubic),
        (20, 15, Resize::ShortEdge(15), 12, Interpolation::Bilinear),
        (40, 9, Resize::ShortEdge(9), 20, Interpolation::Bicubic),
    ];

    /// Every value within one level of 255 of Pillow's: both round to 8 bits between the two
    /// passes.
    #[test]
    fn pillow_agrees() {
        let mut golden = include_bytes!("../golden/preprocess.bin").as_slice();
        for (width, height, resize, crop, kernel) in CASES {
            let spec = spec(resize, crop, kernel);
            let mut out = vec![f32::NAN; spec.values()];
            preprocess(width, height, &synthetic(width, height), &spec, &mut out);
            let plane = (crop * crop) as usize;
            let (expect, rest) = golden.split_at(spec.values());
            golden = rest;
            for (at, &level) in expect.iter().enumerate() {
                let value = out[at % 3 * plane + at / 3] * 255.0;
                let off = (value - f32::from(level)).abs();
                assert!(off < 1.01, "{width} x {height}, {resize:?}: value {at} is {value}, Pillow says {level}");
            }
        }
        assert!(golden.is_empty());
    }

    #[test]
    fn values_are_normalized_by_channel() {
        let mut spec = spec(Resize::ShortEdge(1), 1, Interpolation::Bicubic);
        spec.mean = [0.5, 0.25, 0.0];
        spec.std = [0.5, 0.25, 2.0];
        let mut out = [0.0; 3];
        preprocess(1, 1, &[255, 0, 255], &spec, &mut out);
        let expect = [1.0, -1.0, 0.5];
        assert!(out.iter().zip(expect).all(|(value, expect)| (value - expect).abs() < 1e-6), "{out:?}");
    }

    #[test]
    fn centres_are_those_of_python() {
        let centre = |length, side| {
            let span = Span::centred(length, side);
            (span.from, span.to, span.len)
        };
        // round(0.5) = 0, round(1.5) = 2, round(2.5) = 2, round(3.5) = 4
        assert_eq!([1, 3, 5, 7].map(|d| centre(10 + d, 10).0), [0, 2, 2, 4]);
        assert_eq!(centre(7, 10), (0, 1, 7));
        assert_eq!(centre(10, 10), (0, 0, 10));
    }

    #[test]
    fn the_long_edge_is_rounded_down() {
        assert_eq!(Resize::ShortEdge(256).size(500, 375), (341, 256));
        assert_eq!(Resize::ShortEdge(256).size(375, 500), (256, 341));
        assert_eq!(Resize::Squash(224).size(500, 375), (224, 224));
    }

    #[test]
    fn a_thread_of_a_picture_costs_no_memory() {
        let spec = spec(Resize::ShortEdge(224), 224, Interpolation::Bicubic);
        let mut out = vec![0.0; spec.values()];
        preprocess(1, 1_000_000, &vec![255; 3_000_000], &spec, &mut out);
        assert!(out.iter().all(|&v| (v - 1.0).abs() < 1e-6));
        preprocess(1_000_000, 1, &vec![255; 3_000_000], &spec, &mut out);
        assert!(out.iter().all(|&v| (v - 1.0).abs() < 1e-6));
    }
}
