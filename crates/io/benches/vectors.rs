//! Vectors read back from Parquet as f32 blocks, beside a plain copy of as many bytes: the fraction
//! of memory bandwidth.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lvd_base::types::ImageId;
use lvd_io::checked::Stored;
use lvd_io::vectors::{self, VectorWriter};

const ROWS: u32 = 65_536;
const D: usize = 768;

fn reading(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("part.parquet");
    let values: Vec<f32> = (0u16..8192).cycle().take(ROWS as usize * D).map(|x| f32::from(x) / 8192.0).collect();
    let mut writer = VectorWriter::create(&path, D).expect("a part");
    for (block, values) in (0u32..).zip(values.chunks(8192 * D)) {
        let ids: Vec<ImageId> = (block * 8192..).take(values.len() / D).map(|row| ImageId::new(1, 0, row)).collect();
        let sha256 = vec!["0".repeat(64); ids.len()];
        writer.write(ids, sha256, values).expect("a written block");
    }
    writer.finish().expect("a whole part");

    let mut group = c.benchmark_group("vectors");
    group.throughput(Throughput::Bytes(4 * values.len() as u64)).sample_size(20);
    group.bench_function("read as f32", |b| {
        b.iter(|| {
            for block in vectors::read(&Stored::from(&path)).expect("a part") {
                black_box(block.expect("a block"));
            }
        });
    });
    // Blocks of the same size, allocated anew as a reader does.
    group.bench_function("copy f32", |b| {
        b.iter(|| {
            for block in values.chunks(8192 * D) {
                black_box(block.to_vec());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);
