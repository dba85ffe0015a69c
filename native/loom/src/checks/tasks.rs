//! Members of a task group that other threads wake. Those of the engine are woken by their own thread today.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use crate::world::sync::block_on;
use crate::world::task::{TaskGroup, spawned};

/// What a member waits for. It orders nothing: who wakes a task promises that the task sees what was done before.
#[derive(Default)]
struct Gate {
    is_open: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Gate {
    fn waker(&self) -> Option<Waker> {
        self.waker.lock().unwrap().clone()
    }

    fn open(&self, waker: Option<Waker>) {
        self.is_open.store(true, Ordering::Relaxed);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Ends when all of its gates are open.
struct Passing {
    gates: Vec<Arc<Gate>>,
    passed: Rc<Cell<usize>>,
}

impl Future for Passing {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for gate in &self.gates {
            *gate.waker.lock().unwrap() = Some(cx.waker().clone());
        }
        let is_open = |gate: &Arc<Gate>| gate.is_open.load(Ordering::Relaxed);
        if !self.gates.iter().all(is_open) {
            return Poll::Pending;
        }
        self.passed.set(self.passed.get() + 1);
        Poll::Ready(())
    }
}

#[derive(Default)]
struct Bench {
    group: TaskGroup<Passing>,
    passed: Rc<Cell<usize>>,
}

impl Bench {
    fn start(&self, gates: &[&Arc<Gate>]) {
        self.group.start(Passing {
            gates: gates.iter().map(|gate| Arc::clone(gate)).collect(),
            passed: self.passed.clone(),
        });
    }

    /// Runs the group until so many have passed. Then it is gone, whoever wakes its members still.
    fn run(self, wanted: usize, mut after: impl FnMut(&Bench, usize)) {
        let mut group = spawned().unwrap();
        block_on(poll_fn(|cx| {
            let _ = group.as_mut().poll(cx);
            let passed = self.passed.get();
            after(&self, passed);
            if passed == wanted {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
    }
}

fn gates<const N: usize>() -> [Arc<Gate>; N] {
    std::array::from_fn(|_| Arc::default())
}

/// Two threads wake one member, and one of them another one.
pub(super) fn a_member_misses_no_wake_up() {
    let [a, b, c] = gates();
    let bench = Bench::default();
    bench.start(&[&a, &b]);
    bench.start(&[&c]);
    let mut threads = Some([vec![a, c], vec![b]]);
    bench.run(2, move |_, _| {
        for gates in threads.take().into_iter().flatten() {
            let known: Vec<_> = gates.into_iter().map(|gate| (gate.waker(), gate)).collect();
            thread::spawn(move || {
                for (waker, gate) in known {
                    gate.open(waker);
                }
            });
        }
    });
}

/// Somebody wakes a member that has ended, whose place another one has.
pub(super) fn who_follows_in_a_place_is_woken() {
    let [a, b] = gates();
    let bench = Bench::default();
    bench.start(&[&a]);
    let (mut first, mut second) = (Some(a), Some(b));
    bench.run(2, move |bench, passed| {
        if let Some(gate) = first.take() {
            let waker = gate.waker();
            thread::spawn(move || {
                gate.open(waker.clone());
                waker.into_iter().for_each(Waker::wake);
            });
        }
        if let Some(gate) = second.take_if(|_| passed == 1) {
            bench.start(&[&gate]);
            thread::spawn(move || {
                gate.is_open.store(true, Ordering::Relaxed);
                let waker = gate.waker();
                waker.into_iter().for_each(Waker::wake);
            });
        }
    });
}
