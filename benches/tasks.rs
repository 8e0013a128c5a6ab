//! A phase of 100,000 tasks that do nothing, planned, opened, marked and found again: what the
//! bookkeeping itself costs. `cargo bench --bench tasks [-- TASKS]`

use std::time::Instant;

use lvd::pipeline::keys::with_keys;
use lvd::pipeline::records::Marker;
use lvd::pipeline::store::Store;
use lvd::pipeline::store::markers::Parts;
use lvd::stages::catalog::Catalog;
use lvd::stages::task::Outcome;
use lvd::stages::{Phase, PhasePlan, StageKind};
use lvd_base::error::Error;
use rayon::prelude::*;

const PHASE: Phase = Phase::counting("nothing");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tasks: usize = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(100_000);
    let folder = tempfile::tempdir()?;
    let store = Store::open(&folder.path().to_string_lossy())?;
    let spec = |number| serde_json::json!({"shard": number, "part": format!("images/part-{number:06}.parquet"), "rows": 10_000});
    timed("plan", || {
        let plan = PhasePlan::new("nothing in common", (0..tasks).map(spec))?;
        with_keys(StageKind::Sample, PHASE, plan, &Catalog::default())
    })?;
    let plan = PhasePlan::new("nothing in common", (0..tasks).map(spec))?;
    let planned = with_keys(StageKind::Sample, PHASE, plan, &Catalog::default())?;
    let missing: Vec<usize> = (0..tasks).collect();
    timed("open: write the plan", || store.open_phase("step", "nothing", &planned, &missing))?;
    timed("a task reads the plan", || store.planned("step", "nothing"))?;
    timed("rescan, nothing done", || store.markers("step", "nothing", &planned.keys, Parts::Lasting))?;
    let mark = |range: &[String]| {
        range.par_iter().try_for_each(|key| {
            let marker = Marker {
                key: key.clone(),
                outcome: Outcome { rows_in: 10_000, rows_out: 10_000, ..Outcome::default() },
                seconds: 1.0,
                threads: 1,
                peak_memory_bytes: 1 << 30,
                host: "host".into(),
                process: 1,
                attempt: "host-1".into(),
            };
            store.mark("step", "nothing", marker, &folder.path().join(format!("{key}.tmp-"))).map(|_| ())
        })
    };
    let (first, second) = planned.keys.split_at(tasks / 2);
    timed("mark half of them", || mark(first))?;
    timed("rescan, half done: names only", || store.done_keys("step", "nothing"))?;
    timed("resume, half done", || store.markers("step", "nothing", &planned.keys, Parts::Lasting))?;
    timed("mark the others", || mark(second))?;
    timed("rescan, all done: names only", || store.done_keys("step", "nothing"))?;
    let found = timed("resume, all done", || store.markers("step", "nothing", &planned.keys, Parts::Lasting))?;
    assert!(found.markers.iter().all(Option::is_some));
    Ok(())
}

fn timed<T>(what: &str, act: impl FnOnce() -> Result<T, Error>) -> Result<T, Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let result = act()?;
    println!("{what:32} {:8.3} s, peak {:5} MiB", begin.elapsed().as_secs_f64(), peak_mebibytes());
    Ok(result)
}

fn peak_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) / 1024
}
