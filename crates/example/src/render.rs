//! From a member of the cast to the bytes of its file.
#![expect(clippy::cast_possible_truncation, reason = "sides are a few hundred pixels")]

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ImageFormat, RgbImage};

use crate::cast::{Kind, Member, Scene};
use crate::concepts::CONCEPTS;
use crate::edits::Edit;
use lvd_base::error::{Error, Result};
use lvd_kernels::hash::Draw;
use lvd_ops::draw::{Canvas, Chance};

/// Sides of a picture, in pixels.
const SIDES: (u32, u32) = (150, 320);
/// Sides that a huge picture's header promises.
const HUGE_SIDE: u32 = 30_000;

/// The bytes of file `index`, and the ending of its name.
pub fn render(members: &[Member], index: usize, draw: Draw) -> Result<(Vec<u8>, &'static str)> {
    let member = &members[index];
    let chance = Chance::new(draw.within(1).within(index as u64));
    match member.kind {
        Kind::Original => encode(&paint(member.scene, draw), member.source, &chance),
        Kind::ExactCopy(of) => render(members, of, draw),
        Kind::EditedCopy(of, edit) => {
            let image = edit.apply(&paint(members[of].scene, draw), &chance);
            match edit {
                Edit::Reencode => Ok((jpeg(&image, chance.count(30, 70) as u8)?, "jpg")),
                _ => encode(&image, member.source, &chance),
            }
        }
        Kind::Broken(way) => broken(way, &paint(member.scene, draw), &chance),
        Kind::Tiny => {
            let (width, height) = chance.pick(&[(8, 8), (1, 1), (31, 200), (120, 20)]);
            let image = image::imageops::thumbnail(&paint(member.scene, draw), width, height);
            encode(&image, member.source, &chance)
        }
        Kind::Huge => Ok((promise_much(), "png")),
    }
}

/// Draws a scene.
pub fn paint(scene: Scene, draw: Draw) -> RgbImage {
    let chance = Chance::new(draw.within(2).within(scene.concept as u64).within(scene.number));
    let (width, height) = (chance.count(SIDES.0, SIDES.1), chance.count(SIDES.0, SIDES.1));
    let mut canvas = Canvas::new(width, height, [0.5; 3]);
    (CONCEPTS[scene.concept].draw)(&mut canvas, &chance);
    canvas.into_image()
}

/// The picture in one of the formats its source likes.
fn encode(image: &RgbImage, source: &str, chance: &Chance) -> Result<(Vec<u8>, &'static str)> {
    let format = match source {
        "archive" => chance.pick(&["png", "tiff", "bmp", "gif", "jpg", "jpg", "jpg", "jpg"]),
        "news" => chance.pick(&["jpg", "jpg", "jpg", "jpg", "webp", "png"]),
        _ => "jpg",
    };
    let bytes = match format {
        "png" => as_format(image, ImageFormat::Png)?,
        "tiff" => as_format(image, ImageFormat::Tiff)?,
        "bmp" => as_format(image, ImageFormat::Bmp)?,
        "gif" => as_format(image, ImageFormat::Gif)?,
        "webp" => {
            let mut bytes = Vec::new();
            let encoder = WebPEncoder::new_lossless(&mut bytes);
            encoder.encode(image, image.width(), image.height(), image::ExtendedColorType::Rgb8).map_err(fault)?;
            bytes
        }
        _ => jpeg(image, chance.count(82, 93) as u8)?,
    };
    Ok((bytes, format))
}

fn as_format(image: &RgbImage, format: ImageFormat) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image.clone()).write_to(&mut bytes, format).map_err(fault)?;
    Ok(bytes.into_inner())
}

fn jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(image).map_err(fault)?;
    Ok(bytes)
}

fn fault(error: image::ImageError) -> Error {
    Error::data("a picture of the example", error)
}

/// A file that is no picture: cut off, random, a web page, or empty.
fn broken(way: u8, image: &RgbImage, chance: &Chance) -> Result<(Vec<u8>, &'static str)> {
    Ok(match way {
        0 => {
            let mut bytes = as_format(image, ImageFormat::Png)?;
            bytes.truncate(bytes.len() / 2);
            (bytes, "png")
        }
        1 => ((0..2_000).map(|_| chance.bits() as u8).collect(), "jpg"),
        2 => (b"<html><body>404: this picture has moved</body></html>".to_vec(), "jpg"),
        _ => (Vec::new(), "gif"),
    })
}

/// The head of a PNG of 30,000 x 30,000 pixels, and nothing behind it: whoever believes it asks for
/// 2.7 GB.
fn promise_much() -> Vec<u8> {
    let mut head = b"IHDR".to_vec();
    head.extend(HUGE_SIDE.to_be_bytes());
    head.extend(HUGE_SIDE.to_be_bytes());
    head.extend([8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    file.extend(&head);
    file.extend(crc(&head).to_be_bytes());
    file.extend(b"\0\0\0\0IDAT");
    file.extend(crc(b"IDAT").to_be_bytes());
    file
}

/// CRC-32 as PNG has it (RFC 2083, appendix 15), bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
