//! SIGKILL at random points of the quickstart, over and over: the end is the same as undisturbed.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{content, files, let_live, lvd, on_example, run, strs};
use lvd_kernels::hash::Draw;

/// Kills a run must survive.
const KILLS: usize = 20;

#[test]
fn killed_at_random_points_it_ends_as_if_undisturbed() {
    let folder = tempfile::tempdir().expect("a folder");
    let undisturbed = folder.path().join("undisturbed");
    let begin = Instant::now();
    run(&strs(&on_example("run", &undisturbed, &[])));
    let whole = begin.elapsed();
    let expected = content(&undisturbed);
    let draw = Draw::new(std::process::id().into(), "kill");
    for threads in ["1", "2"] {
        let work = folder.path().join(threads);
        let args = on_example("run", &work, &["--threads", threads]);
        let mut kills = 0;
        for attempt in 0.. {
            let mut child = lvd().args(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
            // Short lives, so that many of them are needed; never so short that no task can end.
            let life = whole.mul_f64(0.04 + 0.12 * draw.unit(attempt)) + Duration::from_millis(30);
            if let Some(status) = let_live(&mut child, life) {
                assert!(status.success(), "it failed by itself after {kills} kills: {status}");
                if kills >= KILLS {
                    break;
                }
                // Done too early: take a step away, so that there is something to disturb.
                for step in ["embed", "dedup", "cluster", "sample", "export"].iter().skip(kills % 3) {
                    let _ = std::fs::remove_dir_all(work.join(step));
                }
            } else {
                kills += 1;
            }
        }
        println!("{kills} kills with {threads} threads");
        assert_eq!(content(&work), expected, "with {threads} threads");
        let left = files(&work).into_iter().filter(|path| path.to_string_lossy().contains(".tmp-"));
        assert_eq!(left.count(), 0, "temporaries are gone");
    }
}
