//! Many tasks at once, their answers in order: a sliding window over the rows.

use std::collections::VecDeque;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::{Answer, Dropped};
use crate::error::Result;
use crate::io::sources::InputRow;
use crate::types::Reason;

/// Tasks in flight; whatever is left is stopped when the window goes.
struct Window(VecDeque<JoinHandle<Answer>>);

impl Drop for Window {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Starts a task for each row, at most `width` of them running or finished and not yet handed on.
pub(super) fn in_order(
    runtime: &Runtime,
    width: usize,
    rows: &[InputRow],
    each: &mut dyn FnMut(usize, Answer) -> Result<()>,
    start: impl Fn(&InputRow) -> JoinHandle<Answer>,
) -> Result<()> {
    let mut waiting = rows.iter();
    let mut window = Window(waiting.by_ref().take(width).map(&start).collect());
    let mut index = 0;
    while let Some(first) = window.0.front_mut() {
        let answer = runtime
            .block_on(first)
            .unwrap_or_else(|error| Err(Dropped::new(Reason::Unreadable, format!("the fetch broke off: {error}"))));
        window.0.pop_front();
        // Handed on outside of the runtime, so that the caller may take its time or fetch something else.
        each(index, answer)?;
        index += 1;
        window.0.extend(waiting.next().map(&start));
    }
    Ok(())
}
