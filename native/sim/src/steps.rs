//! How a world goes on.

use sockeye_world::{self as world, Step};

use crate::book::Shared;

/// Steps until something is so, or the time is over, and looks now and then for what must not be.
pub(crate) fn step_until(
    end: u64,
    book: &Shared,
    done: impl Fn() -> bool,
    look: impl Fn(),
) -> bool {
    let mut looks = 0_u32;
    while world::now() < end {
        if done() {
            return true;
        }
        if world::step(end) == Step::Idle {
            return done();
        }
        looks += 1;
        if looks.is_multiple_of(16) {
            look();
        }
        if !book.open().problems.is_empty() {
            return false;
        }
    }
    done()
}
