//! The decoder against 1,400 files made to break decoders: the test suites of Pillow and image-rs.
//!
//! Nothing may crash, every file is an image or a drop with a reason, and memory stays bounded.
//! Skipped where the shared data set is missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lvd_io::decode::{Facts, ImageLimits, Picture, decode, decode_scaled, inspect};
use rayon::prelude::*;

use crate::common::shared_data;

const LIMITS: ImageLimits = ImageLimits { max_bytes: 64 << 20, max_pixels: 100_000_000, min_side: 1 };

/// The peak of resident memory that is allowed, all threads together. The largest picture of the
/// set that decodes has a few million pixels and takes some 100 MB; the bombs among the others ask
/// for gigabytes and must get none.
const MAX_RESIDENT_KIB: u64 = 512 << 10;

fn hostile() -> Option<PathBuf> {
    Some(shared_data()?.join("hostile"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the set") {
        let path = entry.expect("an entry of the set").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

fn peak_resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

#[test]
fn every_file_is_an_image_or_a_drop() {
    let Some(folder) = hostile() else { return };
    let mut paths = Vec::new();
    files(&folder, &mut paths);
    assert!(paths.len() > 1000, "{} files", paths.len());
    let verdicts: Vec<String> = paths
        .par_iter()
        .map(|path| {
            let bytes = std::fs::read(path).expect("a readable file");
            match inspect(&bytes, &LIMITS) {
                Ok(facts) => {
                    let Picture { width, height, rgb } = decode(&bytes, &LIMITS).expect("what inspect let pass");
                    assert_eq!((width, height), (facts.width, facts.height), "{}", path.display());
                    assert_eq!(rgb.len() as u64, 3 * u64::from(width) * u64::from(height), "{}", path.display());
                    let small = decode_scaled(&bytes, &LIMITS, Some(64)).expect("what decodes in full decodes scaled");
                    let times = (width + small.width / 2) / small.width;
                    let sides = (width.div_ceil(times), height.div_ceil(times));
                    assert_eq!((small.width, small.height), sides, "{}", path.display());
                    format!("image: {}", facts.format.name())
                }
                Err(drop) => {
                    assert!(!drop.detail.is_empty(), "{}", path.display());
                    format!("drop: {}", drop.reason.name())
                }
            }
        })
        .collect();
    let mut table = BTreeMap::new();
    for verdict in verdicts {
        *table.entry(verdict).or_insert(0) += 1;
    }
    println!("{table:#?}");
    if let Some(peak) = peak_resident_kib() {
        println!("peak of resident memory: {peak} KiB");
        assert!(peak < MAX_RESIDENT_KIB, "{peak} KiB, {MAX_RESIDENT_KIB} allowed");
    }
}

/// The eight orientations hold the same scene, stored and compressed apart: upright they differ by
/// noise alone.
#[test]
fn all_orientations_come_upright() {
    let Some(folder) = hostile() else { return };
    for (name, size) in [("Landscape", (1800, 1200)), ("Portrait", (1200, 1800))] {
        let example = |orientation: u8| -> (Facts, Picture) {
            let path = folder.join(format!("exif-orientation-examples/{name}_{orientation}.jpg"));
            let bytes = std::fs::read(&path).expect("an example");
            let facts = inspect(&bytes, &LIMITS).expect("a JPEG");
            (facts, decode(&bytes, &LIMITS).expect("a JPEG"))
        };
        let (_, upright) = example(1);
        for orientation in 1..=8 {
            let (facts, picture) = example(orientation);
            assert_eq!((facts.orientation, facts.width, facts.height), (orientation, size.0, size.1));
            assert_eq!(facts.original_width, if orientation < 5 { size.0 } else { size.1 });
            assert_eq!((picture.width, picture.height), size);
            let apart = picture.rgb.iter().zip(&upright.rgb).map(|(&a, &b)| u64::from(a.abs_diff(b))).sum::<u64>();
            let tenths = 10 * apart / picture.rgb.len() as u64;
            println!("{name} {orientation}: {tenths} tenths of a level apart on average");
            assert!(tenths < 40, "{name} {orientation}: {tenths} tenths of a level");
        }
    }
}
