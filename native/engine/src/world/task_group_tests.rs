use std::cell::Cell;
use std::collections::HashMap;

use super::*;

type Log = Rc<RefCell<Vec<&'static str>>>;

/// Notes each run and keeps its waker; ends when it is told to.
struct Noting {
    name: &'static str,
    log: Log,
    wakers: Rc<RefCell<HashMap<&'static str, Waker>>>,
    ends: Rc<Cell<bool>>,
    /// So often it wakes itself while it runs.
    again: u32,
}

impl Future for Noting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.log.borrow_mut().push(self.name);
        let mut wakers = self.wakers.borrow_mut();
        wakers
            .entry(self.name)
            .or_insert_with(|| cx.waker().clone());
        drop(wakers);
        if self.ends.get() {
            return Poll::Ready(());
        }
        if self.again > 0 {
            self.again -= 1;
            cx.waker().wake_by_ref();
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

#[derive(Default)]
struct Bench {
    group: TaskGroup<Noting>,
    log: Log,
    wakers: Rc<RefCell<HashMap<&'static str, Waker>>>,
    ends: Rc<Cell<bool>>,
}

impl Bench {
    fn start(&self, name: &'static str, again: u32) {
        self.group.start(Noting {
            name,
            log: self.log.clone(),
            wakers: self.wakers.clone(),
            ends: self.ends.clone(),
            again,
        });
    }

    fn wake(&self, name: &str) {
        self.wakers.borrow()[name].wake_by_ref();
    }

    /// Who has run, when all that was woken has.
    async fn ran(&self) -> Vec<&'static str> {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        std::mem::take(&mut *self.log.borrow_mut())
    }

    fn places(&self) -> (usize, usize) {
        let members = self.group.0.borrow().upgrade().unwrap();
        let places = members.places.borrow();
        (places.all.len(), places.free.len())
    }
}

fn run(test: impl AsyncFn(&Bench)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build_local(Default::default())
        .unwrap();
    let bench = Bench::default();
    let woken = runtime.block_on(async {
        test(&bench).await;
        let members = bench.group.0.borrow().upgrade().unwrap();
        Arc::downgrade(&members.woken)
    });
    // Before the end, and behind it.
    let wakers = std::mem::take(&mut *bench.wakers.borrow_mut());
    wakers.values().for_each(Waker::wake_by_ref);
    drop(runtime);
    assert!(
        bench.group.0.borrow().upgrade().is_none(),
        "members outlive their runtime"
    );
    wakers.into_values().for_each(Waker::wake);
    assert!(woken.upgrade().is_none(), "those that were woken are kept");
}

#[test]
fn members_run_when_they_are_woken_in_that_order_and_once() {
    run(async |bench| {
        bench.start("a", 0);
        bench.start("b", 0);
        assert_eq!(bench.ran().await, ["a", "b"]);
        assert!(bench.ran().await.is_empty());
        for name in ["b", "a", "b", "b"] {
            bench.wake(name);
        }
        assert_eq!(bench.ran().await, ["b", "a"]);
    });
}

#[test]
fn a_task_that_wakes_itself_runs_after_the_others() {
    run(async |bench| {
        let log = bench.log.clone();
        bench.start("a", 2);
        bench.start("b", 1);
        let mut left = 2;
        tokio::task::spawn_local(poll_fn(move |cx| {
            log.borrow_mut().push("other");
            left -= 1;
            cx.waker().wake_by_ref();
            if left > 0 {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }));
        let expected = ["a", "b", "other", "a", "b", "other", "a"];
        assert_eq!(bench.ran().await, expected);
    });
}

#[test]
fn a_task_that_has_ended_leaves_its_place() {
    run(async |bench| {
        bench.start("a", 0);
        bench.start("b", 0);
        bench.ran().await;
        bench.ends.set(true);
        bench.wake("a");
        assert_eq!(bench.ran().await, ["a"]);
        assert_eq!(bench.places(), (2, 1));
        bench.ends.set(false);
        bench.start("c", 0);
        assert_eq!(bench.ran().await, ["c"]);
        assert_eq!(bench.places(), (2, 0));
        // It means one that has ended, and not who has its place.
        bench.wake("a");
        assert!(bench.ran().await.is_empty());
        bench.wake("c");
        assert_eq!(bench.ran().await, ["c"]);
    });
}

#[test]
fn a_task_that_panics_ends_alone() {
    struct Breaking;
    impl Future for Breaking {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
            panic!("a member that breaks, in a test");
        }
    }
    type Either = Pin<Box<dyn Future<Output = ()>>>;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async {
        let (group, done) = (TaskGroup::<Either>::default(), Rc::new(Cell::new(0)));
        for _ in 0..2 {
            let count = done.clone();
            group.start(Box::pin(Breaking));
            group.start(Box::pin(async move { count.set(count.get() + 1) }));
        }
        tokio::task::yield_now().await;
        assert_eq!(done.get(), 2);
        let members = group.0.borrow().upgrade().unwrap();
        assert_eq!(members.places.borrow().free.len(), 4);
    });
}

#[test]
fn another_thread_wakes_too() {
    run(async |bench| {
        bench.start("a", 0);
        bench.ran().await;
        let waker = bench.wakers.borrow()["a"].clone();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        assert_eq!(bench.ran().await, ["a"]);
    });
}

/// What one task of tokio may do at a time before it has to wait is little.
#[test]
fn many_members_may_do_much_in_one_run() {
    struct Receiving(Rc<Cell<u32>>);
    impl Future for Receiving {
        type Output = ();
        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            assert!(
                tokio::task::coop::poll_proceed(cx)
                    .map(|made| made.made_progress())
                    .is_ready()
            );
            self.0.set(self.0.get() + 1);
            Poll::Ready(())
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async {
        let (group, done) = (TaskGroup::default(), Rc::new(Cell::new(0)));
        for _ in 0..1_000 {
            group.start(Receiving(done.clone()));
        }
        tokio::task::yield_now().await;
        assert_eq!(done.get(), 1_000);
    });
}

#[test]
fn a_member_takes_little() {
    // With its two counters and what glibc adds: 48.
    assert!(size_of::<Member>() <= 24, "{}", size_of::<Member>());
}
