//! What ends a command early.

use crate::cli::progress::Progress;
use crate::cli::say::say;
use crate::cli::signals;
use lvd_base::error::Error;

/// What ends a command early.
pub enum Stop {
    /// The command line or the pipeline file is wrong.
    Usage(Vec<Error>),
    /// It went wrong while it ran.
    Failed(Error),
    /// It went well, and what it looked for is there.
    Found,
    /// Standard output was closed: whoever read it has seen enough.
    Closed,
}

impl Stop {
    /// What a command could not do: what the user can mend is a wrong command.
    pub fn of_user(error: Error) -> Self {
        match error {
            Error::Usage(_) => Self::Usage(vec![error]),
            error => Self::Failed(error),
        }
    }

    /// A command that is wrong, with its cure.
    pub fn usage(fact: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Usage(vec![Error::usage(fact, cure)])
    }
}

/// Ends the process of a command that a signal has stopped, and that goes on when it is typed
/// again.
pub fn stopped(progress: &Progress, more: &str, signal: i32) -> ! {
    progress.clear();
    say!("stopped: run the same command to go on{more}");
    signals::end(128 + signal)
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(Error::io("standard output")(error)),
        }
    }
}
