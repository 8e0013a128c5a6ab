//! `lvd task`: what a scheduler runs. It needs the work folder and nothing else, and leaves in
//! order when it is told to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use signal_hook::consts::SIGUSR1;

use crate::cli::args::TaskArgs;
use crate::cli::requeue::requeue;
use crate::cli::say::{self, say};
use crate::cli::signals;
use crate::cli::stop::Stop;
use crate::cli::threads::compute_on;
use crate::pipeline::attempt::{Ended, Work};
use crate::pipeline::attempter::Attempter;
use crate::pipeline::keys::check_key;
use crate::pipeline::records::Planned;
use crate::pipeline::store::Store;
use lvd_base::error::Error;

/// What the thread that waits for signals shares with the one that works.
struct Shared {
    /// The task in hand, and when it was begun.
    current: Mutex<Option<(usize, SystemTime)>>,
    /// No further task is to be begun.
    stopping: AtomicBool,
}

/// Runs tasks of a phase, one after the other. A task that fails does not stop the others.
pub fn task(args: &TaskArgs) -> Result<(), Stop> {
    let threads = compute_on(args.threads)?;
    let store = Store::open(&args.work)?;
    let Some(planned) = planned(&store, args)? else {
        say!("{}/{}: done; the step is whole", args.step, args.phase);
        return Ok(());
    };
    let work = Work { store: &store, step: &args.step, phase: &args.phase, planned: &planned };
    for &number in &args.numbers {
        check_key(&planned, &args.step, &args.phase, number)?;
    }
    let name = format!("{}/{}", args.step, args.phase);
    let shared = Shared { current: Mutex::new(None), stopping: AtomicBool::new(false) };
    let mut failed = Vec::new();
    let hear = |signal| {
        if signals::stops(signal) {
            leave(&work, &shared, None, 128 + signal);
        }
        if !shared.stopping.swap(true, Ordering::SeqCst) {
            say!("{name}: told that time is short: no further task is begun");
            let lead = f64::from(args.lead);
            wait_for_the_task(&shared, Duration::from_secs_f64((lead - 10.0).max(lead / 2.0)));
            if shared.current.lock().is_ok_and(|current| current.is_some()) {
                leave(&work, &shared, Some("it ran into its time limit"), 0);
            }
        }
    };
    signals::heard(&[SIGUSR1], hear, || run_all(&work, args, &name, threads, &shared, &mut failed))??;
    match failed.len() {
        0 => Ok(()),
        n => Err(Error::usage(
            format!("{n} of {} tasks of {name} failed", args.numbers.len()),
            "the reasons stand above",
        )
        .into()),
    }
}

/// The plan of the phase; `None` where the step is whole and the tasks are among those it is made
/// of.
fn planned(store: &Store, args: &TaskArgs) -> Result<Option<Planned>, Stop> {
    let (step, phase) = (&args.step, &args.phase);
    if let Some(planned) = store.planned(step, phase)? {
        return Ok(Some(planned));
    }
    let tasks = store.manifest(step)?.and_then(|manifest| manifest.tasks.get(phase).map(Vec::len));
    if tasks.is_some_and(|tasks| args.numbers.iter().all(|&number| number < tasks)) {
        return Ok(None);
    }
    Err(Stop::usage(
        format!("{step}/{phase} is not open in {}: no driver has planned it", store.work.location()),
        "lvd status shows what is open; lvd run, or lvd plan --tasks, opens phases and closes steps",
    ))
}

fn run_all(
    work: &Work,
    args: &TaskArgs,
    name: &str,
    threads: usize,
    shared: &Shared,
    failed: &mut Vec<usize>,
) -> Result<(), Stop> {
    let who = Attempter::me();
    for (place, &number) in args.numbers.iter().enumerate() {
        if shared.stopping.load(Ordering::SeqCst) {
            say!("{name}: {} tasks left", args.numbers.len() - place);
            requeue(&who);
            return Ok(());
        }
        if let Some(most) = args.tries
            && ended_tries(work, number, &who)? >= most
        {
            say!("{name} {number}: was tried {most} times: left to the driver");
            failed.push(number);
            continue;
        }
        say!("{name} {number}: begun by {}", who.name());
        set(shared, Some((number, SystemTime::now())));
        let result = work.attempt(number, threads, &|_| ());
        set(shared, None);
        match result {
            Ok(ended) => {
                let how = match &ended {
                    Ended::Before(_) => "was done before",
                    Ended::Done(_) => "done",
                    Ended::Lost(_) => {
                        "done, but another attempt was first, with the same answer or one that counts as well"
                    }
                };
                let marker = ended.marker();
                let outcome = &marker.outcome;
                outcome.warnings.iter().for_each(|warning| say!("warning: {warning}"));
                say!(
                    "{name} {number}: {how}; {} rows in, {} out, {:.1} s",
                    outcome.rows_in,
                    outcome.rows_out,
                    marker.seconds
                );
            }
            Err(error) => {
                say::error(&format!("{name} {number}: "), &error);
                failed.push(number);
            }
        }
    }
    Ok(())
}

fn set(shared: &Shared, current: Option<(usize, SystemTime)>) {
    *shared.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = current;
}

/// Attempts at a task that are over: they failed, or this very job was started again since.
fn ended_tries(work: &Work, number: usize, me: &Attempter) -> Result<u32, Stop> {
    let tries = work.store.tries(work.step, work.phase)?;
    let over = tries.iter().filter(|attempt| {
        let earlier = attempt.who.job.is_some() && attempt.who.job == me.job && attempt.who.restart < me.restart;
        attempt.number == number && (attempt.error.is_some() || earlier)
    });
    Ok(u32::try_from(over.count()).unwrap_or(u32::MAX))
}

/// Waits until the task in hand is done, but not for longer than `most`.
fn wait_for_the_task(shared: &Shared, most: Duration) {
    let step = Duration::from_millis(100);
    let mut waited = Duration::ZERO;
    while waited < most && shared.current.lock().is_ok_and(|current| current.is_some()) {
        std::thread::sleep(step);
        waited += step;
    }
}

/// Takes back the task in hand and ends the process. An attempt that moved its checkpoint does not
/// count as one that failed.
fn leave(work: &Work, shared: &Shared, reason: Option<&str>, code: i32) {
    let current = *shared.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((number, begun)) = current {
        let reason = reason.filter(|_| !checkpoint_moved(work, number, begun));
        if let Err(error) = work.give_up(number, reason) {
            say::error("", &error);
        }
        say!("{}/{} {number}: given up", work.step, work.phase);
    }
    if code == 0 {
        requeue(&Attempter::me());
    }
    signals::end(code);
}

fn checkpoint_moved(work: &Work, number: usize, begun: SystemTime) -> bool {
    let Ok(key) = work.key(number) else { return false };
    let path = work.store.checkpoint(work.step, work.phase, key);
    let (Some(folder), Some(stem)) = (path.parent(), path.file_name()) else { return false };
    let moved = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| {
            entry.file_name().to_string_lossy().starts_with(&*stem.to_string_lossy())
                && entry.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|time| time > begun)
        })
    };
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.any(moved))
}
