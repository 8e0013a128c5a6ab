//! What to do next about the tasks of a phase: decided from what is seen, and from nothing that a
//! driver would have to remember.

use std::collections::{BTreeMap, BTreeSet};

use crate::pipeline::attempter::Try;

/// An element in the queue, with the tasks it was given.
#[derive(Clone, Debug)]
pub struct Live {
    /// `JOB_INDEX`.
    pub id: String,
    /// Whether it runs; else it waits.
    pub running: bool,
    /// Seconds it has run.
    pub elapsed: f64,
    /// Its tasks.
    pub tasks: Vec<usize>,
}

/// What is seen.
pub struct Seen<'a> {
    /// The tasks that have no marker.
    pub missing: &'a BTreeSet<usize>,
    /// The elements in the queue.
    pub queue: &'a [Live],
    /// The attempts that have not succeeded.
    pub tries: &'a [Try],
    /// Seconds since 1970.
    pub now: f64,
    /// Median seconds of the phase's tasks, once half of them are done.
    pub median: Option<f64>,
}

/// How tasks are looked after.
pub struct Rules {
    /// Attempts at a task.
    pub tries: usize,
    /// Seconds before the second attempt; doubled for each further one.
    pub retry_s: f64,
    /// Medians that are too long; 0: never.
    pub straggler: f64,
}

/// What to do.
#[derive(Debug, Default, PartialEq)]
pub struct Decision {
    /// Tasks to submit.
    pub submit: Vec<usize>,
    /// Tasks that run for too long and are to be started a second time.
    pub again: Vec<usize>,
    /// Tasks that were tried as often as they may, with their last attempt.
    pub failed: Vec<(usize, Try)>,
    /// Elements that have nothing left to do.
    pub cancel: Vec<String>,
    /// Tasks that run, as far as can be seen.
    pub running: usize,
}

