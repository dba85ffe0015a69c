//! Atomics, each of whose orderings is a site, see [`super`].

use std::panic::Location;

use loom::sync::atomic;
pub(crate) use std::sync::atomic::Ordering;

use super::{fences_before, is_weakened};
use Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Access {
    Load,
    Store,
    Change,
}

/// How an access is made at this place.
struct Order {
    before: bool,
    by: Ordering,
    after: bool,
}

impl Order {
    fn of(at: &Location<'_>, access: Access, by: Ordering) -> Self {
        let says = format!("{} {by:?}", format!("{access:?}").to_lowercase());
        let weakened = |weaker| is_weakened(at, &says, weaker);
        let mut order = Order {
            before: false,
            by,
            after: false,
        };
        match (access, by) {
            (_, SeqCst) => {
                let (strong, name) = match access {
                    Access::Load => (Acquire, "Acquire"),
                    Access::Store => (Release, "Release"),
                    Access::Change => (AcqRel, "AcqRel"),
                };
                if !weakened(name) {
                    order.before = fences_before();
                    order.after = !fences_before() && access != Access::Load;
                }
                order.by = strong;
            }
            (_, AcqRel) => {
                let (no_release, no_acquire) = (weakened("Acquire"), weakened("Release"));
                order.by = match (no_release, no_acquire) {
                    (true, _) => Acquire,
                    (_, true) => Release,
                    _ => AcqRel,
                };
            }
            (_, Acquire | Release) if weakened("Relaxed") => order.by = Relaxed,
            _ => {}
        }
        order
    }

    fn access<T>(&self, access: impl FnOnce(Ordering) -> T) -> T {
        if self.before {
            atomic::fence(SeqCst);
        }
        let result = access(self.by);
        if self.after {
            atomic::fence(SeqCst);
        }
        result
    }
}

#[track_caller]
pub(crate) fn fence(order: Ordering) {
    let says = format!("fence {order:?}");
    if !is_weakened(Location::caller(), &says, "no fence") {
        atomic::fence(order);
    }
}

macro_rules! atomics {
    ($($name:ident $value:ty),*) => {$(
        #[derive(Debug)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                $name(atomic::$name::new(value))
            }

            #[track_caller]
            pub(crate) fn load(&self, by: Ordering) -> $value {
                Order::of(Location::caller(), Access::Load, by).access(|by| self.0.load(by))
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, by: Ordering) {
                Order::of(Location::caller(), Access::Store, by).access(|by| self.0.swap(value, by));
            }

            #[track_caller]
            pub(crate) fn swap(&self, value: $value, by: Ordering) -> $value {
                Order::of(Location::caller(), Access::Change, by).access(|by| self.0.swap(value, by))
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $name::new(Default::default())
            }
        }
    )*};
}

macro_rules! numbers {
    ($($name:ident $value:ty),*) => {$(
        impl $name {
            #[track_caller]
            pub(crate) fn fetch_add(&self, value: $value, by: Ordering) -> $value {
                Order::of(Location::caller(), Access::Change, by).access(|by| self.0.fetch_add(value, by))
            }

            #[track_caller]
            pub(crate) fn fetch_sub(&self, value: $value, by: Ordering) -> $value {
                Order::of(Location::caller(), Access::Change, by).access(|by| self.0.fetch_sub(value, by))
            }

            #[track_caller]
            pub(crate) fn fetch_or(&self, value: $value, by: Ordering) -> $value {
                Order::of(Location::caller(), Access::Change, by).access(|by| self.0.fetch_or(value, by))
            }

            #[track_caller]
            pub(crate) fn fetch_and(&self, value: $value, by: Ordering) -> $value {
                Order::of(Location::caller(), Access::Change, by).access(|by| self.0.fetch_and(value, by))
            }

            /// A failure is an order of its own in the sources; here it is the one of the load.
            #[track_caller]
            pub(crate) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let at = Location::caller();
                let success = Order::of(at, Access::Change, success);
                let failure = Order::of(at, Access::Load, failure);
                success.access(|by| self.0.compare_exchange(current, new, by, failure.by))
            }

            #[track_caller]
            pub(crate) fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                mut change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let at = Location::caller();
                let set = Order::of(at, Access::Change, set);
                let fetch = Order::of(at, Access::Load, fetch);
                let mut seen = fetch.access(|by| self.0.load(by));
                while let Some(next) = change(seen) {
                    let tried = |by| self.0.compare_exchange(seen, next, by, fetch.by);
                    match set.access(tried) {
                        Ok(before) => return Ok(before),
                        Err(other) => seen = other,
                    }
                }
                Err(seen)
            }
        }
    )*};
}

atomics!(AtomicBool bool, AtomicU32 u32, AtomicU64 u64, AtomicUsize usize);
numbers!(AtomicU32 u32, AtomicU64 u64, AtomicUsize usize);
