//! Faults that tests plant into a copy of the engine: `if fault("name")` stands there, and nowhere else.

use std::cell::{Cell, RefCell};

thread_local! {
    static PLANTED: RefCell<Option<String>> = const { RefCell::new(None) };
    static HITS: Cell<u64> = const { Cell::new(0) };
}

/// Plants a fault, or none, for the worlds of this thread.
pub fn plant(name: Option<&str>) {
    PLANTED.with_borrow_mut(|planted| *planted = name.map(Into::into));
}

pub(crate) fn forget_hits() {
    HITS.set(0);
}

/// Whether this fault is planted.
pub fn fault(name: &str) -> bool {
    let is = PLANTED.with_borrow(|planted| planted.as_deref() == Some(name));
    HITS.set(HITS.get() + u64::from(is));
    is
}
