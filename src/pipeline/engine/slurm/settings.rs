//! `[engine.slurm]`: what jobs ask for, and how their tasks are looked after.

use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::pipeline::engine::slurm::directive::{directive_fault, folder_fault};
use crate::pipeline::store::Store;
use lvd_base::error::{Error, Fault, Result};

/// How tasks run on Slurm. `[engine.slurm.overrides.NAME]` holds the same keys for a stage, a step
/// or a `"step/phase"`, the more particular before the more general, and for the `driver` that `lvd
/// submit` sends; lists and texts replace, they are not joined.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `--partition`.
    pub partition: Option<String>,
    /// `--qos`.
    pub qos: Option<String>,
    /// `--account`.
    pub account: Option<String>,
    /// `--constraint`.
    pub constraint: Option<String>,
    /// `--time`: the limit of an element of the job array, for instance `04:00:00`.
    pub time: Option<String>,
    /// `--cpus-per-task`, and the threads of a task. Left out: one.
    pub cpus: Option<u32>,
    /// `--mem`, for instance `32G`.
    pub memory: Option<String>,
    /// `--gpus`.
    pub gpus: Option<u32>,
    /// More arguments of `sbatch`, each as it would be typed.
    pub sbatch: Option<Vec<String>>,
    /// Shell lines that run before the program: `module load`, `export`, `source`.
    pub setup: Option<String>,
    /// What stands before the program on its command line: a container's command and its arguments.
    pub prefix: Option<Vec<String>>,
    /// Elements of one array at once, at most. Left out: as many as the cluster lets run.
    pub at_once: Option<u32>,
    /// Tasks of an element, one after the other. Left out: as few as make an array that the cluster
    /// takes, of 1,000 elements at most.
    pub tasks_per_element: Option<u32>,
    /// How often a task is tried before it is given up and named. An attempt that is lost with its
    /// node counts, one that was told to stop does not. Default: 3.
    pub tries: Option<u32>,
    /// Seconds before a failed task is tried again, doubled each time. Default: 30.
    pub retry_s: Option<f64>,
    /// A task that runs this many times longer than the median of its phase (and `retry_s` longer)
    /// is started a second time elsewhere; the first to end counts. 0: never. Default: 4.
    pub straggler: Option<f64>,
    /// Seconds from one look at the queue and the work folder to the next. Default: 10.
    pub poll_s: Option<f64>,
    /// Where scripts and logs go, on a file system that all nodes share; not for overrides. Left
    /// out: `_slurm` in the work folder, which has to be a folder then.
    pub folder: Option<PathBuf>,
    /// Seconds before its time limit that an element is told to end its task and be queued again.
    /// Default: 60.
    pub lead_s: Option<u32>,
}

/// The settings of all kinds of jobs, as the tables of the file, which have been looked at.
#[derive(Clone, Debug, Default)]
pub struct AllSettings {
    /// Of every job.
    pub base: Table,
    /// By stage, step, `step/phase` or `driver`.
    pub overrides: IndexMap<String, Table>,
}

/// What jobs ask for that is not for the driver's.
const NOT_THE_DRIVERS: [&str; 5] = ["cpus", "memory", "gpus", "constraint", "time"];

impl AllSettings {
    /// The settings of every job.
    pub fn of_all(&self) -> Result<Settings> {
        settings(self.base.clone())
    }

    /// The settings of a phase's jobs: the more particular table goes before the more general.
    pub fn of(&self, stage: &str, step: &str, phase: &str) -> Result<Settings> {
        let mut table = self.base.clone();
        for name in [stage, step, &format!("{step}/{phase}")] {
            table.extend(self.overrides.get(name).cloned().unwrap_or_default());
        }
        settings(table)
    }

    /// The settings of the driver's job: what the others ask for in processors, memory and GPUs is
    /// not for it.
    pub fn driver(&self) -> Result<Settings> {
        let mut table = self.base.clone();
        table.retain(|key, _| !NOT_THE_DRIVERS.contains(&key));
        table.extend(self.overrides.get("driver").cloned().unwrap_or_default());
        settings(table)
    }

    /// Where submissions are kept.
    pub fn submissions(&self, store: &Store) -> Result<PathBuf> {
        let folder = match self.of_all()?.folder {
            Some(folder) => folder,
            None if store.work.is_bucket() => {
                return Err(Error::usage(
                    "scripts and logs of Slurm jobs have no place in a bucket",
                    "set `folder` of [engine.slurm] to a folder that all nodes share",
                ));
            }
            None => PathBuf::from(store.work.absolute()?).join("_slurm"),
        };
        let folder = std::path::absolute(&folder).map_err(Error::io(&folder))?;
        match folder_fault(&folder) {
            None => Ok(folder),
            Some(fault) => Err(Error::usage(
                format!("the folder of Slurm's scripts and logs, {:?}, {fault}", folder.to_string_lossy()),
                "set `folder` of [engine.slurm] to a folder with another name, or use another --work",
            )),
        }
    }
}

