//! Tasks, as tokio has them.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::{draw, executor, time};

/// The task was aborted, or has panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinError;

impl std::fmt::Display for JoinError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the task has not come to its end")
    }
}

impl std::error::Error for JoinError {}

/// Ends a task.
#[derive(Clone, Debug)]
pub struct AbortHandle {
    executor: usize,
    task: u64,
    epoch: u64,
}

impl AbortHandle {
    /// Ends it, when it would run next.
    pub fn abort(&self) {
        if self.epoch == crate::epoch() {
            executor::abort(self.executor, self.task);
        }
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.epoch != crate::epoch() || executor::task_is_finished(self.executor, self.task)
    }
}

struct Shared<T> {
    result: Option<Result<T, JoinError>>,
    waker: Option<Waker>,
}

/// The end of a task.
pub struct JoinHandle<T> {
    shared: Arc<Mutex<Shared<T>>>,
    abort: AbortHandle,
}

impl<T> JoinHandle<T> {
    /// Ends the task.
    pub fn abort(&self) {
        self.abort.abort();
    }

    /// What can end the task.
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }
}

impl<T> std::fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinHandle")
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match shared.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                shared.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Sends the result of a task, however it ends.
struct ResultSender<T>(Option<Arc<Mutex<Shared<T>>>>);

impl<T> ResultSender<T> {
    fn send(&mut self, result: Result<T, JoinError>) {
        let Some(shared) = self.0.take() else { return };
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.result.get_or_insert(result);
        let waker = shared.waker.take();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for ResultSender<T> {
    fn drop(&mut self) {
        self.send(Err(JoinError));
    }
}

/// Starts a task beside the one that calls.
pub fn spawn_local<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let shared = Arc::new(Mutex::new(Shared {
        result: None,
        waker: None,
    }));
    let sender = ResultSender(Some(shared.clone()));
    let (executor, task) = executor::spawn(Box::pin(async move {
        let mut sender = sender;
        let result = work.await;
        sender.send(Ok(result));
    }));
    let abort = AbortHandle {
        executor,
        task,
        epoch: crate::epoch(),
    };
    JoinHandle { shared, abort }
}

/// Tasks of which there are many. Here they are as others: chance says who runs next.
pub struct TaskGroup<T>(PhantomData<T>);

impl<T> Default for TaskGroup<T> {
    fn default() -> Self {
        TaskGroup(PhantomData)
    }
}

impl<T: Future<Output = ()> + Unpin + 'static> TaskGroup<T> {
    /// Starts one.
    pub fn start(&self, work: T) {
        spawn_local(work);
    }
}

/// The same, and nobody waits for its end.
pub fn start(work: impl Future<Output = ()> + 'static) {
    drop(spawn_local(work));
}

/// Lets other tasks of the executor run.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Does something that may wait for a disk or a resolver: it takes some time.
pub fn spawn_blocking<T: 'static>(work: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    let pause = Duration::from_nanos(draw(5_000_000));
    spawn_local(async move {
        time::sleep(pause).await;
        work()
    })
}

/// Tasks that end with this.
pub struct JoinSet<T>(Vec<JoinHandle<T>>);

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        JoinSet(Vec::new())
    }
}

impl<T: 'static> JoinSet<T> {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts one more.
    pub fn spawn_local(&mut self, work: impl Future<Output = T> + 'static) -> AbortHandle {
        let task = spawn_local(work);
        let abort = task.abort_handle();
        self.0.push(task);
        abort
    }

    /// The next one that ends; none if there is none.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        std::future::poll_fn(|cx| {
            if self.0.is_empty() {
                return Poll::Ready(None);
            }
            for at in 0..self.0.len() {
                if let Poll::Ready(result) = Pin::new(&mut self.0[at]).poll(cx) {
                    drop(self.0.remove(at));
                    return Poll::Ready(Some(result));
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}
