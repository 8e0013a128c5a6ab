//! The scripts that are submitted: plain `sbatch` scripts, kept beside their logs, to be read and
//! edited.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::pipeline::engine::slurm::directive::{directive, pattern};
use crate::pipeline::engine::slurm::settings::Settings;
use crate::pipeline::shell::quoted;

/// A job array over tasks of a phase.
pub struct Array<'a> {
    /// `STEP/PHASE`.
    pub name: &'a str,
    /// How the driver knows it again.
    pub comment: &'a str,
    /// The folder of the submission.
    pub folder: &'a Path,
    /// The work folder.
    pub work: &'a str,
    /// The tasks of each element.
    pub elements: &'a [Vec<usize>],
    /// The program.
    pub program: &'a Path,
    /// What it asks for.
    pub settings: &'a Settings,
}

impl Array<'_> {
    /// Line N + 1 holds the tasks of element N.
    #[must_use]
    pub fn tasks(&self) -> String {
        let mut text = String::new();
        for tasks in self.elements {
            let numbers: Vec<String> = tasks.iter().map(usize::to_string).collect();
            let _ = writeln!(text, "{}", numbers.join(" "));
        }
        text
    }

    /// The script.
    #[must_use]
    pub fn text(&self) -> String {
        let throttle = self.settings.at_once.map_or(String::new(), |most| format!("%{most}"));
        let mut text = head(self.name, self.comment, self.settings);
        let _ = writeln!(text, "#SBATCH --array=0-{}{throttle}", self.elements.len().saturating_sub(1));
        let _ = writeln!(text, "#SBATCH --output={}", directive(&format!("{}/%a.log", pattern(self.folder))));
        let (step, phase) = self.name.split_once('/').unwrap_or((self.name, ""));
        let tasks = quoted(&self.folder.join("tasks.txt").to_string_lossy());
        let folder = quoted(&self.folder.to_string_lossy());
        let _ = write!(
            text,
            "\n{}# Line N + 1 of tasks.txt: the tasks of element N.\n\
             export LVD_LOG={folder}/$SLURM_ARRAY_TASK_ID.log\n\
             exec {}{} task {} {step} {phase} \\\n    --threads \"${{SLURM_CPUS_PER_TASK:-1}}\" --tries {} --lead {} \\\n    \
             $(sed -n \"$((SLURM_ARRAY_TASK_ID + 1))p\" {tasks})\n",
            setup(self.settings),
            prefix(self.settings),
            quoted(&self.program.to_string_lossy()),
            quoted(self.work),
            self.settings.tries(),
            self.settings.lead_s(),
        );
        text
    }
}

/// The script of the driver itself; `command` is its command line.
#[must_use]
pub fn driver(name: &str, comment: &str, log: &Path, folder: &Path, command: &[String], settings: &Settings) -> String {
    let mut text = head(name, comment, settings);
    let _ = writeln!(text, "#SBATCH --output={}", directive(&pattern(log)));
    let _ = writeln!(text, "#SBATCH --chdir={}", directive(&folder.to_string_lossy()));
    let command: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    let _ = write!(text, "\n{}exec {}{}\n", setup(settings), prefix(settings), command.join(" "));
    text
}

fn head(name: &str, comment: &str, settings: &Settings) -> String {
    let mut text = String::from("#!/bin/bash\n");
    let mut line = |option: &str, value: Option<&str>| {
        if let Some(value) = value {
            let _ = writeln!(text, "#SBATCH --{option}={}", directive(value));
        }
    };
    line("job-name", Some(name));
    line("comment", Some(comment));
    line("partition", settings.partition.as_deref());
    line("qos", settings.qos.as_deref());
    line("account", settings.account.as_deref());
    line("constraint", settings.constraint.as_deref());
    line("time", settings.time.as_deref());
    line("cpus-per-task", settings.cpus.map(|cpus| cpus.to_string()).as_deref());
    line("mem", settings.memory.as_deref());
    line("gpus", settings.gpus.map(|gpus| gpus.to_string()).as_deref());
    line("signal", Some(&format!("B:USR1@{}", settings.lead_s())));
    text.push_str("#SBATCH --requeue\n#SBATCH --open-mode=append\n");
    for argument in settings.sbatch.iter().flatten() {
        let _ = writeln!(text, "#SBATCH {argument}");
    }
    text
}

fn setup(settings: &Settings) -> String {
    settings.setup.as_ref().map_or(String::new(), |lines| format!("{}\n", lines.trim_end()))
}

fn prefix(settings: &Settings) -> String {
    settings.prefix.iter().flatten().fold(String::new(), |text, word| text + &quoted(word) + " ")
}

/// The tasks of each element, as [`Array::tasks`] wrote them; none where it did not.
#[must_use]
pub fn read_tasks(text: &str) -> Option<Vec<Vec<usize>>> {
    let tasks = |line: &str| line.split_whitespace().map(|number| number.parse().ok()).collect();
    text.lines().map(tasks).collect()
}

/// Where a submission keeps its list of tasks.
#[must_use]
pub fn tasks_file(folder: &Path) -> PathBuf {
    folder.join("tasks.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_asks_for_what_is_set_and_for_nothing_else() {
        let settings = Settings {
            partition: Some("gpu".into()),
            cpus: Some(8),
            at_once: Some(4),
            sbatch: Some(vec!["--exclude=bad1".into()]),
            setup: Some("module load cuda".into()),
            prefix: Some(vec!["apptainer".into(), "exec".into(), "my image.sif".into()]),
            ..Settings::default()
        };
        let elements = [vec![0, 1], vec![7]];
        let array = Array {
            name: "embed/embed",
            comment: "lvd:1:embed.embed.1",
            folder: Path::new("/w/_slurm/embed.embed.1"),
            work: "/w",
            elements: &elements,
            program: Path::new("/bin/lvd"),
            settings: &settings,
        };
        assert_eq!(read_tasks(&array.tasks()).as_deref(), Some(&elements[..]));
        assert_eq!(read_tasks("1 2\n3 x\n"), None);
        let text = array.text();
        for line in [
            "#SBATCH --partition=gpu",
            "#SBATCH --cpus-per-task=8",
            "#SBATCH --array=0-1%4",
            "#SBATCH --exclude=bad1",
            "#SBATCH --signal=B:USR1@60",
            "module load cuda",
            r"exec apptainer exec 'my image.sif' /bin/lvd task /w embed embed \",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        assert!(!text.contains("--mem") && !text.contains("--time"), "{text}");
    }
}
