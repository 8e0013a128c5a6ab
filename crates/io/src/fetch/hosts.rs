//! Hosts: so many requests at a time to each, first come, first served; and whether one has answered
//! before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many hosts are remembered before those that nobody asks any more are forgotten.
const MAX_IDLE_HOSTS: usize = 4096;

/// The hosts being asked. Nobody ever holds two turns, so nobody waits in a circle.
pub(super) struct Hosts {
    per_host: usize,
    known: Mutex<HashMap<String, Arc<Host>>>,
}

struct Host {
    turns: Arc<Semaphore>,
    answered: AtomicBool,
}

/// A turn at a host; it lasts until this is dropped.
pub(super) struct Turn {
    host: Arc<Host>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Whether the host has answered before: a connection to it may then be an old one.
    pub(super) fn has_answered(&self) -> bool {
        self.host.answered.load(Ordering::Relaxed)
    }

    /// It has.
    pub(super) fn answers(&self) {
        self.host.answered.store(true, Ordering::Relaxed);
    }
}

impl Hosts {
    pub(super) fn new(per_host: usize) -> Self {
        Self { per_host: per_host.min(Semaphore::MAX_PERMITS), known: Mutex::default() }
    }

    /// Waits for a turn at `host`.
    pub(super) async fn enter(&self, host: &str) -> Turn {
        let host = self.host(host);
        // Fails only for a closed semaphore, and these are never closed.
        let permit = host.turns.clone().acquire_owned().await.ok();
        Turn { host, _permit: permit }
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = known.get(name) {
            return host.clone();
        }
        if known.len() >= MAX_IDLE_HOSTS {
            known.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let fresh = Arc::new(Host { turns: Arc::new(Semaphore::new(self.per_host)), answered: AtomicBool::new(false) });
        known.insert(name.to_owned(), fresh.clone());
        fresh
    }
}
