//! Block letters of 5 x 7 dots, for captions: capitals only, drawn dot by dot.

use image::{Rgb, RgbImage};

/// Dots a letter is wide, with the gap after it.
pub const ADVANCE: u32 = 6;
/// Dots a letter is high.
pub const HEIGHT: u32 = 7;

/// Rows of five dots, the highest bit on the left.
const LETTERS: [(char, [u8; 7]); 14] = [
    ('A', [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001]),
    ('D', [0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11110]),
    ('E', [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111]),
    ('G', [0b01110, 0b10001, 0b10000, 0b10111, 0b10001, 0b10001, 0b01110]),
    ('H', [0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001]),
    ('I', [0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('L', [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111]),
    ('N', [0b10001, 0b11001, 0b10101, 0b10011, 0b10001, 0b10001, 0b10001]),
    ('O', [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('R', [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001]),
    ('S', [0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110]),
    ('T', [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100]),
    ('U', [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('W', [0b10001, 0b10001, 0b10001, 0b10101, 0b10101, 0b11011, 0b10001]),
];

/// Writes `text` with its upper left corner at a place, every dot `scale` pixels wide; what does
/// not fit is cut off.
pub fn write(image: &mut RgbImage, text: &str, (left, top): (u32, u32), scale: u32, colour: Rgb<u8>) {
    for (letter, number) in text.chars().zip(0u32..) {
        let Some((_, rows)) = LETTERS.iter().find(|(known, _)| *known == letter) else { continue };
        for (row, y) in rows.iter().zip(0u32..) {
            for x in (0..5u32).filter(|x| row >> (4 - x) & 1 == 1) {
                for (dx, dy) in (0..scale * scale).map(|dot| (dot % scale, dot / scale)) {
                    let place = (left + (number * ADVANCE + x) * scale + dx, top + y * scale + dy);
                    if let Some(pixel) = image.get_pixel_mut_checked(place.0, place.1) {
                        *pixel = colour;
                    }
                }
            }
        }
    }
}
