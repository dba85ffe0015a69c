//! Executors: each stands for a thread of the real world, and polls one task at a time.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use crate::{chance, draw, epoch, trace, with};

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// In which order the tasks of an executor run that are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The order in which they became ready, as in tokio.
    Fifo,
    /// Any: each stands for a thread of its own.
    Any,
}

pub(crate) struct Hooks {
    pub(crate) before_park: Box<dyn Fn()>,
    pub(crate) after_park: Box<dyn Fn()>,
}

struct Task {
    /// Not there while it is polled.
    work: Option<Work>,
    waker: Arc<TaskWaker>,
    aborted: bool,
}

struct Executor {
    order: Order,
    hooks: Option<Hooks>,
    ready: VecDeque<u64>,
    tasks: BTreeMap<u64, Task>,
    /// The task with whose end the thread ends.
    root: Option<u64>,
    /// It has had nothing to run, and its hook was told.
    asleep: bool,
    finished: bool,
    /// It is not scheduled until then.
    frozen: u64,
    /// One of its tasks is being polled.
    busy: bool,
}

#[derive(Default)]
pub(crate) struct Executors {
    all: RefCell<Vec<Executor>>,
    current: Cell<Option<usize>>,
    next_task: Cell<u64>,
    freezes: Cell<u64>,
}

impl Executors {
    pub(crate) fn clear(&self) {
        self.all.borrow_mut().clear();
        self.current.set(None);
        self.next_task.set(0);
    }
}

struct TaskWaker {
    epoch: u64,
    executor: usize,
    task: u64,
    queued: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.epoch != epoch() || self.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        with(|world| {
            let mut all = world.executors.all.borrow_mut();
            if let Some(executor) = all.get_mut(self.executor) {
                executor.ready.push_back(self.task);
            }
        });
    }
}

/// Makes an executor; its number.
pub fn executor(order: Order) -> usize {
    make(order, None)
}

pub(crate) fn make(order: Order, hooks: Option<Hooks>) -> usize {
    with(|world| {
        let mut all = world.executors.all.borrow_mut();
        all.push(Executor {
            order,
            hooks,
            ready: VecDeque::new(),
            tasks: BTreeMap::new(),
            root: None,
            asleep: false,
            finished: false,
            frozen: 0,
            busy: false,
        });
        all.len() - 1
    })
}

/// Runs this as if on the thread of this executor.
pub fn on_executor<T>(index: usize, work: impl FnOnce() -> T) -> T {
    let before = with(|world| world.executors.current.replace(Some(index)));
    let result = work();
    with(|world| world.executors.current.set(before));
    result
}

/// The tasks of an executor that have not ended.
pub fn pending_tasks(index: usize) -> usize {
    with(|world| {
        let all = world.executors.all.borrow();
        all.get(index).map_or(0, |executor| executor.tasks.len())
    })
}

pub(crate) fn current() -> Option<usize> {
    with(|world| world.executors.current.get())
}

/// Starts a task on the executor at hand.
pub(crate) fn spawn(work: Work) -> (usize, u64) {
    let index = current().expect("a task is started by an executor's");
    let (waker, task) = with(|world| {
        let task = world.executors.next_task.get();
        world.executors.next_task.set(task + 1);
        let waker = Arc::new(TaskWaker {
            epoch: epoch(),
            executor: index,
            task,
            queued: AtomicBool::new(false),
        });
        (waker, task)
    });
    let lost = with(|world| {
        let mut all = world.executors.all.borrow_mut();
        let executor = &mut all[index];
        if executor.finished {
            return Some(work);
        }
        let waker = waker.clone();
        executor.tasks.insert(
            task,
            Task {
                work: Some(work),
                waker,
                aborted: false,
            },
        );
        None
    });
    drop(lost);
    waker.wake_by_ref();
    (index, task)
}

pub(crate) fn set_root(index: usize, task: u64) {
    with(|world| world.executors.all.borrow_mut()[index].root = Some(task));
}

pub(crate) fn is_finished(index: usize) -> bool {
    with(|world| {
        let all = world.executors.all.borrow();
        all.get(index).is_none_or(|executor| executor.finished)
    })
}

pub(crate) fn task_is_finished(index: usize, task: u64) -> bool {
    with(|world| {
        let all = world.executors.all.borrow();
        let executor = all.get(index);
        executor.is_none_or(|executor| !executor.tasks.contains_key(&task))
    })
}

/// A task ends when it would be polled next.
pub(crate) fn abort(index: usize, task: u64) {
    let waker = with(|world| {
        let mut all = world.executors.all.borrow_mut();
        let task = all.get_mut(index)?.tasks.get_mut(&task)?;
        task.aborted = true;
        Some(task.waker.clone())
    });
    if let Some(waker) = waker {
        waker.wake_by_ref();
    }
}

/// How often a thread is not scheduled for a while: once in so many of its steps, 0 for never.
pub fn set_freezes(once_in: u64) {
    with(|world| world.executors.freezes.set(once_in));
}

