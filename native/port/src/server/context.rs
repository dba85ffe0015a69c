//! What all code about servers and calls needs: the link to the VM, its processes, and the engine.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use sockeye_engine::{Engine, ShardSet};
use sockeye_seam::Etf;
use sockeye_seam::settings::{AtomNumbers, JsonOptions};

use crate::link::Link;
use crate::on_last_drop::OnLastDrop;
use crate::processes::Processes;

pub(crate) struct Context {
    pub(crate) link: Arc<Link>,
    pub(crate) processes: Processes,
    engine: RwLock<Option<Arc<Engine>>>,
    /// The Id of the process that started the engine; 0 for none.
    pub(crate) engine_process: AtomicU64,
    /// What the VM has said of its atoms.
    pub(crate) atom_numbers: OnceLock<AtomNumbers>,
}

impl Context {
    pub(crate) fn new(link: Arc<Link>) -> Arc<Self> {
        Arc::new(Context {
            processes: Processes::new(link.clone()),
            link,
            engine: RwLock::new(None),
            engine_process: AtomicU64::new(0),
            atom_numbers: OnceLock::new(),
        })
    }

    pub(crate) fn engine(&self) -> Option<Arc<Engine>> {
        self.engine
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The engine, for the first who sets one.
    pub(crate) fn set_engine(&self, engine: Arc<Engine>) -> bool {
        let mut place = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        let free = place.is_none();
        if free {
            *place = Some(engine);
        }
        free
    }

    /// What becomes a term of the VM has its literals in the form that the VM reads fastest.
    pub(crate) fn number_literals(&self, json: &mut JsonOptions) {
        let numbers = self.atom_numbers.get();
        json.literals = numbers.and_then(|numbers| numbers.literals(json.read.null));
    }

    /// Closes all connections with 1001, and ends the threads.
    pub(crate) fn stop(&self) {
        if let Some(engine) = self.engine() {
            engine.stop();
        }
    }

    pub(crate) fn tell_engine(&self, write: impl FnOnce(&mut Etf<'_>)) {
        let id = self.engine_process.load(Ordering::SeqCst);
        if self.processes.is_alive(id) {
            self.link.message(id, write);
        }
    }

    /// Does it when these shards have carried out what they were given, or now.
    pub(crate) fn when_done(&self, shards: ShardSet, job: impl FnOnce() + Send + 'static) {
        match self.engine() {
            Some(engine) if !shards.is_empty() => {
                let last = OnLastDrop::new(job);
                engine.when_done(shards, || {
                    let last = last.clone();
                    Box::new(move || drop(last))
                });
            }
            _ => job(),
        }
    }
}
