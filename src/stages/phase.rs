//! The phases of a stage: an enum each, and how its tasks are run.

use lvd_base::error::{Error, Result};

/// How a phase is run: a part of a stage whose tasks do not depend on one another.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// Its name in reports and bookkeeping.
    pub name: &'static str,
    /// Whether its rows are the step's rows: phases that count follow one another, each taking in
    /// what the last gave out.
    pub counts: bool,
    /// Whether its parts are only for the phases up to the next that is no scratch, and go when the
    /// step is whole.
    pub scratch: bool,
    /// Whether the same spec gives the same bytes. Where not (the network, a GPU), the first
    /// published answer stands.
    pub repeatable: bool,
    /// Whether it is too dear to be done again without being asked: what is there is replaced only
    /// with `--replace`.
    pub costly: bool,
    /// Tasks that are run at once at least, where they share a process.
    pub at_once: usize,
}

impl Phase {
    /// A phase that decides about rows.
    #[must_use]
    pub const fn counting(name: &'static str) -> Self {
        Self { name, counts: true, scratch: false, repeatable: true, costly: false, at_once: 1 }
    }

    /// A phase that prepares.
    #[must_use]
    pub const fn helping(name: &'static str) -> Self {
        Self { name, counts: false, scratch: false, repeatable: true, costly: false, at_once: 1 }
    }

    /// The same, its parts kept only until the step is whole.
    #[must_use]
    pub const fn scratch(self) -> Self {
        Self { scratch: true, ..self }
    }

    /// The same, with bytes that may differ from run to run.
    #[must_use]
    pub const fn unrepeatable(self) -> Self {
        Self { repeatable: false, ..self }
    }

    /// The same, not to be done again without being asked.
    #[must_use]
    pub const fn costly(self) -> Self {
        Self { costly: true, ..self }
    }

    /// The same, of tasks that need little memory and wait for the disk: one computes meanwhile.
    #[must_use]
    pub const fn two_at_once(self) -> Self {
        Self { at_once: 2, ..self }
    }
}

/// An enum of the phases of one stage.
pub trait PhaseId: Copy {
    /// Every phase that the stage may have, in order.
    fn all() -> Vec<Self>;

    /// How it is run.
    fn phase(self) -> Phase;

    /// Its name in reports and bookkeeping.
    fn name(self) -> &'static str {
        self.phase().name
    }

    /// The phase of this name: where a plan is read, and nowhere else.
    fn named(name: &str) -> Result<Self> {
        Self::all().into_iter().find(|phase| phase.name() == name).ok_or_else(|| no_such_phase(name))
    }
}

/// A plan and a program of different versions.
fn no_such_phase(name: &str) -> Error {
    Error::usage(format!("there is no phase {name:?}"), "the plan was made by another version of lvd: plan again")
}

/// Declares the phases of a stage in order: what each does, and how it is run.
macro_rules! phases {
    ($(#[$about:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $phase:ident = $how:expr,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[$doc])* $phase,)+ }

        impl $crate::stages::phase::PhaseId for $name {
            fn all() -> Vec<Self> {
                vec![$(Self::$phase),+]
            }

            fn phase(self) -> $crate::stages::phase::Phase {
                match self { $(Self::$phase => $how,)+ }
            }
        }
    };
}
pub(crate) use phases;
