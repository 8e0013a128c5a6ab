//! A Slurm cluster of three nodes with a work folder, and a driver on it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::common::slurm::{Cluster, Process, kill};
use crate::common::{UNDISTURBED, content, files, on_example};

/// A minute and some more: what a cluster may take for anything.
pub const LONG: Duration = Duration::from_mins(2);

/// One cluster at a time: each has more nodes than this machine has cores.
static ONE: Mutex<()> = Mutex::new(());

/// A cluster and a work folder.
pub struct Site {
    pub cluster: Cluster,
    pub work: PathBuf,
    pub folder: tempfile::TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Site {
    pub fn start() -> Option<Self> {
        let one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let folder = tempfile::tempdir().expect("a folder");
        let cluster = Cluster::start(&folder.path().join("cluster"))?;
        LazyLock::force(&UNDISTURBED);
        Some(Self { work: folder.path().join("work"), cluster, folder, _one: one })
    }

    /// A command of lvd's on the example, for a driver that looks often and waits little.
    pub fn lvd(&self, command: &str, more: &[&str]) -> Command {
        let quick = ["engine.slurm.poll_s=0.3", "engine.slurm.retry_s=1", "engine.slurm.tries=9"];
        let quick: Vec<&str> = quick.iter().flat_map(|set| ["--set", *set]).collect();
        let mut program = self.cluster.command(Path::new(env!("CARGO_BIN_EXE_lvd")));
        program.args(on_example(command, &self.work, &[&quick[..], more].concat()));
        program
    }

    /// A driver in the background.
    pub fn driver(&self, more: &[&str]) -> Driver {
        let log = self.folder.path().join("driver.log");
        let file = File::options().create(true).append(true).open(&log).expect("a log");
        let mut command = self.lvd("run", &[&["--engine", "slurm"], more].concat());
        let child = command.stdout(Stdio::null()).stderr(file).spawn().expect("the driver starts");
        Driver { child, log }
    }

    /// Tasks of lvd's that run, of one phase.
    pub fn tasks(&self, phase: &str) -> Vec<Process> {
        self.cluster.tasks().into_iter().filter(|task| task.command.contains(&format!(" {phase} "))).collect()
    }

    /// Waits for a process that runs a task of a phase, and stops it on the spot.
    pub fn caught(&self, phase: &str, but_not: &[u32]) -> Process {
        let begin = Instant::now();
        loop {
            let wanted = |task: &Process| !but_not.contains(&task.id) && self.has_begun(task);
            if let Some(task) = self.tasks(phase).into_iter().find(wanted) {
                kill(task.id, 19);
                // It may have ended just before.
                if self.tasks(phase).iter().any(|known| known.id == task.id) && !self.is_done_with(&task) {
                    return task;
                }
                kill(task.id, 18);
            }
            assert!(begin.elapsed() < LONG, "no task of {phase} was caught");
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Whether a process has begun a task: before that it would find a task done that another has
    /// done.
    pub fn has_begun(&self, task: &Process) -> bool {
        let ending = format!("-{}.json", task.id);
        let step = self.work.join(words(task)[1]).join("_tries");
        files(&step).iter().any(|path| path.to_string_lossy().ends_with(&ending))
    }

    /// Whether all tasks of a process have their markers.
    pub fn is_done_with(&self, task: &Process) -> bool {
        numbers(task).iter().all(|&number| self.is_done(task, number))
    }

    pub fn is_done(&self, task: &Process, number: usize) -> bool {
        let words = words(task);
        let (step, phase) = (words[1], words[2]);
        let plan = fs::read(self.work.join(step).join("_plan").join(format!("{phase}.json")));
        // The plan goes when the step is whole.
        let Ok(plan) = plan else { return true };
        let plan: serde_json::Value = serde_json::from_slice(&plan).expect("JSON");
        let key = plan["keys"][number].as_str().expect("a key");
        self.work.join(step).join("_done").join(phase).join(format!("{key}.json")).exists()
    }

    /// Everything that jobs have printed.
    pub fn logs(&self) -> String {
        let mut logs = String::new();
        for submission in fs::read_dir(self.work.join("_slurm")).expect("submissions").flatten() {
            for file in fs::read_dir(submission.path()).into_iter().flatten().flatten() {
                if file.path().extension().is_some_and(|ending| ending == "log") {
                    logs += &fs::read_to_string(file.path()).expect("a log");
                }
            }
        }
        logs
    }

    /// What must hold at the end, whatever has happened: the rows of an undisturbed run, one part
    /// and one marker a task, nothing left over.
    pub fn check(&self) {
        assert_eq!(content(&self.work), *UNDISTURBED);
        for (step, _) in UNDISTURBED.iter().filter_map(|(path, _)| path.split_once('/')) {
            let folder = self.work.join(step);
            let manifest = fs::read(folder.join("_manifest.json")).expect("a manifest");
            let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
            let tasks: usize = manifest["tasks"]
                .as_object()
                .expect("tasks")
                .values()
                .map(|keys| keys.as_array().map_or(0, Vec::len))
                .sum();
            assert_eq!(files(&folder.join("_done")).len(), tasks, "{step}: a marker a task");
            for name in ["_tmp", "_tries", "_plan", "_checkpoint"] {
                assert_eq!(files(&folder.join(name)), Vec::<PathBuf>::new(), "{step}");
            }
            let left: Vec<PathBuf> =
                files(&folder).into_iter().filter(|path| path.to_string_lossy().contains(".tmp-")).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

/// A running driver.
pub struct Driver {
    pub child: Child,
    pub log: PathBuf,
}

impl Driver {
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it can be waited for")
    }

    pub fn kill(mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("it is dead");
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    pub fn succeeds(mut self) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                assert!(status.success(), "{}", self.said());
                return;
            }
            assert!(begin.elapsed() < 3 * LONG, "the driver does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What follows `task` on a command line.
pub fn words(task: &Process) -> Vec<&str> {
    task.command.split_whitespace().skip_while(|word| *word != "task").skip(1).collect()
}

/// The tasks on a command line: the numbers at its end, after `--lead SECONDS`.
pub fn numbers(task: &Process) -> Vec<usize> {
    let words = task.command.split_whitespace().skip_while(|word| *word != "--lead").skip(2);
    words.map(|word| word.parse().expect("a number")).collect()
}
