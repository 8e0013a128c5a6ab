//! Waiting for Slurm to answer: a controller that is restarted is away for a while.

use std::time::Duration;

use crate::pipeline::engine::slurm::cluster::Answer;
use crate::pipeline::engine::slurm::settings::Settings;
use crate::pipeline::event::{Event, Observer, SlurmEvent};
use lvd_base::error::Result;

/// Asks until there is an answer.
pub struct Patience<'a> {
    /// From one question to the next.
    pub pause: Duration,
    observer: &'a Observer<'a>,
}

impl<'a> Patience<'a> {
    /// As patient as the settings say; `observer` is told when Slurm does not answer.
    #[must_use]
    pub fn new(settings: &Settings, observer: &'a Observer<'a>) -> Self {
        Self { pause: Duration::from_secs_f64(settings.poll_s()), observer }
    }

    /// The answer, however long it takes.
    pub fn with<T>(&self, mut ask: impl FnMut() -> Result<Answer<T>>) -> Result<T> {
        let mut told = false;
        loop {
            match ask()? {
                Answer::Yes(answer) => return Ok(answer),
                Answer::Later(why) => {
                    if !std::mem::replace(&mut told, true) {
                        let pause_s = self.pause.as_secs_f64();
                        (self.observer)(Event::Slurm(SlurmEvent::Silent { why: &why, pause_s }));
                    }
                    std::thread::sleep(self.pause);
                }
            }
        }
    }
}