impl Settings {
    /// How often a task is tried.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.tries.unwrap_or(3)
    }

    /// Seconds before a task is tried again.
    #[must_use]
    pub fn retry_s(&self) -> f64 {
        self.retry_s.unwrap_or(30.0)
    }

    /// How many medians are too long.
    #[must_use]
    pub fn straggler(&self) -> f64 {
        self.straggler.unwrap_or(4.0)
    }

    /// Seconds between looks.
    #[must_use]
    pub fn poll_s(&self) -> f64 {
        self.poll_s.unwrap_or(10.0)
    }

    /// Seconds of warning.
    #[must_use]
    pub fn lead_s(&self) -> u32 {
        self.lead_s.unwrap_or(60)
    }

    /// What is wrong with the texts.
    fn faults_of_texts(&self) -> Vec<(&'static str, Fault)> {
        let mut faults = Vec::new();
        let texts = [
            ("partition", &self.partition),
            ("qos", &self.qos),
            ("account", &self.account),
            ("constraint", &self.constraint),
            ("time", &self.time),
            ("memory", &self.memory),
        ];
        let arguments = self.sbatch.iter().flatten().map(|argument| ("sbatch", argument));
        for (key, text) in texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?))).chain(arguments) {
            if let Some(fault) = directive_fault(text) {
                let fact = format!("{key} = {text:?} {fault}");
                faults.push((key, Fault::new(fact, "take it out; shell lines go into `setup`")));
            }
        }
        for argument in self.sbatch.iter().flatten().filter(|argument| !argument.trim_start().starts_with('-')) {
            let fact = format!("sbatch = {argument:?} is no argument of sbatch");
            let cure = "write each as it would be typed, for instance \"--exclude=node7\"";
            faults.push(("sbatch", Fault::new(fact, cure)));
        }
        let nul = |text: &String| text.contains('\0');
        if self.setup.as_ref().is_some_and(nul) {
            faults.push(("setup", Fault::new("setup holds a NUL, which no shell reads", "take it out")));
        }
        if self.prefix.iter().flatten().any(nul) {
            faults.push(("prefix", Fault::new("prefix holds a NUL, which no command line takes", "take it out")));
        }
        if let Some((folder, fault)) = self.folder.as_ref().and_then(|folder| Some((folder, folder_fault(folder)?))) {
            let fact = format!("folder = {:?} {fault}", folder.to_string_lossy());
            faults.push(("folder", Fault::new(fact, "use a folder with another name")));
        }
        faults
    }

    /// What is wrong with the values, each with its key.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, Fault)> {
        let mut faults = self.faults_of_texts();
        let mut at_least_one = |key, value: Option<u32>| {
            if value == Some(0) {
                faults.push((key, Fault::new(format!("{key} = 0"), "use 1 or more, or leave it out")));
            }
        };
        at_least_one("cpus", self.cpus);
        at_least_one("at_once", self.at_once);
        at_least_one("tasks_per_element", self.tasks_per_element);
        at_least_one("tries", self.tries);
        at_least_one("lead_s", self.lead_s);
        let mut in_range = |key, value: Option<f64>, low: f64| {
            if let Some(value) = value.filter(|value| !(low..=86_400.0).contains(value)) {
                faults.push((key, Fault::new(format!("{key} = {value}"), "use a number of seconds")));
            }
        };
        in_range("retry_s", self.retry_s, 0.0);
        in_range("poll_s", self.poll_s, 0.1);
        let fine = |straggler: &f64| *straggler == 0.0 || (1.0..=1e6).contains(straggler);
        if let Some(straggler) = self.straggler.filter(|straggler| !fine(straggler)) {
            let fact = format!("straggler = {straggler}");
            faults.push(("straggler", Fault::new(fact, "use 1 or more, or 0 for never")));
        }
        faults
    }
}

/// The settings of a table. Each was looked at when the file was checked.
fn settings(table: Table) -> Result<Settings> {
    let fault = |error: toml::de::Error| {
        Error::usage(format!("[engine.slurm]: {}", error.message()), "lvd check FILE says where it is wrong")
    };
    Settings::deserialize(Value::Table(table)).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_leave_its_line_is_a_fault() {
        let text = |text: &str| Some(text.to_owned());
        let settings = Settings {
            partition: text("gpu\nrm -rf /"),
            account: text("a b"),
            constraint: text("a&b|[c*2]"),
            memory: text("4G\r"),
            sbatch: Some(vec!["--exclude=bad1".into(), "#".into(), "--x=\n".into()]),
            setup: text("module load cuda\nexport A=1"),
            prefix: Some(vec!["a\0".into()]),
            folder: Some("/w/a\\b".into()),
            ..Settings::default()
        };
        let keys: Vec<&str> = settings.faults().into_iter().map(|(key, ..)| key).collect();
        assert_eq!(keys, ["partition", "memory", "sbatch", "sbatch", "prefix", "folder"]);
        assert!(Settings { account: text("a b"), setup: settings.setup, ..Settings::default() }.faults().is_empty());
    }

    #[test]
    fn the_more_particular_wins() -> Result<()> {
        let table = |text: &str| text.parse::<Table>().expect("TOML");
        let base = table("partition = \"long\"\ntime = \"1:00\"\ncpus = 1\nsbatch = [\"-a\", \"-b\"]");
        let overrides = [
            ("dedup", "cpus = 2\nsbatch = [\"-c\"]"),
            ("near", "cpus = 3"),
            ("near/join", "cpus = 4"),
            ("driver", "cpus = 5"),
        ];
        let overrides = overrides.into_iter().map(|(name, text)| (name.to_owned(), table(text))).collect();
        let all = AllSettings { base, overrides };
        assert_eq!(all.of("embed", "embed", "embed")?.cpus, Some(1));
        assert_eq!(all.of("dedup", "clean", "join")?.cpus, Some(2));
        assert_eq!(all.of("dedup", "near", "train")?.cpus, Some(3));
        assert_eq!(all.of("dedup", "near", "join")?.cpus, Some(4));
        assert_eq!(all.of("dedup", "near", "join")?.partition.as_deref(), Some("long"));
        assert_eq!(all.of("dedup", "near", "join")?.sbatch, Some(vec!["-c".to_owned()]));
        assert_eq!((all.driver()?.cpus, all.driver()?.time), (Some(5), None));
        Ok(())
    }
}
