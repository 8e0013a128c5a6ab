//! What Slurm is asked and told, by its own commands.

use std::path::Path;
use std::process::Command;

use lvd_base::error::{Error, Result};

/// An element of a job array that is in the queue: waiting, running or just ending.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// `JOB_INDEX`.
    pub id: String,
    /// Its place in the array; none for a job that is no array.
    pub index: Option<usize>,
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

/// An answer of Slurm's.
pub enum Answer<T> {
    /// It answered.
    Yes(T),
    /// It cannot be reached, or takes no more for now: ask again later.
    Later(String),
}

impl<T> Answer<T> {
    fn map<U>(self, of: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Yes(answer) => Answer::Yes(of(answer)),
            Self::Later(why) => Answer::Later(why),
        }
    }
}

/// What Slurm says when it is away or busy, and nothing is wrong with what it was asked.
const FOR_NOW: [&str; 14] = [
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

/// What it says of jobs that have gone on since they were seen.
const GONE_ON: [&str; 8] = [
    "Invalid job id",
    "already completing",
    "already completed",
    "already finished",
    "already been released",
    "no longer pending",
    "not pending",
    "current state",
];

/// What a command of Slurm's that ran said on standard output, or on standard error where it
/// failed.
fn said(program: &str, args: &[&str]) -> Result<std::result::Result<String, String>> {
    let output = Command::new(program).args(args).output().map_err(|error| {
        let hint = "run where Slurm's commands are installed and in PATH, or with --engine local";
        Error::usage(format!("{program}: {error}"), hint)
    })?;
    if output.status.success() {
        return Ok(Ok(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn ask(program: &str, args: &[&str]) -> Result<Answer<String>> {
    match said(program, args)? {
        Ok(answer) => Ok(Answer::Yes(answer)),
        Err(why) if FOR_NOW.iter().any(|text| why.contains(text)) => Ok(Answer::Later(why)),
        Err(why) => Err(Error::usage(
            format!("{program} {}: {why}", args.join(" ")),
            "the command can be tried by hand; [engine.slurm] says what is asked for",
        )),
    }
}

/// The longest array the cluster takes.
pub fn max_array_size() -> Result<Answer<usize>> {
    let size = |config: String| {
        let line = config.lines().find(|line| line.trim_start().starts_with("MaxArraySize"));
        let size = line.and_then(|line| line.split('=').nth(1)).and_then(|size| size.trim().parse().ok());
        // Slurm's own default.
        size.unwrap_or(1001)
    };
    Ok(ask("scontrol", &["show", "config"])?.map(size))
}

/// Submits a script; the answer is the job's number.
pub fn submit(script: &Path) -> Result<Answer<String>> {
    let answer = ask("sbatch", &["--parsable", &script.to_string_lossy()])?;
    // `JOB`, or `JOB;CLUSTER`.
    Ok(answer.map(|said| said.trim().split(';').take(1).collect()))
}

/// The user's own elements in the queue whose comment starts with `prefix`.
pub fn queue(prefix: &str) -> Result<Answer<Vec<Element>>> {
    let user = ["--me", "--noheader", "--array", "--format=%i|%T|%M|%r|%k"];
    let wanted =
        |text: String| text.lines().filter_map(element).filter(|found| found.comment.starts_with(prefix)).collect();
    Ok(ask("squeue", &user)?.map(wanted))
}

fn element(line: &str) -> Option<Element> {
    let mut fields = line.trim().splitn(5, '|');
    let (id, state, elapsed) = (fields.next()?, fields.next()?, fields.next()?);
    let (reason, comment) = (fields.next()?, fields.next()?);
    let index = match id.split_once('_') {
        Some((_, index)) => Some(index.parse().ok()?),
        None => None,
    };
    Some(Element {
        id: id.into(),
        index,
        state: state.into(),
        reason: reason.into(),
        // Of a job that has not begun, Slurm may say INVALID.
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
        match said(program, &args)? {
            Ok(_) => {}
            Err(why) if FOR_NOW.iter().any(|text| why.contains(text)) => return Ok(Answer::Later(why)),
            Err(why) if why.lines().all(|line| GONE_ON.iter().any(|text| line.contains(text))) => {}
            Err(why) => {
                let hint = "the command can be tried by hand; lvd status shows the jobs of the work folder";
                return Err(Error::usage(format!("{program} {}: {why}", args.join(" ")), hint));
            }
        }
    }
    Ok(Answer::Yes(()))
}

/// Asks for this very job to be queued again.
pub fn requeue(id: &str) -> Result<Answer<()>> {
    Ok(ask("scontrol", &["requeue", id])?.map(|_| ()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_squeue_are_read() {
        let found = element("17_3|RUNNING|1-02:03:04|None|lvd:abc:embed.embed.1")
            .map(|e| (e.id, e.index, e.elapsed, e.comment));
        assert_eq!(found, Some(("17_3".into(), Some(3), 93_784.0, "lvd:abc:embed.embed.1".into())));
        assert_eq!(
            element("18|PENDING|0:00|Resources|(null)").map(|e| (e.index, e.comment)),
            Some((None, "(null)".into()))
        );
        assert_eq!(element("slurm_load_jobs error"), None);
        assert_eq!(element("18_x|PENDING|0:00|Resources|(null)"), None);
        let held = |reason: &str| element(&format!("17_3|PENDING|0:00|{reason}|lvd:abc:embed.embed.1"))?.held();
        assert_eq!(held("launch failed requeued held"), Some(Held::AfterLaunch));
        assert_eq!(held("JobHeldUser"), Some(Held::ForGood));
        assert_eq!(held("DependencyNeverSatisfied"), Some(Held::ForGood));
        assert_eq!(held("Resources"), None);
        assert_eq!(seconds("INVALID"), None);
    }
}
