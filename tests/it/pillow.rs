//! JPEGs decode to Pillow's pixels, bit for bit: the real Pillow encodes and decodes them.
//!
//! Vectors of published models are made from Pillow's pixels, and a threshold that was chosen on
//! them holds here.

use std::process::Command;

use crate::common::python_packages;
use lvd_io::decode::{ImageLimits, decode, inspect};

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

/// Writes JPEGs and PNGs that are damaged, each in one way, and the upright RGB bytes of those that
/// Pillow opens.
const DAMAGED: &str = r#"
import io, pathlib, random, struct, sys, zlib
from PIL import Image, ImageOps
folder, chance = pathlib.Path(sys.argv[1]), random.Random(11)
noise = bytes(chance.randrange(256) for _ in range(300))
picture = Image.frombytes("RGB", (10, 10), noise).resize((120, 80), Image.Resampling.BICUBIC)

def jpeg(**more):
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=chance.choice([40, 90]), progressive=chance.random() < 0.5, **more)
    return out.getvalue()

def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

def damaged(number):
    data = bytearray(jpeg())
    scan = data.index(b"\xff\xda") + 14
    place = chance.randrange(scan, len(data) - 2)
    kind = number % 8
    if kind == 0: data[place] ^= 1 << chance.randrange(8)
    if kind == 1: data[place:place + 2] = b"\xff\xd9"
    if kind == 2: del data[place:place + chance.randrange(1, 20)]
    if kind == 3: data = data[:-2] + chance.choice([b"\0" * 500, b"\0\0SEFH" + b"\x11" * 300, b""])
    if kind == 4: data = data[:place] + b"\0" * (len(data) - place)
    if kind == 5: data[place:place] = bytes(chance.randrange(255) for _ in range(9))
    if kind == 6:
        exif = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI", 0x112, chance.choice([3, 4]), 1) + struct.pack("<I", chance.randrange(10)) + b"\0" * 4
        data = bytearray(jpeg(exif=b"Exif\0\0" + exif))
    if kind == 7:
        out = io.BytesIO(); picture.save(out, "PNG"); data = bytearray(out.getvalue())
        text = bytearray(chunk(b"tEXt", b"k\0v"))
        if chance.random() < 0.5: text[-1] ^= 255
        data[33:33] = text
    return bytes(data)

for number in range(160):
    data = damaged(number)
    path = folder / f"{number:03}.bin"
    path.write_bytes(data)
    try:
        picture_again = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    except Exception:
        continue
    path.with_suffix(".rgb").write_bytes(struct.pack("<II", *picture_again.size) + picture_again.tobytes())
"#;

#[test]
fn what_is_taken_pillow_opens_with_the_same_pixels() {
    let Some(packages) = python_packages("pillow", &["pillow"]) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut python = Command::new("python3");
    let output =
        python.args(["-c", DAMAGED]).arg(folder.path()).env("PYTHONPATH", &packages).output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut taken, mut dropped, mut opened) = (0, 0, 0);
    for number in 0..160 {
        let path = folder.path().join(format!("{number:03}.bin"));
        let bytes = std::fs::read(&path).expect("a file");
        let theirs = std::fs::read(path.with_extension("rgb")).ok();
        opened += usize::from(theirs.is_some());
        if inspect(&bytes, &ImageLimits::NONE).is_err() {
            dropped += 1;
            continue;
        }
        let ours = decode(&bytes, &ImageLimits::NONE).expect("what passes decodes");
        let theirs = theirs.unwrap_or_else(|| panic!("{number}: taken, and Pillow does not open it"));
        let size = [ours.width, ours.height].map(u32::to_le_bytes).concat();
        assert!(theirs[..8] == size && theirs[8..] == ours.rgb, "{number}: other pixels");
        taken += 1;
    }
    // Of what Pillow opens little is lost: zeros in place of half a picture, and the like.
    assert!(taken > 100 && dropped > 10 && opened - taken < 25, "{taken} taken, {dropped} dropped, {opened} opened");
}

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
