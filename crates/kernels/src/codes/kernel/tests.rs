use super::sink::{Best, Hits, Looking, Store};
use super::*;
use crate::codes::line::{LANES, Line};
use crate::hash::Draw;

#[test]
fn products_of_pairs_are_those_of_a_plain_sum() {
    let draw = Draw::new(2, "kernel");
    for length in [0, 4, 60, 64, 68, 512, 1000] {
        let code = |from: u64| -> Vec<i8> {
            (0..length)
                .map(|i| i8::try_from(i64::try_from(draw.bits(from + i) % 255).expect("small") - 127).expect("a code"))
                .collect()
        };
        let (a, b) = (code(0), code(1 << 20));
        let offset = 128 * b.iter().map(|&x| i32::from(x)).sum::<i32>();
        let sum: i32 = a.iter().zip(&b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
        #[expect(clippy::cast_precision_loss, reason = "what it is rounded to")]
        let expected = sum as f32;
        assert_eq!(product(&a, &b, offset).to_bits(), expected.to_bits());
        assert_eq!(plain_product(&a, &b), sum);
    }
}

#[test]
fn every_kernel_gives_the_integers_of_a_plain_sum() {
    let draw = Draw::new(1, "kernel");
    let byte = |i: usize| i32::try_from(draw.bits(i as u64) % 255).expect("small") - 127;
    for (rows, groups, width, used) in
        [(1, 1, 4, 4), (3, 6, 8, 8), (8, 5, 512, 128), (23, 3, 12, 8), (2, 9, 2048, 2048), (5, 4, 64, 64)]
    {
        let code = |row: usize, k: usize| i8::try_from(byte(row * width + k)).expect("a code");
        let value = |row: usize, k: usize| byte(1_000_000 + row * width + k);
        let codes: Vec<Vec<i8>> = (0..rows).map(|row| (0..width).map(|k| code(row, k)).collect()).collect();
        let mut packed = vec![Line::default(); groups * width / 4];
        for row in 0..groups * LANES {
            for k in 0..width {
                let line = row / LANES * width / 4 + k / 4;
                packed[line].0[row % LANES * 4 + k % 4] = u8::try_from(value(row, k) + 128).expect("a byte");
            }
        }
        let offsets: Vec<i32> =
            codes.iter().map(|row| 128 * row[..used].iter().map(|&c| i32::from(c)).sum::<i32>()).collect();
        let codes: Vec<&[i8]> = codes.iter().map(Vec::as_slice).collect();
        let operands = Operands { codes: &codes, offsets: &offsets, packed: &packed, lines: width / 4, used: used / 4 };
        let expected =
            |row: usize, base: usize| -> i32 { (0..used).map(|k| i32::from(codes[row][k]) * value(base, k)).sum() };
        let scales: Vec<f32> = (0u8..).take(groups * LANES).map(|i| 0.5 + f32::from(i) / 256.0).collect();
        let thresholds: Vec<f32> = (0u8..).take(rows * groups).map(|i| 40.0 * f32::from(i) - 300.0).collect();
        for kernel in all() {
            let mut out = vec![7; rows * groups * LANES];
            by(kernel, &operands, &mut Store { out: &mut out, stride: groups * LANES });
            let mut hits = Vec::new();
            by(kernel, &operands, &mut Hits { scales: &scales, thresholds: &thresholds, found: &mut hits });
            let mut looking = vec![Looking::new(200.0); rows];
            by(kernel, &operands, &mut Best { scales: &scales, first: 0, looking: &mut looking });
            for (place, &product) in out.iter().enumerate() {
                let (row, base) = (place / (groups * LANES), place % (groups * LANES));
                let sum = expected(row, base);
                assert_eq!(product, sum, "{kernel:?}: {rows} x {groups} x {width}, row {row}, base {base}");
                #[expect(clippy::cast_precision_loss, reason = "what the kernels do")]
                let reaches = sum as f32 * scales[base] >= thresholds[row * groups + base / LANES];
                let (row, base) = (u32::try_from(row).expect("few"), u32::try_from(base).expect("few"));
                assert_eq!(hits.iter().filter(|&&hit| hit == (row, base)).count(), usize::from(reaches));
                let Looking { found, most, least, .. } = &looking[row as usize];
                #[expect(clippy::cast_precision_loss, reason = "what the kernels do")]
                let value = sum as f32 * scales[base as usize];
                let there = found.iter().filter(|&&noted| noted == (base, value)).count();
                assert!(value <= *most && there <= 1 && (there == 1 || value < *least), "{kernel:?}: {row}, {base}");
            }
        }
    }
}
