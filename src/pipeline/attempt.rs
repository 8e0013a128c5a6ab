//! One attempt at one task: begun, computed, published, or told of why not.
//!
//! An attempt leaves a *try* for as long as it has not succeeded, so that anyone can see what runs,
//! what failed, and where. Two attempts at a task may overlap (a node that was given up lives on):
//! the first to publish its marker stands.

use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::pipeline::attempter::{Attempter, Try, now};
use crate::pipeline::records::{Marker, Planned};
use crate::pipeline::shell;
use crate::pipeline::store::Store;
use crate::stages::task::{Headway, Place, Task};
use crate::stages::{PhasePlan, TaskInput, run as run_stage};
use lvd_base::error::{Error, Result};
use lvd_io::publish;

/// What came of an attempt.
pub enum Ended {
    /// It was done before, and nothing was computed.
    Before(Marker),
    /// This attempt's answer stands.
    Done(Marker),
    /// Another attempt published first, and its answer stands.
    Lost(Marker),
}

impl Ended {
    /// The answer that stands.
    #[must_use]
    pub fn marker(self) -> Marker {
        match self {
            Self::Before(marker) | Self::Done(marker) | Self::Lost(marker) => marker,
        }
    }
}

/// A phase as a running task needs it.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// The work folder.
    pub store: &'a Store,
    /// The step.
    pub step: &'a str,
    /// The phase.
    pub phase: &'a str,
    /// Its plan.
    pub planned: &'a Planned,
}

impl Work<'_> {
    /// Attempts a task and publishes its marker. A failed attempt leaves its try, with the reason.
    pub fn attempt(&self, number: usize, threads: usize, progress: &(dyn Fn(Headway) + Sync)) -> Result<Ended> {
        let key = self.key(number)?;
        let who = Attempter::me();
        if let Some(marker) = self.store.done(self.step, self.phase, key)? {
            return Ok(Ended::Before(marker));
        }
        let mut attempt = Try { number, who, begun: now(), ended: None, error: None };
        let notes = notes();
        self.store.write_try(self.step, self.phase, key, &attempt)?;
        drop(notes);
        let result = self.compute(number, key, &attempt.who, threads, progress);
        let _notes = self::notes();
        match &result {
            Ok(_) => self.store.end_try(self.step, self.phase, key, &attempt.who)?,
            // Whoever goes on while the step is closed finds its temporaries gone.
            Err(_) if !self.store.is_open(self.step, self.phase)? => {
                self.store.end_try(self.step, self.phase, key, &attempt.who)?;
            }
            Err(error) => {
                attempt.ended = Some(now());
                attempt.error = Some(error.to_string());
                // What matters is the error itself, which the caller gets; a full disk takes no
                // notes.
                let _ = self.store.write_try(self.step, self.phase, key, &attempt);
            }
        }
        result
    }

    /// The key of a task.
    pub fn key(&self, number: usize) -> Result<&str> {
        self.planned.task(self.step, self.phase, number)
    }

    /// The command that runs a task alone, on this machine.
    #[must_use]
    pub fn again(&self, number: usize) -> String {
        again(self.store, self.step, self.phase, number)
    }

    /// Where this process's temporaries for a task go.
    fn aside(&self, number: usize, who: &Attempter) -> PathBuf {
        self.store.temporaries(self.step).join(format!("{}-{number}.tmp-{}_", self.phase, who.name()))
    }

    /// Takes back what this process has not finished: it was told to stop, and ends. No attempt of
    /// it begins or ends any more.
    pub fn give_up(&self, number: usize, reason: Option<&str>) -> Result<()> {
        std::mem::forget(notes());
        self.take_back(number, reason)
    }

    fn take_back(&self, number: usize, reason: Option<&str>) -> Result<()> {
        let (key, who) = (self.key(number)?, Attempter::me());
        let told = match reason {
            Some(reason) if self.store.is_open(self.step, self.phase)? => {
                let attempt = Try { number, who, begun: now(), ended: Some(now()), error: Some(reason.to_owned()) };
                self.store.write_try(self.step, self.phase, key, &attempt)
            }
            _ => self.store.end_try(self.step, self.phase, key, &who),
        };
        sweep_attempt(&self.aside(number, &Attempter::me()))?;
        told
    }

    fn compute(
        &self,
        number: usize,
        key: &str,
        who: &Attempter,
        threads: usize,
        progress: &(dyn Fn(Headway) + Sync),
    ) -> Result<Ended> {
        let (store, planned) = (self.store, self.planned);
        let aside = self.aside(number, who);
        publish::make_folder(&store.temporaries(self.step))?;
        sweep_attempt(&aside)?;
        let copies = Copies::of(store, &aside);
        let place = Place {
            copies: copies.0.clone(),
            work: store.work.clone(),
            step: self.step.to_owned(),
            number,
            aside: aside.clone(),
            checkpoint: store.checkpoint(self.step, self.phase, key),
        };
        let mut task = Task::new(&planned.catalog, place, threads, progress);
        let PhasePlan { common, unhashed, tasks, .. } = &planned.plan;
        let former = planned.former.get(&number).map(|former| &former.given);
        let input = TaskInput { common, unhashed, spec: &tasks[number], former };
        let begin = Instant::now();
        if let Err(error) = caught(|| run_stage(planned.kind, self.phase, input, &mut task)) {
            sweep_attempt(&aside)?;
            // Its step makes it again; nobody is to read it meanwhile. Where it cannot be moved,
            // the error says what matters.
            if let Error::Damaged { part: Some(part), .. } = &error {
                let _ = store.work.set_aside(part);
            }
            return Err(error);
        }
        let outcome = task.outcome;
        assert!(
            outcome.balances(),
            "{}/{} {number}: rows in are not rows out and drops: {outcome:?}",
            self.step,
            self.phase
        );
        let parts = outcome.parts.clone();
        let marker = Marker {
            key: key.to_owned(),
            outcome,
            seconds: begin.elapsed().as_secs_f64(),
            threads: u32::try_from(threads).unwrap_or(u32::MAX),
            peak_memory_bytes: peak_memory(),
            host: who.host.clone(),
            process: who.process,
            attempt: who.name(),
        };
        let stands = store.mark(self.step, self.phase, marker, &aside)?;
        let differ = stands.outcome.parts != parts;
        if stands.attempt == who.name() {
            return Ok(Ended::Done(stands));
        }
        store.withdraw(self.step, self.phase, &parts, &stands)?;
        if planned.repeatable && differ {
            let message = format!("two attempts at {}/{} {number} gave different bytes", self.step, self.phase);
            return Err(Error::usage(
                message,
                "machines of different kinds? the first answer stands; please report this",
            ));
        }
        Ok(Ended::Lost(stands))
    }
}

