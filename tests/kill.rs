//! SIGKILL at random points of the quickstart, over and over: the end is the same as undisturbed.

mod common;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{content, lvd, on_example, run, strs};
use lvd::ops::hash::Draw;

/// Kills a run must survive.
const KILLS: usize = 20;

fn left_over(folder: &Path) -> usize {
    std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .map(
            |path| if path.is_dir() { left_over(&path) } else { usize::from(path.to_string_lossy().contains(".tmp-")) },
        )
        .sum()
}

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
            let begin = Instant::now();
            let ended = loop {
                if let Some(status) = child.try_wait().expect("it can be waited for") {
                    break Some(status);
                }
                if begin.elapsed() >= life {
                    break None;
                }
                std::thread::sleep(Duration::from_millis(2));
            };
            if let Some(status) = ended {
                assert!(status.success(), "it failed by itself after {kills} kills: {status}");
                if kills >= KILLS {
                    break;
                }
                // Done too early: take a step away, so that there is something to disturb.
                for step in ["embed", "dedup", "cluster", "sample", "export"].iter().skip(kills % 3) {
                    let _ = std::fs::remove_dir_all(work.join(step));
                }
            } else {
                child.kill().expect("SIGKILL");
                child.wait().expect("it is dead");
                kills += 1;
            }
        }
        println!("{kills} kills with {threads} threads");
        assert_eq!(content(&work), expected, "with {threads} threads");
        assert_eq!(left_over(&work), 0, "temporaries are gone");
    }
}
