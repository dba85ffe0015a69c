//! What the engine takes of `world::sync`, made of loom's types.
//!
//! Each place where an ordering is given is a *site*. One site at a time can be weakened, to see which check notices: a place that nobody
//! misses has no check, or needs no order.
//!
//! loom takes an access that is `SeqCst` for `AcqRel`. Here it has a fence as well, in the two ways in which compilers make one: before each
//! access, or behind those that write; each check runs with both. And it lets a store stand before a change (an `fetch_add`, a `swap`) that was made before it, which no machine does: a store is a `swap` here.

use std::collections::BTreeSet;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex as Plain, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

pub(crate) use loom::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub(crate) use std::sync::{Arc, PoisonError};

static SEEN: Plain<BTreeSet<String>> = Plain::new(BTreeSet::new());
static WEAKENED: OnceLock<String> = OnceLock::new();

/// All sites that were passed until now: `engine/src/vm/inbox.rs:225:33 load SeqCst -> Acquire`, with what stands there when it is weakened.
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
    let file = at.file().rsplit("../").next().unwrap_or_default();
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

/// tokio's `Notify`: wakes one who waits, or the next one who will; or all who wait.
pub(crate) struct Notify(Mutex<Waiting>);

struct Waiting {
    permit: bool,
    /// How often all have been woken.
    rounds: usize,
    next: usize,
    waiters: Vec<Waiter>,
}

struct Waiter {
    ticket: usize,
    woken: bool,
    waker: Waker,
}

impl Default for Notify {
    fn default() -> Self {
        Notify(Mutex::new(Waiting {
            permit: false,
            rounds: 0,
            next: 0,
            waiters: Vec::new(),
        }))
    }
}

impl Notify {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn notify_one(&self) {
        let mut waiting = self.waiting();
        let waker = match waiting.waiters.iter_mut().find(|waiter| !waiter.woken) {
            Some(waiter) => {
                waiter.woken = true;
                Some(waiter.waker.clone())
            }
            None => {
                waiting.permit = true;
                None
            }
        };
        drop(waiting);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn notify_waiters(&self) {
        let mut waiting = self.waiting();
        waiting.rounds += 1;
        let wakers: Vec<_> = waiting.waiters.drain(..).map(|one| one.waker).collect();
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// From here on it hears of those that wake all.
    pub(crate) fn notified(&self) -> Notified<'_> {
        Notified {
            notify: self,
            rounds: self.waiting().rounds,
            ticket: None,
        }
    }
}

pub(crate) struct Notified<'a> {
    notify: &'a Notify,
    rounds: usize,
    ticket: Option<usize>,
}

impl Notified<'_> {
    /// It waits, without being polled.
    pub(crate) fn enable(self: Pin<&mut Self>) -> bool {
        self.look(Waker::noop())
    }

    fn look(mut self: Pin<&mut Self>, waker: &Waker) -> bool {
        let mut waiting = self.notify.waiting();
        if waiting.rounds != self.rounds {
            return true;
        }
        let ticket = self.ticket;
        let known = waiting
            .waiters
            .iter()
            .position(|one| Some(one.ticket) == ticket);
        if let Some(at) = known
            && let Some(one) = waiting.waiters.get_mut(at)
        {
            let woken = one.woken;
            if woken {
                waiting.waiters.remove(at);
            } else {
                one.waker = waker.clone();
            }
            return woken;
        }
        if std::mem::take(&mut waiting.permit) {
            return true;
        }
        let ticket = waiting.next;
        waiting.next += 1;
        waiting.waiters.push(Waiter {
            ticket,
            woken: false,
            waker: waker.clone(),
        });
        drop(waiting);
        self.ticket = Some(ticket);
        false
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.look(cx.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.filter(|_| !std::thread::panicking()) else {
            return;
        };
        let mut waiting = self.notify.waiting();
        let known = waiting.waiters.iter().position(|one| one.ticket == ticket);
        let woken = known.is_some_and(|at| waiting.waiters.remove(at).woken);
        drop(waiting);
        // The next one has it.
        if woken {
            self.notify.notify_one();
        }
    }
}

struct Wakeup(loom::sync::Notify);

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Runs a task on this thread until it is done.
pub(crate) fn block_on<T>(task: impl Future<Output = T>) -> T {
    let wakeup = Arc::new(Wakeup(loom::sync::Notify::new()));
    let waker = Waker::from(wakeup.clone());
    let mut task = pin!(task);
    loop {
        if let Poll::Ready(done) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        wakeup.0.wait();
    }
}
