//! What the engine takes of `world::sync`, made of loom's types.
//!
//! Each place where an ordering is given is a *site*. One site at a time can be weakened, to see which check notices: a place that nobody
//! misses has no check, or needs no order.
//!
//! loom takes an access that is `SeqCst` for `AcqRel`. Here it has a fence as well, in the two ways in which compilers make one: before each
//! access, or behind those that write; each check runs with both. And it lets a store stand before a change (an `fetch_add`, a `swap`) that was made before it, which no machine does: a store is a `swap` here.

use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex as Plain, OnceLock};

pub(crate) use loom::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

static SEEN: Plain<BTreeSet<String>> = Plain::new(BTreeSet::new());
static WEAKENED: OnceLock<String> = OnceLock::new();

/// All sites that were passed until now: `vm/inbox.rs:225:33 load SeqCst -> Acquire`, with what stands there when it is weakened.
pub fn sites() -> Vec<String> {
    let seen = SEEN.lock().map(|seen| seen.iter().cloned().collect());
    seen.unwrap_or_default()
}

/// Weakens this site in all that follows.
pub fn weaken(site: &str) {
    let _ = WEAKENED.set(site.to_owned());
}

static FENCES_BEHIND: AtomicBool = AtomicBool::new(false);

/// Where an access that is `SeqCst` has its fence.
pub fn set_fences_behind(behind: bool) {
    FENCES_BEHIND.store(behind, std::sync::atomic::Ordering::SeqCst);
}

fn fences_before() -> bool {
    !FENCES_BEHIND.load(std::sync::atomic::Ordering::SeqCst)
}

fn is_weakened(at: &Location<'_>, says: &str, weaker: &str) -> bool {
    let file = at.file().rsplit("engine/src/").next().unwrap_or_default();
    let site = format!("{file}:{}:{} {says} -> {weaker}", at.line(), at.column());
    let is = WEAKENED.get() == Some(&site);
    if let Ok(mut seen) = SEEN.lock() {
        seen.insert(site);
    }
    is
}

pub(crate) mod atomic {
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
}

/// A queue between threads. What is in it is kept by a lock; whether there is something is said by a number, with no more order than a
/// queue must have: who finds something in it sees what was done before that was put there.
pub(crate) mod channel {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

    use loom::sync::Mutex;
    use loom::sync::atomic::{AtomicBool, AtomicUsize};

    #[derive(Debug)]
    pub(crate) struct SendError<T>(pub(crate) T);

    struct Queue<T> {
        items: Mutex<VecDeque<T>>,
        put: AtomicUsize,
        taken: AtomicUsize,
        ended: AtomicBool,
    }

    pub(crate) struct Sender<T>(Arc<Queue<T>>);

    pub(crate) struct Receiver<T>(Arc<Queue<T>>);

    pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        let queue = Arc::new(Queue {
            items: Mutex::new(VecDeque::new()),
            put: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        (Sender(queue.clone()), Receiver(queue))
    }

    impl<T> Queue<T> {
        fn len(&self) -> usize {
            self.put
                .load(Acquire)
                .saturating_sub(self.taken.load(Relaxed))
        }
    }

    impl<T> Sender<T> {
        pub(crate) fn send(&self, item: T) -> Result<(), SendError<T>> {
            if self.0.ended.load(Acquire) {
                return Err(SendError(item));
            }
            if let Ok(mut items) = self.0.items.lock() {
                items.push_back(item);
            }
            self.0.put.fetch_add(1, Release);
            Ok(())
        }

        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn try_recv(&self) -> Result<T, ()> {
            if self.is_empty() {
                return Err(());
            }
            let item = self.0.items.lock().map_err(|_| ())?.pop_front().ok_or(())?;
            self.0.taken.fetch_add(1, Relaxed);
            Ok(item)
        }

        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            // A check that has failed is over.
            if std::thread::panicking() {
                return;
            }
            self.0.ended.store(true, Release);
        }
    }
}

/// Wakes one who waits, or the next one who will.
pub(crate) struct Notify(loom::sync::Notify);

impl Default for Notify {
    fn default() -> Self {
        Notify(loom::sync::Notify::new())
    }
}

impl Notify {
    pub(crate) fn notify_one(&self) {
        self.0.notify();
    }

    /// Nothing else runs on a thread that waits here.
    pub(crate) fn notified(&self) -> std::future::Ready<()> {
        self.0.wait();
        std::future::ready(())
    }
}
