//! How many pictures a core decodes and prepares in a second, for a web-sized and a camera-sized
//! JPEG.

use std::hint::black_box;
use std::io::Cursor;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lvd_io::decode::{ImageLimits, decode};
use lvd_ops::preprocess::{Interpolation, Preprocess, Resize, preprocess};

/// A JPEG of smooth colours and some texture: about 1.5 bits a pixel, like a photo.
fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let image = image::RgbImage::from_fn(width, height, |x, y| {
        let noise = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519)).wrapping_mul(3_266_489_917) >> 28;
        image::Rgb([x * 200 / width + noise, y * 200 / height + noise, ((x / 16) ^ (y / 16)) % 8 * 25].map(level))
    });
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Jpeg).expect("a JPEG in memory");
    bytes.into_inner()
}

fn level(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

fn pictures(criterion: &mut Criterion) {
    let spec = Preprocess {
        resize: Resize::ShortEdge(256),
        crop: 224,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        interpolation: Interpolation::Bicubic,
    };
    let mut out = vec![0.0; spec.values()];
    let mut group = criterion.benchmark_group("pictures");
    group.throughput(Throughput::Elements(1));
    for (width, height) in [(500, 375), (2000, 1500)] {
        let bytes = jpeg(width, height);
        let picture = decode(&bytes, &ImageLimits::NONE).expect("a JPEG");
        let size = format!("{width} x {height}");
        group.bench_function(format!("decode {size}"), |bencher| {
            bencher.iter(|| decode(black_box(&bytes), &ImageLimits::NONE));
        });
        group.bench_function(format!("preprocess {size}"), |bencher| {
            bencher.iter(|| preprocess(width, height, black_box(&picture.rgb), &spec, &mut out));
        });
        group.bench_function(format!("both {size}"), |bencher| {
            bencher.iter(|| {
                let picture = decode(black_box(&bytes), &ImageLimits::NONE).expect("a JPEG");
                preprocess(picture.width, picture.height, &picture.rgb, &spec, &mut out);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, pictures);
criterion_main!(benches);