/// When the first executor that is not scheduled goes on, if it has something to do.
pub(crate) fn next_scheduled() -> Option<u64> {
    with(|world| {
        let all = world.executors.all.borrow();
        // One that is about to sleep may find something to do.
        let has_work = |e: &&Executor| !e.ready.is_empty() || (e.hooks.is_some() && !e.asleep);
        let waiting = all
            .iter()
            .filter(|e| !e.finished && !e.busy)
            .filter(has_work);
        waiting.map(|e| e.frozen).min()
    })
}

/// Chooses any executor that has something to do. One that has nothing to do any more goes to sleep first: its hook is called, which may give it
/// something to do.
pub(crate) fn choose() -> Option<usize> {
    loop {
        let mut falls_asleep = None;
        let chosen = with(|world| {
            let now = world.now.get();
            let all = world.executors.all.borrow();
            let mut ready = [0; 64];
            let mut count = 0;
            for (index, executor) in all.iter().enumerate() {
                if executor.finished || executor.busy || executor.frozen > now {
                    continue;
                }
                if !executor.ready.is_empty() {
                    ready[count] = index;
                    count += 1;
                } else if !executor.asleep && executor.hooks.is_some() {
                    falls_asleep.get_or_insert(index);
                }
            }
            drop(all);
            // Whether it sleeps before the others go on is a matter of chance, too.
            if let Some(index) = falls_asleep
                && (count == 0 || chance(1, 2))
            {
                return Err(index);
            }
            Ok(match count {
                0 => None,
                1 => Some(ready[0]),
                _ => Some(ready[draw(count as u64) as usize]),
            })
        });
        match chosen {
            Ok(chosen) => return chosen,
            Err(index) => call_hook(index, true),
        }
    }
}

fn call_hook(index: usize, parks: bool) {
    let hooks = with(|world| {
        let mut all = world.executors.all.borrow_mut();
        all[index].asleep = parks;
        all[index].hooks.take()
    });
    if let Some(hooks) = hooks {
        on_executor(index, || match parks {
            true => (hooks.before_park)(),
            false => (hooks.after_park)(),
        });
        with(|world| world.executors.all.borrow_mut()[index].hooks = Some(hooks));
    }
}

/// Polls one task of this executor that is ready, if there is one.
pub fn run_one(index: usize) {
    let asleep = with(|world| world.executors.all.borrow()[index].asleep);
    if asleep {
        call_hook(index, false);
    }
    let taken = with(|world| {
        let mut all = world.executors.all.borrow_mut();
        let executor = &mut all[index];
        let at = match executor.order {
            Order::Fifo => 0,
            Order::Any => draw(executor.ready.len() as u64) as usize,
        };
        let number = executor.ready.remove(at)?;
        let task = executor.tasks.get_mut(&number)?;
        task.waker.queued.store(false, Ordering::Relaxed);
        let (waker, work, aborted) = (task.waker.clone(), task.work.take(), task.aborted);
        let once_in = world.executors.freezes.get();
        if once_in > 0 && chance(1, once_in) {
            executor.frozen = world.now.get() + draw(20_000_000);
        }
        executor.busy = true;
        Some((number, waker, work, aborted))
    });
    let Some((number, waker, Some(mut work), aborted)) = taken else {
        with(|world| world.executors.all.borrow_mut()[index].busy = false);
        return;
    };
    trace::mix(&[index as u64, number, crate::now()]);
    let waker = Waker::from(waker);
    let ended = on_executor(index, || {
        let mut cx = Context::from_waker(&waker);
        let poll = AssertUnwindSafe(|| aborted || work.as_mut().poll(&mut cx).is_ready());
        // The hook for panics has noted it.
        let ended = catch_unwind(poll).unwrap_or(true);
        if ended {
            drop(work);
            return None;
        }
        Some(work)
    });
    let is_root = with(|world| {
        let mut all = world.executors.all.borrow_mut();
        let executor = &mut all[index];
        executor.busy = false;
        match ended {
            Some(work) => {
                if let Some(task) = executor.tasks.get_mut(&number) {
                    task.work = Some(work);
                }
                false
            }
            None => {
                executor.tasks.remove(&number);
                executor.root == Some(number)
            }
        }
    });
    if is_root {
        finish(index);
    }
}

/// The thread ends, and with it its tasks.
fn finish(index: usize) {
    let (tasks, hooks) = with(|world| {
        let mut all = world.executors.all.borrow_mut();
        let executor = &mut all[index];
        executor.finished = true;
        executor.ready.clear();
        (std::mem::take(&mut executor.tasks), executor.hooks.take())
    });
    on_executor(index, || drop((tasks, hooks)));
}

/// Drops all tasks of the world.
pub(crate) fn drop_all() {
    let count = with(|world| world.executors.all.borrow().len());
    (0..count).rev().for_each(finish);
}

/// A thread may be interrupted anywhere: now and then the executor of this number runs one task meanwhile. To be called where no lock is
/// held.
pub fn preempt(by: usize, part: u64, of: u64) {
    let idle = with(|world| {
        let all = world.executors.all.borrow();
        all.get(by)
            .is_some_and(|e| !e.busy && !e.finished && !e.ready.is_empty())
    });
    if idle && current() != Some(by) && chance(part, of) {
        run_one(by);
    }
}
