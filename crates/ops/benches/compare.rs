//! Our side of the comparisons in `benches/compare/*.sh`: reads raw f32 files, computes, prints
//! seconds, writes raw answers.

use std::path::Path;
use std::time::Instant;

use lvd_kernels::{blas, exact};
use lvd_ops::kmeans::{Init, KMeans, train};

const USAGE: &str = "usage: compare knn QUERIES BASE D K ROWS_OUT
       compare kmeans POINTS D K ITERATIONS SEED INIT CENTROIDS_OUT   (INIT: random, plusplus or parallel)
       compare potential POINTS CENTROIDS D
       compare gflops";

fn main() {
    if let Some(warning) = blas::ensure_fast_kernel() {
        eprintln!("warning: {}; {}", warning.fact, warning.cure);
    }
    // Cargo adds --bench.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        // `cargo bench` without arguments runs every bench program: this one measures nothing by
        // itself.
        [] => println!("run benches/compare/knn.sh or benches/compare/kmeans.sh"),
        ["knn", queries, base, d, k, out] => knn(queries, base, number(d), number(k), out),
        ["kmeans", points, d, k, iterations, seed, init, out] => {
            let params = KMeans {
                k: number(k),
                iterations: number(iterations),
                seed: number(seed) as u64,
                init: match init {
                    "random" => Init::Random,
                    "parallel" => Init::Parallel,
                    _ => Init::PlusPlus,
                },
                ..KMeans::default()
            };
            kmeans(points, number(d), &params, out);
        }
        ["potential", points, centroids, d] => {
            let nearest = exact::nearest(&read(points), &read(centroids), number(d));
            let potential: f64 = nearest.iter().map(|&(_, distance)| f64::from(distance)).sum();
            println!("potential={potential}");
        }
        ["gflops"] => {
            println!("kernel={:?} one={} two={}", blas::kernel(), blas::sgemm_gflops(1), blas::sgemm_gflops(2));
        }
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    }
}

fn knn(queries: &str, base: &str, d: usize, k: usize, out: &str) {
    let (queries, base) = (read(queries), read(base));
    let start = Instant::now();
    let found = exact::knn_ip(&queries, &base, d, k);
    println!("seconds={}", start.elapsed().as_secs_f64());
    write(out, found.rows.iter().flat_map(|row| row.to_le_bytes()));
}

fn kmeans(points: &str, d: usize, params: &KMeans, out: &str) {
    let points = read(points);
    let start = Instant::now();
    let trained = train(&points, d, params).expect("points to train on");
    let (seconds, iterations) = (start.elapsed().as_secs_f64(), trained.potentials.len());
    println!("seconds={seconds} iterations={iterations} repairs={}", trained.empty_repairs);
    write(out, trained.centroids.iter().flat_map(|x| x.to_le_bytes()));
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("{text} is not a number; {USAGE}"))
}

fn read(path: &str) -> Vec<f32> {
    let bytes = std::fs::read(Path::new(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn write(path: &str, bytes: impl Iterator<Item = u8>) {
    std::fs::write(path, bytes.collect::<Vec<_>>()).unwrap_or_else(|error| panic!("{path}: {error}"));
}
