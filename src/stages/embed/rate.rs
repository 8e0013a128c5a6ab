//! How often something can be done a second, on several threads at once.

use std::sync::RwLock;
use std::sync::mpsc::{Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use lvd_base::error::{Error, Result};

/// Each of `threads` threads makes a state with `prepare` (given its number); then all repeat
/// `step`, which says how many it did, for `length`. The sum of what they did a second.
#[expect(clippy::cast_precision_loss, reason = "a measurement")]
pub fn rate<S>(
    threads: usize,
    length: Duration,
    prepare: impl Fn(usize) -> Result<S> + Sync,
    step: impl Fn(&mut S) -> Result<usize> + Sync,
) -> Result<f64> {
    let threads = threads.max(1);
    let gate = RwLock::new(());
    let shut = gate.write();
    let work = |thread: usize, ready: Sender<()>| -> Result<f64> {
        let prepared = prepare(thread);
        drop(ready);
        drop(gate.read());
        let mut state = prepared?;
        let begin = Instant::now();
        let mut count = 0;
        while count == 0 || begin.elapsed() < length {
            count += step(&mut state)?;
        }
        Ok(count as f64 / begin.elapsed().as_secs_f64())
    };
    std::thread::scope(|scope| {
        let work = &work;
        // Opened when it goes: when all are ready, or one could not be started.
        let shut = shut;
        let (sender, all_ready) = channel();
        let start = |thread| {
            let ready = sender.clone();
            Builder::new().spawn_scoped(scope, move || work(thread, ready)).map_err(Error::thread)
        };
        let workers = (0..threads).map(start).collect::<Result<Vec<_>>>()?;
        drop(sender);
        let _ = all_ready.recv();
        drop(shut);
        workers.into_iter().map(|worker| worker.join().unwrap_or(Ok(0.0))).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up_and_every_one_does_something() {
        let speed = rate(3, Duration::ZERO, Ok, |_| Ok(5)).expect("nothing fails");
        assert!(speed > 0.0 && speed.is_finite(), "{speed}");
    }

    #[test]
    fn one_that_cannot_start_holds_up_nobody() {
        let fail = |thread| if thread == 1 { Err(Error::usage("no", "yes")) } else { Ok(()) };
        assert!(rate(2, Duration::ZERO, fail, |()| Ok(1)).is_err());
        assert!(rate(2, Duration::ZERO, Ok, |_| Err(Error::usage("no", "yes"))).is_err());
    }
}