/// The command that runs a task of a phase alone.
#[must_use]
pub fn again(store: &Store, step: &str, phase: &str, number: usize) -> String {
    format!("lvd task {} {step} {phase} {number}", shell::quoted(&store.work.location()))
}

/// A task that panics has failed, and the others go on.
fn caught(run: impl FnOnce() -> Result<()>) -> Result<()> {
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let message = format!("the task panicked: {}", text.unwrap_or("no reason was given"));
        Err(Error::usage(message, "this is a fault of lvd: please report it, with what stands above"))
    })
}

/// Takes back all that this process has not finished in phases of steps: it was told to stop, and
/// ends. No attempt of it begins or ends any more.
pub fn give_up_all<'a>(store: &Store, phases: impl Iterator<Item = (&'a str, &'a str)>) -> Result<()> {
    std::mem::forget(notes());
    let me = Attempter::me();
    for (step, phase) in phases {
        let tries = store.tries(step, phase)?;
        let mine = tries.iter().filter(|attempt| attempt.who == me && attempt.error.is_none());
        let numbers: Vec<usize> = mine.map(|attempt| attempt.number).collect();
        if !numbers.is_empty()
            && let Some(planned) = store.planned(step, phase)?
        {
            let work = Work { store, step, phase, planned: &planned };
            numbers.iter().try_for_each(|&number| work.take_back(number, None))?;
        }
    }
    Ok(())
}

/// Copies of a bucket's parts that a task has read; removed when it ends.
struct Copies(PathBuf);

impl Copies {
    fn of(store: &Store, aside: &Path) -> Self {
        let name = aside.file_name().map_or_else(PathBuf::new, PathBuf::from);
        Self(store.work.root().join("_copies").join(name))
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Held while this process writes or removes a try, so that none is half written when it leaves.
fn notes() -> MutexGuard<'static, ()> {
    static NOTES: Mutex<()> = Mutex::new(());
    NOTES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what an earlier attempt of this very process left behind.
fn sweep_attempt(aside: &Path) -> Result<()> {
    let (Some(folder), Some(name)) = (aside.parent(), aside.file_name()) else { return Ok(()) };
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if entry.file_name().to_string_lossy().starts_with(&*name.to_string_lossy()) {
            match std::fs::remove_file(entry.path()) {
                // One that is given up may be removing its own.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(Error::io(entry.path()))?,
            }
        }
    }
    Ok(())
}

/// Highest resident memory of this process so far, in bytes; 0 where the system does not say.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: Option<u64> = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
    kibibytes.unwrap_or(0) * 1024
}
