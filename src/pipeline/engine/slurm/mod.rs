//! Tasks as elements of Slurm's job arrays.
//!
//! Slurm places, requeues and kills; the work folder says what is done. The driver looks at both, decides ([`decide`]) and submits what nobody has;
//! it remembers nothing that matters, so another driver can go on where one was killed, and takes over the jobs that are queued: they
//! carry the work folder's mark in their comments.

pub mod cluster;
mod decide;
pub mod script;
pub mod settings;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::pipeline::attempt::{Work, now};
use crate::pipeline::engine::Failure;
use crate::pipeline::store::{Marker, Store};
use cluster::{Answer, Element, Held};
use decide::{Live, Rules, Seen, decide};
use lvd_base::error::{Error, Result};
use lvd_io::part::sha256;
use lvd_io::publish;
use script::Array;
use settings::{AllSettings, Settings};

/// The most elements of an array that a driver makes by itself.
const ELEMENTS: usize = 1000;
/// How long a plain line of progress is good for.
const QUIET: Duration = Duration::from_secs(60);

/// A cluster, seen from a work folder.
pub struct Slurm {
    settings: AllSettings,
    program: PathBuf,
    elements: usize,
}

/// Told of what a driver does: markers of new tasks, and lines for people.
pub struct Tell<'a> {
    /// A task is done.
    pub done: &'a (dyn Fn(Marker) + Sync),
    /// Something to know.
    pub note: &'a (dyn Fn(String) + Sync),
}

impl Slurm {
    /// The cluster this machine belongs to; `say` is told when it does not answer.
    pub fn connect(settings: AllSettings, say: &dyn Fn(String)) -> Result<Self> {
        let patience = Patience::new(&settings.base);
        let longest = patience.with(say, &mut cluster::max_array_size)?;
        Ok(Self { elements: longest.clamp(1, ELEMENTS), ..Self::unasked(settings)? })
    }

    /// The same, without asking the cluster how long an array may be.
    pub fn unasked(settings: AllSettings) -> Result<Self> {
        let program = std::env::current_exe().map_err(Error::io("this program"))?;
        Ok(Self { settings, program, elements: ELEMENTS })
    }

    /// The tasks of each element of an array.
    fn elements(&self, settings: &Settings, tasks: &[usize]) -> Vec<Vec<usize>> {
        let least = tasks.len().div_ceil(self.elements);
        let each = settings.tasks_per_element.map_or(1, |each| each as usize).max(least).max(1);
        tasks.chunks(each).map(<[usize]>::to_vec).collect()
    }

    /// The script and the list of tasks that a phase would be submitted with.
    pub fn rehearse(&self, work: &Work, numbers: &[usize]) -> Result<(String, String)> {
        let settings = self.settings.of(work.planned.kind.name(), work.step, work.phase);
        let (place, submissions) = (work.store.work.absolute()?, self.settings.submissions(work.store)?);
        let submission = format!("{}.{}.1", work.step, work.phase);
        let elements = self.elements(&settings, numbers);
        let array = Array {
            name: &format!("{}/{}", work.step, work.phase),
            comment: &format!("{}{submission}", mark(&place)),
            folder: &submissions.join(&submission),
            work: &place,
            elements: &elements,
            program: &self.program,
            settings: &settings,
        };
        Ok((array.text(), array.tasks()))
    }

    /// Brings the tasks of a phase to an end. What could not be brought to one is returned.
    pub fn run(&self, work: &Work, numbers: &[usize], tell: &Tell) -> Result<Vec<Failure>> {
        let settings = self.settings.of(work.planned.kind.name(), work.step, work.phase);
        let place = work.store.work.absolute()?;
        let submissions = self.settings.submissions(work.store)?;
        let prefix = format!("{}{}.{}.", mark(&place), work.step, work.phase);
        let mut driver = Driver {
            slurm: self,
            work,
            rules: Rules {
                tries: settings.tries() as usize,
                retry_s: settings.retry_s(),
                straggler: settings.straggler(),
            },
            patience: Patience::new(&settings),
            settings,
            place,
            submissions,
            prefix,
            tell,
            missing: numbers.iter().copied().collect(),
            total: work.planned.keys.len(),
            seconds: Vec::new(),
            arrays: BTreeMap::new(),
            fresh: Vec::new(),
            fruitless: 0,
            not_before: 0.0,
            warned: BTreeSet::new(),
            released: BTreeMap::new(),
        };
        driver.forget_ended()?;
        driver.run()
    }
}

/// How the jobs of a work folder are known.
fn mark(place: &str) -> String {
    format!("lvd:{}:", &sha256(place.as_bytes())[..12])
}

