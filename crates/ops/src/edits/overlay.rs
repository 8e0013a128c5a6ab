//! Edits that put something over a picture, or the picture over something.

use image::{Rgb, RgbImage, imageops};

use super::geometry::scale;
use crate::draw::{Canvas, Chance, font};

/// Words for captions, in the letters that the font has.
const WORDS: [&str; 6] =
    ["SEEN ON THE ROAD", "SO LATE AGAIN", "HOLD ON TO THIS", "WHAT A DAY", "NO WORDS NEEDED HERE", "THE GOOD TIDE"];
const DARK: Rgb<u8> = Rgb([12; 3]);
const LIGHT: Rgb<u8> = Rgb([245; 3]);

/// A strip with words over the bottom 12%.
#[must_use]
pub fn caption(image: &RgbImage, chance: &Chance) -> RgbImage {
    let text = chance.pick(&WORDS);
    let (strip, ink) = if chance.often(0.5) { (DARK, LIGHT) } else { (LIGHT, DARK) };
    let mut edited = image.clone();
    let top = (image.height() as f32 * 0.88) as u32;
    fill(&mut edited, (0, top), (image.width(), image.height()), strip);
    let scale = ((image.height() - top) * 2 / (3 * font::HEIGHT)).max(1);
    let down = (image.height() - top).saturating_sub(scale * font::HEIGHT) / 2;
    font::write(&mut edited, text, (scale * 2, top + down), scale, ink);
    edited
}

/// Words with a shadow across the picture, four fifths as wide as it.
pub(super) fn text(image: &RgbImage, chance: &Chance) -> RgbImage {
    let text = chance.pick(&WORDS);
    let mut edited = image.clone();
    let dots = text.len() as u32 * font::ADVANCE;
    let scale = (image.width() * 4 / (5 * dots)).max(1);
    let left = image.width() / 10;
    let top = chance.count(0, image.height().saturating_sub(scale * font::HEIGHT));
    font::write(&mut edited, text, (left + scale.div_ceil(2), top + scale.div_ceil(2)), scale, DARK);
    font::write(&mut edited, text, (left, top), scale, LIGHT);
    edited
}

/// A smiling face, 40% as wide as the shorter side, somewhere on the picture.
pub(super) fn face(image: &RgbImage, chance: &Chance) -> RgbImage {
    let mut canvas = Canvas::over(image);
    let radius = 0.2 * canvas.aspect().min(1.0);
    let x = chance.between(radius, canvas.aspect() - radius);
    let y = chance.between(radius, 1.0 - radius);
    let at = |u: f32, v: f32| (x + u * radius, y + v * radius);
    let ink = [0.25, 0.15, 0.05];
    canvas.disc((x, y), radius, [0.75, 0.5, 0.05]);
    canvas.disc((x, y), radius * 0.94, [1.0, 0.82, 0.2]);
    for side in [-1.0, 1.0] {
        canvas.ellipse(at(side * 0.35, -0.25), (radius * 0.1, radius * 0.17), 0.0, ink);
    }
    let mouth = |u: f32| at(u, 0.55 - 1.1 * u * u);
    for from in [-0.5, -0.3, -0.1, 0.1, 0.3f32] {
        canvas.line(mouth(from), mouth(from + 0.2), radius * 0.1, ink);
    }
    canvas.into_image()
}

/// The picture in the window of a program: a bar with buttons and a title on top, a frame around.
pub(super) fn window(image: &RgbImage, chance: &Chance) -> RgbImage {
    let (page, bar, ink) = chance.pick(&[
        (Rgb([250; 3]), Rgb([222, 224, 230]), Rgb([70; 3])),
        (Rgb([24, 25, 28]), Rgb([48, 50, 56]), Rgb([215; 3])),
    ]);
    let (width, height) = image.dimensions();
    let frame = (width.min(height) / 16).max(1);
    let top = (height / 6).max(4);
    let mut edited = RgbImage::from_pixel(width + 2 * frame, height + top + 2 * frame, page);
    let right = edited.width();
    fill(&mut edited, (0, 0), (right, top), bar);
    let button = (top / 3).max(1);
    for (number, colour) in [Rgb([236, 95, 87]), Rgb([240, 189, 62]), Rgb([98, 196, 84])].into_iter().enumerate() {
        let left = frame + number as u32 * 2 * button;
        fill(&mut edited, (left, button), (left + button, 2 * button), colour);
    }
    let dot = (top / (2 * font::HEIGHT)).max(1);
    font::write(&mut edited, chance.pick(&WORDS), (frame + 7 * button, top / 4), dot, ink);
    imageops::replace(&mut edited, image, i64::from(frame), i64::from(top + frame));
    edited
}

/// The picture, scaled into this share of the host's sides, in a corner of the host.
pub(super) fn collage(image: &RgbImage, host: &RgbImage, share: f32, chance: &Chance) -> RgbImage {
    let across = share * host.width() as f32 / image.width() as f32;
    let down = share * host.height() as f32 / image.height() as f32;
    let pasted = scale(image, across.min(down), across.min(down));
    let free = (host.width().saturating_sub(pasted.width()), host.height().saturating_sub(pasted.height()));
    let corner = (i64::from(free.0 * chance.count(0, 1)), i64::from(free.1 * chance.count(0, 1)));
    let mut edited = host.clone();
    imageops::replace(&mut edited, &pasted, corner.0, corner.1);
    edited
}

/// Fills a rectangle, its lower right corner left out; what lies outside the picture is skipped.
fn fill(image: &mut RgbImage, (left, top): (u32, u32), (right, bottom): (u32, u32), colour: Rgb<u8>) {
    for y in top..bottom.min(image.height()) {
        for x in left..right.min(image.width()) {
            image.put_pixel(x, y, colour);
        }
    }
}
