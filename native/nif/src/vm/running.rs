//! The one engine of a node.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};

use rustler::types::atom::Atom;
use rustler::{Env, LocalPid};
use sockeye_engine::{Engine, Server};

use crate::atoms;
use crate::terms::map;
use crate::terms::scheduler::is_scheduler;
use crate::vm::{lock, process};

/// The engine and the process that started it.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) engine: Arc<Engine>,
    pub(crate) owner: LocalPid,
}

/// One copy for each few threads, in a cache line of its own. Each call of a handler reads one, and a lock that all of
/// them took for that would be a word that all schedulers write to.
static RUNNING: [Place; COPIES] = [const { Place(RwLock::new(None)) }; COPIES];

/// Threads that call: twice as many schedulers as most machines have, normal ones and dirty ones.
const COPIES: usize = 128;

#[repr(align(128))]
struct Place(RwLock<Option<Running>>);

thread_local! {
    static MINE: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % COPIES
    };
}

/// This thread's copy.
fn mine() -> &'static RwLock<Option<Running>> {
    let mine = MINE.try_with(|mine| *mine).unwrap_or(0);
    let [first, ..] = &RUNNING;
    &RUNNING.get(mine).unwrap_or(first).0
}

/// Between two looks at what will be over soon.
pub(crate) const MOMENT: Duration = Duration::from_millis(1);

/// Who is told of panics. A lock of its own, since a panic may happen where the other one is held: under this one a pid
/// is copied, and nothing else.
static HEARS: RwLock<Option<LocalPid>> = RwLock::new(None);

/// Starting and stopping take turns.
pub(crate) static CHANGE: Mutex<()> = Mutex::new(());

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn current() -> Option<Running> {
    read(mine()).clone()
}

pub(crate) fn engine() -> Option<Arc<Engine>> {
    current().map(|running| running.engine)
}

pub(crate) fn server(id: u64) -> Option<(Arc<Engine>, Arc<Server>)> {
    let engine = engine()?;
    let server = engine.find_server(id)?;
    Some((engine, server))
}

pub(crate) fn set(running: Running) {
    *write(&HEARS) = Some(running.owner);
    for copy in &RUNNING {
        *write(&copy.0) = Some(running.clone());
    }
}

/// Forgets this engine, unless another has taken its place.
pub(crate) fn clear(engine: &Arc<Engine>) {
    for copy in &RUNNING {
        let mut running = write(&copy.0);
        let is_this = |running: &Running| Arc::ptr_eq(&running.engine, engine);
        if running.as_ref().is_some_and(is_this) {
            *running = None;
        }
    }
}

/// Forgets an engine whose process is dead, and ends it. Joining threads takes long, and this may
/// be a scheduler.
pub(crate) fn end_in_background(engine: &Arc<Engine>) {
    clear(engine);
    if !engine.is_stopping() {
        let mut past = lock(&PAST);
        past.retain(|engine| engine.strong_count() > 0);
        past.push(Arc::downgrade(engine));
        drop(past);
        let engine = engine.clone();
        let stop = move || {
            let _ = engine.stop();
        };
        let thread = std::thread::Builder::new().name("sockeye-stop".into());
        let _ = thread.spawn(stop);
    }
}

/// Engines that were buried, and may not have let go of their ports yet.
static PAST: Mutex<Vec<Weak<Engine>>> = Mutex::new(Vec::new());

/// Waits until they have, or the time is over.
pub(crate) fn await_ports(deadline: Instant) {
    let past = std::mem::take(&mut *lock(&PAST));
    let past: Vec<_> = past.iter().filter_map(Weak::upgrade).collect();
    let listens = |engine: &Arc<Engine>| {
        let servers = engine.all_servers();
        servers.iter().any(|server| server.is_listening())
    };
    while past.iter().any(listens) && Instant::now() < deadline {
        std::thread::sleep(MOMENT);
    }
}

/// Whether this engine is the one of the node, and its process alive.
pub(crate) fn is_alive(env: Env<'_>, engine: &Arc<Engine>) -> bool {
    let running = read(mine());
    running
        .as_ref()
        .is_some_and(|running| Arc::ptr_eq(&running.engine, engine) && running.owner.is_alive(env))
}

/// Lends the engine without counting references: for calls that are over in a moment.
pub(crate) fn with_engine<T>(work: impl FnOnce(Option<&Arc<Engine>>) -> T) -> T {
    let running = read(mine());
    work(running.as_ref().map(|running| &running.engine))
}

/// The same for a call that may take long unless it is on a normal scheduler: then it counts a reference. Who stops
/// the engine would wait for it otherwise, and all others for who stops it.
pub(crate) fn with_engine_for<T>(normal: bool, work: impl FnOnce(Option<&Arc<Engine>>) -> T) -> T {
    if normal {
        with_engine(work)
    } else {
        work(engine().as_ref())
    }
}

/// Panics are told to the process that started the engine, and never printed.
pub(crate) fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let message = info.to_string().replace('\n', " ");
            let Some(pid) = *read(&HEARS) else {
                return;
            };
            if is_scheduler() {
                tell_of_call(pid, message);
            } else {
                tell_of_panic(&pid, atoms::panic(), &message);
            }
        }));
    });
}

fn tell_of_panic(pid: &LocalPid, kind: Atom, message: &str) {
    process::send(pid, |b| {
        let key = b.atom(atoms::message());
        let detail = map(b, &[(key, b.binary(message.as_bytes()))]);
        b.tuple([b.atom(atoms::sockeye_event()), b.atom(kind), detail])
    });
}

/// Threads at a time that tell of panics in calls.
const TELLING: usize = 8;

/// A panic on a scheduler becomes an exception of the call, which does not say what it was. The environment of the
/// call is not at hand here, so a thread has to tell; where many calls panic, it is the same few times.
fn tell_of_call(pid: LocalPid, message: String) {
    static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
    if UNDER_WAY.fetch_add(1, Ordering::Relaxed) >= TELLING {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let tell = move || {
        tell_of_panic(&pid, atoms::panic_in_call(), &message);
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    };
    let thread = std::thread::Builder::new().name("sockeye-panic".into());
    if thread.spawn(tell).is_err() {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The process that makes this call.
pub(crate) fn caller(env: Env<'_>) -> LocalPid {
    env.pid()
}