/// The jobs of a work folder in the queue, the driver's own among them; `None` while Slurm does not answer.
pub fn jobs(store: &Store) -> Result<Option<Vec<Element>>> {
    Ok(match cluster::queue(&mark(&store.work.absolute()?))? {
        Answer::Yes(found) => Some(found),
        Answer::Later(_) => None,
    })
}

/// Whether anything was ever submitted for this work folder.
#[must_use]
pub fn was_used(store: &Store, settings: &AllSettings) -> bool {
    settings.submissions(store).is_ok_and(|folder| folder.is_dir())
}

/// Ends all jobs of a work folder, the driver's first; the answer is how many. `say` is told when Slurm does not answer.
pub fn cancel(store: &Store, settings: &Settings, say: &dyn Fn(String)) -> Result<usize> {
    let patience = Patience::new(settings);
    let prefix = mark(&store.work.absolute()?);
    let found = patience.with(say, &mut || cluster::queue(&prefix))?;
    let is_driver = |element: &&Element| element.comment == format!("{prefix}driver");
    let (drivers, others): (Vec<&Element>, Vec<&Element>) = found.iter().partition(is_driver);
    // Whole jobs, not element by element.
    for some in [drivers, others] {
        let jobs = some.iter().map(|element| element.id.split('_').next().unwrap_or(&element.id).to_owned());
        let jobs: BTreeSet<String> = jobs.collect();
        let jobs: Vec<String> = jobs.into_iter().collect();
        if !jobs.is_empty() {
            patience.with(say, &mut || cluster::cancel(&jobs))?;
        }
    }
    Ok(found.len())
}

/// Submits the driver itself; the answer is its job and its log. `say` is told when Slurm does not answer.
pub fn submit_driver(
    store: &Store,
    settings: &AllSettings,
    command: &[String],
    dry: bool,
    say: &dyn Fn(String),
) -> Result<(String, PathBuf)> {
    let folder = settings.submissions(store)?;
    let (log, comment) = (folder.join("driver.log"), format!("{}driver", mark(&store.work.absolute()?)));
    let here = std::env::current_dir().map_err(Error::io("the current folder"))?;
    if let Some(fault) = script::directive_fault(&here.to_string_lossy()) {
        let message = format!("the current folder, {:?}, {fault}", here.to_string_lossy());
        return Err(Error::usage(message, "run from another folder"));
    }
    let text = script::driver("lvd", &comment, &log, &here, command, &settings.driver());
    if dry {
        return Ok((text, log));
    }
    let patience = Patience::new(&settings.base);
    let queued = patience.with(say, &mut || cluster::queue(&comment))?;
    if let Some(there) = queued.first() {
        let message = format!("a driver of this work folder is queued already: job {}", there.id);
        return Err(Error::usage(message, format!("tail -F {}; or end it with: lvd cancel", log.display())));
    }
    publish::make_folder(&folder)?;
    let path = folder.join("driver.sh");
    publish::replace(&path, text.as_bytes())?;
    let job = patience.with(say, &mut || cluster::submit(&path))?;
    Ok((job, log))
}

/// Waits for Slurm to answer: a controller that is restarted is away for a while.
struct Patience {
    pause: Duration,
}

impl Patience {
    fn new(settings: &Settings) -> Self {
        Self { pause: Duration::from_secs_f64(settings.poll_s()) }
    }

    fn with<T>(&self, say: &dyn Fn(String), ask: &mut dyn FnMut() -> Result<Answer<T>>) -> Result<T> {
        let told = Cell::new(false);
        loop {
            match ask()? {
                Answer::Yes(answer) => return Ok(answer),
                Answer::Later(why) => {
                    if !told.replace(true) {
                        say(format!(
                            "warning: Slurm says: {why}; asking again every {:.0} s",
                            self.pause.as_secs_f64()
                        ));
                    }
                    std::thread::sleep(self.pause);
                }
            }
        }
    }
}

/// A phase being brought to an end.
struct Driver<'a> {
    slurm: &'a Slurm,
    work: &'a Work<'a>,
    rules: Rules,
    patience: Patience,
    settings: Settings,
    /// The work folder.
    place: String,
    /// Where submissions are kept.
    submissions: PathBuf,
    /// What the comments of this phase's jobs start with.
    prefix: String,
    tell: &'a Tell<'a>,
    missing: BTreeSet<usize>,
    total: usize,
    /// Seconds of the tasks that were seen to end.
    seconds: Vec<f64>,
    /// The tasks of the elements of submissions that were seen in the queue.
    arrays: BTreeMap<String, Vec<Vec<usize>>>,
    /// Submissions whose jobs have not ended yet: comment, tasks.
    fresh: Vec<(String, Vec<usize>)>,
    /// Submissions in a row that ended without a trace.
    fruitless: usize,
    /// When the next submission may be made, after fruitless ones.
    not_before: f64,
    /// Elements that a person has been told of.
    warned: BTreeSet<String>,
    /// How often elements were released.
    released: BTreeMap<String, usize>,
}

