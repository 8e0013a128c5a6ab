//! Catches a decoder's panic and keeps it off stderr: hostile files may panic by the thousand.
//!
//! Only panics raised inside [`catch`] on the same thread are silenced; all others reach the
//! previous hook.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use lvd_base::types::Dropped;
use lvd_base::types::Reason;

thread_local! {
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// Runs `work`; a panic becomes [`Reason::Broken`]. Unwind safe: `work` only reads what outlives
/// it.
pub fn catch<T>(work: impl FnOnce() -> Result<T, Dropped>) -> Result<T, Dropped> {
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !SILENT.get() {
                previous(info);
            }
        }));
    });
    let before = SILENT.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    SILENT.set(before);
    outcome.unwrap_or_else(|panic| Err(Dropped::new(Reason::Broken, format!("decoder panicked: {}", said(&*panic)))))
}

fn said(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else {
        panic.downcast_ref::<String>().map_or("no message", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_broken_image() {
        let outcome: Result<(), _> = catch(|| panic!("row {} of 3", 7));
        assert_eq!(outcome, Err(Dropped::new(Reason::Broken, "decoder panicked: row 7 of 3")));
        assert!(!SILENT.get());
    }

    #[test]
    fn what_is_no_panic_passes() {
        assert_eq!(catch(|| Ok(5)), Ok(5));
        let drop = Dropped::new(Reason::TooSmall, "1 x 1 pixels");
        assert_eq!(catch(|| Err::<(), _>(drop.clone())), Err(drop));
    }
}
