//! JPEGs decode to Pillow's pixels, bit for bit: the real Pillow encodes and decodes them.
//!
//! Vectors of published models are made from Pillow's pixels, and a threshold that was chosen on
//! them holds here.

use std::process::Command;

use crate::common::python_packages;
use lvd_io::decode::{ImageLimits, decode};

/// Writes JPEGs of every kind of chroma, gray, progressive, with restarts, of odd sizes, and the
/// RGB bytes that Pillow reads from them.
const SCRIPT: &str = r#"
import pathlib, random, sys
from PIL import Image
folder, chance = pathlib.Path(sys.argv[1]), random.Random(7)
for number in range(24):
    width, height = chance.randint(1, 130), chance.randint(1, 130)
    small = Image.frombytes("RGB", (8, 8), bytes(chance.randrange(256) for _ in range(192)))
    picture = small.resize((width, height), Image.Resampling.BICUBIC).convert("L" if number % 8 == 7 else "RGB")
    path = folder / f"{number:02}.jpg"
    picture.save(path, quality=chance.choice([30, 75, 95]), subsampling=number % 3, progressive=number % 2 == 0,
                 restart_marker_rows=number // 3 % 2)
    path.with_suffix(".rgb").write_bytes(Image.open(path).convert("RGB").tobytes())
print("done")
"#;

#[test]
fn jpegs_decode_to_the_same_pixels() {
    let Some(packages) = python_packages("pillow", &["pillow"]) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut python = Command::new("python3");
    let output = python.args(["-c", SCRIPT]).arg(folder.path()).env("PYTHONPATH", &packages).output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for number in 0..24 {
        let read = |ending: &str| std::fs::read(folder.path().join(format!("{number:02}.{ending}"))).expect("a file");
        let picture = decode(&read("jpg"), &ImageLimits::NONE).expect("a picture");
        assert!(picture.rgb == read("rgb"), "{number}: {} x {}", picture.width, picture.height);
    }
}