impl Driver<'_> {
    fn note(&self, text: String) {
        (self.tell.note)(text);
    }

    fn queue(&self) -> Result<Vec<Element>> {
        self.patience.with(&|why| self.note(why), &mut || cluster::queue(&self.prefix))
    }

    /// Attempts of jobs that are no more are forgotten: whoever starts a driver has mended what was wrong, or wants to know.
    fn forget_ended(&self) -> Result<()> {
        let queue: BTreeSet<String> = self.queue()?.into_iter().map(|element| element.id).collect();
        for attempt in self.work.store.tries(self.work.step, self.work.phase)? {
            let runs = attempt.error.is_none() && attempt.who.job.as_ref().is_some_and(|job| queue.contains(job));
            if !runs && let Ok(key) = self.work.key(attempt.number) {
                self.work.store.end_try(self.work.step, self.work.phase, key, &attempt.who)?;
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<Vec<Failure>> {
        let mut spoken = Instant::now();
        loop {
            self.look_for_markers()?;
            let queue = self.queue()?;
            self.look_for_held(&queue)?;
            let queue: Vec<Live> = queue.into_iter().filter_map(|element| self.live(element)).collect();
            let tries = self.work.store.tries(self.work.step, self.work.phase)?;
            // Once more: what ended between the two looks is not lost.
            self.look_for_markers()?;
            let median = self.median();
            let seen = Seen { missing: &self.missing, queue: &queue, tries: &tries, now: now(), median };
            let decision = decide(&seen, &self.rules);
            if !decision.cancel.is_empty() {
                self.patience.with(&|why| self.note(why), &mut || cluster::cancel(&decision.cancel))?;
            }
            if self.missing.len() == decision.failed.len() && (self.missing.is_empty() || queue.is_empty()) {
                let failure = |(number, last): (usize, crate::pipeline::attempt::Try)| Failure {
                    number,
                    error: last.error.unwrap_or_else(|| format!("it was killed, on {}", last.who.host)),
                    hint: None,
                    log: last.who.log,
                };
                return Ok(decision.failed.into_iter().map(failure).collect());
            }
            self.judge(&queue, &tries)?;
            if !decision.again.is_empty() {
                let tasks = decision.again.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
                self.note(format!("{}: started a second time, they run too long: {tasks}", self.name()));
            }
            let wanted: Vec<usize> = decision.submit.iter().chain(&decision.again).copied().collect();
            if !wanted.is_empty() && now() >= self.not_before {
                self.submit(&wanted)?;
            } else if spoken.elapsed() > QUIET {
                spoken = Instant::now();
                let done = self.total - self.missing.len();
                self.note(format!("{}: {done} of {} done, {} running", self.name(), self.total, decision.running));
            }
            std::thread::sleep(self.patience.pause);
        }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.work.step, self.work.phase)
    }

    /// Takes the tasks that are done off the list.
    fn look_for_markers(&mut self) -> Result<()> {
        let done = self.work.store.done_keys(self.work.step, self.work.phase)?;
        let ended: Vec<usize> =
            self.missing.iter().copied().filter(|&number| done.contains(&self.work.planned.keys[number])).collect();
        for number in ended {
            self.missing.remove(&number);
            if let Some(marker) =
                self.work.store.done(self.work.step, self.work.phase, &self.work.planned.keys[number])?
            {
                self.seconds.push(marker.seconds);
                (self.tell.done)(marker);
            }
        }
        Ok(())
    }

    /// Median seconds of a task, once half of the phase is done.
    fn median(&mut self) -> Option<f64> {
        let half = (self.total - self.missing.len()) * 2 >= self.total && !self.seconds.is_empty();
        self.seconds.sort_by(f64::total_cmp);
        half.then(|| self.seconds[self.seconds.len() / 2])
    }

    /// An element of the queue with its tasks; the lists of submissions by earlier drivers are read.
    fn live(&mut self, element: Element) -> Option<Live> {
        if !self.arrays.contains_key(&element.comment) {
            let submission = element.comment.rsplit(':').next().unwrap_or_default();
            let list = script::tasks_file(&self.submissions.join(submission));
            let tasks = script::read_tasks(&fs::read_to_string(list).ok()?);
            self.arrays.insert(element.comment.clone(), tasks);
        }
        let tasks = self.arrays.get(&element.comment)?.get(element.index)?.clone();
        let running = matches!(element.state.as_str(), "RUNNING" | "COMPLETING" | "SUSPENDED" | "STOPPED");
        Some(Live { id: element.id, running, elapsed: element.elapsed, tasks })
    }

    /// What Slurm could not launch and holds since may start elsewhere: it is released, as often as a task is tried. What else is held waits
    /// for a person.
    fn look_for_held(&mut self, queue: &[Element]) -> Result<()> {
        let mut free = Vec::new();
        for element in queue {
            let Some(held) = element.held() else { continue };
            let (id, reason, name) = (&element.id, &element.reason, self.name());
            let released = self.released.entry(id.clone()).or_default();
            if held == Held::AfterLaunch && *released < self.rules.tries {
                *released += 1;
                free.push(id.clone());
                self.note(format!("{name}: element {id} could not be launched, and is released: {reason}"));
            } else if self.warned.insert(id.clone()) {
                self.note(format!(
                    "warning: {name}: element {id} waits and will not start: {reason}; release it (scontrol release {id}), or lvd cancel"
                ));
            }
        }
        self.patience.with(&|why| self.note(why), &mut || cluster::release(&free))
    }

    /// Gives up on jobs that end before the program starts, time and again.
    fn judge(&mut self, queue: &[Live], tries: &[crate::pipeline::attempt::Try]) -> Result<()> {
        let (missing, arrays) = (&self.missing, &self.arrays);
        let mut ended = Vec::new();
        self.fresh.retain(|(comment, tasks)| {
            let elements = arrays.get(comment);
            let queued = elements.is_some_and(|elements| queue.iter().any(|live| elements.contains(&live.tasks)));
            let trace =
                tasks.iter().any(|task| !missing.contains(task) || tries.iter().any(|attempt| attempt.number == *task));
            if !queued || trace {
                ended.push((comment.clone(), trace));
            }
            queued && !trace
        });
        for (comment, trace) in ended {
            self.fruitless = if trace { 0 } else { self.fruitless + 1 };
            if !trace {
                let doublings = i32::try_from(self.fruitless - 1).unwrap_or(i32::MAX).min(20);
                self.not_before = now() + self.rules.retry_s * 2f64.powi(doublings);
            }
            if self.fruitless >= self.rules.tries {
                let submission = comment.rsplit(':').next().unwrap_or_default();
                let folder = self.submissions.join(submission);
                return Err(Error::usage(
                    format!("{} jobs of {} in a row ended before the program started", self.fruitless, self.name()),
                    format!(
                        "their script and what it printed is in {}; see `setup` and `prefix` of [engine.slurm]",
                        folder.display()
                    ),
                ));
            }
        }
        Ok(())
    }

    fn submit(&mut self, tasks: &[usize]) -> Result<()> {
        publish::make_folder(&self.submissions)?;
        let stem = format!("{}.{}", self.work.step, self.work.phase);
        // The first number that is free: folders of earlier drivers stay.
        let mut number = 1;
        let folder = loop {
            let folder = self.submissions.join(format!("{stem}.{number}"));
            match fs::create_dir(&folder) {
                Ok(()) => break folder,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::io(&folder)(error)),
            }
        };
        let elements = self.slurm.elements(&self.settings, tasks);
        let comment = format!("{}{number}", self.prefix);
        let array = Array {
            name: &self.name(),
            comment: &comment,
            folder: &folder,
            work: &self.place,
            elements: &elements,
            program: &self.slurm.program,
            settings: &self.settings,
        };
        let path = folder.join("job.sh");
        publish::replace(&script::tasks_file(&folder), array.tasks().as_bytes())?;
        publish::replace(&path, array.text().as_bytes())?;
        let job = self.patience.with(&|why| self.note(why), &mut || {
            // An answer that was lost on the way may have been a yes.
            if let Answer::Yes(found) = cluster::queue(&comment)?
                && let Some(element) = found.iter().find(|element| element.comment == comment)
            {
                return Ok(Answer::Yes(element.id.split('_').next().unwrap_or_default().to_owned()));
            }
            cluster::submit(&path)
        })?;
        self.note(format!(
            "{}: job {job}, {} tasks in {} elements; tail -F {}",
            self.name(),
            tasks.len(),
            elements.len(),
            folder.join("0.log").display()
        ));
        self.arrays.insert(comment.clone(), elements);
        self.fresh.push((comment, tasks.to_vec()));
        Ok(())
    }
}
