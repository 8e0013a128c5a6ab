//! The pipeline on a real Slurm cluster of three nodes, with everything dying that can die.

mod site;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::slurm::{Process, kill};
use crate::common::{Lack, UNDISTURBED, content, files, skip};
use lvd_kernels::hash::Draw;

use site::*;

/// One of `n` numbers.
fn below(n: u64, bits: u64) -> usize {
    usize::try_from(bits % n).expect("small")
}

fn until(what: &str, happens: impl Fn() -> bool) {
    let begin = Instant::now();
    while !happens() {
        assert!(begin.elapsed() < LONG, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_same_bytes_as_here_by_a_driver_that_is_a_job_itself() {
    let Some(site) = Site::start() else { return };
    let rehearsed = site.lvd("run", &["--engine", "slurm", "--dry-run"]).output().expect("it starts");
    let script = String::from_utf8_lossy(&rehearsed.stdout).into_owned();
    assert!(rehearsed.status.success() && script.starts_with("#!/bin/bash\n"), "{script}");
    assert!(script.contains("#SBATCH --job-name=ingest/list") && !site.work.join("_slurm").exists(), "{script}");

    let submitted = site.lvd("submit", &["--set", "engine.slurm.overrides.driver.cpus=1"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&submitted.stderr);
    assert!(submitted.status.success() && said.contains("tail -F"), "{said}");
    let second = site.lvd("submit", &[]).output().expect("it starts");
    assert!(String::from_utf8_lossy(&second.stderr).contains("queued already"), "{second:?}");
    // A second driver by mistake is refused.
    until("the driver holds the folder", || site.work.join("ingest").exists());
    let second = site.lvd("run", &["--engine", "slurm"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.code() == Some(1) && said.contains("another lvd is running in"), "{said}");
    assert!(said.contains(": process "), "it says who: {said}");

    let log = site.work.join("_slurm/driver.log");
    until("the pipeline ends", || fs::read_to_string(&log).is_ok_and(|text| text.contains("The data set:")));
    site.cluster.wait("the queue is empty", LONG, |cluster| cluster.ask("squeue", &["-h"]).is_empty());
    site.check();
    site.driver(&[]).succeeds();
    site.check();
}

#[test]
fn an_orphan_of_a_lost_node_loses_its_race() {
    let Some(mut site) = Site::start() else { return };
    let node = |name: &str, state: &str| {
        let args = ["update", &format!("nodename={name}"), &format!("state={state}"), "reason=test"];
        site.cluster.ask("scontrol", &args);
    };
    node("n1", "drain");
    // A task that is held back is not to be taken for a straggler.
    let driver = site.driver(&["--set", "engine.slurm.straggler=0"]);
    // Every task of the phase that can be caught is stopped: they are on the nodes 2 and 3.
    let mut stopped: Vec<Process> = Vec::new();
    while stopped.len() < 4 {
        let known: Vec<u32> = stopped.iter().map(|task| task.id).collect();
        stopped.push(site.caught("embed", &known));
    }
    let on = |name: &str, task: &&Process| task.variable("SLURMD_NODENAME") == Some(name);
    let orphans: Vec<Process> = stopped.iter().filter(|task| on("n3", task)).cloned().collect();
    let others: Vec<Process> = stopped.iter().filter(|task| on("n2", task)).cloned().collect();
    assert_eq!((orphans.len(), others.len()), (2, 2), "{stopped:?}");
    // One task is kept from ending, so that the phase is open while the race is run.
    let (holder, free) = (&others[0], &others[1]);
    node("n1", "resume");
    site.cluster.kill_node_daemon(3);
    kill(free.id, 18);
    until("replacements of the orphans' tasks publish", || orphans.iter().all(|orphan| site.is_done_with(orphan)));
    assert!(!site.is_done_with(holder), "the phase is open");
    for orphan in &orphans {
        kill(orphan.id, 18);
    }
    until("the orphans end", || {
        let running: BTreeSet<u32> = site.cluster.tasks().iter().map(|task| task.id).collect();
        orphans.iter().all(|orphan| !running.contains(&orphan.id))
    });
    kill(holder.id, 18);
    site.cluster.start_node(3);
    driver.succeeds();
    let logs = site.logs();
    let (starts, lost) = (logs.matches(": begun by ").count(), logs.matches("another attempt was first").count());
    let commits: usize = files(&site.work).iter().filter(|path| path.to_string_lossy().contains("/_done/")).count();
    println!("{starts} starts, {commits} commits, {lost} lost races");
    assert!(starts >= commits + 2 && lost >= 1, "{logs}");
    site.check();
}

#[test]
fn whatever_is_killed_the_end_is_the_same() {
    let Some(mut site) = Site::start() else { return };
    let draw = Draw::new(std::process::id().into(), "chaos");
    let mut driver = site.driver(&[]);
    let mut happened = [0; 4];
    let begin = Instant::now();
    for round in 0.. {
        assert!(begin.elapsed() < 4 * LONG, "it does not end:\n{}\n{}", driver.said(), site.cluster.story());
        // Who finds a node twice told of one job takes it out of service.
        site.cluster.resume_drained();
        // Ever less often, so that it comes to an end on a slow machine as well.
        let calm = 0.2 + 0.05 * f64::from(u32::try_from(round).expect("small"));
        std::thread::sleep(Duration::from_secs_f64(calm + draw.unit(3 * round)));
        if driver.ended().is_some() {
            break;
        }
        let kind = if round < 4 { usize::try_from(round).expect("small") } else { below(6, draw.bits(3 * round + 1)) };
        match kind {
            0 => {
                driver.kill();
                driver = site.driver(&[]);
            }
            1 if happened[1] < 2 => {
                site.cluster.kill_controller();
                std::thread::sleep(Duration::from_secs(1));
                site.cluster.start_controller(false);
            }
            2 if happened[2] < 2 => {
                let node = 1 + below(3, draw.bits(3 * round + 2));
                site.cluster.kill_node(node);
                std::thread::sleep(Duration::from_secs(1));
                site.cluster.start_node(node);
            }
            _ => {
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_secs(2) {
                    if let Some(task) = site.cluster.tasks().first() {
                        kill(task.id, 9);
                        happened[3] += 1;
                        break;
                    }
                }
                continue;
            }
        }
        happened[kind.min(3)] += 1;
    }
    println!(
        "killed: {} drivers, {} controllers, {} nodes, {} tasks",
        happened[0], happened[1], happened[2], happened[3]
    );
    assert!(happened.iter().all(|&times| times > 0), "{happened:?}");
    assert!(driver.ended().is_some_and(|status| status.success()), "{}", driver.said());
    site.check();
}

#[test]
fn a_task_that_hangs_is_started_a_second_time() {
    let Some(site) = Site::start() else { return };
    let driver = site.driver(&["--set", "engine.slurm.straggler=2"]);
    let hung = site.caught("embed", &[]);
    until("somebody else does its work", || site.is_done_with(&hung));
    driver.succeeds();
    assert!(
        fs::read_to_string(site.folder.path().join("driver.log"))
            .is_ok_and(|log| log.contains("started a second time"))
    );
    until("it is cancelled", || !site.cluster.tasks().iter().any(|task| task.id == hung.id));
    site.check();
}

#[test]
fn what_could_not_be_launched_is_released() {
    let Some(site) = Site::start() else { return };
    (1..=2).for_each(|node| site.cluster.fail_next_launch(node));
    let driver = site.driver(&[]);
    driver.succeeds();
    let said = fs::read_to_string(site.folder.path().join("driver.log")).expect("a log");
    println!("{said}");
    assert_eq!(said.matches("could not be launched, and is released").count(), 2, "{said}");
    assert!(!said.contains("waits and will not start"), "{said}");
    site.check();
}

#[test]
fn told_to_stop_a_task_leaves_in_order() {
    let Some(site) = Site::start() else { return };
    let driver = site.driver(&["--set", "engine.slurm.overrides.embed.tasks_per_element=4"]);
    // Time is short: the task in hand is finished, and the others are done by the same job, queued
    // again.
    let short = site.caught("embed", &[]);
    kill(short.id, 10);
    kill(short.id, 18);
    let job = short.variable("SLURM_ARRAY_JOB_ID").expect("a job").to_owned();
    let element = short.variable("SLURM_ARRAY_TASK_ID").expect("an element").to_owned();
    let log = site.work.join(format!("_slurm/embed.embed.1/{element}.log"));
    until("it is queued again", || fs::read_to_string(&log).is_ok_and(|text| text.contains("queued again")));
    // Preempted: gone at once, without a trace.
    let gone = site.caught("embed", &[short.id]);
    kill(gone.id, 15);
    kill(gone.id, 18);
    driver.succeeds();
    let text = fs::read_to_string(&log).expect("a log");
    assert!(text.contains("told that time is short") && text.contains(&format!("{job}_{element}.1-")), "{text}");
    assert!(site.logs().contains(": given up"), "{}", site.logs());
    site.check();
}

#[test]
fn a_job_whose_time_is_nearly_up_is_queued_again() {
    let Some(site) = Site::start() else { return };
    let of_embed = ["tasks_per_element=8", "time=\"00:01:00\"", "lead_s=50"];
    let set: Vec<String> = of_embed.iter().map(|set| format!("engine.slurm.overrides.embed.{set}")).collect();
    let more: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
    let driver = site.driver(&[&more[..], &["--set", "engine.slurm.straggler=0"]].concat());
    // Held until Slurm itself has sent the signal, some time before the minute is over, if it had
    // not already.
    let held = site.caught("embed", &[]);
    let told = || site.logs().contains("told that time is short");
    until("Slurm sends SIGUSR1", || is_pending(held.id, 10) || told());
    kill(held.id, 18);
    driver.succeeds();
    let logs = site.logs();
    assert!(logs.contains("told that time is short") && logs.contains("queued again"), "{logs}");
    site.check();
}

/// Whether a signal waits for a process that is stopped.
fn is_pending(process: u32, signal: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let masks = status.lines().filter_map(|line| line.strip_prefix("ShdPnd:").or(line.strip_prefix("SigPnd:")));
    masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).any(|mask| mask >> (signal - 1) & 1 == 1)
}

#[test]
fn a_task_that_always_fails_is_named_and_the_others_go_on() {
    let Some(site) = Site::start() else { return };
    site.driver(&["--to", "ingest"]).succeeds();
    // An image part rots: its size is right, its content is not. A file stands where such parts are
    // moved to.
    let in_the_way = site.work.join("ingest/_damaged");
    fs::write(&in_the_way, "").expect("room");
    let part = files(&site.work.join("ingest")).into_iter().find(|path| {
        path.parent() == Some(&site.work.join("ingest"))
            && path.extension().is_some_and(|ending| ending == "parquet")
            && path.to_string_lossy().contains("/part-")
    });
    let part = part.expect("a part");
    let mut rotten = fs::read(&part).expect("it reads");
    let end = rotten.len();
    rotten[4..end - 8].iter_mut().for_each(|byte| *byte = 0x5a);
    fs::write(&part, &rotten).expect("it is written");
    let mut driver = site.driver(&["--set", "engine.slurm.tries=2"]);
    until("the driver gives up", || {
        !site.work.join("embed/_plan").exists()
            || fs::read_to_string(&driver.log).is_ok_and(|text| text.contains("error: "))
    });
    until("the driver ends", || matches!(fs::read_to_string(&driver.log), Ok(text) if text.contains("hint: ")));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(driver.ended().and_then(|status| status.code()), Some(1), "{}", driver.said());
    assert!(driver.said().contains("1 of 8 tasks of embed/embed failed"), "{}", driver.said());
    let status = site.lvd("status", &[]).output().expect("it starts");
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    println!("{status}");
    assert!(
        status.contains("7/8") && status.contains("failed 2 times") && status.contains("  alone, here: lvd task "),
        "{status}"
    );
    assert!(status.contains(".log\n"), "{status}");
    // With room for it, the part is moved, its step makes it again, and the driver goes on.
    fs::remove_file(&in_the_way).expect("a file");
    let driver = site.driver(&["--set", "engine.slurm.tries=2"]);
    let log = driver.log.clone();
    driver.succeeds();
    let said = fs::read_to_string(log).expect("a log");
    assert!(said.contains("was damaged: it is made again"), "{said}");
    site.check();
}

#[test]
fn cancelled_it_goes_on_where_it_was() {
    let Some(site) = Site::start() else { return };
    assert!(site.lvd("submit", &[]).status().expect("it starts").success());
    let held = site.caught("embed", &[]);
    let status = site.lvd("status", &["--json"]).output().expect("it starts");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let embed = status.as_array().expect("steps").iter().find(|step| step["step"] == "embed").expect("embed");
    assert!(embed["state"] == "open" && embed["running"].as_u64() > Some(0), "{embed}");
    assert!(site.lvd("cancel", &[]).status().expect("it starts").success());
    kill(held.id, 18);
    site.cluster.wait("the queue is empty", LONG, |cluster| cluster.ask("squeue", &["-h"]).is_empty());
    assert!(!site.work.join("export").exists());
    site.driver(&[]).succeeds();
    site.check();
}

/// A file system of its own below a folder, of so many MiB; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(folder: &Path, mebibytes: u32) -> Option<Self> {
        fs::create_dir_all(folder).expect("a folder");
        let image = folder.with_extension("image");
        File::create(&image).and_then(|file| file.set_len(u64::from(mebibytes) << 20)).expect("an image");
        let ok = |program: &str, args: &[&str]| {
            Command::new(program)
                .args(args)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        let (image, place) = (image.to_string_lossy().into_owned(), folder.to_string_lossy().into_owned());
        let looped = ok("mkfs.ext4", &["-q", "-F", &image]) && ok("mount", &["-o", "loop", &image, &place]);
        let memory = || ok("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs", &place]);
        (looped || memory()).then(|| Self(folder.to_path_buf()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_survived() {
    let Some(mut site) = Site::start() else { return };
    let Some(disk) = Mounted::new(&site.folder.path().join("disk"), 64) else {
        skip(Lack::Mount, "nothing can be mounted here");
        return;
    };
    site.work = disk.0.join("work");
    let mut driver = site.driver(&["--set", "engine.slurm.tries=30"]);
    let held = site.caught("embed", &[]);
    // Nothing is left but a few bytes.
    let filler = disk.0.join("filler");
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=4k", &format!("of={}", filler.display())])
        .stderr(Stdio::null())
        .status();
    kill(held.id, 18);
    std::thread::sleep(Duration::from_secs(5));
    assert!(!site.work.join("export/_manifest.json").exists(), "nothing gets through a full disk");
    fs::remove_file(&filler).expect("it goes");
    until("the driver ends, or goes on", || {
        site.work.join("sample").exists() || fs::read_to_string(&driver.log).is_ok_and(|text| text.contains("error: "))
    });
    println!("{}", driver.said());
    // A driver that could not write says so, and the same command goes on.
    std::thread::sleep(Duration::from_millis(300));
    if driver.ended().is_some_and(|status| !status.success()) {
        assert!(driver.said().contains("No space left"), "{}", driver.said());
        driver = site.driver(&[]);
    }
    driver.succeeds();
    site.check();
}

#[test]
fn a_work_folder_may_have_any_name() {
    let Some(mut site) = Site::start() else { return };
    site.work = site.folder.path().join("it's \"a & b\" $HOME 100%j%% #é");
    site.driver(&["--to", "embed"]).succeeds();
    let logs = files(&site.work.join("_slurm"));
    let logs = logs.iter().filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    assert!(logs.count() > 3, "each element has its log where it was asked for");
    assert!(site.logs().contains("done; "), "{}", site.logs());
    let of_embed = |(path, _): &&(String, String)| path.starts_with("embed/");
    let rows = content(&site.work);
    assert!(rows.iter().filter(of_embed).eq(UNDISTURBED.iter().filter(of_embed)));
}
