//! `[engine.slurm]`: what jobs ask for, and how their tasks are looked after.

use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pipeline::engine::slurm::script;
use crate::pipeline::store::Store;
use lvd_base::error::{Error, Result};

/// How tasks run on Slurm. `[engine.slurm.overrides.NAME]` holds the same keys for a stage, a step or a `"step/phase"`, the more
/// particular before the more general, and for the `driver` that `lvd submit` sends; lists and texts replace, they are not joined.
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
    /// Tasks of an element, one after the other. Left out: as few as make an array that the cluster takes, of 1,000 elements at most.
    pub tasks_per_element: Option<u32>,
    /// How often a task is tried before it is given up and named. An attempt that is lost with its node counts, one that was told
    /// to stop does not. Default: 3.
    pub tries: Option<u32>,
    /// Seconds before a failed task is tried again, doubled each time. Default: 30.
    pub retry_s: Option<f64>,
    /// A task that runs this many times longer than the median of its phase (and `retry_s` longer) is started a second time elsewhere; the first to end counts. 0:
    /// never. Default: 4.
    pub straggler: Option<f64>,
    /// Seconds from one look at the queue and the work folder to the next. Default: 10.
    pub poll_s: Option<f64>,
    /// Where scripts and logs go, on a file system that all nodes share; not for overrides. Left out: `_slurm` in the work folder, which has to be
    /// a folder then.
    pub folder: Option<PathBuf>,
    /// Seconds before its time limit that an element is told to end its task and be queued again. Default: 60.
    pub lead_s: Option<u32>,
}

/// The settings of all kinds of jobs.
#[derive(Clone, Debug, Default)]
pub struct AllSettings {
    /// Of every job.
    pub base: Settings,
    /// By stage, step, `step/phase` or `driver`.
    pub overrides: IndexMap<String, Settings>,
}

impl AllSettings {
    /// The settings of a phase's jobs.
    #[must_use]
    pub fn of(&self, stage: &str, step: &str, phase: &str) -> Settings {
        let exact = format!("{step}/{phase}");
        let names = [stage, step, exact.as_str()];
        let mut names = names.to_vec();
        names.dedup();
        names.iter().filter_map(|name| self.overrides.get(*name)).fold(self.base.clone(), Settings::with)
    }

    /// Where submissions are kept.
    pub fn submissions(&self, store: &Store) -> Result<PathBuf> {
        let folder = match &self.base.folder {
            Some(folder) => folder.clone(),
            None if store.work.is_bucket() => {
                return Err(Error::usage(
                    "scripts and logs of Slurm jobs have no place in a bucket",
                    "set `folder` of [engine.slurm] to a folder that all nodes share",
                ));
            }
            None => PathBuf::from(store.work.absolute()?).join("_slurm"),
        };
        let folder = std::path::absolute(&folder).map_err(Error::io(&folder))?;
        match script::folder_fault(&folder) {
            None => Ok(folder),
            Some(fault) => Err(Error::usage(
                format!("the folder of Slurm's scripts and logs, {:?}, {fault}", folder.to_string_lossy()),
                "set `folder` of [engine.slurm] to a folder with another name, or use another --work",
            )),
        }
    }

    /// The settings of the driver's job: what the others ask for in processors, memory and GPUs is not for it.
    #[must_use]
    pub fn driver(&self) -> Settings {
        let base = Settings { cpus: None, memory: None, gpus: None, constraint: None, time: None, ..self.base.clone() };
        self.overrides.get("driver").map_or(base.clone(), |over| base.with(over))
    }
}

