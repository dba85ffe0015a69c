//! Working space that outlives its uses.

use std::cell::RefCell;

/// What can be emptied, without giving back more memory than it must.
pub trait Reset {
    /// Empties it.
    fn reset(&mut self);
}

/// Space that is kept for the next use, and empty between two: also if a use ends in a panic. What
/// is in it then may be good only for the call that panicked.
pub struct Reused<T: Reset>(RefCell<T>);

impl<T: Reset> Reused<T> {
    /// With a space that is empty.
    pub const fn new(space: T) -> Self {
        Self(RefCell::new(space))
    }

    /// Lends the space. Not to be called again by what it lends it to.
    pub fn lend<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        struct Lent<'a, T: Reset>(&'a mut T);
        impl<T: Reset> Drop for Lent<'_, T> {
            fn drop(&mut self) {
                self.0.reset();
            }
        }
        let mut space = self.0.borrow_mut();
        let lent = Lent(&mut *space);
        work(&mut *lent.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Terms(Vec<u8>);

    impl Reset for Terms {
        fn reset(&mut self) {
            self.0.clear();
        }
    }

    #[test]
    fn it_is_empty_after_a_use_and_keeps_its_room() {
        let space = Reused::new(Terms(Vec::with_capacity(1000)));
        assert_eq!(space.lend(|s| (s.0.push(1), s.0.len()).1), 1);
        assert_eq!(
            space.lend(|s| (s.0.len(), s.0.capacity() >= 1000)),
            (0, true)
        );
    }

    #[test]
    fn it_is_empty_after_a_panic() {
        let space = Reused::new(Terms(Vec::new()));
        let panicking = std::panic::AssertUnwindSafe(|| {
            space.lend(|s| {
                s.0.push(1);
                panic!("in the middle");
            })
        });
        assert!(std::panic::catch_unwind(panicking).is_err());
        assert_eq!(space.lend(|s| s.0.len()), 0);
    }
}
