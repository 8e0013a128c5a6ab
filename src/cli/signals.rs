//! Signals that ask a command to stop, heard on a thread of its own while the command works.
//!
//! A task may be deep in native code, so nobody waits for it: whoever hears the signal takes back
//! what is in hand and ends the process. What was published stands, and the same command goes on
//! from there.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

use lvd_base::error::{Error, Result};

/// Whether a signal asks to stop.
pub fn stops(signal: i32) -> bool {
    [SIGINT, SIGTERM, SIGHUP].contains(&signal)
}

/// Calls `hear` with each signal that comes while `work` runs: those that ask to stop, and
/// `others`. The second one that asks to stop ends the process at once. What whoever started this
/// process lets it ignore (`nohup`) stays ignored.
pub fn heard<T>(others: &[i32], mut hear: impl FnMut(i32) + Send, work: impl FnOnce() -> T) -> Result<T> {
    let (asked, ignored) = (Arc::new(AtomicBool::new(false)), ignored());
    let mut wanted = others.to_vec();
    for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0) {
        // In this order, or the first would end it.
        flag::register_conditional_shutdown(signal, 128 + signal, asked.clone()).map_err(Error::io("signals"))?;
        flag::register(signal, asked.clone()).map_err(Error::io("signals"))?;
        wanted.push(signal);
    }
    let mut signals = Signals::new(wanted).map_err(Error::io("signals"))?;
    let handle = signals.handle();
    std::thread::scope(|scope| {
        let listener = std::thread::Builder::new().name("lvd-signals".into());
        let listen = || signals.forever().for_each(&mut hear);
        listener.spawn_scoped(scope, listen).map_err(Error::thread)?;
        let _until = Closing(handle);
        Ok(work())
    })
}

/// Ends the listener when the work is over, by a panic, too.
struct Closing(Handle);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Ends the process as one that a signal has stopped. Threads in native code are left where they
/// are: nothing that the libraries would do at exit is safe beside them.
pub fn end(code: i32) -> ! {
    signal_hook::low_level::exit(code)
}

/// The signals that this process ignores, a bit each.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
