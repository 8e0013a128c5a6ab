//! What Slurm is asked and told, by its own commands.

use std::path::Path;
use std::process::Command;

use lvd_base::error::{Error, Result};

/// An element of a job array that is in the queue: waiting, running or just ending.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// `JOB_INDEX`.
    pub id: String,
    /// Its place in the array.
    pub index: usize,
    /// `RUNNING`, `PENDING`, ...
    pub state: String,
    /// Why it is in this state.
    pub reason: String,
    /// Seconds it has run.
    pub elapsed: f64,
    /// What it was submitted as: see [`comment`].
    pub comment: String,
}

/// Who keeps an element from starting, if it is not its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Slurm itself, after it could not launch it: it may start elsewhere.
    AfterLaunch,
    /// A person, or what was asked for.
    ForGood,
}

impl Element {
    /// Whether it is held.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        let says = |text: &str| self.reason.to_lowercase().contains(text);
        if says("requeued held") || says("requeued_held") || says("jobholdmaxrequeue") {
            return Some(Held::AfterLaunch);
        }
        (says("held") || says("never")).then_some(Held::ForGood)
    }
}

/// What no answer of Slurm's is blamed on but Slurm: ask again later.
pub enum Answer<T> {
    /// It answered.
    Yes(T),
    /// It cannot be reached, or takes no more for now.
    Later(String),
}

fn ask(program: &str, args: &[&str]) -> Result<Answer<String>> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| {
        Error::usage(format!("{program}: {error}"), "run where Slurm's commands are installed, or with --engine local")
    })?;
    if output.status.success() {
        return Ok(Answer::Yes(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let for_now = [
        "Unable to contact slurm controller",
        "timed out",
        "Connection refused",
        "Zero Bytes",
        "temporarily",
        "Transport",
        "Resource temporarily",
        "Slurm backup controller in standby",
        "submit limit",
        "QOSMaxSubmit",
        "AssocMaxSubmit",
        "MaxSubmitJob",
        "Unable to connect",
        "Communication connection failure",
    ];
    if for_now.iter().any(|text| said.contains(text)) {
        return Ok(Answer::Later(said));
    }
    Err(Error::usage(
        format!("{program} {}: {said}", args.join(" ")),
        "the command can be tried by hand; [engine.slurm] says what is asked for",
    ))
}

/// The longest array the cluster takes.
pub fn max_array_size() -> Result<Answer<usize>> {
    Ok(match ask("scontrol", &["show", "config"])? {
        Answer::Yes(config) => {
            let line = config.lines().find(|line| line.trim_start().starts_with("MaxArraySize"));
            let size = line.and_then(|line| line.split('=').nth(1)).and_then(|size| size.trim().parse().ok());
            Answer::Yes(size.unwrap_or(1001))
        }
        Answer::Later(why) => Answer::Later(why),
    })
}

/// Submits a script; the answer is the job's number.
pub fn submit(script: &Path) -> Result<Answer<String>> {
    Ok(match ask("sbatch", &["--parsable", &script.to_string_lossy()])? {
        // `JOB`, or `JOB;CLUSTER`.
        Answer::Yes(said) => Answer::Yes(said.trim().split(';').next().unwrap_or_default().to_owned()),
        Answer::Later(why) => Answer::Later(why),
    })
}

/// The user's own elements in the queue whose comment starts with `prefix`.
pub fn queue(prefix: &str) -> Result<Answer<Vec<Element>>> {
    let user = ["--me", "--noheader", "--array", "--format=%i|%T|%M|%r|%k"];
    Ok(match ask("squeue", &user)? {
        Answer::Yes(text) => {
            Answer::Yes(text.lines().filter_map(element).filter(|found| found.comment.starts_with(prefix)).collect())
        }
        Answer::Later(why) => Answer::Later(why),
    })
}

fn element(line: &str) -> Option<Element> {
    let mut fields = line.trim().splitn(5, '|');
    let (id, state, elapsed) = (fields.next()?, fields.next()?, fields.next()?);
    let (reason, comment) = (fields.next()?, fields.next()?);
    let index = id.split_once('_').and_then(|(_, index)| index.parse().ok()).unwrap_or(0);
    Some(Element {
        id: id.into(),
        index,
        state: state.into(),
        reason: reason.into(),
        elapsed: seconds(elapsed).unwrap_or(0.0),
        comment: comment.into(),
    })
}

/// `D-HH:MM:SS`, `HH:MM:SS` or `MM:SS` in seconds.
fn seconds(text: &str) -> Option<f64> {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let clock = clock.split(':').map(|part| part.parse::<f64>().ok()).collect::<Option<Vec<f64>>>()?;
    Some(days.parse::<f64>().ok()? * 86_400.0 + clock.iter().fold(0.0, |sum, part| sum * 60.0 + part))
}

/// Ends jobs or elements; those that have ended by themselves are no error.
pub fn cancel(ids: &[String]) -> Result<Answer<()>> {
    of_each("scancel", &["--quiet"], ids)
}

/// Lets elements start that are held; those that are not any more are no error.
pub fn release(ids: &[String]) -> Result<Answer<()>> {
    of_each("scontrol", &["release"], ids)
}

fn of_each(program: &str, args: &[&str], ids: &[String]) -> Result<Answer<()>> {
    for some in ids.chunks(200) {
        let args: Vec<&str> = args.iter().copied().chain(some.iter().map(String::as_str)).collect();
        match ask(program, &args) {
            Ok(Answer::Later(why)) => return Ok(Answer::Later(why)),
            // One of them may have gone on since it was seen.
            Ok(Answer::Yes(_)) | Err(Error::Usage { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Answer::Yes(()))
}

/// Asks for this very job to be queued again.
pub fn requeue(id: &str) -> Result<Answer<()>> {
    Ok(match ask("scontrol", &["requeue", id])? {
        Answer::Yes(_) => Answer::Yes(()),
        Answer::Later(why) => Answer::Later(why),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_squeue_are_read() {
        let found = element("17_3|RUNNING|1-02:03:04|None|lvd:abc:embed.embed.1")
            .map(|e| (e.id, e.index, e.elapsed, e.comment));
        assert_eq!(found, Some(("17_3".into(), 3, 93_784.0, "lvd:abc:embed.embed.1".into())));
        assert_eq!(
            element("18|PENDING|0:00|Resources|(null)").map(|e| (e.index, e.comment)),
            Some((0, "(null)".into()))
        );
        assert_eq!(element("slurm_load_jobs error"), None);
        let held = |reason: &str| element(&format!("17_3|PENDING|0:00|{reason}|lvd:abc:embed.embed.1"))?.held();
        assert_eq!(held("launch failed requeued held"), Some(Held::AfterLaunch));
        assert_eq!(held("JobHeldUser"), Some(Held::ForGood));
        assert_eq!(held("DependencyNeverSatisfied"), Some(Held::ForGood));
        assert_eq!(held("Resources"), None);
        assert_eq!(seconds("INVALID"), None);
    }
}
