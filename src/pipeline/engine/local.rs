//! Tasks on threads of this process.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `task` for every number, at most `at_once` at a time, and returns what failed. The others go on.
pub fn local<E: Send>(
    numbers: &[usize],
    at_once: usize,
    task: &(dyn Fn(usize) -> Result<(), E> + Sync),
) -> Vec<(usize, E)> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, numbers.len().max(1)) {
            scope.spawn(|| {
                while let Some(&number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = task(number) {
                        failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((number, error));
                    }
                }
            });
        }
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
            if number % 7 == 0 { Err(number * 10) } else { Ok(()) }
        });
        assert_eq!(failed, [(0, 0), (7, 70), (14, 140)]);
        assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
    }
}
