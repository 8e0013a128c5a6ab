//! Tasks on threads of this process.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

use lvd_base::error::Error;

/// Runs `task` for every number, at most `at_once` at a time, and returns what failed. The others
/// go on. The calling thread works, too; where another one cannot be started, that is the failure
/// of a task, and nothing new is begun.
pub fn local<E: Send + From<Error>>(
    numbers: &[usize],
    at_once: usize,
    task: &(dyn Fn(usize) -> Result<(), E> + Sync),
) -> Vec<(usize, E)> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let fail = |number, error| failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((number, error));
    let work = || {
        while let Some(&number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = task(number) {
                fail(number, error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..at_once.clamp(1, numbers.len().max(1)) {
            if let Err(error) = Builder::new().spawn_scoped(scope, work) {
                let place = next.swap(numbers.len(), Ordering::Relaxed);
                if let Some(&number) = numbers.get(place) {
                    fail(number, Error::thread(error).into());
                }
                break;
            }
        }
        work();
    });
    let mut failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failed.sort_by_key(|(number, _)| *number);
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_and_failures_are_named_in_order() {
        let runs: Vec<AtomicUsize> = (0..20).map(|_| AtomicUsize::new(0)).collect();
        let numbers: Vec<usize> = (0..20).collect();
        let failed = local(&numbers, 3, &|number| {
            runs[number].fetch_add(1, Ordering::Relaxed);
            if number % 7 == 0 { Err(Error::usage(format!("{}", number * 10), "")) } else { Ok(()) }
        });
        let failed: Vec<_> = failed.into_iter().map(|(number, error)| (number, error.to_string())).collect();
        assert_eq!(failed, [(0, "0".to_owned()), (7, "70".to_owned()), (14, "140".to_owned())]);
        assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
    }
}
