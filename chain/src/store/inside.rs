//! Whether this thread is inside a database's library, which panics on some kinds of damage: whoever explains a panic
//! asks here.

use std::cell::Cell;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether the database's library is at work on this thread.
pub fn inside_database() -> bool {
    DEPTH.get() > 0
}

/// Does `work` of the database's library.
pub fn inside<T>(work: impl FnOnce() -> T) -> T {
    enter();
    let _leave = Leave;
    work()
}

/// From now on this thread is inside, until a [`Leave`] is dropped. What ends the library's own values calls it first and
/// has a `Leave` behind them.
pub fn enter() {
    DEPTH.set(DEPTH.get().saturating_add(1));
}

/// The end of [`enter`].
pub struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_inside_while_it_works_there_also_if_that_panics() {
        assert!(!inside_database());
        assert!(inside(|| inside_database() && inside(inside_database) && inside_database()));
        let panicked = std::panic::catch_unwind(|| inside(|| -> () { panic!("damage") }));
        assert!(panicked.is_err() && !inside_database());
    }
}
