//! How far a phase is: rows of its total, how many a second, how long it will go on.

use std::time::Duration;

use indicatif::HumanDuration;

use crate::cli::table::{counted, thousands};

/// What is known of a running phase.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// Tasks to run.
    pub tasks: u64,
    /// Tasks that are done.
    pub tasks_done: u64,
    /// Rows of all tasks, where that is known.
    pub rows: Option<u64>,
    /// Rows that are done since it began.
    pub rows_done: u64,
    /// Rows that were done before.
    pub rows_before: u64,
    /// Rows of the tasks that are done.
    pub rows_ended: u64,
    /// Those of them that were dropped.
    pub dropped: u64,
}

impl Rate {
    /// The same in words, after so long.
    pub fn text(&self, elapsed: Duration) -> String {
        let mut parts = Vec::new();
        let no_more_to_do = self.rows_before + self.rows_done;
        match self.rows {
            Some(rows) => parts.push(format!("{} of {}", thousands(no_more_to_do), counted(rows, "row"))),
            None if no_more_to_do > 0 => parts.push(counted(no_more_to_do, "row")),
            None => {}
        }
        if self.rows.is_none() || self.tasks > 1 {
            parts.push(format!("{} of {}", thousands(self.tasks_done), counted(self.tasks, "task")));
        }
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let (seconds, done) = (elapsed.as_secs_f64().max(1e-3), self.rows_done as f64);
        if self.rows_done > 0 {
            parts.push(format!("{:.0} a second", done / seconds));
        }
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        if self.rows_ended > 0 && self.dropped > 0 {
            let share = 100.0 * self.dropped as f64 / self.rows_ended as f64;
            parts.push(format!("{share:.1}% dropped"));
        }
        if let Some(rows) = self.rows.filter(|&rows| self.rows_done > 0 && no_more_to_do < rows) {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let left = (rows - no_more_to_do) as f64 * seconds / done;
            parts.push(format!("about {} left", HumanDuration(Duration::from_secs_f64(left.min(1e9)))));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_known_and_no_more() {
        let begun = Rate { tasks: 3, ..Rate::default() };
        assert_eq!(begun.text(Duration::ZERO), "0 of 3 tasks");
        let rows = Rate { rows: Some(4000), rows_done: 1000, ..begun.clone() };
        assert_eq!(
            rows.text(Duration::from_secs(10)),
            "1,000 of 4,000 rows, 0 of 3 tasks, 100 a second, about 30 seconds left"
        );
        let ended = Rate { tasks_done: 1, rows_ended: 800, dropped: 20, ..rows };
        assert!(ended.text(Duration::from_secs(10)).contains("1 of 3 tasks, 100 a second, 2.5% dropped, about"));
        let one = Rate { tasks: 1, rows: Some(10), rows_done: 10, ..Rate::default() };
        assert_eq!(one.text(Duration::from_secs(2)), "10 of 10 rows, 5 a second");
        let resumed = Rate { tasks: 1, rows: Some(4000), rows_before: 3000, rows_done: 100, ..Rate::default() };
        assert_eq!(resumed.text(Duration::from_secs(10)), "3,100 of 4,000 rows, 10 a second, about 2 minutes left");
        let unknown = Rate { tasks: 2, rows_done: 7, ..Rate::default() };
        assert_eq!(unknown.text(Duration::from_secs(1)), "7 rows, 0 of 2 tasks, 7 a second");
    }
}
