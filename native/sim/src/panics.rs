//! Panics fail a run, those which the engine catches as well.

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::sync::Once;

type Note = Box<dyn Fn(String)>;

thread_local! {
    static NOTE: RefCell<Option<Note>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Panics of this thread are reported from now on.
pub(crate) fn report_to(note: impl Fn(String) + 'static) {
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let noted = NOTE.try_with(|to| match to.try_borrow() {
                Ok(to) => to
                    .as_ref()
                    .map(|note| note(format!("panic: {info}\n{}", Backtrace::capture())))
                    .is_some(),
                Err(_) => false,
            });
            if noted != Ok(true) {
                before(info);
            }
        }));
    });
    NOTE.with_borrow_mut(|to| *to = Some(Box::new(note)));
}

/// They are reported no longer.
pub(crate) fn stop_reporting() {
    NOTE.with_borrow_mut(|to| *to = None);
}