/// Decides.
#[must_use]
pub fn decide(seen: &Seen, rules: &Rules) -> Decision {
    let live: BTreeMap<&str, &Live> = seen.queue.iter().map(|element| (element.id.as_str(), element)).collect();
    // A job that was started again has lost its earlier attempts.
    let mut restarts: BTreeMap<&str, u32> = BTreeMap::new();
    for attempt in seen.tries {
        if let Some(job) = &attempt.who.job {
            let latest = restarts.entry(job).or_default();
            *latest = (*latest).max(attempt.who.restart);
        }
    }
    let runs = |attempt: &Try| {
        let job = attempt.who.job.as_deref().unwrap_or_default();
        attempt.error.is_none()
            && live.get(job).is_some_and(|element| element.running)
            && restarts.get(job) == Some(&attempt.who.restart)
    };
    let mut by_task: BTreeMap<usize, Vec<&Try>> = BTreeMap::new();
    for attempt in seen.tries {
        by_task.entry(attempt.number).or_default().push(attempt);
    }
    let mut covered: BTreeMap<usize, Vec<&Live>> = BTreeMap::new();
    for element in seen.queue {
        for &task in &element.tasks {
            // An element does not come back to a task that failed under it.
            let left = by_task.get(&task).is_some_and(|tries| {
                tries.iter().any(|attempt| {
                    attempt.who.job.as_deref() == Some(&element.id)
                        && attempt.error.is_some()
                        && restarts.get(element.id.as_str()) == Some(&attempt.who.restart)
                })
            });
            if !left {
                covered.entry(task).or_default().push(element);
            }
        }
    }

    let mut decision = Decision::default();
    let too_long = seen.median.filter(|_| rules.straggler > 0.0).map(|median| rules.straggler * median + rules.retry_s);
    for &task in seen.missing {
        let tries = by_task.get(&task).map_or(&[][..], Vec::as_slice);
        let running: Vec<_> = tries.iter().filter(|attempt| runs(attempt)).collect();
        decision.running += usize::from(!running.is_empty());
        let elements = covered.get(&task).map_or(&[][..], Vec::as_slice);
        if elements.is_empty() {
            let ended: Vec<_> = tries.iter().filter(|attempt| !runs(attempt)).collect();
            let last = ended.iter().max_by(|a, b| a.ended().total_cmp(&b.ended()));
            match last {
                Some(last) if ended.len() >= rules.tries => decision.failed.push((task, (**last).clone())),
                Some(last) => {
                    let doublings = i32::try_from(ended.len() - 1).unwrap_or(i32::MAX).min(20);
                    if seen.now >= last.ended() + rules.retry_s * 2f64.powi(doublings) {
                        decision.submit.push(task);
                    }
                }
                None => decision.submit.push(task),
            }
        } else if let (Some(too_long), [element]) = (too_long, elements)
            && element.running
        {
            // An element that has begun none of its tasks by now hangs before them.
            let busy =
                seen.tries.iter().any(|attempt| runs(attempt) && attempt.who.job.as_deref() == Some(&element.id));
            let for_too_long = match running.as_slice() {
                [attempt] => seen.now - attempt.begun > too_long,
                [] => {
                    let begun = element.tasks.iter().filter(|task| !seen.missing.contains(task)).count();
                    !busy && begun == 0 && element.elapsed > too_long
                }
                _ => false,
            };
            if for_too_long {
                decision.again.push(task);
            }
        }
    }
    let failed: BTreeSet<usize> = decision.failed.iter().map(|(task, _)| *task).collect();
    let idle = |element: &&Live| element.tasks.iter().all(|task| !seen.missing.contains(task) || failed.contains(task));
    decision.cancel = seen.queue.iter().filter(idle).map(|element| element.id.clone()).collect();
    decision
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::attempter::Attempter;

    const NONE: [usize; 0] = [];
    const RULES: Rules = Rules { tries: 3, retry_s: 10.0, straggler: 4.0 };

    fn attempt(number: usize, job: &str, restart: u32, begun: f64, error: Option<&str>) -> Try {
        let who = Attempter { job: Some(job.into()), restart, host: "h".into(), process: 1, log: None };
        Try { number, who, begun, ended: error.map(|_| begun), error: error.map(str::to_owned) }
    }

    fn live(id: &str, running: bool, tasks: &[usize]) -> Live {
        Live { id: id.into(), running, elapsed: 0.0, tasks: tasks.to_vec() }
    }

    fn look(missing: &[usize], queue: &[Live], tries: &[Try], now: f64, median: Option<f64>) -> Decision {
        decide(&Seen { missing: &missing.iter().copied().collect(), queue, tries, now, median }, &RULES)
    }

    #[test]
    fn what_nobody_has_is_submitted() {
        let queue = [live("7_0", false, &[1, 2])];
        assert_eq!(look(&[1, 2, 3], &queue, &[], 0.0, None).submit, [3]);
        assert_eq!(look(&[], &queue, &[], 0.0, None).cancel, ["7_0"]);
    }

    #[test]
    fn a_failed_task_waits_longer_each_time_and_is_then_named() {
        let mut tries = vec![attempt(1, "7_0", 0, 100.0, Some("bad"))];
        // Its element goes on with another task, but does not come back to this one.
        let queue = [live("7_0", true, &[1, 2])];
        assert_eq!(look(&[1, 2], &queue, &tries, 109.0, None).submit, NONE);
        assert_eq!(look(&[1, 2], &queue, &tries, 110.0, None).submit, [1]);
        tries.push(attempt(1, "8_0", 0, 200.0, None));
        assert_eq!(look(&[1], &[], &tries, 219.0, None).submit, NONE);
        assert_eq!(look(&[1], &[], &tries, 220.0, None).submit, [1]);
        tries.push(attempt(1, "9_0", 0, 300.0, Some("worse")));
        let failed = look(&[1], &[], &tries, 1e9, None).failed;
        assert_eq!(
            failed.iter().map(|(task, last)| (*task, last.error.as_deref())).collect::<Vec<_>>(),
            [(1, Some("worse"))]
        );
    }

    #[test]
    fn a_job_that_was_started_again_covers_its_tasks() {
        let tries = [attempt(1, "7_0", 0, 0.0, None), attempt(1, "7_0", 1, 50.0, None)];
        let decision = look(&[1], &[live("7_0", true, &[1])], &tries, 60.0, None);
        assert_eq!((decision.submit.len(), decision.running), (0, 1));
        let waiting = look(&[1], &[live("7_0", false, &[1])], &tries[..1], 1e6, None);
        assert_eq!((waiting.submit.len(), waiting.running), (0, 0));
    }

    #[test]
    fn a_straggler_is_started_a_second_time_and_no_third() {
        let tries = [attempt(1, "7_0", 0, 100.0, None)];
        let mut queue = vec![live("7_0", true, &[1])];
        assert_eq!(look(&[1], &queue, &tries, 149.0, Some(10.0)).again, NONE);
        assert_eq!(look(&[1], &queue, &tries, 151.0, None).again, NONE);
        assert_eq!(look(&[1], &queue, &tries, 151.0, Some(10.0)).again, [1]);
        queue.push(live("8_0", false, &[1]));
        assert_eq!(look(&[1], &queue, &tries, 151.0, Some(10.0)).again, NONE);
    }

    #[test]
    fn an_element_that_hangs_before_its_tasks_is_a_straggler() {
        let hangs = Live { elapsed: 51.0, ..live("7_0", true, &[1, 2]) };
        assert_eq!(look(&[1, 2], std::slice::from_ref(&hangs), &[], 0.0, Some(10.0)).again, [1, 2]);
        // Task 2 only waits for its turn.
        let busy = [attempt(1, "7_0", 0, 0.0, None)];
        assert_eq!(look(&[1, 2], &[hangs], &busy, 5.0, Some(10.0)).again, NONE);
    }
}