impl Settings {
    fn with(self, over: &Self) -> Self {
        let over = over.clone();
        Self {
            partition: over.partition.or(self.partition),
            qos: over.qos.or(self.qos),
            account: over.account.or(self.account),
            constraint: over.constraint.or(self.constraint),
            time: over.time.or(self.time),
            cpus: over.cpus.or(self.cpus),
            memory: over.memory.or(self.memory),
            gpus: over.gpus.or(self.gpus),
            sbatch: over.sbatch.or(self.sbatch),
            setup: over.setup.or(self.setup),
            prefix: over.prefix.or(self.prefix),
            at_once: over.at_once.or(self.at_once),
            tasks_per_element: over.tasks_per_element.or(self.tasks_per_element),
            tries: over.tries.or(self.tries),
            retry_s: over.retry_s.or(self.retry_s),
            straggler: over.straggler.or(self.straggler),
            poll_s: over.poll_s.or(self.poll_s),
            folder: over.folder.or(self.folder),
            lead_s: over.lead_s.or(self.lead_s),
        }
    }

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
    fn faults_of_texts(&self) -> Vec<(&'static str, String, &'static str)> {
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
            if let Some(fault) = script::directive_fault(text) {
                faults.push((key, format!("{key} = {text:?} {fault}"), "take it out; shell lines go into `setup`"));
            }
        }
        for argument in self.sbatch.iter().flatten().filter(|argument| !argument.trim_start().starts_with('-')) {
            let message = format!("sbatch = {argument:?} is no argument of sbatch");
            faults.push(("sbatch", message, "write each as it would be typed, for instance \"--exclude=node7\""));
        }
        let nul = |text: &String| text.contains('\0');
        if self.setup.as_ref().is_some_and(nul) {
            faults.push(("setup", "setup holds a NUL, which no shell reads".into(), "take it out"));
        }
        if self.prefix.iter().flatten().any(nul) {
            faults.push(("prefix", "prefix holds a NUL, which no command line takes".into(), "take it out"));
        }
        if let Some(folder) = &self.folder
            && let Some(fault) = script::folder_fault(folder)
        {
            faults.push((
                "folder",
                format!("folder = {:?} {fault}", folder.to_string_lossy()),
                "use a folder with another name",
            ));
        }
        faults
    }

    /// What is wrong with the values: a key, a message and a hint.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, String, &'static str)> {
        let mut faults = self.faults_of_texts();
        let mut at_least_one = |key, value: Option<u32>| {
            if value == Some(0) {
                faults.push((key, format!("{key} = 0"), "use 1 or more, or leave it out"));
            }
        };
        at_least_one("cpus", self.cpus);
        at_least_one("at_once", self.at_once);
        at_least_one("tasks_per_element", self.tasks_per_element);
        at_least_one("tries", self.tries);
        at_least_one("lead_s", self.lead_s);
        let mut in_range = |key, value: Option<f64>, low: f64| {
            if let Some(value) = value
                && !(low..=86_400.0).contains(&value)
            {
                faults.push((key, format!("{key} = {value}"), "use a number of seconds"));
            }
        };
        in_range("retry_s", self.retry_s, 0.0);
        in_range("poll_s", self.poll_s, 0.1);
        if let Some(straggler) = self.straggler
            && !(straggler == 0.0 || (1.0..=1e6).contains(&straggler))
        {
            faults.push(("straggler", format!("straggler = {straggler}"), "use 1 or more, or 0 for never"));
        }
        faults
    }
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
    fn the_more_particular_wins() {
        let cpus = |cpus| Settings { cpus: Some(cpus), ..Settings::default() };
        let base = Settings { partition: Some("long".into()), time: Some("1:00".into()), ..cpus(1) };
        let overrides = [("dedup", cpus(2)), ("near", cpus(3)), ("near/join", cpus(4)), ("driver", cpus(5))];
        let all =
            AllSettings { base, overrides: overrides.into_iter().map(|(name, of)| (name.to_owned(), of)).collect() };
        assert_eq!(all.of("embed", "embed", "embed").cpus, Some(1));
        assert_eq!(all.of("dedup", "clean", "join").cpus, Some(2));
        assert_eq!(all.of("dedup", "near", "train").cpus, Some(3));
        assert_eq!(all.of("dedup", "near", "join").cpus, Some(4));
        assert_eq!(all.of("dedup", "near", "join").partition.as_deref(), Some("long"));
        assert_eq!((all.driver().cpus, all.driver().time), (Some(5), None));
    }
}
