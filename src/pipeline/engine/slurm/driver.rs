//! A phase being brought to an end on the cluster: looked at, decided about, submitted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::pipeline::attempt::Work;
use crate::pipeline::attempter::{Try, now};
use crate::pipeline::engine::failure::Failure;
use crate::pipeline::engine::slurm::cluster::{self, Answer, Element, Held};
use crate::pipeline::engine::slurm::decide::{Live, Rules, Seen, decide};
use crate::pipeline::engine::slurm::jobs::mark;
use crate::pipeline::engine::slurm::patience::Patience;
use crate::pipeline::engine::slurm::script::{self, Array};
use crate::pipeline::engine::slurm::settings::Settings;
use crate::pipeline::engine::slurm::submission::Slurm;
use crate::pipeline::event::{Event, Observer, SlurmEvent};
use crate::pipeline::records::Marker;
use lvd_base::error::{Error, Result};
use lvd_io::publish;

/// How long a plain line of progress is good for.
const QUIET: Duration = Duration::from_mins(1);

/// Takes the marker of a task that is done.
type OnDone<'a> = dyn Fn(Marker) + Sync + 'a;

impl Slurm {
    /// Brings the tasks of a phase to an end. What could not be brought to one is returned.
    pub fn run(&self, work: &Work, numbers: &[usize], done: &OnDone, observer: &Observer) -> Result<Vec<Failure>> {
        let settings = self.settings.of(work.planned.kind.name(), work.step, work.phase)?;
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
            patience: Patience::new(&settings, observer),
            settings,
            place,
            submissions,
            prefix,
            done,
            observer,
            phase: format!("{}/{}", work.step, work.phase),
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

/// A phase being brought to an end.
struct Driver<'a> {
    slurm: &'a Slurm,
    work: &'a Work<'a>,
    rules: Rules,
    patience: Patience<'a>,
    settings: Settings,
    /// The work folder.
    place: String,
    /// Where submissions are kept.
    submissions: PathBuf,
    /// What the comments of this phase's jobs start with.
    prefix: String,
    /// Takes the markers of new tasks.
    done: &'a OnDone<'a>,
    observer: &'a Observer<'a>,
    /// `STEP/PHASE`.
    phase: String,
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
    fn tell(&self, event: SlurmEvent) {
        (self.observer)(Event::Slurm(event));
    }

    fn queue(&self) -> Result<Vec<Element>> {
        self.patience.with(|| cluster::queue(&self.prefix))
    }

    /// Attempts of jobs that are no more are forgotten: whoever starts a driver has mended what was
    /// wrong, or wants to know.
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
                self.patience.with(|| cluster::cancel(&decision.cancel))?;
            }
            if self.missing.len() == decision.failed.len() && (self.missing.is_empty() || queue.is_empty()) {
                let failure = |(number, last): (usize, Try)| Failure {
                    number,
                    error: last.error.unwrap_or_else(|| format!("it was killed, on {}", last.who.host)),
                    hint: None,
                    log: last.who.log,
                };
                return Ok(decision.failed.into_iter().map(failure).collect());
            }
            self.judge(&queue, &tries)?;
            if !decision.again.is_empty() {
                self.tell(SlurmEvent::StartedAgain { phase: &self.phase, tasks: &decision.again });
            }
            let wanted: Vec<usize> = decision.submit.iter().chain(&decision.again).copied().collect();
            if !wanted.is_empty() && now() >= self.not_before {
                self.submit(&wanted)?;
            } else if spoken.elapsed() > QUIET {
                spoken = Instant::now();
                let done = self.total - self.missing.len();
                let (phase, tasks, running) = (&self.phase, self.total, decision.running);
                self.tell(SlurmEvent::Progress { phase, done, tasks, running });
            }
            std::thread::sleep(self.patience.pause);
        }
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
                (self.done)(marker);
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

    /// An element of the queue with its tasks; the lists of submissions by earlier drivers are
    /// read.
    fn live(&mut self, element: Element) -> Option<Live> {
        if !self.arrays.contains_key(&element.comment) {
            let submission = element.comment.rsplit(':').next().unwrap_or_default();
            let list = script::tasks_file(&self.submissions.join(submission));
            let tasks = script::read_tasks(&fs::read_to_string(list).ok()?)?;
            self.arrays.insert(element.comment.clone(), tasks);
        }
        let tasks = self.arrays.get(&element.comment)?.get(element.index?)?.clone();
        let running = matches!(element.state.as_str(), "RUNNING" | "COMPLETING" | "SUSPENDED" | "STOPPED");
        Some(Live { id: element.id, running, elapsed: element.elapsed, tasks })
    }

    /// What Slurm could not launch and holds since may start elsewhere: it is released, as often as
    /// a task is tried. What else is held waits for a person.
    fn look_for_held(&mut self, queue: &[Element]) -> Result<()> {
        let mut free = Vec::new();
        for element in queue {
            let Some(held) = element.held() else { continue };
            let (phase, element, reason) = (&self.phase, &element.id, &element.reason);
            let released = self.released.entry(element.clone()).or_default();
            if held == Held::AfterLaunch && *released < self.rules.tries {
                *released += 1;
                free.push(element.clone());
                self.tell(SlurmEvent::Released { phase, element, reason });
            } else if self.warned.insert(element.clone()) {
                self.tell(SlurmEvent::Held { phase, element, reason });
            }
        }
        self.patience.with(|| cluster::release(&free))
    }

    /// Gives up on jobs that end before the program starts, time and again.
    fn judge(&mut self, queue: &[Live], tries: &[Try]) -> Result<()> {
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
                    format!("{} jobs of {} in a row ended before the program started", self.fruitless, self.phase),
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
            name: &self.phase,
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
        let job = self.patience.with(|| {
            // An answer that was lost on the way may have been a yes.
            if let Answer::Yes(found) = cluster::queue(&comment)?
                && let Some(element) = found.iter().find(|element| element.comment == comment)
            {
                return Ok(Answer::Yes(element.id.split('_').next().unwrap_or_default().to_owned()));
            }
            cluster::submit(&path)
        })?;
        let (phase, tasks_of, log) = (&self.phase, tasks.len(), folder.join("0.log"));
        let elements_of = elements.len();
        self.tell(SlurmEvent::Submitted { phase, job: &job, tasks: tasks_of, elements: elements_of, log: &log });
        self.arrays.insert(comment.clone(), elements);
        self.fresh.push((comment, tasks.to_vec()));
        Ok(())
    }
}
