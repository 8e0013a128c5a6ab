//! Pictures that come from elsewhere: as people pass them on, and such as nobody has.

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::rows::{Rows, number};
use super::{EXAMPLE, cell, table};
use lvd_kernels::hash::Draw;

/// The file of an image of the example.
pub fn file_of(row: &[(String, String)]) -> PathBuf {
    let folder = match cell(row, "source") {
        "holdout" => "reference",
        "sailing" | "night" => "seeds",
        _ => "pool",
    };
    EXAMPLE.join(folder).join(cell(row, "source")).join(cell(row, "url"))
}

/// A picture as a careless person passes it on: smaller, and a JPEG of low quality.
pub fn passed_on(from: &Path, to: &Path) {
    let picture = image::open(from).expect("a picture");
    let (width, height) = (picture.width() * 3 / 4, picture.height() * 3 / 4);
    let small = picture.resize_exact(width, height, image::imageops::FilterType::Triangle).to_rgb8();
    let file = std::fs::File::create(to).expect("a file");
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(file, 30);
    encoder.encode_image(&small).expect("a JPEG");
}

/// A picture that nobody has: coarse noise.
pub fn unknown(seed: u64, to: &Path) {
    let draw = Draw::new(seed, "unknown");
    let level = |x: u32, y: u32, colour: u64| {
        draw.bits(u64::from(x / 6) << 32 | u64::from(y / 6) << 8 | colour).to_be_bytes()[0]
    };
    let pixel = |x, y| image::Rgb([level(x, y, 0), level(x, y, 1), level(x, y, 2)]);
    RgbImage::from_fn(96, 80, pixel).save(to).expect("a picture");
}

/// The images that dedup found no copy of.
pub fn alone(work: &Path, images: &Rows) -> Rows {
    let groups = table(&work.join("dedup"));
    let is_alone = |id: u64| groups.iter().any(|row| number(row, "id") == id && number(row, "size") == 1);
    images.iter().filter(|row| is_alone(number(row, "id"))).cloned().collect()
}
