//! Progress on stderr: a bar when a person watches, plain lines when not, of long phases one every
//! half a minute.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::rate::Rate;
use crate::cli::say::say;
use crate::cli::table::{counted, thousands};
use crate::pipeline::event::{Event, SlurmEvent};
use crate::pipeline::summary::Summary;

/// From one line on a running phase to the next, where nobody watches a bar.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// A running phase.
struct Running {
    /// The step and the phase.
    name: String,
    begin: Instant,
    /// When a line was last printed.
    last_line: Instant,
    rate: Rate,
}

/// Shows what the runner tells.
pub struct Progress {
    quiet: bool,
    watched: bool,
    bar: Mutex<Option<ProgressBar>>,
    running: Mutex<Option<Running>>,
    done: Mutex<Vec<(Summary, bool)>>,
}

impl Progress {
    /// For this process's stderr.
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            watched: std::io::stderr().is_terminal(),
            bar: Mutex::new(None),
            running: Mutex::new(None),
            done: Mutex::new(Vec::new()),
        }
    }

    /// Shows one event.
    pub fn tell(&self, event: &Event) {
        match event {
            Event::StepEnds(summary, fresh) => {
                self.say(&if *fresh { ended(summary) } else { format!("{}: up to date", summary.step) });
                self.done.lock().unwrap_or_else(PoisonError::into_inner).push(((*summary).clone(), *fresh));
            }
            Event::PhaseBegins { step, phase, tasks, to_run, rows } => {
                let rate = Rate { tasks: *to_run as u64, rows: *rows, ..Rate::default() };
                let (name, begin) = (format!("{step}: {phase}"), Instant::now());
                *self.running() = Some(Running { name, begin, last_line: begin, rate });
                self.begin(step, phase, *tasks, *to_run, *rows);
            }
            Event::Rows(rows) => self.update(|rate| rate.rows_done = *rows),
            Event::RowsBefore(rows) => self.update(|rate| rate.rows_before += rows),
            Event::TaskDone { rows, dropped } => self.update(|rate| {
                rate.tasks_done += 1;
                rate.rows_ended += rows;
                rate.dropped += dropped;
            }),
            Event::PhaseEnds => {
                *self.running() = None;
                self.clear();
            }
            Event::Warning(text) => self.warn(text),
            Event::Note(text) => self.with_or_without_bar(text),
            Event::Slurm(event) => match event {
                SlurmEvent::Silent { .. } | SlurmEvent::Held { .. } => self.warn(&of_slurm(event)),
                _ => self.with_or_without_bar(&of_slurm(event)),
            },
            Event::StepBegins(_) => {}
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far the phase is, and shows it: at once on the bar, now and then as a line.
    fn update(&self, note: impl FnOnce(&mut Rate)) {
        let mut running = self.running();
        let Some(running) = running.as_mut() else { return };
        note(&mut running.rate);
        let text = running.rate.text(running.begin.elapsed());
        if self.watched {
            let Rate { rows, rows_done, rows_before, tasks_done, .. } = running.rate;
            self.with_bar(|bar| {
                bar.set_position(if rows.is_some() { rows_before + rows_done } else { tasks_done });
                bar.set_message(text);
            });
        } else if !self.quiet && running.last_line.elapsed() >= LINE_EVERY {
            running.last_line = Instant::now();
            say!("{}: {text}", running.name);
        }
    }

    fn begin(&self, step: &str, phase: &str, tasks: usize, to_run: usize, rows: Option<u64>) {
        let known = if to_run < tasks {
            format!(" ({} done before)", thousands((tasks - to_run) as u64))
        } else {
            String::new()
        };
        let what = match rows {
            Some(rows) if to_run == 1 => counted(rows, "row"),
            Some(rows) => format!("{}, {}", counted(to_run as u64, "task"), counted(rows, "row")),
            None => counted(to_run as u64, "task"),
        };
        let text = format!("{step}: {phase}, {what}{known}");
        if self.quiet {
            return;
        }
        if !self.watched {
            say!("{text}");
            return;
        }
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {msg}");
        let bar = ProgressBar::new(rows.unwrap_or(to_run as u64));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.set_prefix(text);
        // The bar takes a thread, and panics without: rather one that stands still.
        if std::thread::Builder::new().spawn(|| ()).is_ok_and(|thread| thread.join().is_ok()) {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
    }

    fn with_bar(&self, act: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            act(bar);
        }
    }

    /// A line that leaves the bar where it is.
    fn with_or_without_bar(&self, text: &str) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        match bar.as_ref() {
            _ if self.quiet => {}
            Some(bar) => bar.println(text),
            None => say!("{text}"),
        }
    }

    /// Removes the bar.
    pub fn clear(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }

    /// Said to those as well who want to hear nothing else.
    fn warn(&self, text: &str) {
        let text = format!("warning: {text}");
        match self.bar.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(bar) => bar.println(text),
            None => say!("{text}"),
        }
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            self.clear();
            say!("{text}");
        }
    }

    /// The steps that ended, and whether each ran.
    pub fn summaries(&self) -> Vec<(Summary, bool)> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the driver of a cluster does and sees, in words.
fn of_slurm(event: &SlurmEvent) -> String {
    match event {
        SlurmEvent::Silent { why, pause_s } => format!("Slurm says: {why}; asking again every {pause_s:.0} s"),
        SlurmEvent::Submitted { phase, job, tasks, elements, log } => {
            format!("{phase}: job {job}, {tasks} tasks in {elements} elements; tail -F {}", log.display())
        }
        SlurmEvent::Progress { phase, done, tasks, running } => {
            format!("{phase}: {done} of {tasks} done, {running} running")
        }
        SlurmEvent::StartedAgain { phase, tasks } => {
            let tasks: Vec<String> = tasks.iter().map(usize::to_string).collect();
            format!("{phase}: started a second time, they run too long: {}", tasks.join(", "))
        }
        SlurmEvent::Released { phase, element, reason } => {
            format!("{phase}: element {element} could not be launched, and is released: {reason}")
        }
        SlurmEvent::Held { phase, element, reason } => format!(
            "{phase}: element {element} waits and will not start: {reason}; release it (scontrol release {element}), \
             or lvd cancel"
        ),
    }
}

fn ended(summary: &Summary) -> String {
    let drops: u64 = summary.drops.values().sum();
    format!(
        "{}: {} rows in, {} out, {} dropped, {:.1} s",
        summary.step,
        thousands(summary.rows_in),
        thousands(summary.rows_out),
        thousands(drops),
        summary.seconds
    )
}
