//! Many tasks at once, their answers in order: those that come early wait until the rows before
//! them are answered.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::answer::Answer;
use crate::sources::InputRow;
use lvd_base::error::Result;
use lvd_base::types::{Dropped, Reason};

/// How far the rows may run ahead of the first that is not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Tasks that run at a time.
    pub(super) running: usize,
    /// Rows that run or wait for an earlier one.
    pub(super) rows: usize,
    /// Bytes that wait, before no further task is started.
    pub(super) bytes: u64,
}

impl Room {
    /// No row runs ahead further than `rows`, which all run at a time.
    pub(super) fn even(rows: usize) -> Self {
        Self { running: rows, rows, bytes: u64::MAX }
    }
}

/// A row whose task runs; it is stopped when this goes.
struct Running {
    row: usize,
    task: JoinHandle<Answer>,
}

impl Future for Running {
    type Output = (usize, Answer);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let row = self.row;
        let broke_off = |error| Dropped::new(Reason::Unreadable, format!("the fetch broke off: {error}"));
        self.task.poll_unpin(context).map(|ended| (row, ended.unwrap_or_else(|error| Err(broke_off(error)))))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answers from the first row on that has not been handed on.
#[derive(Default)]
struct Waiting {
    first: usize,
    answers: VecDeque<Option<Answer>>,
    bytes: u64,
}

impl Waiting {
    fn put(&mut self, row: usize, answer: Answer) {
        let place = row - self.first;
        if place >= self.answers.len() {
            self.answers.resize_with(place + 1, || None);
        }
        self.bytes += size(&answer);
        self.answers[place] = Some(answer);
    }

    /// The first row and its answer, if it has one.
    fn take(&mut self) -> Option<(usize, Answer)> {
        let answer = self.answers.front_mut()?.take()?;
        self.answers.pop_front();
        self.bytes -= size(&answer);
        self.first += 1;
        Some((self.first - 1, answer))
    }
}

fn size(answer: &Answer) -> u64 {
    answer.as_ref().map_or(0, |fetched| fetched.bytes.len() as u64)
}

/// Starts a task for each row and hands their answers on in order. A task that does not end holds
/// up none of the others until there is no more `room`.
pub(super) fn in_order(
    runtime: &Runtime,
    room: Room,
    rows: &[InputRow],
    each: &mut dyn FnMut(usize, Answer) -> Result<()>,
    start: impl Fn(&InputRow) -> JoinHandle<Answer>,
) -> Result<()> {
    let mut running = FuturesUnordered::new();
    let mut waiting = Waiting::default();
    let mut next = 0;
    loop {
        while let Some(Some((row, answer))) = running.next().now_or_never() {
            waiting.put(row, answer);
        }
        // The first row always has room, and all others wait for it at most: so there is never
        // nothing to wait for.
        while next < rows.len().min(waiting.first + room.rows)
            && running.len() < room.running
            && (waiting.bytes < room.bytes || next == waiting.first)
        {
            running.push(Running { row: next, task: start(&rows[next]) });
            next += 1;
        }
        if let Some((row, answer)) = waiting.take() {
            // Handed on outside of the runtime, so that the caller may take its time or fetch
            // something else.
            each(row, answer)?;
        } else if let Some((row, answer)) = runtime.block_on(running.next()) {
            waiting.put(row, answer);
        } else {
            return Ok(());
        }
    }
}
