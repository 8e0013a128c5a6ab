//! Turns at a host: so many requests at a time, first come, first served.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many hosts are remembered before those that nobody asks any more are forgotten.
const MAX_IDLE_HOSTS: usize = 4096;

/// The hosts being asked. Nobody ever holds two turns, so nobody waits in a circle.
pub(super) struct Hosts {
    per_host: usize,
    turns: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Hosts {
    pub(super) fn new(per_host: usize) -> Self {
        Self { per_host: per_host.min(Semaphore::MAX_PERMITS), turns: Mutex::default() }
    }

    /// Waits for a turn at `host`; it lasts until the permit is dropped.
    pub(super) async fn enter(&self, host: &str) -> Option<OwnedSemaphorePermit> {
        // Fails only for a closed semaphore, and these are never closed.
        self.turns_at(host).acquire_owned().await.ok()
    }

    fn turns_at(&self, host: &str) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = turns.get(host) {
            return known.clone();
        }
        if turns.len() >= MAX_IDLE_HOSTS {
            turns.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        let fresh = Arc::new(Semaphore::new(self.per_host));
        turns.insert(host.to_owned(), fresh.clone());
        fresh
    }
}
